"""The box head's recipe: what real films teach it, and a run from data to a head that nano loads."""

from __future__ import annotations

import json

import numpy as np
import pytest

from vesalius.cases import Case, Image
from vesalius.cases.record import Source
from vesalius.models.nano.ground import FILE, GroundHead
from vesalius.models.store import SHIPPED
from vesalius.systems.frame.frozen import frozen
from vesalius.training.nano import boxes as nano_heads
from vesalius.training.nano.boxes import ANATOMY, GroundRecipe, _real_scene, _weights, train_ground


def film(dataset: str, **labels: int) -> Case:
    picture = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    return Case(f"{dataset}/1", images=(Image(array=picture, modality="DX"),), labels=labels, source=Source(dataset))


def test_a_real_film_shows_anatomy_and_what_its_labels_say():
    scene = _real_scene(film("nih-cxr14", Effusion=1, Mass=0))
    assert scene.targets == ()
    assert set(scene.named) == {*ANATOMY, "pleural effusion"}
    assert scene.named.count("pleural effusion") == len(ANATOMY)
    assert ("left lung", "left") in scene.shown
    assert ("mass", "") not in scene.shown
    assert scene.closed


def test_real_sets_get_their_share():
    scenes = [_real_scene(film(d)) for d in ("nih-cxr14", "covid-cc-by", "cbc")]
    import dataclasses

    phantom = dataclasses.replace(scenes[0], group="ct")
    weights = _weights([*scenes, scenes[0], phantom, phantom], 0.36)
    assert weights.sum() == pytest.approx(1)
    assert weights[1] == pytest.approx(0.12)
    assert weights[0] == pytest.approx(0.06)
    assert weights[4] == pytest.approx(0.32)


def test_a_run_leaves_a_head_and_its_figures(monkeypatch, tmp_path):
    held = json.loads((SHIPPED / "nano" / "held_out.json").read_text())
    smear = [h for h in held if h.startswith("cbc/")][:2]

    def some(_, names):
        from vesalius.cases import Box, Region

        made = []
        for k, name in enumerate((*smear, "cbc/a", "cbc/b", "cbc/c")):
            picture = np.random.default_rng(k).integers(0, 255, (64, 64, 3), dtype=np.uint8)
            cell = Region(Box(10.0 + k, 10, 40, 40), "WBC")
            made.append(Case(name, images=(Image(array=picture),), regions=(cell,), source=Source("cbc")))
        return made

    monkeypatch.setattr(nano_heads, "collect", some)
    monkeypatch.setattr(nano_heads, "STUDIES", {"endoscopy": (4, 64)})
    recipe = GroundRecipe({"dim": 32, "layers": 1}, steps=2, batch=4, seed=100)
    figures = train_ground(SHIPPED / "nano", tmp_path, tmp_path / "out", recipe, progress=lambda _: None)
    assert figures["real_cases"] == 3
    assert figures["held_out"]["cbc"]["all"]["n"] == 2
    assert json.loads((tmp_path / "out" / "head-ground.json").read_text()) == figures
    assert GroundHead.load(tmp_path / "out" / FILE, frozen("nano")).config["net"] == {"dim": 32, "layers": 1}
