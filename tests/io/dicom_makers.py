"""Files that pip brought, and makers of small DICOM objects."""

from __future__ import annotations

import importlib.util
import io
import tempfile
from pathlib import Path

import numpy as np
import pydicom

from vesalius.cases import Affine
from vesalius.io import write


def bundled() -> list[Path]:
    """DICOM files of pydicom and pydicom-data, by folder, never from the network."""
    folders = [Path(pydicom.__file__).parent / "data" / "test_files"]
    spec = importlib.util.find_spec("data_store")
    if spec is not None and spec.origin:
        folders.append(Path(spec.origin).parent / "data")
    return sorted(p for f in folders for p in f.glob("*.dcm"))


def dicom_bytes(ds: pydicom.Dataset) -> bytes:
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def jpeg_lossless(ds: pydicom.Dataset, selection_value: int = 1) -> pydicom.Dataset:
    """The same object with JPEG Lossless pixels (process 14), which GDCM writes and pydicom does not."""
    import gdcm

    syntax = gdcm.TransferSyntax
    kind = syntax.JPEGLosslessProcess14_1 if selection_value == 1 else syntax.JPEGLosslessProcess14
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.dcm"
        path.write_bytes(dicom_bytes(ds))
        reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
        reader.SetFileName(str(path))
        assert reader.Read()
        change.SetTransferSyntax(syntax(kind))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        writer.SetFileName(str(path))
        assert writer.Write()
        return pydicom.dcmread(io.BytesIO(path.read_bytes()))


def volume_series(n: int = 6, *, gap: float = 2.5, cosines=None, seed: str = "s", step=None) -> list[pydicom.Dataset]:
    """CT slices of 8 x 10 pixels; slice k holds the value k * 100."""
    row, column = np.array([1.0, 0, 0]), np.array([0, 1.0, 0])
    if cosines is not None:
        row, column = np.array(cosines[:3], float), np.array(cosines[3:], float)
    m = np.eye(4)
    m[:3, 0] = np.cross(row, column) * gap if step is None else step
    m[:3, 1], m[:3, 2] = column * 0.7, row * 0.5
    m[:3, 3] = (-10.0, 20.0, 30.0)
    array = np.zeros((n, 8, 10), np.int16) + (np.arange(n, dtype=np.int16) * 100)[:, None, None]
    return write.series(array, Affine(m), uid_seed=seed, intercept=-1024)


def save_all(datasets: list[pydicom.Dataset], folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for n, ds in enumerate(datasets):
        (folder / f"f{n:03d}.dcm").write_bytes(dicom_bytes(ds))
    return folder
