"""De-identification: nothing of a made-up patient is left, doing it twice changes nothing, links and intervals hold."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from vesalius.errors import BadInputError, MissingError, UsageError
from vesalius.io import write
from vesalius.io.dicom import deid

BUNDLED = sorted((Path(pydicom.__file__).parent / "data" / "test_files").glob("*.dcm"))
KEY = b"a secret of more than sixteen bytes"
#: Everything about a person that does not exist; none of it may be in the output, in any encoding.
PHI = [
    "QUINZEL", "Harleen", "MRN-778812", "ACC-554-31", "19610219", "20230417", "ARKHAM", "STRANGE", "5551234567",
    "Gotham", "1.3.6.1.4.1.99999.42", "SER-90210",
]  # fmt: skip


def patient(n: int = 0, *, date: str = "20230417") -> Dataset:
    ds = write.secondary_capture(np.arange(64, dtype=np.uint16).reshape(8, 8) + n, modality="CT")
    ds.BurnedInAnnotation = "NO"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = "QUINZEL^Harleen", "MRN-778812", "19610219"
    ds.PatientSex, ds.PatientAge = "F", "062Y"
    ds.StudyDate = ds.SeriesDate = ds.ContentDate = date
    ds.AcquisitionDateTime = date + "101010.5"
    ds.AccessionNumber, ds.InstitutionName = "ACC-554-31", "ARKHAM ASYLUM"
    ds.ReferringPhysicianName = ds.OperatorsName = "STRANGE^Hugo"
    ds.PatientTelephoneNumbers, ds.PatientAddress = "5551234567", "1 Gotham Street"
    ds.StudyInstanceUID = "1.3.6.1.4.1.99999.42.1"
    ds.SeriesInstanceUID = "1.3.6.1.4.1.99999.42.2"
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.3.6.1.4.1.99999.42.3.{n}"
    ds.SeriesDescription = "chest for QUINZEL"
    ds.DeviceSerialNumber = "SER-90210"
    ds.file_meta.SourceApplicationEntityTitle = "ARKHAM"
    ds.preamble = b"QUINZEL".ljust(128, b"\0")
    inner = Dataset()
    inner.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    inner.ReferencedSOPInstanceUID = "1.3.6.1.4.1.99999.42.3.0"
    inner.PersonName = "STRANGE^Hugo"
    ds.SourceImageSequence = Sequence([inner])
    deep = Dataset()
    deep.PatientComments = "QUINZEL again"
    outer = Dataset()
    outer.RequestedProcedureDescription = "for QUINZEL"
    outer.ScheduledProcedureStepSequence = Sequence([deep])
    outer.CodeMeaning = "kept"
    ds.ProcedureCodeSequence = Sequence([outer])
    block = ds.private_block(0x0029, "ACME 1.0", create=True)
    private = Dataset()
    private.PatientName = "QUINZEL^Harleen"
    block.add_new(0x10, "SQ", Sequence([private]))
    ds.add_new(0x60003000, "OW", b"QUINZEL ")
    ds.add_new(0x60004000, "LT", "QUINZEL")
    return ds


def saved(ds: Dataset) -> bytes:
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def test_the_dictionary_would_find_the_patient_before():
    raw = saved(patient())
    assert all(word.encode() in raw for word in PHI), "the scan below must be able to fail"


@pytest.mark.parametrize("keep", [False, True])
def test_nothing_of_the_patient_is_left(keep):
    out = deid.deidentify(patient(), KEY, keep_characteristics=keep)
    raw = saved(out)
    assert [word for word in PHI if word.encode() in raw or word.encode("utf-16-le") in raw] == []
    assert not any(e.tag.is_private for e in out.iterall())
    assert out.PatientIdentityRemoved == "YES"
    assert out.DeidentificationMethod == deid.METHOD
    codes = [c.CodeValue for c in out.DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113107"] + ["113108"] * keep
    assert ("PatientAge" in out) is keep
    np.testing.assert_array_equal(out.pixel_array, patient().pixel_array)


def test_twice_is_once():
    once = deid.deidentify(patient(), KEY)
    twice = deid.deidentify(once, KEY)
    assert saved(twice) == saved(once)


def test_another_key_gives_other_ids():
    a, b = deid.deidentify(patient(), KEY), deid.deidentify(patient(), b"another secret of some length")
    assert a.PatientID != b.PatientID
    assert a.SOPInstanceUID != b.SOPInstanceUID


def test_a_forged_mark_does_not_let_a_patient_through():
    ds = patient()
    ds.PatientIdentityRemoved, ds.DeidentificationMethod = "YES", deid.METHOD
    assert b"QUINZEL" not in saved(deid.deidentify(ds, KEY))


def test_links_and_intervals_hold():
    first, second = deid.deidentify(patient(0), KEY), deid.deidentify(patient(1, date="20230501"), KEY)
    assert first.StudyInstanceUID == second.StudyInstanceUID
    assert first.PatientID == second.PatientID == first.PatientName
    assert second.SourceImageSequence[0].ReferencedSOPInstanceUID == first.SOPInstanceUID
    assert second.SourceImageSequence[0].ReferencedSOPClassUID == "1.2.840.10008.5.1.4.1.1.2"
    days = np.datetime64(_iso(second.StudyDate)) - np.datetime64(_iso(first.StudyDate))
    assert days == np.timedelta64(14, "D")
    assert first.AcquisitionDateTime[8:] == "101010.5"
    assert first.file_meta.MediaStorageSOPInstanceUID == first.SOPInstanceUID


def _iso(date: str) -> str:
    return f"{date[:4]}-{date[4:6]}-{date[6:]}"


def test_uids_are_valid_and_spread():
    uids = {deid.remap_uid(f"1.2.3.{n}", KEY) for n in range(2000)}
    assert len(uids) == 2000
    assert all(pydicom.uid.UID(u).is_valid and len(u) <= 64 for u in uids)


@pytest.mark.filterwarnings("ignore:Invalid value for VR DA")
@pytest.mark.parametrize("date", ["00000000", "2023", "not a date", "99999999", ""])
def test_a_date_that_cannot_be_moved_is_emptied(date):
    ds = patient()
    with pydicom.config.disable_value_validation():
        ds.StudyDate = date
        assert deid.deidentify(ds, KEY).StudyDate in ("", None)


@pytest.mark.parametrize(
    ("modality", "stated", "conversion", "risky"),
    [
        ("US", "", "", True), ("SC", "", "", True), ("XA", "", "", True), ("OT", "", "", True), ("ES", "", "", True),
        ("CT", "", "", False), ("US", "NO", "", False), ("CT", "YES", "", True), ("MR", "", "WSD", True),
    ],
)  # fmt: skip
def test_burned_in_rule(modality, stated, conversion, risky):
    ds = Dataset()
    ds.Modality, ds.BurnedInAnnotation, ds.ConversionType = modality, stated, conversion
    assert bool(deid.burned_in_risk(ds)) is risky


def test_risky_pixels_are_refused_unless_told_otherwise():
    ds = patient()
    ds.Modality = "US"
    del ds.BurnedInAnnotation
    with pytest.raises(BadInputError, match="name"):
        deid.deidentify(ds, KEY)
    assert deid.deidentify(ds, KEY, burned_in="keep").Modality == "US"
    try:
        import rapidocr_onnxruntime  # noqa: F401 - only to know whether it is there
    except ImportError:
        with pytest.raises(MissingError, match="RapidOCR"):
            deid.deidentify(ds, KEY, burned_in="ocr")


def test_files_get_a_name_from_the_new_uid_and_read_back(tmp_path: Path):
    source = tmp_path / "QUINZEL.dcm"
    source.write_bytes(saved(patient()))
    out = deid.deidentify_file(source, tmp_path / "out", KEY)
    assert "QUINZEL" not in out.name
    assert [word for word in PHI if word.encode() in out.read_bytes()] == []
    np.testing.assert_array_equal(pydicom.dcmread(out).pixel_array, patient().pixel_array)
    assert [p.name for p in (tmp_path / "out").iterdir()] == [out.name]


def test_a_cut_off_file_is_never_written_over(tmp_path: Path):
    raw = saved(patient())
    for part in range(1, 32):
        source = tmp_path / "cut.dcm"
        source.write_bytes(raw[: len(raw) * part // 32])
        with pytest.raises(BadInputError) as caught:
            deid.deidentify_file(source, tmp_path / "out", KEY)
        assert "QUINZEL" not in str(caught.value)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_keys_and_documents_are_checked():
    with pytest.raises(UsageError, match="short"):
        deid.deidentify(patient(), b"short")
    report = patient()
    report.ContentSequence = Sequence([Dataset()])
    with pytest.raises(BadInputError, match="report"):
        deid.deidentify(report, KEY)


def test_the_table_is_the_standards():
    # Hand-checked rows of PS3.15 Table E.1-1.
    rows = {
        0x00100010: "Z", 0x00100020: "Z/D", 0x00100030: "Z", 0x00080050: "Z", 0x00080090: "Z", 0x00080080: "X/Z/D",
        0x00101010: "X", 0x0020000D: "U", 0x00080018: "U", 0x00080020: "Z", 0x00104000: "X", 0x00081030: "X",
        0x00080023: "Z/D", 0x00200052: "U", 0x00081140: "X/Z/U*",
    }  # fmt: skip
    assert {tag: deid.profile().get(tag) for tag in rows} == rows
    assert len(deid.profile()) > 600


@pytest.mark.parametrize("path", BUNDLED, ids=lambda p: p.name)
def test_real_files_end_clean_or_refused(path, tmp_path):
    before = pydicom.dcmread(path, force=True)
    words = [str(before.get(k, "")) for k in ("PatientID", "PatientName", "InstitutionName", "AccessionNumber")]
    try:
        out = deid.deidentify_file(path, tmp_path, KEY, burned_in="keep")
    except BadInputError:
        assert not list(tmp_path.iterdir())
        return
    raw = out.read_bytes()
    after = pydicom.dcmread(out)
    assert str(after.PatientID).startswith("V")
    assert after.SOPInstanceUID != before.SOPInstanceUID
    header = raw[: raw.find(b"\xe0\x7f\x10\x00")]
    maker = str(before.get("Manufacturer", ""))  # one of the files names it as the institution too
    assert [w for w in words if len(w) > 5 and w not in maker and w.encode("latin-1", "replace") in header] == []
