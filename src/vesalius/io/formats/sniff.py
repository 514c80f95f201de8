"""What a file is, by its first bytes; names are looked at only where bytes cannot tell."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from vesalius.errors import BadInputError
from vesalius.io.formats.blob import Blob
from vesalius.io.formats.stream import inflate, open_regular
from vesalius.io.limits import Limits

HEAD = 1024
_RASTER = (
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",
    b"GIF87a",
    b"GIF89a",
    b"BM",
    b"\x00\x00\x00\x0cjP  ",
    b"\xff\x4f\xff\x51",
)
_TIFF = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_VIDEO = (b"\x1a\x45\xdf\xa3", b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3", b"\x30\x26\xb2\x75")
_STILL_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1")
_VRS = frozenset(
    b"AE AS AT CS DA DS DT FL FD IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV".split()
)
#: Formats that are recognised so that the refusal can say what to do.
_KNOWN_NOT_READ = (
    (b"NRRD", "NRRD", "convert it to NIfTI"),
    (b"ObjectType", "MetaImage", "convert it to NIfTI"),
    (b"%PDF", "PDF", "export its pictures as PNG"),
    (b"\x89HDF", "HDF5", "export arrays as .npy"),
    (b"\x80\x04", "a Python pickle", "it could run any code: export the array with numpy.save(allow_pickle=False)"),
    (b"\x80\x05", "a Python pickle", "it could run any code: export the array with numpy.save(allow_pickle=False)"),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it first"),
    (b"Rar!", "a RAR archive", "unpack it first"),
)


def sniff(head: bytes, blob: Blob, limits: Limits) -> str:
    """The format of a file: `dicom raster nifti npy npz zip tar video`.

    Args:
        head: The first `HEAD` bytes (fewer for a small file).
        blob: The file, for its name.
        limits: Budgets for looking into gzip.

    Raises:
        BadInputError: Empty, or not a format that is read.
    """
    if not head:
        raise BadInputError("cannot read", item=blob.name, why="the file is empty")
    if head[128:132] == b"DICM":
        return "dicom"
    if is_raster(head):
        return "raster"
    if _is_nifti(head) or _is_analyze(head):
        return "nifti"
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "npz" if blob.suffix == ".npz" else "zip"
    if head[257:262] == b"ustar" or head.startswith((b"BZh", b"\xfd7zXZ\x00")):
        return "tar"
    if head.startswith(b"\x1f\x8b"):
        inner = inflate(head, limits, blob.name, wbits=31, most=600)
        if _is_nifti(inner) or _is_analyze(inner):
            return "nifti"
        if inner[257:262] == b"ustar" or blob.suffix == ".tgz":
            return "tar"
        raise BadInputError(
            "cannot read",
            item=blob.name,
            why="it is a gzip of something that is not NIfTI or tar",
            fix="unpack it first",
        )
    is_movie = head[4:8] == b"ftyp" and head[8:12] not in _STILL_BRANDS
    if head.startswith(_VIDEO) or is_movie or (head[:4] == b"RIFF" and head[8:12] == b"AVI "):
        return "video"
    if _is_bare_dicom(head):
        return "dicom"
    for magic, name, fix in _KNOWN_NOT_READ:
        if head.startswith(magic):
            raise BadInputError("this format is not read", item=blob.name, why=f"it is {name}", fix=fix)
    why = "it holds nothing but a DICOM preamble" if not head.strip(b"\0") and len(head) >= 128 else ""
    raise BadInputError("not an image", item=blob.name, why=why or "its first bytes are of no format that is read")


def is_raster(head: bytes) -> bool:
    """True for the first bytes of a picture file; DICOM may hide one's magic bytes in its preamble."""
    picture = head.startswith(_RASTER + _TIFF) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
    return picture and head[128:132] != b"DICM"


def is_picture(path: Path) -> bool:
    """Whether a file is PNG, JPEG, TIFF or the like, which show without a header's help."""
    try:
        with open_regular(path, path.name) as stream:
            return is_raster(stream.read(HEAD))
    except (OSError, ValueError, BadInputError):
        return False


def _is_nifti(head: bytes) -> bool:
    return head[344:348] in (b"n+1\x00", b"ni1\x00") or head[4:8] in (b"n+2\x00", b"ni2\x00")


def _is_analyze(head: bytes) -> bool:
    """An Analyze 7.5 header: its size of 348 in either byte order, and 1 to 7 axes in the same."""
    orders: tuple[Literal["little", "big"], ...] = ("little", "big")
    for order in orders:
        if int.from_bytes(head[:4], order) == 348 and 1 <= int.from_bytes(head[40:42], order) <= 7:
            return len(head) >= 348
    return False


def _is_bare_dicom(head: bytes) -> bool:
    """A data set without the preamble starts with group 0002 or 0008, in tag order, with a likely first length."""
    if len(head) < 16 or head[:2] not in (b"\x02\x00", b"\x08\x00"):
        return False
    if head[4:6] in _VRS:
        return True
    return int.from_bytes(head[2:4], "little") < 0x0100 and int.from_bytes(head[4:8], "little") <= 256
