"""When no name fits: a score that rises as the best name fits worse, fitted on lists with and without the right one."""

from __future__ import annotations

import numpy as np
import pytest

from vesalius.models.zeroshot import Rejection, ZeroShot
from vesalius.training.nano.words import LIMIT, _rejection


def lists(n: int = 300) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Similarities of pictures to eight names: the right one stands out."""
    rng = np.random.default_rng(0)
    right = rng.integers(0, 8, n)
    similarity = rng.normal(0.1, 0.05, (n, 8))
    similarity[np.arange(n), right] += 0.3
    return {"kind": (similarity, np.eye(8, dtype=bool)[right])}


def test_lists_without_the_right_name_are_told():
    fitted = _rejection(lists(), np.random.default_rng(1))
    told, false = (k / n for k, n in (fitted["told"], fitted["false"]))
    assert told > 0.9
    assert false < 0.1
    rejection = Rejection(**fitted["rejection"])
    assert rejection.best < 0
    similarity, truth = next(iter(lists().values()))
    said = rejection(np.where(truth, -0.1, similarity)) > LIMIT
    assert said.mean() == pytest.approx(told, abs=0.1)
    assert (rejection(similarity) > LIMIT).mean() == pytest.approx(false, abs=0.1)


def test_features_are_best_lead_and_number():
    found = Rejection.features(np.asarray([[0.1, 0.5, 0.2]]))
    np.testing.assert_allclose(found, [[0.5, 0.3, np.log(3)]])


def test_a_classifier_without_a_rejection_never_says_none():
    class Embedder:
        name = "e"

    rejection = Rejection(best=-10, lead=-10, classes=0, bias=5)
    features = np.eye(2, dtype=np.float32)
    vectors = np.asarray([[1.0, 0.0], [0.0, 0.0]])
    plain = ZeroShot(Embedder(), ("a", "b"), features, {}, 10.0)  # type: ignore[arg-type]
    assert plain.none_of_these(vectors).tolist() == [0, 0]
    knows = ZeroShot(Embedder(), ("a", "b"), features, {}, 10.0, rejection)  # type: ignore[arg-type]
    fits, strange = knows.none_of_these(vectors)
    assert fits < 0.01 < 0.9 < strange
    np.testing.assert_allclose(knows.predict_vectors(vectors).sum(1), 1)
