"""HAM10000, the ISIC challenges and BUSI, each on files written in that layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.sources.sources_files import array_picture, picture, text
from vesalius.cases import Mask
from vesalius.sources.layouts.detect import detect
from vesalius.sources.layouts.registry import import_folder


def test_ham10000(tmp_path: Path) -> None:
    picture(tmp_path / "HAM10000_images_part_1" / "ISIC_0027419.jpg", colour=True)
    picture(tmp_path / "HAM10000_images_part_2" / "ISIC_0025030.jpg", colour=True)
    outline = np.zeros((8, 10), np.uint8)
    outline[2:5, 3:9] = 255
    array_picture(tmp_path / "masks" / "ISIC_0025030_segmentation.png", outline)
    text(
        tmp_path / "HAM10000_metadata.csv",
        "\ufefflesion_id,image_id,dx,dx_type,age,sex,localization,dataset\r\n"
        "HAM_0000118,ISIC_0027419,bkl,histo,80.0,male,scalp,vidir_modern\r\n"
        "HAM_0000118,ISIC_0025030,mel,histo,,unknown,scalp,vidir_modern\r\n"
        "HAM_0000119,ISIC_0099999,nv,histo,80.0,male,scalp,vidir_modern\r\n"
        "HAM_0000119,ISIC_0025030x,nv\r\n",
    )
    assert detect(tmp_path)[0].name == "ham10000"
    cases = import_folder(tmp_path)
    first, second = cases
    assert (first.label("class"), second.label("class")) == ("benign keratosis", "melanoma")
    assert first.patient == second.patient == "ham10000/HAM_0000118"
    assert first.attributes == {"dx_type": "histo", "age": 80.0, "sex": "M", "site": "scalp"}
    assert "age" not in second.attributes
    assert first.regions == ()
    (region,) = second.regions
    assert isinstance(region.geometry, Mask)
    assert np.array_equal(region.geometry.to_array(), outline > 0)
    assert [i for i, _ in cases.refused] == ["HAM10000_metadata.csv:4", "HAM10000_metadata.csv:5"]


def test_isic_2017_with_metadata(tmp_path: Path) -> None:
    picture(tmp_path / "ISIC-2017_Training_Data" / "ISIC_0000000.jpg", colour=True)
    text(
        tmp_path / "ISIC-2017_Training_Part3_GroundTruth.csv",
        "image_id,melanoma,seborrheic_keratosis\nISIC_0000000,1.0,0.0\nISIC_0000001,0.5,0.0\n",
    )
    text(
        tmp_path / "ISIC-2017_Training_Data_metadata.csv",
        "image_id,age_approximate,sex\nISIC_0000000,55,female\nISIC_0000001,30,female\n",
    )
    assert detect(tmp_path)[0].name == "isic2017-official"
    cases = import_folder(tmp_path)
    (case,) = cases
    assert (case.label("melanoma"), case.label("seborrheic keratosis")) == (1, 0)
    assert case.attributes == {"age": 55.0, "sex": "F"}
    assert [i for i, _ in cases.refused] == ["ISIC-2017_Training_Part3_GroundTruth.csv:3"]


def test_isic_one_column_a_class(tmp_path: Path) -> None:
    for n in (1, 2):
        picture(tmp_path / "ISIC_2019_Training_Input" / f"ISIC_000000{n}.jpg", colour=True)
    text(
        tmp_path / "ISIC_2019_Training_GroundTruth.csv",
        "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK\n"
        "ISIC_0000001,0.0,1.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0\nISIC_0000002,0.0,0.0,0.0,0.0,0.0,0.0,0.0,1.0,0.0\n",
    )
    text(
        tmp_path / "ISIC_2019_Training_Metadata.csv",
        "image,age_approx,anatom_site_general,lesion_id,sex\nISIC_0000001,55.0,anterior torso,L1,female\n",
    )
    assert detect(tmp_path)[0].name == "isic2018"
    first, second = import_folder(tmp_path)
    assert (first.label("class"), second.label("class")) == ("melanocytic nevus", "squamous cell carcinoma")
    assert (first.patient, second.patient) == ("isic2018/L1", "")
    assert first.attributes == {"age": 55.0, "site": "anterior torso", "sex": "F"}


def test_isic_2020(tmp_path: Path) -> None:
    picture(tmp_path / "train" / "ISIC_2637011.jpg", colour=True)
    text(
        tmp_path / "train.csv",
        "image_name,patient_id,sex,age_approx,anatom_site_general_challenge,diagnosis,benign_malignant,target\n"
        "ISIC_2637011,IP_7279968,male,45.0,head/neck,unknown,benign,0\n",
    )
    assert detect(tmp_path)[0].name == "isic2020"
    (case,) = import_folder(tmp_path)
    assert (case.patient, case.label("melanoma"), case.attributes["site"]) == ("isic2020/IP_7279968", 0, "head/neck")


def test_busi_with_several_masks(tmp_path: Path) -> None:
    root = tmp_path / "Dataset_BUSI_with_GT"
    one, two = np.zeros((8, 10), np.uint8), np.zeros((8, 10), np.uint8)
    one[1:3, 1:4] = 255
    two[5:7, 6:8] = 255
    picture(root / "benign" / "benign (4).png")
    array_picture(root / "benign" / "benign (4)_mask.png", one)
    array_picture(root / "benign" / "benign (4)_mask_1.png", two)
    picture(root / "malignant" / "malignant (1).png")
    array_picture(root / "malignant" / "malignant (1)_mask.png", one)
    picture(root / "normal" / "normal (1).png")
    picture(root / "normal" / "normal (1)_mask.png", value=0)
    text(root / "benign" / "benign (5)_mask.png", b"not a picture")
    picture(root / "benign" / "benign (5).png")
    array_picture(root / "benign" / "benign (6)_mask.png", one)
    assert detect(tmp_path)[0].name == "busi-official"
    cases = import_folder(tmp_path)
    assert {c.source.id: (c.label("class"), len(c.regions)) for c in cases} == {
        "benign (4)": ("benign", 2),
        "benign (5)": ("benign", 0),
        "malignant (1)": ("malignant", 1),
        "normal (1)": ("normal", 0),
    }
    masks = [r.geometry.to_array() for r in cases["busi-official/benign (4)"].regions]
    assert np.array_equal(masks[0], one > 0)
    assert np.array_equal(masks[1], two > 0)
    assert {r.label for c in cases for r in c.regions} == {"benign lesion", "malignant lesion"}
    assert [i.rpartition("/")[2] for i, _ in cases.refused] == ["benign (5)_mask.png", "benign (6)_mask.png"]
