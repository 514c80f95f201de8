"""Burned-in text with RapidOCR itself: drawn names, real ultrasound frames, pictures without any."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image, ImageDraw, ImageFont

from tests.io.dicom_makers import bundled, dicom_bytes
from vesalius.errors import BadInputError, MissingError
from vesalius.io import write
from vesalius.io.dicom import deid
from vesalius.io.ocr import text_in_array, text_in_dataset

KEY = "0123456789abcdef0123456789abcdef"
NAME = "QUINZEL HARLEEN 1979-05-02"

pytest.importorskip(
    "rapidocr_onnxruntime", reason="RapidOCR (the extra `ocr`) does not start here", exc_type=ImportError
)


def speckle() -> np.ndarray:
    return np.random.default_rng(0).normal(90, 25, (240, 400)).clip(0, 255).astype(np.uint8)


def signed(size: int) -> np.ndarray:
    picture = Image.fromarray(speckle())
    ImageDraw.Draw(picture).text((20, 15), NAME, font=ImageFont.load_default(size), fill=255)
    return np.asarray(picture)


def ultrasound(frames: np.ndarray) -> pydicom.Dataset:
    ds = write.secondary_capture(frames)
    ds.Modality = "US"
    ds.pop("BurnedInAnnotation", None)
    return ds


def test_speckle_is_not_text():
    assert text_in_array(speckle()) == 0


@pytest.mark.parametrize("size", [12, 20])
def test_a_name_is_seen(size):
    assert text_in_array(signed(size)) > 0


def test_deidentification_refuses_a_name_and_never_repeats_it():
    with pytest.raises(BadInputError, match="pixels show text") as refusal:
        deid.deidentify(ultrasound(signed(16)), KEY, burned_in="ocr")
    assert not any(word in str(refusal.value) for word in NAME.split())
    assert deid.deidentify(ultrasound(speckle()), KEY, burned_in="ocr").Modality == "US"


def test_text_of_an_inverted_picture_is_seen():
    ds = ultrasound(255 - signed(16))
    ds.PhotometricInterpretation = "MONOCHROME1"
    assert text_in_dataset(ds) > 0


@pytest.mark.parametrize("name", ["examples_palette.dcm", "examples_rgb_color.dcm", "US1_UNCR.dcm"])
def test_the_captions_of_real_ultrasound_are_seen(name):
    path = next((p for p in bundled() if p.name == name), None)
    if path is None:
        pytest.skip(f"pydicom-data did not bring {name}")
    assert text_in_dataset(pydicom.dcmread(path)) >= 10


def test_the_command_says_which_file_shows_text(tmp_path: Path):
    (tmp_path / "in").mkdir()
    for i, array in enumerate((speckle(), signed(16))):
        ds = ultrasound(array)
        ds.SOPInstanceUID = pydicom.uid.generate_uid(entropy_srcs=[str(i)])
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        (tmp_path / "in" / f"{i}.dcm").write_bytes(dicom_bytes(ds))
    (tmp_path / "key").write_text(KEY)
    done = subprocess.run(
        [sys.executable, "-m", "vesalius.cli.main", "data", "deid", tmp_path / "in", "--to", tmp_path / "out",
         "--key-file", tmp_path / "key", "--ocr"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "1.dcm" in done.stderr
    assert "QUINZEL" not in done.stdout + done.stderr
    assert len(list((tmp_path / "out").rglob("*.dcm"))) == 1


def test_a_package_that_does_not_start_is_told_from_one_that_is_missing(monkeypatch):
    class Broken:
        def find_spec(self, name, path=None, target=None):
            if name.startswith("rapidocr_onnxruntime"):
                raise ImportError("libGL.so.1: cannot open shared object file")

    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    for name in [m for m in sys.modules if m.startswith("rapidocr_onnxruntime")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(MissingError, match="libGL"):
        text_in_array(speckle())
