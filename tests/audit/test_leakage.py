"""Leakage: planted copies are found, different pictures are not, and brute force agrees."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as Pillow

from tests.tolerance import FLOAT32
from vesalius.audit.leakage import leakage, near_pairs, thumbnail
from vesalius.cases import Case, Image
from vesalius.errors import UsageError


def smooth(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    small = Pillow.fromarray(rng.integers(0, 256, (9, 9), dtype=np.uint8))
    return np.asarray(small.resize((96, 80), Pillow.Resampling.BICUBIC))


def case(name: str, array: np.ndarray, patient: str = "") -> Case:
    return Case(name, patient=patient, images=(Image(array=array),))


def test_each_kind_of_leak_is_found_once() -> None:
    base = [smooth(i) for i in range(30)]
    noisy = np.clip(base[1].astype(int) + np.random.default_rng(0).normal(0, 6, base[1].shape), 0, 255).astype(np.uint8)
    rescaled = np.asarray(Pillow.fromarray((base[2] * 0.8 + 20).astype(np.uint8)).resize((128, 96)))
    train = [case(f"t{i}", x, f"P{i}") for i, x in enumerate(base)]
    test = [
        case("copy", base[0].copy()),
        case("noisy", noisy),
        case("rescaled", rescaled),
        case("mirrored", np.ascontiguousarray(base[3][:, ::-1])),
        case("same-patient", smooth(99), "P7"),
        case("other", smooth(100)),
    ]
    found = {(x.kind, x.a, x.b) for x in leakage({"train": train, "test": test})}
    assert found == {
        ("patient", "same-patient", "t7"),
        ("exact", "t0", "copy"),
        ("near", "t1", "noisy"),
        ("near", "t2", "rescaled"),
        ("near", "t3", "mirrored"),
    }
    mirrored = next(x for x in leakage({"train": train, "test": test}) if x.b == "mirrored")
    assert mirrored.flipped
    assert mirrored.to_dict()["parts"] == ["train", "test"]


def test_copies_within_one_part_are_no_leak() -> None:
    a = smooth(0)
    assert leakage({"train": [case("a", a), case("b", a)], "test": [case("c", smooth(1))]}) == ()
    with pytest.raises(UsageError):
        leakage({"train": []})


def test_near_pairs_is_brute_force() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(70, 16)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    got = {(i, j) for i, j, _ in near_pairs(x, x, 0.3, block=16)}
    assert got == {(i, j) for i in range(70) for j in range(70) if float(x[i] @ x[j]) >= 0.3}


def test_thumbnails_of_any_image() -> None:
    rng = np.random.default_rng(0)
    for shape in ((40, 30), (40, 30, 3), (5, 40, 30), (5, 40, 30, 3)):
        t = thumbnail(rng.integers(0, 255, shape).astype(np.int16))
        assert t is not None
        assert np.linalg.norm(t) == pytest.approx(1, rel=FLOAT32)
    assert thumbnail(np.full((8, 8), 7)) is None
    a = smooth(4).astype(float)
    assert float(thumbnail(a) @ thumbnail(3 * a + 50)) == pytest.approx(1, rel=FLOAT32)
