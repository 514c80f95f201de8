"""Corruptions beside medmnistc 0.1.0 on a 224 px RGB picture: each corruption at severity 3, and whole sets.

The peer needs `pip install --no-deps medmnistc==0.1.0 opencv-python-headless Wand scikit-image==0.25.2`, torchvision of
the same build as torch (only its transforms are used) and the ImageMagick 6 library (`libmagickwand-6.q16-6` on
Debian), best in an environment of its own. Its release calls `numpy.fromstring` (gone in NumPy 2.3) and forgets the
generator of impulse noise; both are mended here from outside so that it can run at all.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from perf.timing import row
from vesalius.corruptions import augment, corrupt, registry

__all__ = ["TOPICS", "each", "grey", "whole"]

PEER = "medmnistc 0.1.0"


def picture() -> Any:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:224, :224] / 224
    base = np.stack([x, y, 1 - x], -1) * 150 + 60 * (np.sin(x * 40) * np.cos(y * 31))[..., None] + 50
    return (base + rng.normal(size=base.shape) * 6).clip(0, 255).astype(np.uint8)


def peer_registry() -> dict[str, dict[str, Any]]:
    old = np.fromstring

    def fromstring(data: Any, dtype: Any = float, count: int = -1, sep: str = "") -> Any:
        return np.frombuffer(data, dtype=dtype) if sep == "" else old(data, dtype, count, sep=sep)

    np.fromstring = fromstring  # type: ignore[assignment] # the peer's call of a removed mode
    from medmnistc.corruptions.registry import CORRUPTIONS_DS

    for table in CORRUPTIONS_DS.values():
        for operator in table.values():
            operator.rng = np.random.default_rng(0)
    return CORRUPTIONS_DS  # type: ignore[no-any-return] # untyped library


def peer_call(operator: Any, image: Any, severity: int) -> Any:
    try:
        return operator.apply(Image.fromarray(image.copy()), severity=severity - 1)
    except Exception:  # stain_deposit divides by a type it cannot cast: timed until it fails
        return None


def each(severity: int = 3, repeats: int = 7) -> list[dict[str, Any]]:
    """One row for each of the eighteen corruptions."""
    image, peers = picture(), peer_registry()
    rows = []
    for name in registry("default"):
        dataset = next((d for d in peers if name in peers[d] and d != "retinamnist"), None)
        if dataset is None:
            continue  # the faults of acquisition are ours
        operator = peers[dataset][name]
        rows.append(
            row(
                f"{name} ({dataset}, severity {severity})",
                lambda name=name, dataset=dataset: corrupt(image, name, severity, dataset=dataset),
                lambda operator=operator: peer_call(operator, image, severity),
                peer_name=PEER,
                repeats=repeats,
                warmup=2,
            )
        )
    return rows


def whole(repeats: int = 3) -> list[dict[str, Any]]:
    """Every corruption of a set at all five severities, one picture."""
    image, peers = picture(), peer_registry()
    rows = []
    for dataset in ("dermamnist", "pathmnist", "chestmnist", "octmnist"):
        names = registry(dataset)

        def ours(dataset: str = dataset, names: tuple[str, ...] = names) -> None:
            for name in names:
                for s in range(1, 6):
                    corrupt(image, name, s, dataset=dataset)

        def theirs(dataset: str = dataset, names: tuple[str, ...] = names) -> None:
            for name in names:
                for s in range(1, 6):
                    peer_call(peers[dataset][name], image, s)

        rows.append(
            row(f"whole set {dataset}, RGB", ours, theirs, peer_name=PEER, goal=10.0, n=5 * len(names), repeats=repeats)
        )

    kinds = [
        (n, next(d for d in peers if n in peers[d])) for n in registry("default") if any(n in t for t in peers.values())
    ]

    def all_ours() -> None:
        for name, dataset in kinds:
            for s in range(1, 6):
                corrupt(image, name, s, dataset=dataset)

    def all_theirs() -> None:
        for name, dataset in kinds:
            for s in range(1, 6):
                peer_call(peers[dataset][name], image, s)

    n = 5 * len(kinds)
    rows.append(
        row("whole set, every kind, RGB", all_ours, all_theirs, peer_name=PEER, goal=10.0, n=n, repeats=repeats)
    )
    return rows


def grey(repeats: int = 3) -> list[dict[str, Any]]:
    """A grey picture: one channel here, three identical ones and back at the peer."""
    image, peers = picture()[:, :, 0].copy(), peer_registry()
    names = registry("chestmnist")

    def ours() -> None:
        for name in names:
            for s in range(1, 6):
                corrupt(image, name, s, dataset="chestmnist")

    def theirs() -> None:
        for name in names:
            for s in range(1, 6):
                out = peers["chestmnist"][name].apply(Image.fromarray(image).convert("RGB"), severity=s - 1)
                np.asarray(Image.fromarray(out).convert("L"))

    return [
        row("whole set chestmnist, grey", ours, theirs, peer_name=PEER, goal=10.0, n=5 * len(names), repeats=repeats)
    ]


def augmentation(repeats: int = 3) -> list[dict[str, Any]]:
    """Targeted augmentation, 100 draws of the dermatoscopy list (noise tables warm after the first pass)."""
    image, peers = picture(), peer_registry()
    from medmnistc.augmentation import AugMedMNISTC

    theirs = AugMedMNISTC(peers["dermamnist"])
    return [
        row(
            "100 augmentations (dermamnist)",
            lambda: [augment(image, "dermamnist", seed=0, image_id=i) for i in range(100)],
            lambda: [theirs(Image.fromarray(image)) for _ in range(100)],
            peer_name=PEER,
            n=100,
            repeats=repeats,
        )
    ]


#: Topic name to a function that returns rows for the performance table.
TOPICS = {
    "corruptions: each": each,
    "corruptions: whole set": whole,
    "corruptions: grey": grey,
    "corruptions: augmentation": augmentation,
}
