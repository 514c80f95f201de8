"""Concept banks: what is let in, what is dropped and why, and that the curated ones pass their own rules."""

from __future__ import annotations

import json

import numpy as np
import pytest

from vesalius.errors import BadInputError, MissingError
from vesalius.text.concepts import (
    ConceptBank,
    _curated,
    ask_for_concepts,
    clean_bank,
    curated_bank,
    drop_alike,
    parse_phrases,
    read_bank,
)


def test_what_a_bottleneck_must_not_stand_on():
    phrases = {
        "blunted costophrenic angle": "",
        "large pleural effusion": "names a class",
        "elderly patient": "patient",
        "female breast shadow": "patient",
        "film from an outside hospital": "patient",
        "bright marker in the corner": "patient",
        "portable AP film": "patient",
        "one two three four five six seven eight nine": "words",
        "manubrium in view": "",  # not every word that holds "man" is about one
    }
    bank, dropped = clean_bank(ConceptBank({"effusion": tuple(phrases)}), ["Pleural_Effusion", "normal"])
    assert bank.concepts == tuple(p for p, why in phrases.items() if not why)
    for phrase, why in phrases.items():
        assert why in dropped.get(phrase, "")


def test_normal_is_a_word_and_not_a_name():
    bank, _ = clean_bank(ConceptBank({"normal": ("normal lungs",)}), ["normal", "edema"])
    assert bank.concepts == ("normal lungs",)


@pytest.mark.parametrize("modality", ["DX", "US", "DMS", "OP"])
def test_curated_banks_pass_their_own_rules(modality):
    for name, phrases in _curated()[modality].items():
        _, dropped = clean_bank(ConceptBank({name: phrases}), [name])
        assert not dropped
        assert len(phrases) == len(set(phrases)) >= 2


def test_curated_bank_knows_the_names_of_the_sets_here():
    assert curated_bank(["Pleural_Thickening", "No Finding", "pleural effusion"], "CR").classes.keys() == {
        "pleural thickening", "no finding", "pleural effusion",
    }  # fmt: skip
    with pytest.raises(MissingError, match="wombat"):
        curated_bank(["wombat"], "DX")


def test_near_duplicates_by_vector():
    bank = ConceptBank({"a": ("x", "y"), "b": ("z",)})
    v = np.asarray([[1, 0], [0.99, np.sqrt(1 - 0.99**2)], [0, 1]], np.float32)
    kept, dropped = drop_alike(bank, v)
    assert kept.concepts == ("x", "z")
    assert dropped == {"y": "says the same as 'x'"}


def test_files_of_both_forms_and_bad_ones(tmp_path):
    (tmp_path / "b.json").write_text(json.dumps({"Edema": ["Wide vessels", "wide vessels"]}), "utf-8")
    (tmp_path / "b.txt").write_text("\ufeffblunted angle\n\n  white band.\n", "utf-8")
    assert read_bank(tmp_path / "b.json").classes == {"edema": ("wide vessels",)}
    assert read_bank(tmp_path / "b.txt").concepts == ("blunted angle", "white band")
    for bad in ('{"a": "text"}', "[1]", '{"a": [1]}', "{", "[" * 100_000, '{"a": []}'):
        (tmp_path / "bad.json").write_text(bad, "utf-8")
        with pytest.raises(BadInputError):
            read_bank(tmp_path / "bad.json")
    with pytest.raises(MissingError):
        read_bank(tmp_path / "none.json")


def test_replies_are_read_as_data():
    reply = (
        "Sure, here are features:\n1. Blunted angle.\n2) 'White band'\n- \x1b[31mwide vessels\n\n* **Wide vessels**\n"
    )
    assert parse_phrases(reply)[:2] == ("blunted angle", "white band")
    assert all(p.isprintable() for p in parse_phrases(reply))
    asked = []
    bank = ask_for_concepts(lambda q: asked.append(q) or "- a dark rim", ["Pneumothorax"], "DX")
    assert bank.classes == {"pneumothorax": ("a dark rim",)}
    assert "pneumothorax" in asked[0]


def test_a_reply_with_nothing_in_it_is_refused():
    with pytest.raises(BadInputError, match="empty"):
        ask_for_concepts(lambda _: "\n\n", ["edema"])
