"""Embedding and start-up: a folder into a library beside the bare forward pass, and `--help` beside bare Python."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from perf.timing import row

__all__ = ["TOPICS", "embedding", "startup"]


def embedding(n: int = 256, side: int = 512, repeats: int = 3) -> list[dict[str, Any]]:
    """JPEG files of `side` pixels into a library (decode, resize, embed, write) beside two peers.

    The first peer is the tower alone on ready tensors (goal: at least 0.8 of its speed); the second a straightforward
    loop: open, resize, embed one picture at a time, keep the vectors in a list.
    """
    import torch
    from PIL import Image as Pillow

    from vesalius.cases import Case, Image
    from vesalius.job import Job
    from vesalius.library import Library
    from vesalius.models import load

    model: Any = load("nano", device="cpu")
    rng = np.random.default_rng(0)
    workers = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        smooth = rng.normal(120, 40, (n, 32, 32))
        cases = []
        for i in range(n):
            picture = Pillow.fromarray(smooth[i].clip(0, 255).astype(np.uint8)).resize((side, side))
            picture.save(folder / f"{i}.jpg")
            cases.append(Case(f"c{i}", images=(Image(uri=str(folder / f"{i}.jpg"), modality="DX"),)))
        ready = np.concatenate([model.preprocess(c.images[0]) for c in cases])
        made = iter(range(10**6))

        def bare() -> None:
            with torch.inference_mode():
                for at in range(0, n, model.batch_size):
                    model.net.image(torch.from_numpy(ready[at : at + model.batch_size]))

        def loop() -> None:
            kept = []
            for case in cases:
                pixels = np.asarray(Pillow.open(str(case.images[0].uri)).convert("RGB").resize((224, 224)))
                with torch.inference_mode():
                    kept.append(model.net.image(torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy())))

        def ours() -> None:
            with Library.open(folder / f"lib{next(made)}", model) as library:
                assert library.add(cases, Job(workers=workers)).added == n

        name = f"{n} JPEG of {side} px into a library, {workers} workers"
        settings: dict[str, Any] = {"n": n, "repeats": repeats}
        return [
            row(name, ours, bare, peer_name="bare forward pass", goal=0.8, **settings),
            row(name, ours, loop, peer_name="loop, one picture at a time", **settings),
        ]


def startup(repeats: int = 7) -> list[dict[str, Any]]:
    """`vesalius --help` beside `python -c pass` (goal: under 0.3 s on an idle machine)."""

    def call(*args: str) -> Any:
        return lambda: subprocess.run([sys.executable, *args], check=True, capture_output=True)

    ours = call("-c", "from vesalius.cli.main import main; main(['--help'])")
    return [row("vesalius --help", ours, call("-c", "pass"), peer_name="python -c pass", n=1, repeats=repeats)]


TOPICS = {"embedding": embedding, "startup": startup}
