"""Losses that keep learned prompts near what many written prompts say (BiomedCoOp, Koleilat et al., CVPR 2025)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


@torch.no_grad()
def select_prompts(image: Tensor, bank: Tensor, scale: float, limit: float = 1.5) -> Tensor:
    """Which of the written prompts to trust on a batch: those whose score is no outlier.

    Prompt i scores `s_i = mean_b max_c scale <x_b, E_ci>`; with `z_i` its distance from the median in median absolute
    deviations, it stays when `|z_i - mean z| / std z <= limit`. Since z is affine in s, this is a plain z-score of s.

    Args:
        image: `(b, d)` unit vectors.
        bank: `(classes, prompts, d)` unit vectors.
        scale: Inverse temperature.
        limit: Largest z-score.

    Returns:
        `(prompts,)` True where a prompt stays; all stay when the scores do not differ.
    """
    s = scale * torch.einsum("bd,cnd->bcn", image, bank).amax(1).mean(0)
    spread = s.std(correction=0)
    if spread <= 1e-8:
        return torch.ones_like(s, dtype=torch.bool)
    return (s - s.mean()).abs() / spread <= limit


def selected_mean(bank: Tensor, keep: Tensor) -> Tensor:
    """`(classes, d)` mean of the kept prompts of `(classes, prompts, d)`, scaled to length 1 again."""
    return F.normalize(bank[:, keep].mean(1), dim=1)


def consistency(learned: Tensor, written: Tensor) -> Tensor:
    """Mean squared difference of `(classes, d)` text features, both scaled to length 1 first.

    The mean runs over classes and dimensions, so the value is of the order of 1e-3 and its weight matters.
    """
    return F.mse_loss(F.normalize(learned, dim=1), F.normalize(written, dim=1))


def distillation(student: Tensor, teacher: Tensor) -> Tensor:
    """`sum KL(teacher || student) / (b c)` of `(b, c)` logits; the teacher gets no gradient."""
    return (
        F.kl_div(student.log_softmax(1), teacher.detach().log_softmax(1), reduction="sum", log_target=True)
        / student.numel()
    )
