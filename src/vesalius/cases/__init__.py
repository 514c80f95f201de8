"""The case record: what one visit of one patient gives, and sets of such cases. Needs numpy only."""

from __future__ import annotations

from vesalius.cases.caseset import CaseSet
from vesalius.cases.geometry import Affine, Box, Geometry, Mask, Point, Polygon, geometry_from_dict
from vesalius.cases.image import Image
from vesalius.cases.record import Case, Label, Question, Region, Report, Source, Status
from vesalius.cases.splits import Split, kfold, split

__all__ = [
    "Affine",
    "Box",
    "Case",
    "CaseSet",
    "Geometry",
    "Image",
    "Label",
    "Mask",
    "Point",
    "Polygon",
    "Question",
    "Region",
    "Report",
    "Source",
    "Split",
    "Status",
    "geometry_from_dict",
    "kfold",
    "split",
]
