"""Areas over clusters: DeLong where each case is its own, coverage where they are not."""

from __future__ import annotations

import numpy as np
import pytest

from vesalius.errors import BadInputError
from vesalius.metrics.statistics.clustered import clustered_auroc, clustered_auroc_difference
from vesalius.metrics.statistics.inference import delong, delong_paired


def data(n=200, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.random(n) < 0.4
    return y, y + rng.normal(0, 1.2, n), y + rng.normal(0, 1.5, n), [str(i) for i in range(n)]


def test_a_patient_a_case_is_delong():
    y, a, b, own = data()
    one, ref = clustered_auroc(y, a, own), delong(y, a)
    # Deviations are summed in another order: float64, so a few units of the last place.
    assert (one.auc, one.se) == pytest.approx((ref.auc, ref.se), rel=1e-9)
    assert (one.low, one.high) == pytest.approx((ref.interval.low, ref.interval.high), rel=1e-9)
    both, ref2 = clustered_auroc_difference(y, a, b, own), delong_paired(y, a, b)
    assert (both.difference, both.low, both.high) == pytest.approx(
        (ref2.difference, ref2.interval.low, ref2.interval.high), rel=1e-9
    )


def test_ties_count_half():
    y, score = [0, 0, 1, 1], [1.0, 2.0, 2.0, 2.0]
    assert clustered_auroc(y, score, list("abcd")).auc == pytest.approx((1 + 0.5 + 1 + 0.5) / 4)


def test_cases_that_are_copied_within_a_patient_add_nothing():
    y, a, b, own = data(60)
    one = clustered_auroc_difference(y, a, b, own)
    many = clustered_auroc_difference(*(np.repeat(v, 5) for v in (y, a, b)), np.repeat(own, 5).tolist())
    # Sums of five equal terms instead of one: float64.
    assert (many.difference, many.low) == pytest.approx((one.difference, one.low), rel=1e-9)


@pytest.mark.parametrize("same_class", [True, False])
def test_coverage_on_simulated_patients(same_class):
    """Intervals of 95 % hold the truth in about 95 % of 400 simulated studies; those that ignore patients do not."""
    rng, patients, each = np.random.default_rng(7), 40, 6
    held = naive = 0
    for _ in range(400):
        code = np.repeat(np.arange(patients), each)
        y = (np.arange(patients) % 2 == 0)[code] if same_class else rng.random(patients * each) < 0.5
        effect = rng.normal(0, 1, (2, patients))[:, code]
        a, b = (0.8 * y + e + rng.normal(0, 0.6, len(y)) for e in effect)
        groups = [str(c) for c in code]
        found = clustered_auroc_difference(y, a, b, groups)
        held += found.low <= 0 <= found.high  # both scores are drawn alike: the truth is 0
        alone = delong_paired(y, a, b).interval
        naive += alone.low <= 0 <= alone.high
    # 400 draws of .95: a standard error of .011; and few clusters make normal intervals a little short.
    assert held / 400 > 0.91
    if same_class:
        assert naive / 400 < 0.75


def test_perfect_ranking_has_the_exact_bound_of_the_smaller_class():
    groups = [str(i // 2) for i in range(40)]  # twenty patients of two cases
    y = np.arange(40) >= 30  # five of them ill
    found = clustered_auroc(y, y.astype(float), groups)
    assert (found.auc, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(0.025 ** (1 / 5), rel=1e-6)


def test_too_few_patients_of_a_class():
    with pytest.raises(BadInputError, match="two patients"):
        clustered_auroc([0, 0, 1, 1], [1, 2, 3, 4], ["a", "b", "c", "c"])
    with pytest.raises(BadInputError, match="groups"):
        clustered_auroc([0, 1], [1, 2], ["a"])
