"""NIH official tables, CheXpert and MIMIC-CXR-JPG, each on files written in that layout."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from tests.sources.sources_files import picture, text
from vesalius.cases import Box
from vesalius.errors import BadInputError
from vesalius.sources.layouts.detect import detect
from vesalius.sources.layouts.registry import import_folder

NIH_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],\n"
)


def nih(folder: Path) -> Path:
    for name in ("00000001_000.png", "00000001_001.png", "00000002_000.png"):
        picture(folder / "images_001" / "images" / name)
    text(
        folder / "Data_Entry_2017.csv",
        NIH_HEADER
        + "00000001_000.png,Cardiomegaly,0,1,058Y,M,PA,2682,2749,0.143,0.143,\r\n"
        + "00000001_001.png,Cardiomegaly|Emphysema,1,1,58,M,AP,2894,2729,0.143,0.143,\n"
        + "00000002_000.png,No Finding,0,2,411,F,PA,2500,2048,0.168,0.168,\n"
        + "00000003_000.png,Hernia,0,3,81,F,PA,2582,2991,0.143,0.143,\n"
        + "00000001_000.png,Hernia,0,1,58,M,PA,2682,2749,0.143,0.143,\n"
        + "../00000004_000.png,Hernia,0,4,58,M,PA,2682,2749,0.143,0.143,\n"
        + "00000002_001.png,Dragon,0,2,58,F,PA,1,1,1,1,\n",
    )
    text(
        folder / "BBox_List_2017.csv",
        "Image Index,Finding Label,Bbox [x,y,w,h],,,\n"
        "00000001_001.png,Infiltrate,2.5,1,3,4,,,\n00000001_001.png,Mass,2,1,x,4,,,\n00000009_000.png,Mass,1,1,1,1,,,\n",
    )
    text(folder / "train_val_list.txt", "00000001_000.png\n00000001_001.png\n")
    text(folder / "test_list.txt", "00000002_000.png\n")
    return folder


def test_nih_official(tmp_path: Path) -> None:
    folder = nih(tmp_path)
    assert detect(folder)[0].name == "nih-official"
    cases = import_folder(folder)
    assert cases.ids() == [f"nih-official/0000000{n}" for n in ("1_000", "1_001", "2_000")]
    first, second, third = cases
    assert first.label("Cardiomegaly") == 1
    assert first.label("Hernia") == 0
    assert first.label("No Finding") == 0
    assert first.labels["Hernia"].source == "mined"
    assert first.attributes == {"follow_up": 0, "age": 58.0, "sex": "M"}
    assert (second.prior, second.patient, second.images[0].view) == (first.id, first.patient, "AP")
    assert second.regions[0].label == "Infiltration"
    assert second.regions[0].geometry == Box(2.5, 1, 5.5, 5)
    assert third.label("No Finding") == 1
    assert "age" not in third.attributes
    assert [c.source.split for c in cases] == ["train", "train", "test"]
    refused = dict(cases.refused)
    assert "over 120" in refused["Data_Entry_2017.csv:4"]
    assert "not there" in refused["Data_Entry_2017.csv:5"]
    assert "already" in refused["Data_Entry_2017.csv:6"]
    assert "outside" in refused["Data_Entry_2017.csv:7"]
    assert "BBox_List_2017.csv:3" in refused
    assert "no case" in refused["BBox_List_2017.csv:4"]
    assert len(cases.refused) == 7


CHEXPERT_HEADER = (
    "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,"
    "Edema,Consolidation,Pneumonia,Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices\n"
)


def test_chexpert_studies_and_uncertainty(tmp_path: Path) -> None:
    root = tmp_path / "CheXpert-v1.0-small"
    for name in ("view1_frontal.jpg", "view2_lateral.jpg"):
        picture(root / "train" / "patient00001" / "study1" / name)
    picture(root / "valid" / "patient64541" / "study1" / "view1_frontal.jpg")
    start = "CheXpert-v1.0-small/train/patient00001/study1/"
    text(
        root / "train.csv",
        CHEXPERT_HEADER
        + f"{start}view1_frontal.jpg,Female,68,Frontal,AP,1.0,,,,,,,,,0.0,-1.0,,,1.0\n"
        + f"{start}view2_lateral.jpg,Female,68,Lateral,,1.0,,,,,,,,,0.0,-1.0,,,1.0\n"
        + f"{start}view3_frontal.jpg,Female,68,Frontal,AP,1.0,,,,,,,,,0.0,-1.0,,,1.0\n"
        + "CheXpert-v1.0-small/nowhere.jpg,Female,68,Frontal,AP,,,,,,,,,,,,,,\n",
    )
    text(
        root / "valid.csv",
        CHEXPERT_HEADER
        + "CheXpert-v1.0-small/valid/patient64541/study1/view1_frontal.jpg,Unknown,0,Frontal,PA"
        + ",0.0" * 13
        + ",1.0\n",
    )
    for folder in (root, tmp_path):
        if folder == tmp_path:
            for name in ("train.csv", "valid.csv"):
                (root / name).rename(tmp_path / name)
        assert detect(folder)[0].name == "chexpert"
        cases = import_folder(folder)
        assert cases.ids() == ["chexpert/train/patient00001/study1", "chexpert/valid/patient64541/study1"]
        first, second = cases
        assert [i.view for i in first.images] == ["AP", "LATERAL"]
        assert first.label("Pleural Effusion") == -1
        assert first.label("Pneumothorax") == 0
        assert first.label("Support Devices") == 1
        assert "Edema" not in first.labels
        assert first.attributes == {"age": 68.0, "sex": "F"}
        assert (first.source.split, second.source.split) == ("train", "val")
        assert "sex" not in second.attributes
        assert [item for item, _ in cases.refused] == ["train.csv:4", "train.csv:5"]


def test_a_table_without_its_columns_is_named(tmp_path: Path) -> None:
    text(tmp_path / "x-metadata.csv", "dicom,study\n1,2\n")
    with pytest.raises(BadInputError, match="no column 'subject_id'"):
        import_folder(tmp_path, "mimic-cxr-jpg")


def test_tables_with_tabs(tmp_path: Path) -> None:
    picture(tmp_path / "ISIC_1.jpg")
    text(
        tmp_path / "HAM10000_metadata.tab",
        "lesion_id\timage_id\tdx\tdx_type\tage\tsex\tlocalization\nH1\tISIC_1\tnv\thisto\t50\tmale\tback\n",
    )
    (case,) = import_folder(tmp_path)
    assert (case.id, case.label("class")) == ("ham10000/ISIC_1", "melanocytic nevus")


def test_mimic_with_reports_and_priors(tmp_path: Path) -> None:
    base = tmp_path / "files" / "p10" / "p10000032"
    for study, dicom in (("s50414267", "aa-1"), ("s50414267", "aa-2"), ("s53189527", "bb-1")):
        picture(base / study / f"{dicom}.jpg")
    text(base / "s50414267.txt", "FINAL REPORT\n FINDINGS: No effusion.\n\n IMPRESSION: Normal chest.\n")
    meta = (
        "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns,StudyDate,StudyTime\n"
        "aa-1,10000032,50414267,CHEST (PA AND LAT),PA,3056,2544,21800506,213014.531\n"
        "aa-2,10000032,50414267,CHEST (PA AND LAT),LATERAL,3056,2544,21800506,213014.531\n"
        "bb-1,10000032,53189527,CHEST,AP,3056,2544,21800626,90345.5\n"
        "cc-1,10000032,53189999,CHEST,AP,3056,2544,21800627,90345.5\n"
        "dd-1,../../etc,53189999,CHEST,AP,3056,2544,21800627,90345.5\n"
    )
    (tmp_path / "mimic-cxr-2.0.0-metadata.csv.gz").write_bytes(gzip.compress(meta.encode()))
    labels = ",".join(["subject_id", "study_id", "Atelectasis", "Edema", "Pleural Effusion"])
    text(tmp_path / "mimic-cxr-2.0.0-chexpert.csv", labels + "\n10000032,50414267,,0.0,-1.0\n10000032,53189527,1.0,,\n")
    text(
        tmp_path / "mimic-cxr-2.0.0-split.csv",
        "dicom_id,study_id,subject_id,split\naa-1,50414267,10000032,train\nbb-1,53189527,10000032,validate\n",
    )
    assert detect(tmp_path)[0].name == "mimic-cxr-jpg"
    cases = import_folder(tmp_path)
    first, second = cases
    assert (first.id, first.time, len(first.images)) == ("mimic-cxr-jpg/s50414267", "2180-05-06T21:30:14", 2)
    assert second.time == "2180-06-26T09:03:45"
    assert second.prior == first.id
    assert first.report is not None
    assert first.report.impression == "Normal chest."
    assert first.report.findings == "No effusion."
    assert second.report is None
    assert (first.label("Edema"), first.label("Pleural Effusion"), second.label("Atelectasis")) == (0, -1, 1)
    assert [c.source.split for c in cases] == ["train", "val"]
    assert [item.rpartition(":")[2] for item, _ in cases.refused] == ["5", "6"]
