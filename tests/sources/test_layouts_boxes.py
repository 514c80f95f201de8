"""COCO, Pascal VOC and YOLO, each on files written in that layout; run lengths against a second implementation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sources.sources_files import dump, picture, text
from vesalius.cases import Box, Mask, Polygon
from vesalius.errors import BadInputError
from vesalius.sources.layouts.coco import mask_of_rle, rle_of_mask
from vesalius.sources.layouts.detect import detect
from vesalius.sources.layouts.registry import import_folder


def coco_string(counts: list[int]) -> str:
    """COCO's packed counts, written from the description of the format (six bits a character)."""
    out = ""
    for i, count in enumerate(counts):
        x = count - counts[i - 2] if i > 2 else count
        more = True
        while more:
            c = x & 0x1F
            x >>= 5
            more = x != -1 if c & 0x10 else x != 0
            out += chr((c | 0x20 if more else c) + 48)
    return out


def column_runs(mask: np.ndarray) -> list[int]:
    """Run lengths down the columns, counted one pixel at a time."""
    runs, last = [0], 0
    for column in range(mask.shape[1]):
        for row in range(mask.shape[0]):
            value = int(mask[row, column])
            if value != last:
                runs.append(0)
                last = value
            runs[-1] += 1
    return runs


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_run_lengths_in_both_forms(height: int, width: int, seed: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < 0.4
    runs = column_runs(mask)
    assert np.array_equal(mask_of_rle({"size": [height, width], "counts": runs}).to_array(), mask)
    assert np.array_equal(mask_of_rle({"size": [height, width], "counts": coco_string(runs)}).to_array(), mask)
    assert rle_of_mask(Mask.from_array(mask)) == {"size": [height, width], "counts": runs}


def test_a_packed_string_known_by_hand() -> None:
    # 6 zeros, 1 one, 2 zeros over 3 x 3: the characters are 48 + the numbers; the third is stored plainly.
    assert mask_of_rle({"size": [3, 3], "counts": "612"}).to_array().nonzero() == (np.array([0]), np.array([2]))


@pytest.mark.parametrize(
    "rle",
    [
        {"size": [2, 2], "counts": [5]},
        {"size": [2, 2], "counts": [-1, 5]},
        {"size": [10**6, 10**6], "counts": [10**12]},
        {"size": [2, 2], "counts": "R"},
        {"size": [2, 2], "counts": "\u4e2d"},
        {"size": [2, 2], "counts": "o" * 99},
    ],
)
def test_bad_run_lengths_are_refused(rle: dict[str, object]) -> None:
    with pytest.raises(BadInputError):
        mask_of_rle(rle)


def test_coco(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        picture(tmp_path / "train2017" / name, 6, 9)
    mask = np.zeros((6, 9), bool)
    mask[2:4, 3:8] = True
    dump(
        tmp_path / "annotations" / "instances_train2017.json",
        {
            "images": [
                {"id": 1, "file_name": "a.png", "width": 9, "height": 6},
                {"id": 2, "file_name": "b.png", "width": 9, "height": 6},
                {"id": 3, "file_name": "../c.png", "width": 9, "height": 6},
            ],
            "categories": [{"id": 7, "name": "nodule"}, {"id": 8, "name": "mass"}],
            "annotations": [
                {"id": 1, "image_id": 1, "category_id": 7, "bbox": [1.5, 2, 3, 2.5], "iscrowd": 0},
                {"id": 2, "image_id": 1, "category_id": 8, "segmentation": [[1, 1, 5, 1, 5, 4]], "bbox": [1, 1, 4, 3]},
                {
                    "id": 3, "image_id": 2, "category_id": 8, "iscrowd": 1, "bbox": [3, 2, 5, 2],
                    "segmentation": {"size": [6, 9], "counts": coco_string(column_runs(mask))},
                },
                {
                    "id": 4, "image_id": 2, "category_id": 7, "bbox": [0, 0, 9, 6],
                    "segmentation": [[0, 0, 2, 0, 2, 2, 0, 2], [5, 3, 8, 3, 8, 6, 5, 6]],
                },
                {"id": 5, "image_id": 2, "category_id": 99, "bbox": [0, 0, 1, 1]},
                {"id": 6, "image_id": 44, "category_id": 7, "bbox": [0, 0, 1, 1]},
                {"id": 7, "image_id": 2, "category_id": 7, "bbox": [0, 0, "wide", 1]},
                {"id": 8, "image_id": 2, "category_id": 7, "bbox": [0, 0, -2, 1]},
            ],
        },
    )  # fmt: skip
    assert detect(tmp_path)[0].name == "coco"
    cases = import_folder(tmp_path)
    assert cases.ids() == ["coco/train2017/a", "coco/train2017/b"]
    a, b = cases
    assert [(r.label, r.geometry) for r in a.regions] == [
        ("nodule", Box(1.5, 2, 4.5, 4.5)),
        ("mass", Polygon(((1, 1), (5, 1), (5, 4)))),
    ]
    crowd, parts = b.regions
    assert crowd.attributes == {"iscrowd": 1}
    assert isinstance(crowd.geometry, Mask)
    assert np.array_equal(crowd.geometry.to_array(), mask)
    both = np.zeros((6, 9), bool)
    both[:2, :2] = both[3:, 5:8] = True
    assert isinstance(parts.geometry, Mask)
    assert np.array_equal(parts.geometry.to_array(), both)
    file = "instances_train2017.json"
    assert [i for i, _ in cases.refused] == [
        *(f"{file} annotation {n}" for n in (5, 7, 8)),
        f"{file} image 3",
        f"{file} annotation 6",
    ]


def test_coco_keeps_pictures_of_one_name_apart(tmp_path: Path) -> None:
    for part in ("train", "valid"):
        picture(tmp_path / part / "a.png", 4, 4, value=len(part))
        dump(
            tmp_path / part / "_annotations.coco.json",
            {"images": [{"id": 1, "file_name": f"{part}/a.png"}], "annotations": [], "categories": []},
        )
    cases = import_folder(tmp_path)
    assert [(c.id, c.source.split) for c in cases] == [("coco/train/a", "train"), ("coco/valid/a", "val")]


VOC = """<?xml version="1.0"?>
<annotation><folder>JPEGImages</folder><filename>{name}</filename>
<size><width>10</width><height>8</height><depth>1</depth></size>
<object><name>RBC</name><difficult>1</difficult><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>10</xmax><ymax>8</ymax></bndbox></object>
<object><name>WBC</name><bndbox><xmin>9</xmin><ymin>2</ymin><xmax>3</xmax><ymax>8</ymax></bndbox></object>
<object><name>WBC</name></object>
</annotation>"""


def test_voc(tmp_path: Path) -> None:
    picture(tmp_path / "JPEGImages" / "one.jpg")
    picture(tmp_path / "JPEGImages" / "two.jpg")
    marks = tmp_path / "Annotations"
    text(marks / "one.xml", VOC.format(name="one.jpg"))
    text(marks / "two.xml", VOC.format(name="renamed-by-someone.jpg"))
    text(marks / "out.xml", VOC.format(name="../../secret.jpg"))
    text(marks / "half.xml", VOC[:200])
    bomb = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>'
    text(marks / "bomb.xml", bomb + "<annotation><filename>&b;</filename></annotation>")
    text(marks / "outside.xml", '<!DOCTYPE x SYSTEM "file:///etc/passwd"><annotation/>')
    text(marks / "deep.xml", "<annotation>" + "<a>" * 5000 + "</a>" * 5000 + "</annotation>")
    text(tmp_path / "ImageSets" / "Main" / "val.txt", "one\n")
    assert detect(tmp_path)[0].name == "voc"
    cases = import_folder(tmp_path)
    assert cases.ids() == ["voc/one", "voc/two"]
    (region,) = cases[0].regions
    # xmin 1 .. xmax 10 names the pixels 1 to 10 of ten: the whole width.
    assert (region.label, region.geometry) == ("RBC", Box(0, 1, 10, 8))
    assert region.attributes == {"difficult": 1}
    assert (cases[0].source.split, cases[1].source.split) == ("val", "")
    why = dict(cases.refused)
    assert {
        "one.xml object 2",
        "one.xml object 3",
        "bomb.xml",
        "outside.xml",
        "deep.xml",
        "half.xml",
        "out.xml",
    } <= set(why)
    assert "document type" in why["bomb.xml"]
    assert "document type" in why["outside.xml"]
    assert "deeper" in why["deep.xml"]
    assert "outside" in why["out.xml"]


def test_voc_with_images_beside(tmp_path: Path) -> None:
    for part in ("train", "test"):
        picture(tmp_path / part / "one.jpg")
        text(tmp_path / part / "one.xml", VOC.format(name="one.jpg"))
    cases = import_folder(tmp_path)
    assert [(c.id, c.source.split) for c in cases] == [("voc/test/one", "test"), ("voc/train/one", "train")]
    assert [c.images[0].path.parent.name for c in cases] == ["test", "train"]


@pytest.mark.parametrize(
    "yaml",
    [
        "path: x\ntrain: images/train\nnc: 2\nnames: ['polyp', \"tool, long\"]\n",
        "names:\n  0: polyp\n  1: 'tool, long'\nnc: 2\n",
        "nc: 2\nnames:\n- polyp\n- tool, long\ntrain: x\n",
        "names: [polyp,\n  'tool, long']  # two\n",
    ],
)
def test_yolo(tmp_path: Path, yaml: str) -> None:
    picture(tmp_path / "images" / "train" / "a.png", 20, 40)
    picture(tmp_path / "images" / "val" / "b.png", 20, 40)
    text(
        tmp_path / "labels" / "train" / "a.txt",
        "0 0.5 0.5 0.25 0.5\n1 0.0 0.0 0.5 0.0 0.5 0.5\n1 0.5 0.5 0.1 0.1 0.9\n"
        "5 0.5 0.5 0.1 0.1\n0 20 5 4 4\n0 0.5\nx\n",
    )
    text(tmp_path / "labels" / "val" / "gone.txt", "0 0.5 0.5 0.25 0.5\n")
    text(tmp_path / "data.yaml", yaml)
    assert detect(tmp_path)[0].name == "yolo"
    cases = import_folder(tmp_path)
    assert [(c.id, c.source.split) for c in cases] == [("yolo/images/train/a", "train"), ("yolo/images/val/b", "val")]
    box, outline, scored = cases[0].regions
    assert (box.label, box.geometry) == ("polyp", Box(15, 5, 25, 15))
    assert (outline.label, outline.geometry) == ("tool, long", Polygon(((0, 0), (20, 0), (20, 10))))
    assert scored.attributes == {"score": 0.9}
    assert cases[1].regions == ()
    assert [i for i, _ in cases.refused] == ["a.txt:4", "a.txt:5", "a.txt:6", "a.txt:7", "labels/val/gone.txt"]
