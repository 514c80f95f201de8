"""Held values: read once, mapped from a file that has no name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from vesalius.cases import Case, Image
from vesalius.errors import ResourceError
from vesalius.io import decoded, hold
from vesalius.job import Job


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


def test_held_values_outlive_the_file_and_take_no_name(cases: list[Case], tmp_path: Path, monkeypatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    got = hold(decoded(cases, Job(workers=1)))
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
