"""What an audit works on: cases with a known label, their pictures, patients, groups and regions, side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from vesalius.cases import Case, Image, Mask
from vesalius.cases.geometry import Box, Polygon
from vesalius.corruptions.keys import generator
from vesalius.errors import BadInputError, UsageError
from vesalius.models.seen import Seen
from vesalius.render.display import to_display

__all__ = ["GROUP_ATTRIBUTES", "Inputs", "Scorer", "display", "gather", "positive_column"]

Bools = npt.NDArray[np.bool_]

#: Reason in `left_out` of cases that the model was trained on.
SEEN = "the model was trained on pictures of these patients"
#: Attributes that make subgroups unless others are named; what a case has beyond them is left alone.
GROUP_ATTRIBUTES = (
    "age", "sex", "ethnicity", "race", "education", "insurance", "site", "device", "manufacturer", "view", "modality",
)  # fmt: skip


class Scorer(Protocol):
    """What an audit needs of a model (see `models.protocols.Classifier`)."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the columns."""
        ...

    def predict_proba(self, images: Sequence[Image]) -> npt.NDArray[np.float64]:
        """`(n, classes)` probabilities."""
        ...


@dataclass(frozen=True, eq=False)
class Inputs:
    """Columns over the cases that an audit can use.

    Args:
        cases: Cases whose label is known.
        images: First image of each.
        y: Labels 0/1.
        patients: Patient of each case.
        attributes: Name to values (None where missing).
        left_out: Reason to number of cases left out.
        seen: How many of the given cases are of patients that the model was trained on; None where that is not known.
            Those that are not in `left_out` are among `cases`.
    """

    cases: tuple[Case, ...]
    images: tuple[Image, ...]
    y: npt.NDArray[np.int64]
    patients: tuple[str, ...]
    attributes: dict[str, list[Any]]
    left_out: dict[str, int]
    seen: int | None = None

    def __len__(self) -> int:
        return len(self.cases)

    @property
    def flat(self) -> bool:
        """All images are single pictures."""
        return all(i.kind == "2d" for i in self.images)

    @property
    def modality(self) -> str:
        """The modality of most images."""
        counts = Counter(i.modality for i in self.images)
        return counts.most_common(1)[0][0] if counts else ""

    def one_a_patient(self, seed: int, most: int | None = None) -> npt.NDArray[np.intp]:
        """Indices of one case for each patient (tests that take cases as independent use these), at most `most`.

        Which case and, where there are too many, which patients is drawn by the seed; both labels keep their shares.
        """
        order = generator("audit", "one a patient", seed).permutation(len(self))
        chosen: dict[str, int] = {}
        for i in order:
            chosen.setdefault(self.patients[int(i)], int(i))
        picked = np.asarray(list(chosen.values()), dtype=np.intp)
        if most is not None and len(picked) > most:
            parts = [picked[self.y[picked] == v] for v in (0, 1)]
            share = most / len(picked)
            picked = np.concatenate([p[: max(round(len(p) * share), min(len(p), 1))] for p in parts])
        return np.sort(picked)

    def regions(
        self, index: npt.NDArray[np.intp], shapes: Sequence[tuple[int, ...]], labels: Sequence[str] | None = None
    ) -> list[Bools | None]:
        """Union of the regions (of these labels, or all) on the first image of each case; None where there is none."""
        out: list[Bools | None] = []
        for i, shape in zip(index, shapes, strict=True):
            height, width = shape[:2]
            union: Bools | None = None
            for r in self.cases[int(i)].regions:
                if r.image != 0 or (labels is not None and r.label not in labels):
                    continue
                area = _area(r.geometry, height, width)
                if area is not None:
                    union = area if union is None else union | area
            out.append(union)
        return out


def gather(
    cases: Iterable[Case],
    target: str,
    *,
    positive: Any = 1,
    limit: int | None = None,
    attributes: Sequence[str] = GROUP_ATTRIBUTES,
    seen: Seen | None = None,
    count_seen: bool = False,
) -> Inputs:
    """Take the cases whose label is known; uncertain (-1) and unknown ones are left out and counted.

    So are those of patients that the model was trained on, unless no other cases of both classes would be left.

    Args:
        cases: Cases.
        target: Label.
        positive: Its positive value (1, or a class name).
        limit: Stop after so many usable cases.
        attributes: Those to keep; `view` and `modality` are taken from the image.
        seen: What the model was trained on, where that is known.
        count_seen: Keep the cases that it was trained on.

    Raises:
        BadInputError: No usable case, or one class only.
    """
    kept: list[Case] = []
    y: list[int] = []
    left: Counter[str] = Counter()
    for case in cases:
        if limit is not None and len(kept) >= limit:
            break
        value = case.label(target)
        if value is None:
            left["label unknown"] += 1
        elif value == -1:
            left["label uncertain"] += 1
        elif not case.images:
            left["no image"] += 1
        else:
            kept.append(case)
            y.append(int(value == positive))
    if not kept:
        raise BadInputError("nothing to audit", item=target, why=f"no case has this label ({dict(left)})")
    if len(set(y)) < 2:
        why = f"all {len(y)} cases are {'positive' if y[0] else 'negative'}"
        raise BadInputError("nothing to audit", item=target, why=why)
    known = 0
    if seen is not None:
        mine = seen.patients(kept)
        known = int(mine.sum())
        new = [i for i, m in enumerate(mine) if not m]
        if known and not count_seen and len({y[i] for i in new}) == 2:
            left[SEEN] = known
            kept, y = [kept[i] for i in new], [y[i] for i in new]
    names = sorted({k for c in kept for k in c.attributes})
    columns: dict[str, list[Any]] = {k: [c.attributes.get(k) for c in kept] for k in names if k in attributes}
    for extra in ("view", "modality"):
        if extra in attributes and extra not in columns:
            columns[extra] = [getattr(c.images[0], extra) or None for c in kept]
    usable = {k: v for k, v in columns.items() if _groupable(v)}
    return Inputs(
        tuple(kept),
        tuple(c.images[0] for c in kept),
        np.asarray(y, dtype=np.int64),
        tuple(c.group for c in kept),
        usable,
        dict(left),
        None if seen is None else known,
    )


def positive_column(model: Scorer, target: str, positive: Any) -> int:
    """Which column of the model is the probability of the positive class.

    Raises:
        UsageError: The model has no class of that name.
    """
    classes = [str(c) for c in model.classes]
    for name in (target, str(positive), f"{target}={positive}"):
        if name in classes:
            return classes.index(name)
    if len(classes) == 1:
        return 0
    raise UsageError(
        "the model does not know the target", item=target, why=f"its classes are {', '.join(classes[:12])}"
    )


def display(image: Image) -> npt.NDArray[np.uint8]:
    """The picture as a screen shows it (see `render.display`), uint8 `(H, W)`, `(H, W, 1)` or `(H, W, 3)`.

    Raises:
        BadInputError: Not a single picture.
    """
    if image.kind != "2d":
        raise BadInputError("not a single picture", item=str(image.uri or ""), why=f"it is {image.kind}")
    array = image.pixels()
    shown = to_display(array.astype(np.uint8) * 255 if array.dtype == np.bool_ else array, image)
    if shown.ndim == 3 and shown.shape[2] not in (1, 3):
        shown = shown[:, :, :3] if shown.shape[2] == 4 else shown[:, :, 0]
    return np.ascontiguousarray(shown)


def _groupable(values: list[Any]) -> bool:
    present = [v for v in values if v is not None and v != ""]
    if len(present) < 0.2 * len(values) or len(set(map(str, present))) < 2:
        return False
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in present)
    return numeric or len(set(map(str, present))) <= 12


def _area(geometry: object, height: int, width: int) -> Bools | None:
    if isinstance(geometry, Mask):
        area = geometry.to_array()
        return np.asarray(area, dtype=bool) if area.shape == (height, width) else None
    if isinstance(geometry, Polygon):
        return np.asarray(geometry.rasterise(height, width).to_array(), dtype=bool)
    if isinstance(geometry, Box):
        out = np.zeros((height, width), dtype=bool)
        box = geometry.clipped(height, width)
        out[int(box.y0) : int(np.ceil(box.y1)), int(box.x0) : int(np.ceil(box.x1))] = True
        return out
    return None
