"""Subgroups: values against scikit-learn, intervals against a plain bootstrap, alarms against their error rate."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import recall_score, roc_auc_score

from vesalius.audit.finding import Finding, adjust, normal_p
from vesalius.audit.groups import bands, groups_of
from vesalius.audit.subgroups import subgroups
from vesalius.errors import BadInputError, UsageError
from vesalius.metrics.measure import Measure


def data(n: int = 600, seed: int = 0, gap: float = 0.0) -> tuple[np.ndarray, np.ndarray, dict[str, list]]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    sex = rng.choice(["F", "M"], n)
    age = rng.integers(20, 90, n).astype(float)
    strength = np.where(sex == "F", 1.5 - gap, 1.5)
    score = 1 / (1 + np.exp(-(rng.normal(size=n) + strength * (y - 0.5))))
    return y, score, {"sex": list(sex), "age": list(age)}


def test_values_are_scikit_learns() -> None:
    y, score, attributes = data()
    report = subgroups(y, score, attributes, measures=("auroc", "sensitivity", "calibration"), resamples=200)
    sex = np.asarray(attributes["sex"])
    for r in report.results:
        if r.group not in ("sex=F", "sex=M"):
            continue
        inside = sex == r.group[-1]
        want = {
            "auroc": lambda m: roc_auc_score(y[m], score[m]),
            "sensitivity": lambda m: recall_score(y[m], score[m] >= 0.5),
            "calibration": lambda m: float(np.mean(score[m]) - np.mean(y[m])),
        }[r.measure]
        assert r.estimate.value == pytest.approx(want(inside))
        assert r.gap.value == pytest.approx(want(inside) - want(~inside))
        assert r.n == inside.sum()


def test_values_are_fairlearns() -> None:
    fairlearn = pytest.importorskip("fairlearn.metrics", reason="needs the dev extra (fairlearn)")
    y, score, attributes = data(seed=4)
    frame = fairlearn.MetricFrame(
        metrics=fairlearn.selection_rate, y_true=y, y_pred=score >= 0.5, sensitive_features=attributes["sex"]
    )
    report = subgroups(y, score, {"sex": attributes["sex"]}, measures=("selection_rate",), resamples=100)
    for r in report.results:
        assert r.estimate.value == pytest.approx(frame.by_group[r.values["sex"]])


def test_intervals_are_those_of_a_plain_stratified_bootstrap() -> None:
    y, score, attributes = data(400, seed=2)
    report = subgroups(y, score, {"sex": attributes["sex"]}, measures=("auroc",), resamples=3000)
    result = next(r for r in report.results if r.group == "sex=F")
    rng = np.random.default_rng(9)
    sex = np.asarray(attributes["sex"])
    positive, negative = np.flatnonzero(y == 1), np.flatnonzero(y == 0)

    def area(labels: np.ndarray, values: np.ndarray) -> float:
        a, b = values[labels == 1][:, None], values[labels == 0][None]
        return float(((a > b) + 0.5 * (a == b)).mean())

    drawn, gaps = [], []
    for _ in range(1500):
        i = np.r_[rng.choice(positive, len(positive)), rng.choice(negative, len(negative))]
        f = sex[i] == "F"
        here, there = area(y[i][f], score[i][f]), area(y[i][~f], score[i][~f])
        drawn.append(here)
        gaps.append(here - there)
    assert result.estimate is not None
    assert result.gap is not None
    assert np.allclose([result.estimate.low, result.estimate.high], np.quantile(drawn, [0.025, 0.975]), atol=0.012)
    assert np.allclose([result.gap.low, result.gap.high], np.quantile(gaps, [0.025, 0.975]), atol=0.016)


def test_p_value_is_near_the_unpaired_delong_test() -> None:
    from vesalius.metrics.statistics.inference import delong

    y, score, attributes = data(800, seed=5, gap=0.7)
    report = subgroups(y, score, {"sex": attributes["sex"]}, measures=("auroc",), resamples=4000)
    r = next(r for r in report.results if r.p is not None)
    inside = np.asarray(attributes["sex"]) == r.group[-1]
    a, b = delong(y[inside], score[inside]), delong(y[~inside], score[~inside])
    z = (a.auc - b.auc) / np.hypot(a.se, b.se)
    from scipy.stats import norm

    # The floor of the standard error and Student's t make it a little more careful, never less.
    assert 0.85 * abs(z) < norm.isf(r.p / 2) < 1.02 * abs(z)
    assert normal_p(z) == pytest.approx(2 * norm.sf(abs(z)), rel=1e-9)


def test_a_large_gap_is_found_and_the_worst_group_named() -> None:
    y, score, attributes = data(1500, seed=1, gap=1.3)
    report = subgroups(y, score, attributes, resamples=500)
    assert "sex=F" in {r.group for r in report.alarms()}
    worst = report.worst("auroc")
    assert worst is not None
    assert worst.group == "sex=F"
    assert report.equity_scaled_auroc["sex"] < report.overall["auroc"].value


def test_family_wise_error_rate_holds_where_there_is_no_gap() -> None:
    alarms = sum(bool(subgroups(*data(400, seed=100 + i), resamples=300, alpha=0.1).alarms()) for i in range(60))
    # 60 null audits at 10 %: 12 or more has a chance below 2 % when the rate is right.
    assert alarms <= 11


def test_patients_are_resampled_whole() -> None:
    y, score, attributes = data(200, seed=3)
    repeated = {k: v * 5 for k, v in attributes.items()}
    patients = list(range(200)) * 5
    apart = subgroups(np.tile(y, 5), np.tile(score, 5), repeated, resamples=800)
    whole = subgroups(np.tile(y, 5), np.tile(score, 5), repeated, patients=patients, resamples=800)
    single = subgroups(y, score, attributes, resamples=800)

    def width(report: object) -> float:
        return next(r.estimate.width for r in report.results if r.measure == "auroc" and r.group == "sex=F")  # type: ignore[attr-defined]

    assert width(whole) == pytest.approx(width(single), rel=0.2)
    assert width(apart) < 0.6 * width(single)


def test_small_groups_are_listed_and_not_judged() -> None:
    y, score, _ = data(300)
    site = ["a"] * 290 + ["b"] * 10
    report = subgroups(y, score, {"site": site}, resamples=200)
    small = next(r for r in report.results if r.group == "site=b")
    assert small.estimate is None
    assert "fewer than" in small.skipped
    assert small.n == 10


def test_perfect_separation_in_a_group_is_no_certain_gap() -> None:
    rng = np.random.default_rng(0)
    y = np.r_[np.ones(12), np.zeros(12), np.ones(60), np.zeros(60)].astype(int)
    score = np.r_[np.linspace(0.8, 0.9, 12), np.linspace(0.1, 0.2, 12), 0.5 + 0.3 * y[24:] + 0.1 * rng.normal(size=120)]
    report = subgroups(y, np.clip(score, 0, 1), {"g": ["a"] * 24 + ["b"] * 120}, measures=("auroc",), resamples=500)
    assert all(r.p is None or r.p > 0.01 for r in report.results)


def test_two_sides_of_one_attribute_are_one_test() -> None:
    y, score, attributes = data()
    report = subgroups(y, score, {"sex": attributes["sex"]}, measures=("auroc",), resamples=200)
    assert sum(r.p is not None for r in report.results) == 1


def test_bands_intersections_and_missing_values() -> None:
    assert list(bands([1, 39.9, 40, None, float("nan"), 80], (40.0, 60.0))) == [
        "<40", "<40", "[40, 60)", None, None, ">=60",
    ]  # fmt: skip
    groups = groups_of({"sex": ["F", "M", "", "F"], "age": [30.0, 50.0, 70.0, None]}, depth=2)
    names = {g.name for g in groups}
    assert "sex=F" in names
    assert "age<40 & sex=F" in names
    female = next(g for g in groups if g.name == "sex=F")
    assert female.member.tolist() == [True, False, False, True]
    assert female.rest.tolist() == [False, True, False, False]


def test_wrong_input_is_refused() -> None:
    y, score, attributes = data(100)
    with pytest.raises(UsageError):
        subgroups(y, score, attributes, measures=("no-such",))
    with pytest.raises(UsageError):
        subgroups(y, score, {"name": [f"p{i}" for i in range(100)]})
    with pytest.raises(BadInputError):
        subgroups(y, score, {"sex": ["F"]})
    with pytest.raises(BadInputError):
        subgroups(y, score * 5, attributes)


def test_holm_over_findings_and_smallest_effect() -> None:
    found = [
        Finding("s", str(i), "", Measure(e), p=p)
        for i, (e, p) in enumerate([(0.3, 0.01), (0.001, 0.0001), (0.2, 0.04)])
    ]
    out = adjust([*found, Finding("s", "described", "", Measure(9.0))], 0.05, 0.01)
    assert [f.p_adjusted for f in out] == pytest.approx([0.02, 0.0003, 0.04, None])
    assert [f.alarm for f in out] == [True, False, True, False]
