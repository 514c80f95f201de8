"""When a claim holds, what its interval is over, and how seeds become a verdict."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from vesalius.errors import BadInputError
from vesalius.systems.frame.claims import Claim, bears_out, margin_of
from vesalius.systems.frame.scores import Each, Ranking, Strata, averaged
from vesalius.systems.frame.verdict import verdict, verdicts


def claim(**changes):
    base = Claim("medrpg-taco", "mIoU", 0.6, 0.5, 0.1, 0.05, 0.15, 0.02, 100, 0)
    return dataclasses.replace(base, **changes)


def each(values, groups=None):
    return Each(np.asarray(values), groups or [str(i) for i in range(len(values))])


@pytest.mark.parametrize(
    ("margin", "low", "goal", "holds"),
    [
        (0.10, 0.02, 0.05, True),
        (0.10, -0.02, 0.05, False),  # the interval contains 0
        (0.04, 0.02, 0.05, False),  # better, but by less than the claim says
        (-0.01, -0.02, -0.03, True),  # no worse than by .03
        (-0.01, -0.04, -0.03, False),
        (float("nan"), float("nan"), 0.05, False),
    ],
)
def test_when_a_claim_holds(margin, low, goal, holds):
    assert bears_out(margin, low, goal) is holds


def test_means_agree_with_scipys_bootstrap():
    from scipy.stats import bootstrap

    rng = np.random.default_rng(0)
    a, b = rng.normal(0.6, 0.1, 200), rng.normal(0.55, 0.1, 200)
    ours = margin_of(each(a), each(b), seed=1)
    ref = bootstrap((a - b,), np.mean, method="percentile", n_resamples=5000, rng=np.random.default_rng(1))
    assert ours.margin == pytest.approx((a - b).mean())
    # Two percentile bootstraps of 2,000 and 5,000 resamples: their ends agree to a few hundredths of the width.
    width = ref.confidence_interval.high - ref.confidence_interval.low
    assert ours.low == pytest.approx(ref.confidence_interval.low, abs=0.06 * width)
    assert ours.high == pytest.approx(ref.confidence_interval.high, abs=0.06 * width)


@pytest.mark.parametrize("kind", ["mean", "worst stratum", "area", "share"])
def test_patients_are_resampled_whole(kind):
    """Ten alike cases of each of 40 patients are 40 cases, whatever is measured."""
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(40), 10)
    own = [str(i) for i in range(400)]
    shared = [str(p) for p in patient]
    a, b = (rng.normal(size=40)[patient] for _ in range(2))
    y = (np.arange(40) % 2 == 0)[patient]

    def width(groups):
        if kind == "mean":
            found = margin_of(Each(a, groups), Each(b, groups))
        elif kind == "worst stratum":
            strata = [str(int(v)) for v in y]
            found = margin_of(Strata(a > 0, groups, strata), Strata(b > 0, groups, strata))
        elif kind == "area":
            found = margin_of(Ranking(a, groups, y), Ranking(b, groups, y))
        else:
            found = margin_of(Each(a > 0, groups), 0.3)
        return found.high - found.low

    assert width(shared) > 2.2 * width(own)


def test_an_error_is_better_when_lower():
    made = margin_of(each([0.1, 0.2]), each([0.3, 0.4]), lower_is_better=True)
    assert made.margin == pytest.approx(0.2)
    assert made.low <= made.margin <= made.high


def test_scores_that_do_not_pair_are_refused():
    with pytest.raises(BadInputError, match="do not pair"):
        margin_of(each([1.0]), each([1.0, 2.0]))
    with pytest.raises(BadInputError, match="do not pair"):
        margin_of(each([1.0, 0.0]), Ranking(np.zeros(2), ["a", "b"], np.asarray([True, False])))


def test_a_share_that_is_always_right_still_has_a_width():
    made = margin_of(Each(np.ones(40), [str(i // 4) for i in range(40)]), 0.9)
    # Wilson with ten patients, all right: n / (n + z^2).
    assert made.low == pytest.approx(10 / (10 + 1.959964**2) - 0.9, rel=1e-6)
    assert made.high == pytest.approx(0.1)
    assert made.n == 40
    assert not bears_out(made.margin, made.low, 0.0)
    assert margin_of(each(np.ones(100)), 0.9).low > 0


def test_areas_on_other_cases_add_their_errors():
    rng = np.random.default_rng(0)
    y = np.arange(80) % 2 == 0
    one, two = (Ranking(y + rng.normal(0, 1, 80), [str(i) for i in range(80)], y) for _ in range(2))
    apart = margin_of(one, two, same_cases=False)
    alone = [margin_of(s, 0.5) for s in (one, two)]
    halves = [(m.high - m.low) / 2 for m in alone]
    assert apart.high - apart.margin == pytest.approx(np.hypot(*halves))


def test_scores_of_several_makings_are_averaged_case_by_case():
    found = averaged([each([1, 0, 1]), each([1, 1, 0])])
    assert found.values.tolist() == [1.0, 0.5, 0.5]


def test_verdict_by_hand():
    # margins .1 and .2: mean .15, s^2 = .005; errors of the two runs: (.15 - .05) / 3.92 each
    v = verdict([claim(), claim(seed=1, margin=0.2, low=0.15, high=0.25)])
    se = 0.1 / (2 * 1.959964)
    half = 1.959964 * np.sqrt(0.005 / 2 + 2 * se**2 / 4)
    assert (v.seeds, v.held) == (2, 2)
    assert v.margin == pytest.approx(0.15)
    assert v.low == pytest.approx(0.15 - half)
    assert v.high == pytest.approx(0.15 + half)


@pytest.mark.parametrize(
    ("margin", "half", "goal", "outcome"),
    [
        (0.10, 0.02, 0.05, "holds"),
        (0.02, 0.01, 0.05, "does not hold"),  # the whole interval lies below the goal
        (0.04, 0.05, 0.05, "undecided"),
        (0.00, 0.01, -0.02, "holds"),
        (-0.05, 0.01, -0.02, "does not hold"),
        (-0.01, 0.03, -0.02, "undecided"),
    ],
)
def test_a_claim_that_is_not_borne_out_is_refuted_or_undecided(margin, half, goal, outcome):
    assert verdict([claim(margin=margin, low=margin - half, high=margin + half, goal=goal)]).outcome == outcome


def test_more_seeds_do_not_make_more_real_cases():
    """Seeds on a real set share their test cases: the error over cases stays that of one seed."""
    one = claim(data="busi")
    many = verdict([claim(data="busi", seed=s) for s in range(9)])
    assert many.high - many.low == pytest.approx(one.high - one.low)
    drawn_anew = verdict([claim(seed=s) for s in range(9)])
    assert drawn_anew.high - drawn_anew.low == pytest.approx((one.high - one.low) / 3)


def test_claims_of_different_systems_do_not_mix():
    with pytest.raises(BadInputError):
        verdict([claim(), claim(system="imis-bench")])
    assert len(verdicts([claim(), claim(system="imis-bench"), claim(seed=1)])) == 2
