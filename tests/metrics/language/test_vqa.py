from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vesalius.errors import BadInputError, UsageError
from vesalius.metrics.language import vqa
from vesalius.metrics.language.vqa import VqaItem

OPTIONS = ("Pleural effusion", "Pneumonia", "Hepatitis C", "Effusion")

READ = [
    ("A", "A"),
    ("b", "B"),
    ("(c)", "C"),
    ("**D**", "D"),
    ("B.", "B"),
    ("B) Pneumonia", "B"),
    ("(B) because of the opacity", "B"),
    ("a. pleural effusion", "A"),
    ("The answer is B", "B"),
    ("The answer is: (B).", "B"),
    ("The correct answer is option C, as ...", "C"),
    ("Answer: **D**", "D"),
    ("answer: d", "D"),
    (r"so \boxed{B}", "B"),
    ("答案是B", "B"),
    ("答案：C。", "C"),
    ("The answer is A. No, wait: the answer is B.", "B"),
    ("Looking at it, (B) fits best", "B"),
    ("I would choose option B here", "B"),
    ("Pneumonia", "B"),
    ("B Pneumonia", "B"),
    ("The image shows pneumonia in the left lobe.", "B"),
    ("This is a pleural effusion", "A"),
    ("There is an effusion.", "D"),
    ("Not pneumonia but hepatitis C", "C"),
    ("It is a case of pleural effusion, not pneumonia", "A"),
    ("A: Pleural effusion", "A"),
]
UNREAD = [
    "",
    "A small nodule is seen.",
    "a small nodule",
    "The answer is a small nodule",
    "Vitamin D deficiency and hepatitis B are excluded",
    "B cell lymphoma",
    "I cannot determine this from the image.",
    "A or B",
    "The answer is A or B.",
    "Answer: A/B",
    "Either (A) or (B)",
    "Both pneumonia and pleural effusion are seen",
    "A. B. C. D.".replace(". ", " / "),
    "E",
    "The option is unclear",
    "As an AI, I can't help",
    "pneumoniae",
    "Grade A evidence; type C",
]


@pytest.mark.parametrize(("answer", "letter"), READ)
def test_choices_are_read(answer, letter):
    assert vqa.parse_choice(answer, OPTIONS) == letter


@pytest.mark.parametrize("answer", UNREAD)
def test_prose_names_no_choice(answer):
    assert vqa.parse_choice(answer, OPTIONS) is None


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz ,.", max_size=60))
def test_lower_case_prose_without_option_words_is_never_a_choice(prose):
    stripped = prose.strip(" ,.")
    starts = len(stripped) == 1 or prose.lstrip(" ")[1:2] in {".", ","} or "answer" in prose or "option" in prose
    if not starts:
        assert vqa.parse_choice(prose, ("qqq zzz", "zzz qqq", "kkk www")) is None


@given(st.integers(0, 25), st.sampled_from(["{}", "({})", "{}.", "Answer: {}", "The answer is ({}).", "**{}**"]))
def test_every_letter_is_read_in_every_usual_form(index, form):
    letter = vqa.LETTERS[index]
    options = [f"word{i}x" for i in range(26)]
    assert vqa.parse_choice(form.format(letter), options) == letter
    assert vqa.parse_choice(options[index], options) == letter


def test_options_by_letter_and_bad_options():
    assert vqa.parse_choice("yes", {"A": "Yes", "B": "No"}) == "A"
    for wrong in ((), ("one",), {"AA": "x", "B": "y"}, tuple(str(i) for i in range(27))):
        with pytest.raises(UsageError):
            vqa.parse_choice("A", wrong)


def test_published_readers_are_fooled_where_ours_is_not():
    prose = "There is a small effusion"
    assert vqa.parse_choice_published(prose, ("x", "y"), "medq") == "A"
    assert vqa.parse_choice(prose, ("x", "y")) is None
    assert vqa.parse_choice_published('I think ("B").', ("x", "y"), "mediconfusion") == "B"
    assert vqa.parse_choice_published("A or B", ("x", "y"), "mediconfusion") is None
    assert vqa.parse_yes_no_published("Normal study. Not sure", truth=False)
    assert vqa.parse_yes_no("Normal study. Not sure") is None
    with pytest.raises(UsageError):
        vqa.parse_choice_published("A", ("x", "y"), "judge")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Yes.", True),
        ("no", False),
        ("No, it is not", False),
        ("是", True),
        ("没有", False),
        ("Normal", None),
        ("", None),
        ("Yesterday", None),
        ("I cannot determine whether yes or no", None),
        ("There is no effusion", False),
    ],
)
def test_yes_and_no(answer, expected):
    assert vqa.parse_yes_no(answer) is expected


def test_kinds_are_scored_apart_and_refusals_are_counted():
    items = [
        VqaItem("B", "Pneumonia", "choice", OPTIONS),
        VqaItem("I'm sorry, I cannot answer.", "A", "choice", OPTIONS),
        VqaItem("A small thing", "A", "choice", OPTIONS),
        VqaItem("C", "B", "choice", (*OPTIONS[:2], "x", "y")),
        VqaItem("Yes", "yes", "closed"),
        VqaItem(None, "no", "closed"),
        VqaItem("left lung", "Left lung.", "open"),
        VqaItem("I cannot determine that", "liver", "open"),
        VqaItem("the liver", "liver", "open"),
    ]
    scores = vqa.vqa_scores(items)
    choice = scores["choice"]
    assert (choice.accuracy.value, choice.n, choice.answered, choice.refused, choice.unread) == (0.25, 4, 2, 1, 1)
    assert (choice.selective.value, choice.chance) == (0.5, 0.25)
    assert choice.accuracy.value in choice.accuracy
    assert (scores["closed"].accuracy.value, scores["closed"].unread) == (0.5, 1)
    opened = scores["open"]
    assert (opened.accuracy.value, opened.refused) == (pytest.approx(1 / 3), 1)
    assert opened.token_f1 == pytest.approx((1 + 0 + 2 / 3) / 3)
    assert opened.token_recall == pytest.approx(2 / 3)
    assert vqa.choice_accuracy(["B", None], ["B", "A"], [OPTIONS, OPTIONS]) == 0.5


def test_unusable_items_are_errors():
    with pytest.raises(BadInputError, match="no question"):
        vqa.vqa_scores([])
    with pytest.raises(BadInputError, match="neither a letter"):
        vqa.vqa_scores([VqaItem("A", "Fracture", "choice", OPTIONS)])
    with pytest.raises(BadInputError, match="neither yes nor no"):
        vqa.vqa_scores([VqaItem("yes", "left", "closed")])
    with pytest.raises(BadInputError, match="length"):
        vqa.choice_accuracy(["A"], [], [])
