"""Pairs and prompts: a model of words is made of numbers here, so that the right answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from vesalius.audit.page import page as page_of
from vesalius.audit.run import audit
from vesalius.audit.words import Zero, ask_labels, matched_pairs, score_pairs, single_prompts
from vesalius.cases import Case, CaseSet, Image
from vesalius.errors import BadInputError
from vesalius.models.zeroshot import ZeroShot, zero_shot


class Toy:
    """Images carry their vector; a sentence's vector says which finding it names and whether it denies it."""

    name, dim, scale, fingerprint = "toy", 3, 8.0, "0" * 64

    def __init__(self, noise=0.0):
        self.noise = noise

    def embed(self, images):
        out = np.asarray([[i.pixels()[0, 0] - 100.0, i.pixels()[0, 1] - 100.0, 20.0] for i in images], np.float32)
        return out / np.linalg.norm(out, axis=1, keepdims=True)

    def embed_text(self, texts):
        rows = []
        for t in texts:
            sign = -1 if (" no " in f" {t.lower()} " or "without" in t.lower() or "negative for" in t.lower()) else 1
            rows.append([sign * ("mass" in t), sign * ("fracture" in t), 0.1 + self.noise * (len(t) % 5)])
        out = np.asarray(rows, np.float32)
        return out / np.linalg.norm(out, axis=1, keepdims=True)


def case(i, mass, fracture, **attributes):
    pixels = np.full((32, 32), 90, np.uint8)
    pixels[0, 0], pixels[0, 1] = 100 + 40 * (2 * mass - 1), 100 + 40 * (2 * fracture - 1)
    return Case(
        f"c{i}", patient=f"p{i}", images=(Image(array=pixels, modality="DX"),),
        labels={"mass": mass, "fracture": fracture}, attributes=attributes,
    )  # fmt: skip


CASES = [case(i, i % 2, (i // 2) % 2, sex="FM"[i % 3 == 0], age=30 + i % 7 * 10) for i in range(80)]


def test_pairs_are_of_two_patients_alike_where_they_can_be():
    y = [0, 0, 0, 1, 1]
    pairs = matched_pairs(y, {"sex": ["F", "M", "M", "M", "F"], "age": [40, 70, 41, 43, 90]}, list("abcde"), 0)
    assert {(p.positive, p.negative) for p in pairs} == {(3, 2), (4, 0)}
    assert {p.positive: p.alike for p in pairs}[3] == ("sex", "age")
    one = matched_pairs([1, 0, 1, 0], {}, ["a", "a", "a", "b"], 1)
    assert len(one) <= 1  # a patient is used once


def test_scores_of_pairs_by_hand():
    pairs = matched_pairs([1] * 12 + [0] * 12, {}, [str(i) for i in range(24)], 0)
    always = score_pairs(pairs, np.ones(24), 0.5)
    assert (always.set_accuracy.value, always.individual, always.confusion) == (0.0, 0.5, 1.0)
    assert always.corrected.value == 0
    perfect = score_pairs(pairs, np.asarray([1.0] * 12 + [0.0] * 12), 0.5)
    assert perfect.set_accuracy.value == perfect.corrected.value == 1.0
    with pytest.raises(BadInputError, match="too few pairs"):
        score_pairs(pairs[:9], np.ones(24), 0.5)


def test_a_dual_encoder_that_sees_answers_about_both_findings():
    toy = Toy()
    asked = ask_labels(CASES, toy.embed([c.images[0] for c in CASES]), toy, 0)
    n = sum(c.label("mass") != c.label("fracture") for c in CASES)
    assert asked.corrected["abnormality"].n == n
    assert asked.published_overall == 1.0
    blind = ask_labels(CASES, np.tile([[0.6, 0.6, 0.5]], (80, 1)), toy, 0)
    assert blind.corrected_overall.value == 0
    with pytest.raises(BadInputError, match="too few probing pairs"):
        ask_labels([c.replace(labels={"mass": 1}) for c in CASES], toy.embed([c.images[0] for c in CASES]), toy, 0)


def test_each_wording_alone():
    shot = zero_shot(Toy(noise=2.0), ("mass", "fracture"))
    assert isinstance(shot, Zero)
    assert isinstance(shot, ZeroShot)
    y = [int(c.label("mass") == 1) for c in CASES]
    found = single_prompts(
        y,
        shot.embed([c.images[0] for c in CASES]),
        shot,
        0,
        threshold=0.5,
        patients=None,
        seed=0,
        resamples=50,
        level=0.95,
    )
    assert set(found.by_prompt) == set(shot.prompts["mass"])
    # one wording by hand
    sentence = shot.prompts["mass"][0]
    pair = shot.embedder.embed_text([sentence, shot.prompts["fracture"][0]])
    s = shot.embed([c.images[0] for c in CASES]) @ pair.T
    from sklearn.metrics import roc_auc_score

    assert found.by_prompt[sentence] == pytest.approx(roc_auc_score(y, s[:, 0] - s[:, 1]))


def test_the_audit_runs_all_three_on_a_zero_shot_classifier_and_says_so_in_the_page():
    got = audit(
        CaseSet(CASES), zero_shot(Toy(), ("mass", "fracture")), "mass", sections=("pairs", "prompts", "injection"),
        resamples=100, gate={"pairs": {"discrimination": {"at_least": 0.1}}, "prompts": {"spread": {"at_most": 0.5}}},
    )  # fmt: skip
    assert got.passed
    assert {"pairs.set_accuracy", "pairs.asked_discrimination", "prompts.flip_rate", "injection.raise.0.12"} <= set(
        got.values
    )
    page = page_of(got)
    for title in ("Probing pairs", "Other words, same cases", "Words burned into the picture"):
        assert title in page


def test_what_does_not_apply_says_why():
    class Plain:
        classes = ("mass",)

        def predict_proba(self, images):
            return np.asarray([[float(i.pixels()[0, 0] > 100)] for i in images])

    got = audit(CaseSet(CASES[:12]), Plain(), "mass", sections=("pairs", "prompts", "injection"), resamples=100)
    assert got.skipped["prompts"] == "the model is not made of sentences"
    assert "too few pairs" in got.skipped["pairs"]
    assert "fewer than 10" in got.skipped["injection"]
