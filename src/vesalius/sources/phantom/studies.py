"""Which function draws which kind of study; the drawing modules are imported when they are first needed."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from vesalius.sources.phantom.catalogue import STUDIES
from vesalius.sources.phantom.model import Brief, Picture

STUDY_NAMES = tuple(STUDIES)

_DRAW = {
    "chest_film": ("chest", "draw"),
    "ct": ("ct", "draw_ct"),
    "pet": ("ct", "draw_pet"),
    "body_mr": ("ct", "draw_mr"),
    "fundus": ("fundus", "draw"),
    "oct": ("oct", "draw"),
    "dermoscopy": ("dermoscopy", "draw"),
    "ultrasound": ("ultrasound", "draw"),
    "histology": ("histology", "draw"),
    "blood": ("blood", "draw"),
    "endoscopy": ("endoscopy", "draw"),
    "brain_mr": ("brain", "draw"),
    "panoramic": ("panoramic", "draw"),
    "mammography": ("mammography", "draw"),
    "oct_volume": ("oct_volume", "draw"),
    "cell_video": ("cell_video", "draw"),
}
#: Studies whose drawing models the device itself.
OWN_DEVICE = frozenset({"chest_film", "ct", "pet", "body_mr", "brain_mr", "ultrasound", "mammography"})


def drawer(study: str) -> Callable[[Brief], Picture]:
    """The function that draws a kind of study."""
    module, name = _DRAW[study]
    function: Callable[[Brief], Picture] = getattr(importlib.import_module(f"vesalius.sources.phantom.{module}"), name)
    return function
