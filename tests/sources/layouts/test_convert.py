"""Every writer: what it wrote is read back, by this package and by an independent reader where there is one."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.sources.sources_files import array_picture
from vesalius.cases import (
    Affine,
    Box,
    Case,
    CaseSet,
    Image,
    Label,
    Mask,
    Point,
    Polygon,
    Question,
    Region,
    Report,
    Source,
)
from vesalius.errors import BadInputError, UsageError
from vesalius.sources.layouts.convert import convert, writable
from vesalius.sources.layouts.detect import detect
from vesalius.sources.layouts.registry import import_folder
from vesalius.sources.open_sets.readers import read_layout

RNG = np.random.default_rng(5)
PIXELS = RNG.integers(0, 256, (6, 9), dtype=np.uint8)
DEEP = RNG.integers(0, 4096, (6, 9), dtype=np.uint16)
COLOUR = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)


def mask() -> Mask:
    array = np.zeros((6, 9), bool)
    array[2:5, 3:7] = True
    array[3, 4] = False
    return Mask.from_array(array)


def cases() -> CaseSet:
    return CaseSet(
        [
            Case(
                "set/one",
                patient="p1",
                images=(Image(array=PIXELS, modality="DX", view="PA"),),
                regions=(
                    Region(Box(1, 2, 4, 5), "nodule", phrase="a small nodule", annotator="A"),
                    Region(mask(), "lung"),
                    Region(Polygon(((0, 0), (4, 0), (4, 4))), "mass"),
                    Region(Point(2, 2), "tip"),
                ),
                report=Report(findings="A nodule.", impression="Nodule, likely benign."),
                labels={"class": "sick", "nodule": 1, "edema": -1, "grade": 3, "size": Label(4.5, "mm")},
                questions=(Question("Is there a nodule?", "yes", rationale="seen"), Question("Where?", "left")),
                attributes={"age": 61.0, "sex": "F", "site": "a"},
                source=Source("set", "CC0", "train"),
            ),
            Case(
                "set/../two",
                images=(Image(array=COLOUR),),
                labels={"class": "well"},
                source=Source(split="val"),
            ),
            Case("set/three", images=(Image(array=DEEP),), labels={"class": "well"}, source=Source(split="train")),
        ]
    )


def lost(report: object) -> dict[str, int]:
    found: Counter[str] = Counter()
    for what, _, n in report.lost:  # type: ignore[attr-defined]
        found[what] += n
    return dict(found)


def test_every_writer_is_listed_and_others_are_refused(tmp_path: Path) -> None:
    want = {"coco", "voc", "llava", "csv-images", "folder-per-class", "medmnist", "nnunet"}
    assert set(writable()) == want
    with pytest.raises(UsageError, match="cannot write this layout"):
        convert(cases(), "slake", tmp_path / "x")
    with pytest.raises(UsageError, match="no such layout"):
        convert(cases(), "slack", tmp_path / "x")
    with pytest.raises(UsageError, match="no such option"):
        convert(cases(), "coco", tmp_path / "x", label="class")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    with pytest.raises(UsageError, match="not empty"):
        convert(cases(), "coco", tmp_path / "full")


def test_coco_round_trip(tmp_path: Path) -> None:
    report = convert(cases(), "coco", tmp_path / "out")
    assert (report.written, report.refused) == (3, ())
    assert detect(tmp_path / "out")[0].name == "coco"
    back = import_folder(tmp_path / "out")
    assert back.refused == []
    assert [c.source.split for c in back] == ["train", "train", "val"]
    one = back["coco/images/one"]
    assert [(r.label, r.geometry) for r in one.regions] == [
        ("nodule", Box(1, 2, 4, 5)),
        ("lung", mask()),
        ("mass", Polygon(((0, 0), (4, 0), (4, 4)))),
    ]
    assert np.array_equal(one.images[0].pixels(), PIXELS)
    assert np.array_equal(back["coco/images/three"].images[0].pixels(), DEEP)
    facts = lost(report)
    assert facts["point regions"] == 1
    assert facts["labels"] == 7
    assert facts["questions"] == 2
    assert {"report", "patient", "attributes", "region phrase", "region annotator", "licence", "view"} <= set(facts)
    assert not {"split", "regions", "box regions"} & set(facts)


def test_coco_masks_against_a_second_reader(tmp_path: Path) -> None:
    convert(cases(), "coco", tmp_path / "out")
    data = json.loads((tmp_path / "out" / "annotations" / "instances_train.json").read_text())
    (found,) = [a for a in data["annotations"] if isinstance(a.get("segmentation"), dict)]
    # Count pixel by pixel down the columns, as the format's description says.
    values = [v for n, run in enumerate(found["segmentation"]["counts"]) for v in [n % 2] * run]
    height, width = found["segmentation"]["size"]
    array = np.array([[values[x * height + y] for x in range(width)] for y in range(height)], bool)
    assert np.array_equal(array, mask().to_array())
    assert found["bbox"] == [3, 2, 4, 3]
    assert found["area"] == 11


def test_voc_round_trip(tmp_path: Path) -> None:
    report = convert(cases(), "voc", tmp_path / "out")
    back = import_folder(tmp_path / "out")
    assert back.name == "voc"
    assert back.refused == []
    one = back["voc/one"]
    assert [(r.label, r.geometry) for r in one.regions] == [
        ("nodule", Box(1, 2, 4, 5)),
        ("lung", Box(3, 2, 7, 5)),
        ("mass", Box(0, 0, 4, 4)),
    ]
    assert one.source.split == "train"
    facts = lost(report)
    assert facts["outlines"] == 2
    assert facts["point regions"] == 1
    half = CaseSet([Case("h", images=(Image(array=PIXELS),), regions=(Region(Box(0.5, 1, 2, 3), "x"),))])
    assert lost(convert(half, "voc", tmp_path / "half"))["parts of pixels"] == 1


def test_csv_images_round_trip(tmp_path: Path) -> None:
    report = convert(cases(), "csv-images", tmp_path / "out")
    back = import_folder(tmp_path / "out")
    assert (back.name, back.refused) == ("csv-images", [])
    one, two, three = back
    assert one.report == Report(findings="A nodule.", impression="Nodule, likely benign.")
    assert {n: one.label(n) for n in ("class", "nodule", "edema")} == {"class": "sick", "nodule": 1, "edema": -1}
    assert "nodule" not in two.labels
    assert (one.attributes["age"], one.attributes["sex"], one.attributes["site"]) == (61.0, "F", "a")
    assert (one.patient, one.source.split, one.source.licence) == ("csv-images/p1", "train", "CC0")
    assert (one.images[0].modality, one.images[0].view) == ("DX", "PA")
    assert np.array_equal(two.images[0].pixels(), COLOUR)
    assert np.array_equal(three.images[0].pixels(), DEEP)
    facts = lost(report)
    assert facts["regions"] == 4
    assert facts["label kinds"] == 2
    assert facts["label unit or source"] == 1


def test_folder_per_class_round_trip_and_names_that_cannot_be_folders(tmp_path: Path) -> None:
    report = convert(cases(), "folder-per-class", tmp_path / "out")
    assert report.written == 3
    back = import_folder(tmp_path / "out")
    assert sorted((c.label("class"), c.source.split) for c in back) == [
        ("sick", "train"),
        ("well", "train"),
        ("well", "val"),
    ]
    odd = CaseSet([Case("a", images=(Image(array=PIXELS),), labels={"class": "../../etc"}), Case("b", labels={})])
    found = convert(odd, "folder-per-class", tmp_path / "odd")
    assert found.refused == (("b", "it has no label 'class'"),)
    written = [p for p in (tmp_path / "odd").rglob("*") if p.is_file()]
    assert len(written) == 1
    assert written[0].resolve().is_relative_to(tmp_path / "odd")
    assert "class names" in lost(found)
    by = convert(cases(), "folder-per-class", tmp_path / "by", label="nodule")
    assert by.written == 1
    assert (tmp_path / "by" / "train" / "1" / "one.png").is_file()


def test_llava_round_trip(tmp_path: Path) -> None:
    report = convert(cases(), "llava", tmp_path / "out")
    assert report.written == 1
    assert {item for item, _ in report.refused} == {"set/../two", "set/three"}
    back = import_folder(tmp_path / "out")
    (case,) = back
    assert [(q.text, q.answer) for q in case.questions][:2] == [("Is there a nodule?", "yes"), ("Where?", "left")]
    assert case.questions[2].answer == "A nodule.\nNodule, likely benign."
    assert case.source.split == "train"
    raw = json.loads((tmp_path / "out" / "train.json").read_text())
    assert raw[0]["conversations"][0] == {"from": "human", "value": "<image>\nIs there a nodule?"}
    assert lost(report)["question rationale"] == 1


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (4, 5, 6)])
def test_medmnist_round_trip(tmp_path: Path, shape: tuple[int, ...]) -> None:
    kind = "3d" if shape == (4, 5, 6) else "2d"
    arrays = RNG.integers(0, 256, (5, *shape), dtype=np.uint8)
    names = ["b", "a", "b", "c", "a"]
    splits = ["train", "train", "val", "test", ""]
    made = CaseSet(
        Case(str(n), images=(Image(array=a, kind=kind),), labels={"class": c}, source=Source(split=s))
        for n, (a, c, s) in enumerate(zip(arrays, names, splits, strict=True))
    )
    report = convert(made, "medmnist", tmp_path / "out")
    assert report.written == 5
    assert lost(report) == {"split": 1}
    with np.load(tmp_path / "out" / "cases.npz", allow_pickle=False) as archive:
        assert archive["train_images"].shape == (3, *shape)
        assert archive["train_labels"].tolist() == [[1], [0], [0]]
        assert archive["test_labels"].dtype == np.uint8
    back = import_folder(tmp_path / "out")
    assert [c.label("class") for c in back] == ["b", "a", "a", "b", "c"]
    assert [c.images[0].kind for c in back] == [kind] * 5
    for case, n in zip(back, (0, 1, 4, 2, 3), strict=True):
        assert np.array_equal(case.images[0].pixels(), arrays[n])
    with pytest.raises(BadInputError, match="Resize"):
        convert(cases(), "medmnist", tmp_path / "mixed")
    with pytest.raises(UsageError, match="no case has this label"):
        convert(made, "medmnist", tmp_path / "none", label="dragon")


def test_nnunet_round_trip_of_an_oblique_volume(tmp_path: Path) -> None:
    values = RNG.normal(size=(3, 4, 5)).astype(np.float32)
    first = RNG.random((3, 4, 5)) < 0.3
    second = (RNG.random((3, 4, 5)) < 0.3) & ~first
    turn = np.array([[0.0, 0.6, -0.8, 5], [0.0, 0.8, 0.6, -7], [1.0, 0, 0, 11], [0, 0, 0, 1]]) @ np.diag(
        [2, 0.5, 0.7, 1]
    )
    affine = Affine(turn)
    images = tuple(
        Image(array=values + n, modality="MR", kind="3d", affine=affine, meta={"channel": c})
        for n, c in enumerate(("T1", "T2"))
    )
    regions = (Region(Mask.from_array(first), "edema"), Region(Mask.from_array(second), "core"))
    made = CaseSet(
        [
            Case("brain/1", images=images, regions=regions),
            Case("brain/2", images=images, source=Source(split="test")),
            Case("brain/3", images=images[:1]),
        ]
    )
    report = convert(made, "nnunet", tmp_path / "out")
    assert report.written == 2
    assert [item for item, _ in report.refused] == ["brain/3"]
    import nibabel

    loaded = nibabel.load(tmp_path / "out" / "imagesTr" / "1_0000.nii.gz")
    assert np.array_equal(np.asarray(loaded.dataobj).transpose(2, 1, 0), values)
    # The voxel (row 1, column 2, slice 0) is at the same place whichever way the axes are counted.
    ras = loaded.affine @ np.array([2, 1, 0, 1])
    assert affine.to_patient([0, 1, 2]) == pytest.approx([-ras[0], -ras[1], ras[2]], abs=1e-5)
    back = import_folder(tmp_path / "out")
    one, two = back
    # The reader may turn the axes; each voxel must stay where it was in the patient.
    turned = one.images[0].affine
    assert turned is not None
    index = np.stack(np.indices(one.images[0].shape), axis=-1)
    was = np.rint(affine.to_index(turned.to_patient(index))).astype(int)
    at = tuple(np.moveaxis(was, -1, 0))
    assert {r.label for r in one.regions} == {"edema", "core"}
    for region in one.regions:
        before = first if region.label == "edema" else second
        assert np.array_equal(region.geometry.to_array(), before[at])
    assert [i.meta["channel"] for i in one.images] == ["T1", "T2"]
    assert np.array_equal(one.images[1].pixels(), (values + 1)[at])
    assert (one.source.split, two.source.split, two.regions) == ("train", "test", ())
    overlapping = CaseSet([Case("o", images=images, regions=(regions[0], Region(regions[0].geometry, "again")))])
    assert lost(convert(overlapping, "nnunet", tmp_path / "o"))["overlapping masks"] == int(first.sum())
    none = CaseSet([Case("x", images=(Image(array=values, kind="3d"),))])
    assert "orientation" in lost(convert(none, "nnunet", tmp_path / "n"))


def test_nnunet_pictures_round_trip(tmp_path: Path) -> None:
    made = CaseSet([Case("a", images=(Image(array=PIXELS, modality="DX"),), regions=(Region(mask(), "lung"),))])
    convert(made, "nnunet", tmp_path / "out")
    (case,) = import_folder(tmp_path / "out")
    assert [(r.label, r.geometry) for r in case.regions] == [("lung", mask())]
    assert np.array_equal(case.images[0].pixels(), PIXELS)
    deep = Case("v", images=(Image(array=np.zeros((2, 3, 4), np.int16), kind="3d", modality="DX"),))
    with pytest.raises(UsageError, match="mixed"):
        convert(CaseSet([*made, deep]), "nnunet", tmp_path / "mixed")


def test_files_are_copied_byte_for_byte_and_values_that_fit_no_picture_are_refused(tmp_path: Path) -> None:
    path = array_picture(tmp_path / "a.jpg", PIXELS)
    made = CaseSet(
        [
            Case("a", images=(Image(uri=str(path)),), labels={"class": "x"}),
            Case("hu", images=(Image(array=DEEP.astype(np.int16)),), labels={"class": "x"}),
            Case("gone", images=(Image(uri=str(tmp_path / "gone.png")),), labels={"class": "x"}),
            Case("CON", images=(Image(array=PIXELS),), labels={"class": "x"}),
            Case("b/a", images=(Image(array=PIXELS),), labels={"class": "x"}),
        ]
    )
    report = convert(made, "folder-per-class", tmp_path / "out")
    assert report.written == 3
    assert (tmp_path / "out" / "x" / "a.jpg").read_bytes() == path.read_bytes()
    assert {item for item, _ in report.refused} == {"hu", "gone"}
    assert json.loads(json.dumps(report.to_dict()))["written"] == 3
    stems = sorted(p.stem for p in (tmp_path / "out" / "x").iterdir())
    assert stems[0].startswith("CON-")


def test_cases_of_one_name_do_not_overwrite_each_other(tmp_path: Path) -> None:
    jpg = array_picture(tmp_path / "a.jpg", PIXELS)
    box = (Region(Box(1, 1, 3, 3), "x"),)
    made = CaseSet(
        Case(i, images=(image,), regions=box, labels={"class": "x"})
        for i, image in (("s/a", Image(uri=str(jpg))), ("t/a", Image(array=PIXELS)), ("A", Image(array=DEEP)))
    )
    for layout in ("voc", "coco", "folder-per-class", "csv-images"):
        assert convert(made, layout, tmp_path / layout).written == 3
        assert len(import_folder(tmp_path / layout, layout)) == 3
    masks = CaseSet(c.replace(regions=(Region(mask(), "x"),), images=(Image(array=PIXELS),)) for c in made)
    convert(masks, "nnunet", tmp_path / "nnunet")
    assert len(import_folder(tmp_path / "nnunet")) == 3


def test_real_smears_to_coco_voc_and_back(shared_data: Path, tmp_path: Path) -> None:
    real = read_layout("cbc", shared_data / "cbc").limit(12)
    want = {c.source.id: [(r.label, r.geometry) for r in c.regions] for c in real}
    for layout in ("coco", "voc"):
        report = convert(real, layout, tmp_path / layout)
        assert report.refused == ()
        back = import_folder(tmp_path / layout, layout)
        assert {Path(c.source.id).stem: [(r.label, r.geometry) for r in c.regions] for c in back} == want


def test_real_volumes_to_nnunet_and_back(shared_data: Path, tmp_path: Path) -> None:
    real = read_layout("hippocampus", shared_data / "hippocampus").limit(3).load()
    convert(real, "nnunet", tmp_path / "out")
    back = import_folder(tmp_path / "out")
    for before, after in zip(sorted(real, key=lambda c: c.id), back, strict=True):
        assert np.array_equal(before.images[0].pixels(), after.images[0].pixels())
        assert {r.label: r.geometry for r in before.regions} == {r.label: r.geometry for r in after.regions}
