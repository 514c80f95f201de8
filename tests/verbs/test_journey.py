"""The main job through the command line: import, index, search, classify, fit, and what is left behind."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

#: The drawn pictures' folders are their classes; that is not guessed, because any folder of folders looks like it.
FOLDERS = ("--layout", "folder-per-class")


@pytest.fixture(scope="module")
def library(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from vesalius.cli.main import main

    folder = tmp_path_factory.mktemp("library") / "lib"
    assert main(["index", str(pictures), "--library", str(folder), "--quiet", "--workers", "0", *FOLDERS]) == 0
    return folder


def test_mixed_folder_ends_with_3_and_a_list_and_everything_else_is_searchable(run_json, mixed, tmp_path) -> None:
    code, done = run_json("index", mixed, "--library", tmp_path / "lib", "--layout", "files", "--out", tmp_path / "out")
    assert code == 3
    refused = {Path(r["item"]).name: r["why"] for r in done["refused"]}
    assert set(refused) == {"notes.txt", "empty.dcm", "broken.png"}
    assert all(refused.values())
    manifest = json.loads((tmp_path / "out" / "run.json").read_text())
    assert manifest["exit_code"] == 3
    assert manifest["versions"]["torch"]
    assert manifest["facts"]["library"]["images"] == 4
    code, found = run_json("search", tmp_path / "lib", "--text", "CT of the abdomen", "-k", "9")
    assert code == 0
    assert len(found["result"]["hits"]) == 4
    code, again = run_json("index", mixed, "--library", tmp_path / "lib", "--layout", "files", "--check")
    assert again["result"]["added"][0]["skipped"] == 4
    assert again["result"]["check"]["ok"]


def test_search_by_image_finds_its_own_kind(run_json, library, pictures) -> None:
    _, found = run_json("search", library, "--image", pictures / "stripes" / "3.png", "-k", "5")
    kinds = [hit["labels"]["class"] for hit in found["result"]["hits"]]
    assert kinds.count("stripes") >= 4


def test_filter_and_words(run_json, library) -> None:
    _, found = run_json(
        "search", library, "--text", "disc", "--mode", "text", "--where", "label.class = disc", "-k", "50"
    )
    assert {hit["labels"]["class"] for hit in found["result"]["hits"]} == {"disc"}
    code, wrong = run_json("search", library, "--text", "x", "--where", "label.class = = disc")
    assert code == 2
    assert wrong["item"] or wrong["why"]


def test_fit_then_classify_with_the_stored_point(run_json, pictures, tmp_path) -> None:
    head = tmp_path / "head"
    code, fitted = run_json(
        "fit",
        pictures,
        *FOLDERS,
        "--target",
        "class",
        "--positive",
        "disc",
        "--sensitivity",
        "0.9",
        "--out",
        head,
        "--plot",
    )
    assert code == 0
    auroc = next(m for m in fitted["result"]["evaluation"]["measures"] if m["name"] == "auroc")
    assert auroc["value"] > 0.9
    assert auroc["low"] <= auroc["value"] <= auroc["high"]
    assert (head / "roc.png").stat().st_size > 1000
    point = fitted["result"]["points"]["sensitivity=0.9 disc"]
    code, done = run_json(
        "classify",
        pictures,
        *FOLDERS,
        "--head",
        head,
        "--evidence",
        "2",
        "--target",
        "class",
        "--out",
        tmp_path / "out",
        "--plot",
    )
    assert code == 0
    rows = done["result"]["cases"]
    assert len(rows) == 24
    for row in rows:
        assert row["positive"] == (row["probabilities"]["disc"] >= point["threshold"])
        assert len(row["evidence"]) == 2
    written = list(csv.DictReader((tmp_path / "out" / "predictions.csv").open()))
    assert [r["id"] for r in written] == [r["id"] for r in rows]
    assert (tmp_path / "out" / "contact-sheet.png").is_file()


def test_fit_on_a_library_gives_the_same_head_as_on_its_cases(run_json, library, pictures) -> None:
    _, direct = run_json("fit", pictures, *FOLDERS, "--target", "class", "--kind", "prototype")
    _, stored = run_json("fit", library, "--target", "class", "--kind", "prototype")
    for key in ("classes", "fingerprint", "kind"):
        assert direct["result"][key] == stored["result"][key]
    a, b = (r["result"]["evaluation"]["measures"][0]["value"] for r in (direct, stored))
    assert a == pytest.approx(b)


def test_zero_shot(run_json, pictures) -> None:
    code, done = run_json("classify", pictures / "disc" / "0.png", "--labels", "chest x-ray, fundus photograph")
    assert code == 0
    (row,) = done["result"]["cases"]
    assert sum(row["probabilities"].values()) == pytest.approx(1)


def test_import_validate_split_convert(run_json, run, pictures, tmp_path) -> None:
    cases = tmp_path / "set"
    code, done = run_json("data", "import", pictures, "--to", cases, *FOLDERS)
    assert code == 0
    assert done["result"]["cases"] == 24
    assert run("data", "validate", cases, "--pixels")[0] == 0
    code, done = run_json(
        "data", "split", cases, "--to", tmp_path / "parts", "--parts", "train=0.5,test=0.5", "--stratify", "class"
    )
    assert done["result"]["parts"]["train"]["labels"]["class"] == {"disc": 6, "stripes": 6}
    assert run("data", "validate", tmp_path / "parts" / "test", "--pixels")[0] == 0
    code, done = run_json(
        "data", "convert", cases, "--to", tmp_path / "again", "--as", "folder-per-class", "--label", "class"
    )
    assert code == 0
    assert len(list((tmp_path / "again").rglob("*.png"))) == 24
    assert run("data", "import", pictures, "--to", cases)[0] == 2
    (cases / "images").rename(cases / "gone")
    code, done = run_json("data", "validate", cases)
    assert code == 3
    assert len(done["result"]["faults"]) >= 24


def test_import_says_which_layout_it_saw_by_what_and_what_it_could_not_read(run, pictures, tmp_path) -> None:
    table = tmp_path / "table"
    table.mkdir()
    first, second = sorted(pictures.rglob("*.png"))[:2]
    (table / "a.png").write_bytes(first.read_bytes())
    (table / "b.png").write_bytes(second.read_bytes())
    (table / "Data_Entry_2017.csv").write_text(
        "Image Index,Finding Labels,Follow-up #,Patient ID\n"
        "a.png,No Finding,0,1\nb.png,Effusion|Mass,0,2\nmissing.png,Mass,0,3\n"
    )
    code, _, said = run("data", "import", table, "--to", tmp_path / "set")
    assert code == 3
    assert "read as nih-official (saw Data_Entry_2017.csv with the columns Image Index" in said
    assert "missing.png" in said
    code, _, said = run("data", "import", pictures, "--to", tmp_path / "plain", "--dry-run")
    assert code == 0
    assert "could be folder-per-class" in said
    assert "read as plain files" in said
    code, _, said = run("data", "import", pictures, "--to", tmp_path / "told", "--dry-run", *FOLDERS)
    assert "read as folder-per-class (as asked)" in said


def test_dry_run_writes_nothing(run, pictures, tmp_path) -> None:
    assert run("index", pictures, "--library", tmp_path / "lib", "--dry-run")[0] == 0
    assert run("data", "import", pictures, "--to", tmp_path / "set", "--dry-run")[0] == 0
    assert list(tmp_path.iterdir()) == []


def test_deidentify(run_json, mixed, tmp_path) -> None:
    import pydicom

    code, done = run_json("data", "deid", mixed, "--to", tmp_path / "clean", "--key-file", tmp_path / "key")
    assert code == 3
    assert done["result"]["written"] == 2
    original = {str(pydicom.dcmread(mixed / n).PatientID) for n in ("CT_small.dcm", "examples_overlay.dcm")}
    for path in (tmp_path / "clean").iterdir():
        clean = pydicom.dcmread(path)
        assert clean.PatientIdentityRemoved == "YES"
        assert str(clean.PatientID) not in original
    assert (tmp_path / "key").stat().st_mode & 0o077 == 0
