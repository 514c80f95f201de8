"""Cases read in child processes: the same values, in order, bad ones named, nothing left on the disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from vesalius.cases import Case, Image
from vesalius.errors import BadInputError, ResourceError, VesaliusError
from vesalius.io import Limits, decoded, hold


@pytest.fixture
def cases(tmp_path: Path) -> list[Case]:
    rng = np.random.default_rng(0)
    out = []
    for i in range(6):
        images = []
        for k in range(i % 3):  # none, one or two images
            name = f"{i}-{k}.png"
            Pillow.fromarray(rng.integers(0, 255, (20 + i, 30 + k), np.uint8)).save(tmp_path / name)
            images.append(Image(name, modality="DX", root=tmp_path))
        out.append(Case(f"c{i}", images=tuple(images)))
    volume = np.arange(24, dtype=">i2").reshape(2, 3, 4)
    out.insert(3, Case("memory", images=(Image(array=volume, kind="3d"), Image("2-0.png", root=tmp_path))))
    return out


def test_values_and_order_are_those_of_reading_here(cases: list[Case]) -> None:
    got = list(decoded(cases, workers=2))
    assert [c.id for c in got] == [c.id for c in cases]
    for case, was in zip(got, cases, strict=True):
        for image, before in zip(case.images, was.images, strict=True):
            assert image.array is not None
            assert image.modality == before.modality
            np.testing.assert_array_equal(image.array, before.pixels())


def test_a_case_with_an_unreadable_image_is_named_and_the_rest_goes_on(cases: list[Case], tmp_path: Path) -> None:
    (tmp_path / "2-1.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 40)
    (tmp_path / "4-0.png").unlink()
    refused: list[tuple[str, VesaliusError]] = []
    got = list(decoded(cases, workers=1, on_refused=lambda item, why: refused.append((item, why))))
    assert [item for item, _ in refused] == ["c2", "c4"]
    assert "2-1.png" in str(refused[0][1])
    assert [c.id for c in got] == ["c0", "c1", "memory", "c3", "c5"]
    with pytest.raises(BadInputError):
        list(decoded(cases, workers=1))


def test_a_picture_over_budget_is_refused(cases: list[Case]) -> None:
    refused: list[str] = []
    got = list(decoded(cases[1:2], workers=1, limits=Limits(max_pixels=100), on_refused=lambda i, _: refused.append(i)))
    assert refused == ["c1"]
    assert got == []


def test_held_values_outlive_the_file_and_take_no_name(cases: list[Case], tmp_path: Path, monkeypatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    got = hold(decoded(cases, workers=1))
    assert list(scratch.iterdir()) == []
    for case, was in zip(got, cases, strict=True):
        assert case.id == was.id
        for image, before in zip(case.images, was.images, strict=True):
            np.testing.assert_array_equal(image.pixels(), before.pixels())
            assert image.pixels().dtype == before.pixels().dtype
            assert not image.pixels().flags.writeable
    assert hold([]) == []
    monkeypatch.setattr("tempfile.tempdir", str(scratch / "gone"))
    with pytest.raises(ResourceError, match="TMPDIR"):
        hold(cases)
