"""VQA-RAD, SLAKE and LLaVA conversations, each on files written in that layout."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tests.sources.sources_files import array_picture, dump, picture, text
from vesalius.cases import Box, Mask
from vesalius.sources.layouts.detect import detect
from vesalius.sources.layouts.registry import import_folder


def test_vqa_rad(tmp_path: Path) -> None:
    picture(tmp_path / "VQA_RAD Image Folder" / "synpic54610.jpg")
    entry = {
        "qid": "0", "phrase_type": "freeform", "qid_linked_id": "03f451ca", "image_case_url": "https://x",
        "image_name": "synpic54610.jpg", "image_organ": "HEAD", "evaluation": "evaluated",
        "question": "Are regions of the brain infarcted?", "question_rephrase": "NULL", "question_relation": "NULL",
        "question_frame": "NULL", "question_type": "PRES", "answer": "Yes", "answer_type": "CLOSED",
    }  # fmt: skip
    dump(
        tmp_path / "VQA_RAD Dataset Public.json",
        [
            entry,
            {**entry, "qid": 1, "phrase_type": "test_para", "answer": 4, "answer_type": "OPEN "},
            {**entry, "qid": 2, "image_name": "../synpic1.jpg"},
            "nonsense",
            {**entry, "qid": 3, "answer": None},
        ],
    )
    assert detect(tmp_path)[0].name == "vqa-rad"
    cases = import_folder(tmp_path)
    (case,) = cases
    assert (case.id, case.images[0].body_part) == ("vqa-rad/synpic54610", "head")
    assert [(q.answer, q.tags) for q in case.questions] == [
        ("Yes", ("closed", "PRES", "train")),
        ("4", ("open", "PRES", "test")),
    ]
    assert case.source.split == ""
    name = "VQA_RAD Dataset Public.json"
    assert [item for item, _ in cases.refused] == [f"{name}[3]", f"{name}[4]", f"{name}[2]"]


def test_slake_two_languages_boxes_and_masks(tmp_path: Path) -> None:
    folder = tmp_path / "imgs" / "xmlab1"
    picture(folder / "source.jpg", 6, 8, colour=True)
    mask = np.zeros((6, 8), np.uint8)
    mask[1:3, 2:5] = 1
    mask[4, 4] = 9
    array_picture(folder / "mask.png", mask)
    dump(folder / "detection.json", [{"Liver": [2, 1, 3, 2]}, {"Lung": [1, 2, "x", 4]}])
    text(tmp_path / "mask.txt", "1:Liver\n2:Left Lung\nnonsense\n")
    entry = {
        "img_id": 1, "img_name": "xmlab1/source.jpg", "question": "What modality is used to take this image?",
        "answer": "MRI", "q_lang": "en", "location": "Abdomen", "modality": "MRI", "answer_type": "OPEN",
        "base_type": "vqa", "content_type": "Modality", "triple": ["vhead", "_", "_"], "qid": 0,
    }  # fmt: skip
    dump(tmp_path / "train.json", [entry, {**entry, "q_lang": "zh", "question": "这是什么成像方式？", "qid": 1}])
    dump(tmp_path / "test.json", [{**entry, "img_name": "xmlab2/source.jpg", "qid": 9}])
    assert detect(tmp_path)[0].name == "slake"
    cases = import_folder(tmp_path)
    (case,) = cases
    assert (case.id, case.source.split) == ("slake/xmlab1", "train")
    assert (case.images[0].modality, case.images[0].body_part) == ("MR", "abdomen")
    assert [(q.language, q.answer) for q in case.questions] == [("en", "MRI"), ("zh", "MRI")]
    box, outline = case.regions
    assert (box.label, box.geometry) == ("Liver", Box(2, 1, 5, 3))
    assert isinstance(outline.geometry, Mask)
    assert outline.label == "Liver"
    assert np.array_equal(outline.geometry.to_array(), mask == 1)
    items = [item for item, _ in cases.refused]
    assert items == ["mask.txt:3", "test.json[0]", "xmlab1/detection.json[1]", "mask.png"]


def test_llava_json_and_lines(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.jpg")
    turns = [
        {"from": "human", "value": "<image>\nWhat is shown?"},
        {"from": "gpt", "value": "A chest film."},
        {"from": "human", "value": "Is there an effusion?"},
        {"from": "gpt", "value": "No."},
    ]
    good = {"id": "1", "image": "a.jpg", "domain": {"chest_xray": True, "mri": False}, "conversations": turns}
    dump(
        tmp_path / "train.json",
        [
            good,
            {**good, "id": "2", "image": "gone.jpg"},
            {**good, "id": "3", "conversations": turns[1:]},
            {**good, "id": "4", "conversations": [{"from": "human", "value": 7}]},
            {"id": "5", "conversatons": turns[:2]},
            good,
        ],
    )
    assert detect(tmp_path)[0].name == "llava"
    cases = import_folder(tmp_path)
    assert cases.ids() == ["llava/1", "llava/5"]
    first = cases[0]
    assert [(q.text, q.answer) for q in first.questions] == [
        ("What is shown?", "A chest film."),
        ("Is there an effusion?", "No."),
    ]
    assert (first.images[0].modality, first.source.split) == ("DX", "train")
    assert cases[1].images == ()
    assert [item for item, _ in cases.refused] == [f"train.json[{n}]" for n in (1, 2, 3, 5)]

    lines = tmp_path / "lines"
    picture(lines / "a.jpg")
    text(lines / "data.jsonl", json.dumps(good) + "\n{half a line\n[1]\n" + json.dumps({**good, "id": "b"}))
    found = import_folder(lines, "llava")
    assert found.ids() == ["llava/1", "llava/b"]
    assert [item for item, _ in found.refused] == ["data.jsonl:2", "data.jsonl:3"]
