"""What is known of a case is what its labels and cells say, and no more."""

from __future__ import annotations

import numpy as np
import pytest

from vesalius.cases import Box, Case, Image, Label, Region, Source
from vesalius.training.nano.facts import case_view, facts_of, kind_of


def case(modality="DX", body="chest", *, view="", meta=None, **fields):
    image = Image(array=np.zeros((4, 4), np.uint8), modality=modality, body_part=body, view=view, meta=meta or {})
    return Case("a", images=(image,), source=Source(dataset="set"), **fields)


@pytest.mark.parametrize(
    ("labels", "facts"),
    [
        ({"Pneumonia": 1, "Effusion": 0}, {"Pneumonia": True, "Effusion": False}),
        ({"Pneumonia": -1, "Effusion": 1}, {"Effusion": True}),  # uncertain is not known
        ({"class": "benign", "size": Label(1, "mm")}, {"benign": True}),  # a number with a unit is no finding
        ({"melanoma": 1}, {"melanoma": True, "not melanoma": False}),
        ({"class": "no fracture"}, {"fracture": False}),
        ({"class": "HeadCT"}, {}),
    ],
)
def test_facts_are_those_of_the_labels(labels, facts):
    assert facts_of(case(labels=labels)) == facts


def test_cells_are_facts_but_a_normal_one_makes_no_normal_smear():
    cells = (Region(Box(0, 0, 3, 3), "RBC", granularity="cell"), Region(Box(3, 3, 6, 6), "normal", granularity="cell"))
    assert facts_of(case("GM", "blood", regions=cells)) == {"RBC": True}


def test_kind_and_view():
    assert kind_of(case("MR", "brain", meta={"anatomy": "hippocampus"})) == "MR hippocampus"
    assert [case_view(case(view=v)) for v in ("PA", "AP", "AP SUPINE", "LATERAL", "")] == [0, 1, 1, -1, -1]
