"""Training of coarse maps for names: where a name is, and that other names are not there at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from vesalius.nn.locate import Locator
from vesalius.training.encoded import Encoded

#: Where parts of the body lie: a structure of one region is surely absent from a picture of another.
REGIONS: Mapping[str, str] = {
    "brain": "head", "head": "head", "retina": "eye", "eye": "eye", "chest": "chest", "heart": "chest",
    "lung": "chest", "breast": "breast", "neck": "neck", "abdomen": "abdomen", "liver": "abdomen",
    "kidney": "abdomen", "colon": "colon", "prostate": "pelvis", "spine": "spine", "knee": "knee", "fetus": "fetus",
    "skin": "skin", "blood": "blood",
}  # fmt: skip
#: Regions whose pictures may show something of the other.
NEAR: frozenset[frozenset[str]] = frozenset(
    frozenset(pair) for pair in (("chest", "abdomen"), ("spine", "abdomen"), ("spine", "chest"), ("spine", "neck"),
                                 ("abdomen", "pelvis"), ("neck", "chest"), ("neck", "head"), ("chest", "breast"))
)  # fmt: skip


def surely_absent(where: str, places: Iterable[tuple[str, str]]) -> list[str]:
    """Names that are surely not in a picture of one part of the body: those of other regions that are not near.

    Args:
        where: The part of the body.
        places: `(name, part of the body)` of every picture that a name is known from.
    """
    here = _region(where)
    homes: dict[str, set[str]] = {}
    for name, part in places:
        homes.setdefault(name, set()).add(_region(part))
    return sorted(
        name for name, regions in homes.items()
        if here not in regions and not any(frozenset((here, r)) in NEAR for r in regions)
    )  # fmt: skip


def absent_names(data: Encoded) -> list[tuple[str, ...]]:
    """For each picture, names that are surely not in it: of other regions of the body, or ended before this slice."""
    places = {(t.name, data.pictures[t.picture].where) for t in data.targets}
    far = {p.where: set(surely_absent(p.where, places)) for p in data.pictures}
    ended: dict[int, set[str]] = {}
    for number, target in enumerate(data.targets):
        if not data.mask(number).any():
            ended.setdefault(target.picture, set()).add(target.name)
    return [tuple(sorted(far[p.where] | ended.get(n, set()))) for n, p in enumerate(data.pictures)]


def _region(where: str) -> str:
    return REGIONS.get(where, where)


class Coarse:
    """Pooled maps in memory, and coarse truths.

    Args:
        data: Pictures and targets.
        locator: Says how maps are pooled.
    """

    def __init__(self, data: Encoded, locator: Locator) -> None:
        self.data = data
        with torch.inference_mode(False):
            self.maps = torch.stack(
                [
                    locator.pooled(torch.from_numpy(data.map(i)).float()[None])[0].half()
                    for i in range(len(data.pictures))
                ]
            )
        cell = data.side // self.maps.shape[-1]
        self.truth = torch.stack(
            [F.avg_pool2d(torch.from_numpy(data.mask(t)).float()[None], cell)[0] for t in range(len(data.targets))]
        )
        self.of: list[list[int]] = [[] for _ in data.pictures]
        for number, target in enumerate(data.targets):
            if self.truth[number].any():
                self.of[target.picture].append(number)
        self.absent = absent_names(data)


def locate_step(
    locator: Locator,
    coarse: Coarse,
    pictures: npt.NDArray[np.int64],
    words: Mapping[str, npt.NDArray[np.float32]],
    *,
    batch: int = 12,
    names: int = 2,
    odds: npt.NDArray[np.float64] | None = None,
) -> Callable[[int, np.random.Generator], dict[str, Tensor]]:
    """A training step: some pictures, and for each as many names that are there as names that are not.

    Args:
        locator: The net.
        coarse: Pooled maps and truths.
        pictures: Those to train on.
        words: Name to `(k, d)` sentence vectors of its wordings; one is drawn.
        batch: Pictures of a step.
        names: Most names of each kind for a picture.
        odds: How often each of `pictures` is drawn, relative to the others.
    """
    share = None if odds is None else odds / odds.sum()

    def step(_: int, rng: np.random.Generator) -> dict[str, Tensor]:
        chosen = rng.choice(pictures, min(batch, len(pictures)), replace=False, p=share)
        flips = np.asarray([coarse.data.pictures[p].mirrored and rng.random() < 0.5 for p in chosen])
        rows: list[int] = []
        vectors: list[npt.NDArray[np.float32]] = []
        truth: list[Tensor] = []
        there: list[float] = []
        for row, p in enumerate(chosen):
            present, absent = coarse.of[p], coarse.absent[p]
            for t in rng.permutation(present)[:names]:
                vectors.append(_draw(words[coarse.data.targets[t].name], rng))
                truth.append(coarse.truth[t].flip(-1) if flips[row] else coarse.truth[t])
                rows.append(row)
                there.append(1.0)
            for name in rng.permutation(absent)[:names]:
                vectors.append(_draw(words[str(name)], rng))
                truth.append(torch.zeros(coarse.truth.shape[1:]))
                rows.append(row)
                there.append(0.0)
        maps = coarse.maps[torch.from_numpy(chosen)].float()
        maps = torch.where(torch.from_numpy(flips)[:, None, None, None], maps.flip(-1), maps)
        cells = locator.cells(maps)[torch.tensor(rows)]
        logits, sure = locator(cells, torch.from_numpy(np.stack(vectors)))
        return _losses(logits, sure, torch.stack(truth), torch.tensor(there))

    return step


def _losses(logits: Tensor, sure: Tensor, truth: Tensor, there: Tensor) -> dict[str, Tensor]:
    p = logits.sigmoid()
    both = 2 * (p * truth).sum((1, 2)) + 1
    apart = 1 - both / (p.sum((1, 2)) + truth.sum((1, 2)) + 1)
    return {
        "cells": F.binary_cross_entropy_with_logits(logits, truth),
        "dice": (apart * there).sum() / there.sum().clamp(min=1),
        "there": F.binary_cross_entropy_with_logits(sure, there),
    }


def _draw(vectors: npt.NDArray[np.float32], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    chosen: npt.NDArray[np.float32] = vectors[rng.integers(len(vectors))]
    return chosen


def folds(data: Encoded, seed: int = 0) -> npt.NDArray[np.int64]:
    """`(pictures,)` 0 or 1, by patient: a locator trained on one half gives honest maps of the other."""
    groups = sorted({p.group for p in data.pictures})
    side = dict(zip(groups, np.random.default_rng(seed).permutation(len(groups)) % 2, strict=True))
    return np.asarray([side[p.group] for p in data.pictures])


def balance(kinds: Sequence[str], power: float = 0.5) -> npt.NDArray[np.float64]:
    """Chances that draw a kind with `n` members `n ** power` times as often as one with a single member."""
    number: dict[str, int] = {}
    for kind in kinds:
        number[kind] = number.get(kind, 0) + 1
    return np.asarray([number[k] ** (power - 1) for k in kinds])
