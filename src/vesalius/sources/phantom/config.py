"""The phantom's configuration: plain frozen data with a JSON and a TOML form, checked when it is made."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vesalius.errors import MissingError, UsageError
from vesalius.sources.phantom.catalogue import FINDINGS, STUDIES

SHORTCUT_KINDS = ("marker", "tube", "token", "border")
SUBGROUP_ATTRIBUTES = ("sex", "site", "device", "age_group")
LANGUAGES = ("en", "zh")
GEOMETRIES = ("mask", "box", "point")


@dataclass(frozen=True, slots=True)
class Shortcut:
    """A mark that has nothing to do with disease but goes along with one finding.

    With correlation `c`, the mark is drawn with probability `(1 + c) / 2` when the finding is present and
    `(1 - c) / 2` when it is absent, so `c` is the difference of the two rates: 1 always together, 0 no link,
    -1 reversed (the test set that breaks the shortcut).

    Args:
        finding: Name of the finding it follows.
        kind: `marker` (a bright square), `tube` (a line across the image), `token` (a letter) or `border` (a frame).
        correlation: From -1 to 1.
    """

    finding: str
    kind: str = "marker"
    correlation: float = 0.9

    def __post_init__(self) -> None:
        _one_of("shortcut kind", self.kind, SHORTCUT_KINDS)
        _one_of("shortcut finding", self.finding, tuple(FINDINGS))
        _between("shortcut correlation", self.correlation, -1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Subgroup:
    """A shift of one group of patients: other prevalence, or findings that are harder to see.

    Args:
        attribute: `sex`, `site`, `device` or `age_group` (`young` below 40, `middle` below 65, `old`).
        value: Its value, for example `F`.
        prevalence: Factor on the prevalence of every finding.
        contrast: Factor on the contrast of every finding.
    """

    attribute: str
    value: str
    prevalence: float = 1.0
    contrast: float = 1.0

    def __post_init__(self) -> None:
        _one_of("subgroup attribute", self.attribute, SUBGROUP_ATTRIBUTES)
        _between("subgroup prevalence", self.prevalence, 0.0, 10.0)
        _between("subgroup contrast", self.contrast, 0.0, 2.0)


@dataclass(frozen=True, slots=True)
class Reader:
    """A simulated annotator.

    Args:
        name: Goes into `Region.annotator`.
        skill: Probability of calling a finding's presence rightly; 1 - skill of lesions is missed, and outlines
            wobble by up to `6 (1 - skill)` pixels at 128 px.
        bias: Pixels (at 128 px) by which outlines are drawn too large (positive) or too small.
    """

    name: str
    skill: float = 0.9
    bias: float = 0.0

    def __post_init__(self) -> None:
        if not self.name:
            raise UsageError("a phantom reader has no name", fix="give each reader a name")
        _between("reader skill", self.skill, 0.0, 1.0)
        _between("reader bias", self.bias, -20.0, 20.0)


@dataclass(frozen=True)
class PhantomConfig:
    """Everything that decides what a phantom draws, apart from the case's index.

    Args:
        name: Start of every id; change it to merge sets of one seed made with different dials.
        seed: Seed of everything.
        studies: Kind of study to its share (see `STUDY_NAMES`); the default is all kinds in equal shares.
        size: Height and width of 2-d images in pixels.
        size_3d: Edge of volumes in voxels.
        frames: Frames of a video study.
        visits: Fewest and most visits of one patient.
        gap_days: Shortest and longest time between two visits in days (log-uniform).
        prevalence: Finding to the probability that it is present, instead of the catalogue's.
        prevalence_scale: Factor on all prevalences.
        difficulty: 0 (findings at full contrast, little noise) to 1 (faint findings, much noise).
        uncertain: Share of present findings that the report only calls possible.
        uncertain_labels: Write the label of such a finding as -1 (as report-mined sets do) instead of 1.
        views: Frontal views of the chest film to choose from.
        lateral: Probability that a chest film study has a lateral film too.
        languages: Report languages to choose from.
        shortcut: A planted shortcut, or None.
        subgroups: Shifts of groups.
        missing: Probability that an image of a study with several is left out (one always stays).
        missing_ehr: Probability that a value of the record table is unknown.
        label_noise: Probability that a finding's label is flipped; the truth is then in the label `true/NAME`.
        sites: Number of hospitals; each has one kind of device.
        device_shift: 0 (all devices alike) to 1 (strong differences of tone, noise and sharpness).
        degraded: Share of images with a known degradation.
        readers: Simulated annotators.
        polygenic: Length of the polygenic vector (0 leaves it out).
        risk_polygenic: Share of each finding's liability explained by the polygenic vector.
        risk_ehr: Share explained by the record table (age among it).
        questions: Write questions.
        geometries: How each region is given: any of `mask`, `box`, `point`.
        organs: Give organ regions too.

    Example:
        >>> config = PhantomConfig(seed=7, studies={"chest_film": 1.0})
        >>> PhantomConfig.from_json(config.to_json()) == config
        True
    """

    name: str = "phantom"
    seed: int = 0
    studies: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(STUDIES, 1.0))
    size: int = 128
    size_3d: int = 64
    frames: int = 8
    visits: tuple[int, int] = (1, 1)
    gap_days: tuple[float, float] = (7.0, 720.0)
    prevalence: Mapping[str, float] = field(default_factory=dict)
    prevalence_scale: float = 1.0
    difficulty: float = 0.3
    uncertain: float = 0.1
    uncertain_labels: bool = False
    views: tuple[str, ...] = ("PA", "PA", "AP")
    lateral: float = 0.0
    languages: tuple[str, ...] = ("en",)
    shortcut: Shortcut | None = None
    subgroups: tuple[Subgroup, ...] = ()
    missing: float = 0.0
    missing_ehr: float = 0.0
    label_noise: float = 0.0
    sites: int = 3
    device_shift: float = 0.3
    degraded: float = 0.15
    readers: tuple[Reader, ...] = ()
    polygenic: int = 16
    risk_polygenic: float = 0.25
    risk_ehr: float = 0.25
    questions: bool = True
    geometries: tuple[str, ...] = ("mask", "box")
    organs: bool = True

    def __post_init__(self) -> None:
        put = object.__setattr__
        for name in ("visits", "gap_days", "views", "languages", "geometries"):
            put(self, name, tuple(getattr(self, name)))
        put(self, "subgroups", tuple(g if isinstance(g, Subgroup) else _make(Subgroup, g) for g in self.subgroups))
        put(self, "readers", tuple(r if isinstance(r, Reader) else _make(Reader, r) for r in self.readers))
        mark: Any = self.shortcut
        if mark is not None and not isinstance(mark, Shortcut):
            put(self, "shortcut", _make(Shortcut, mark))
        if not self.studies or min(self.studies.values()) < 0 or sum(self.studies.values()) <= 0:
            raise UsageError("phantom config: no study has a share above 0", item=str(dict(self.studies)))
        for study in self.studies:
            _one_of("study", study, tuple(STUDIES))
        for name, p in self.prevalence.items():
            _one_of("prevalence of", name, tuple(FINDINGS))
            _between(f"prevalence of {name}", p, 0.0, 1.0)
        for name in ("difficulty", "uncertain", "lateral", "missing", "missing_ehr", "label_noise", "device_shift"):
            _between(name, getattr(self, name), 0.0, 1.0)
        for name in ("degraded", "risk_polygenic", "risk_ehr"):
            _between(name, getattr(self, name), 0.0, 1.0)
        _between("risk_polygenic + risk_ehr", self.risk_polygenic + self.risk_ehr, 0.0, 1.0)
        _between("prevalence_scale", self.prevalence_scale, 0.0, 20.0)
        _between("seed", self.seed, 0, 2**63 - 1)
        _between("size", self.size, 32, 2048)
        _between("size_3d", self.size_3d, 16, 512)
        _between("frames", self.frames, 2, 256)
        _between("sites", self.sites, 1, 26)
        _between("polygenic", self.polygenic, 0, 10_000)
        if len(self.visits) != 2 or not 1 <= self.visits[0] <= self.visits[1] <= 50:
            raise UsageError("phantom config: bad visits", item=str(self.visits), why="want 1 <= fewest <= most <= 50")
        if len(self.gap_days) != 2 or not 0 < self.gap_days[0] <= self.gap_days[1]:
            raise UsageError(
                "phantom config: bad gap_days", item=str(self.gap_days), why="want 0 < shortest <= longest"
            )
        for names, allowed in (
            (self.views, ("PA", "AP")),
            (self.languages, LANGUAGES),
            (self.geometries, GEOMETRIES),
        ):
            if not names:
                raise UsageError("phantom config: an empty list", fix=f"use some of {', '.join(allowed)}")
            for name in names:
                _one_of("value", name, allowed)

    def replace(self, **changes: Any) -> PhantomConfig:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, every field written out."""
        data = dataclasses.asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in data.items() if v is not None}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PhantomConfig:
        """Read back what `to_dict` wrote; fields that are left out keep their defaults.

        Raises:
            UsageError: A field is not known or a value makes no sense.
        """
        made: PhantomConfig = _make(cls, data)
        return made

    def to_json(self) -> str:
        """The JSON form."""
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> PhantomConfig:
        """From the JSON form."""
        try:
            data = json.loads(text)
        except ValueError as error:
            raise UsageError("phantom config is not JSON", why=str(error)) from error
        return cls.from_dict(data)

    def to_toml(self) -> str:
        """The TOML form."""
        data = self.to_dict()
        tables = {k: v for k, v in data.items() if isinstance(v, dict)}
        lists = {k: v for k, v in data.items() if isinstance(v, list) and v and isinstance(v[0], dict)}
        rest = {k: v for k, v in data.items() if k not in tables and k not in lists}
        out = [f"{k} = {_toml(v)}" for k, v in rest.items()]
        for k, table in tables.items():
            out += ["", f"[{k}]", *(f"{json.dumps(n)} = {_toml(v)}" for n, v in table.items())]
        for k, rows in lists.items():
            for row in rows:
                out += ["", f"[[{k}]]", *(f"{n} = {_toml(v)}" for n, v in row.items())]
        return "\n".join(out) + "\n"

    @classmethod
    def from_toml(cls, text: str) -> PhantomConfig:
        """From the TOML form."""
        try:
            data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise UsageError("phantom config is not TOML", why=str(error)) from error
        return cls.from_dict(data)

    @classmethod
    def read(cls, path: str | Path) -> PhantomConfig:
        """From a `.json` or `.toml` file.

        Raises:
            MissingError: The file is not there.
            UsageError: It cannot be understood.
        """
        file = Path(path)
        if not file.is_file():
            raise MissingError("there is no such phantom config", item=str(file))
        text = file.read_text(encoding="utf-8")
        return cls.from_toml(text) if file.suffix.lower() == ".toml" else cls.from_json(text)


def _toml(value: Any) -> str:
    """A scalar or a list of scalars; JSON's forms of these are TOML's too."""
    return json.dumps(value, ensure_ascii=False)


def _make(cls: type[Any], data: Any) -> Any:
    if not isinstance(data, Mapping):
        raise UsageError("phantom config: not an object", item=repr(data)[:80])
    known = {f.name for f in dataclasses.fields(cls)}
    for name in data:
        _one_of(f"field of {cls.__name__}", str(name), tuple(sorted(known)))
    try:
        return cls(**data)
    except (TypeError, AttributeError, ValueError) as error:
        raise UsageError("phantom config: a value has the wrong type", why=str(error)) from error


def _one_of(what: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UsageError(
            f"phantom config: {what} is not known", item=str(value), fix=f"use one of {', '.join(allowed)}"
        )


def _between(what: str, value: float, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise UsageError(f"phantom config: {what} is out of range", item=str(value), why=f"want {low} to {high}")
