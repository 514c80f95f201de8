"""Archives that want out, want more, or lie: refused whole, by name, with nothing left on disk."""

from __future__ import annotations

import io
import stat
import struct
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image as Pil

from tests.hostile.examine import LIMITS
from vesalius.errors import BadInputError, UnsafeInputError, UsageError
from vesalius.io import Limits, safe_extract
from vesalius.job import Job


def picture(n: int = 0) -> bytes:
    buffer = io.BytesIO()
    Pil.fromarray(np.full((6, 5), n, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def zipped(*members: tuple[str, bytes], packing: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", packing) as z:
        for name, data in members:
            z.writestr(name, data)
    return buffer.getvalue()


def zip_with(info: zipfile.ZipInfo, data: bytes = b"x") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as z:
        z.writestr("good.png", picture())
        z.writestr(info, data)
    return buffer.getvalue()


def zip_link() -> bytes:
    info = zipfile.ZipInfo("link")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return zip_with(info, b"/etc/passwd")


def zip_device() -> bytes:
    info = zipfile.ZipInfo("device")
    info.create_system, info.external_attr = 3, (stat.S_IFCHR | 0o666) << 16
    return zip_with(info)


def zip_encrypted() -> bytes:
    data = bytearray(zipped(("a.png", picture()), packing=zipfile.ZIP_STORED))
    data[6] |= 1
    data[data.rindex(b"PK\1\2") + 8] |= 1
    return bytes(data)


def zip_forged_small() -> bytes:
    """Says that the member is 50 bytes; it is half a megabyte."""
    data = bytearray(zipped(("a.bin", bytes(500_000))))
    for at, field in ((0, 22), (data.rindex(b"PK\1\2"), 24)):
        data[at + field : at + field + 4] = struct.pack("<I", 50)
    return bytes(data)


def zip_nul_name() -> bytes:
    return zipped(("a.png?/../../x", b"x")).replace(b"a.png?", b"a.png\0")


def zip_overlap() -> bytes:
    """Two thousand directory entries that all point at one member (the way of the newer bombs)."""
    data = zipped(("a.bin", bytes(2**20)))
    at = data.rindex(b"PK\1\2")
    end = data.rindex(b"PK\5\6")
    entry = data[at:end]
    entries = b"".join(entry.replace(b"a.bin", b"%05d" % n) for n in range(1500))
    tail = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 1500, 1500, len(entries), at, 0)
    return data[:at] + entries + tail


def zip_million() -> bytes:
    """A directory of a million entries in 46 MB of nothing."""
    entry = struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    entries = entry * 1_000_000
    return b"PK\3\4" + entries + struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, len(entries), 4, 0)


def tarred(*members: tuple[tarfile.TarInfo, bytes], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as t:
        for info, data in members:
            info.size = len(data)
            t.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def tar_of(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", data: bytes = b"x") -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return tarred((tarfile.TarInfo("good.png"), picture()), (info, data if kind == tarfile.REGTYPE else b""))


def tar_forged() -> bytes:
    data = bytearray(tar_of("a.bin", data=b"y" * 600))
    data[512 * 2 + 124 : 512 * 2 + 136] = b"77777777777\0"
    head = data[1024:1536]
    head[148:156] = b" " * 8
    data[1024 + 148 : 1024 + 156] = b"%06o\0 " % sum(head)
    return bytes(data)


BOMB = bytes(2**26)
INPUTS = {
    "zip slip": (lambda: zipped(("good.png", picture()), ("../evil.png", picture())), "out of its folder"),
    "zip absolute": (lambda: zipped(("/srv/evil.png", picture())), "out of its folder"),
    "zip drive": (lambda: zipped(("C:/evil.png", picture())), "out of its folder"),
    "zip backslash": (lambda: zipped(("..\\evil.png", picture())), "out of its folder"),
    "zip deep slip": (lambda: zipped(("a/b/../../../evil.png", picture())), "out of its folder"),
    "zip zero byte in a name": (zip_nul_name, "out of its folder"),
    "zip long name": (lambda: zipped(("a" * 300, b"x")), "out of its folder"),
    "zip link": (zip_link, "link or device"),
    "zip device": (zip_device, "link or device"),
    "zip encrypted": (zip_encrypted, "encrypted"),
    "zip names twice": (lambda: zipped(("a.png", picture()), ("A.PNG", picture(1))), "two files of one name"),
    "zip bomb": (lambda: zipped(("a.bin", BOMB)), "unpack"),
    "zip many": (lambda: zipped(*((f"{n}", b"") for n in range(2001)), packing=zipfile.ZIP_STORED), "too many files"),
    "zip million": (zip_million, "too many files"),
    "zip overlapping": (zip_overlap, ""),
    "zip forged size": (zip_forged_small, ""),
    "zip cut off": (lambda: zipped(("a.png", picture()))[:-30], ""),
    "zip empty": (lambda: zipped(), "empty"),
    "zip in a zip": (lambda: zipped(("inner.zip", zipped(("a.png", picture())))), "archive within an archive"),
    "tar slip": (lambda: tar_of("../evil"), "out of its folder"),
    "tar absolute": (lambda: tar_of("/srv/evil"), "out of its folder"),
    "tar symlink": (lambda: tar_of("l", tarfile.SYMTYPE, "/etc/passwd"), "link or device"),
    "tar hard link": (lambda: tar_of("l", tarfile.LNKTYPE, "good.png"), "link or device"),
    "tar device": (lambda: tar_of("d", tarfile.CHRTYPE), "link or device"),
    "tar pipe": (lambda: tar_of("d", tarfile.FIFOTYPE), "link or device"),
    "tar names twice": (lambda: tar_of("GOOD.png"), "two files of one name"),
    "tar gz bomb": (lambda: tarred((tarfile.TarInfo("a"), BOMB), mode="w:gz"), "unpack"),
    "tar xz bomb": (lambda: tarred((tarfile.TarInfo("a"), BOMB), mode="w:xz"), "unpack"),
    "tar bz2 bomb": (lambda: tarred((tarfile.TarInfo("a"), BOMB), mode="w:bz2"), "unpack"),
    "tar forged size": (tar_forged, ""),
    "tar many": (lambda: tarred(*((tarfile.TarInfo(f"{n}"), b"") for n in range(2001))), "too many files"),
    "tar gz cut off": (
        lambda: tarred((tarfile.TarInfo("a.png"), np.random.default_rng(0).bytes(9000)), mode="w:gz")[:-4000],
        "",
    ),
    "bz2 nonsense": (lambda: b"BZh9" + b"\xff" * 100, ""),
    "xz nonsense": (lambda: b"\xfd7zXZ\0" + b"\xff" * 100, ""),
}
#: Refused only when members are read, or only by the reader of cases.
NOT_BY_EXTRACT = {"zip empty", "zip in a zip"}
#: An archive whose other members are still readable.
PARTLY = {"zip forged size", "zip in a zip"}


@pytest.mark.parametrize("name", INPUTS)
def test_reader_refuses(name, tmp_path, outcome):
    make, says = INPUTS[name]
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "hostile.bin").write_bytes(make())
    found = outcome(folder)
    assert found["refused"]
    assert not found["read"]
    assert says in " ".join(found["refused"])
    assert [p.name for p in tmp_path.iterdir()] == ["in"], "nothing may land outside"


@pytest.mark.parametrize("name", sorted(set(INPUTS) - NOT_BY_EXTRACT))
def test_extract_refuses_and_leaves_nothing(name, tmp_path):
    make, _ = INPUTS[name]
    (tmp_path / "hostile.bin").write_bytes(make())
    with pytest.raises(BadInputError):
        safe_extract(tmp_path / "hostile.bin", tmp_path / "out", LIMITS)
    assert list((tmp_path / "out").iterdir()) == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["hostile.bin", "out"]


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.xz", "tar.bz2"])
def test_good_archives_are_extracted_and_read(kind, tmp_path, outcome):
    members = [("a.png", picture(1)), ("deep/er/b.png", picture(2)), ("notes.txt", b"hello")]
    if kind == "zip":
        data = zipped(*members)
    else:
        data = tarred(*((tarfile.TarInfo(n), d) for n, d in members), mode="w:" + kind.partition(".")[2])
    (tmp_path / "in").mkdir()
    archive = tmp_path / "in" / f"x.{kind}"
    archive.write_bytes(data)
    found = outcome(tmp_path / "in")
    assert len(found["read"]) == 2
    assert len(found["refused"]) == 1
    assert "notes.txt" in found["refused"][0]
    written = safe_extract(archive, tmp_path / "out")
    assert [p.relative_to(tmp_path / "out").as_posix() for p in written] == [n for n, _ in members]
    assert [p.read_bytes() for p in written] == [d for _, d in members]
    with pytest.raises(UsageError, match="overwrite"):
        safe_extract(archive, tmp_path / "out")


def test_a_series_in_a_zip_is_a_volume(tmp_path):
    from tests.hostile.dicom_inputs import saved
    from tests.hostile.test_hostile_dicom import slices
    from vesalius.io import read

    made = slices(4)
    for n, ds in enumerate(made):
        ds.PixelData = np.full(64, n, "<i2").tobytes()
    (tmp_path / "s.zip").write_bytes(zipped(*((f"{3 - n}.dcm", saved(ds)) for n, ds in enumerate(made))))
    (case,) = read(tmp_path / "s.zip", Job(workers=1))
    array = case.images[0].pixels()
    assert array.shape == (4, 8, 8)
    np.testing.assert_array_equal(array[:, 0, 0], range(4))


def test_the_byte_budget_is_for_the_whole_archive(tmp_path):
    data = zipped(*((f"{n}.bin", np.random.default_rng(n).bytes(1000)) for n in range(20)))
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(UnsafeInputError, match="byte budget"):
        safe_extract(tmp_path / "a.zip", tmp_path / "out", Limits(max_bytes=15_000))
