"""What recipes share on the way in: pictures as arrays, targets, real sets, splits by patient."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vesalius.cases import Case, Image, split
from vesalius.errors import BadInputError, MissingError
from vesalius.models import load
from vesalius.models.heads import target_value
from vesalius.models.preprocess import ViewPreprocess
from vesalius.models.protocols import Embedder
from vesalius.models.store import SHIPPED


def pictures(images: Iterable[Image], side: int) -> npt.NDArray[np.uint8]:
    """`(n, 3, side, side)` 8-bit pictures: the display range, the whole picture squeezed to a square, RGB.

    A box keeps its place relative to the picture's width and height. Of a volume or video it is the middle view.
    """
    preprocess = ViewPreprocess(side, side)
    out = [views[len(views) // 2] for views in map(preprocess, images)]
    return np.stack(out) if out else np.zeros((0, 3, side, side), np.uint8)


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


def real_set(folder: Path | None, name: str) -> list[Case]:
    """The cases of one open set below a folder, in its published layout.

    Raises:
        MissingError: The folder was not given or does not hold the set.
    """
    from vesalius.sources.open_sets import read_layout

    if folder is None or not (folder / name).is_dir():
        raise MissingError(
            "real set is not there", item=str(folder / name) if folder else name, fix="give the folder above it"
        )
    return list(read_layout(name, folder / name))


def parts(
    cases: Sequence[Case], shares: dict[str, float], seed: int, stratify: str | None = None
) -> dict[str, list[Case]]:
    """Patient-disjoint parts of cases, each class of the label spread evenly."""
    divided = split(list(cases), shares, seed=seed, stratify=stratify)
    where = divided.part_of()
    return {part: [c for c in cases if where[c.id] == part] for part in shares}


def named_class(case: Case) -> str:
    """The one diagnosis that the real classification sets here are about, or "" where a case has none.

    busi: benign, malignant or normal; isic2017: melanoma or benign skin lesion; nih-cxr14: pneumonia or no finding
    (films with other findings only have none).
    """
    match case.source.dataset:
        case "busi":
            return str(case.label("class") or "")
        case "isic2017":
            status = case.label("melanoma")
            return "" if status is None else "melanoma" if status == 1 else "benign skin lesion"
        case "nih-cxr14":
            if case.label("Pneumonia") == 1:
                return "pneumonia"
            return "no finding" if case.label("No Finding") == 1 else ""
        case _:
            return ""


def nano_split(cases: Sequence[Case]) -> tuple[list[Case], list[Case]]:
    """Cases that the shipped nano was trained on, and those of patients that it never saw.

    What stands on nano's vectors is tested on the second part only.
    """
    held = frozenset(json.loads((SHIPPED / "nano" / "held_out.json").read_text("utf-8")))
    return [c for c in cases if c.id not in held], [c for c in cases if c.id in held]


def aligned(
    y: npt.NDArray[np.int64], confounder: npt.NDArray[np.int64], share: float, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Indices of the most cases among which class and confounder agree in a given share: one then stands for the other.

    Args:
        y: `(n,)` 0/1 class.
        confounder: `(n,)` 0/1.
        share: Share of cases with `y == confounder`, in (0.5, 1].
        rng: Draws the cases that disagree, half of each class where there are enough.
    """
    agree = np.flatnonzero(y == confounder)
    each = round(len(agree) * (1 - share) / share / 2)
    other = [rng.permutation(np.flatnonzero((y != confounder) & (y == k)))[:each] for k in (0, 1)]
    return np.sort(np.concatenate([agree, *other]))


@lru_cache(maxsize=2)
def frozen(name: str, device: str = "cpu") -> Embedder:
    """An embedder that nobody trains, loaded once in a process."""
    return load(name, device=device, can="embed")


def base_embedder(config: Mapping[str, Any], device: str) -> Embedder:
    """The frozen embedder that a model's config names.

    Raises:
        BadInputError: The embedder here is not the one that the model was trained on.
    """
    embedder = frozen(str(config["base"]), device)
    if embedder.fingerprint != config["base_fingerprint"]:
        raise BadInputError(
            "model was trained on another embedder",
            item=f"{config['base']} {str(config['base_fingerprint'])[:12]}",
            why=f"here it is {embedder.fingerprint[:12]}",
            fix="train it again, or load the embedder it was trained on",
        )
    return embedder


def labelled(
    cases: Sequence[Case], target: str, system: str
) -> tuple[list[Case], npt.NDArray[np.int64], tuple[str, ...]]:
    """Cases with an image and a known class, their class numbers, and the classes' names.

    Args:
        cases: Cases.
        target: Label or attribute; "" means the label `class`, else what the real sets are about (`named_class`).
        system: Name for messages.

    Raises:
        BadInputError: Fewer than two classes are left.
    """
    require_cases(cases, system)
    found: list[tuple[Case, str]] = []
    for case in cases:
        value = target_value(case, target) if target else case.label("class") or named_class(case)
        if case.images and value is not None and value != "":
            found.append((case, str(value)))
    names = tuple(sorted({k for _, k in found}))
    if len(names) < 2:
        raise BadInputError(
            "nothing to tell apart", item=f"{system}: {target or 'class'}", why=f"classes found: {list(names)}",
            fix="name the label with --target",
        )  # fmt: skip
    return [c for c, _ in found], np.asarray([names.index(k) for _, k in found], np.int64), names
