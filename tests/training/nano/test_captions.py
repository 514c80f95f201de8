"""What a caption claims is held against a slow reading of the case; words reach kinds that no set shows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vesalius.cases import Case, Image, Source
from vesalius.text.vocabulary import parts_shown, parts_unsure
from vesalius.training.nano.captions import FIELDS, captions_of, modality_of, part_of, plane_of, sequence_of
from vesalius.training.nano.projections import SHARE, Pairs


def case(i, dataset, modality, body, meta=None, view="", **labels):
    image = Image(array=np.zeros((4, 4), np.uint8), modality=modality, body_part=body, view=view, meta=meta or {})
    return Case(f"{dataset}/{i}", images=(image,), labels=labels, source=Source(dataset))


CASES = [
    case(0, "heads", "CT", "head", {"plane": "axial", "contrast": "without"}),
    case(1, "brains", "MR", "brain", {"plane": "sagittal", "sequence": "T1"}, **{"class": "glioma"}),
    case(2, "brains", "MR", "brain", **{"class": "no tumour"}),
    case(3, "films", "CR", "chest", view="AP SUPINE", Pneumonia=1, Mass=0),
    case(4, "films", "DX", "chest", view="PA", Pneumonia=0),
    case(5, "knees", "DX", "knee"),
    case(6, "limbs", "DX", "extremity", **{"class": "fracture"}),
    case(7, "limbs", "DX", "extremity", **{"class": "no fracture"}),
    case(8, "parts", "CT", "abdomen", **{"class": "liver"}),
]
CAPTIONS = captions_of(CASES, drawn=[False] * len(CASES))


def slow_truth(c: Case, claim: dict[str, str]) -> float:
    """1, 0 or NaN, field by field, without a table."""
    found = []
    if claim["modality"]:
        found.append(float(claim["modality"] == modality_of(c)))
    if claim["part"]:
        part = part_of(c)
        found.append(
            1.0 if claim["part"] in parts_shown(part) else np.nan if claim["part"] in parts_unsure(part) else 0.0
        )
    for field, value in (("plane", plane_of(c)), ("sequence", sequence_of(c))):
        if claim[field]:
            found.append(float(claim[field] == value) if value else np.nan)
    return 0.0 if 0.0 in found else np.nan if np.isnan(found).any() else 1.0


def test_truth_of_kinds_is_that_of_a_slow_reading():
    rows = np.arange(len(CASES))
    truth = CAPTIONS.match(rows, np.arange(len(CAPTIONS.text)))
    checked = 0
    for j, numbers in enumerate(CAPTIONS.claims):
        claim = {
            f: CAPTIONS.values[k][n] if n >= 0 else "" for k, (f, n) in enumerate(zip(FIELDS, numbers, strict=True))
        }
        if claim["fact"]:
            continue
        for i, c in enumerate(CASES):
            np.testing.assert_equal(
                truth[i, j], np.float32(slow_truth(c, claim)), err_msg=f"{c.id}: {CAPTIONS.text[j]}"
            )
            checked += 1
    assert checked > 500


@pytest.mark.parametrize(
    ("text_fact", "i", "want"),
    [
        ("Pneumonia", 3, 1), ("no Pneumonia", 4, 1), ("Pneumonia", 4, 0), ("no Mass", 3, 1), ("no Mass", 4, np.nan),
        ("fracture", 6, 1), ("no fracture", 7, 1), ("fracture", 7, 0), ("brain tumour", 1, 1), ("brain tumour", 2, 0),
        # Other kinds of image do not show it.
        ("Pneumonia", 5, 0), ("glioma", 3, 0),
    ],
)  # fmt: skip
def test_truth_of_findings(text_fact, i, want):
    column = CAPTIONS.values[4].index(text_fact)
    np.testing.assert_equal(CAPTIONS.truth[4][i, column], np.float32(want))


def test_words_for_a_combination_that_no_case_shows_are_all_there_alone():
    said = " | ".join(CAPTIONS.text)
    for words in ("knee", "CT", "sagittal", "T1", "broken bone"):
        assert words in said


def test_every_caption_that_is_drawn_is_true():
    pairs = Pairs(CAPTIONS, SHARE)
    cases = np.repeat(np.arange(len(CASES)), 50)
    said = pairs.draw(cases, np.random.default_rng(0))
    assert (said >= 0).all()
    truth = CAPTIONS.match(np.arange(len(CASES)), said)
    assert (truth[cases, np.arange(len(said))] == 1).all()
    # One claim is worded in many ways, and drawn in many.
    assert len(set(said[cases == 0])) > 15


def test_drawings_claim_no_finding():
    drawn = captions_of(CASES, drawn=[True] * len(CASES))
    assert (drawn.claims[:, 4] == -1).all()


def test_the_same_seed_says_the_same_in_every_process():
    assert captions_of(CASES, drawn=[False] * len(CASES), seed=1).text != CAPTIONS.text
    # Sets of words have another order under another hash seed.
    code = "from tests.training.nano.test_captions import CAPTIONS; print(hash_of(CAPTIONS.text))"
    code = f"import hashlib; hash_of = lambda t: hashlib.sha256(chr(10).join(t).encode()).hexdigest(); {code}"
    root = Path(__file__).parents[3]
    said = {
        subprocess.run(
            [sys.executable, "-c", code], cwd=root, check=True, capture_output=True, text=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(said) == 1
