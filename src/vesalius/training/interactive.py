"""Training a promptable head as it will be used: a first prompt, then clicks where its own mask is wrong.

The frozen tower sees each picture once; its maps are kept in half precision, so a step costs only the head. Targets are
kept at half of the picture's side, which is what the head gives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vesalius.cases import Case, Image
from vesalius.cases.geometry import Mask
from vesalius.errors import BadInputError
from vesalius.losses.segmentation import dice, focal, overlap
from vesalius.models.promptable import picture_of, sentence_vectors, shrink
from vesalius.nn.efficientnet import Pyramid
from vesalius.nn.promptable import Features, Masks, PromptableHead, Prompts, choose, pad_prompts
from vesalius.training.clicks import Click, box_corners, error_clicks, first_click, inside_clicks

if TYPE_CHECKING:
    from vesalius.models.nano.model import Nano

Correction = Literal["error", "inside"]
#: Targets of fewer cells than this at half the side cannot be told from noise.
SMALLEST = 6
#: Weight of the focal loss beside Dice. IMIS-Net has 20, and SAM's alpha of 0.25: with either, a short training
#: answers every prompt with an empty mask, since most pixels are outside.
FOCAL, ALPHA = 2.0, 0.5


@dataclass(frozen=True, eq=False)
class Targets:
    """Pictures and what is to be segmented in them.

    Args:
        maps: The tower's maps of each picture, half precision: four stages, then tokens.
        masks: `(n, m, m)` targets.
        picture: `(n,)` which picture each belongs to.
        names: Name of each target; "" has none (a region that nobody named).
        groups: Patient of each picture.
        words: Name to its sentence vector; "" to zeros.
        absent: For each picture, names of its kind of picture that are not in it.
    """

    maps: tuple[Tensor, ...]
    masks: npt.NDArray[np.bool_]
    picture: npt.NDArray[np.int64]
    names: tuple[str, ...]
    groups: tuple[str, ...]
    words: Mapping[str, npt.NDArray[np.float32]]
    absent: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return len(self.masks)

    def pyramid(self, pictures: npt.NDArray[np.int64]) -> Pyramid:
        """The maps of some pictures, single precision."""
        index = torch.from_numpy(pictures)
        s0, s1, s2, s3, top = (m[index].float() for m in self.maps)
        return Pyramid((s0, s1, s2, s3), top)

    def features(self, head: PromptableHead, rows: npt.NDArray[np.int64]) -> Features:
        """What the head reads of the pictures of some targets; each picture passes its neck once."""
        owners, inverse = np.unique(self.picture[rows], return_inverse=True)
        return head.features(self.pyramid(owners)).rows(torch.from_numpy(inverse))

    def vectors(self, said: Sequence[str]) -> npt.NDArray[np.float32]:
        """`(n, d)` sentence vectors of names."""
        return np.stack([self.words[s] for s in said])

    def where(self, keep: Callable[[int], bool]) -> npt.NDArray[np.int64]:
        """Numbers of the targets that a condition keeps."""
        return np.asarray([i for i in range(len(self)) if keep(i)], np.int64)


def gather(
    cases: Sequence[Case],
    base: Nano,
    side: int,
    *,
    slices: int = 1,
    most: int = 12,
    unnamed: Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.int64]] | None = None,
    seed: int = 0,
) -> Targets:
    """Encode pictures and collect their masks.

    Args:
        cases: Cases whose regions hold masks.
        base: The frozen tower.
        side: Side that pictures are squeezed to.
        slices: Slices of a volume to use, spread over where its masks are.
        most: Most targets of one picture, drawn at random.
        unnamed: Gives `(h, w)` region numbers (0 none) of a `(3, h, w)` picture: targets without a name.
        seed: Seed of the draw.

    Raises:
        BadInputError: No case has a mask.
    """
    rng = np.random.default_rng(seed)
    half = side // 2
    views: list[npt.NDArray[np.uint8]] = []
    masks: list[npt.NDArray[np.bool_]] = []
    owner: list[int] = []
    names: list[str] = []
    groups: list[str] = []
    kinds: list[tuple[str, str]] = []
    for case in cases:
        for image, index, found in _pictures(case, slices):
            usable = [(n, small) for n, m in found if (small := shrink(m, half)).sum() >= SMALLEST]
            if not usable and unnamed is None:
                continue
            view = picture_of(image, index, side)[0]
            chosen = [usable[i] for i in rng.permutation(len(usable))[:most]]
            if unnamed is not None:
                parts = unnamed(view)
                chosen += [
                    ("", small) for k in range(1, int(parts.max()) + 1)
                    if (small := shrink(parts == k, half)).sum() >= SMALLEST
                ]  # fmt: skip
            if not chosen:
                continue
            for name, small in chosen:
                masks.append(small)
                names.append(name)
                owner.append(len(views))
            views.append(view)
            groups.append(case.group)
            kinds.append((image.modality, image.body_part))
    if not masks:
        raise BadInputError("nothing to segment", item=f"{len(cases)} cases", why="none has a region with a mask")
    whole = _encode(base, views)
    known: dict[tuple[str, str], set[str]] = {}
    inside: list[set[str]] = [set() for _ in views]
    for name, picture in zip(names, owner, strict=True):
        if name:
            known.setdefault(kinds[picture], set()).add(name)
            inside[picture].add(name)
    every = sorted({n for n in names if n})
    words = dict(zip(["", *every], sentence_vectors(base, ["", *every]), strict=True))
    absent = tuple(tuple(sorted(known.get(k, set()) - there)) for k, there in zip(kinds, inside, strict=True))
    return Targets(whole, np.stack(masks), np.asarray(owner), tuple(names), tuple(groups), words, absent)


def _pictures(case: Case, slices: int) -> list[tuple[Image, int, list[tuple[str, npt.NDArray[np.bool_]]]]]:
    """The case's pictures: image, slice, and the named masks there. Regions of one name are one target."""
    out = []
    for number, image in enumerate(case.images):
        joined: dict[str, npt.NDArray[np.bool_]] = {}
        for region in case.regions:
            # Of several annotators the first counts: the second shows how far people agree.
            if region.image != number or not isinstance(region.geometry, Mask):
                continue
            array = region.geometry.to_array()
            if region.label in joined and region.annotator and _first(case, region.label) != region.annotator:
                continue
            joined[region.label] = joined[region.label] | array if region.label in joined else array
        if image.kind == "2d":
            out.append((image, 0, list(joined.items())))
            continue
        filled = np.flatnonzero(np.any([m.any((1, 2)) for m in joined.values()], 0)) if joined else np.zeros(0, int)
        at = np.unique(((np.arange(slices) + 0.5) * len(filled) / slices).astype(int)) if len(filled) else filled
        out += [(image, int(filled[i]), [(n, m[filled[i]]) for n, m in joined.items()]) for i in at]
    return out


def _first(case: Case, label: str) -> str:
    return next(r.annotator for r in case.regions if r.label == label)


def _encode(base: Nano, views: Sequence[npt.NDArray[np.uint8]]) -> tuple[Tensor, ...]:
    parts: list[list[Tensor]] = [[] for _ in range(5)]
    for start in range(0, len(views), 8):
        pyramid = base.patches(np.stack(views[start : start + 8]))
        for kept, m in zip(parts, (*pyramid.stages, pyramid.tokens), strict=True):
            # Tensors made in inference mode cannot stand in a graph, and a copy can.
            kept.append(m.half().cpu().clone())
    with torch.inference_mode(False):
        return tuple(torch.cat(p).clone() for p in parts)


class Session:
    """Some targets, what has been said about each, and the masks so far: user and model in turn.

    Args:
        head: Called with features and prompts, it gives masks.
        features: What it reads of each target's picture, row by row.
        truth: `(n, m, m)` what the user wants; not the target's own mask where something absent was asked for.
        words: `(n, d)` sentence vector of each target's name; zeros where none was said.
        points: Clicks and box corners for each, the first prompt.
        device: torch device.
        previous: `(n, m, m)` logits to begin with; a row of NaN is none.
    """

    def __init__(
        self, head: Callable[[Any, Prompts], Masks], features: Any, truth: npt.NDArray[np.bool_],
        words: npt.NDArray[np.float32], points: list[list[Click]], device: str, previous: Tensor | None = None,
    ) -> None:  # fmt: skip
        self.head, self.features, self.truth, self.points, self.device = head, features, truth, points, device
        self.named: list[bool] = np.any(words != 0, 1).tolist()
        self.words = torch.from_numpy(words).to(device)
        fresh = torch.full(truth.shape, float("nan")) if previous is None else previous
        self.previous = fresh.to(device)

    def answer(self) -> tuple[Masks, Tensor]:
        """The head's masks for all that was said so far, and `(n,)` True where that is one click alone."""
        places, kinds = (t.to(self.device) for t in pad_prompts(self.points))
        fresh = torch.isnan(self.previous).flatten(1).any(1)
        one = [len(p) == 1 and not named for p, named in zip(self.points, self.named, strict=True)]
        single = fresh & torch.tensor(one, device=self.device)
        masks = self.head(self.features, Prompts(places, kinds, self.words, self.previous))
        self.previous = choose(masks, single)[0].detach()
        return masks, single

    def shown(self) -> npt.NDArray[np.bool_]:
        """`(n, m, m)` masks so far."""
        now: npt.NDArray[np.bool_] = self.previous.cpu().numpy() > 0
        return now

    def correct(self, rngs: Sequence[np.random.Generator], clicks: int, where: Correction) -> None:
        """The user clicks on each mask that is of something."""
        for points, shown, truth, rng in zip(self.points, self.shown(), self.truth, rngs, strict=True):
            if truth.any():
                points += error_clicks(shown, truth, clicks, rng) if where == "error" else inside_clicks(
                    truth, clicks, rng
                )  # fmt: skip


def interactive_step(
    head: PromptableHead,
    targets: Targets,
    rows: npt.NDArray[np.int64],
    *,
    batch: int = 24,
    rounds: int = 3,
    correction: Correction = "error",
    shares: tuple[float, float, float] = (0.4, 0.3, 0.3),
    empty: float = 0.1,
    over: Literal["mask", "batch"] = "mask",
    odds: npt.NDArray[np.float64] | None = None,
    device: str = "cpu",
) -> Callable[[int, np.random.Generator], dict[str, Tensor]]:
    """A training step: a first prompt for each of some targets, then rounds of corrective clicks.

    Each round adds 1 or 3 clicks and gives back the mask so far (without gradient, as in SAM). All rounds make one
    optimiser step; IMIS-Net makes one after the first prompt and one after the others.

    Args:
        head: The head.
        targets: Targets.
        rows: Those to train on.
        batch: Targets of a step.
        rounds: Prompts for each.
        correction: `error` clicks where the mask is wrong; `inside` anywhere in the target (the ablation).
        shares: Of first prompts that are a box, a click, a name. A target without a name gets a box or a click.
        empty: Share of names that are of something absent: the answer is "not there".
        over: What Dice is summed over.
        odds: How often each of `rows` is drawn, relative to the others; None all alike.
        device: torch device.
    """
    share = None if odds is None else odds / odds.sum()

    def step(_: int, rng: np.random.Generator) -> dict[str, Tensor]:
        chosen = rng.choice(rows, min(batch, len(rows)), replace=False, p=share)
        truth = targets.masks[chosen].copy()
        said: list[str] = []
        points: list[list[Click]] = []
        for i, n in enumerate(chosen):
            kind = ("box", "click", "name")[rng.choice(3, p=np.asarray(shares) / sum(shares))]
            name, absent = targets.names[n], targets.absent[targets.picture[n]]
            if kind == "name" and name and absent and rng.random() < empty:
                name, truth[i] = str(rng.choice(absent)), False
            said.append(name if kind == "name" else "")
            points.append(
                [] if said[-1] else box_corners(truth[i], rng) if kind == "box" else [first_click(truth[i], rng)]
            )
        there = torch.from_numpy(truth.any((1, 2)).astype(np.float32)).to(device)
        target = torch.from_numpy(truth.astype(np.float32)).to(device)
        session = Session(head, targets.features(head, chosen), truth, targets.vectors(said), points, device)
        losses: dict[str, Tensor] = {}
        for turn in range(rounds):
            masks, single = session.answer()
            for part, value in mask_losses(masks, target, there, single, over).items():
                losses[part] = losses.get(part, torch.zeros((), device=device)) + value / rounds
            if turn < rounds - 1:
                session.correct([rng] * len(chosen), int(rng.choice((1, 3))), correction)
        return losses

    return step


def mask_losses(
    masks: Masks, target: Tensor, there: Tensor, single: Tensor, over: Literal["mask", "batch"] = "mask"
) -> dict[str, Tensor]:
    """Focal, Dice, error of the estimated IoU, presence: of token 0's mask, or for one click of the others' best.

    Args:
        masks: Answers; of a decoder that gives one mask it is always that one.
        target: `(n, m, m)`, 0 or 1.
        there: `(n,)` 1 where the target is in the picture.
        single: `(n,)` True where one click is all that was said.
        over: What Dice is summed over.
    """
    if masks.logits.shape[1] == 1:
        single = torch.zeros_like(single)
    several = target[:, None].expand_as(masks.logits)
    far, shape = focal(masks.logits, several, alpha=ALPHA), dice(masks.logits, several)
    allowed = torch.arange(masks.logits.shape[1], device=target.device)[None].expand(len(target), -1) > 0
    allowed = torch.where(single[:, None], allowed, ~allowed)
    best = (FOCAL * far + shape).detach().masked_fill(~allowed, torch.inf).argmin(1, keepdim=True)
    # The best of several gets most of the gradient; the others a little, or they would never become candidates.
    share = allowed * torch.where(single[:, None], 0.1, 0.0)
    share = share.scatter_add(1, best, torch.ones_like(share))
    share = share / share.sum(1, keepdim=True)
    estimate = (masks.overlap - overlap(masks.logits, several)) ** 2
    whole = dice(
        masks.logits.gather(1, best[..., None, None].expand(-1, -1, *target.shape[1:])), several[:, :1], over=over
    )
    return {
        "focal": (far * share).sum(1).mean(),
        "dice": (shape * share).sum(1).mean() if over == "mask" else whole,
        "overlap": (estimate * allowed).sum() / allowed.sum(),
        "present": torch.nn.functional.binary_cross_entropy_with_logits(masks.present, there),
    }


@torch.inference_mode()
def dice_by_click(
    head: PromptableHead,
    targets: Targets,
    rows: npt.NDArray[np.int64],
    *,
    first: Literal["click", "box", "text"] = "click",
    clicks: int = 4,
    correction: Correction = "error",
    said: Sequence[str] | None = None,
    seed: int = 0,
    device: str = "cpu",
    batch: int = 48,
) -> npt.NDArray[np.float64]:
    """`(n, clicks)` Dice of each target after the first prompt and after every corrective click.

    Args:
        head: The head.
        targets: Targets.
        rows: Those to measure.
        first: The first prompt.
        clicks: Prompts in all.
        correction: Where later clicks fall.
        said: Names to use instead of the targets' own, with `first="text"`.
        seed: Seed of the clicks.
        device: torch device.
        batch: Targets at once.
    """
    out = np.zeros((len(rows), clicks))
    for start in range(0, len(rows), batch):
        chosen = rows[start : start + batch]
        truth = targets.masks[chosen]
        rngs = [np.random.default_rng((seed, int(n))) for n in chosen]
        names = [targets.names[n] for n in chosen] if said is None else list(said[start : start + batch])
        points: list[list[Click]] = [
            [first_click(t, rng)] if first == "click" else box_corners(t) if first == "box" else []
            for t, rng in zip(truth, rngs, strict=True)
        ]
        words = targets.vectors(names if first == "text" else [""] * len(chosen))
        session = Session(head, targets.features(head, chosen), truth, words, points, device)
        for turn in range(clicks):
            session.answer()
            now = session.shown()
            both = (now & truth).sum((1, 2))
            out[start : start + len(chosen), turn] = 2 * both / (now.sum((1, 2)) + truth.sum((1, 2)))
            session.correct(rngs, 1, correction)
    return out
