"""What recipes share on the way in: pictures as arrays, targets, real sets, splits by patient."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vesalius.cases import Case, Image, Label, split
from vesalius.cases.geometry import Box, Mask, Point
from vesalius.errors import BadInputError, MissingError
from vesalius.models import load
from vesalius.models.fitting import target_value
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


def real_set(folder: Path | None, name: str) -> list[Case]:
    """The cases of one open set below a folder, in its published layout.

    Raises:
        MissingError: The folder was not given or does not hold the set.
    """
    from vesalius.sources.open_sets.readers import read_layout

    if folder is None or not (folder / name).is_dir():
        raise MissingError(
            "real set is not there", item=str(folder / name) if folder else name, fix="give the folder above it"
        )
    return list(read_layout(name, folder / name))


def crops(cases: Iterable[Case], labels: Sequence[str], side: int, each: int, seed: int) -> list[Case]:
    """One case for each marked thing: the square around it in the picture's own pixels, its label as `class`.

    Args:
        cases: Cases whose regions on the first picture are points or boxes.
        labels: Region labels to take.
        side: Side of the square in pixels; the picture is mirrored at its edges.
        each: Most crops of a label, drawn evenly from all that there are.
        seed: Seed of that draw.
    """
    given = list(cases)
    found: dict[str, list[tuple[int, int, int]]] = {label: [] for label in labels}
    for i, case in enumerate(given):
        places: dict[tuple[str, int, int], None] = {}  # what is marked twice (as a part and as a finding) counts once
        for region in case.regions:
            if region.label in found and region.image == 0 and isinstance(region.geometry, Point | Box):
                at = region.geometry.centre if isinstance(region.geometry, Box) else region.geometry
                places[region.label, int(at.y), int(at.x)] = None
        for label, y, x in places:
            found[label].append((i, y, x))
    rng = np.random.default_rng((seed, 0xC507))
    taken = sorted((*places[j], label) for label, places in found.items() for j in rng.permutation(len(places))[:each])
    out: list[Case] = []
    for i, group in itertools.groupby(taken, key=lambda t: t[0]):
        case, image = given[i], given[i].images[0]
        array = image.pixels()
        # One side of margin on each side, so that any place in the picture can be a middle.
        wide = np.pad(array, [(side, side)] * 2 + [(0, 0)] * (array.ndim - 2), mode="reflect")
        for _, y, x, label in group:
            top, left = y + side - side // 2, x + side - side // 2
            cut = np.ascontiguousarray(wide[top : top + side, left : left + side])
            small = Image(array=cut, modality=image.modality, body_part=image.body_part)
            out.append(
                Case(f"{case.id}@{y},{x}", case.group, images=(small,), labels={"class": Label(label)},
                     source=case.source)
            )  # fmt: skip
    return out


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


def present(cases: Sequence[Case], label: str) -> str:
    """The label's name where some case has it, else "": what a recipe learns when nobody says."""
    return label if any(label in c.labels for c in cases) else ""


def known(cases: Sequence[Case], names: Sequence[str]) -> tuple[list[Case], npt.NDArray[np.int64]]:
    """Test cases with a class that was trained on, and their class numbers in the order of training."""
    found = [(c, str(c.label("class") or named_class(c))) for c in cases if c.images]
    kept = [(c, names.index(k)) for c, k in found if k in names]
    return [c for c, _ in kept], np.asarray([k for _, k in kept], np.int64)
