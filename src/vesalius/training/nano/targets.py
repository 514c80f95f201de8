"""What is known of each training case, as columns that a linear layer on the image tower learns to predict.

Some facts exclude each other (the classes of one set, the kind of image, its plane, its sequence): their columns share
a softmax. Others stand alone (a finding that is there or not). What is not known of a case costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from vesalius.cases import Case
from vesalius.training.nano.facts import case_view, kind_of

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Block:
    """Columns that belong together.

    Args:
        name: What they say.
        values: One for each column.
        exclusive: Whether exactly one of them is true.
        weight: Weight of the block's loss.
    """

    name: str
    values: tuple[str, ...]
    exclusive: bool
    weight: float


@dataclass(frozen=True, eq=False)
class Targets:
    """Blocks of columns and their truth.

    Args:
        blocks: In the order of the columns.
        truth: `(cases, columns)` from 0 to 1, NaN where not known.
    """

    blocks: tuple[Block, ...]
    truth: Floats

    def loss(self, out: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy of every block, weighted, summed over blocks; mean over the batch.

        Args:
            out: `(n, columns)` logits.
            target: `(n, columns)` truth, NaN where not known.
        """
        total, start = out.new_zeros(len(out)), 0
        for block in self.blocks:
            here = slice(start, start + len(block.values))
            start = here.stop
            known = ~torch.isnan(target[:, here])
            wanted = torch.nan_to_num(target[:, here])
            if block.exclusive:
                each = -(wanted * F.log_softmax(out[:, here], 1)).sum(1)
            else:
                each = (F.binary_cross_entropy_with_logits(out[:, here], wanted, reduction="none") * known).sum(1)
            total = total + block.weight * each
        return total.mean()


def targets_of(cases: Sequence[Case], weights: Mapping[str, float], other: float) -> Targets:
    """Everything that these cases' labels and images say.

    Args:
        cases: The cases.
        weights: Weight by name of a block: `SET/LABEL` for labels, or `kind`, `plane`, `sequence`, `view`, `sex`.
        other: Weight of a block that has none.
    """
    columns: list[Floats] = []
    blocks: list[Block] = []

    def one_of(name: str, said: Sequence[str]) -> None:
        values = tuple(sorted({s for s in said if s}))
        if len(values) < 2:
            return
        at = np.asarray([values.index(s) if s else -1 for s in said])
        truth = np.full((len(said), len(values)), np.nan, np.float32)
        truth[at >= 0] = np.eye(len(values), dtype=np.float32)[at[at >= 0]]
        blocks.append(Block(name, values, True, weights.get(name, other)))
        columns.append(truth)

    def each(name: str, truth: Floats) -> None:
        if len(np.unique(truth[~np.isnan(truth)])) < 2:
            return
        blocks.append(Block(name, (name,), False, weights.get(name, other)))
        columns.append(truth[:, None])

    images = [case.images[0] for case in cases]
    one_of("kind", [kind_of(c) for c in cases])
    one_of("plane", [str(i.meta.get("plane", "")) for i in images])
    one_of("sequence", [str(i.meta.get("sequence", "")) for i in images])
    one_of("contrast", [str(i.meta.get("contrast", "")) for i in images])
    one_of("view", [("PA", "AP", "")[case_view(c)] for c in cases])
    one_of("sex", [s if s in ("F", "M") else "" for s in (str(c.attributes.get("sex", "")) for c in cases)])
    for name in dict.fromkeys(c.source.dataset for c in cases):
        mine = [c.source.dataset == name for c in cases]
        labels = dict.fromkeys(n for c, m in zip(cases, mine, strict=True) if m for n in c.labels)
        for label in labels:
            values = [c.labels.get(label) if m else None for c, m in zip(cases, mine, strict=True)]
            said = [str(v.value) if v is not None and isinstance(v.value, str) else "" for v in values]
            if any(said):
                one_of(f"{name}/{label}", said)
            plain = [float(v.value) if v is not None and not v.unit and v.value in (0, 1) else np.nan for v in values]
            each(f"{name}/{label}", np.asarray(plain, np.float32))
    return Targets(tuple(blocks), np.concatenate(columns, 1))
