"""Generated images against real ones, over features of any extractor, and directly over pixels.

Features depend on the extractor more than on the generator: name it beside every number. The functions take arrays of
shape `(images, features)`; which network made them is the caller's choice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vesalius.errors import BadInputError
from vesalius.metrics.checks import finite
from vesalius.metrics.registry import metric

__all__ = [
    "Coverage",
    "Memorisation",
    "clip_score",
    "coverage",
    "density",
    "density_coverage",
    "fid",
    "generative_precision",
    "generative_recall",
    "kid",
    "memorisation",
    "ms_ssim",
    "precision_recall",
]

Floats = NDArray[np.float64]
_EDGES = "Fewer images than the definition needs, feature numbers that differ and NaN are errors."


def _features(real: ArrayLike, fake: ArrayLike, least: int) -> tuple[Floats, Floats]:
    a, b = finite(real, "real", ndim=2), finite(fake, "fake", ndim=2)
    if a.shape[1] != b.shape[1]:
        raise BadInputError(
            "features differ", why=f"{a.shape[1]} and {b.shape[1]} numbers an image", fix="use one extractor for both"
        )
    if min(len(a), len(b)) < least:
        raise BadInputError(
            "too few images", why=f"{len(a)} real and {len(b)} generated, at least {least} of each are needed"
        )
    return a, b


@metric(
    "fid",
    definition="Fréchet distance of two Gaussians: |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), covariances "
    "with n - 1.",
    source="Heusel et al., NeurIPS 2017",
    higher_is_better=False,
    unit="squared feature unit",
    range=(0.0, float("inf")),
    edge_cases=_EDGES + " Biased upwards with few images: compare at equal n only; below some thousands prefer KID.",
)
def fid(real: ArrayLike, fake: ArrayLike) -> float:
    """Fréchet distance of features.

    Args:
        real: Features of real images, shape `(n, d)`.
        fake: Features of generated images, shape `(m, d)`.

    Returns:
        Distance, never negative.

    Raises:
        BadInputError: Fewer than two images of a kind, feature numbers that differ, or NaN.
    """
    a, b = _features(real, fake, 2)
    gap = a.mean(axis=0) - b.mean(axis=0)
    a, b = (a - a.mean(axis=0)) / np.sqrt(len(a) - 1), (b - b.mean(axis=0)) / np.sqrt(len(b) - 1)
    # tr (S1 S2)^(1/2) is the sum of the singular values of A B^T, S1 = A^T A and S2 = B^T B; for many images the
    # factors are first reduced to d rows, which keeps S1 and S2.
    a, b = (np.asarray(np.linalg.qr(x).R) if len(x) > x.shape[1] else x for x in (a, b))
    cross = float(np.linalg.svd(a @ b.T, compute_uv=False).sum())
    return max(0.0, float(gap @ gap + (a**2).sum() + (b**2).sum() - 2 * cross))


def _mmd(a: Floats, b: Floats) -> float:
    d = a.shape[1]
    kaa, kbb, kab = ((x @ y.T / d + 1) ** 3 for x, y in ((a, a), (b, b), (a, b)))
    n, m = len(a), len(b)
    own = (kaa.sum() - np.trace(kaa)) / (n * (n - 1)) + (kbb.sum() - np.trace(kbb)) / (m * (m - 1))
    return float(own - 2 * kab.mean())


@metric(
    "kid",
    definition="Unbiased squared maximum mean discrepancy with the kernel (x.y / d + 1)^3, mean over random subsets.",
    source="Bińkowski et al., ICLR 2018",
    higher_is_better=False,
    range=(-float("inf"), float("inf")),
    edge_cases=_EDGES + " Unbiased, so values just below 0 occur when the two sets are alike.",
)
def kid(real: ArrayLike, fake: ArrayLike, subsets: int = 100, subset_size: int = 1000, seed: int = 0) -> float:
    """Kernel inception distance over features.

    Args:
        real: Features of real images, shape `(n, d)`.
        fake: Features of generated images, shape `(m, d)`.
        subsets: Random subsets; one pass over everything when neither set is larger than `subset_size`.
        subset_size: Images in a subset.
        seed: Seed of the subsets.

    Returns:
        Distance.

    Raises:
        BadInputError: Fewer than two images of a kind, feature numbers that differ, or NaN.
    """
    a, b = _features(real, fake, 2)
    if max(len(a), len(b)) <= subset_size:
        return _mmd(a, b)
    rng = np.random.default_rng(seed)
    size = min(subset_size, len(a), len(b))
    pick = [(rng.choice(len(a), size, replace=False), rng.choice(len(b), size, replace=False)) for _ in range(subsets)]
    return float(np.mean([_mmd(a[i], b[j]) for i, j in pick]))


def _distances(a: Floats, b: Floats) -> Floats:
    square = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None, :] - 2 * a @ b.T
    return np.asarray(np.sqrt(np.maximum(square, 0.0)))


def _radii(points: Floats, k: int) -> Floats:
    """Distance of each point to its k-th nearest other one."""
    distance = _distances(points, points)
    np.fill_diagonal(distance, np.inf)
    return np.asarray(np.partition(distance, k - 1, axis=1)[:, k - 1])


@dataclass(frozen=True)
class Coverage:
    """Fidelity and diversity of generated images.

    Attributes:
        precision: Share of generated images within the k-nearest ball of some real one.
        recall: Share of real images within the k-nearest ball of some generated one.
        density: Real balls that hold a generated image, on average, over k; above 1 where real images are dense.
        coverage: Share of real images whose ball holds a generated one.
        k: Neighbours.
    """

    precision: float
    recall: float
    density: float
    coverage: float
    k: int


def density_coverage(real: ArrayLike, fake: ArrayLike, k: int = 5) -> Coverage:
    """Precision, recall, density and coverage (Kynkäänniemi et al., NeurIPS 2019; Naeem et al., ICML 2020).

    Args:
        real: Features of real images, shape `(n, d)`.
        fake: Features of generated images, shape `(m, d)`.
        k: Neighbours that set the radius of a ball.

    Returns:
        The four measures.

    Raises:
        BadInputError: No more than k images of a kind, feature numbers that differ, or NaN.
    """
    if k < 1:
        raise BadInputError("cannot use k", why=f"k is {k}, it must be at least 1")
    a, b = _features(real, fake, k + 1)
    around_real, around_fake = _radii(a, k), _radii(b, k)
    apart = _distances(a, b)
    inside = apart <= around_real[:, None]
    return Coverage(
        precision=float(inside.any(axis=0).mean()),
        recall=float((apart <= around_fake[None, :]).any(axis=1).mean()),
        density=float(inside.sum(axis=0).mean() / k),
        coverage=float((apart.min(axis=1) <= around_real).mean()),
        k=k,
    )


def precision_recall(real: ArrayLike, fake: ArrayLike, k: int = 3) -> tuple[float, float]:
    """Improved precision and recall of generated images with their usual k = 3; see `density_coverage`."""
    measured = density_coverage(real, fake, k)
    return measured.precision, measured.recall


@metric(
    "generative_precision",
    definition="Share of generated images no further from some real image than its k-th nearest real "
    "neighbour (k = 3).",
    source="Kynkäänniemi et al., NeurIPS 2019",
    edge_cases=_EDGES,
)
def generative_precision(real: ArrayLike, fake: ArrayLike, k: int = 3) -> float:
    """Precision of generated images; see `density_coverage`."""
    return density_coverage(real, fake, k).precision


@metric(
    "generative_recall",
    definition="Share of real images no further from some generated image than its k-th nearest generated "
    "neighbour (k = 3).",
    source="Kynkäänniemi et al., NeurIPS 2019",
    edge_cases=_EDGES,
)
def generative_recall(real: ArrayLike, fake: ArrayLike, k: int = 3) -> float:
    """Recall of generated images; see `density_coverage`."""
    return density_coverage(real, fake, k).recall


@metric(
    "density",
    definition="Mean over generated images of the number of real k-nearest balls that hold it, over k (k = 5).",
    source="Naeem et al., ICML 2020",
    range=(0.0, float("inf")),
    edge_cases=_EDGES,
)
def density(real: ArrayLike, fake: ArrayLike, k: int = 5) -> float:
    """Density of generated images; see `density_coverage`."""
    return density_coverage(real, fake, k).density


@metric(
    "coverage",
    definition="Share of real images whose k-nearest ball holds a generated image (k = 5).",
    source="Naeem et al., ICML 2020",
    edge_cases=_EDGES,
)
def coverage(real: ArrayLike, fake: ArrayLike, k: int = 5) -> float:
    """Coverage of real images; see `density_coverage`."""
    return density_coverage(real, fake, k).coverage


@metric(
    "clip_score",
    definition="100 x mean over pairs of max(0, cosine of image and text features).",
    source="Hessel et al., EMNLP 2021, with factor 100 as torchmetrics and without the weight 2.5",
    range=(0.0, 100.0),
    edge_cases="A feature vector of zeros, unequal shapes, empty input and NaN are errors.",
)
def clip_score(image: ArrayLike, text: ArrayLike) -> float:
    """Agreement of images with their texts, features of shape `(n, d)` from one model of images and text."""
    a, b = _features(image, text, 1)
    if len(a) != len(b):
        raise BadInputError("inputs differ in length", why=f"{len(a)} images for {len(b)} texts")
    scale = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    if (scale == 0).any():
        raise BadInputError("CLIP score is undefined", why="a feature vector is zero")
    return float(100 * np.maximum((a * b).sum(axis=1) / scale, 0.0).mean())


@dataclass(frozen=True)
class Memorisation:
    """How near generated images lie to training images.

    Attributes:
        distance: Distance of each generated image to its nearest training image.
        nearest: Row of that training image.
        threshold: Distances below this are suspicious: a low quantile of the distances of held-out real images to the
            training images (or of training images to each other).
        copied: Rows of the generated images below the threshold, nearest first.
        share: Their share; the quantile itself is expected when nothing was memorised.
        quantile: The quantile.
    """

    distance: Floats
    nearest: NDArray[np.intp]
    threshold: float
    copied: NDArray[np.intp]
    share: float
    quantile: float


def memorisation(
    train: ArrayLike, fake: ArrayLike, held_out: ArrayLike | None = None, quantile: float = 0.01
) -> Memorisation:
    """Find generated images that are nearer to a training image than real images ever are.

    Args:
        train: Features of the training images, shape `(n, d)`.
        fake: Features of generated images, shape `(m, d)`.
        held_out: Features of real images of other patients; without them the training images are compared with each
            other, which is too lenient when patients have several images.
        quantile: Share of real images allowed below the threshold.

    Returns:
        Distances, nearest training images and the suspicious ones.

    Raises:
        BadInputError: Fewer than two training images, feature numbers that differ, a quantile outside [0, 1), or NaN.
    """
    a, b = _features(train, fake, 1)
    if not 0 <= quantile < 1:
        raise BadInputError("cannot use quantile", why=f"{quantile} is not in [0, 1)")
    if held_out is None:
        if len(a) < 2:
            raise BadInputError("too few images", why="two training images are needed to compare them with each other")
        usual = _radii(a, 1)
    else:
        usual = _distances(_features(train, held_out, 1)[1], a).min(axis=1)
    apart = _distances(b, a)
    distance, nearest = apart.min(axis=1), apart.argmin(axis=1)
    threshold = float(np.quantile(usual, quantile))
    # Equal images are at distance 0 up to the rounding of the squared form.
    copied = np.flatnonzero((distance < threshold) | (distance <= 1e-6 * np.linalg.norm(a, axis=1).max()))
    copied = copied[np.argsort(distance[copied], kind="stable")]
    return Memorisation(distance, nearest, threshold, copied, len(copied) / len(b), quantile)


_SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def _ssim_parts(a: Floats, b: Floats, peak: float, sigma: float) -> tuple[Floats, Floats]:
    """Mean SSIM and mean contrast-structure of each channel, Gaussian window of 11, borders left out."""
    from scipy.ndimage import correlate1d

    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets**2) / (2 * sigma**2))
    window /= window.sum()

    def blur(x: Floats) -> Floats:
        y = correlate1d(correlate1d(x, window, axis=0), window, axis=1)
        return np.asarray(y[5:-5, 5:-5])

    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    ma, mb = blur(a), blur(b)
    va, vb, cov = blur(a * a) - ma * ma, blur(b * b) - mb * mb, blur(a * b) - ma * mb
    contrast = (2 * cov + c2) / (va + vb + c2)
    full = (2 * ma * mb + c1) / (ma * ma + mb * mb + c1) * contrast
    return full.mean(axis=(0, 1)), contrast.mean(axis=(0, 1))


@metric(
    "ms_ssim",
    definition="Product over five scales (halved by 2 x 2 means) of contrast-structure, and of SSIM at the "
    "coarsest, to the "
    "published powers; Gaussian window of 11 pixels, sigma 1.5; negative factors count 0; mean over channels.",
    source="Wang, Simoncelli and Bovik, Asilomar 2003",
    higher_is_better=None,
    edge_cases="Sides below 176 pixels (11 at the coarsest scale), unequal shapes, a peak that is not "
    "positive and NaN are errors. High "
    "between two "
    "generated images means little diversity, between an image and its reconstruction it means fidelity.",
)
def ms_ssim(first: ArrayLike, second: ArrayLike, peak: float = 1.0) -> float:
    """Multi-scale structural similarity of two images.

    Args:
        first: Image, shape `(H, W)` or `(H, W, C)`, both sides at least 176.
        second: Image of the same shape.
        peak: Range of the values (1 or 255).

    Returns:
        Similarity in [0, 1].

    Raises:
        BadInputError: As the edge cases say.
    """
    a, b = finite(first, "first", ndim=None), finite(second, "second", ndim=None)
    if a.shape != b.shape or a.ndim not in (2, 3):
        raise BadInputError("images differ in shape", why=f"{a.shape} and {b.shape}")
    if min(a.shape[:2]) < 176 or not peak > 0:
        raise BadInputError("MS-SSIM is undefined", why=f"sides {a.shape[:2]} (176 needed), peak {peak}")
    a, b = (x[..., None] if x.ndim == 2 else x for x in (a, b))
    value = np.ones(a.shape[2])
    for scale, power in enumerate(_SCALES):
        full, contrast = _ssim_parts(a, b, peak, 1.5)
        value = value * np.maximum(full if scale == len(_SCALES) - 1 else contrast, 0.0) ** power
        h, w = a.shape[0] // 2 * 2, a.shape[1] // 2 * 2
        a, b = (x[:h, :w].reshape(h // 2, 2, w // 2, 2, -1).mean(axis=(1, 3)) for x in (a, b))
    return float(value.mean())
