"""Robustness: balanced error against scikit-learn, published scores by hand, the corrected one by its meaning."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from vesalius.audit.robustness import alexnet, balanced_error, published_scores, robustness
from vesalius.corruptions import datasets, registry
from vesalius.errors import BadInputError, UsageError


def test_balanced_error_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 200)
    p = rng.random((200, 4))
    assert balanced_error(y, p) == pytest.approx(1 - balanced_accuracy_score(y, p.argmax(1)))
    b = (y > 1).astype(int)
    assert balanced_error(b, p[:, :2], "binary", 0.3) == pytest.approx(1 - balanced_accuracy_score(b, p[:, 1] > 0.3))
    many = rng.integers(0, 2, (200, 3))
    want = 1 - np.mean([balanced_accuracy_score(many[:, i], p[:, i] > t) for i, t in enumerate((0.2, 0.5, 0.7))])
    assert balanced_error(many, p[:, :3], "multi-label", (0.2, 0.5, 0.7)) == pytest.approx(want)
    with pytest.raises(BadInputError):
        balanced_error(y, p[:10])


def test_published_scores_by_hand() -> None:
    base = {"clean": 0.2, "corrupted": {"a": 0.4, "b": 0.15}}
    be, rbe, pooled = published_scores(0.1, {"a": 0.3, "b": 0.2, "c": 0.9}, base)
    assert be == pytest.approx({"a": 0.75, "b": 0.2 / 0.15})
    # The baseline is better under b than clean: the published ratio turns negative although the model got worse.
    assert rbe == pytest.approx({"a": 1.0, "b": -2.0})
    assert pooled == pytest.approx((0.2 + 0.1) / (0.2 - 0.05))


def test_a_perfect_clean_model_is_scored() -> None:
    be, rbe, pooled = published_scores(0.0, {"a": 0.2}, {"clean": 0.1, "corrupted": {"a": 0.3}})
    assert (be["a"], rbe["a"], pooled) == pytest.approx((2 / 3, 1.0, 1.0))


def test_baselines_name_the_corruptions_of_their_sets() -> None:
    for dataset in datasets():
        if dataset.endswith("mnist"):
            assert set(alexnet(dataset)["corrupted"]) == set(registry(dataset))
    assert alexnet("dermamnist")["clean"] == pytest.approx(0.3986, rel=1e-4, abs=1e-4)
    with pytest.raises(UsageError):
        alexnet("no-such")


def bright_images(n: int = 60) -> tuple[list[np.ndarray], np.ndarray]:
    rng = np.random.default_rng(1)
    y = np.arange(n) % 2
    return [(rng.integers(0, 60, (32, 32)) + 80 * k).astype(np.uint8) for k in y], y


def test_skill_loss_is_nothing_for_a_blind_corruption_and_all_for_a_fatal_one() -> None:
    images, y = bright_images()

    def predict(arrays: list[np.ndarray]) -> np.ndarray:
        return np.asarray([float(a.mean() > 70) for a in arrays])

    r = robustness(images, y, predict, ["pixelate", "monochrome_flip"], task="binary", resamples=200)
    assert r.clean == 0
    assert r.skill_loss["pixelate"] == 0
    # Black and white exchanged: everything looks bright, which is the error of chance.
    assert r.skill_loss["monochrome_flip"] == pytest.approx(1.0)
    assert r.errors["monochrome_flip"] == (0.5,) * 5
    assert r.mean_skill_loss.value == pytest.approx(0.5)
    assert r.to_dict()["n"] == 60


def test_interval_covers_and_baseline_is_used() -> None:
    images, y = bright_images(80)

    def predict(arrays: list[np.ndarray]) -> np.ndarray:
        return np.clip(np.asarray([a.mean() for a in arrays]) / 140, 0, 1)

    base = {"name": "b", "clean": 0.1, "corrupted": {"brightness_up": 0.3}}
    r = robustness(
        images, y, predict, ["brightness_up"], task="binary", severities=(1, 5), resamples=300, baseline=base
    )
    assert len(r.errors["brightness_up"]) == 2
    assert r.mean_error["brightness_up"].low <= np.mean(r.errors["brightness_up"]) <= r.mean_error["brightness_up"].high
    assert r.be["brightness_up"] == pytest.approx(np.mean(r.errors["brightness_up"]) / 0.3)


def test_a_useless_model_is_refused() -> None:
    images, y = bright_images()
    with pytest.raises(BadInputError, match="chance"):
        robustness(images, y, lambda a: np.zeros(len(a)), ["pixelate"], task="binary", resamples=100)
