"""The phantom's own records: findings, what a drawing function is given, and what it gives back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from vesalius.cases import Image, Label
from vesalius.sources.phantom.seeding import stream

Array = npt.NDArray[Any]
Scalar = str | int | float | bool | None
SEVERITIES = ("mild", "moderate", "severe")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is there.

    Args:
        name: Key into the catalogue.
        score: 0 to 1, how far it has gone; size, count and severity follow from it.
        side: `left`, `right`, `bilateral` or "".
        zone: Where within the organ, in the catalogue's words, or "".
        size: Largest extent in mm, 0 where a size makes no sense.
        count: How many lesions of this kind.
        certainty: `definite` or `possible` (how the report words it; the finding is there in both cases).
        change: `new`, `larger`, `smaller`, `unchanged` against the prior visit, "" without one.
    """

    name: str
    score: float
    side: str = ""
    zone: str = ""
    size: float = 0.0
    count: int = 1
    certainty: str = "definite"
    change: str = ""

    @property
    def severity(self) -> str:
        """`mild`, `moderate` or `severe`: thirds of the score."""
        return SEVERITIES[min(2, int(self.score * 3))]

    def replace(self, **changes: Any) -> Finding:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)


@dataclass(frozen=True, slots=True)
class Device:
    """How one site's machine makes its pictures: factors around 1 (tone, noise, blur) and a tint."""

    name: str
    gamma: float = 1.0
    noise: float = 1.0
    blur: float = 0.0
    gain: float = 1.0
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Patient:
    """Facts that do not change between visits, apart from age."""

    number: int
    study: str
    sex: str
    age: float
    bmi: float
    height: float
    site: str
    device: Device
    ehr: Mapping[str, Scalar]
    polygenic: tuple[float, ...]


@dataclass(frozen=True)
class Brief:
    """What a drawing function is given.

    Args:
        seed: The configuration's seed.
        index: The case's index.
        patient: Who.
        findings: What is there.
        size: Pixels of a 2-d image's edge.
        size_3d: Voxels of a volume's edge.
        frames: Frames of a video.
        contrast: Factor on the contrast of findings (difficulty and subgroup).
        noise: Factor on noise.
        view: View of a chest film.
        lateral: Draw a lateral film too.
    """

    seed: int
    index: int
    patient: Patient
    findings: tuple[Finding, ...]
    size: int
    size_3d: int
    frames: int
    contrast: float
    noise: float
    view: str
    lateral: bool

    def body(self, *tags: str | int) -> np.random.Generator:
        """A stream that is the same at every visit of the patient (anatomy, places of lesions)."""
        return stream(self.seed, "body", self.patient.number, *tags)

    def visit(self, *tags: str | int) -> np.random.Generator:
        """A stream of this visit alone (position, noise)."""
        return stream(self.seed, "visit", self.index, *tags)

    def get(self, name: str) -> Finding | None:
        """The finding of this name, if it is there."""
        return next((f for f in self.findings if f.name == name), None)


@dataclass(frozen=True)
class Part:
    """One annotated thing: `mask` has the shape of the image (without channels).

    Args:
        label: Class name.
        mask: Where.
        image: Which image of the picture.
        granularity: `organ`, `lesion`, `cell`, `instrument` ...
        finding: The finding it belongs to, or "".
        attributes: More facts.
        frame: The one frame of a video that `mask` `(H, W)` lies in; None when it has the shape of the whole image.
    """

    label: str
    mask: Array
    image: int = 0
    granularity: str = "organ"
    finding: str = ""
    attributes: Mapping[str, Scalar] = field(default_factory=dict)
    frame: int | None = None


@dataclass(frozen=True)
class Picture:
    """What a drawing function gives back.

    Args:
        images: The images.
        parts: Everything annotated in them.
        findings: The findings as drawn (a count or size may have been adjusted).
        labels: Grades, measurements and classes beside the findings.
    """

    images: tuple[Image, ...]
    parts: tuple[Part, ...]
    findings: tuple[Finding, ...]
    labels: Mapping[str, Label] = field(default_factory=dict)
