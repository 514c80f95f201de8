"""Shortcuts: planted ones are found, honest sets stay silent, and the outline control tells size from content."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from tests.tolerance import TRAINED, close
from vesalius.audit.blind import blank, blind_answers, encode, metadata_baseline
from vesalius.audit.finding import adjust
from vesalius.audit.masks import MODES, border_only, common_area, masked, without_border
from vesalius.audit.probe import cross_validated, fit_probe
from vesalius.audit.shortcuts import (
    attribute_probes,
    border_audit,
    mask_audit,
    mask_matrix,
    occlusion_audit,
    score_dependence,
)
from vesalius.errors import BadInputError, UsageError


def films(n: int, *, signal: str, seed: int = 0) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    """32-px films with a round region; the label shows inside it, at a corner, or in the region's size."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    grid_y, grid_x = np.mgrid[:32, :32]
    images, regions = [], []
    for label in y:
        radius = 6.0 + (2.5 * label if signal == "size" else 0) + rng.uniform(-0.5, 0.5)
        region = (grid_y - 16) ** 2 + (grid_x - 16) ** 2 <= radius**2
        image = rng.normal(100, 12, (32, 32))
        image[region] += 20
        if signal == "inside" and label:
            image[12:16, 12:16] += 35
        if signal == "corner" and (label if rng.random() < 0.95 else 1 - label):
            image[1:5, 27:31] = 250
        images.append(np.clip(image, 0, 255).astype(np.uint8))
        regions.append(region)
    return images, regions, y


def flat(images: list[np.ndarray]) -> np.ndarray:
    return np.stack([x.astype(float).reshape(8, 4, 8, 4).mean((1, 3)).ravel() for x in images])


def trained(signal: str) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray, object]:
    images, _, y = films(400, signal=signal, seed=1)
    probe = fit_probe(flat(images), y, 10.0)
    test = films(300, signal=signal, seed=2)
    return (*test, lambda arrays: probe.predict(flat(arrays)))


def test_border_audit_finds_a_corner_mark_and_is_silent_without() -> None:
    for signal, guilty in (("corner", True), ("inside", False)):
        images, _, y, predict = trained(signal)
        (found,) = border_audit(images, y, predict, share=0.2)
        assert (adjust([found])[0].alarm) is guilty
        assert (found.measure.value > 0.85) is guilty


def test_border_p_value_is_the_rank_sum_test() -> None:
    images, _, y, predict = trained("corner")
    (found,) = border_audit(images, y, predict, share=0.2)
    score = predict([border_only(x, 0.2) for x in images])
    want = mannwhitneyu(score[y == 1], score[y == 0], alternative="greater", method="asymptotic", use_continuity=False)
    assert found.p == pytest.approx(want.pvalue, rel=1e-6)


def test_occlusion_points_at_the_mark() -> None:
    images, regions, y, predict = trained("corner")
    cells, loss = occlusion_audit(images, y, predict, grid=4, regions=regions)
    assert np.unravel_index(loss.argmax(), loss.shape) == (0, 3)
    assert {f.name for f in adjust(cells) if f.alarm} == {"occlusion:0,3"}
    images, regions, y, predict = trained("inside")
    cells, loss = occlusion_audit(images, y, predict, grid=4, regions=regions)
    assert not any(f.alarm for f in adjust(cells))
    assert loss[1:3, 1:3].max() > 0.1


def test_mask_audit_tells_a_shortcut_from_an_honest_set() -> None:
    values = {}
    for signal in ("inside", "corner"):
        images, regions, y, predict = trained(signal)
        found = adjust(mask_audit(images, regions, y, predict, fill=100))
        values[signal] = {f.name: f for f in found}
    assert not values["inside"]["mask:no-fixed"].alarm
    assert values["inside"]["mask:only-roi"].measure.value > 0.8
    assert values["corner"]["mask:no-fixed"].alarm
    assert values["corner"]["mask:no-roi"].measure.value - values["corner"]["mask:only-roi"].measure.value > 0.2


def test_outline_control_catches_a_region_whose_size_gives_the_label_away() -> None:
    images, regions, y = films(300, signal="size", seed=3)
    # Without the bright region the image itself says nothing; only the hole's size does.
    matrix = mask_matrix(images, regions, y, flat, folds=4)
    assert matrix["no-roi"]["no-roi"] > 0.7
    assert matrix["outline"]["outline"] > 0.9
    assert abs(matrix["no-fixed"]["no-fixed"] - 0.5) < 0.1


def test_modes_by_hand() -> None:
    image = np.arange(25, dtype=np.uint8).reshape(5, 5) + 1
    region = np.zeros((5, 5), dtype=bool)
    region[1, 1] = region[2, 3] = True
    box = np.zeros((5, 5), dtype=bool)
    box[1:3, 1:4] = True
    assert np.array_equal(masked(image, region, "no-roi"), image * ~region)
    assert np.array_equal(masked(image, region, "only-roi"), image * region)
    assert np.array_equal(masked(image, region, "no-box"), image * ~box)
    assert np.array_equal(masked(image, region, "only-box"), image * box)
    assert np.array_equal(masked(image, region, "outline"), region * np.uint8(255))
    assert np.array_equal(masked(image, region, "full"), image)
    assert masked(image, region, "only-roi", spread=1).astype(bool).sum() == 5 + 5 - 0
    fixed = common_area([region, np.roll(region, 1, axis=0)])
    assert fixed[1:4, 1:4].all()
    assert fixed.sum() == 9
    for mode in MODES:
        assert masked(image, region, mode, fixed=fixed).shape == image.shape


def test_border_halves_share_nothing() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 30, 3), dtype=np.uint8)
    other = image.copy()
    other[10:30, 8:22] = 0  # the middle
    assert np.array_equal(border_only(image, 0.2), border_only(other, 0.2))
    edge = image.copy()
    edge[0] = 255
    assert np.array_equal(without_border(image, 0.2), without_border(edge, 0.2))


def test_wrong_masks_are_refused() -> None:
    image = np.zeros((8, 8), np.uint8)
    for region, mode, error in (
        (np.zeros((4, 4), bool), "no-roi", BadInputError),
        (np.zeros((8, 8), bool), "no-roi", BadInputError),
        (np.ones((8, 8), bool), "no-fixed", UsageError),
        (np.ones((8, 8), bool), "upside-down", UsageError),
    ):
        with pytest.raises(error):
            masked(image, region, mode)
    with pytest.raises(UsageError):
        border_only(image, 0.5)


def test_probe_is_scikit_learns_ridge_logistic_regression() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(0)
    for n, d in ((200, 5), (40, 90)):
        x = rng.normal(size=(n, d)) * rng.uniform(0.5, 4, d)
        y = (x[:, 0] + rng.normal(size=n) > 0).astype(int)
        z = StandardScaler().fit_transform(x)
        want = LogisticRegression(C=0.5, tol=1e-10, max_iter=5000).fit(z, y).predict_proba(z)[:, 1]
        close(fit_probe(x, y, 2.0).predict(x), want, TRAINED)


def test_cross_validation_keeps_patients_together() -> None:
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(60), 4)
    identity = rng.normal(size=(60, 40))[patients]
    y = rng.integers(0, 2, 60)[patients]
    from sklearn.metrics import roc_auc_score

    assert abs(roc_auc_score(y, cross_validated(identity, y, list(patients))) - 0.5) < 0.2
    assert roc_auc_score(y, cross_validated(identity, y)) > 0.9  # leaks when patients are not told


def test_attributes_are_read_off_embeddings_only_where_they_are() -> None:
    rng = np.random.default_rng(0)
    sex = rng.choice(["F", "M"], 300)
    site = rng.choice(["a", "b"], 300)
    embedding = rng.normal(size=(300, 8))
    embedding[:, 2] += 2 * (sex == "F")
    found = {f.name: f.measure.value for f in attribute_probes(embedding, {"sex": list(sex), "site": list(site)})}
    assert found["attribute:sex=F"] > 0.85
    assert abs(found["attribute:site=a"] - 0.5) < 0.1


def test_dependence_given_the_label_is_not_dependence_through_the_label() -> None:
    rng = np.random.default_rng(0)
    n = 1000
    sex = rng.random(n) < 0.5
    y = (rng.random(n) < np.where(sex, 0.8, 0.2)).astype(int)  # prevalence differs, nothing else
    honest = y + rng.normal(size=n)
    biased = honest + 0.8 * sex
    names = ["F" if s else "M" for s in sex]
    (a,) = score_dependence(y, honest, {"sex": names})
    (b,) = score_dependence(y, biased, {"sex": names})
    assert a.p > 0.01
    assert b.p < 1e-6
    assert b.measure.value > 0.6


def test_stratified_rank_test_with_one_stratum_is_the_rank_sum_test() -> None:
    rng = np.random.default_rng(2)
    score = rng.integers(0, 20, 120).astype(float)
    group = ["a"] * 50 + ["b"] * 70
    y = np.ones(120)
    y[:5] = 0  # too few negatives to be a stratum
    (found,) = score_dependence(y, score, {"g": group})
    want = mannwhitneyu(score[5:50], score[50:], method="asymptotic", use_continuity=False)
    assert found.p == pytest.approx(want.pvalue, rel=1e-9)
    assert found.measure.value == pytest.approx(want.statistic / (45 * 70))


def test_blank_images_carry_nothing() -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (6, 6), dtype=np.uint8) for _ in range(9)]
    exchanged = blank(images, "exchange", seed=3)
    assert sorted(x.tobytes() for x in exchanged) == sorted(x.tobytes() for x in images)
    assert not any(np.array_equal(a, b) for a, b in zip(images, exchanged, strict=True))
    assert all((x == x[0, 0]).all() for x in blank(images, "mean"))
    assert not np.any(blank(images, "black"))
    with pytest.raises(UsageError):
        blank(images, "sideways")  # type: ignore[arg-type]


def test_blind_answers_by_hand() -> None:
    from scipy.stats import binomtest

    seeing = [1] * 14 + [0] * 6
    blind = [0] * 9 + [1] * 5 + [1] * 2 + [0] * 4
    found = blind_answers(seeing, blind)
    assert found.measure.value == pytest.approx((9 - 2) / 20)
    assert found.details["p_no_gain"] == pytest.approx(binomtest(9, 11, alternative="greater").pvalue)


def test_metadata_baseline_knows_when_age_is_enough() -> None:
    rng = np.random.default_rng(0)
    age = rng.uniform(20, 90, 400)
    y = (rng.random(400) < 1 / (1 + np.exp(-(age - 55) / 5))).astype(int)
    weak = y + rng.normal(size=400) * 2
    found = metadata_baseline(y, weak, {"age": list(age), "sex": ["F", "M"] * 200})
    assert found.measure.value > 0.9
    assert found.details["model_minus_metadata"].value < -0.1
    assert encode({"sex": ["F", "M", None], "age": [1.0, None, 3.0]}).tolist() == [
        [1, 0, 1, 0], [2, 1, 0, 1], [3, 0, 0, 0],
    ]  # fmt: skip
