"""Corruptions against the release's stored outputs, scikit-image and SciPy, and against themselves in another order."""

from __future__ import annotations

import io
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from vesalius.corruptions import SEVERITIES, augment, corrupt, corrupt_batch, datasets, parameters, registry
from vesalius.corruptions.blur import defocus_blur, gaussian_blur, motion_blur
from vesalius.corruptions.channel import apply_channel, transition
from vesalius.corruptions.keys import generator, words16
from vesalius.corruptions.tone import saturate
from vesalius.errors import BadInputError, UsageError

REFERENCE = Path(__file__).parent / "data" / "medmnistc-0.1.0.npz"
STATISTICS = Path(__file__).parent / "data" / "medmnistc-0.1.0-noise.json"

EXACT = {"pixelate", "jpeg_compression", "brightness_up", "brightness_down", "contrast_up", "contrast_down",
         "gamma_corr_up", "gamma_corr_down", "black_corner", "gaussian_blur", "defocus_blur", "zoom_blur",
         "saturate"}  # fmt: skip


def reference() -> dict[str, np.ndarray]:
    with np.load(REFERENCE, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def picture(height: int = 96, width: int = 80, channels: int = 3, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / max(height, width)
    base = np.stack([x, y, 1 - x], -1) * 150 + 60 * (np.sin(x * 20) * np.cos(y * 15))[..., None] + 50
    noisy = (base + rng.normal(size=base.shape) * 5).clip(0, 255).astype(np.uint8)
    return noisy if channels == 3 else noisy[:, :, 0]


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    from skimage.metrics import structural_similarity

    return float(structural_similarity(a, b, channel_axis=2))


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    error = np.mean((a.astype(float) - b.astype(float)) ** 2)
    return float("inf") if error == 0 else 10 * np.log10(255**2 / error)


@pytest.mark.parametrize("name", sorted(EXACT))
@pytest.mark.parametrize("severity", [1, 5])
def test_deterministic_corruptions_agree_with_the_release(name: str, severity: int) -> None:
    stored = reference()
    dataset, theirs = next((k.split("/")[0], v) for k, v in stored.items() if k.endswith(f"/{name}/{severity}"))
    # The file keeps every fourth pixel of the release's output.
    ours = corrupt(stored["image"], name, severity, dataset=dataset, published=True)[1::4, 1::4]
    difference = np.abs(ours.astype(int) - theirs)
    # Truncation of 99.9999 and 100.0001 differs by one level; nothing else may.
    assert difference.max() <= 1
    assert ssim(ours, theirs) > 0.995
    assert psnr(ours, theirs) > 45


def test_motion_blur_agrees_with_imagemagick_at_the_same_angle() -> None:
    stored = reference()
    for key, theirs in stored.items():
        if key.startswith("motion_blur/"):
            _, radius, sigma, angle = key.split("/")
            ours = motion_blur(stored["image"], float(radius), float(sigma), float(angle))[1::4, 1::4]
            assert np.abs(ours.astype(int) - theirs).max() <= 1


def test_disk_of_radius_eight_is_the_one_that_departs_from_the_release() -> None:
    # The released kernel mirrors its own rim at radius 8 and so sums to more than 1: flat grey comes out brighter.
    flat = np.full((64, 64, 3), 100, dtype=np.uint8)
    assert defocus_blur(flat, 8, 0.5)[32, 32, 0] in (99, 100)


@pytest.mark.parametrize("name", ["gaussian_noise", "speckle_noise", "shot_noise", "impulse_noise"])
def test_noise_has_the_statistics_of_the_release(name: str) -> None:
    stored = json.loads(STATISTICS.read_text())
    for row in stored[name]:
        matrix = transition(name, row["parameter"])
        for level, mean, std in zip(row["levels"], row["mean"], row["std"], strict=True):
            p, out = matrix[level], np.arange(256)
            expected_mean = float(p @ out)
            expected_std = float(np.sqrt(p @ (out - expected_mean) ** 2))
            # The release was sampled with n = 200,000: five standard errors, and one level for its truncation.
            assert abs(mean - expected_mean) < 5 * expected_std / np.sqrt(row["n"]) + 1.0
            assert abs(std - expected_std) < 0.02 * expected_std + 0.6


@pytest.mark.parametrize(
    ("name", "parameter"),
    [("gaussian_noise", 0.08), ("speckle_noise", 0.35), ("shot_noise", 5.0), ("shot_noise", 300.0),
     ("impulse_noise", 0.005), ("low_dose", 700.0)],
)  # fmt: skip
def test_samples_follow_the_transition_matrix(name: str, parameter: float) -> None:
    from scipy.stats import chisquare

    matrix = transition(name, parameter)
    assert np.allclose(matrix.sum(axis=1), 1)
    assert (matrix >= 0).all()
    p_values = []
    for level in (3, 90, 200, 255):
        drawn = apply_channel(np.full(200_000, level, np.uint8), name, parameter, generator("test", name, level))
        seen, expected = np.bincount(drawn, minlength=256), matrix[level] * drawn.size
        common = expected >= 20
        assert seen[~common].sum() <= expected[~common].sum() + 6 * np.sqrt(expected[~common].sum() + 1) + 8
        if common.sum() > 1:
            share = expected[common] / expected[common].sum() * seen[common].sum()
            p_values.append(chisquare(seen[common], share).pvalue)
    # 16-bit chances and a fixed seed: what matters is that no level is off.
    assert not p_values or min(p_values) > 1e-5


def test_shot_noise_matrix_is_numpys_poisson() -> None:
    rng = np.random.default_rng(3)
    for photons in (5.0, 60.0):
        for level in (10, 128, 250):
            x = rng.poisson(level / 255 * photons, 300_000) / photons
            drawn = (np.clip(x, 0, 1) * 255).astype(int)
            p = np.bincount(drawn, minlength=256) / drawn.size
            assert 0.5 * np.abs(p - transition("shot_noise", photons)[level]).sum() < 0.01


def test_low_dose_noise_grows_with_density() -> None:
    matrix = transition("low_dose", 2000.0)
    out = np.arange(256)
    mean = matrix @ out
    spread = np.sqrt(np.einsum("io,io->i", matrix, (out[None] - mean[:, None]) ** 2))
    assert spread[200] > 2 * spread[50]
    assert abs(mean[100] - 100) < 1


def test_gaussian_blur_is_scipys() -> None:
    from scipy.ndimage import gaussian_filter1d

    image = picture().astype(float)
    kernel = 9
    sigma = 0.3 * ((kernel - 1) * 0.5 - 1) + 0.8
    want = gaussian_filter1d(
        gaussian_filter1d(image, sigma, 0, radius=4, mode="mirror"), sigma, 1, radius=4, mode="mirror"
    )
    assert np.abs(gaussian_blur(picture(), kernel) - want).max() <= 0.51


@given(st.floats(1, 9), st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_defocus_is_a_brute_force_disk(radius: float, seed: int) -> None:
    from scipy.ndimage import correlate

    image = picture(40, 44, seed=seed)
    reach = int(radius)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disk = (x * x + y * y <= radius * radius).astype(float)
    want = correlate(image.astype(float), (disk / disk.sum())[:, :, None], mode="mirror")
    assert np.abs(defocus_blur(image, radius, 0.01) - np.floor(want + 1e-6)).max() <= 1


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12)), st.floats(0.01, 0.3))
@settings(max_examples=40, deadline=None)
def test_saturate_is_hsv(values: np.ndarray, amount: float) -> None:
    import colorsys

    image = np.stack([values, np.roll(values, 1), values[::-1]], -1)
    got = saturate(image, amount)
    for where in np.ndindex(values.shape):
        h, s, v = colorsys.rgb_to_hsv(*(image[where] / 255.0))
        want = np.array(colorsys.hsv_to_rgb(h, min(s + amount, 1), v)) * 255
        assert np.abs(got[where] - want).max() < 1.01


@pytest.mark.parametrize("name", registry("default"))
@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (28, 28), (224, 200), (64, 96, 1), (57, 43, 3)])
def test_any_size_keeps_shape_type_and_input(name: str, shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    before = image.copy()
    for severity in (1, 5):
        out = corrupt(image, name, severity, seed=4, image_id="a")
        assert out.shape == image.shape
        assert out.dtype == np.uint8
        assert not np.shares_memory(out, image)
        assert np.array_equal(image, before)
        out[...] = 0  # writable


@pytest.mark.parametrize("name", registry("default"))
def test_same_key_same_pixels_and_order_does_not_matter(name: str) -> None:
    images = np.stack([picture(48, 48, seed=i) for i in range(3)])
    ids = ["p", "q", "r"]
    forward = corrupt_batch(images, name, 3, seed=9, image_ids=ids)
    backward = corrupt_batch(images[::-1].copy(), name, 3, seed=9, image_ids=ids[::-1])
    assert np.array_equal(forward, np.asarray(backward)[::-1])
    assert np.array_equal(forward[1], corrupt(images[1], name, 3, seed=9, image_id="q"))


def test_other_seed_image_or_severity_is_another_draw() -> None:
    image = picture()
    first = corrupt(image, "gaussian_noise", 2, seed=0, image_id="a")
    for change in ({"seed": 1}, {"image_id": "b"}):
        other = corrupt(image, "gaussian_noise", 2, **{"seed": 0, "image_id": "a", **change})
        correlation = np.corrcoef((first - image.astype(float)).ravel(), (other - image.astype(float)).ravel())[0, 1]
        assert abs(correlation) < 0.03


def test_stream_is_pinned() -> None:
    # Numbers of a published experiment must not move: the stream is part of the contract.
    assert words16(generator(0, "image", "gaussian_noise", 1), 4).tolist() == [54388, 30884, 5503, 50573]
    assert words16(generator(0, "1"), 1).tolist() != words16(generator(0, 1), 1).tolist()


def test_grey_keeps_the_nominal_noise_where_the_release_weakens_it() -> None:
    grey = np.full((200, 200), 128, dtype=np.uint8)
    c = parameters("gaussian_noise", "chestmnist")[0][0] * 255
    ours = corrupt(grey, "gaussian_noise", 1, dataset="chestmnist").astype(float)
    theirs = corrupt(grey, "gaussian_noise", 1, dataset="chestmnist", published=True).astype(float)
    weights = np.sqrt(0.299**2 + 0.587**2 + 0.114**2)
    assert abs(ours.std() / c - 1) < 0.03
    assert abs(theirs.std() / c - weights) < 0.03


def test_severities_are_ordered_except_where_the_release_is_not() -> None:
    image = picture(224, 224)
    for name in registry("default"):
        # Placed marks differ by chance and a flip has no degrees.
        if name in {
            "monochrome_flip",
            "characters",
            "stain_deposit",
            "bubble",
            "metal",
            "motion",
            "window_error",
            "ghosting",
        }:
            continue
        ids = range(1 if name not in {"bias_field", "motion_blur"} else 8)
        error = [
            np.mean([np.mean((corrupt(image, name, s, image_id=i).astype(float) - image) ** 2) for i in ids])
            for s in SEVERITIES
        ]
        assert all(a < b * 1.02 for a, b in itertools.pairwise(error)), (name, error)
    ours = [p[0] for p in parameters("black_corner", "dermamnist")]
    released = [p[0] for p in parameters("black_corner", "dermamnist", published=True)]
    assert ours == sorted(ours, reverse=True)
    assert released == [1.10, 1.05, 1.00, 0.90, 0.95]


@pytest.mark.parametrize(
    ("name", "least"), [("metal", 2.0), ("motion", 1.0), ("window_error", 8.0), ("ghosting", 1.0), ("bias_field", 5.0)]
)
def test_acquisition_faults_change_the_picture_more_at_five_than_at_one(name: str, least: float) -> None:
    image = picture(128, 128, channels=1)
    change = [
        np.mean([np.abs(corrupt(image, name, s, image_id=i).astype(float) - image).mean() for i in range(12)])
        for s in (1, 5)
    ]
    assert change[1] > 1.5 * change[0]
    assert change[1] > least


def test_monochrome_flip_twice_is_the_image() -> None:
    image = picture()
    assert np.array_equal(corrupt(corrupt(image, "monochrome_flip", 1), "monochrome_flip", 5), image)


def test_ghosting_puts_copies_along_the_phase_axis() -> None:
    image = np.zeros((96, 96), dtype=np.uint8)
    image[20:28, 40:56] = 200
    out = corrupt(image, "ghosting", 5, image_id=1).astype(int)
    n = int(parameters("ghosting")[4][0])
    shift = 96 // n
    assert out[20 + shift : 28 + shift, 44:52].mean() > 10
    assert out[20:28, 70:90].mean() < 3


def test_every_table_has_five_known_steps_and_every_operator_a_table() -> None:
    from vesalius.corruptions.suite import OPERATORS

    assert set(registry("default")) == set(OPERATORS)
    for dataset in datasets():
        for name in registry(dataset):
            assert len(parameters(name, dataset)) == 5
    assert len(registry("dermamnist")) == 15
    assert len(registry("chestmnist")) == 13
    assert len(registry("octmnist")) == 6


def test_augmentation_draws_every_corruption_and_identity_and_repeats_itself() -> None:
    image = picture(64, 64)
    same = 0
    seen = set()
    for i in range(300):
        out = augment(image, "pathmnist", seed=1, image_id=i)
        assert out.shape == image.shape
        same += np.array_equal(out, image)
        seen.add(out.tobytes())
    # 11 corruptions and identity: 25 of 300 on average.
    assert 10 <= same <= 45
    assert len(seen) > 200
    a = augment(image, "octmnist", seed=1, image_id="x", epoch=3)
    assert np.array_equal(a, augment(image, "octmnist", seed=1, image_id="x", epoch=3))


@pytest.mark.parametrize("image", [np.zeros((8, 8)), np.zeros((8, 8, 4), np.uint8), np.zeros((0, 8), np.uint8), "x"])
def test_wrong_pictures_are_refused(image: object) -> None:
    with pytest.raises(BadInputError):
        corrupt(image, "pixelate", 1)  # type: ignore[arg-type]


def test_wrong_names_are_refused() -> None:
    image = picture()
    for call in (
        lambda: corrupt(image, "pixelate", 0),
        lambda: corrupt(image, "no-such", 1),
        lambda: corrupt(image, "saturate", 1, dataset="chestmnist"),
        lambda: registry("no-such"),
        lambda: corrupt_batch(image[None], "pixelate", 1, image_ids=[1, 2]),
    ):
        with pytest.raises(UsageError):
            call()


def test_jpeg_is_pillows() -> None:
    image = picture()
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=15)
    want = np.asarray(Image.open(buffer))
    assert np.array_equal(corrupt(image, "jpeg_compression", 3, dataset="pathmnist"), want)
