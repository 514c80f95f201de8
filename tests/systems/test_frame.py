"""The catalogue, claims and their storage; no system is trained here."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from tests.tolerance import FLOAT32
from vesalius.errors import BadInputError, MissingError
from vesalius.systems import catalogue, find, open_system
from vesalius.systems.frame.catalogue import MODULES
from vesalius.systems.frame.claims import Claim, bears_out, paired, share_above, verdict, verdicts
from vesalius.systems.frame.results import read_results, store_results


def claim(**changes):
    base = Claim("medrpg-taco", "mIoU", 0.6, 0.5, 0.1, 0.05, 0.15, 0.02, 100, 0)
    return dataclasses.replace(base, **changes)


def test_catalogue_has_every_system_once():
    entries = catalogue()
    assert [e.number for e in entries] == list(range(1, 78))
    assert len({e.name for e in entries}) == 77
    verbs = {
        "embed", "search", "classify", "ground", "segment", "ask", "report", "generate", "forecast", "align",
        "evaluate", "audit", "data",
    }  # fmt: skip
    for e in entries:
        assert e.capabilities
        assert set(e.capabilities) <= verbs
        assert e.link.startswith("https://")
        assert 2021 <= e.year <= 2026


def test_every_module_belongs_to_an_entry():
    assert set(MODULES) <= {e.name for e in catalogue()}


def test_find_by_name_or_number():
    assert find("7").name == find("07").name == find("medrpg-taco").name == "medrpg-taco"
    with pytest.raises(MissingError, match="medrpg-taco"):
        find("medrpg-tako")


def test_a_system_that_does_not_work_says_so():
    name = next(e.name for e in catalogue() if not e.works)
    with pytest.raises(MissingError, match="does not work here yet"):
        open_system(name)


def test_listing_imports_no_torch():
    code = "import sys, vesalius.systems as s, vesalius.cli.systems; s.catalogue(); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


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


def test_paired_claim_agrees_with_scipy_bootstrap():
    from scipy.stats import bootstrap

    rng = np.random.default_rng(0)
    a, b = rng.normal(0.6, 0.1, 200), rng.normal(0.55, 0.1, 200)
    ours = paired("medrpg-taco", "x", a, b, goal=0.01, seed=1, resamples=5000)
    ref = bootstrap((a - b,), np.mean, method="percentile", n_resamples=5000, rng=np.random.default_rng(1))
    assert ours.margin == pytest.approx((a - b).mean())
    assert ours.low == pytest.approx(ref.confidence_interval.low, abs=2e-3)
    assert ours.high == pytest.approx(ref.confidence_interval.high, abs=2e-3)


def test_patients_are_resampled_whole():
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(20), 10)
    difference = rng.normal(0, 1, 20)[patient]  # every case of a patient alike: n is 20, not 200
    alone = paired("s", "x", difference, np.zeros(200), goal=0, seed=0)
    together = paired("s", "x", difference, np.zeros(200), goal=0, seed=0, groups=[str(p) for p in patient])
    assert together.high - together.low > 2.5 * (alone.high - alone.low)


def test_an_error_is_better_when_lower():
    made = paired("s", "x", [0.1, 0.2], [0.3, 0.4], goal=0.1, seed=0, higher_is_better=False)
    assert made.margin == pytest.approx(0.2)
    assert made.holds


def test_scores_that_do_not_pair_are_refused():
    with pytest.raises(BadInputError, match="do not pair"):
        paired("s", "x", [1.0], [1.0, 2.0], goal=0, seed=0)


def test_a_share_that_is_always_right_still_has_a_width():
    made = share_above("s", "x", np.ones(40), 0.9, seed=0, groups=[str(i // 4) for i in range(40)])
    # Wilson with ten patients, all right: n / (n + z^2).
    assert made.low == pytest.approx(10 / (10 + 1.959964**2) - 0.9, rel=FLOAT32)
    assert made.high == pytest.approx(0.1)
    assert made.n == 40
    assert not made.holds
    assert share_above("s", "x", np.ones(100), 0.9, seed=0).holds
    some = np.r_[np.ones(90), np.zeros(10)]
    resampled = paired("s", "x", some, np.full(100, 0.5), goal=0.0, seed=3)
    assert share_above("s", "x", some, 0.5, seed=3).low == pytest.approx(resampled.low)
    with pytest.raises(BadInputError, match="right or wrong"):
        share_above("s", "x", [0.5, 1.0], 0.5, seed=0)


def test_verdict_by_hand():
    # margins .1 and .2: mean .15, s^2 = .005; errors of the two runs: (.15 - .05) / 3.92 each
    v = verdict([claim(), claim(seed=1, margin=0.2, low=0.15, high=0.25)])
    se = 0.1 / (2 * 1.959964)
    half = 1.959964 * np.sqrt(0.005 / 2 + 2 * se**2 / 4)
    assert (v.seeds, v.held) == (2, 2)
    assert v.margin == pytest.approx(0.15)
    assert v.low == pytest.approx(0.15 - half)
    assert v.high == pytest.approx(0.15 + half)


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


def test_results_are_replaced_by_key_and_read_back(tmp_path):
    path = tmp_path / "systems.csv"
    store_results(path, [claim(seconds=12), claim(seed=1, seconds=13)])
    store_results(path, [claim(ours=0.7, seconds=14)])
    back = read_results(path)
    assert [(c.seed, c.ours) for c in back] == [(0, 0.7), (1, 0.6)]
    assert back[0] == claim(ours=0.7, seconds=14)


def test_a_claim_no_longer_made_leaves_the_file(tmp_path):
    path = tmp_path / "systems.csv"
    store_results(path, [claim(claim="old", seconds=1), claim(claim="old", seed=1, seconds=1)])
    store_results(path, [claim(claim="new", seconds=1)])
    assert [(c.claim, c.seed) for c in read_results(path)] == [("new", 0), ("old", 1)]


def test_a_results_file_that_is_not_one_names_the_line(tmp_path):
    path = tmp_path / "systems.csv"
    path.write_text("system,claim\nmedrpg-taco,mIoU\n", "utf-8")
    with pytest.raises(BadInputError, match="line 2"):
        read_results(path)
