"""Which phrases name which boxes, what is absent, crops, and one step of training."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from vesalius.cases import Box, Case, Image, Mask, Region
from vesalius.errors import BadInputError
from vesalius.nn.grounding import GroundNet
from vesalius.systems.frame.frozen import frozen
from vesalius.training.grounding import (
    GroundingData,
    absent_phrases,
    cropped,
    grounding_step,
    scene_of,
    side_of,
    swap_sides,
    targets_of,
)


def region(box, label, phrase="", **attributes) -> Region:
    return Region(Box(*box), label, phrase, attributes=attributes)


def case(*regions: Region, shape=(100, 200)) -> Case:
    return Case("a", images=(Image(array=np.zeros(shape, np.uint8), modality="DX"),), regions=regions)


def test_a_phrase_must_name_one_box():
    targets, shown = targets_of(
        case(
            region((0, 0, 20, 50), "nodule", "a small nodule in the left upper zone", side="left"),
            region((100, 0, 120, 50), "nodule", "a small nodule in the right lower zone", side="right"),
            region((0, 50, 20, 90), "mass", "two masses", side="right"),
            region((50, 50, 70, 90), "mass", "two masses", side="right"),
        ),
        (100, 200),
    )
    assert [t.words for t in targets] == [
        ("a small nodule in the left upper zone", "left nodule", "nodule on the left"),
        ("a small nodule in the right lower zone", "right nodule", "nodule on the right"),
    ]
    assert targets[0].box == (0, 0, 0.1, 0.5)
    assert ("mass", "right") in shown


def test_a_mask_and_its_box_are_one_thing():
    mask = np.zeros((100, 200), bool)
    mask[10:40, 20:60] = True
    both = case(Region(Mask.from_array(mask), "heart"), region((20, 10, 60, 40), "heart"))
    targets, _ = targets_of(both, (100, 200))
    assert [(t.words, t.box) for t in targets] == [(("heart",), (0.1, 0.1, 0.3, 0.4))]


def test_a_volume_is_asked_slice_by_slice():
    mask = np.zeros((6, 40, 40), bool)
    mask[2, 10:20, 5:15] = True
    mask[3, 10:30, 5:35] = True
    volume = Case(
        "v", images=(Image(array=np.zeros((6, 40, 40), np.int16), kind="3d"),),
        regions=(Region(Mask.from_array(mask), "liver"),),
    )  # fmt: skip
    assert scene_of(volume).targets[0].box == (5 / 40, 10 / 40, 35 / 40, 30 / 40)
    assert scene_of(volume, index=2).targets[0].box == (5 / 40, 10 / 40, 15 / 40, 20 / 40)
    assert scene_of(volume, index=5).targets == ()


def test_sides():
    assert side_of(region((0, 0, 1, 1), "Left Lung")) == "left"
    assert side_of(region((0, 0, 1, 1), "effusion", side="bilateral")) == ""
    assert swap_sides("Left lung beside the right heart border") == "right lung beside the left heart border"
    assert swap_sides("bright leftover") == "bright leftover"


def test_what_is_absent_is_known_to_be():
    right = scene_of(case(region((0, 0, 50, 50), "nodule", side="right")), group="film")
    asked = [("nodule", "left", "film"), ("nodule", "right", "film"), ("nodule", "", "film"), ("mass", "", "film"),
             ("polyp", "", "gut")]  # fmt: skip
    own, kin = {"nodule", "mass"}, {"nodule", "mass"}
    assert absent_phrases(right, asked, own, kin).tolist() == [0, 3, 4]
    # An annotation that does not name all there is says nothing about its own kind of picture.
    open_one = scene_of(case(region((0, 0, 50, 50), "nodule", side="right")), group="film", closed=False)
    assert absent_phrases(open_one, asked, own, kin).tolist() == [4]


def test_a_crop_keeps_pixels_under_their_box():
    picture = np.zeros((100, 200), np.uint8)
    picture[30:60, 80:120] = 255
    whole = scene_of(
        Case("a", images=(Image(array=picture),), regions=(region((80, 30, 120, 60), "heart", side="left"),))
    )
    rng = np.random.default_rng(0)
    for _ in range(20):
        part = cropped(whole, rng, kept=1.0)
        height, width = part.picture.shape[:2]
        x0, y0, x1, y1 = (round(float(v)) for v in np.asarray(part.targets[0].box) * (width, height, width, height))
        inside = part.picture[y0:y1, x0:x1]
        assert inside.mean() > 250
        assert part.picture.sum() == whole.picture.sum()


def test_data_without_phrases_is_refused():
    with pytest.raises(BadInputError, match="nothing to ground"):
        GroundingData(frozen("nano"), [scene_of(case())])


def test_a_step_has_all_losses_and_repeats():
    scenes = [
        scene_of(case(region((0, 0, 100, 100), "left lung"), region((100, 0, 200, 100), "right lung")), group="film"),
        scene_of(case(region((0, 0, 60, 60), "polyp")), group="gut"),
    ]
    data = GroundingData(frozen("nano"), scenes)
    assert [len(a) for a in data.absent] == [1, 2]
    torch.manual_seed(0)
    net = GroundNet(32, 1)
    step = grounding_step(net, data, steps=10, batch=8)
    first, again = step(5, np.random.default_rng(3)), step(5, np.random.default_rng(3))
    assert set(first) == {"l1", "giou", "there", "taco"}
    net.eval()
    a, b = step(5, np.random.default_rng(3)), step(5, np.random.default_rng(3))
    assert {k: v.item() for k, v in a.items()} == {k: v.item() for k, v in b.items()}
    assert "taco" not in grounding_step(net, data, steps=10, contrast=0.0)(5, np.random.default_rng(3))
    sum(again.values()).backward()
    assert all(p.grad is not None for n, p in net.named_parameters())


def test_a_true_phrase_without_a_box_teaches_the_score_alone():
    boxed = scene_of(case(region((0, 0, 100, 100), "left lung")), group="film")
    bare = dataclasses.replace(
        scene_of(case(), group="open", family="film"), named=("heart",), shown=frozenset({("heart", "")})
    )
    data = GroundingData(frozen("nano"), [boxed, bare], np.asarray([0.0, 1.0], np.float32))
    drawn = data.draw(32, np.random.default_rng(0))
    assert set(drawn.pictures) == {1}
    assert not drawn.boxed.any()
    assert {data.phrases[p] for p, t in zip(drawn.phrases, drawn.there, strict=True) if t} == {"heart"}
    torch.manual_seed(0)
    losses = grounding_step(GroundNet(32, 1), data, steps=10, batch=8)(5, np.random.default_rng(3))
    assert float(losses["there"].detach()) > 0
    assert float((losses["l1"] + losses["giou"] + losses["taco"]).detach()) == 0
