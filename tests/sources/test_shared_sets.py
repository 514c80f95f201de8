"""Every development set gives the counts that its README states, and keeps together what the README says belongs so."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from vesalius.cases import Box, CaseSet, Mask, Point
from vesalius.errors import MissingError, UsageError
from vesalius.sources.builders import captions, label_text
from vesalius.sources.open_sets.readers import read_layout
from vesalius.sources.terms import read_terms


def load(shared_data: Path, name: str) -> CaseSet:
    cases = read_layout(name, shared_data / name)
    assert cases.refused == []
    assert all(c.id.startswith(f"{name}/") and c.source.dataset == name and c.source.licence for c in cases)
    assert len({c.id for c in cases}) == len(cases)
    for case in cases:
        for image in case.images:
            assert image.path is not None
            assert image.path.is_absolute()
            assert image.path.is_file()
            assert image.modality
            assert image.body_part
    return cases


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as f:
        return list(csv.DictReader(f))


def labels(cases: CaseSet, name: str) -> Counter[object]:
    return Counter(c.label(name) for c in cases)


def region_labels(cases: CaseSet) -> Counter[str]:
    return Counter(r.label for c in cases for r in c.regions)


def test_nih_counts_priors_and_order(shared_data: Path) -> None:
    cases = load(shared_data, "nih-cxr14")
    assert len(cases) == 699
    assert len({c.patient for c in cases}) == 482
    want = {
        "No Finding": 390, "Pneumonia": 309, "Infiltration": 105, "Atelectasis": 87, "Effusion": 60, "Edema": 37,
        "Consolidation": 19, "Pleural_Thickening": 18, "Nodule": 14, "Cardiomegaly": 12, "Mass": 9, "Pneumothorax": 7,
        "Fibrosis": 6, "Emphysema": 3, "Hernia": 0,
    }  # fmt: skip
    for name, n in want.items():
        assert labels(cases, name) == Counter({1: n, 0: 699 - n} if n else {0: 699})
    by_id = {c.id: c for c in cases}
    linked = [c for c in cases if c.prior]
    assert len(linked) == 217
    assert sum(c.attributes["changed"] == 1 for c in linked) == 64
    for case in linked:
        prior = by_id[case.prior]
        assert prior.patient == case.patient
        assert prior.attributes["follow_up"] < case.attributes["follow_up"]
        assert prior.attributes["age"] <= case.attributes["age"]
        differ = any(prior.label(n) != case.label(n) for n in want)
        assert differ == (case.attributes["changed"] == 1)
    follow_ups = defaultdict(list)
    for case in cases:
        follow_ups[case.patient].append(case.attributes["follow_up"])
    assert all(f == sorted(f) for f in follow_ups.values())
    assert {(i.modality, i.body_part) for c in cases for i in c.images} == {("DX", "chest")}
    assert {i.view for c in cases for i in c.images} == {"AP", "PA"}


def test_isic_counts_and_same_lesion(shared_data: Path) -> None:
    cases = load(shared_data, "isic2017")
    assert labels(cases, "melanoma") == Counter({0: 1352, 1: 297})
    groups = Counter(c.patient for c in cases if c.patient)
    assert sorted(groups.values()) == [2] * 8 + [4]
    assert sum("age" not in c.attributes for c in cases) == 209
    assert {i.modality for c in cases for i in c.images} == {"DMS"}


def test_busi_counts_and_near_duplicates(shared_data: Path) -> None:
    cases = load(shared_data, "busi")
    assert labels(cases, "class") == Counter(benign=241, malignant=132, normal=69)
    assert Counter(c.source.split for c in cases) == Counter(train=318, val=124)
    table = {r["file"]: r["near_duplicate_group"] for r in rows(shared_data / "busi" / "cases.csv")}
    groups = defaultdict(set)
    for case in cases:
        groups[case.group].add(table[f"images/{case.images[0].path.name}"])
    assert all(len(g) == 1 for g in groups.values())
    parts = cases.split({"train": 0.7, "test": 0.3}, seed=3)
    assert not {c.group for c in parts["train"]} & {c.group for c in parts["test"]}


def test_cbc_counts(shared_data: Path) -> None:
    cases = load(shared_data, "cbc")
    assert len(cases) == 300
    assert region_labels(cases) == Counter(RBC=3340, WBC=307, Platelets=304)
    assert all(isinstance(r.geometry, Box) and r.geometry.area > 0 for c in cases for r in c.regions)
    assert {c.attributes["complete"] for c in cases} == {0}
    assert cases["cbc/BloodImage_00037"].group == cases["cbc/BloodImage_00038"].group
    first = cases["cbc/BloodImage_00000"].regions[0]
    assert (first.label, first.geometry) == ("WBC", Box(260, 177, 491, 376))


def test_chula_counts_complete_and_blocks(shared_data: Path) -> None:
    cases = load(shared_data, "chula-rbc12")
    assert len(cases) == 250
    assert sum(c.attributes["complete"] for c in cases) == 87
    found = region_labels(cases)
    assert sum(found.values()) == 12034
    assert len(found) == 13
    assert (found["normal"], found["target cell"], found["teardrop"]) == (3453, 1407, 90)
    assert all(isinstance(r.geometry, Point) for c in cases for r in c.regions)
    assert len({c.patient for c in cases}) == len({r["block"] for r in rows(shared_data / "chula-rbc12" / "cases.csv")})


def test_brca_counts(shared_data: Path) -> None:
    cases = load(shared_data, "brca-m2c")
    assert Counter(c.source.split for c in cases) == Counter(train=80, val=10)
    assert region_labels(cases) == Counter(tumour_or_epithelial=10689, stroma=6192, lymphocyte=4899)
    assert len({c.patient for c in cases if c.source.split == "train"}) == 75
    for case in cases:
        assert case.label("stroma count") == sum(r.label == "stroma" for r in case.regions)


def test_hippocampus_masks_and_pairs(shared_data: Path) -> None:
    cases = load(shared_data, "hippocampus")
    assert len(cases) == 120
    table = {Path(r["image"]).name: r for r in rows(shared_data / "hippocampus" / "cases.csv")}
    pairs = defaultdict(set)
    for case in cases:
        row = table[case.images[0].path.name]
        pairs[row["number_pair"]].add(case.patient)
        areas = {r.label: r.geometry.area for r in case.regions}
        assert areas == {
            "anterior hippocampus": int(row["anterior_voxels"]),
            "posterior hippocampus": int(row["posterior_voxels"]),
        }
        image = case.images[0]
        assert {r.geometry.shape for r in case.regions} == {image.shape}
        assert image.shape == tuple(int(row[f"dim_{axis}"]) for axis in "zyx")
        assert image.spacing == tuple(float(row[f"mm_{axis}"]) for axis in "zyx")
        assert image.meta["anatomy"] == "hippocampus"
    assert cases[0].images[0].pixels().shape == cases[0].images[0].shape
    assert all(len(p) == 1 for p in pairs.values())


def test_chase_two_observers(shared_data: Path) -> None:
    cases = load(shared_data, "chase-db1")
    assert len(cases) == 20
    assert Counter(Counter(c.patient for c in cases).values()) == Counter({2: 10})
    for row in rows(shared_data / "chase-db1" / "cases.csv"):
        case = cases[f"chase-db1/{Path(row['image']).stem}"]
        for number, region in enumerate(case.regions, 1):
            assert region.annotator == f"observer {number}"
            assert isinstance(region.geometry, Mask)
            assert region.geometry.shape == (960, 999)
            assert region.geometry.area / (960 * 999) == pytest.approx(float(row[f"vessel_fraction{number}"]), abs=1e-4)


def test_covid_counts_order_and_licences(shared_data: Path) -> None:
    cases = load(shared_data, "covid-cc-by")
    assert len(cases) == 113
    assert len({c.patient for c in cases}) == 63
    assert sum(n > 1 for n in Counter(c.patient for c in cases).values()) == 26
    assert region_labels(cases) == Counter({"right lung": 113, "left lung": 113, "lungs": 83})
    assert labels(cases, "COVID-19")[1] == 85
    assert Counter(c.source.licence for c in cases)["CC BY 3.0"] == 104
    assert sum("licence_doubt" in c.attributes for c in cases) == 1
    assert sum(c.report is not None for c in cases) == 9
    by_id = {c.id: c for c in cases}
    for case in cases:
        if case.prior:
            assert by_id[case.prior].patient == case.patient
            assert by_id[case.prior].time < case.time
        lungs = {r.label: r.geometry for r in case.regions if isinstance(r.geometry, Box)}
        assert all(r.attributes == {"loose": 1} for r in case.regions if isinstance(r.geometry, Box))
        assert lungs["right lung"].centre.x < lungs["left lung"].centre.x


def test_vqa_rad_text(shared_data: Path) -> None:
    cases = load(shared_data, "vqa-rad-text")
    questions = [q for c in cases for q in c.questions]
    assert len(questions) == 1682
    assert sum("closed" in q.tags for q in questions) == 842
    assert len(cases) == len({r["image_id"] for r in rows(shared_data / "vqa-rad-text" / "qa.csv")})


def test_disease_terms(shared_data: Path) -> None:
    folder = shared_data / "disease-ontology"
    radiology, cancer = read_terms(folder / "DO_RAD_slim.obo"), read_terms(folder / "DO_cancer_slim.obo")
    assert (len(radiology), len(cancer)) == (81, 729)
    assert len(read_terms(folder / "DO_cancer_slim.obo", obsolete=True)) == 730
    both = read_terms(folder)
    assert len(both) == len({t.id for t in (*radiology, *cancer)})
    heart = next(t for t in radiology if t.name == "cardiomyopathy")
    assert heart.synonyms == ("Cardiomyopathies",)
    assert heart.parents == ("DOID:114",)
    assert "ICD10CM:I42" in heart.codes


def test_captions_of_real_cases_are_true(shared_data: Path) -> None:
    film = load(shared_data, "nih-cxr14")["nih-cxr14/00000165_001"]
    told = captions(film, 12, seed=5, absent=0)
    assert len(told) == 12
    assert all("pneumonia" in s.lower() for s in told)
    assert label_text(film) == "DX chest: pneumonia"
    smear = load(shared_data, "chula-rbc12")["chula-rbc12/9"]
    assert not any("normal" in s for s in captions(smear, 30, seed=1))


def test_an_unknown_set_or_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no-such-set"):
        read_layout("no-such-set", tmp_path)
    with pytest.raises(MissingError, match="not there"):
        read_layout("busi", tmp_path / "gone")
    with pytest.raises(MissingError, match=r"cases\.csv"):
        read_layout("busi", tmp_path)
