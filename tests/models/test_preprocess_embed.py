"""Views and pooling: shapes of every kind of image, CLIP's own processor as the reference for the crop."""

from __future__ import annotations

import dataclasses
import json
import pickle

import numpy as np
import pytest
from PIL import Image as Pillow

from tests.tolerance import REPEATED, close
from vesalius.cases import Image
from vesalius.errors import BadInputError, MissingError
from vesalius.models.embedding import TowerEmbedder, unit
from vesalius.models.preprocess import ViewPreprocess

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("shape", "dtype", "kind", "views"),
    [
        ((40, 50), np.uint8, "2d", 1),
        ((40, 50), np.uint16, "2d", 1),
        ((40, 50), np.int16, "2d", 1),
        ((40, 50), np.float32, "2d", 1),
        ((40, 50, 1), np.uint8, "2d", 1),
        ((40, 50, 2), np.uint8, "2d", 1),
        ((40, 50, 3), np.uint8, "2d", 1),
        ((40, 50, 4), np.uint8, "2d", 1),
        ((40, 50, 3), np.uint16, "2d", 1),
        ((1, 40, 50), np.int16, "3d", 1),
        ((5, 40, 50), np.int16, "3d", 5),
        ((30, 40, 50), np.int16, "3d", 8),
        ((30, 40, 50, 1), np.uint8, "3d", 8),
        ((12, 40, 50, 3), np.uint8, "video", 8),
        ((12, 40, 50), np.uint8, "video", 8),
        ((1, 1), np.uint8, "2d", 1),
        ((2, 3), np.bool_, "2d", 1),
    ],
)
@pytest.mark.parametrize("fit", ["squeeze", "crop"])
def test_views_of_every_kind(shape, dtype, kind, views, fit):
    image = Image(array=(RNG.random(shape) * 200).astype(dtype), kind=kind)
    plain = ViewPreprocess(32, 24, fit=fit)(image)
    assert plain.shape == (views, 3, 32, 24)
    assert plain.dtype == np.uint8
    assert plain.flags.c_contiguous
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    scaled = ViewPreprocess(32, 24, fit=fit, mean=mean, std=std)(image)
    assert scaled.dtype == np.float32
    want = (plain / 255 - np.reshape(mean, (1, 3, 1, 1))) / np.reshape(std, (1, 3, 1, 1))
    close(scaled, want)


def test_squeeze_is_pillows_resize_and_alpha_is_dropped():
    rgba = RNG.integers(0, 256, (30, 60, 4), dtype=np.uint8)
    got = ViewPreprocess(20, 20)(Image(array=rgba))[0].transpose(1, 2, 0)
    want = Pillow.fromarray(rgba[..., :3]).resize((20, 20), Pillow.Resampling.BILINEAR)
    assert np.array_equal(got, np.asarray(want))


def test_sixteen_bits_are_windowed_not_cut():
    ramp = np.linspace(1000, 3000, 64 * 64).reshape(64, 64).astype(np.uint16)
    view = ViewPreprocess(64, 64)(Image(array=ramp))[0, 0]
    assert view.min() == 0
    assert view.max() == 255
    assert (np.diff(view.ravel().astype(int)) >= 0).all()
    assert len(np.unique(view)) > 200


def test_slices_are_spread_evenly_and_skip_the_ends():
    volume = np.zeros((40, 4, 4), np.uint8) + np.arange(40, dtype=np.uint8)[:, None, None]
    views = ViewPreprocess(4, 4, slices=4)(Image(array=volume, kind="3d"))
    assert views[:, 0, 0, 0].tolist() == [5, 15, 25, 35]
    views = ViewPreprocess(4, 4, slices=4)(Image(array=volume[:3], kind="3d"))
    assert views[:, 0, 0, 0].tolist() == [0, 1, 2]


@pytest.mark.parametrize("size", [(300, 200), (199, 317), (48, 48), (31, 90), (20, 23), (225, 224)])
def test_crop_is_clips_own(size):
    """Hugging Face's CLIPImageProcessor, on Pillow (no torchvision needed)."""
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    rgb = RNG.integers(0, 256, (*size, 3), dtype=np.uint8)
    official = CLIPImageProcessorPil(size={"shortest_edge": 48}, crop_size={"height": 40, "width": 40})
    want = np.asarray(official(Pillow.fromarray(rgb), return_tensors="np")["pixel_values"])
    ours = ViewPreprocess(
        40, 40, "crop", 48, "bicubic", mean=tuple(official.image_mean), std=tuple(official.image_std)
    )(Image(array=rgb))
    assert ours.shape == want.shape
    close(ours, want)


@pytest.mark.parametrize(("short", "out"), [(16, 40), (33, 40)])
def test_crop_wider_than_the_picture_is_padded_as_clip_does(short, out):
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    rgb = RNG.integers(0, 256, (60, 45, 3), dtype=np.uint8)
    official = CLIPImageProcessorPil(
        size={"shortest_edge": short},
        crop_size={"height": out, "width": out},
        image_mean=[0.0] * 3,
        image_std=[1.0] * 3,
    )
    want = np.asarray(official(Pillow.fromarray(rgb), return_tensors="np")["pixel_values"])
    ours = ViewPreprocess(out, out, "crop", short, "bicubic", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    close(ours(Image(array=rgb)), want)


OTHER = {
    "height": 200,
    "width": 100,
    "fit": "crop",
    "shortest": 300,
    "resample": "bicubic",
    "slices": 3,
    "mean": (0.5, 0.5, 0.6),
    "std": (0.5, 0.5, 0.6),
    "rescale": 1.0,
}


def test_the_fingerprint_covers_every_field():
    base = ViewPreprocess(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    assert set(OTHER) == {f.name for f in dataclasses.fields(base)}
    prints = [dataclasses.replace(base, **{name: value}).fingerprint for name, value in OTHER.items()]
    assert len({base.fingerprint, *prints}) == len(OTHER) + 1
    assert base.fingerprint == ViewPreprocess(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)).fingerprint


def test_it_travels_to_workers_and_into_files():
    p = ViewPreprocess(**OTHER)
    assert pickle.loads(pickle.dumps(p)) == p  # noqa: S301 # what multiprocessing does, with bytes made here
    assert ViewPreprocess.from_dict(json.loads(json.dumps(p.to_dict()))) == p


@pytest.mark.parametrize(
    "fields",
    [
        {"resample": "sharp"},
        {"fit": "stretch"},
        {"height": 0},
        {"slices": 0},
        {"mean": [0, 0, 0]},
        {"colour": "red"},
    ],
)
def test_preprocessing_that_makes_no_sense_is_refused(fields):
    with pytest.raises(BadInputError):
        ViewPreprocess.from_dict(fields)


def test_too_many_channels_are_refused():
    with pytest.raises(BadInputError, match="grey or RGB"):
        ViewPreprocess(8, 8)(Image(array=np.zeros((8, 8, 7), np.uint8)))


# --- pooling ---


class Toy(TowerEmbedder):
    """Two linear features of a view; counts what it is asked."""

    def __init__(self, batch_size=4):
        super().__init__("toy", "f" * 64, 5, ViewPreprocess(6, 6, slices=7), batch_size=batch_size)
        self.weight = np.random.default_rng(0).normal(size=(5, 3 * 36))
        self.batches, self.texts = [], []

    def _forward_views(self, views):
        self.batches.append(len(views))
        return (views.reshape(len(views), -1) / 255 @ self.weight.T).astype(np.float32)

    def _forward_texts(self, texts):
        self.texts += texts
        return np.asarray([[len(t), 1, 0, 0, ord(t[0])] for t in texts], np.float32)


def _volume(n):
    return RNG.integers(0, 256, (n, 6, 6), dtype=np.uint8)


def test_a_volumes_vector_is_the_mean_of_its_slices():
    toy, volume = Toy(), _volume(5)
    whole = toy.embed([Image(array=volume, kind="3d")])[0]
    views = np.repeat(volume[:, None], 3, 1).reshape(5, -1) / 255 @ toy.weight.T
    mean = (views / np.linalg.norm(views, axis=1, keepdims=True)).mean(0)
    close(whole, mean / np.linalg.norm(mean))
    shuffled = toy.embed([Image(array=volume[[3, 1, 4, 0, 2]], kind="3d")])[0]
    close(whole, shuffled)
    one, picture = toy.embed([Image(array=volume[:1], kind="3d"), Image(array=volume[0])])
    close(one, picture)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 64])
def test_batches_do_not_mix_images(batch_size):
    images = [Image(array=_volume(n), kind="3d") if n > 1 else Image(array=_volume(1)[0]) for n in (1, 5, 2, 7, 1, 1)]
    toy = Toy(batch_size)
    together = toy.embed(images)
    assert max(toy.batches) <= batch_size
    assert sum(toy.batches) == 17
    alone = np.concatenate([Toy().embed([i]) for i in images])
    close(together, alone)
    close(np.linalg.norm(together, axis=1), 1)
    assert together.dtype == np.float32
    assert Toy().embed([]).shape == (0, 5)


def test_each_text_is_computed_once():
    toy = Toy()
    a = toy.embed_text(["cat", "dog", "cat"])
    b = toy.embed_text(["dog", "horse"])
    assert toy.texts == ["cat", "dog", "horse"]
    close(a[0], a[2], REPEATED)
    close(a[1], b[0], REPEATED)
    close(np.linalg.norm(a, axis=1), 1)
    assert toy.embed_text([]).shape == (0, 5)


def test_few_texts_are_remembered_and_none_as_written(monkeypatch):
    monkeypatch.setattr("vesalius.models.embedding.TEXTS_KEPT", 3)
    toy = Toy()
    toy.embed_text(["a", "b", "c"])
    toy.embed_text(["a"])  # asked again: the last to go
    toy.embed_text(["d"])
    assert toy.texts == ["a", "b", "c", "d"]
    toy.embed_text(["a", "c", "d"])
    assert toy.texts == ["a", "b", "c", "d"]
    toy.embed_text(["b"])
    assert toy.texts == ["a", "b", "c", "d", "b"]
    assert len(toy._texts) == 3
    many = [f"query {i}" for i in range(9)]  # more at once than are kept
    assert np.array_equal(toy.embed_text(many + many), np.vstack([Toy().embed_text(many)] * 2))
    assert len(toy._texts) == 3
    assert not any(b"query" in key for key in toy._texts)


def test_no_text_tower_is_said():
    class Mute(Toy):
        _forward_texts = TowerEmbedder._forward_texts

    with pytest.raises(MissingError, match="no text tower"):
        Mute().embed_text(["x"])


@pytest.mark.parametrize("row", [[0, 0], [np.nan, 1], [np.inf, 1]])
def test_unusable_vectors_are_refused(row):
    with pytest.raises(BadInputError, match=r"toy, row 1"):
        unit(np.asarray([[1, 0], row]), "toy")


@pytest.mark.parametrize("resample", ["bilinear", "bicubic", "lanczos", "nearest", "box"])
@pytest.mark.parametrize("fit", ["squeeze", "crop"])
def test_grey_gives_what_three_equal_channels_give(resample, fit):
    grey = np.random.default_rng(0).integers(0, 256, (90, 131)).astype(np.uint8)
    preprocess = ViewPreprocess(48, 40, fit=fit, resample=resample)
    three = preprocess(Image(array=np.repeat(grey[..., None], 3, -1)))
    for same in (grey, grey[..., None]):
        np.testing.assert_array_equal(preprocess(Image(array=same)), three)
