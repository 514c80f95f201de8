"""`vesalius ground`: boxes, pictures, JSON, figures, and what cannot be read."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image as Pillow

from vesalius.cases import CaseSet
from vesalius.systems import open_system
from vesalius.systems.frame.budget import Budget
from vesalius.systems.frame.model import save_model


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    system = open_system("medrpg-taco")
    folder = tmp_path_factory.mktemp("model")
    save_model(system.train(system.example(4, 100), Budget(steps=2)), folder)
    return f"dir:{folder}"


def test_an_image_gives_boxes_a_picture_and_json(run_json, model, tmp_path):
    Pillow.fromarray(np.random.default_rng(0).integers(0, 255, (60, 90), dtype=np.uint8)).save(tmp_path / "a.png")
    out = tmp_path / "out"
    code, done = run_json(
        "ground", tmp_path / "a.png", "--phrase", "left lung", "--phrase", "heart", "--model", model, "--out", out,
        "--threshold", "0.99",
    )  # fmt: skip
    assert code == 0
    (case,) = done["result"]["cases"]
    assert case["shape"] == [60, 90]
    assert [p["phrase"] for p in case["phrases"]] == ["left lung", "heart"]
    for found in case["phrases"]:
        x0, y0, x1, y1 = found["boxes"][0]
        assert 0 <= x0 <= x1 <= 90
        assert 0 <= y0 <= y1 <= 60
        assert found["here"] == (found["scores"][0] >= 0.99)
    assert json.loads((out / "grounding.json").read_text()) == done["result"]
    (picture,) = out.glob("*.png")
    # Three panels of the picture's own aspect, large enough to read.
    assert Pillow.open(picture).size == (3 * 768, 512)


def test_evaluate_measures_against_the_cases_own_boxes(run_json, model, tmp_path):
    CaseSet(open_system("medrpg-taco").example(4, 101)).write(tmp_path / "cases")
    code, done = run_json("ground", tmp_path / "cases", "--evaluate", "--model", model, "--workers", "0")
    assert code == 0
    figures = done["result"]["figures"]
    assert figures["all"]["n"] == sum(f["n"] for k, f in figures.items() if k != "all")
    assert figures["left lung"]["n"] == 4
    accuracy = figures["all"]["accuracy_50"]
    assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]


def test_a_bad_file_is_named_and_the_rest_goes_on(run_json, model, mixed):
    code, done = run_json("ground", mixed, "--layout", "files", "--phrase", "spine", "--model", model)
    assert code == 3
    assert len(done["result"]["cases"]) == 4
    assert done["refused"]


def test_usage(run, run_json, pictures):
    assert run("ground", pictures)[0] == 2
    assert run("ground", pictures, "--phrase", "x", "--threshold", "2")[0] == 2
