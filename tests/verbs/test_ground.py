"""`vesalius ground`: boxes, pictures, JSON, figures, and what cannot be read."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image as Pillow

import vesalius
from vesalius.cases import Box, CaseSet
from vesalius.models.protocols import Grounding
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


def test_all_needs_a_model_that_finds_every_instance(run_json, model, pictures):
    for name in ("nano", model):
        code, done = run_json("ground", pictures, "--phrase", "red blood cell", "--all", "--model", name)
        assert code == 4
        assert "train nano-boxes" in done["fix"]


class Counts:
    """Finds two hearts everywhere and has not learnt anything else."""

    name = fingerprint = "counts"

    def ground(self, image, phrases):
        raise AssertionError("one box was not asked for")

    def ground_all(self, image, phrases):
        two = (Box(1, 2, 9, 12), Box(20, 2, 29, 12))
        heat = np.full((7, 7), 1 / 49, np.float32)
        return [
            Grounding(p, two, (0.4, 0.3), heat, 2) if p == "heart"
            else Grounding(p, (), (), heat, 0 if p == "lung" else None)
            for p in phrases
        ]  # fmt: skip


def test_every_instance_is_listed_counted_and_drawn(tmp_path):
    Pillow.fromarray(np.zeros((40, 50), np.uint8)).save(tmp_path / "a.png")
    found = vesalius.ground(
        tmp_path / "a.png", phrase=("heart", "lung", "gnome"), every=True, model=Counts(), out=tmp_path / "out"
    )
    heart, lung, gnome = found.cases[0].phrases
    # An instance counts from the model's own threshold on, not from --threshold.
    assert (heart.count, heart.here, len(heart.boxes)) == (2, True, 2)
    assert (lung.count, lung.here) == (0, False)
    assert (gnome.count, gnome.here) == (None, False)
    text = "\n".join(found.lines())
    assert "heart: 2\n    [1 2 9 12] score 0.40\n    [20 2 29 12] score 0.30" in text
    assert "lung: 0" in text
    assert "gnome: no box, only a heat map" in text
    (picture,) = (tmp_path / "out").glob("*.png")
    drawn = np.asarray(Pillow.open(picture))[:512, :640]
    scale = 512 / 40
    for x0, x1 in ((1, 9), (20, 29)):
        edge = drawn[round(7 * scale), round(x0 * scale) - 4 : round(x0 * scale) + 5]
        assert edge.max() > 100, (x0, x1)


def test_usage(run, run_json, pictures):
    assert run("ground", pictures)[0] == 2
    assert run("ground", pictures, "--phrase", "x", "--threshold", "2")[0] == 2
    assert run("ground", pictures, "--all", "--evaluate")[0] == 2
