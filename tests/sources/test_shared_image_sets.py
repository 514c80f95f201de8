"""The sets of labelled images, of clips and of questions give the counts that their README states."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.sources.sources_files import picture, text
from tests.sources.test_shared_sets import labels, load, region_labels, rows
from vesalius.cases import Box, CaseSet, Mask
from vesalius.sources.layouts.detect import detect
from vesalius.sources.layouts.registry import import_folder
from vesalius.sources.open_sets import near_copies

CLASSES = {
    "fracatlas": {"fracture": 240, "no fracture": 240},
    "brain-mr": {"glioma": 150, "meningioma": 150, "no tumour": 150, "pituitary tumour": 150},
    "chest-ct": {"adenocarcinoma": 70, "large cell carcinoma": 70, "squamous cell carcinoma": 70, "normal": 24},
    "mednist": {"AbdomenCT": 150, "BreastMRI": 150, "ChestCT": 150, "Hand": 150, "HeadCT": 150},
    "kvasir-seg": {"polyp": 400},
    "paediatric-pneumonia": {"bacterial pneumonia": 130, "normal": 130, "viral pneumonia": 130},
    "lc25000-lung": {"benign lung tissue": 90, "lung adenocarcinoma": 90, "lung squamous cell carcinoma": 90},
    "pbc-blood": dict.fromkeys(
        ("basophil", "eosinophil", "erythroblast", "immature granulocyte", "lymphocyte", "monocyte", "neutrophil",
         "platelet"), 60
    ),
    "iq-oth-lung-ct": {"benign nodule": 56, "malignant nodule": 126, "normal lung": 90},
    "hc18-fetal-head": {"fetal head": 280},
    "knee-oa": {f"{w} osteoarthritis": 80 for w in ("no", "doubtful", "minimal", "moderate", "severe")},
    "spine-xray": {"normal spine": 46, "scoliosis": 70},
    "shoulder-implant": {"Cofield implant": 43, "DePuy implant": 110, "Tornier implant": 34, "Zimmer implant": 70},
}  # fmt: skip
KINDS = {
    "fracatlas": {("DX", "extremity")},
    "brain-mr": {("MR", "head")},
    "chest-ct": {("CT", "chest")},
    "mednist": {("CT", "abdomen"), ("MR", "breast"), ("CT", "chest"), ("DX", "hand"), ("CT", "head")},
    "kvasir-seg": {("ES", "colon")},
    "paediatric-pneumonia": {("DX", "chest")},
    "lc25000-lung": {("SM", "lung")},
    "pbc-blood": {("GM", "blood")},
    "iq-oth-lung-ct": {("CT", "chest")},
    "hc18-fetal-head": {("US", "fetus")},
    "knee-oa": {("DX", "knee")},
    "spine-xray": {("DX", "spine")},
    "shoulder-implant": {("DX", "shoulder")},
}


def groups(cases: CaseSet) -> int:
    return len({c.patient for c in cases if c.patient})


@pytest.mark.parametrize("name", CLASSES)
def test_classes_and_kinds(shared_data: Path, name: str) -> None:
    cases = load(shared_data, name)
    assert labels(cases, "class") == Counter(CLASSES[name])
    assert {(i.modality, i.body_part) for c in cases for i in c.images} == KINDS[name]
    if name not in near_copies.SETS:  # theirs also hold what looks alike
        table = rows(shared_data / name / "cases.csv")
        assert groups(cases) == len({r["group"] for r in table if r.get("group")})


def test_ct_ich_labels_follow_the_window(shared_data: Path) -> None:
    cases = load(shared_data, "ct-ich")
    assert len(cases) == 427
    assert groups(cases) == 52
    by_window = {w: [c for c in cases if c.images[0].meta["window_name"] == w] for w in ("brain", "bone")}
    want = {
        "epidural haemorrhage": 98, "intraparenchymal haemorrhage": 43, "intraventricular haemorrhage": 8,
        "no haemorrhage": 188, "subarachnoid haemorrhage": 8, "subdural haemorrhage": 25,
    }  # fmt: skip
    assert len(by_window["brain"]) == 358
    for name, n in want.items():
        assert Counter(c.label(name) for c in by_window["brain"]) == {1: n, 0: 358 - n}
    assert Counter(c.label("fracture") for c in by_window["bone"]) == {1: 42, 0: 27}
    assert all(set(c.labels) == {"fracture"} and "haemorrhage" in c.attributes for c in by_window["bone"])
    assert all("fracture" not in c.labels and c.attributes["fracture"] in (0, 1) for c in by_window["brain"])
    assert {c.images[0].meta["plane"] for c in cases} == {"axial"}
    age = {c.patient: c.attributes["age"] for c in cases}
    assert sum(a < 18 for a in age.values()) == 16


def test_fetal_heads_have_scale_and_circumference(shared_data: Path) -> None:
    cases = load(shared_data, "hc18-fetal-head")
    assert groups(cases) == 229
    assert region_labels(cases) == Counter({"fetal head": 560})
    for case, row in zip(cases, rows(shared_data / "hc18-fetal-head" / "cases.csv"), strict=True):
        image, label = case.images[0], case.labels["head circumference"]
        assert (label.value, label.unit) == (float(row["head_circumference_mm"]), "mm")
        assert image.spacing == (float(row["mm_per_pixel"]),) * 2
        assert (image.meta["plane"], image.meta["anatomy"]) == ("axial", "fetal head")
        (mask,) = (r.geometry for r in case.regions if isinstance(r.geometry, Mask))
        (box,) = (r.geometry for r in case.regions if isinstance(r.geometry, Box))
        # A circle of the mask's area is no longer around than its outline; the README allows 15 % between them.
        around = 2 * np.sqrt(np.pi * mask.area) * image.spacing[0]
        assert around == pytest.approx(label.value, rel=0.15)
        assert mask.box().iou(box) > 0.95


def test_knees_have_grades_sides_and_parts(shared_data: Path) -> None:
    cases = load(shared_data, "knee-oa")
    words = {0: "no", 1: "doubtful", 2: "minimal", 3: "moderate", 4: "severe"}
    assert labels(cases, "Kellgren-Lawrence grade") == Counter(dict.fromkeys(words, 80))
    assert {c.labels["Kellgren-Lawrence grade"].unit for c in cases} == {"{grade}"}
    for case in cases:
        assert case.label("class") == f"{words[case.label('Kellgren-Lawrence grade')]} osteoarthritis"
    assert Counter(c.attributes["laterality"] for c in cases) == {"L": 211, "R": 189}
    assert {c.source.split for c in cases} == {"train", "val"}
    assert groups(cases) == 400


def test_polyps_and_spines(shared_data: Path) -> None:
    polyps = load(shared_data, "kvasir-seg")
    assert region_labels(polyps) == Counter(polyp=400)
    assert all(c.regions[0].geometry.shape == c.images[0].pixels().shape[:2] for c in polyps.limit(5))
    spines = load(shared_data, "spine-xray")
    assert {c.images[0].view for c in spines} == {"AP"}
    assert {c.label("class") for c in spines if c.attributes["series"] == "B"} == {"scoliosis"}
    assert sum("curve" in c.attributes for c in spines) == 44


def test_cross_sections_name_planes_sequences_and_structures(shared_data: Path) -> None:
    cases = load(shared_data, "cross-sections")
    assert len(cases) == 379
    source = Counter(str(c.attributes["source"]) for c in cases)
    assert len(source) == 19
    assert (source["aorta"], source["liverus"], source["spine"], source["atrium"]) == (12, 36, 33, 7)
    with_mask = [c for c in cases if c.regions]
    # One slice of the liver's vessels shows none: its mask is empty, and the slice says that they are not there.
    empty = [c for c in cases if c.label("liver vessel or tumour") == 0]
    assert (len(with_mask), len(empty)) == (337, 1)
    assert all(r.geometry.area > 0 and r.label and r.granularity for c in with_mask for r in c.regions)
    meta = Counter((c.images[0].modality, c.images[0].meta.get("sequence"), c.images[0].meta.get("contrast"))
                   for c in cases)  # fmt: skip
    assert meta["MR", "T2", None] == 9 + 33 + 25 + 24 + 25
    assert meta["CT", None, "with"] == 12 + 13 + 13
    assert meta["CT", None, "without"] == 24 + 9
    assert meta["US", None, None] == 16 + 36 + 20
    planes = Counter(c.images[0].meta.get("plane") for c in cases if c.attributes["source"] == "pelvis")
    assert set(planes) == {"axial", "coronal", "sagittal"}
    # Without case numbers a source is one group, and the two of one hospital's patients are one.
    assert {c.patient for c in cases if c.attributes["source"] in ("msflair", "mst1")} == {
        "cross-sections/multiple-sclerosis"
    }
    assert len({c.patient for c in cases if c.attributes["source"] == "mammo"}) == 1
    assert len({c.patient for c in cases if c.attributes["source"] == "spine"}) == 25


def test_lung_clips_are_videos(shared_data: Path) -> None:
    cases = load(shared_data, "lung-ultrasound")
    assert len(cases) == 33
    frames = Counter()
    for case in cases:
        image = case.images[0]
        shape = image.pixels().shape
        assert shape[0] == 12 if image.kind == "video" else len(shape) == 2
        frames[str(case.label("class"))] += shape[0] if image.kind == "video" else 1
        assert image.meta["probe"] in ("convex", "linear")
    assert frames == {"healthy lung": 240, "COVID-19": 31, "viral pneumonia": 24, "bacterial pneumonia": 13}
    assert {c.source.licence for c in cases} == {"CC BY 4.0", "CC BY 2.0"}
    table = {r["clip"]: r for r in rows(shared_data / "lung-ultrasound" / "cases.csv")}
    for case in cases:
        row = table[case.id.partition("/")[2]]
        assert case.patient == f"lung-ultrasound/{row['group']}"
        assert (case.label("class"), case.source.id) == (row["label"], row["source_file"])
    first = cases[0].images[0]
    names = [
        r["file"].rpartition("/")[2] for r in rows(shared_data / "lung-ultrasound" / "cases.csv") if r["clip"] == "00"
    ]
    assert first.meta["files"] == names
    still = first.pixels()[5]
    from PIL import Image as Picture

    np.testing.assert_array_equal(
        still, np.asarray(Picture.open(shared_data / "lung-ultrasound" / "images" / names[5]))
    )


def test_question_sets(shared_data: Path) -> None:
    pages = load(shared_data, "medquad")
    assert sum(len(c.questions) for c in pages) == 7497
    # Three questions of one page name no topic: the page is theirs.
    assert len({c.attributes.get("focus") for c in pages}) == 3418
    topics = {(str(c.attributes.get("focus", "")).lower(), c.patient) for c in pages}
    assert len({p for _, p in topics}) == len(topics) == 3131
    assert all(q.answer and q.tags for c in pages for q in c.questions)
    abstracts = load(shared_data, "pubmedqa")
    assert len(abstracts) == 500
    answers = Counter(c.questions[0].answer for c in abstracts)
    assert set(answers) == {"yes", "no", "maybe"}
    assert answers["yes"] > 250
    assert all(c.questions[0].options == ("yes", "no", "maybe") and c.attributes["context"] for c in abstracts)


def test_sets_with_the_same_columns_are_told_apart_by_their_labels(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.png")
    picture(tmp_path / "images" / "b.png")
    head = "file,label,group,modality,body_part\n"
    text(tmp_path / "cases.csv", head + "images/a.png,fracture,,DX,extremity\nimages/b.png,no fracture,,DX,extremity\n")
    assert detect(tmp_path)[0].name == "fracatlas"
    assert [c.label("class") for c in import_folder(tmp_path)] == ["fracture", "no fracture"]
    text(tmp_path / "cases.csv", head + "images/a.png,normal,,DX,chest\nimages/b.png,fracture,,DX,extremity\n")
    assert detect(tmp_path)[0].name == "csv-images"


def test_a_clip_with_a_lost_frame_or_a_bad_number_says_so(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.png")
    head = "file,clip,frame,frames_in_source,label,group,modality,body_part,probe,licence,source_file\n"
    rest = "healthy lung,g,US,lung,linear,CC BY 4.0,x.mp4\n"
    text(
        tmp_path / "cases.csv", head + f"images/a.png,0,0,9,{rest}images/gone.png,0,1,9,{rest}images/a.png,0,x,9,{rest}"
    )
    cases = import_folder(tmp_path, "lung-ultrasound")
    assert [c.images[0].kind for c in cases] == ["2d"]
    assert [item for item, _ in cases.refused] == ["cases.csv:3", "cases.csv:4"]
