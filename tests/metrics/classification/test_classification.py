from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import expit

from vesalius.errors import BadInputError, UsageError
from vesalius.metrics.classification import calibration, multilabel, rates, regression
from vesalius.metrics.classification import scores as classification


@st.composite
def scored(draw, min_size=2, max_size=60):
    """Labels of both classes with scores full of ties."""
    n = draw(st.integers(min_size, max_size))
    y = draw(hnp.arrays(np.int64, n, elements=st.integers(0, 1)))
    y[0], y[-1] = 0, 1
    coarse = draw(st.booleans())
    element = st.integers(-3, 3).map(float) if coarse else st.floats(-1e3, 1e3, width=32)
    return y, draw(hnp.arrays(np.float64, n, elements=element))


@given(scored())
def test_areas_and_curves_equal_scikit_learn(case):
    y, s = case
    assert classification.auroc(y, s) == pytest.approx(sk.roc_auc_score(y, s))
    assert classification.auprc(y, s) == pytest.approx(sk.average_precision_score(y, s))
    fpr, tpr, thr = sk.roc_curve(y, s, drop_intermediate=False)
    ours = classification.roc_curve(y, s)
    np.testing.assert_allclose(ours.fpr, fpr)
    np.testing.assert_allclose(ours.tpr, tpr)
    np.testing.assert_array_equal(ours.threshold[1:], thr[1:])
    precision, recall, thr = sk.precision_recall_curve(y, s)
    ours_pr = classification.pr_curve(y, s)
    np.testing.assert_allclose(ours_pr.precision[::-1], precision[:-1])
    np.testing.assert_allclose(ours_pr.recall[::-1], recall[:-1])


@given(scored())
def test_auroc_is_the_pairwise_probability_and_monotone_invariant(case):
    y, s = case
    diff = s[y == 1][:, None] - s[y == 0][None, :]
    assert classification.auroc(y, s) == pytest.approx(np.mean((diff > 0) + 0.5 * (diff == 0)))
    assert classification.auroc(y, np.unique(s, return_inverse=True)[1] ** 3) == classification.auroc(y, s)
    assert classification.auroc(y, -s) == pytest.approx(1 - classification.auroc(y, s))


@given(scored(), st.integers(0, 2**32 - 1))
def test_weighted_areas_equal_scikit_learn_and_repetition(case, seed):
    y, s = case
    w = np.random.default_rng(seed).integers(0, 4, len(y))
    w[0] = w[-1] = 1
    assert classification.auroc(y, s, w) == pytest.approx(sk.roc_auc_score(y, s, sample_weight=w))
    assert classification.auroc(y, s, w) == pytest.approx(classification.auroc(np.repeat(y, w), np.repeat(s, w)))
    assert classification.auprc(y, s, w) == pytest.approx(classification.auprc(np.repeat(y, w), np.repeat(s, w)))


@given(st.integers(0, 2**32 - 1), st.integers(2, 5), st.integers(1, 80))
def test_class_metrics_equal_scikit_learn(seed, k, n):
    rng = np.random.default_rng(seed)
    y, p, w = rng.integers(0, k, n), rng.integers(0, k, n), rng.random(n) + 0.1
    assert classification.accuracy(y, p, w) == pytest.approx(sk.accuracy_score(y, p, sample_weight=w))
    assert classification.mcc(y, p) == pytest.approx(sk.matthews_corrcoef(y, p))
    recall = sk.recall_score(y, p, labels=np.unique(y), average="macro", zero_division=0)
    assert classification.balanced_accuracy(y, p) == pytest.approx(recall)
    for average in ("macro", "micro", "weighted"):
        assert classification.f1(y, p, average) == pytest.approx(sk.f1_score(y, p, average=average))
    b, q = (y > 0).astype(int), (p > 0).astype(int)
    assert classification.f1(b, q) == pytest.approx(sk.f1_score(b, q, zero_division=0))
    if len(np.unique(np.concatenate([y, p]))) > 1:
        for weights in (None, "linear", "quadratic"):
            expected = sk.cohen_kappa_score(y, p, weights=weights)
            if np.isfinite(expected):
                assert classification.kappa(y, p, weights) == pytest.approx(expected)


def test_strings_are_classes_and_absent_grades_keep_their_distance():
    assert classification.accuracy(["a", "b", "b"], ["a", "b", "c"]) == pytest.approx(2 / 3)
    y, p = [0, 0, 4, 4, 1], [0, 4, 4, 4, 1]
    full = sk.cohen_kappa_score(y, p, weights="quadratic", labels=[0, 1, 2, 3, 4])
    assert classification.kappa(y, p, "quadratic", grades=range(5)) == pytest.approx(full)
    assert classification.kappa(y, p, "quadratic") != pytest.approx(full)


@pytest.mark.parametrize(
    ("y", "score", "reason"),
    [
        ([1, 1, 1], [0.1, 0.2, 0.3], "one class"),
        ([0, 0], [0.1, 0.2], "one class"),
        ([1], [0.5], "one class"),
        ([], [], "empty"),
        ([0, 1], [np.nan, 0.3], "NaN"),
        ([0, 1], [np.inf, 0.3], "infinite"),
        ([0, 2], [0.1, 0.3], "0 or 1"),
        ([0, -1, 1], [0.1, 0.2, 0.3], "uncertain"),
        ([0, 1, 1], [0.1, 0.3], "length"),
        ([[0, 1]], [[0.1, 0.3]], "shape"),
        (["a", "b"], [0.1, 0.3], "numbers"),
    ],
)
def test_unusable_input_is_a_named_error(y, score, reason):
    with pytest.raises(BadInputError, match=reason):
        classification.auroc(y, score)


def test_all_ties_and_constant_scores():
    assert classification.auroc([0, 1, 0, 1], [2, 2, 2, 2]) == 0.5
    assert classification.auprc([0, 1, 0, 0], [2, 2, 2, 2]) == 0.25


@pytest.mark.parametrize("weight", [[0, 0], [1, -1], [np.nan, 1], [1, 1, 1], [1, 0]])
def test_unusable_weights_are_errors(weight):
    with pytest.raises(BadInputError):
        classification.auroc([0, 1], [0.1, 0.2], weight)


def test_unknown_options_are_usage_errors():
    with pytest.raises(UsageError):
        classification.f1([0, 1], [0, 1], "median")
    with pytest.raises(UsageError):
        classification.kappa([0, 1], [0, 1], "cubic")
    with pytest.raises(BadInputError):
        classification.kappa([1, 1], [1, 1])


@given(scored(), st.floats(-3, 3))
def test_rates_equal_the_confusion_matrix(case, threshold):
    y, s = case
    ((tn, fp), (fn, tp)) = sk.confusion_matrix(y, s >= threshold, labels=[0, 1])
    r = rates.rates_at(y, s, threshold)
    assert (r.tp, r.fp, r.tn, r.fn) == (tp, fp, tn, fn)
    assert r.sensitivity == pytest.approx(tp / (tp + fn))
    assert r.ppv == (pytest.approx(tp / (tp + fp)) if tp + fp else None)
    again = rates.rates_at(y, s, threshold, prevalence=(tp + fn) / len(y))
    assert (again.ppv, again.npv) == (r.ppv and pytest.approx(r.ppv), r.npv and pytest.approx(r.npv))


def test_predictive_values_at_a_stated_prevalence():
    # Sensitivity 0.9, specificity 0.8: at a prevalence of 1 %, PPV = 0.009 / 0.207, NPV = 0.792 / 0.793.
    y = np.repeat([1, 0], [10, 10])
    s = np.concatenate([np.repeat([1, 0], [9, 1]), np.repeat([1, 0], [2, 8])])
    assert rates.positive_predictive_value(y, s, 0.5, prevalence=0.01) == pytest.approx(0.009 / 0.207)
    assert rates.negative_predictive_value(y, s, 0.5, prevalence=0.01) == pytest.approx(0.792 / 0.793)
    with pytest.raises(BadInputError, match="no case scores"):
        rates.positive_predictive_value(y, s, 2.0)


@given(scored())
def test_calibration_measures(case):
    y, s = case
    p = expit(s)
    assert calibration.brier(y, p) == pytest.approx(sk.brier_score_loss(y, p))
    clipped = np.clip(p, 1e-15, 1 - 1e-15)
    assert calibration.log_loss(y, p) == pytest.approx(sk.log_loss(y, clipped), rel=1e-9)
    total = 0.0
    for low in np.linspace(0, 1, 16)[:-1]:
        rows = (p > low) & (p <= low + 1 / 15) if low else (p <= 1 / 15)
        if rows.any():
            total += rows.mean() * abs(y[rows].mean() - p[rows].mean())
    edges_hit = np.isin(np.round(p * 15, 9), np.arange(1, 15)).any()
    if not edges_hit:
        assert calibration.ece(y, p) == pytest.approx(total)
    assert calibration.mce(y, p) >= calibration.ece(y, p) - 1e-12
    curve = calibration.reliability_curve(y, p, 7, "mass")
    assert curve.count.sum() == len(y)
    assert np.average(curve.observed, weights=curve.count) == pytest.approx(y.mean())


def test_calibration_error_against_torchmetrics_and_by_hand():
    torch = pytest.importorskip("torch")
    from torchmetrics.functional.classification import binary_calibration_error

    rng = np.random.default_rng(3)
    p = rng.random(500)
    y = (rng.random(500) < p**1.5).astype(int)
    peer = float(binary_calibration_error(torch.tensor(p), torch.tensor(y), n_bins=15, norm="l1"))
    assert calibration.ece(y, p) == pytest.approx(peer, rel=1e-6, abs=1e-6)
    peer = float(binary_calibration_error(torch.tensor(p), torch.tensor(y), n_bins=15, norm="max"))
    assert calibration.mce(y, p) == pytest.approx(peer, rel=1e-6, abs=1e-6)
    # Two bins of equal mass: (0.1, 0.2) one positive of two, (0.8, 0.9) both positive.
    assert calibration.ace([0, 1, 1, 1], [0.1, 0.2, 0.8, 0.9], bins=2) == pytest.approx((0.35 + 0.15) / 2)


def test_logits_are_refused_not_squashed():
    with pytest.raises(BadInputError, match="logits"):
        calibration.brier([0, 1], [-2.0, 3.0])


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_multilabel_means_equal_scikit_learn(seed, labels):
    rng = np.random.default_rng(seed)
    y, s = rng.integers(0, 2, (30, labels)), rng.random((30, labels)).round(1)
    y[0], y[1] = 0, 1
    for average in ("macro", "micro"):
        assert multilabel.multilabel_auroc(y, s, average) == pytest.approx(sk.roc_auc_score(y, s, average=average))
        ap = sk.average_precision_score(y, s, average=average)
        assert multilabel.multilabel_auprc(y, s, average) == pytest.approx(ap)
        expected = sk.f1_score(y.ravel(), (s >= 0.5).ravel())
        if average == "macro":
            expected = np.mean([sk.f1_score(a, b >= 0.5, zero_division=0) for a, b in zip(y.T, s.T, strict=True)])
        assert multilabel.multilabel_f1(y, s, average) == pytest.approx(expected)


def test_unknown_labels_are_left_out_and_counted():
    y = np.array([[0, 1, np.nan], [1, 1, np.nan], [np.nan, 1, np.nan], [1, 1, np.nan]])
    s = np.array([[0.1, 0.2, 0.3], [0.4, 0.2, 0.3], [0.0, 0.2, 0.3], [0.05, 0.2, 0.3]])
    scores = multilabel.per_label(y, s, classification.auroc)
    assert scores.value == (0.5, None, None)
    assert scores.n == (3, 4, 0)
    assert scores.skipped == (1, 2)
    assert scores.macro == 0.5
    with pytest.raises(BadInputError, match="no label"):
        multilabel.multilabel_auroc(y[:, 1:], s[:, 1:])


def test_regression_against_scikit_learn_and_bland_altman_by_hand():
    rng = np.random.default_rng(0)
    y = rng.normal(120, 40, 50)
    p = y + rng.normal(2, 10, 50)
    assert regression.mae(y, p) == pytest.approx(sk.mean_absolute_error(y, p))
    assert regression.rmse(y, p) == pytest.approx(sk.root_mean_squared_error(y, p))
    assert regression.r2(y, p) == pytest.approx(sk.r2_score(y, p))
    assert regression.within(y, p, 12) == pytest.approx(np.mean(abs(y - p) <= 12))
    ba = regression.bland_altman([1, 2, 3, 4], [2, 2, 4, 6])  # differences 1, 0, 1, 2
    assert (ba.bias.value, ba.sd) == (pytest.approx(1.0), pytest.approx(np.sqrt(2 / 3)))
    assert ba.upper.value == pytest.approx(1 + 1.96 * np.sqrt(2 / 3))
    assert ba.bias.high == pytest.approx(1 + 3.182446 * np.sqrt(2 / 3) / 2, rel=1e-5, abs=1e-5)
    with pytest.raises(BadInputError):
        regression.r2([3, 3], [1, 2])
    with pytest.raises(BadInputError):
        regression.bland_altman([3], [1])
