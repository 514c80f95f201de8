"""What the shared training loop costs over a bare PyTorch loop of the same step."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from perf.timing import row
from vesalius.training.loop import Plan, train_loop

STEPS = 40


def _net() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 48, 3, padding=1), nn.ReLU(), nn.Conv2d(48, 48, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, 2)), torch.randn(20, 3, 48, 48)


def _step(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return net(x).square().mean()


def loop() -> list[dict[str, Any]]:
    """A step of about 50 ms on two cores: AdamW, clipping and a cosine on both sides."""

    def ours() -> None:
        net, x = _net()
        train_loop(net, lambda _n, _r: {"loss": _step(net, x)}, Plan(steps=STEPS, every=10_000))

    def bare() -> None:
        net, x = _net()
        optimiser = torch.optim.AdamW(net.parameters(), lr=1e-3)
        for n in range(STEPS):
            for group in optimiser.param_groups:
                group["lr"] = 1e-3 * (1 + np.cos(np.pi * n / STEPS)) / 2
            loss = _step(net, x)
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad()

    return [row("training loop, 40 steps", ours, bare, peer_name="bare PyTorch loop", goal=0.97, n=STEPS, repeats=9)]


TOPICS = {"training-loop": loop}
