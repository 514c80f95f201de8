"""Every system that works keeps the contract of the room, and the contract can be broken."""

from __future__ import annotations

import numpy as np
import pytest

from vesalius.systems import open_system, working
from vesalius.systems.frame.conformance import EXERCISES, check_system, exercised


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(e.name for e in working()))
def test_system_conforms(name):
    check_system(open_system(name))


class Classifier:
    """Has `predict` for everything, which no verb calls."""

    capabilities = ("classify",)
    classes = ("a", "b")
    ours = staticmethod(lambda n: np.full((n, 2), 0.5))

    def predict(self, cases):
        return self.ours(len(cases))

    def predict_proba(self, images):
        return self.ours(len(images))


@pytest.fixture(scope="module")
def cases():
    return open_system("3mt").example(3, 101)


def test_a_classifier_that_keeps_its_word(cases):
    assert exercised(Classifier(), cases)["classify"].shape == (3, 2)


@pytest.mark.parametrize("capability", ["embed", "text", "ground", "segment"])
def test_a_capability_is_asked_through_the_method_that_verbs_call(capability, cases):
    model = Classifier()
    model.capabilities = ("classify", capability)
    with pytest.raises(AssertionError, match=f"can {capability}"):
        exercised(model, cases)


def test_a_capability_that_nothing_can_ask_for_is_refused(cases):
    model = Classifier()
    model.capabilities = ("classify", "predict")
    assert "predict" not in EXERCISES
    with pytest.raises(AssertionError, match="nothing can ask"):
        exercised(model, cases)


def test_probabilities_that_do_not_sum_to_one_are_seen(cases):
    model = Classifier()
    model.ours = lambda n: np.full((n, 2), 0.7)
    with pytest.raises(AssertionError, match="sum to 1"):
        exercised(model, cases)
