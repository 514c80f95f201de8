from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from vesalius.errors import BadInputError
from vesalius.metrics import generation


def features(seed, n=60, m=50, d=6, shift=0.5):
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(d, d))
    return rng.normal(size=(n, d)) @ mix, rng.normal(shift, 1.2, (m, d)) @ mix


@given(st.integers(0, 10**6), st.sampled_from([(60, 50, 6), (5, 7, 12), (300, 9, 9)]))
@settings(max_examples=30)
def test_fid_equals_the_matrix_square_root(seed, size):
    a, b = features(seed, *size)
    s1, s2 = np.cov(a.T), np.cov(b.T)
    if min(size[:2]) > size[2]:
        expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s1 + s2 - 2 * sqrtm(s1 @ s2).real)
    else:  # singular covariances: by eigenvalues of the symmetric form, without the square root of the product
        root = sqrtm(s1 + 1e-12 * np.eye(size[2])).real
        values = np.linalg.eigvalsh(root @ s2 @ root)
        expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s1 + s2) - 2 * np.sqrt(np.maximum(values, 0)).sum()
    assert generation.fid(a, b) == pytest.approx(expected, rel=1e-3, abs=1e-3)
    assert generation.fid(a, b) == pytest.approx(generation.fid(b, a))
    assert generation.fid(a, a) == pytest.approx(0, rel=1e-8, abs=1e-8)


def test_fid_of_known_gaussians():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, (200_000, 2)), rng.normal([1, 0], [2, 1], (200_000, 2))
    assert generation.fid(a, b) == pytest.approx(1 + (2 - 1) ** 2, abs=0.05)


@given(st.integers(0, 10**6))
@settings(max_examples=20)
def test_kid_equals_its_sums(seed):
    a, b = features(seed, 12, 9, 4)

    def kernel(x, y):
        return (x @ y / 4 + 1) ** 3

    aa = np.mean([kernel(a[i], a[j]) for i in range(12) for j in range(12) if i != j])
    bb = np.mean([kernel(b[i], b[j]) for i in range(9) for j in range(9) if i != j])
    ab = np.mean([kernel(x, y) for x in a for y in b])
    assert generation.kid(a, b) == pytest.approx(aa + bb - 2 * ab)


def test_kid_over_subsets_is_near_the_whole_and_repeats():
    a, b = features(1, 400, 300, 5)
    whole = generation.kid(a, b)
    parts = generation.kid(a, b, subsets=200, subset_size=100)
    assert parts == pytest.approx(whole, rel=0.2)
    assert parts == generation.kid(a, b, subsets=200, subset_size=100)


@given(st.integers(0, 10**6), st.integers(1, 5))
@settings(max_examples=20)
def test_coverage_measures_equal_brute_force(seed, k):
    a, b = features(seed, 20, 15, 3)

    def dist(x, y):
        return float(np.linalg.norm(x - y))

    def radius(points, i):
        return sorted(dist(points[i], points[j]) for j in range(len(points)) if j != i)[k - 1]

    ra, rb = [radius(a, i) for i in range(20)], [radius(b, j) for j in range(15)]
    ours = generation.density_coverage(a, b, k)
    assert ours.precision == np.mean([any(dist(x, y) <= r for x, r in zip(a, ra, strict=True)) for y in b])
    assert ours.recall == np.mean([any(dist(x, y) <= r for y, r in zip(b, rb, strict=True)) for x in a])
    assert ours.density == pytest.approx(
        np.mean([sum(dist(x, y) <= r for x, r in zip(a, ra, strict=True)) for y in b]) / k
    )
    assert ours.coverage == np.mean([any(dist(x, y) <= r for y in b) for x, r in zip(a, ra, strict=True)])
    assert generation.generative_precision(a, b, k) == ours.precision
    assert generation.generative_recall(a, b, k) == ours.recall
    assert generation.precision_recall(a, b, k) == (ours.precision, ours.recall)
    assert (generation.density(a, b, k), generation.coverage(a, b, k)) == (ours.density, ours.coverage)


def test_mode_collapse_lowers_coverage_and_recall_not_precision():
    rng = np.random.default_rng(0)
    real = np.concatenate([rng.normal(0, 1, (100, 4)), rng.normal(20, 1, (100, 4))])
    collapsed = rng.normal(0, 1, (200, 4))
    ours = generation.density_coverage(real, collapsed)
    assert ours.precision > 0.8
    assert ours.coverage < 0.6
    assert ours.recall < 0.6


def test_copies_are_found_and_honest_samples_are_not():
    rng = np.random.default_rng(0)
    train, held, fake = rng.normal(size=(500, 16)), rng.normal(size=(300, 16)), rng.normal(size=(200, 16))
    honest = generation.memorisation(train, fake, held)
    assert honest.share <= 0.04
    fake[17], fake[42] = train[3], train[250] + 0.01
    copied = generation.memorisation(train, fake, held)
    assert copied.copied[:2].tolist() == [17, 42]
    assert copied.nearest[[17, 42]].tolist() == [3, 250]
    assert 17 in generation.memorisation(train, fake).copied


def test_ms_ssim_equals_torchmetrics():
    torch = pytest.importorskip("torch")
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure as peer

    rng = np.random.default_rng(0)
    y, x = np.indices((200, 190)) / 40
    a = (np.sin(x) * np.cos(y) + 1) / 2
    for noise in (0.0, 0.05, 0.3):
        b = np.clip(a + rng.normal(0, noise, a.shape), 0, 1)
        expected = float(peer(torch.tensor(a)[None, None], torch.tensor(b)[None, None], data_range=1.0))
        assert generation.ms_ssim(a, b) == pytest.approx(expected, abs=5e-3)
        assert generation.ms_ssim(255 * a, 255 * b, peak=255) == pytest.approx(generation.ms_ssim(a, b))
    assert generation.ms_ssim(a, a) == pytest.approx(1.0)


def test_clip_score_by_hand():
    assert generation.clip_score([[1, 0], [1, 0]], [[1, 1], [-1, 0]]) == pytest.approx(100 * np.sqrt(0.5) / 2)
    with pytest.raises(BadInputError, match="zero"):
        generation.clip_score([[0, 0]], [[1, 1]])


def test_unusable_features_are_errors():
    with pytest.raises(BadInputError, match="one extractor"):
        generation.fid(np.ones((3, 2)), np.ones((3, 3)))
    with pytest.raises(BadInputError, match="too few"):
        generation.fid(np.ones((1, 2)), np.ones((3, 2)))
    with pytest.raises(BadInputError, match="too few"):
        generation.density_coverage(np.ones((5, 2)), np.ones((9, 2)), k=5)
    with pytest.raises(BadInputError, match="NaN"):
        generation.kid(np.full((3, 2), np.nan), np.ones((3, 2)))
    with pytest.raises(BadInputError, match="176"):
        generation.ms_ssim(np.ones((100, 200)), np.ones((100, 200)))
    with pytest.raises(BadInputError, match="quantile"):
        generation.memorisation(np.ones((3, 2)), np.ones((3, 2)), quantile=1.0)
