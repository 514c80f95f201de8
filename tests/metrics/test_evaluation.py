"""Evaluations: values against scikit-learn, every interval drawn by patient, and the hard edges."""

from __future__ import annotations

import json

import numpy as np
import pytest
import sklearn.metrics as sk
from scipy.special import expit

from vesalius.errors import BadInputError
from vesalius.metrics.classification.calibration import ece, ece_interval
from vesalius.metrics.evaluation import Evaluation, auroc_measure, evaluate_classes, evaluate_numbers
from vesalius.metrics.statistics import bootstrap as bs


def three(n: int = 90, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    logits = rng.normal(size=(n, 3)) + 1.5 * np.eye(3)[y]
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return y, p, [f"p{i // 2}" for i in range(n)]


def test_classes_equal_scikit_learn_and_all_have_an_interval() -> None:
    y, p, groups = three()
    found = evaluate_classes(y, p, ("a", "b", "c"), groups)
    guess = p.argmax(1)
    # Sums of 90 terms in another order: far inside 1e-12.
    assert found["auroc_macro"].value == pytest.approx(sk.roc_auc_score(y, p, multi_class="ovr"), rel=1e-12)
    assert found["accuracy"].value == pytest.approx(sk.accuracy_score(y, guess), rel=1e-12)
    assert found["balanced_accuracy"].value == pytest.approx(sk.balanced_accuracy_score(y, guess), rel=1e-12)
    for c, name in enumerate("abc"):
        (one,) = [m for m in found.measures if (m.name, m.about) == ("ece", name)]
        assert one.value == pytest.approx(ece(y == c, p[:, c]), rel=1e-12)
    for m in found.measures:
        assert m.has_interval, m.name
        assert (m.n, m.patients, m.level) == (90, 45, 0.95)
        assert "clustered" in m.method
        assert m.definition
        assert m.low < m.high
        if m.name != "ece":  # resampling pushes that up, so its interval is mirrored and may lie below
            assert m.value in m
    assert Evaluation.from_dict(json.loads(json.dumps(found.to_dict(), allow_nan=False))) == found


def test_intervals_are_those_of_a_plain_loop_over_patients() -> None:
    y, p, groups = three(60, seed=3)
    guess = p.argmax(1)
    value = np.random.default_rng(1).normal(size=60)
    told = value + np.random.default_rng(2).normal(size=60)
    classes = evaluate_classes(y, p, ("a", "b", "c"), groups)
    numbers = evaluate_numbers(value, told, groups)
    members = [np.flatnonzero(np.asarray(groups) == g) for g in dict.fromkeys(groups)]
    rng = np.random.default_rng(5)
    drawn: dict[str, list[float]] = {k: [] for k in ("balanced_accuracy", "auroc_macro", "r2", "mae_of_the_mean")}
    for _ in range(2000):
        i = np.concatenate([members[j] for j in rng.integers(0, len(members), len(members))])
        drawn["balanced_accuracy"].append(sk.balanced_accuracy_score(y[i], guess[i]))
        drawn["auroc_macro"].append(sk.roc_auc_score(y[i], p[i], multi_class="ovr"))
        drawn["r2"].append(sk.r2_score(value[i], told[i]))
        drawn["mae_of_the_mean"].append(np.abs(value[i] - value[i].mean()).mean())
    for name, values in drawn.items():
        mine = (numbers if name in ("r2", "mae_of_the_mean") else classes)[name]
        low, high = np.quantile(values, [0.025, 0.975])
        # Two runs of 2,000 resamples: an end's own error is about a twentieth of the width.
        assert mine.low == pytest.approx(low, abs=0.12 * (high - low)), name
        assert mine.high == pytest.approx(high, abs=0.12 * (high - low)), name


def test_numbers_equal_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(60, 20, 80)
    p = y + rng.normal(0, 8, 80)
    found = evaluate_numbers(y, p, [str(i // 2) for i in range(80)])
    assert found["r2"].value == pytest.approx(sk.r2_score(y, p), rel=1e-12)
    assert found["mae"].value == pytest.approx(sk.mean_absolute_error(y, p), rel=1e-12)
    assert found["mae_of_the_mean"].value == pytest.approx(np.abs(y - y.mean()).mean(), rel=1e-12)
    assert all(m.has_interval and m.value in m for m in found.measures)
    same = evaluate_numbers(np.full(6, 3.0), np.arange(6.0), list("abcdef"))
    assert [m.name for m in same.measures] == ["mae", "mae_of_the_mean"]


def test_a_class_that_no_case_has_still_costs_accuracy() -> None:
    # A model that says "c" of every case, on cases that are all "a" or "b".
    y = np.asarray([0, 1] * 10)
    p = np.tile([0.1, 0.1, 0.8], (20, 1))
    found = evaluate_classes(y, p, ("a", "b", "c"), [str(i) for i in range(20)])
    assert found["accuracy"].value == found["balanced_accuracy"].value == 0
    assert {m.about for m in found.measures if m.name == "auroc"} == {"a", "b"}
    assert found.counts == {"a": 10, "b": 10, "c": 0}
    with pytest.raises(BadInputError, match="do not fit"):
        evaluate_classes(y, p[:, :2], ("a", "b", "c"), [str(i) for i in range(20)])


def test_perfect_predictions_keep_an_interval_with_a_width() -> None:
    y = np.asarray([0, 1] * 8)
    p = np.stack([1 - y, y], axis=1) * 0.8 + 0.1
    found = evaluate_classes(y, p, ("no", "yes"), [f"p{i // 2}" for i in range(16)])
    assert found["auroc"].value == found["accuracy"].value == 1
    assert found["accuracy"].low == pytest.approx(8 / (8 + 1.959964**2), rel=1e-6)  # Wilson of 8 of 8 patients
    assert found["auroc"].low == pytest.approx(0.025 ** (1 / 8), rel=1e-9)  # Clopper-Pearson of 8 of 8 patients
    wrong = auroc_measure(1 - y, p[:, 1], [str(i) for i in range(16)])
    assert (wrong.value, wrong.low) == (0.0, 0.0)
    assert wrong.high == pytest.approx(1 - 0.025 ** (1 / 8), rel=1e-9)


def test_the_interval_of_calibration_error_covers_where_a_percentile_interval_does_not() -> None:
    rng = np.random.default_rng(0)

    def sample(n: int, shift: float) -> tuple[np.ndarray, np.ndarray]:
        z = rng.normal(0, 1.5, n)
        return (rng.random(n) < expit(z - shift)).astype(int), expit(z)

    for shift, least in ((0.0, 0.9), (0.5, 0.85), (1.0, 0.85)):
        z = rng.normal(0, 1.5, 400_000)
        index = np.clip(np.ceil(expit(z) * 15).astype(int) - 1, 0, 14)
        truth = np.abs(np.bincount(index, expit(z - shift) - expit(z), 15)).sum() / len(z)
        covered = plain = 0
        for _ in range(100):
            y, p = sample(200, shift)
            covered += truth in ece_interval(y, p, resamples=300)
            counts = rng.multinomial(200, np.full(200, 1 / 200), size=100)
            drawn = [ece(np.repeat(y, c), np.repeat(p, c)) for c in counts]
            plain += np.quantile(drawn, 0.025) <= truth <= np.quantile(drawn, 0.975)
        assert covered >= 100 * least, shift
        assert covered >= plain


def test_the_basic_interval_is_scipys() -> None:
    from scipy.stats import bootstrap

    values = np.random.default_rng(0).exponential(size=80)
    peer = bootstrap((values,), np.mean, method="basic", n_resamples=9999, rng=np.random.default_rng(1))
    mine = bs.bootstrap_mean(values, method="basic", resamples=9999)
    width = peer.confidence_interval.high - peer.confidence_interval.low
    assert mine.low == pytest.approx(peer.confidence_interval.low, abs=0.05 * width)  # the resamples' own error
    assert mine.high == pytest.approx(peer.confidence_interval.high, abs=0.05 * width)


def test_shares_draw_patients_and_fall_back_to_wilson() -> None:
    mixed = bs.bootstrap_share([1, 1, 0, 0, 1, 1], groups=list("aabbcc"), resamples=200)
    assert (mixed.value, mixed.patients) == (pytest.approx(2 / 3), 3)
    assert "clustered" in mixed.method
    none = bs.bootstrap_share([0, 0, 0, 0], groups=list("aabb"))
    assert (none.value, none.low, none.n, none.patients) == (0.0, 0.0, 4, 2)
    assert none.high == pytest.approx(1.959964**2 / (2 + 1.959964**2), rel=1e-6)
    for bad in ([], [0.5], [1, np.nan]):
        with pytest.raises(BadInputError):
            bs.bootstrap_share(bad)
