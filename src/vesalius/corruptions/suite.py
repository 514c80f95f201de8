"""The corruptions by name and severity, over one image or many, and the targeted augmentation made of them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

from vesalius.corruptions import acquisition, blur, channel, marks, tone
from vesalius.corruptions.keys import generator
from vesalius.corruptions.pillow import luma
from vesalius.errors import BadInputError, UsageError

__all__ = ["FOLDS", "SEVERITIES", "augment", "corrupt", "corrupt_batch", "datasets", "parameters", "registry"]

U8 = npt.NDArray[np.uint8]
Parameter = tuple[float, ...]
Operator = Callable[[U8, Parameter, np.random.Generator, float], U8]

SEVERITIES = (1, 2, 3, 4, 5)
#: Steps into which augmentation divides each range of severity (noise tables are kept for each step).
AUGMENT_STEPS = 32


def _odd(kernel: float, scale: float) -> int:
    scaled = int(kernel) if scale == 1 else round(kernel * scale)
    return scaled - 1 if scaled % 2 == 0 else scaled


def _noise(name: str) -> Operator:
    return lambda image, p, rng, _: channel.apply_channel(image, name, p[0], rng)


_TONE: Mapping[str, Callable[[U8, float], U8]] = {
    "brightness": tone.brightness,
    "contrast": tone.contrast,
    "gamma_corr": tone.gamma,
}


def _tone(function: Callable[[U8, float], U8]) -> Operator:
    return lambda image, p, *_: function(image, p[0])


#: Name to operator(image, parameter, rng, scale): the parameter is in units of a 224-px image.
OPERATORS: Mapping[str, Operator] = {
    **{n: _noise(n) for n in ("gaussian_noise", "speckle_noise", "shot_noise", "impulse_noise", "low_dose")},
    **{f"{n}_{way}": _tone(f) for n, f in _TONE.items() for way in ("up", "down")},
    "pixelate": lambda image, p, *_: tone.pixelate(image, p[0]),
    "jpeg_compression": lambda image, p, *_: tone.jpeg_compression(image, p[0]),
    "saturate": lambda image, p, *_: tone.saturate(image, p[0]),
    "gaussian_blur": lambda image, p, _, scale: blur.gaussian_blur(image, _odd(p[0], scale)),
    "defocus_blur": lambda image, p, _, scale: blur.defocus_blur(image, p[0] * scale, p[1]),
    "motion_blur": lambda image, p, rng, scale: blur.motion_blur(
        image, p[0] * scale, max(p[1] * scale, 1e-3), float(rng.uniform(-45, 45))
    ),
    "zoom_blur": lambda image, p, *_: blur.zoom_blur(image, *p),
    "stain_deposit": lambda image, p, rng, scale: marks.stain_deposit(image, int(p[0]), int(p[1]), rng, scale),
    "bubble": lambda image, p, rng, scale: marks.bubble(image, int(p[0]), int(p[1]), rng, scale),
    "black_corner": lambda image, p, *_: marks.black_corner(image, p[0]),
    "characters": lambda image, p, rng, scale: marks.characters(image, int(p[0]), int(p[1]), p[2], rng, scale),
    "window_error": lambda image, p, rng, _: acquisition.window_error(image, p[0], p[1], rng),
    "monochrome_flip": lambda image, *_: acquisition.monochrome_flip(image),
    "metal": lambda image, p, rng, scale: acquisition.metal(image, int(p[0]), p[1], rng, scale),
    "motion": lambda image, p, rng, scale: acquisition.motion(image, p[0], p[1], rng, scale),
    "bias_field": lambda image, p, rng, _: acquisition.bias_field(image, p[0], rng),
    "ghosting": lambda image, p, rng, _: acquisition.ghosting(image, p[0], p[1], rng),
}


@cache
def _tables() -> dict[str, Any]:
    text = (files("vesalius.corruptions") / "registry.json").read_text(encoding="utf-8")
    tables: dict[str, Any] = json.loads(text)
    return tables


#: Groups of corruptions for ablations.
FOLDS = ("digital", "noise", "blur", "colour", "task-specific", "acquisition")


def datasets() -> tuple[str, ...]:
    """Names that `registry` knows: the twelve MedMNIST-C sets, DICOM modality codes, the folds and `default` (all)."""
    t = _tables()
    return ("default", *t["datasets"], *t["modalities"], *t["folds"])


def registry(dataset: str = "default") -> tuple[str, ...]:
    """The corruptions that belong to a data set, a DICOM modality code or a fold, in a fixed order.

    Raises:
        UsageError: No such name.
    """
    t = _tables()
    if dataset == "default":
        return tuple(t["default"])
    if dataset in t["datasets"]:
        return tuple(t["datasets"][dataset]["corruptions"])
    for group in ("modalities", "folds"):
        if dataset in t[group]:
            return tuple(t[group][dataset])
    raise UsageError("no such set of corruptions", item=dataset, fix=f"use one of {', '.join(datasets())}")


@cache
def parameters(name: str, dataset: str = "default", *, published: bool = False) -> tuple[Parameter, ...]:
    """The five parameters of a corruption, severity 1 first.

    Args:
        name: Corruption.
        dataset: Whose table; a modality or fold uses the `default` one.
        published: Exactly as released, also where the release is out of order (`black_corner`).

    Raises:
        UsageError: The data set has no such corruption.
    """
    t = _tables()
    own = t["datasets"][dataset]["corruptions"] if dataset in t["datasets"] else t["default"]
    if name not in own or name not in registry(dataset):
        raise UsageError(
            "no such corruption", item=f"{name} for {dataset}", fix=f"use one of {', '.join(registry(dataset))}"
        )
    raw = t["published"].get(f"{dataset}/{name}", own[name]) if published else own[name]
    return tuple(_parameter(name, value, severity) for severity, value in enumerate(raw))


def _parameter(name: str, value: Any, index: int) -> Parameter:
    if name == "stain_deposit":  # the released table of ink sizes has 24 px for severities 1 to 4 and 32 px for 5
        return (float(value), 32.0 if index == 4 else 24.0)
    return tuple(float(v) for v in value) if isinstance(value, list) else (float(value),)


def corrupt(
    image: npt.NDArray[Any],
    name: str,
    severity: int,
    *,
    seed: int = 0,
    image_id: str | int = "",
    dataset: str = "default",
    published: bool = False,
) -> U8:
    """One image with one corruption.

    Randomness comes from a counter keyed by (seed, image_id, name, severity): the result does not depend on what was
    drawn before, on order, or on the number of workers. Lengths in the tables hold for a short side of 224 px and
    scale with it, so that a corruption looks the same at any size.

    Args:
        image: uint8, `(H, W)`, `(H, W, 1)` or `(H, W, 3)`.
        name: Corruption, see `registry`.
        severity: 1 (weak) to 5.
        seed: Seed of the experiment.
        image_id: Stable name of the image.
        dataset: Whose severities, see `parameters`.
        published: Do as the medmnistc release does where this departs from it on purpose: grey images are corrupted
            as three channels and turned back to grey (which weakens noise to about 0.67 of its nominal size), and
            `black_corner` keeps its released order.

    Returns:
        uint8 of the same shape, never the same memory.

    Raises:
        BadInputError: Not a uint8 picture.
        UsageError: Unknown corruption or severity.
    """
    if severity not in SEVERITIES:
        raise UsageError("no such severity", item=str(severity), fix="use 1 to 5")
    planes = _planes(image, str(image_id))
    parameter = parameters(name, dataset, published=published)[severity - 1]
    rng = generator(seed, image_id, name, severity)
    return _apply(planes, name, parameter, rng, published).reshape(image.shape)


def corrupt_batch(
    images: npt.NDArray[Any] | Sequence[npt.NDArray[Any]],
    name: str,
    severity: int,
    *,
    seed: int = 0,
    image_ids: Sequence[str | int] | None = None,
    dataset: str = "default",
    published: bool = False,
) -> U8 | list[U8]:
    """`corrupt` over many images; each result is the same as if it were made alone.

    Args:
        images: `(N, H, W[, C])`, or a sequence of images of different sizes.
        name: See `corrupt`, as the others.
        severity: 1 to 5.
        seed: Seed of the experiment.
        image_ids: One stable name for each image; their positions by default.
        dataset: Whose severities.
        published: As the release does.

    Returns:
        An array of the same shape, or a list for a sequence.

    Raises:
        UsageError: The numbers of images and ids differ.
    """
    ids = range(len(images)) if image_ids is None else image_ids
    if len(ids) != len(images):
        raise UsageError("images and ids differ in number", item=f"{len(images)} and {len(ids)}")
    options: dict[str, Any] = {"seed": seed, "dataset": dataset, "published": published}
    if isinstance(images, np.ndarray):
        out = np.empty(images.shape, dtype=np.uint8)
        for i, image_id in enumerate(ids):
            out[i] = corrupt(images[i], name, severity, image_id=image_id, **options)
        return out
    return [corrupt(x, name, severity, image_id=i, **options) for x, i in zip(images, ids, strict=True)]


def augment(
    image: npt.NDArray[Any],
    dataset: str,
    *,
    seed: int,
    image_id: str | int,
    epoch: int = 0,
    published: bool = False,
) -> U8:
    """Targeted augmentation: one corruption of the data set's list, or none, at a random strength.

    The corruption is drawn evenly from the list and "identity"; each component of its parameter is drawn evenly
    between severity 1 and severity 5, on a grid of 32 steps. Counts and kernels are truncated to integers.

    Args:
        image: uint8 picture.
        dataset: See `registry`.
        seed: Seed of the training run.
        image_id: Stable name of the image.
        epoch: Pass over the data: another draw for the same image.
        published: End the range where the release does (a sixth, stronger step for some), grey as three channels.

    Returns:
        uint8 of the same shape.
    """
    planes = _planes(image, str(image_id))
    rng = generator("augment", seed, image_id, epoch)
    names = registry(dataset)
    pick = int(rng.integers(0, len(names) + 1))
    if pick == len(names):
        return planes.copy().reshape(image.shape)
    name = names[pick]
    steps = parameters(name, dataset, published=published)
    first, last = steps[0], steps[-1]
    beyond = _tables()["augmentation_end"].get(f"{dataset}/{name}") if published else None
    if beyond is not None:
        last = _parameter(name, beyond, 4)
    where = rng.integers(0, AUGMENT_STEPS + 1, len(first)) / AUGMENT_STEPS
    parameter = tuple(a + (b - a) * float(w) for a, b, w in zip(first, last, where, strict=True))
    return _apply(planes, name, parameter, rng, published).reshape(image.shape)


def _apply(planes: U8, name: str, parameter: Parameter, rng: np.random.Generator, published: bool) -> U8:
    scale = min(planes.shape[:2]) / 224
    operator = OPERATORS[name]
    if planes.shape[2] == 1 and name == "saturate":
        return planes.copy()  # grey has no colour to strengthen
    if published and planes.shape[2] == 1:
        return luma(operator(np.repeat(planes, 3, axis=2), parameter, rng, scale))
    return operator(planes, parameter, rng, scale)


def _planes(image: npt.NDArray[Any], item: str) -> U8:
    """The picture as contiguous `(H, W, C)`."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        kind = getattr(image, "dtype", type(image).__name__)
        raise BadInputError(
            "cannot corrupt image", item=item, why=f"it is {kind}, not uint8", fix="apply a display window first"
        )
    planes = image[:, :, None] if image.ndim == 2 else image
    if planes.ndim != 3 or planes.shape[2] not in (1, 3) or 0 in planes.shape:
        raise BadInputError(
            "cannot corrupt image", item=item, why=f"shape {image.shape} is not (H, W), (H, W, 1) or (H, W, 3)"
        )
    if math.prod(planes.shape) > 2**30:
        raise BadInputError("cannot corrupt image", item=item, why="it has over 2^30 values")
    return np.ascontiguousarray(planes)
