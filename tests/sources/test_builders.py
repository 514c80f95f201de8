"""Sentences from labels, and class balance against hand-worked numbers."""

from __future__ import annotations

import pytest

from vesalius.cases import Box, Case, Image, Label, Region, Report
from vesalius.errors import UsageError
from vesalius.sources.builders import captions, label_text, statements

FILM = Image(uri="a.png", modality="DX", view="PA", body_part="chest")


def test_sentences_say_only_what_is_known() -> None:
    case = Case(
        "a", images=(FILM,), labels={"Effusion": 1, "Edema": 0, "Mass": -1, "Nodule": None, "size": Label(4, "mm")}
    )
    for seed in range(20):
        for sentence in captions(case, 10, seed, absent=0.3):
            low = sentence.lower()
            assert not {"mass", "nodule", "size"} & set(low.replace(",", " ").replace(".", " ").split())
            denies = any(word in low for word in ("no ", "without", "absent", "negative"))
            assert ("edema" in low) == denies
            assert "edema" in low or "effusion" in low


def test_captions_repeat_for_a_seed_and_change_with_it() -> None:
    case = Case("a", images=(FILM,), labels={"Effusion": 1, "Edema": 1})
    assert captions(case, 8, 1) == captions(case, 8, 1)
    assert captions(case, 8, 1) != captions(case, 8, 2)
    assert len(set(captions(case, 8, 1))) == 8


def test_a_normal_film_and_a_film_of_which_nothing_is_known() -> None:
    normal = Case("n", images=(FILM,), labels={"No Finding": 1, "Edema": 0})
    assert all("edema" not in s.lower() for s in captions(normal, 8, absent=0))
    assert label_text(normal) == "DX chest: no finding"
    assert label_text(Case("u", images=(FILM,))) == "DX chest: -"
    assert label_text(Case("d", images=(FILM,), labels={"Mass": 0, "Edema": 0})) == "DX chest: no edema, no mass"
    assert captions(Case("u", images=(FILM,)), 5)
    with pytest.raises(UsageError, match="no image"):
        captions(Case("x"), 3)


def test_report_sentences_are_mixed_in_when_asked_for() -> None:
    report = Report(findings="The heart is large. There is a left effusion.", impression="Heart failure.")
    case = Case("r", images=(FILM,), labels={"Effusion": 1}, report=report)
    own = {"The heart is large.", "There is a left effusion.", "Heart failure."}
    assert not own & set(captions(case, 8, 1))
    assert len(own & set(captions(case, 8, 1, reported=0.25))) == 2
    assert own <= set(captions(case, 8, 1, reported=1.0))


def test_regions_are_said_with_side_and_severity_and_organs_are_not() -> None:
    box = Box(0, 0, 1, 1)
    case = Case(
        "r",
        images=(FILM, FILM),
        labels={"effusion": 1},
        regions=(
            Region(box, "effusion", granularity="lesion", attributes={"side": "left", "severity": "small"}),
            Region(box, "left lung", granularity="organ"),
            Region(box, "mass", image=1),
            Region(box, "normal", granularity="cell"),
        ),
    )
    (only,) = statements(case)
    assert (only.finding, only.side, dict(only.words)) == ("effusion", "left", {"severity": "small"})
    assert all("small left effusion" in s.lower() for s in captions(case, 6))
    assert label_text(case) == "DX chest: left effusion"
    assert [s.finding for s in statements(case, image=1)] == ["mass", "effusion"]
