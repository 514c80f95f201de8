from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given
from hypothesis import strategies as st

from vesalius.errors import BadInputError, UsageError
from vesalius.metrics.language import report

VALUE = st.sampled_from([1, 0, -1, None])
LABELS = st.fixed_dictionaries(dict.fromkeys(report.CHEXPERT_14, VALUE))


@given(st.lists(st.tuples(LABELS, LABELS), min_size=1, max_size=12), st.sampled_from(["positive", "negative"]))
def test_label_f1_equals_scikit_learn(pairs, uncertain):
    mine, theirs = [a for a, _ in pairs], [b for _, b in pairs]
    ones = {1, -1} if uncertain == "positive" else {1}
    for names in (report.CHEXPERT_14, report.CHEXPERT_5):
        a, b = (np.array([[r[n] in ones for n in names] for r in rows]) for rows in (mine, theirs))
        ours = report.label_scores(mine, theirs, names, uncertain=uncertain)
        assert ours.micro.value == pytest.approx(sk.f1_score(b, a, average="micro", zero_division=0))
        assert ours.macro.value == pytest.approx(sk.f1_score(b, a, average="macro", zero_division=0))
        assert ours.samples == pytest.approx(sk.f1_score(b, a, average="samples", zero_division=1))
        assert list(ours.per_label.values()) == pytest.approx(sk.f1_score(b, a, average=None, zero_division=0))
        assert list(ours.support.values()) == b.sum(axis=0).tolist()
    if uncertain == "positive":
        assert report.label_f1(mine, theirs, report.CHEXPERT_5, "macro") == ours.macro.value


def test_label_intervals_and_errors():
    rng = np.random.default_rng(0)
    truth = [{"Edema": int(v)} for v in rng.integers(0, 2, 200)]
    guess = [{"Edema": t["Edema"] if rng.random() < 0.8 else 1 - t["Edema"]} for t in truth]
    ours = report.label_scores(guess, truth, ("Edema",), resamples=500, groups=[i // 2 for i in range(200)])
    assert ours.micro.value in ours.micro
    assert (ours.micro.value, ours.micro.low) == (ours.macro.value, ours.macro.low)
    assert "clustered" in ours.macro.method
    with pytest.raises(BadInputError, match="Edema"):
        report.label_scores([{"Edema": 2}], [{"Edema": 1}], ("Edema",))
    with pytest.raises(BadInputError, match="length"):
        report.label_scores([], [])
    with pytest.raises(UsageError):
        report.label_scores(guess, truth, uncertain="ignore")
    with pytest.raises(UsageError):
        report.label_f1(guess, truth, average="weighted")


def test_entity_and_relation_f1_by_hand():
    effusion, left = ("effusion", "present"), ("left", "modifier")
    truth = [([effusion, left], [(left, "modify", effusion)]), ([], [])]
    guess = [([effusion, effusion, ("edema", "present")], []), ([], [])]
    assert report.entity_f1([g[0] for g in guess], [t[0] for t in truth]) == pytest.approx((0.5 + 1) / 2)
    assert report.relation_f1([g[1] for g in guess], [t[1] for t in truth]) == pytest.approx((0 + 1) / 2)
    assert report.radgraph_f1(guess, truth) == pytest.approx((0.25 + 1) / 2)


def test_temporal_f1_repeats_the_published_check():
    assert len(report.TEMPORAL_WORDS) == 44
    worse = "The effusion has WORSENED."
    assert report.temporal_f1([worse, "Effusion."], [worse, worse]) == pytest.approx(0.5)
    values = report.temporal_f1s(["stable", "newly stabled", "new and larger"], ["no such word", "none", "new"])
    np.testing.assert_allclose(values, [1e-10, 1.0, 2 * 0.5 / 1.5], atol=1e-9)


def test_organ_uptake_by_hand():
    truth = [{"liver": "increased", "lung": "normal", "brain": "decreased"}, {"liver": "normal"}]
    guess = [{"liver": "increased", "lung": "increased", "brain": "increased"}, None]
    ours = report.uptake_scores(guess, truth)
    # liver right; lung a false alarm; brain wrong in kind: one false alarm and one miss.
    assert (ours.precision, ours.recall) == (pytest.approx(1 / 3), pytest.approx(1 / 2))
    assert ours.micro == pytest.approx(2 / 5)
    assert ours.macro == pytest.approx((1 + 0) / 2)
    assert ours.coverage == pytest.approx(3 / 4)
    assert ours.degree_accuracy == pytest.approx(1 / 3)
    assert (ours.missing, ours.n) == (1, 2)
    assert report.uptake_f1(truth, truth) == 1.0
    with pytest.raises(BadInputError):
        report.uptake_f1([{}], [{}])


def test_copying_a_normal_template_earns_nothing():
    truth = [{"liver": "increased", "spleen": "normal"}] * 5
    template = [{"liver": "normal", "spleen": "normal"}] * 5
    assert report.uptake_f1(template, truth) == 0.0


def test_composite_by_hand():
    parts = {"rouge": [0.2, 0.4], "labels": [1.0, 0.0]}
    assert report.composite(parts) == pytest.approx((0.3 + 0.5) / 2)
    assert report.composite(parts, {"rouge": 3, "labels": 1}) == pytest.approx((3 * 0.3 + 0.5) / 4)
    for wrong in ({}, {"a": [1.2]}, {"a": [0.1], "b": [0.1, 0.2]}, {"a": [np.nan]}):
        with pytest.raises(BadInputError):
            report.composite(wrong)
    with pytest.raises(BadInputError):
        report.composite(parts, {"rouge": 1.0})
