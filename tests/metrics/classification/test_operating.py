from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vesalius.errors import BadInputError, UsageError
from vesalius.metrics.classification.operating import Cost, OperatingPoint, decision_curve, operating_point
from vesalius.metrics.statistics.intervals import clopper_pearson, wilson


def cases(seed, n=40, coarse=False):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    y[:2] = 0, 1
    s = rng.normal(y * 1.0, 1)
    return y, np.round(s, 1) if coarse else s


def brute_force(y, s):
    """Every possible rule: (threshold, sensitivity, specificity)."""
    for t in [*np.unique(s), np.inf]:
        called = s >= t
        yield t, called[y == 1].mean(), 1 - called[y == 0].mean()


@given(st.integers(0, 10**6), st.booleans(), st.sampled_from([0.5, 0.8, 0.9, 0.95, 1.0]))
def test_the_best_rule_that_meets_the_constraint_is_found(seed, coarse, value):
    y, s = cases(seed, coarse=coarse)
    rules = list(brute_force(y, s))
    useful = [(t, se, sp) for t, se, sp in rules if se >= value and sp > 0]
    if useful:
        best = max(useful, key=lambda r: (r[2], r[0]))
        point = operating_point(y, s, sensitivity=value)
        assert point.specificity.value == pytest.approx(best[2])
        assert point.threshold == max(t for t, se, _ in useful)
    else:
        with pytest.raises(BadInputError, match="sensitivity"):
            operating_point(y, s, sensitivity=value)
    useful = [(t, se, sp) for t, se, sp in rules if sp >= value and se > 0]
    if useful:
        point = operating_point(y, s, specificity=value)
        assert point.sensitivity.value == pytest.approx(max(r[1] for r in useful))
        assert point.threshold == min(r[0] for r in useful)
    else:
        with pytest.raises(BadInputError, match="specificity"):
            operating_point(y, s, specificity=value)


@given(st.integers(0, 10**6), st.floats(0.01, 100), st.floats(0.01, 0.99))
def test_the_cheapest_rule_is_found(seed, ratio, prevalence):
    y, s = cases(seed)
    point = operating_point(y, s, cost=ratio, prevalence=prevalence)
    costs = [ratio * prevalence * (1 - se) + (1 - prevalence) * (1 - sp) for _, se, sp in brute_force(y, s)]
    assert point.value == pytest.approx(min(costs))
    again = ratio * prevalence * (1 - point.sensitivity.value) + (1 - prevalence) * (1 - point.specificity.value)
    assert point.value == pytest.approx(again)
    assert operating_point(y, s, cost=Cost(ratio, 1.0), prevalence=prevalence) == point


@given(st.integers(0, 10**6))
def test_the_stored_point_repeats_its_counts_to_the_bit(seed):
    y, s = cases(seed)
    point = operating_point(y, s, cost=3.0)
    back = OperatingPoint.from_dict(json.loads(json.dumps(point.to_dict())))
    assert back == point
    assert np.float64(back.threshold).tobytes() == np.float64(point.threshold).tobytes()
    assert back.apply(s)[y == 1].mean() == point.sensitivity.value
    assert 1 - back.apply(s)[y == 0].mean() == pytest.approx(point.specificity.value)


def test_the_stored_point_survives_another_process(tmp_path):
    y, s = cases(11, n=200)
    point = operating_point(y, s, sensitivity=0.9)
    (tmp_path / "point.json").write_text(json.dumps(point.to_dict()))
    code = (
        "import json,sys,pathlib; from vesalius.metrics.classification.operating import OperatingPoint;"
        "p=OperatingPoint.from_dict(json.loads(pathlib.Path(sys.argv[1]).read_text())); print(p.threshold.hex())"
    )
    run = [sys.executable, "-c", code, str(tmp_path / "point.json")]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == point.threshold.hex()


def test_float32_scores_keep_their_threshold():
    y, s = cases(5, n=300)
    single = s.astype(np.float32)
    point = operating_point(y, single, sensitivity=0.9)
    assert (single >= point.threshold).tolist() == point.apply(single).tolist()
    assert point.apply(single)[y == 1].mean() == point.sensitivity.value


def test_hand_worked_point():
    y = [1, 1, 1, 1, 0, 0, 0, 0]
    s = [0.9, 0.8, 0.6, 0.3, 0.7, 0.4, 0.2, 0.1]
    point = operating_point(y, s, sensitivity=0.75)
    assert (point.threshold, point.sensitivity.value, point.specificity.value) == (0.6, 0.75, 0.75)
    assert (point.ppv.value, point.npv.value, point.prevalence, point.n, point.positives) == (0.75, 0.75, 0.5, 8, 4)
    assert point.sensitivity == clopper_pearson(3, 4).named("sensitivity", higher_is_better=True)
    screening = operating_point(y, s, sensitivity=0.75, prevalence=0.1)
    assert screening.ppv.value == pytest.approx(0.25)
    assert screening.ppv.value in screening.ppv


def test_unreachable_targets_are_clear_errors():
    y = [0, 0, 1, 1]
    with pytest.raises(BadInputError, match="no cut-off reaches the sensitivity"):
        operating_point(y, [1, 1, 1, 1], sensitivity=0.9)
    with pytest.raises(BadInputError, match=r"the best is 0\.5"):
        operating_point(y, [0.2, 0.3, 0.1, 0.4], sensitivity=0.9)
    with pytest.raises(BadInputError, match="no cut-off reaches the specificity"):
        operating_point(y, [0.2, 0.9, 0.1, 0.4], specificity=1.0)
    with pytest.raises(BadInputError, match="lower limit"):  # 2 of 2 positives leave a lower limit of 0.158
        operating_point(y, [0.1, 0.2, 0.3, 0.4], sensitivity=0.9, lower_bound=True)
    with pytest.raises(BadInputError):
        operating_point(y, [0.1, 0.2, 0.3, 0.4], sensitivity=1.2)
    with pytest.raises(BadInputError):
        operating_point([1, 1], [0.1, 0.2], sensitivity=0.9)
    with pytest.raises(BadInputError):
        operating_point(y, [0.1, 0.2, 0.3, 0.4], cost=-1.0)
    for wrong in ({}, {"sensitivity": 0.9, "specificity": 0.9}, {"cost": 1.0, "lower_bound": True}):
        with pytest.raises(UsageError):
            operating_point(y, [0.1, 0.2, 0.3, 0.4], **wrong)


def test_the_lower_bound_is_kept():
    y, s = cases(2, n=400)
    point = operating_point(y, s, sensitivity=0.85, lower_bound=True)
    assert point.sensitivity.low >= 0.85
    assert point.sensitivity.value > operating_point(y, s, sensitivity=0.85).sensitivity.value
    # The lowest of its kind: one hit fewer would not do.
    hits = round(point.sensitivity.value * point.positives)
    assert clopper_pearson(hits - 1, point.positives).low < 0.85


def test_a_rule_that_treats_nobody_is_stored_as_a_finite_number():
    point = operating_point([1, 0, 0], [0.1, 0.5, 0.9], cost=0.01)
    assert (point.sensitivity.value, point.specificity.value, point.ppv) == (0.0, 1.0, None)
    assert point.threshold == np.nextafter(0.9, np.inf)


def test_a_damaged_record_is_refused():
    point = operating_point([1, 0, 0, 1], [0.7, 0.5, 0.6, 0.9], sensitivity=1.0)
    data = point.to_dict()
    with pytest.raises(BadInputError, match="npv"):
        OperatingPoint.from_dict({k: v for k, v in data.items() if k != "npv"})
    with pytest.raises(BadInputError, match="threshold"):
        OperatingPoint.from_dict({**data, "threshold": float("nan")})
    with pytest.raises(BadInputError):
        point.apply([np.nan])


@given(st.integers(1, 500), st.data())
def test_proportion_intervals_equal_statsmodels(n, data):
    from statsmodels.stats.proportion import proportion_confint

    k = data.draw(st.integers(0, n))
    for ours, name in ((clopper_pearson(k, n), "beta"), (wilson(k, n), "wilson")):
        low, high = proportion_confint(k, n, 0.05, name)
        assert ours.low == pytest.approx(low)
        assert ours.high == pytest.approx(high)
        assert 0 <= ours.low <= k / n <= ours.high <= 1


def test_impossible_counts_are_errors():
    for k, n in ((0, 0), (3, 2), (-1, 4)):
        with pytest.raises(BadInputError):
            wilson(k, n)
    with pytest.raises(BadInputError):
        wilson(1, 4, level=1.0)


def test_predictive_value_interval_covers_at_its_level():
    rng = np.random.default_rng(0)
    sens, spec, prev = 0.85, 0.9, 0.05
    truth = sens * prev / (sens * prev + (1 - spec) * (1 - prev))
    hits = 0
    from vesalius.metrics.statistics.intervals import predictive_interval

    for _ in range(2000):
        tp, fp = rng.binomial(60, sens), rng.binomial(150, 1 - spec)
        hits += truth in predictive_interval(int(tp), 60, int(fp), 150, prev / (1 - prev))
    assert 0.93 <= hits / 2000 <= 0.975


def test_decision_curve_by_hand():
    y, p = [1, 1, 0, 0], [0.9, 0.4, 0.5, 0.1]
    curve = decision_curve(y, p, [0.2, 0.45])
    np.testing.assert_allclose(curve.model, [2 / 4 - 1 / 4 * 0.25, 1 / 4 - 1 / 4 * 0.45 / 0.55])
    np.testing.assert_allclose(curve.treat_all, [0.5 - 0.5 * 0.25, 0.5 - 0.5 * 0.45 / 0.55])
    assert (curve.treat_none == 0).all()
    with pytest.raises(BadInputError):
        decision_curve(y, p, [0.0])
    with pytest.raises(BadInputError):
        decision_curve(y, [1.5, 0.1, 0.2, 0.3])
