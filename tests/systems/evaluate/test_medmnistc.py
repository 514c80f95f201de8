"""Card 14: balanced error by hand, the augmentation is that of the modality, the control can fail."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from tests.tolerance import close
from vesalius.corruptions import registry
from vesalius.systems import open_system
from vesalius.systems.evaluate.corrupting import balanced, channels, class_weight, planes, through
from vesalius.systems.evaluate.medmnistc import _same
from vesalius.systems.frame.recipe import Job


def test_weighted_cases_average_to_the_balanced_error():
    rng = np.random.default_rng(0)
    y = rng.choice(3, 90, p=[0.7, 0.2, 0.1])
    called = {k: rng.choice(3, 90) for k in (("jpeg", 1), ("jpeg", 5))}
    right = {k: c == y for k, c in called.items()} | {("", 0): np.ones(90, bool)}
    want = 1 - np.mean([balanced_accuracy_score(y, c) for c in called.values()])
    assert balanced(right, y).mean() == pytest.approx(want)
    one = balanced(right, y, (5,)).mean()
    assert one == pytest.approx(1 - balanced_accuracy_score(y, called["jpeg", 5]))
    assert class_weight(y).sum() == pytest.approx(90)


@pytest.mark.parametrize("grey", [True, False])
def test_planes_and_back(grey):
    array = np.random.default_rng(0).integers(0, 256, (2, 3, 5, 4), dtype=np.uint8)
    if grey:
        array[:] = array[:, :1]
    flat = planes(array)
    assert flat[0].shape == ((5, 4) if grey else (5, 4, 3))
    np.testing.assert_array_equal(channels(flat), array)


def test_both_nets_read_the_same_copies():
    system = open_system("medmnistc")
    cases = system.example(15, 3)
    model = system.train(cases, Job(steps=1))
    assert model.config["suite"] == "bloodmnist"
    array = np.random.default_rng(0).integers(0, 256, (4, 3, 32, 32), dtype=np.uint8)
    y = np.array([0, 1, 2, 0])
    found = through({"a": model, "b": model}, array, y, "breastmnist", 0, (1, 5))
    assert set(found["a"]) == {("", 0)} | {(n, s) for n in registry("breastmnist") for s in (1, 5)}
    for key, right in found["a"].items():
        np.testing.assert_array_equal(right, found["b"][key])


def test_the_suite_changes_what_is_learned_and_none_leaves_pictures_as_they_are():
    system = open_system("medmnistc")
    cases = system.example(15, 3)
    one, two, plain = (system.train(cases, Job(steps=3), targeted=t) for t in (True, True, False))
    assert plain.config["suite"] == ""
    close(one.predict(cases), two.predict(cases))
    assert np.abs(one.predict(cases) - plain.predict(cases)).max() > 1e-6


def test_a_gap_either_way_breaks_the_control():
    rng = np.random.default_rng(0)
    a = rng.random(300) * 0.1
    groups = [str(i) for i in range(300)]
    assert _same("medmnistc", a, a + 0.01, groups, 0).holds
    assert not _same("medmnistc", a, a + 0.2, groups, 0).holds
    assert not _same("medmnistc", a + 0.2, a, groups, 0).holds


def test_a_check_in_miniature():
    claims = open_system("medmnistc").check(100, job=Job(steps=2))
    assert [c.goal for c in claims] == [0.05, -0.03, 0.0, -0.05]
    assert all(c.low <= c.margin <= c.high for c in claims)
