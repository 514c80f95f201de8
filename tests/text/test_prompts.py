"""Prompts: hand-written expectations, not the templates read back."""

import json
import re
import subprocess
import sys
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vesalius.text.modalities import (
    body_part_name,
    implied_body_parts,
    modality_code,
    modality_codes,
    modality_names,
    view_names,
)
from vesalius.text.prompts import clean_label, describe, is_image_kind, is_normal_label, prompt_ensemble


def test_structured_prompt_has_the_published_form():
    assert describe("DX", "AP", "chest", "Pneumonia")[0] == "x-ray chest anteroposterior pneumonia"


def test_many_distinct_sentences_of_different_style():
    sentences = describe("DX", "AP", "chest", "Pneumonia")
    assert len(sentences) == len(set(sentences)) >= 12
    assert all("pneumonia" in s.lower() for s in sentences)
    assert "There is pneumonia." in sentences
    assert "an anteroposterior chest x-ray with pneumonia" in sentences


@pytest.mark.parametrize("modality", modality_codes())
@pytest.mark.parametrize("finding", [None, "No Finding", "mass", "calcifications"])
def test_every_modality_gives_clean_sentences(modality, finding):
    for seed in (None, 0, 1):
        for body in (None, "chest"):
            for sentence in describe(modality, None, body, finding, seed=seed):
                assert sentence == sentence.strip()
                assert not re.search(r"[{}]|  |\b(\w+) \1\b| [,.]|\bthe is\b|\ba [aeio]", sentence.lower()), sentence


def test_absent_never_affirms():
    for sentence in describe("DX", "PA", "chest", "pneumothorax", absent=True):
        assert re.search(r"\b(no|without|negative|absent)\b", sentence.lower()), sentence


def test_number_agrees():
    assert "There are nodules." in describe("CT", None, "chest", "nodules")
    assert "There is atelectasis." in describe("CT", None, "chest", "atelectasis")
    assert "Drusen are present." in describe("OP", None, "retina", "drusen")


def test_attributes_stand_where_a_radiologist_puts_them():
    said = describe("DX", "AP", "chest", "pleural effusion", "left", {"severity": "small", "location": "the left base"})
    assert "There is small left pleural effusion in the left base." in said
    aged = describe("DX", "AP", "chest", "edema", attributes={"age": "63 years"})
    assert any("63 years" in s for s in aged)
    assert any("63 years" not in s for s in aged)


def test_normal_labels():
    assert is_normal_label("No_Finding")
    assert not is_normal_label("normal pressure hydrocephalus")
    assert "normal chest x-ray" in describe("DX", "PA", "chest", "No Finding")


def test_the_same_seed_gives_the_same_sentences_in_another_process():
    here = describe("DX", "AP", "chest", "edema", seed=7)
    code = "import json; from vesalius.text.prompts import describe as d; "
    code += "print(json.dumps(d('DX', 'AP', 'chest', 'edema', seed=7)))"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert json.loads(there) == here
    assert describe("DX", "AP", "chest", "edema", seed=8) != here
    assert describe("DX", "AP", "chest", "edema", seed=7, n=3) == here[:3]


def test_zero_shot_takes_any_label():
    assert prompt_ensemble("melanoma", "DMS", "skin")[0] == "dermoscopy skin melanoma"
    assert "melanoma" in prompt_ensemble("Melanoma")
    assert "normal breast ultrasound" in prompt_ensemble("normal", "US", "breast")
    assert "This is a chest x-ray." in prompt_ensemble("chest x-ray")
    assert not any("There is" in p for p in prompt_ensemble("mammogram"))


@given(st.text(max_size=60))
def test_zero_shot_never_fails_and_never_repeats(label):
    prompts = prompt_ensemble(label, "DX", "chest")
    assert len(prompts) == len(set(prompts)) >= 5
    assert all(p.isprintable() for p in prompts)


def test_image_kinds():
    assert is_image_kind("MRI of the knee")
    assert is_image_kind("Chest X-ray")
    assert not is_image_kind("carcinoma of the breast")
    assert not is_image_kind("pneumonia")


def test_modality_words():
    assert modality_code("X-Ray") == "DX"
    assert modality_code(" retinal  OCT ") == "OPT"
    assert modality_code("tarot") is None
    assert {modality_code(modality_names(code)[0]) for code in modality_codes()} >= set(modality_codes()) - {"CR", "RG"}
    assert modality_names("hologram") == ("hologram",)
    assert view_names("mlo")[0] == "mediolateral oblique"
    assert body_part_name("LSPINE") == "lumbar spine"
    assert implied_body_parts("OP") == ("retina", "eye", "fundus")
    assert clean_label("Pleural_Thickening\x00") == "pleural thickening"


def test_table_is_well_formed():
    table = json.loads(resources.files("vesalius.text").joinpath("data/modalities.json").read_text(encoding="utf-8"))
    for needed in re.findall(r"\w+", "CR DX CT MR PT US MG XA NM OP OPT DMS ES SM GM XC PX IO"):
        assert needed in table["modalities"]
    for entry in table["modalities"].values():
        assert entry["name"]
        assert entry["zh"]
        assert len(entry["synonyms"]) == len(set(entry["synonyms"]))
