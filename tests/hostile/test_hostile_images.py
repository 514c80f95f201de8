"""Hostile and odd rasters, arrays, NIfTI, videos and sidecars: a correct read or a named error."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image as Pil

from vesalius.cases import Image
from vesalius.io import read, read_pixels
from vesalius.job import Job

READ, REFUSED, EITHER = "read", "refused", "either"


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb(width: int = 60_000, height: int = 60_000) -> bytes:
    packer = zlib.compressobj(9)
    idat = packer.compress(b"\0" * 2**20) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", head) + png_chunk(b"IDAT", idat) + png_chunk(b"IEND", b"")


def png_text_bomb() -> bytes:
    good = picture("PNG", np.zeros((4, 4), np.uint8))
    bomb = png_chunk(b"zTXt", b"k\0\0" + zlib.compress(b"\0" * 2**28, 9))
    return good[:33] + bomb + good[33:]


def picture(fmt: str, array: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    Pil.fromarray(array).save(buffer, fmt, **options)
    return buffer.getvalue()


def jpeg_bomb() -> bytes:
    data = bytearray(picture("JPEG", np.zeros((8, 8), np.uint8)))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    return bytes(data)


def tiff_bomb() -> bytes:
    tags = [(256, 4, 1, 200_000), (257, 4, 1, 200_000), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8),
            (277, 3, 1, 1), (278, 4, 1, 200_000), (279, 4, 1, 2**31)]  # fmt: skip
    body = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *t) for t in tags) + b"\0" * 4
    return b"II*\0" + struct.pack("<I", 8) + body


def tiff_loop() -> bytes:
    """A TIFF whose directory is followed by itself."""
    data = bytearray(picture("TIFF", np.zeros((4, 4), np.uint8)))
    first = struct.unpack("<I", data[4:8])[0]
    count = struct.unpack("<H", data[first : first + 2])[0]
    data[first + 2 + 12 * count : first + 6 + 12 * count] = struct.pack("<I", first)
    return bytes(data)


def npy(array: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def npy_header(text: str) -> bytes:
    raw = text.encode() + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(raw)) + raw


def npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def nifti(shape=(4, 5, 6), dtype=16, bits=32, *, vox_offset=352.0, size=None, **fields: float) -> bytearray:
    head = bytearray(352)
    struct.pack_into("<i", head, 0, 348)
    struct.pack_into("<8h", head, 40, len(shape), *shape, *([1] * (7 - len(shape))))
    struct.pack_into("<hh", head, 70, dtype, bits)
    struct.pack_into("<8f", head, 76, 1, 1, 1, 1, 1, 1, 1, 1)
    struct.pack_into("<f", head, 108, vox_offset)
    head[344:348] = b"n+1\0"
    struct.pack_into("<hh", head, 252, int(fields.get("q", 0)), int(fields.get("s", 1)))
    rows = np.eye(4)[:3] if "affine" not in fields else fields["affine"]
    struct.pack_into("<12f", head, 280, *np.asarray(rows, np.float32).ravel())
    struct.pack_into("<ff", head, 112, fields.get("slope", 0.0), fields.get("inter", 0.0))
    count = int(np.prod(shape)) * bits // 8 if size is None else size
    return head + bytes(count)


INPUTS = {
    "png bomb": ("a.png", png_bomb, REFUSED, "budget"),
    "png text bomb": ("a.png", png_text_bomb, EITHER, ""),
    "png cut off": (
        "a.png",
        lambda: picture("PNG", np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8))[:900],
        REFUSED,
        "",
    ),
    "jpeg bomb": ("a.jpg", jpeg_bomb, REFUSED, "budget"),
    "jpeg cut off": (
        "a.jpg",
        lambda: picture("JPEG", np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8))[:900],
        REFUSED,
        "",
    ),
    "tiff bomb": ("a.tif", tiff_bomb, REFUSED, "budget"),
    "tiff in a loop": ("a.tif", tiff_loop, EITHER, ""),
    "gif bomb": ("a.gif", lambda: b"GIF89a" + b"\xff" * 4 + b"\0\0\0" + b";", REFUSED, ""),
    "webp cut off": ("a.webp", lambda: picture("WEBP", np.zeros((64, 64, 3), np.uint8))[:40], REFUSED, ""),
    "jpeg 2000 nonsense": ("a.jp2", lambda: b"\0\0\0\x0cjP  \r\n\x87\n" + b"\xff" * 64, REFUSED, ""),
    "postscript": (
        "a.eps",
        lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        REFUSED,
        "no format that is read",
    ),
    "svg with script": ("a.svg", lambda: b"<svg><script>alert(1)</script></svg>", REFUSED, "no format that is read"),
    "1 x 1": ("a.png", lambda: picture("PNG", np.zeros((1, 1), np.uint8)), READ, ""),
    "1 x 100000": ("a.png", lambda: picture("PNG", np.zeros((1, 100_000), np.uint8)), READ, ""),
    "all zero": ("a.png", lambda: picture("PNG", np.zeros((9, 9), np.uint8)), READ, ""),
    "constant 16 bit": ("a.png", lambda: picture("PNG", np.full((9, 9), 700, np.uint16)), READ, ""),
    "npy nan and inf": ("a.npy", lambda: npy(np.array([[np.nan, np.inf], [-np.inf, 1.0]])), READ, ""),
    "npy all nan": ("a.npy", lambda: npy(np.full((3, 3), np.nan, np.float32)), READ, ""),
    "npy objects": ("a.npy", lambda: npy(np.array([{"a": 1}], object), allow_pickle=True), REFUSED, "plain numbers"),
    "npy text": ("a.npy", lambda: npy(np.array([["a", "b"]])), REFUSED, "plain numbers"),
    "npy complex": ("a.npy", lambda: npy(np.zeros((3, 3), complex)), REFUSED, "plain numbers"),
    "npy structured": ("a.npy", lambda: npy(np.zeros((3, 3), [("a", "f4")])), REFUSED, "plain numbers"),
    "npy one axis": ("a.npy", lambda: npy(np.zeros(9)), REFUSED, "not a picture"),
    "npy empty": ("a.npy", lambda: npy(np.zeros((0, 9))), REFUSED, "empty"),
    "npy huge header": (
        "a.npy",
        lambda: npy_header("{'descr': '<f8', 'fortran_order': False, 'shape': (4294967296, 4294967296)}"),
        REFUSED,
        "budget",
    ),
    "npy more than there is": (
        "a.npy",
        lambda: npy_header("{'descr': '<f8', 'fortran_order': False, 'shape': (999, 999)}"),
        REFUSED,
        "cut off",
    ),
    "npy negative": (
        "a.npy",
        lambda: npy_header("{'descr': '<f8', 'fortran_order': False, 'shape': (-5, 9)}"),
        REFUSED,
        "",
    ),
    "npy code in header": ("a.npy", lambda: npy_header("__import__('os').system('true')"), REFUSED, ""),
    "npy deep header": ("a.npy", lambda: npy_header("(" * 5000), REFUSED, ""),
    "npz objects": ("a.npz", lambda: npz(image=np.array([{"a": 1}, None], object)), REFUSED, "plain numbers"),
    "npz bomb": ("a.npz", lambda: npz(image=np.zeros((8192, 16384), np.uint8)), REFUSED, ""),
    "npz of many": ("a.npz", lambda: npz(first=np.zeros((3, 3)), second=np.zeros((3, 3))), REFUSED, "which array"),
    "npz that is none": ("a.npz", lambda: b"PK\3\4" + b"\xff" * 60, REFUSED, ""),
    "nifti good": ("a.nii", lambda: bytes(nifti()), READ, ""),
    "nifti cut off": ("a.nii", lambda: bytes(nifti(size=10)), REFUSED, "cut off"),
    "nifti header only": ("a.nii", lambda: bytes(nifti()[:348]), REFUSED, "cut off"),
    "nifti bomb": ("a.nii", lambda: bytes(nifti((32767, 32767, 32767), size=0)), REFUSED, "budget"),
    "nifti negative axis": ("a.nii", lambda: bytes(nifti((4, -5, 6), size=100)), REFUSED, "empty"),
    "nifti no axes": ("a.nii", lambda: bytes(nifti(())), REFUSED, ""),
    "nifti nine axes": ("a.nii", lambda: bytes(nifti()[:40]) + b"\x09\0" + bytes(nifti()[42:]), REFUSED, ""),
    "nifti unknown type": ("a.nii", lambda: bytes(nifti(dtype=77)), REFUSED, ""),
    "nifti complex": ("a.nii", lambda: bytes(nifti(dtype=32, bits=64)), REFUSED, "type"),
    "nifti offset before": ("a.nii", lambda: bytes(nifti(vox_offset=-1e6)), REFUSED, ""),
    "nifti offset nan": ("a.nii", lambda: bytes(nifti(vox_offset=float("nan"))), REFUSED, ""),
    "nifti bad affine": ("a.nii", lambda: bytes(nifti(affine=np.zeros((3, 4)))), READ, ""),
    "nifti affine of nan": ("a.nii", lambda: bytes(nifti(affine=np.full((3, 4), np.nan))), READ, ""),
    "nifti slope nan": ("a.nii", lambda: bytes(nifti(slope=float("nan"))), EITHER, ""),
    "nifti 4-D": ("a.nii", lambda: bytes(nifti((4, 5, 6, 3))), READ, ""),
    "nifti gz": ("a.nii.gz", lambda: gzip.compress(bytes(nifti())), READ, ""),
    "nifti gz bomb": ("a.nii.gz", lambda: gzip.compress(bytes(nifti()) + bytes(2**27)), REFUSED, "unpack"),
    "nifti gz cut off": ("a.nii.gz", lambda: gzip.compress(bytes(nifti()))[:-30], REFUSED, ""),
    "nifti gz damaged": ("a.nii.gz", lambda: gzip.compress(bytes(nifti()))[:20] + b"\xff" * 40, REFUSED, ""),
    "nrrd that points away": (
        "a.nrrd",
        lambda: b"NRRD0005\ntype: uchar\ndimension: 2\nsizes: 4 4\ndata file: ../../etc/passwd\n\n",
        REFUSED,
        "NRRD",
    ),
    "metaimage that points away": (
        "a.mha",
        lambda: b"ObjectType = Image\nElementDataFile = /etc/passwd\n",
        REFUSED,
        "MetaImage",
    ),
    "a pickle": ("a.pkl", lambda: b"\x80\x04cos\nsystem\n(S'true'\ntR.", REFUSED, "pickle"),
    "html": ("a.png", lambda: b"<html></html>", REFUSED, "no format that is read"),
    "mp4 nonsense": ("a.mp4", lambda: b"\0\0\0\x18ftypmp42" + b"\xff" * 200, REFUSED, ""),
    "avi nonsense": ("a.avi", lambda: b"RIFF\xff\xff\xff\xffAVI " + b"\xff" * 200, REFUSED, ""),
}


@pytest.mark.parametrize("name", INPUTS)
def test_hostile_file(name, tmp_path, outcome):
    file, make, ends, says = INPUTS[name]
    (tmp_path / file).write_bytes(make())
    found = outcome(tmp_path)
    if ends == READ:
        assert found["read"], found["refused"]
        assert not found["refused"]
    elif ends == REFUSED:
        assert found["refused"]
        assert not found["read"]
    else:
        assert found["read"] or found["refused"]
    assert says in " ".join(found["refused"])


SIDECARS = {
    "deep": ("[" * 100_000, "deep"),
    "same key twice": ('{"modality": "CT", "modality": "MR"}', "twice"),
    "not an object": ("[1]", "not an object"),
    "not json": ("{", "cannot read sidecar"),
    "too large": ('{"x": "' + "a" * 2**20 + '"}', "too large"),
    "labels of the wrong kind": ('{"labels": {"x": {"no": 1}}}', ""),
    "spacing of words": ('{"spacing": ["a", "b"]}', ""),
}


@pytest.mark.parametrize("name", SIDECARS)
def test_hostile_sidecar(name, tmp_path, outcome):
    text, says = SIDECARS[name]
    (tmp_path / "a.png").write_bytes(picture("PNG", np.zeros((4, 4), np.uint8)))
    (tmp_path / "a.json").write_text(text)
    found = outcome(tmp_path)
    assert found["refused"]
    assert says in " ".join(found["refused"])


def test_sidecar_facts_arrive(tmp_path):
    (tmp_path / "a.png").write_bytes(picture("PNG", np.zeros((4, 4), np.uint8)))
    side = {
        "modality": "dx",
        "view": "PA",
        "labels": {"effusion": 1},
        "age": 61,
        "patient": "MRN1",
        "report": {"findings": "clear"},
    }
    (tmp_path / "a.json").write_text(json.dumps(side))
    (case,) = read(tmp_path, Job(workers=0))
    assert (case.images[0].modality, case.images[0].view) == ("DX", "PA")
    assert case.label("effusion") == 1
    assert case.report.findings == "clear"
    assert case.attributes == {"age": 61}
    assert case.patient
    assert "MRN1" not in json.dumps(case.to_dict())


def values(path) -> np.ndarray:
    return read_pixels(Image(uri=str(path)))


def test_sixteen_bits_are_kept(tmp_path):
    array = np.arange(70_000, dtype=np.uint32).reshape(250, 280).astype(np.uint16)
    (tmp_path / "a.png").write_bytes(picture("PNG", array))
    (tmp_path / "a.tif").write_bytes(picture("TIFF", array))
    np.testing.assert_array_equal(values(tmp_path / "a.png"), array)
    np.testing.assert_array_equal(values(tmp_path / "a.tif"), array)


@pytest.mark.parametrize(("orientation", "turn"), [
    (1, lambda a: a), (2, np.fliplr), (3, lambda a: np.rot90(a, 2)), (4, np.flipud),
    (5, lambda a: np.swapaxes(a, 0, 1)),
    (6, lambda a: np.rot90(a, -1)),
    (7, lambda a: np.swapaxes(np.rot90(a, 2), 0, 1)),
    (8, lambda a: np.rot90(a, 1)),
])  # fmt: skip
def test_exif_orientation_is_applied(tmp_path, orientation, turn):
    array = np.random.default_rng(1).integers(0, 255, (6, 9, 3), np.uint8)
    exif = Pil.Exif()
    exif[0x0112] = orientation
    Pil.fromarray(array).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(values(tmp_path / "a.png"), turn(array))
    (case,) = read(tmp_path, Job(workers=0))
    assert case.images[0].shape == turn(array).shape


def test_cmyk_becomes_rgb(tmp_path):
    Pil.new("CMYK", (5, 4), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=95)
    array = values(tmp_path / "a.jpg")
    assert array.shape == (4, 5, 3)
    assert array[..., 0].min() > 200
    assert array[..., 1:].max() < 60


def test_palette_with_alpha_is_shown_on_black(tmp_path):
    pic = Pil.new("P", (2, 1))
    pic.putpalette([255, 0, 0, 0, 255, 0])
    pic.putdata([0, 1])
    pic.save(tmp_path / "a.png", transparency=0)
    np.testing.assert_array_equal(values(tmp_path / "a.png"), [[[0, 0, 0], [0, 255, 0]]])


@pytest.mark.parametrize("fmt", ["gif", "webp", "png"])
def test_animations_are_videos(tmp_path, fmt):
    frames = [Pil.new("RGB", (8, 6), (c, 0, 0)) for c in (10, 120, 250)]
    frames[0].save(
        tmp_path / f"a.{fmt}",
        save_all=True,
        append_images=frames[1:],
        duration=40,
        **({"lossless": True} if fmt == "webp" else {}),
    )
    (case,) = read(tmp_path, Job(workers=0))
    image = case.images[0]
    assert image.kind == "video"
    array = image.pixels()
    assert array.shape == image.shape == (3, 6, 8, 3)
    np.testing.assert_allclose(array[:, 0, 0, 0], (10, 120, 250), atol=3)


def test_tiff_pages_are_slices(tmp_path):
    pages = [Pil.fromarray(np.full((5, 7), n * 300, np.uint16)) for n in range(4)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    (case,) = read(tmp_path, Job(workers=0))
    image = case.images[0]
    assert (image.kind, image.shape) == ("3d", (4, 5, 7))
    np.testing.assert_array_equal(image.pixels()[:, 0, 0], [0, 300, 600, 900])


@pytest.mark.parametrize(("shape", "expected", "kind"), [
    ((3, 20, 30), (20, 30, 3), "2d"), ((20, 30, 3), (20, 30, 3), "2d"), ((1, 20, 30), (20, 30, 1), "2d"),
    ((9, 20, 30), (9, 20, 30), "3d"), ((9, 20, 30, 3), (9, 20, 30, 3), "3d"), ((3, 9, 20, 30), (9, 20, 30, 3), "3d"),
])  # fmt: skip
def test_channel_first_arrays_are_turned(tmp_path, shape, expected, kind):
    array = np.random.default_rng(2).normal(size=shape)
    np.savez(tmp_path / "a.npz", image=array)
    (case,) = read(tmp_path, Job(workers=0))
    image = case.images[0]
    assert (image.shape, image.kind) == (expected, kind)
    got = image.pixels()
    assert got.shape == expected
    np.testing.assert_array_equal(np.sort(got.ravel()), np.sort(array.ravel()))
    if shape != expected:
        np.testing.assert_array_equal(got, np.moveaxis(array, 0, -1))


def test_a_npz_with_a_forged_size_is_refused(tmp_path, outcome):
    good = npz(image=np.zeros((600, 600), np.uint8))
    with zipfile.ZipFile(io.BytesIO(good)) as z:
        offset = z.infolist()[0].header_offset
    data = bytearray(good)
    central = data.rindex(b"PK\1\2")
    data[central + 24 : central + 28] = struct.pack("<I", 50)
    assert offset == 0
    (tmp_path / "a.npz").write_bytes(bytes(data))
    found = outcome(tmp_path)
    assert found["refused"]
    assert not found["read"]
