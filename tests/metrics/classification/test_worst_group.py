"""Worst-group accuracy and its paired interval, by hand and by brute force."""

from __future__ import annotations

import numpy as np
import pytest

from vesalius.errors import BadInputError
from vesalius.metrics.classification.worst_group import group_means, worst_group_difference


def test_difference_by_hand():
    a = [1, 1, 0, 1, 1, 1]
    b = [1, 0, 0, 0, 1, 1]
    g = ["x", "x", "x", "y", "y", "y"]
    found = worst_group_difference(a, b, g)
    assert found.estimate == pytest.approx(2 / 3 - 1 / 3)


def test_interval_against_brute_force():
    rng = np.random.default_rng(0)
    g = rng.choice(["p", "q", "r"], 300)
    a, b = rng.random(300) < 0.8, rng.random(300) < 0.7
    found = worst_group_difference(a, b, list(g), resamples=4000, seed=1)
    drawn = []
    for _ in range(4000):
        gap = []
        i = {k: rng.choice(np.flatnonzero(g == k), (g == k).sum()) for k in "pqr"}
        gap = min(a[v].mean() for v in i.values()) - min(b[v].mean() for v in i.values())
        drawn.append(gap)
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert found.interval.low == pytest.approx(low, abs=0.015)
    assert found.interval.high == pytest.approx(high, abs=0.015)


def test_patients_are_drawn_whole():
    rng = np.random.default_rng(0)
    who = np.repeat(np.arange(30), 10)
    g = ["x" if w % 2 else "y" for w in who]
    a = (rng.random(30) < 0.6)[who]
    b = np.zeros(300)
    alone = worst_group_difference(a, b, g, seed=0).interval
    together = worst_group_difference(a, b, g, patients=[str(w) for w in who], seed=0).interval
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_what_does_not_pair_is_refused():
    assert group_means([1, 0], ["a", "a"]) == {"a": 0.5}
    with pytest.raises(BadInputError):
        worst_group_difference([1, 0], [1, 0], ["a"])
