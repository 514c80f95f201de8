"""A mask decoder over a frozen pyramid that clicks, boxes, words and an earlier mask can steer.

After SAM (Kirillov et al., arXiv 2304.02643) with the words of IMIS-Net (Cheng et al., arXiv 2411.12814): prompts are
tokens, two blocks let tokens and image cells read each other, and each mask is the product of an upscaled map with a
vector that its token gives. Finer maps of the tower join while upscaling (as in HQ-SAM), so that edges follow the
picture. Image cells do not depend on prompts before the blocks: they are computed once and kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vesalius.nn.efficientnet import FEATURES, EfficientNetLite0, Pyramid

#: What a prompt point means: a click outside or inside the target, or a corner of its box; PAD is no point at all.
OUTSIDE, INSIDE, TOP_LEFT, BOTTOM_RIGHT, PAD = 0, 1, 2, 3, -1
#: Token 0's mask is for prompts that say enough; one click alone is ambiguous, and the other three may differ.
MASKS = 4
#: Drawn prompts: the mask so far, clicks inside, clicks outside, the box.
MAPS = 4
#: Spread of a drawn click, in sides of the picture.
RADIUS = 0.03


class FourierPosition(nn.Module):
    """Sines and cosines of random projections of a place in the unit square (Tancik et al., 2020).

    Args:
        dim: Length of the encoding.
    """

    projection: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.register_buffer("projection", torch.randn(2, dim // 2, generator=generator))

    def forward(self, xy: Tensor) -> Tensor:
        """`(..., 2)` in [0, 1] to `(..., dim)`."""
        turns = (2 * xy - 1) @ self.projection * (2 * torch.pi)
        out: Tensor = torch.cat([turns.sin(), turns.cos()], -1)
        return out

    def grid(self, height: int, width: int) -> Tensor:
        """`(height * width, dim)` encodings of the middles of cells, row by row."""
        device = self.projection.device
        y, x = ((torch.arange(n, device=device) + 0.5) / n for n in (height, width))
        places = torch.stack([x[None].expand(height, -1), y[:, None].expand(-1, width)], -1)
        out: Tensor = self(places).flatten(0, 1)
        return out


class ChannelNorm(nn.Module):
    """Layer norm over the channels of a map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """`(n, c, h, w)` to the same."""
        out: Tensor = self.norm(x.movedim(1, -1)).movedim(-1, 1)
        return out


class Attention(nn.Module):
    """Multi-head attention whose inner width may be smaller than the tokens (SAM halves it)."""

    def __init__(self, dim: int, heads: int, inner: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v = (nn.Linear(dim, inner) for _ in range(3))
        self.out = nn.Linear(inner, dim)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, known: Tensor | None = None) -> Tensor:
        """`(n, a, d)` queries, `(n, b, d)` keys and values, `(n, b)` True where a key may be read; `(n, a, d)`."""
        q, k, v = (
            f(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f, x in ((self.q, q), (self.k, k), (self.v, v))
        )
        mask = None if known is None else known[:, None, None]
        read = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        out: Tensor = self.out(read.transpose(1, 2).flatten(2))
        return out


class TwoWayBlock(nn.Module):
    """Tokens exchange, read the image, think; then the image reads the tokens."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.own = Attention(dim, heads, dim)
        self.read_image, self.read_tokens = (Attention(dim, heads, dim // 2) for _ in range(2))
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.ReLU(), nn.Linear(4 * dim, dim))
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(4))

    def forward(
        self, tokens: Tensor, image: Tensor, start: Tensor, place: Tensor, known: Tensor
    ) -> tuple[Tensor, Tensor]:
        """`(n, t, d)` tokens and `(n, hw, d)` cells, the tokens as they were first, the cells' places, known tokens."""
        q = tokens + start
        tokens = self.norms[0](tokens + self.own(q, q, tokens, known))
        tokens = self.norms[1](tokens + self.read_image(tokens + start, image + place, image))
        tokens = self.norms[2](tokens + self.mlp(tokens))
        image = self.norms[3](image + self.read_tokens(image + place, tokens + start, tokens, known))
        return tokens, image


@dataclass(frozen=True)
class Features:
    """One or more pictures, ready for any number of prompts.

    Args:
        cells: `(b, dim, h, w)` at a sixteenth of the picture's side.
        fine: Maps at an eighth, a quarter and half of it.
    """

    cells: Tensor
    fine: tuple[Tensor, Tensor, Tensor]

    def rows(self, index: Tensor) -> Features:
        """Those of some pictures, repeated as the index says."""
        return Features(self.cells[index], (self.fine[0][index], self.fine[1][index], self.fine[2][index]))


@dataclass(frozen=True)
class Prompts:
    """What is said about `n` targets.

    Args:
        points: `(n, p, 2)` x, y in [0, 1] of the picture.
        kinds: `(n, p)` INSIDE, OUTSIDE, TOP_LEFT, BOTTOM_RIGHT or PAD.
        text: `(n, words)` sentence vector; a row of zeros is none.
        previous: `(n, h, w)` logits so far; a row of NaN is none.
    """

    points: Tensor
    kinds: Tensor
    text: Tensor
    previous: Tensor


@dataclass(frozen=True)
class Masks:
    """What the decoder says about `n` targets.

    Args:
        logits: `(n, MASKS, h, w)` at half of the picture's side.
        overlap: `(n, MASKS)` its own estimate of each mask's IoU.
        present: `(n,)` logit that the target is in the picture at all.
    """

    logits: Tensor
    overlap: Tensor
    present: Tensor


class PromptableHead(nn.Module):
    """Neck, prompt encoder and decoder over the pyramid of EfficientNet-Lite0.

    Args:
        dim: Length of a token.
        text: Length of a sentence vector.
        depth: Two-way blocks.
        heads: Attention heads.
    """

    def __init__(self, dim: int = 128, text: int = 384, depth: int = 2, heads: int = 8) -> None:
        super().__init__()
        half, quarter, eighth, sixteenth = EfficientNetLite0.stage_channels
        self.side, self.top = nn.Conv2d(sixteenth, dim, 1), nn.Conv2d(FEATURES, dim, 1)
        self.neck = nn.Sequential(ChannelNorm(dim), nn.GELU(), nn.Conv2d(dim, dim, 3, padding=1), ChannelNorm(dim))
        widths = (dim // 2, dim // 4, dim // 4)
        self.fine = nn.ModuleList(nn.Conv2d(c, w, 1) for c, w in zip((eighth, quarter, half), widths, strict=True))
        self.position = FourierPosition(dim)
        self.kinds = nn.Parameter(torch.randn(4, dim) * 0.02)
        self.words = nn.Sequential(nn.Linear(text, dim), nn.LayerNorm(dim))
        self.word_bias = nn.Linear(text, widths[2], bias=False)
        self.maps_in = nn.Sequential(
            nn.Conv2d(MAPS, 16, 2, 2), ChannelNorm(16), nn.GELU(), nn.Conv2d(16, 32, 2, 2), ChannelNorm(32), nn.GELU(),
            nn.Conv2d(32, dim, 2, 2),
        )  # fmt: skip
        self.maps_fine = nn.ModuleList(nn.Conv2d(MAPS, w, 3, padding=1) for w in widths)
        self.answers = nn.Parameter(torch.randn(MASKS + 2, dim) * 0.02)  # overlap, presence, masks
        self.blocks = nn.ModuleList(TwoWayBlock(dim, heads) for _ in range(depth))
        self.last, self.last_norm = Attention(dim, heads, dim // 2), nn.LayerNorm(dim)
        ins = (dim, *widths[:2])
        self.up = nn.ModuleList(nn.ConvTranspose2d(i, o, 2, 2) for i, o in zip(ins, widths, strict=True))
        self.up_norms = nn.ModuleList(ChannelNorm(w) for w in widths)
        self.smooth = nn.Conv2d(widths[2], widths[2], 3, padding=1)
        self.keep = nn.Parameter(torch.tensor(0.5))  # how much of the mask so far stays where nothing speaks against it
        self.vectors = nn.ModuleList(_mlp(dim, widths[2]) for _ in range(MASKS))
        for vector in self.vectors:
            # A product of two small things hardly moves at first: one of them starts large.
            nn.init.normal_(vector[-1].bias)  # type: ignore[index] # an mlp is a Sequential
        self.overlap, self.present = _mlp(dim, MASKS), _mlp(dim, 1)

    def features(self, pyramid: Pyramid) -> Features:
        """What can be known before anything is asked."""
        half, quarter, eighth, sixteenth = pyramid.stages
        top = F.interpolate(self.top(pyramid.tokens), size=sixteenth.shape[-2:], mode="bilinear", align_corners=False)
        cells = self.neck(self.side(sixteenth) + top)
        maps = [f(x) for f, x in zip(self.fine, (eighth, quarter, half), strict=True)]
        return Features(cells, (maps[0], maps[1], maps[2]))

    def forward(self, features: Features, prompts: Prompts) -> Masks:
        """One answer for each prompt; row i of both belongs together."""
        tokens, known = self._tokens(prompts)
        h, w = features.cells.shape[-2:]
        maps = prompt_maps(prompts)
        cells = features.cells + _fit(self.maps_in(maps), (h, w))
        image, place = cells.flatten(2).transpose(1, 2), self.position.grid(h, w)
        start = tokens
        for block in self.blocks:
            tokens, image = block(tokens, image, start, place, known)
        tokens = self.last_norm(tokens + self.last(tokens + start, image + place, image))
        x = image.transpose(1, 2).reshape(len(image), -1, h, w)
        for up, norm, fine, draw in zip(self.up, self.up_norms, features.fine, self.maps_fine, strict=True):
            x = F.relu(norm(up(x) + fine + draw(_fit(maps, fine.shape[-2:]))))
        x = x + F.relu(self.smooth(x))
        vectors = torch.stack([f(tokens[:, 2 + i]) for i, f in enumerate(self.vectors)], 1)
        # Words also act on every cell at once, as in IMIS-Net: one more vector for the product.
        vectors = vectors + self.word_bias(prompts.text)[:, None]
        logits = torch.einsum("nkc,nchw->nkhw", vectors, x)
        logits = logits + self.keep * torch.nan_to_num(prompts.previous)[:, None].clamp(-8, 8)
        return Masks(logits, self.overlap(tokens[:, 0]).sigmoid(), self.present(tokens[:, 1])[:, 0])

    def _tokens(self, prompts: Prompts) -> tuple[Tensor, Tensor]:
        n = len(prompts.points)
        answers = self.answers.expand(n, -1, -1)
        points = self.position(prompts.points) + self.kinds[prompts.kinds.clamp(min=0)]
        tokens = torch.cat([answers, self.words(prompts.text)[:, None], points], 1)
        always = torch.ones(answers.shape[:2], dtype=torch.bool, device=tokens.device)
        said = prompts.text.abs().sum(1, keepdim=True) > 0
        return tokens, torch.cat([always, said, prompts.kinds != PAD], 1)


def prompt_maps(prompts: Prompts) -> Tensor:
    """`(n, MAPS, h, w)` what was said, drawn: the mask so far, clicks inside, clicks outside, the box.

    Tokens alone are what SAM has, and need millions of masks to learn what a place is. Drawn prompts (as in RITM,
    Sofiiuk et al., arXiv 2102.06583) give the decoder the place itself at every scale.
    """
    h, w = prompts.previous.shape[-2:]
    device = prompts.points.device
    y, x = ((torch.arange(n, device=device) + 0.5) / n for n in (h, w))
    px, py = prompts.points[..., 0, None, None], prompts.points[..., 1, None, None]
    near = torch.exp(-((x[None, None, None] - px) ** 2 + (y[None, None, :, None] - py) ** 2) / (2 * RADIUS**2))
    clicks = [(near * (prompts.kinds == kind)[..., None, None]).amax(1) for kind in (INSIDE, OUTSIDE)]
    corners = []
    for kind in (TOP_LEFT, BOTTOM_RIGHT):
        here = (prompts.kinds == kind)[..., None]
        corners.append((prompts.points * here).sum(1))
    boxed = (prompts.kinds == BOTTOM_RIGHT).any(1)[:, None, None]
    (x0, y0), (x1, y1) = (c.T[..., None, None] for c in corners)
    grid_x, grid_y = x[None, None], y[None, :, None]
    box = (grid_x >= x0) & (grid_x <= x1) & (grid_y >= y0) & (grid_y <= y1) & boxed
    # Logits are bounded, so that a sure mistake can still be corrected.
    so_far = torch.nan_to_num(prompts.previous).clamp(-8, 8) / 8
    return torch.stack([so_far, *clicks, box.to(so_far.dtype)], 1)


def _fit(x: Tensor, size: Sequence[int]) -> Tensor:
    """`(n, c, *size)`: averages of cells, or the map itself where it has that size."""
    return x if tuple(x.shape[-2:]) == tuple(size) else F.interpolate(x, size=tuple(size), mode="area")


def _mlp(dim: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, out))


def pad_prompts(points: Sequence[Sequence[tuple[float, float, int]]]) -> tuple[Tensor, Tensor]:
    """`(n, p, 2)` places and `(n, p)` kinds of lists of `(x, y, kind)` of different lengths."""
    longest = max([1, *map(len, points)])
    rows = [[*row, *[(0.0, 0.0, PAD)] * (longest - len(row))] for row in points]
    whole = torch.tensor(rows, dtype=torch.float32)
    return whole[..., :2], whole[..., 2].long()


def choose(masks: Masks, single: Tensor) -> tuple[Tensor, Tensor]:
    """The mask to show: token 0's, or where one click is all there is, that of tokens 1 to 3 with the best estimate.

    Args:
        masks: Answers; of a decoder that gives one mask it is that one.
        single: `(n,)` True where the prompt is one click alone.

    Returns:
        `(n, h, w)` logits and `(n,)` estimated IoU.
    """
    if masks.overlap.shape[1] == 1:
        return masks.logits[:, 0], masks.overlap[:, 0]
    best = torch.where(single, 1 + masks.overlap[:, 1:].argmax(1), 0)
    row = torch.arange(len(best), device=best.device)
    return masks.logits[row, best], masks.overlap[row, best]
