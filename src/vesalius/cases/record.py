"""The case: one visit of one patient, with everything known about it, as frozen plain data."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from vesalius.cases.geometry import Geometry, geometry_from_dict
from vesalius.cases.image import Image
from vesalius.errors import BadInputError

#: Version of the JSON form (`schema.json`); raised when a reader of the old form could misread the new one.
SCHEMA_VERSION = 1

Scalar = str | int | float | bool | None


class Status(enum.IntEnum):
    """What is known of a finding. Unknown is not a member: an unknown label's value is None."""

    UNCERTAIN = -1
    ABSENT = 0
    PRESENT = 1


@dataclass(frozen=True, slots=True)
class Label:
    """One fact about a case: a status (1, 0, -1, None), a grade, a number with a unit, or a class name.

    Args:
        value: Present 1, absent 0, uncertain -1, unknown None; or an ordinal, a number, a class name.
        unit: Unit of a number (UCUM, e.g. `mm`, `a` for years), else "".
        source: Who says so (`radiologist`, `report`, `mined`, `phantom`, ...), else "".
    """

    value: str | int | float | None
    unit: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        value = _plain(self.value)
        # A truth value says present or absent; the JSON form has one way to say so.
        object.__setattr__(self, "value", int(value) if isinstance(value, bool) else value)

    def to_dict(self) -> dict[str, Any] | str | int | float | None:
        """The bare value where there is nothing else to say."""
        if not self.unit and not self.source:
            return self.value
        return _without_empty({"value": self.value, "unit": self.unit, "source": self.source}, keep=("value",))

    @classmethod
    def from_dict(cls, data: Any) -> Label:
        """Read back what `to_dict` wrote."""
        return _texts(cls(**data)) if isinstance(data, Mapping) else cls(data)


@dataclass(frozen=True, slots=True)
class Region:
    """A place in one image and what it shows.

    Args:
        geometry: Point, box, polygon or mask, in pixels of that image.
        label: Class name (`lesion`, `left lung`), or "".
        phrase: Words that refer to it ("a small opacity in the left lower zone"), or "".
        image: Index into the case's images.
        granularity: `organ`, `lesion`, `cell`, `instrument`, ... or "".
        annotator: Who drew it, or "".
        attributes: More facts (side, zone, size in mm, severity, ...).
    """

    geometry: Geometry
    label: str = ""
    phrase: str = ""
    image: int = 0
    granularity: str = ""
    annotator: str = ""
    attributes: Mapping[str, Scalar] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain data; empty fields are left out."""
        rest = {n: getattr(self, n) for n in ("label", "phrase", "image", "granularity", "annotator")}
        return {"geometry": self.geometry.to_dict(), **_without_empty({**rest, "attributes": dict(self.attributes)})}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Region:
        """Read back what `to_dict` wrote."""
        return _texts(cls(**{**data, "geometry": geometry_from_dict(data["geometry"])}))


@dataclass(frozen=True, slots=True)
class Report:
    """The sections of a radiology (or other) report; `language` is an ISO 639-1 code."""

    findings: str = ""
    impression: str = ""
    indication: str = ""
    comparison: str = ""
    technique: str = ""
    language: str = "en"

    @property
    def text(self) -> str:
        """Findings and impression, the parts that describe this visit."""
        return "\n".join(part for part in (self.findings, self.impression) if part)

    def to_dict(self) -> dict[str, Any]:
        """Plain data; empty sections are left out."""
        return _without_empty(dataclasses.asdict(self))


@dataclass(frozen=True, slots=True)
class Question:
    """A question about a case, closed, open or multiple choice.

    Args:
        text: The question.
        answer: The right answer in words (one of `options` where there are options).
        options: Choices in order, empty for an open question.
        rationale: Why the answer is right.
        tags: What it asks about (`modality`, `organ`, `side`, `count`, `change`, ...).
        pair: Id shared with the twin of a probing pair, or "".
        id: Its own id, or "".
        image: Index into the case's images.
    """

    text: str
    answer: str = ""
    options: tuple[str, ...] = ()
    rationale: str = ""
    tags: tuple[str, ...] = ()
    pair: str = ""
    id: str = ""
    image: int = 0
    language: str = "en"

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", tuple(self.options))
        object.__setattr__(self, "tags", tuple(self.tags))
        if self.options and self.answer and self.answer not in self.options:
            raise BadInputError(
                "a question's answer is not among its options", item=self.id or self.text, why=repr(self.answer)
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain data; empty fields are left out."""
        out = _without_empty(dataclasses.asdict(self), keep=("text",))
        return {k: list(v) if isinstance(v, tuple) else v for k, v in out.items()}


@dataclass(frozen=True, slots=True)
class Source:
    """Where a case comes from: data set, licence, and the split its publisher gave it (or "")."""

    dataset: str = ""
    licence: str = ""
    split: str = ""
    url: str = ""
    id: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data; empty fields are left out."""
        return _without_empty(dataclasses.asdict(self))


@dataclass(frozen=True)
class Case:
    """What one visit of one patient gives.

    Args:
        id: Stable, unique within a set.
        patient: Pseudonym that all visits of one patient share; splits and same-patient rules go by it. Empty means
            that nothing links this case to another, and the case counts as a patient of its own.
        time: ISO 8601 date or date-time, or days as a number since an unnamed start, or None.
        images: Pictures, volumes, videos.
        regions: Places in them.
        report: Its report.
        labels: Name to `Label`.
        questions: Questions with answers.
        attributes: Facts about patient and acquisition: age (years), sex (`F`, `M`, `O`), site, device, ...
        prior: Id of the earlier case of the same patient that this one is compared with.
        source: Data set, licence, split.
    """

    id: str
    patient: str = ""
    time: str | float | None = None
    images: tuple[Image, ...] = ()
    regions: tuple[Region, ...] = ()
    report: Report | None = None
    labels: Mapping[str, Label] = field(default_factory=dict)
    questions: tuple[Question, ...] = ()
    attributes: Mapping[str, Scalar] = field(default_factory=dict)
    prior: str = ""
    source: Source = field(default_factory=Source)

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not self.id:
            raise BadInputError("a case has no id", item=repr(self.id), why="it must be text, and not empty")
        for name in ("images", "regions", "questions"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        labels = {k: v if isinstance(v, Label) else Label.from_dict(v) for k, v in self.labels.items()}
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "attributes", {k: _plain(v) for k, v in self.attributes.items()})
        for index in (*(r.image for r in self.regions), *(q.image for q in self.questions)):
            if not isinstance(index, int) or not 0 <= index < max(len(self.images), 1):
                raise BadInputError(
                    "a region or question points at an image that the case does not have",
                    item=self.id,
                    why=f"image {index} of {len(self.images)}",
                )

    @property
    def group(self) -> str:
        """What splits and same-patient rules go by: the patient, or the case itself when that is not known."""
        return self.patient or f"case:{self.id}"

    @property
    def file(self) -> str:
        """The file that the first image comes from, as its source names it; "" where it was only in memory.

        An archive's member and one frame of several are named after it (`scans.zip::a.png`, `loop.dcm#3`).
        """
        if not self.images or self.images[0].path is None:
            return ""
        image = self.images[0]
        members = image.meta.get("members") or ()
        member = str(image.meta.get("member", "") or (members[0] if members else ""))
        frame = "" if image.frame is None else f"#{image.frame}"
        return f"{image.path}{f'::{member}' if member else ''}{frame}"

    def label(self, name: str) -> str | int | float | None:
        """The value of a label, None when it is unknown or not there."""
        found = self.labels.get(name)
        return None if found is None else found.value

    def replace(self, **changes: Any) -> Case:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form described by `schema.json`; arrays in memory are not part of it."""
        return {
            "id": self.id,
            **_without_empty(
                {
                    "patient": self.patient,
                    "time": self.time,
                    "images": [i.to_dict() for i in self.images],
                    "regions": [r.to_dict() for r in self.regions],
                    "report": None if self.report is None else self.report.to_dict(),
                    "labels": {k: v.to_dict() for k, v in self.labels.items()},
                    "questions": [q.to_dict() for q in self.questions],
                    "attributes": dict(self.attributes),
                    "prior": self.prior,
                    "source": self.source.to_dict(),
                },
                keep=() if self.report is None else ("report",),
            ),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], root: Path | None = None) -> Case:
        """Read back what `to_dict` wrote.

        Args:
            data: The JSON form.
            root: Folder that relative image uris start from.

        Raises:
            BadInputError: A field is missing, not known, or of the wrong type.
        """
        item = str(data.get("id", "?")) if isinstance(data, Mapping) else repr(data)[:60]
        try:
            fields = dict(data)
            fields["images"] = tuple(_texts(Image.from_dict(i, root)) for i in fields.get("images", ()))
            fields["regions"] = tuple(Region.from_dict(r) for r in fields.get("regions", ()))
            fields["questions"] = tuple(_texts(Question(**q)) for q in fields.get("questions", ()))
            fields["source"] = _texts(Source(**fields.get("source", {})))
            if fields.get("report") is not None:
                fields["report"] = _texts(Report(**fields["report"]))
            case = _texts(cls(**fields))
            if not isinstance(_plain(case.time), str | int | float | None):
                raise TypeError("time must be text or a number")
            return case
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            raise BadInputError("cannot read case", item=item, why=str(error)) from error

    def content_hash(self, *, pixels: bool = False) -> str:
        """SHA-256 over the JSON form, and over every image's stored values too when `pixels` is set."""
        h = hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True, ensure_ascii=False, allow_nan=False).encode())
        if pixels:
            for image in self.images:
                h.update(image.content_hash().encode())
        return h.hexdigest()


def _plain(value: Any) -> Any:
    """A scalar of JSON: NumPy's own become Python's; what JSON cannot say is refused."""
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, str | int | float | None):
        raise BadInputError("a value is not text, a number or nothing", item=repr(value)[:60])
    if isinstance(value, float) and not math.isfinite(value):
        raise BadInputError("a value is not finite", item=repr(value), fix="use None where it is not known")
    return value


_T = TypeVar("_T")


def _texts(record: _T) -> _T:
    """The record, once its text fields are known to be text: what a stranger's file holds may be anything."""
    for f in dataclasses.fields(record):  # type: ignore[arg-type] # every record here is a dataclass
        value = getattr(record, f.name)
        several = f.type == "tuple[str, ...]"
        if (f.type == "str" or several) and not all(isinstance(v, str) for v in (value if several else (value,))):
            raise TypeError(f"{f.name} of {type(record).__name__} must be text, not {value!r:.60}")
    return record


#: Values that `to_dict` leaves out because they are what a reader assumes.
_DEFAULTS: Mapping[str, Any] = {"image": 0, "language": "en"}


def _without_empty(data: Mapping[str, Any], keep: tuple[str, ...] = ()) -> dict[str, Any]:
    """Leave out what is empty or assumed (a number 0 is neither), except the fields in `keep`."""
    return {
        key: value
        for key, value in data.items()
        if key in keep
        or not (
            value == _DEFAULTS[key]
            if key in _DEFAULTS
            else value is None or (isinstance(value, str | tuple | list | dict) and not value)
        )
    }
