"""Free answers, read by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vesalius.text.answers import affirms, is_refusal, parse_number, parse_yes_no


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Yes", True),
        ("yes.", True),
        ("**Yes**, there is an effusion.", True),
        ("No", False),
        ("no, the heart is normal", False),
        ("The answer is no.", False),
        ("Answer: Yes", True),
        ("At first I thought no. Answer: yes", True),
        ("There is no effusion.", False),
        ("There is an effusion.", True),
        ("Not present.", False),
        ("Not absent.", True),
        ("True", True),
        ("是", True),
        ("否", False),
        ("yes and no", None),
        ("yes or no?", None),
        ("Maybe", None),
        ("I cannot determine this from the image.", None),
        ("Notable enlargement of the heart", None),
        ("Nodule", None),
        ("", None),
        ("42", None),
    ],
)
def test_yes_no(answer, expected):
    assert parse_yes_no(answer) is expected


def test_refusals():
    assert is_refusal("I'm unable to provide a diagnosis.")
    assert is_refusal("无法判断")
    assert not is_refusal("Pneumonia cannot be excluded.")
    assert not is_refusal("I cannot view it well. Answer: no")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("3", 3.0),
        ("There are 12 cells.", 12.0),
        ("two nodules", 2.0),
        ("The answer is 1,204.5", 1204.5),
        ("-4.5", -4.5),
        ("3, and again 3", 3.0),
        ("between 3 and 5", None),
        ("First 3, then 4. Answer: 7", 7.0),
        ("两个结节", 2.0),
        ("none", 0.0),
        ("many", None),
        ("", None),
    ],
)
def test_numbers(answer, expected):
    assert parse_number(answer) == expected


def test_affirms():
    answer = "The film shows a left effusion but no pneumothorax. Possible pneumonia."
    assert affirms(answer, "effusion") is True
    assert affirms(answer, "pneumothorax") is False
    assert affirms(answer, "pneumonia") is None
    assert affirms(answer, "fracture") is None
    assert affirms(answer, "") is None


@given(st.text(max_size=200))
def test_any_answer_is_read(answer):
    assert parse_yes_no(answer) in {True, False, None}
    assert parse_number(answer) is None or isinstance(parse_number(answer), float)


@pytest.mark.parametrize("unit", ["answer ", "answer is ", " ", "cannot ", "1", "no "])
def test_a_megabyte_ends(unit):
    text = unit * (1_000_000 // len(unit))
    assert parse_yes_no(text) in {True, False, None}
    assert is_refusal(text) in {True, False}
    assert parse_number(text) == {"no ": 0.0}.get(unit)
