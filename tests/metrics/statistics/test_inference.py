from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from vesalius.errors import BadInputError, UsageError
from vesalius.metrics.classification.operating import operating_point
from vesalius.metrics.classification.rates import rates_at
from vesalius.metrics.classification.scores import auprc, auroc
from vesalius.metrics.statistics import bootstrap as bs
from vesalius.metrics.statistics import inference


def cases(seed, n=60, shift=1.0, coarse=True):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    y[:4] = 0, 1, 0, 1
    s = rng.normal(y * shift, 1)
    return y, np.round(s, 1) if coarse else s


def psi(y, s):
    """The kernel of the definition: 1 when a positive is above a negative, one half when level."""
    diff = s[y == 1][:, None] - s[y == 0][None, :]
    return (diff > 0) + 0.5 * (diff == 0)


@given(st.integers(0, 10**6))
def test_delong_equals_its_definition(seed):
    y, s = cases(seed)
    kernel = psi(y, s)
    m, n = kernel.shape
    variance = kernel.mean(axis=1).var(ddof=1) / m + kernel.mean(axis=0).var(ddof=1) / n
    ours = inference.delong(y, s)
    assert ours.auc == pytest.approx(kernel.mean())
    assert ours.se == pytest.approx(np.sqrt(variance))
    assert 0 <= ours.interval.low <= ours.auc <= ours.interval.high <= 1
    logit = inference.delong(y, s, scale="logit").interval
    assert 0 < logit.low < ours.auc < logit.high < 1


@given(st.integers(0, 10**6))
def test_paired_delong_equals_its_definition(seed):
    y, a = cases(seed)
    b = np.random.default_rng(seed + 1).normal(a * 0.5, 1)
    ka, kb = psi(y, a), psi(y, b)
    m, n = ka.shape
    cov = np.cov(ka.mean(axis=1), kb.mean(axis=1)) / m + np.cov(ka.mean(axis=0), kb.mean(axis=0)) / n
    contrast = np.array([1, -1])
    z = (ka.mean() - kb.mean()) / np.sqrt(contrast @ cov @ contrast)
    ours = inference.delong_paired(y, a, b)
    assert ours.statistic == pytest.approx(z)
    assert ours.p == pytest.approx(2 * stats.norm.sf(abs(z)))
    swapped = inference.delong_paired(y, b, a)
    assert swapped.difference == pytest.approx(-ours.difference)
    assert swapped.p == pytest.approx(ours.p)


def test_delong_coverage_on_binormal_cases():
    # The interval on the linear scale is known to be a little short in small samples; the logit scale mends that.
    rng = np.random.default_rng(7)
    truth = stats.norm.cdf(1 / np.sqrt(2))
    y = np.repeat([0, 1], [60, 40])
    scores = [rng.normal(y, 1) for _ in range(4000)]
    linear = np.mean([truth in inference.delong(y, s).interval for s in scores])
    logit = np.mean([truth in inference.delong(y, s, scale="logit").interval for s in scores])
    assert 0.925 <= linear <= 0.96
    assert 0.94 <= logit <= 0.965


def test_delong_on_the_ratings_of_hanley_and_mcneil():
    # Table I of Radiology 1982;143:29 (51 abnormal and 58 normal CTs, five grades); the DeLong standard error and
    # limits are
    # those printed in Stata's manual for roctab on the same table.
    grades = np.arange(1, 6)
    y = np.repeat([0, 1], [58, 51])
    s = np.concatenate([np.repeat(grades, [33, 6, 6, 11, 2]), np.repeat(grades, [3, 2, 2, 11, 33])])
    ours = inference.delong(y, s)
    assert ours.auc == pytest.approx(0.8932, abs=5e-5)
    assert ours.se == pytest.approx(0.0307, abs=5e-5)
    assert (ours.interval.low, ours.interval.high) == (
        pytest.approx(0.83295, abs=5e-6),
        pytest.approx(0.95339, abs=5e-6),
    )


def test_delong_edges():
    y = [0, 0, 0, 1, 1]
    perfect = inference.delong(y, [1, 2, 3, 4, 5])
    assert perfect.auc == 1.0
    assert perfect.interval.low == pytest.approx(0.025**0.5)  # two positives: Clopper-Pearson of 2 in 2
    assert "exact" in perfect.interval.method
    assert inference.delong(y, [2, 2, 2, 2, 2]).auc == 0.5
    same = inference.delong_paired(y, [1, 3, 2, 4, 2], [10, 30, 20, 40, 20])
    assert (same.difference, same.p) == (0.0, 1.0)
    with pytest.raises(BadInputError, match="two of each"):
        inference.delong([0, 0, 1], [1, 2, 3])
    with pytest.raises(BadInputError, match="no variance"):
        inference.delong_paired(y, [1, 2, 3, 4, 5], [5, 4, 3, 2, 1])
    with pytest.raises(UsageError):
        inference.delong(y, [1, 2, 3, 4, 2], scale="probit")


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.booleans(), st.booleans())
def test_each_replicate_is_the_statistic_of_the_resample(seed, stratified, clustered):
    y, s = cases(seed, n=40)
    groups = np.random.default_rng(seed).integers(0, 12, 40) if clustered else None
    counts = np.concatenate(list(bs.resample_counts(40, 30, seed, y if stratified else None, groups)))
    board = bs.ScoreBoard(y, s)
    ones = np.ones((1, 40), dtype=int)
    threshold = operating_point(y, s, cost=1.0).threshold
    for count, a, p, sens, ppv, at in zip(
        counts,
        board.auroc(counts),
        board.auprc(counts),
        board.sensitivity(counts, threshold),
        board.ppv(counts, threshold),
        board.specificity_at(counts, 0.8),
        strict=True,
    ):
        yy, ss = np.repeat(y, count), np.repeat(s, count)
        if len(np.unique(yy)) < 2:
            assert np.isnan(a)
            continue
        assert a == pytest.approx(auroc(yy, ss))
        assert p == pytest.approx(auprc(yy, ss))
        rates = rates_at(yy, ss, threshold)
        assert sens == pytest.approx(rates.sensitivity)
        assert np.isnan(ppv) if rates.ppv is None else ppv == pytest.approx(rates.ppv)
        rules = [rates_at(yy, ss, t) for t in np.unique(ss)]
        assert at == pytest.approx(max(r.specificity for r in rules if r.sensitivity >= 0.8))
    assert board.auroc(ones)[0] == pytest.approx(auroc(y, s))


@given(st.integers(0, 10**6))
def test_resamples_keep_strata_and_clusters(seed):
    rng = np.random.default_rng(seed)
    n = 30
    y = np.r_[0, 1, rng.integers(0, 2, n - 2)]
    groups = rng.integers(0, 8, n)
    plain = np.concatenate(list(bs.resample_counts(n, 20, seed)))
    assert (plain.sum(axis=1) == n).all()
    strata = np.concatenate(list(bs.resample_counts(n, 20, seed, strata=y)))
    assert (strata[:, y == 1].sum(axis=1) == (y == 1).sum()).all()
    whole = np.concatenate(list(bs.resample_counts(n, 20, seed, groups=groups)))
    names = np.unique(groups)
    for group in names:
        assert (np.ptp(whole[:, groups == group], axis=1) == 0).all()
    first = [np.flatnonzero(groups == g)[0] for g in names]
    assert (whole[:, first].sum(axis=1) == len(names)).all()
    again = np.concatenate(list(bs.resample_counts(n, 20, seed, groups=groups)))
    np.testing.assert_array_equal(whole, again)


def test_bootstrap_agrees_with_delong_and_scipy():
    y, s = cases(1, n=400, coarse=False)
    ours = bs.bootstrap(y, s, resamples=4000)
    exact = inference.delong(y, s)
    assert ours.se == pytest.approx(exact.se, rel=0.06)
    assert ours.interval.low == pytest.approx(exact.interval.low, abs=0.01)
    assert ours.estimate == pytest.approx(exact.auc)
    values = np.random.default_rng(0).gamma(1.0, size=60)
    for method, name in (("percentile", "percentile"), ("bca", "BCa")):
        mine = bs.bootstrap_mean(values, method=method, resamples=20000)
        peer = stats.bootstrap((values,), np.mean, method=name, n_resamples=20000, rng=np.random.default_rng(1))
        assert mine.interval.low == pytest.approx(peer.confidence_interval.low, abs=0.01)
        assert mine.interval.high == pytest.approx(peer.confidence_interval.high, abs=0.02)


def test_bca_of_an_auc_matches_scipy():
    rng = np.random.default_rng(5)
    a, b = rng.normal(1.2, 1, 40), rng.normal(0, 1, 50)
    y, s = np.repeat([1, 0], [40, 50]), np.concatenate([a, b])

    def statistic(index):
        index = index.astype(int)
        return auroc(y[index], s[index])

    peer = stats.bootstrap(
        (np.arange(90),), statistic, method="BCa", n_resamples=4000, vectorized=False, rng=np.random.default_rng(1)
    ).confidence_interval
    mine = bs.bootstrap(y, s, method="bca", stratified=False, resamples=10000).interval
    assert mine.low == pytest.approx(peer.low, abs=0.012)
    assert mine.high == pytest.approx(peer.high, abs=0.012)


def test_clusters_widen_the_interval_when_cases_repeat():
    y, s = cases(3, n=80, coarse=False)
    yy, ss, patient = np.repeat(y, 5), np.repeat(s, 5), np.repeat(np.arange(80), 5)
    naive = bs.bootstrap(yy, ss, resamples=2000).interval
    fair = bs.bootstrap(yy, ss, groups=patient, resamples=2000).interval
    alone = bs.bootstrap(y, s, resamples=2000).interval
    assert fair.width > 1.8 * naive.width
    assert fair.width == pytest.approx(alone.width, rel=0.1)


def test_difference_of_models():
    y, a = cases(4, n=300, coarse=False)
    b = a + np.random.default_rng(0).normal(0, 2, 300)
    ours = bs.bootstrap_difference(y, a, b, resamples=4000)
    peer = inference.delong_paired(y, a, b)
    assert ours.estimate == pytest.approx(peer.difference)
    assert ours.interval.low == pytest.approx(peer.interval.low, abs=0.015)
    assert bs.bootstrap_difference(y, a, a, resamples=50).interval.width == 0


def test_undefined_resamples_are_counted_and_too_many_refused():
    y, s = np.r_[1, np.zeros(9)], np.arange(10.0)
    with pytest.raises(BadInputError, match="undefined in"):
        bs.bootstrap(y, s, stratified=False, resamples=500)
    assert bs.bootstrap(y, s, resamples=500).undefined == 0
    y, s = np.r_[1, 1, 1, 1, np.zeros(6)], np.arange(10.0)
    result = bs.bootstrap(y, s, stratified=False, resamples=2000)
    assert 0 < result.undefined < 40
    assert len(result.replicates) == 2000 - result.undefined
    for wrong in ({"statistic": "auc"}, {"statistic": "sensitivity"}, {"value": 0.2}, {"method": "normal"}):
        with pytest.raises(UsageError):
            bs.bootstrap(y, s, resamples=10, **wrong)
    with pytest.raises(BadInputError, match="groups"):
        bs.bootstrap(y, s, groups=[1, 2], resamples=10)
    with pytest.raises(BadInputError):
        bs.bootstrap_mean([])


def test_paired_permutation_is_exact_when_small_and_near_scipy_when_large():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.6, 1, 8), rng.normal(0, 1, 8)
    signs = np.array(list(itertools.product([1, -1], repeat=8)))
    null = (signs * (a - b)).mean(axis=1)
    observed = (a - b).mean()
    ours = inference.permutation_paired(a, b)
    assert ours.p == pytest.approx(np.mean(abs(null) >= abs(observed) - 1e-12))
    assert inference.permutation_paired(a, b, alternative="greater").p == pytest.approx(
        np.mean(null >= observed - 1e-12)
    )
    a, b = rng.normal(0.2, 1, 100), rng.normal(0, 1, 100)
    peer = stats.permutation_test(
        (a, b), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=5000, rng=np.random.default_rng(0)
    )
    assert inference.permutation_paired(a, b).p == pytest.approx(peer.pvalue, abs=0.02)
    assert inference.permutation_paired(a, a).p == 1.0
    with pytest.raises(UsageError):
        inference.permutation_paired(a, b, alternative="both")


def test_permuted_groups_move_together():
    a = np.repeat([1.0, 2.0, 3.0, 0.5], 3)
    ours = inference.permutation_paired(a, np.zeros(12), groups=np.repeat([0, 1, 2, 3], 3))
    assert ours.p == pytest.approx(2 / 16)
    with pytest.raises(BadInputError, match="groups"):
        inference.permutation_paired(a, a, groups=[1])


def test_permutation_of_aucs_by_brute_force():
    y = np.array([0, 0, 0, 0, 1, 1, 1])
    a, b = np.array([0.1, 0.5, 0.2, 0.3, 0.6, 0.9, 0.4]), np.array([3, 1, 5, 2, 4, 7, 6.0])
    ra, rb = stats.rankdata(a), stats.rankdata(b)
    null = []
    for swap in itertools.product([False, True], repeat=7):
        null.append(auroc(y, np.where(swap, rb, ra)) - auroc(y, np.where(swap, ra, rb)))
    observed = auroc(y, a) - auroc(y, b)
    ours = inference.permutation_auroc(y, a, b)
    assert ours.difference == pytest.approx(observed)
    assert ours.p == pytest.approx(np.mean(np.abs(null) >= abs(observed) - 1e-12))


def test_permutation_of_aucs_holds_its_level():
    rng = np.random.default_rng(2)
    p = []
    for seed in range(200):
        y, signal = cases(seed, n=50)
        a, b = signal + rng.normal(0, 1, 50), signal + rng.normal(0, 1, 50)
        p.append(inference.permutation_auroc(y, a, b, resamples=200, seed=seed).p)
    assert np.mean(np.array(p) <= 0.1) <= 0.16
    assert 0.4 <= np.mean(p) <= 0.6


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_multiplicity_corrections_equal_statsmodels(p):
    from statsmodels.stats.multitest import multipletests

    np.testing.assert_allclose(inference.holm(p), multipletests(p, method="holm")[1], atol=1e-12)
    np.testing.assert_allclose(inference.benjamini_hochberg(p), multipletests(p, method="fdr_bh")[1], atol=1e-12)


def test_multiplicity_refuses_nan():
    for function in (inference.holm, inference.benjamini_hochberg):
        with pytest.raises(BadInputError):
            function([0.1, np.nan])
        with pytest.raises(BadInputError):
            function([0.1, 1.2])
        assert len(function([])) == 0


def test_sample_sizes():
    from vesalius.metrics.statistics.intervals import wilson

    n = inference.sample_size_proportion(0.9, 0.05)
    assert wilson(round(0.9 * n), n).width <= 0.1 + 2e-3
    assert wilson(round(0.9 * (n // 2)), n // 2).width > 0.1
    # The Wald formula of the textbooks, z^2 p q / d^2 = 138.3, is near.
    assert n == pytest.approx(139, abs=6)
    assert inference.sample_size_rate(0.9, 0.05, 0.1, "sensitivity") == 10 * n
    assert inference.sample_size_rate(0.9, 0.05, 0.1, "specificity") == pytest.approx(n / 0.9, abs=1)
    # Hanley and McNeil 1982, figure 2: about fifty of each class for a standard error of 0.05 at 0.80 .. 0.85.
    total = inference.sample_size_auroc(0.85, 1.96 * 0.04)
    y = np.repeat([0, 1], total // 2)
    rng = np.random.default_rng(0)
    shift = stats.norm.ppf(0.85) * np.sqrt(2)
    se = np.mean([inference.delong(y, rng.normal(y * shift, 1)).se for _ in range(200)])
    assert se == pytest.approx(0.04, rel=0.1)
    with pytest.raises(BadInputError):
        inference.sample_size_auroc(1.0, 0.05)
    with pytest.raises(UsageError):
        inference.sample_size_rate(0.9, 0.05, 0.1, "accuracy")
