"""Card 14: balanced error by hand, the augmentation is that of the modality, the control can fail."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from tests.tolerance import close
from vesalius.corruptions import registry
from vesalius.systems import open_system
from vesalius.systems.evaluate.medmnistc.recipe import error
from vesalius.systems.frame.budget import Budget
from vesalius.systems.frame.corrupted_copies import channels, class_weight, copies, planes, right_on
from vesalius.systems.frame.worlds.world import Parts


def test_weighted_cases_average_to_the_balanced_error():
    rng = np.random.default_rng(0)
    y, called = rng.choice(3, 90, p=[0.7, 0.2, 0.1]), rng.choice(3, 90)
    weight = class_weight(y)
    assert ((called != y) * weight).mean() == pytest.approx(1 - balanced_accuracy_score(y, called))
    assert weight.sum() == pytest.approx(90)


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
    one, two = (system.train(cases, Budget(steps=1), targeted=t) for t in (True, False))
    assert one.config["suite"] == "bloodmnist"
    parts = Parts(cases, cases[:5], seed=2)
    made = copies(parts, 32, "breastmnist", (1, 5))
    assert set(made) == {("", 0)} | {(n, s) for n in registry("breastmnist") for s in (1, 5)}
    assert all(copies(parts, 32, "breastmnist", (1, 5))[k] is x for k, x in made.items())
    y = [one.classes.index(str(c.label("class"))) for c in parts.test]
    for model in (one, two):
        for key, right in right_on(model, parts, 32, "breastmnist", (1, 5)).items():
            np.testing.assert_array_equal(right, model.predict_pictures(made[key]).argmax(1) == y)


def test_error_is_one_minus_what_is_right():
    system = open_system("medmnistc")
    cases = system.example(40, 3)
    model = system.train(cases, Budget(steps=2))
    parts = Parts(cases, cases, seed=2)
    found = model.predict_cases(cases).argmax(1)
    y = [model.classes.index(str(c.label("class"))) for c in cases]
    assert np.mean(error(model, parts).values) == pytest.approx(1 - balanced_accuracy_score(y, found))


def test_the_suite_changes_what_is_learned_and_none_leaves_pictures_as_they_are():
    system = open_system("medmnistc")
    cases = system.example(15, 3)
    one, two, plain = (system.train(cases, Budget(steps=3), targeted=t) for t in (True, True, False))
    assert plain.config["suite"] == ""
    close(one.predict_cases(cases), two.predict_cases(cases))
    assert np.abs(one.predict_cases(cases) - plain.predict_cases(cases)).max() > 1e-5


def test_scrambled_labels_are_the_same_labels_in_another_order():
    system = open_system("medmnistc")
    cases = system.example(30, 3)
    plain, scrambled = (system.train(cases, Budget(steps=2), scrambled=s) for s in (False, True))
    assert plain.classes == scrambled.classes
    assert plain.fingerprint != scrambled.fingerprint
