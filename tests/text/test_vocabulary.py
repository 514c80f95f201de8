"""Words for kinds of image: tables that fit together, phrases that say it all, labels that mean what they say."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vesalius.text.modalities import modality_codes
from vesalius.text.prompts import is_image_kind, is_part_of_body, prompt_ensemble
from vesalius.text.tables import load_table
from vesalius.text.vocabulary import (
    NONE_OF_THESE,
    Kind,
    contrast_words,
    drop_some,
    finding_words,
    kind_words,
    meaning,
    modality_words,
    part_named,
    part_words,
    parts,
    parts_shown,
    parts_unsure,
    plane_words,
    say_kind,
    sequence_words,
    window_words,
)

KINDS = st.builds(
    Kind,
    modality=st.sampled_from(("", "CT", "MR", "DX", "CR", "US", "ES", "GM", "MG", "mammogram")),
    part=st.sampled_from(("", *parts(), "left toe")),
    plane=st.sampled_from(("", "axial", "coronal", "sagittal", "transverse", "oblique")),
    sequence=st.sampled_from(("", "T1", "T2", "FLAIR", "bSSFP", "SWI")),
    contrast=st.sampled_from(("", "with", "without")),
    window=st.sampled_from(("", "brain", "bone")),
    view=st.sampled_from(("", "PA", "AP", "LATERAL", "CC")),
)


@settings(max_examples=150, deadline=None)
@given(KINDS, st.integers(0, 10_000))
def test_a_phrase_says_everything_and_is_tidy(kind: Kind, seed: int) -> None:
    said = say_kind(kind, random.Random(seed))
    assert said == say_kind(kind, random.Random(seed))
    assert said == said.strip()
    assert not re.search(r"\s\s|, ,|^,|,$|\bof the$", said)
    for value, words in (
        (kind.plane, plane_words), (kind.sequence, sequence_words), (kind.contrast, contrast_words),
        (kind.window, window_words),
    ):  # fmt: skip
        if value:
            assert any(w in said for w in words(value)), (value, said)
    if kind.modality:
        names = (*modality_words(kind.modality), *kind_words(kind.modality, kind.part))
        assert any(n in said for n in names)


@settings(max_examples=100, deadline=None)
@given(KINDS, st.integers(0, 10_000))
def test_dropping_parts_leaves_some_of_the_same_and_never_nothing(kind: Kind, seed: int) -> None:
    less = drop_some(kind, random.Random(seed))
    fields = [f for f in Kind.__dataclass_fields__ if getattr(kind, f)]
    kept = [f for f in Kind.__dataclass_fields__ if getattr(less, f)]
    assert set(kept) <= set(fields)
    assert bool(kept) == bool(fields)
    assert all(getattr(less, f) == getattr(kind, f) for f in kept)


def test_every_part_is_said_alone_and_in_company() -> None:
    kind = Kind("CT", "kidney", "coronal", contrast="with")
    rng = random.Random(0)
    alone = {
        f
        for _ in range(200)
        if len(k := [f for f in Kind.__dataclass_fields__ if getattr(drop_some(kind, rng), f)]) == 1
        for f in k
    }
    assert alone == {"modality", "part", "plane", "contrast"}
    assert len({say_kind(kind, rng) for _ in range(200)}) > 100


def test_tables_fit_together() -> None:
    table = load_table("vocabulary")
    names = set(parts())
    for name, entry in table["parts"].items():
        assert name in names
        assert entry["words"]
        assert set(entry["also"]) | set(entry["unsure"]) <= names - {name}
        # What a picture surely shows is not unsure, and a larger part may show the smaller one.
        assert not parts_shown(name) & parts_unsure(name)
        assert all(name in parts_unsure(larger) | parts_shown(larger) for larger in entry["also"])
    assert set(table["modalities"]) <= set(modality_codes())
    for modality, part, words in table["kinds"]:
        assert modality in modality_codes()
        assert part in names
        assert words
    for label, entry in table["classes"].items():
        assert entry.get("part", "head") in names
        assert meaning(label) is not None
    assert all(finding_words(f) for f in table["findings"])


def test_parts_are_found_by_lay_and_dicom_words() -> None:
    said = {"Thorax": "chest", "BELLY": "abdomen", "renal": "kidney", "backbone": "spine", "LSPINE": "lumbar spine",
            "womb": "uterus", "eye": "retina", "teeth": "jaw", "large_bowel": "colon"}  # fmt: skip
    assert {w: part_named(w) for w in said} == said
    assert part_named("tarot") == ""
    assert part_words("left toe") == ("left toe",)
    assert parts_shown("") == frozenset()


def test_classes_mean_what_they_say() -> None:
    assert meaning("no osteoarthritis").facts == {"osteoarthritis": False}
    assert meaning("doubtful osteoarthritis").facts == {"doubtful osteoarthritis": True}
    assert meaning("severe osteoarthritis").facts["osteoarthritis"] is True
    assert meaning("malignant nodule").facts == {"malignant nodule": True, "lung nodule": True, "lung cancer": True}
    assert meaning("HeadCT") == meaning("HeadCT")
    assert not meaning("HeadCT").facts
    assert meaning("something rare").facts == {"something rare": True}


def test_prompts_for_parts_and_for_none_of_these() -> None:
    assert is_part_of_body("Large bowel")
    assert not is_part_of_body("pneumonia")
    assert not is_part_of_body("renal")
    knee = prompt_ensemble("knee")
    assert "an image of the knee" in knee
    assert not any("patient with" in s for s in knee)
    assert "MRI of the knee" in prompt_ensemble("knee", "MR")
    assert prompt_ensemble("None of these") == list(NONE_OF_THESE)
    assert is_image_kind("colonoscopy")


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("fracatlas", "fracture"),
        ("brain-mr", "brain tumour"),
        ("knee-oa", "osteoarthritis"),
        ("spine-xray", "scoliosis"),
    ],
)
def test_facts_of_real_sets_are_known_for_nearly_every_case(shared_data: Path, name: str, label: str) -> None:
    from vesalius.sources.open_sets.readers import read_layout
    from vesalius.training.nano.facts import facts_of

    cases = list(read_layout(name, shared_data / name))
    known = [facts_of(c).get(label) for c in cases]
    assert {True, False} <= set(known)
    assert sum(v is not None for v in known) >= 0.8 * len(cases)
    assert not any("no " in fact[:3] for c in cases for fact in facts_of(c))


def test_every_set_says_a_part_that_the_vocabulary_knows(shared_data: Path) -> None:
    from vesalius.sources.open_sets.readers import BY_NAME, read_layout

    for name in BY_NAME:
        for case in read_layout(name, shared_data / name).limit(400):
            for image in case.images:
                part = str(image.meta.get("anatomy") or image.body_part)
                assert part_named(part), (name, part)
                assert image.meta.get("plane", "axial") in ("axial", "coronal", "sagittal", "transverse")
                sequence = str(image.meta.get("sequence", "T1"))
                assert sequence in load_table("vocabulary")["sequences"], (name, sequence)
