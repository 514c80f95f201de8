"""Probing pairs and prompts: hand-worked scores, answerers that do not look, and parsers that disagree on purpose."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vesalius.audit.pairs import Pair, Probe, discrimination, letter, mediconfusion, probmed, yes_no
from vesalius.audit.prompts import answer_sensitivity, prompt_sensitivity
from vesalius.errors import BadInputError, UsageError


def test_mediconfusion_by_hand() -> None:
    pairs = [
        Pair("A", "B", "A", ("brain",)),  # both right
        Pair("A", "A", "A", ("brain",)),  # confused, one right
        Pair("B", "A", "A"),  # both wrong
        Pair(None, "B", "A"),  # one invalid, one right
    ]
    s = mediconfusion(pairs)
    assert s.set_accuracy.value == 0.25
    assert s.individual == pytest.approx((2 + 1 + 0 + 1) / 8)
    assert s.confusion == pytest.approx(1 / 3)
    assert s.confusion_all == 0.25
    assert s.invalid == pytest.approx(1 / 8)
    assert s.corrected.value == 0.0
    assert {k: (m.value, m.n) for k, m in s.by_category.items()} == {"brain": (0.5, 2)}


def test_a_constant_answer_scores_nothing() -> None:
    pairs = [Pair("A", "A", "A" if i % 2 else "B") for i in range(176)]
    s = mediconfusion(pairs)
    assert (s.set_accuracy.value, s.individual, s.confusion) == (0.0, 0.5, 1.0)
    assert s.corrected.value == 0.0
    assert s.corrected.p_blind == 1.0
    # Counting the two answers apart would call the blind answerer half right.
    assert s.individual - s.set_accuracy.value >= 0.35


def test_a_coin_is_at_chance_and_a_good_reader_is_not() -> None:
    rng = np.random.default_rng(0)
    sets, confusions, values = [], [], []
    for _ in range(40):
        a = rng.choice(["A", "B"], (176, 2))
        s = mediconfusion([Pair(x, y, "A") for x, y in a])
        sets.append(s.set_accuracy.value)
        confusions.append(s.confusion)
        values.append(s.corrected.value)
    assert abs(np.mean(sets) - 0.25) < 0.02
    assert abs(np.mean(confusions) - 0.5) < 0.03
    assert abs(np.mean(values)) < 0.03
    good = discrimination([(True, True)] * 40 + [(True, False)] * 10)
    assert good.value == 0.8
    assert good.p_blind < 1e-9
    assert 0.8 in good


@given(st.lists(st.tuples(st.sampled_from("AB"), st.sampled_from("AB")), min_size=1, max_size=60), st.booleans())
def test_whoever_does_not_look_gets_exactly_nothing(questions: list[tuple[str, str]], swap: bool) -> None:
    # The same answer to both images of a pair, whatever the question: image-blind by construction.
    pairs = [Pair(answer, answer, right) for answer, right in questions]  # type: ignore[arg-type]
    assert mediconfusion(pairs[::-1] if swap else pairs).corrected.value == 0.0


def test_discrimination_interval_covers() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(300):
        right = rng.random((80, 2)) < 0.7
        hits += (0.7**2 - 0.3**2) in discrimination([(bool(a), bool(b)) for a, b in right])
    assert hits / 300 > 0.9


def answers(says_yes: object) -> list[Probe]:
    """Six images of two kinds, with one or two condition pairs; `says_yes(true)` is what the model answers."""
    out = []
    for i in range(6):
        kind = "chest_x-ray" if i < 4 else "brain_mri"
        for name, pairs in (("modality", 1), ("entity", 1 + i % 2)):
            for k in range(pairs):
                for true in (True, False):
                    out.append(Probe(f"i{i}", kind, name, true, says_yes(true) is true, k))  # type: ignore[operator]
        out.append(Probe(f"i{i}", kind, "abnormality", True, bool(says_yes(True))))  # type: ignore[operator]
    return out


def test_always_yes_is_perfect_on_true_questions_and_nothing_on_pairs() -> None:
    s = probmed(answers(lambda true: True))
    assert s.without_hallucination == {"modality": 1.0, "entity": 1.0}
    assert (s.published["modality"], s.published["entity"], s.published["abnormality"]) == (0.0, 0.0, 1.0)
    assert s.corrected["entity"].value == 0.0
    assert s.chance["modality"] == 0.25
    assert s.chance["entity"] == pytest.approx((3 * 0.25 + 3 * 0.0625) / 6)
    assert probmed(answers(lambda true: true)).accuracy == {"modality": 1.0, "abnormality": 1.0, "entity": 1.0}


def test_published_weights_count_images_without_such_questions() -> None:
    probes = [Probe("a", "x", "entity", t, True) for t in (True, False)]
    probes += [Probe(f"b{i}", "y", "entity", t, False) for i in range(2) for t in (True, False)]
    probes += [Probe(f"c{i}", "x", "modality", t, True) for i in range(3) for t in (True, False)]
    s = probmed(probes)
    # Type x holds 4 images (one with a condition, right), y holds 2 (both wrong).
    assert s.published["entity"] == pytest.approx((4 * 1.0 + 2 * 0.0) / 6)
    assert s.accuracy["entity"] == pytest.approx(1 / 3)


def test_worse_than_random_is_named_only_beyond_doubt() -> None:
    def wrong(n: int) -> list[Probe]:
        return [Probe(f"i{i}", "x", "modality", t, False) for i in range(n) for t in (True, False)]

    assert probmed(wrong(60)).worse_than_chance == ("modality",)
    assert probmed(wrong(3)).worse_than_chance == ()


def test_parsers_disagree_where_the_published_one_is_fooled() -> None:
    assert yes_no("Normal study.", published=True, expected=False) is False  # counts as "No"
    assert yes_no("Normal study.") is None
    assert yes_no("Yes, it is; no doubt.") is True
    assert yes_no("NO evidence of effusion") is False
    assert yes_no("no", published=True, expected=False) is None
    with pytest.raises(UsageError):
        yes_no("Yes", published=True)
    assert [letter(r) for r in ("A", "A:", "(B).", '"A"', "A or B", "An arm", "answer: B)")] == [
        "A", "A", "B", "A", None, None, "B",
    ]  # fmt: skip


def test_prompt_sensitivity() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 400)
    good = y + rng.normal(size=400) * 0.7
    scores = {"good": good, "same": good, "poor": y * 0.4 + rng.normal(size=400)}
    s = prompt_sensitivity(y, scores, threshold=0.5, resamples=300)
    assert s.by_prompt["good"] == s.by_prompt["same"]
    assert s.worst == "poor"
    assert s.spread.value == pytest.approx(s.by_prompt["good"] - s.by_prompt["poor"])
    assert s.spread.value in s.spread
    called = {k: np.asarray(v) >= 0.5 for k, v in scores.items()}
    want = np.mean([np.mean(called["good"] != called["poor"])] * 2 + [0.0])
    assert s.flip_rate == pytest.approx(want)


def test_picking_the_best_of_many_equal_prompts_is_optimistic() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 150)
    scores = {str(i): y * 0.5 + rng.normal(size=150) for i in range(12)}
    s = prompt_sensitivity(y, scores, resamples=400)
    assert s.optimism > 0.01
    with pytest.raises(BadInputError):
        prompt_sensitivity(y, {"one": y})


def test_answer_sensitivity_by_hand() -> None:
    s = answer_sensitivity(["a", "b", "c"], {"p": ["a", "b", None], "q": ["a", "c", "c"]})
    assert s.accuracy == pytest.approx({"p": 2 / 3, "q": 2 / 3})
    assert s.agreement == pytest.approx(1 / 3)
    assert (s.always_right, s.ever_right) == pytest.approx((1 / 3, 1.0))
