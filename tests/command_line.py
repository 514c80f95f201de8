"""A folder of drawn pictures, real DICOM files and junk, and a way to run the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from vesalius.cli.main import main


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]):
    """Run a command line in this process: (exit code, stdout, stderr)."""

    def call(*args: object) -> tuple[int, str, str]:
        code = main([str(a) for a in args])
        got = capsys.readouterr()
        return code, got.out, got.err

    return call


@pytest.fixture
def run_json(run):
    """Run with `--json`: (exit code, the object)."""

    def call(*args: object) -> tuple[int, dict]:
        code, out, _ = run(*args, "--json", "--quiet")
        return code, json.loads(out)

    return call


def draw(folder: Path, n: int = 12, seed: int = 0) -> None:
    """Discs (class 'disc') and stripes (class 'stripes') as folder-per-class pictures."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:64, :64]
    for i in range(n):
        cx, cy, r = rng.integers(20, 44), rng.integers(20, 44), rng.integers(8, 18)
        disc = np.where((x - cx) ** 2 + (y - cy) ** 2 < r * r, 210, 40) + rng.normal(0, 8, (64, 64))
        stripes = 120 + 90 * np.sin((x + i) / rng.uniform(2, 4)) + rng.normal(0, 8, (64, 64))
        for name, picture in (("disc", disc), ("stripes", stripes)):
            (folder / name).mkdir(parents=True, exist_ok=True)
            Pillow.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(folder / name / f"{i}.png")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve discs and twelve stripes, a folder each."""
    folder = tmp_path_factory.mktemp("pictures")
    draw(folder)
    return folder


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DICOM, NIfTI, PNG and three kinds of junk in one folder."""
    import nibabel
    from pydicom.data import get_testdata_file

    folder = tmp_path_factory.mktemp("mixed")
    for name in ("CT_small.dcm", "examples_overlay.dcm"):
        shutil.copy(get_testdata_file(name), folder / name)
    volume = np.random.default_rng(0).normal(100, 20, (12, 14, 10)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(volume, np.diag([1, 1, 2, 1])), folder / "volume.nii.gz")
    Pillow.fromarray(np.arange(64 * 48, dtype=np.uint16).reshape(48, 64)).save(folder / "deep.png")
    (folder / "notes.txt").write_text("not an image")
    (folder / "empty.dcm").write_bytes(b"")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 40)
    return folder
