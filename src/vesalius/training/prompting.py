"""Training of a mask decoder over kept maps: boxes, clicks, names, names of what is not there, a neighbour's mask."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from vesalius.models.propagate import MARGIN
from vesalius.nn.promptable import BOTTOM_RIGHT, TOP_LEFT, Masks, Prompts
from vesalius.training.clicks import Bools, Click, box_corners, first_click
from vesalius.training.encoded import Encoded
from vesalius.training.interactive import Session, mask_losses

Kind = Literal["box", "click", "name", "absent", "neighbour"]
#: How first prompts are shared out; a target that ends here is asked by its neighbour's mask or its name alone.
SHARES: Mapping[Kind, float] = {"box": 0.4, "click": 0.15, "name": 0.2, "absent": 0.1, "neighbour": 0.15}
#: Logits of a neighbour's mask as a decoder would give them: this sure inside, the edge two pixels wide.
SURE = 8.0
#: `(features, words)` to coarse logits at the size of the masks: what stands in for the mask so far where a name is
#: all that was said.
Locate = Callable[[Tensor, Tensor], Tensor]


def prompt_step(
    net: Callable[[Any, Prompts], Masks],
    data: Encoded,
    rows: npt.NDArray[np.int64],
    words: Mapping[str, npt.NDArray[np.float32]],
    absent: Sequence[Sequence[str]],
    locate: Callable[[int], Locate],
    *,
    batch: int = 4,
    rounds: int = 2,
    odds: npt.NDArray[np.float64] | None = None,
    device: str = "cpu",
) -> Callable[[int, np.random.Generator], dict[str, Tensor]]:
    """A training step: a first prompt for each of some targets, then rounds of clicks where the masks are wrong.

    Args:
        net: The decoder.
        data: Pictures and targets.
        rows: Targets to train on.
        words: Name to `(k, d)` sentence vectors of its wordings; one is drawn.
        absent: For each picture, names that are not in it.
        locate: Picture to who draws its coarse maps; not one that was trained on that picture, or the decoder learns
            to trust what will not be so good.
        batch: Targets of a step.
        rounds: Prompts for each.
        odds: How often each of `rows` is drawn, relative to the others.
        device: torch device.
    """
    share = None if odds is None else odds / odds.sum()
    size = next(iter(words.values())).shape[1]

    def step(_: int, rng: np.random.Generator) -> dict[str, Tensor]:
        chosen = rng.choice(rows, min(batch, len(rows)), replace=False, p=share)
        features = data.features(chosen).to(device)
        truth, points, said, before = [], [], [], []
        for row, number in enumerate(chosen):
            target = data.targets[number]
            mask, kind = data.mask(number), _kind(data, int(number), absent, rng)
            vector = np.zeros(size, np.float32)
            clicks: list[Click] = []
            so_far = torch.full(mask.shape, float("nan"))
            if kind in ("name", "absent"):
                name = target.name if kind == "name" else str(rng.choice(list(absent[target.picture])))
                mask = mask if kind == "name" else np.zeros_like(mask)
                vector = words[name][rng.integers(len(words[name]))]
                with torch.no_grad():
                    so_far = locate(target.picture)(features[row : row + 1], torch.from_numpy(vector)[None])[0]
            elif kind == "neighbour":
                last = data.mask(target.before)
                clicks, so_far = widened(last), as_logits(last)
                if rng.random() < 0.5:
                    vector = words[target.name][rng.integers(len(words[target.name]))]
            else:
                clicks = box_corners(mask, rng) if kind == "box" else [first_click(mask, rng)]
            truth.append(mask)
            points.append(clicks)
            said.append(vector)
            before.append(so_far)
        wanted = np.stack(truth)
        there = torch.from_numpy(wanted.any((1, 2)).astype(np.float32)).to(device)
        session = Session(net, features, wanted, np.stack(said), points, device, torch.stack(before))
        losses: dict[str, Tensor] = {}
        for turn in range(rounds):
            masks, single = session.answer()
            target = torch.from_numpy(wanted.astype(np.float32)).to(device)
            for part, value in mask_losses(masks, target, there, single).items():
                losses[part] = losses.get(part, torch.zeros((), device=device)) + value / rounds
            if turn < rounds - 1:
                session.correct([rng] * len(chosen), int(rng.choice((1, 2))), "error")
        return losses

    return step


def _kind(data: Encoded, number: int, absent: Sequence[Sequence[str]], rng: np.random.Generator) -> Kind:
    target = data.targets[number]
    there = data.mask(number).any()
    able: dict[Kind, float] = {"box": SHARES["box"], "click": SHARES["click"], "name": SHARES["name"]} if there else {}
    if absent[target.picture]:
        able["absent"] = SHARES["absent"]
    if target.before >= 0:
        able["neighbour"] = SHARES["neighbour"] * (2 if there else 1)
    odds = np.asarray(list(able.values()))
    return list(able)[rng.choice(len(able), p=odds / odds.sum())]


def widened(mask: Bools, margin: float = MARGIN) -> list[Click]:
    """The corners of a neighbour's box, wider by a share of its sides, as `propagate` gives them."""
    (x0, y0, _), (x1, y1, _) = box_corners(mask)
    dx, dy = margin * (x1 - x0), margin * (y1 - y0)
    return [(max(0.0, x0 - dx), max(0.0, y0 - dy), TOP_LEFT), (min(1.0, x1 + dx), min(1.0, y1 + dy), BOTTOM_RIGHT)]


def as_logits(mask: Bools) -> Tensor:
    """`(h, w)` logits that a decoder might have given for this mask."""
    soft = F.avg_pool2d(torch.from_numpy(mask.astype(np.float32))[None], 5, 1, 2, count_include_pad=False)[0]
    return (2 * soft - 1) * SURE


@torch.inference_mode()
def dice_after(
    net: Callable[[Any, Prompts], Masks],
    data: Encoded,
    rows: Sequence[int],
    words: Mapping[str, npt.NDArray[np.float32]],
    locate: Callable[[int], Locate],
    *,
    first: Literal["box", "click", "name", "neighbour"],
    clicks: int = 1,
    seed: int = 0,
    batch: int = 8,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Dice of each target in the encoder's square after a first prompt and after each corrective click, and presence.

    Args:
        net: The decoder.
        data: Pictures and targets.
        rows: Targets.
        words: Name to sentence vectors; the first is used.
        locate: Picture to who draws its coarse maps.
        first: The first prompt.
        clicks: Prompts in all.
        seed: Seed of the clicks.
        batch: Targets at once.

    Returns:
        `(n, clicks)` Dice, 1 where both are empty, and `(n,)` probabilities that the target is there, after the first.
    """
    scores = np.zeros((len(rows), clicks))
    sure = np.zeros(len(rows))
    size = next(iter(words.values())).shape[1]
    for start in range(0, len(rows), batch):
        chosen = list(rows[start : start + batch])
        features = data.features(chosen)
        truth = np.stack([data.mask(t) for t in chosen])
        rngs = [np.random.default_rng((seed, t)) for t in chosen]
        said = np.zeros((len(chosen), size), np.float32)
        points: list[list[Click]] = [[] for _ in chosen]
        before = torch.full(truth.shape, float("nan"))
        for row, number in enumerate(chosen):
            target = data.targets[number]
            if first == "name":
                said[row] = words[target.name][0]
                before[row] = locate(target.picture)(features[row : row + 1], torch.from_numpy(said[row])[None])[0]
            elif first == "neighbour":
                last = data.mask(target.before)
                points[row], before[row] = widened(last), as_logits(last)
            else:
                points[row] = box_corners(truth[row]) if first == "box" else [first_click(truth[row], rngs[row])]
        session = Session(net, features, truth, said, points, "cpu", before)
        for turn in range(clicks):
            masks, _ = session.answer()
            if turn == 0:
                sure[start : start + len(chosen)] = masks.present.sigmoid().numpy()
            now = session.shown()
            whole = now.sum((1, 2)) + truth.sum((1, 2))
            both = 2 * (now & truth).sum((1, 2))
            scores[start : start + len(chosen), turn] = np.where(whole > 0, both / np.maximum(whole, 1), 1.0)
            if turn < clicks - 1:
                session.correct(rngs, 1, "error")
    return scores, sure
