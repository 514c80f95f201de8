"""Folders of everything: what is read, what is refused, in which order, with which ids."""

from __future__ import annotations

import json
import threading

import nibabel as nib
import numpy as np
import pytest
from PIL import Image as Pil

from tests.io.dicom_makers import dicom_bytes, save_all, volume_series
from vesalius.cases import CaseSet, Image
from vesalius.errors import CancelledError, MissingError
from vesalius.io import DecodePool, read, read_pixels, write
from vesalius.io.pixels import with_pixels
from vesalius.job import Job


@pytest.fixture
def folder(tmp_path):
    """A CT series, two films, a NIfTI, a PNG, an array, and junk."""
    root = tmp_path / "scans"
    save_all(volume_series(5), root / "ct")
    for n, view in enumerate(("PA", "LATERAL")):
        ds = write.secondary_capture(np.full((7, 9), n, np.uint16), modality="DX", uid_seed=f"film{n}")
        ds.ViewPosition, ds.PatientID, ds.PatientAge, ds.PatientSex = view, "MRN-1", "064Y", "F"
        ds.StudyDate, ds.Manufacturer, ds.BodyPartExamined = "20230405", "ACME", "CHEST"
        ds.InstitutionName, ds.PatientName = "St Elsewhere", "DOE^JANE"
        (root / f"film{n}").write_bytes(dicom_bytes(ds))
    nib.save(nib.Nifti1Image(np.zeros((3, 4, 5), np.float32), np.eye(4)), root / "brain.nii.gz")
    Pil.fromarray(np.zeros((4, 4), np.uint8)).save(root / "photo.png")
    np.save(root / "array.npy", np.ones((4, 5), np.float32))
    (root / "notes.txt").write_text("hello")
    (root / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM")
    (root / ".hidden").write_text("not looked at")
    return root


@pytest.mark.parametrize("workers", [2, 0])
def test_a_mixed_folder(folder, workers):
    told = []
    cases = read(folder, Job(workers=workers, on_refused=told.append))
    assert [c.images[0].uri for c in cases] == [
        "array.npy", "brain.nii.gz", "photo.png", "film0", "film1", "ct/f000.dcm",
    ]  # fmt: skip
    assert sorted(item for item, _ in cases.refused) == ["broken.dcm", "notes.txt"]
    assert sorted(r.item for r in told) == ["broken.dcm", "notes.txt"]
    film = cases[3]
    assert film.attributes["age"] == 64
    assert film.attributes["sex"] == "F"
    assert film.attributes["device"] == "ACME"
    assert film.time == "2023-04-05"
    assert (film.images[0].modality, film.images[0].view, film.images[0].body_part) == ("DX", "PA", "chest")
    assert film.patient == cases[4].patient != ""
    text = json.dumps([c.to_dict() for c in cases])
    assert not any(word in text for word in ("MRN-1", "DOE", "JANE", "Elsewhere"))
    for case in cases:
        for image in case.images:
            assert image.pixels().shape == image.shape


def test_order_and_ids_do_not_depend_on_workers(folder):
    one, two = read(folder, Job(workers=1)), read(folder, Job(workers=2))
    assert [c.to_dict() for c in one] == [c.to_dict() for c in two]


def test_ids_do_not_depend_on_names(folder, tmp_path):
    before = set(read(folder, Job(workers=0)).ids())
    folder.rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "photo.png").rename(tmp_path / "elsewhere" / "zzz")
    assert set(read(tmp_path / "elsewhere", Job(workers=0)).ids()) == before


def test_a_key_changes_every_pseudonym(folder):
    public, secret = read(folder, Job(workers=0)), read(folder, Job(workers=0), patient_key="a secret")
    assert public[3].patient != secret[3].patient
    assert public[3].id != secret[3].id
    assert public[3].attributes["site"] != secret[3].attributes["site"]


def test_copies_are_refused_by_name(folder):
    (folder / "photo2.png").write_bytes((folder / "photo.png").read_bytes())
    (folder / "film9").write_bytes((folder / "film0").read_bytes())
    refused = dict(read(folder, Job(workers=0)).refused)
    assert "photo.png has the same content" in refused["photo2.png"]
    assert "the same file as film0" in refused["film9"]


def test_single_files_lists_and_what_is_not_there(folder):
    (case,) = read(folder / "photo.png", Job(workers=0))
    assert case.images[0].uri == "photo.png"
    both = read([folder / "photo.png", str(folder / "ct")], Job(workers=0))
    assert [len(c.images[0].pixels().shape) for c in both] == [2, 3]
    with pytest.raises(MissingError, match="no such file"):
        read(folder / "gone")


def test_reading_streams(folder):
    first = next(iter(read(folder, Job(workers=1))))
    assert first.images[0].uri == "array.npy"


@pytest.mark.parametrize("workers", [0, 1])
def test_a_run_that_an_error_ended_is_not_taken_for_the_whole(folder, workers):
    def stop(refusal):
        if refusal.item == "notes.txt" and not told:
            told.append(refusal)
            raise KeyboardInterrupt

    told: list = []
    cases = read(folder, Job(workers=workers, on_refused=stop))
    seen: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        seen.extend(case.id for case in cases)
    assert len(seen) < 6
    assert len(list(cases)) == 6
    assert len(list(cases)) == 6
    assert sorted(item for item, _ in cases.refused) == ["broken.dcm", "notes.txt"]


def test_a_cancelled_job_ends_the_reading(folder):
    job = Job(workers=1)
    cases = iter(read(folder, job))
    next(cases)
    job.cancel()
    with pytest.raises(CancelledError):
        list(cases)


def test_two_threads_may_read_one_set(folder):
    cases = read(folder, Job(workers=1))
    found = [[], []]
    threads = [threading.Thread(target=lambda out: out.extend(c.id for c in cases), args=(out,)) for out in found]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert found[0] == found[1]
    assert len(found[0]) == 6


def test_a_written_set_is_read_back(folder, tmp_path):
    cases = read(folder, Job(workers=0))
    kept = cases.write(tmp_path / "set", copy_images=False)
    again = read(tmp_path / "set")
    assert isinstance(again, CaseSet)
    assert again.ids() == cases.ids() == kept.ids()
    for a, b in zip(again, cases, strict=True):
        np.testing.assert_array_equal(a.images[0].pixels(), b.images[0].pixels())


def test_pixels_through_a_pool(folder):
    images = [c.images[0] for c in read(folder, Job(workers=0))]
    with DecodePool(2) as pool:
        found = [r for _, r in pool.map(with_pixels, images)]
    for image, result in zip(images, found, strict=True):
        np.testing.assert_array_equal(result.array, read_pixels(image))


def test_a_dicomdir_is_followed(folder, tmp_path):
    from pydicom.fileset import FileSet

    files = FileSet()
    for ds in volume_series(5):
        ds.PatientID, ds.StudyDate, ds.StudyTime, ds.StudyID = "P1", "20230405", "101010", "1"
        ds.SeriesNumber = 1
        files.add(ds)
    files.write(tmp_path / "disc")
    cases = read(tmp_path / "disc" / "DICOMDIR", Job(workers=0))
    assert cases.refused == []
    (case,) = cases
    assert case.images[0].shape == (5, 8, 10)


def test_video(tmp_path):
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "a.mp4"), "w") as out:
        stream = out.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "yuv420p"
        for n in range(7):
            frame = av.VideoFrame.from_ndarray(np.full((16, 32, 3), 30 * n, np.uint8), format="rgb24")
            for packet in stream.encode(frame):
                out.mux(packet)
        for packet in stream.encode():
            out.mux(packet)
    (case,) = read(tmp_path / "a.mp4", Job(workers=0))
    image = case.images[0]
    assert (image.kind, image.shape) == ("video", (7, 16, 32, 3))
    assert image.meta["fps"] == 10
    np.testing.assert_allclose(image.pixels()[:, 8, 16, 0], 30 * np.arange(7), atol=6)


def test_video_without_pyav_says_what_to_install(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "a.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + b"\0" * 64)
    ((_, why),) = read(tmp_path, Job(workers=0)).refused
    assert "PyAV" in why
    with pytest.raises(MissingError, match=r"pip install 'vesalius\[video\]'"):
        read_pixels(Image(uri=str(tmp_path / "a.mp4"), kind="video"))
