"""What recipes share on the way in: pictures as arrays, targets, classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from vesalius.cases import Case, Image
from vesalius.cases.geometry import Mask
from vesalius.cases.targets import target_value
from vesalius.errors import BadInputError
from vesalius.models.preprocess import ViewPreprocess

Ints = npt.NDArray[np.int64]


def pictures(images: Iterable[Image], side: int) -> npt.NDArray[np.uint8]:
    """`(n, 3, side, side)` 8-bit pictures: the display range, the whole picture squeezed to a square, RGB.

    A box keeps its place relative to the picture's width and height. Of a volume or video it is the middle view.
    """
    preprocess = ViewPreprocess(side, side)
    out = [views[len(views) // 2] for views in map(preprocess, images)]
    return np.stack(out) if out else np.zeros((0, 3, side, side), np.uint8)


def area(case: Case, labels: Sequence[str], side: int) -> npt.NDArray[np.bool_]:
    """`(side, side)` where a case's masks with these labels are, squeezed as `pictures` squeezes; empty without any."""
    masks = [r.geometry.to_array() for r in case.regions if r.label in labels and isinstance(r.geometry, Mask)]
    if not masks:
        return np.zeros((side, side), bool)
    shown = Image(array=(np.any(masks, 0) * 255).astype(np.uint8), modality="DX")
    return np.asarray(pictures([shown], side)[0, 0] > 127)


def require_cases(cases: Sequence[Case], system: str, at_least: int = 1) -> None:
    """Refuse to train on nothing.

    Raises:
        BadInputError: There are fewer cases with an image than a recipe needs.
    """
    usable = sum(1 for c in cases if c.images)
    if usable < at_least:
        raise BadInputError(
            "not enough cases to train on", item=system, why=f"{usable} with an image, it needs {at_least}"
        )


def class_of(case: Case) -> str:
    """The label `class`, or "" where a case has none."""
    return str(case.label("class") or "")


def labelled(cases: Sequence[Case], target: str, system: str) -> tuple[list[Case], Ints, tuple[str, ...]]:
    """Cases with an image and a known class, their class numbers, and the classes' names.

    Args:
        cases: Cases.
        target: Label or attribute; "" means the label `class`.
        system: Name for messages.

    Raises:
        BadInputError: Fewer than two classes are left.
    """
    require_cases(cases, system)
    found: list[tuple[Case, str]] = []
    for case in cases:
        value = target_value(case, target or "class")
        if case.images and value is not None and value != "":
            found.append((case, str(value)))
    names = tuple(sorted({k for _, k in found}))
    if len(names) < 2:
        raise BadInputError(
            "nothing to tell apart", item=f"{system}: {target or 'class'}", why=f"classes found: {list(names)}",
            fix="name the label with --target",
        )  # fmt: skip
    return [c for c, _ in found], np.asarray([names.index(k) for _, k in found], np.int64), names


def present(cases: Sequence[Case], label: str) -> str:
    """The label's name where some case has it, else "": what a recipe learns when nobody says."""
    return label if any(label in c.labels for c in cases) else ""


def known(cases: Sequence[Case], names: Sequence[str]) -> tuple[list[Case], Ints]:
    """Test cases with a class that was trained on, and their class numbers in the order of training."""
    found = [(c, class_of(c)) for c in cases if c.images]
    kept = [(c, names.index(k)) for c, k in found if k in names]
    return [c for c, _ in kept], np.asarray([k for _, k in kept], np.int64)
