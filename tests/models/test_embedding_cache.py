"""Embeddings on disk: the second call does not encode, other pixels or models never find it, and it stays small."""

from __future__ import annotations

import os
import stat

import numpy as np
import pytest

from tests.models.fakes import FakeSegmenter
from vesalius.cases import Image
from vesalius.errors import UsageError
from vesalius.models.embedding_cache import EmbeddingCache, encode_once, look_of
from vesalius.models.protocols import EncodedImage, Segmenter


def picture(seed: int = 0, **meta: object) -> Image:
    return Image(array=np.random.default_rng(seed).integers(0, 255, (8, 9), np.uint8), meta=meta)


def volume() -> Image:
    return Image(array=np.random.default_rng(0).integers(0, 255, (3, 8, 9), np.uint8), kind="3d")


def test_the_fake_is_a_segmenter():
    model = FakeSegmenter()
    assert isinstance(model, Segmenter)
    assert isinstance(model.encode(picture()), EncodedImage)


def test_a_second_call_does_not_encode(tmp_path):
    model, again = FakeSegmenter(), FakeSegmenter()
    first = encode_once(model, picture(), cache=EmbeddingCache(tmp_path / "c"))
    second = encode_once(again, picture(), cache=EmbeddingCache(tmp_path / "c"))
    assert (model.encoded, again.encoded) == ([0], [])
    np.testing.assert_array_equal(first.picture, second.picture)
    assert second.size == (8, 9)


def test_what_changes_the_answer_is_encoded_again(tmp_path):
    cache = EmbeddingCache(tmp_path)
    for n, (model, image, index) in enumerate(
        [
            (FakeSegmenter(), picture(), 0),
            (FakeSegmenter(fingerprint="e" * 64), picture(), 0),
            (FakeSegmenter(), picture(1), 0),
            (FakeSegmenter(), picture(window=[[40, 400]]), 0),
            (FakeSegmenter(), volume(), 0),
            (FakeSegmenter(), volume(), 1),
        ],
        1,
    ):
        encode_once(model, image, index, cache=cache)
        assert model.encoded == [index]
        assert len(list(tmp_path.iterdir())) == n


def test_where_the_file_lies_does_not_matter(tmp_path):
    here, there = (Image(uri=f"{name}.npy", array=picture().array, sha256=name) for name in "ab")
    assert look_of(here) == look_of(there)


def test_a_damaged_or_swapped_file_is_encoded_again(tmp_path):
    cache = EmbeddingCache(tmp_path)
    cache.put("a", {"x": np.ones(3, np.float32)})
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    for bad in (b"", whole[:20], b"\xff" * 100, whole[:-4]):
        file.write_bytes(bad)
        assert cache.get("a") is None
        assert not file.exists()
    cache.put("b", {"x": np.zeros(3, np.float32)})
    (other,) = tmp_path.iterdir()
    other.rename(file)  # a file of another key under this key's name
    assert cache.get("a") is None


def test_it_keeps_to_its_budget_and_forgets_the_oldest(tmp_path):
    cache = EmbeddingCache(tmp_path, most=3000)
    for n in range(4):
        cache.put(f"k{n}", {"x": np.zeros(200, np.float32)})
        for m in range(n + 1):
            path = cache._path(f"k{m}")
            if path.exists():
                os.utime(path, (1000 + m, 1000 + m))
    assert cache.get("k0") is None
    assert cache.get("k1") is not None  # and is now the newest
    cache.put("k9", {"x": np.zeros(200, np.float32)})
    assert cache.get("k1") is not None
    assert cache.get("k2") is None
    assert sum(p.stat().st_size for p in tmp_path.iterdir()) <= 3000
    cache.put("huge", {"x": np.zeros(2000, np.float32)})
    assert cache.get("huge") is None
    assert cache.get("k9") is not None


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    cache = EmbeddingCache(tmp_path)

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(OSError, match="No space"):
        cache.put("a", {"x": np.zeros(3, np.float32)})
    assert list(tmp_path.iterdir()) == []


def test_only_the_owner_reads_it(tmp_path):
    cache = EmbeddingCache(tmp_path / "new")
    cache.put("../../escape", {"x": np.zeros(3, np.float32)})
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    (file,) = (tmp_path / "new").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert cache.get("../../escape") is not None


def test_a_file_is_no_cache(tmp_path):
    (tmp_path / "f").write_text("")
    with pytest.raises(UsageError, match="folder"):
        EmbeddingCache(tmp_path / "f")
    with pytest.raises(UsageError, match="no bytes"):
        EmbeddingCache(tmp_path / "g", most=0)
