"""Every hostile DICOM input ends in a named error or a correct read, in bounded time and memory."""

from __future__ import annotations

import os
import threading
import time

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from tests.hostile.dicom_inputs import EITHER, INPUTS, READ, REFUSED, element, plain, raw, saved
from vesalius.errors import BadInputError
from vesalius.io import read, write
from vesalius.io.dicom import deid
from vesalius.job import Job

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


@pytest.mark.parametrize("name", sorted(INPUTS))
def test_hostile_file(name, tmp_path, outcome):
    make, ends, says = INPUTS[name]
    (tmp_path / "hostile.dcm").write_bytes(make())
    found = outcome(tmp_path)
    if ends == READ:
        assert found["read"], found["refused"]
        assert not found["refused"]
    elif ends == REFUSED:
        assert found["refused"]
        assert not found["read"]
    else:
        assert ends == EITHER
        assert found["read"] or found["refused"]
    assert says in " ".join(found["refused"])
    assert not any("Error: Error" in r or "Traceback" in r for r in found["refused"])
    text = " ".join(found["text"] + found["refused"])
    assert not any(
        word in text for word in ("SECRET", "<script", "=cmd", "HYPERLINK", "passwd", "Yamada", "Someone", "王")
    )


@pytest.mark.parametrize("part", range(1, 64))
def test_truncated_at_every_64th(part, tmp_path, outcome):
    data = saved(plain())
    (tmp_path / "cut.dcm").write_bytes(data[: len(data) * part // 64])
    found = outcome(tmp_path)
    assert found["refused"]
    assert not found["read"]


@pytest.mark.parametrize(
    "entry", [["..", "..", "ETC", "PASSWD"], ["..\\..\\ETC"], ["/ETC/PASSWD"], ["C:", "X"], ["IM\0G"], ["GONE"]]
)
def test_dicomdir_never_leads_out(entry, tmp_path, outcome):
    inside = tmp_path / "disc"
    inside.mkdir()
    (tmp_path / "ETC").mkdir()
    (tmp_path / "ETC" / "PASSWD").write_bytes(saved(plain()))
    (inside / "GOOD").write_bytes(saved(plain()))
    records = b""
    for parts in (entry, ["GOOD"]):
        text = "\\".join(parts).encode()
        item = element(0x00041430, b"CS", b"IMAGE ") + element(0x00041500, b"CS", text + b" " * (len(text) % 2))
        records += b"\xfe\xff\x00\xe0" + len(item).to_bytes(4, "little") + item
    (inside / "DICOMDIR").write_bytes(raw(element(0x00041220, b"SQ", records)))
    found = outcome(inside / "DICOMDIR")
    assert len(found["read"]) == 1, "the good entry is read"
    assert any("DICOMDIR names a file" in r for r in found["refused"])


def test_one_uid_for_two_pictures(tmp_path, outcome):
    (tmp_path / "a.dcm").write_bytes(saved(plain()))
    other = plain()
    other.PixelData = b"\7\0" * 192
    (tmp_path / "b.dcm").write_bytes(saved(other))
    found = outcome(tmp_path)
    assert len(found["read"]) == 1
    assert any("same UID and other content" in r for r in found["refused"])


def slices(n: int) -> list[Dataset]:
    from vesalius.cases import Affine

    array = np.zeros((n, 8, 8), np.int16)
    return write.series(array, Affine.from_spacing((2, 1, 1)), uid_seed="hostile-series")


SERIES = {
    "missing slice": (lambda s: s.pop(2), "missing slices: 1 after slice 2"),
    "gantry tilt": (
        lambda s: [setattr(d, "ImagePositionPatient", [0, n, 2 * n]) for n, d in enumerate(s)],
        "gantry tilt",
    ),
    "wrong SpacingBetweenSlices": (
        lambda s: [setattr(d, "SpacingBetweenSlices", 9) for d in s],
        "SpacingBetweenSlices",
    ),
    "mixed orientation": (
        lambda s: [setattr(d, "ImageOrientationPatient", [1, 0, 0, 0, 0, -1]) for d in s[3:]],
        "split into 2 parts",
    ),
    "mixed sizes": (
        lambda s: [(setattr(d, "Rows", 4), setattr(d, "PixelData", b"\0" * 64)) for d in s[3:]],
        "split into 2 parts",
    ),
    "mixed frames of reference": (
        lambda s: [setattr(d, "FrameOfReferenceUID", "1.2") for d in s[3:]],
        "split into 2 parts",
    ),
    "localiser": (lambda s: setattr(s[0], "ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"]), "localiser"),
    "orientation that is none": (
        lambda s: [setattr(d, "ImageOrientationPatient", [0, 0, 0, 0, 0, 0]) for d in s],
        "perpendicular unit vectors",
    ),
    "spacing 0": (lambda s: [setattr(d, "PixelSpacing", [0, 0]) for d in s], "pixel spacing is not positive"),
}


@pytest.mark.parametrize("name", SERIES)
def test_series_faults_are_named(name, tmp_path, outcome):
    change, says = SERIES[name]
    made = slices(6)
    change(made)
    for n, ds in enumerate(made):
        (tmp_path / f"{n}.dcm").write_bytes(saved(ds))
    found = outcome(tmp_path)
    assert found["read"]
    assert says in " ".join(found["text"])


def test_two_slices_at_one_place_are_refused(tmp_path, outcome):
    made = slices(5)
    made[3].ImagePositionPatient = made[2].ImagePositionPatient
    for n, ds in enumerate(made):
        (tmp_path / f"{n}.dcm").write_bytes(saved(ds))
    found = outcome(tmp_path)
    assert not found["read"]
    assert len(found["refused"]) == 5
    assert "one position" in found["refused"][0]


def test_special_files_are_passed_over(tmp_path, outcome):
    (tmp_path / "good.dcm").write_bytes(saved(plain()))
    (tmp_path / "folder.dcm").mkdir()
    (tmp_path / "folder.dcm" / "notes.txt").write_text("no image")
    os.mkfifo(tmp_path / "pipe.dcm")
    (tmp_path / "device.dcm").symlink_to("/dev/zero")
    (tmp_path / "loop.dcm").symlink_to(tmp_path / "loop.dcm")
    (tmp_path / "dangling.dcm").symlink_to(tmp_path / "nowhere.dcm")
    (tmp_path / "around").symlink_to(tmp_path)
    found = outcome(tmp_path)
    assert len(found["read"]) == 1
    refused = "\n".join(found["refused"])
    for name in ("pipe.dcm", "device.dcm", "loop.dcm", "dangling.dcm", "around", "folder.dcm/notes.txt"):
        assert name in refused


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_named(tmp_path, outcome):
    (tmp_path / "closed.dcm").write_bytes(saved(plain()))
    (tmp_path / "closed.dcm").chmod(0)
    assert "permission" in outcome(tmp_path)["refused"][0]


def test_a_file_that_vanishes_is_named(tmp_path):
    (tmp_path / "a.dcm").write_bytes(saved(plain()))
    cases = read(tmp_path, Job(workers=0))
    image = cases[0].images[0]
    (tmp_path / "a.dcm").unlink()
    with pytest.raises(Exception, match="gone") as caught:
        image.pixels()
    assert type(caught.value).__name__ == "MissingError"


def test_a_file_that_grows_is_read_or_named(tmp_path, outcome):
    path = tmp_path / "grows.dcm"
    data = saved(plain())
    path.write_bytes(data[:300])
    stop = threading.Event()

    def grow() -> None:
        at = 300
        while at < len(data) and not stop.is_set():
            with path.open("ab") as f:
                f.write(data[at : at + 20])
            at += 20
            time.sleep(0.001)

    writer = threading.Thread(target=grow)
    writer.start()
    found = outcome(tmp_path)
    stop.set()
    writer.join()
    assert found["read"] or found["refused"]


def test_names_that_differ_in_case_only(tmp_path, outcome):
    (tmp_path / "A.dcm").write_bytes(saved(plain()))
    (tmp_path / "a.dcm").write_bytes(saved(plain(SOPInstanceUID="1.2.3.4")))
    found = outcome(tmp_path)
    assert len(found["read"]) == len(list(tmp_path.iterdir()))


def test_pixels_inside_a_sequence_survive_deidentification_or_are_refused(tmp_path):
    (tmp_path / "in.dcm").write_bytes(INPUTS["26 encapsulated pixels inside a sequence"][0]())
    try:
        out = deid.deidentify_file(tmp_path / "in.dcm", tmp_path / "out", b"0123456789abcdef", burned_in="keep")
    except BadInputError:
        assert not (tmp_path / "out").exists()
        return
    import pydicom

    before, after = pydicom.dcmread(tmp_path / "in.dcm"), pydicom.dcmread(out)
    np.testing.assert_array_equal(after.pixel_array, before.pixel_array)  # its bytes are not the same: it is decoded


def test_a_sequence_of_nothing_is_fine(tmp_path, outcome):
    (tmp_path / "a.dcm").write_bytes(saved(plain(SourceImageSequence=Sequence([]))))
    assert outcome(tmp_path)["read"]
