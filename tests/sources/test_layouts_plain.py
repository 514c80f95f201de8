"""CSV + images, folder per class, detection, and tables, JSON and XML that try to do harm."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sources.sources_files import dump, picture, text
from vesalius.errors import BadInputError, MissingError, UnsafeInputError, UsageError
from vesalius.sources.layouts import files
from vesalius.sources.layouts.common import split_name
from vesalius.sources.layouts.detect import detect
from vesalius.sources.layouts.files import FileIndex, inside, read_json, read_xml, rows
from vesalius.sources.layouts.registry import import_folder, layout_named, layouts, reference, resolve
from vesalius.sources.layouts.values import parse


def test_csv_images_understands_common_columns(tmp_path: Path) -> None:
    for n in (1, 2, 3):
        picture(tmp_path / "images" / f"{n}.png")
    text(
        tmp_path / "train.csv",
        "\ufeffFilename,Patient_ID,Age,Gender,effusion,edema,score,Diagnosis,findings\r\n"
        'images/1.png,p1,63,f,1,,0.5,"pneumonia, viral","Two lines\nof text, and a ""quote"""\r\n'
        "images/2.png,p1,064Y,M,0,-1,1,normal,\r\n"
        "3.png,p2,old,M,0,1,2,normal,\r\n"
        "4.png,p2,50,M,0,1,2,normal,\r\n"
        "3.png,p2,50,M,0,1\r\n"
        "..\\..\\secret.png,p2,50,M,0,1,2,normal,\r\n"
        "/etc/passwd,p2,50,M,0,1,2,normal,\r\n"
        "C:\\secret.png,p2,50,M,0,1,2,normal,\r\n",
    )
    assert detect(tmp_path)[0].name == "csv-images"
    cases = import_folder(tmp_path)
    assert [c.id for c in cases] == [f"csv-images/{n}" for n in (1, 2, 3)]
    first, second, third = cases
    assert first.patient == second.patient == "csv-images/p1"
    assert first.attributes == {"age": 63.0, "sex": "F", "score": "0.5"}
    assert first.label("class") == "pneumonia, viral"
    assert first.report is not None
    assert first.report.findings == 'Two lines\nof text, and a "quote"'
    assert (first.label("effusion"), second.label("edema"), third.label("edema")) == (1, -1, 1)
    assert "edema" not in first.labels
    assert {c.source.split for c in cases} == {"train"}
    why = dict(cases.refused)
    assert sorted(why) == [f"train.csv:{n}" for n in (10, 5, 6, 7, 8, 9)]
    assert "left out" in why["train.csv:5"]
    assert "cells" in why["train.csv:7"]
    assert all("outside" in why[f"train.csv:{n}"] for n in (8, 9, 10))


def test_folder_per_class_with_and_without_parts(tmp_path: Path) -> None:
    for place in ("train/COVID", "train/normal", "test/normal"):
        picture(tmp_path / "a" / place / "1.png")
        picture(tmp_path / "b" / place.rpartition("/")[2] / "1.png")
    text(tmp_path / "a" / "test" / "normal" / "notes.txt", "x")
    assert detect(tmp_path / "a")[0].name == "folder-per-class"
    cases = import_folder(tmp_path / "a")
    assert [(c.id, c.label("class"), c.source.split) for c in cases] == [
        ("folder-per-class/test/normal/1", "normal", "test"),
        ("folder-per-class/train/COVID/1", "COVID", "train"),
        ("folder-per-class/train/normal/1", "normal", "train"),
    ]
    assert cases.refused == [("test/normal/notes.txt", "it is not an image")]
    assert [(c.label("class"), c.source.split) for c in import_folder(tmp_path / "b")] == [
        ("COVID", ""),
        ("normal", ""),
    ]


def test_detection_says_what_it_saw_and_leaves_strange_folders_alone(tmp_path: Path) -> None:
    assert detect(tmp_path) == []
    with pytest.raises(BadInputError, match="cannot tell the layout"):
        import_folder(tmp_path)
    with pytest.raises(MissingError):
        detect(tmp_path / "gone")
    picture(tmp_path / "images" / "a.png")
    picture(tmp_path / "masks" / "a.png")
    assert detect(tmp_path) == []
    text(tmp_path / "broken.json", "[1, 2")
    text(tmp_path / "broken.npz", "zip?")
    text(tmp_path / "broken.csv", b"\xff\xfe\x00")
    assert detect(tmp_path) == []
    text(tmp_path / "cases.csv", "file,label\nimages/a.png,x\n")
    (found,) = detect(tmp_path)
    assert (found.name, found.saw) == ("csv-images", "cases.csv whose file names files that are there")


def test_every_shared_set_is_recognised(shared_data: Path) -> None:
    for folder in sorted(p for p in shared_data.iterdir() if p.is_dir() and p.name != "disease-ontology"):
        found = detect(folder)
        assert found[0].name == folder.name
        assert len(found) == 1 or found[1].confidence < found[0].confidence


def test_import_of_a_shared_set_by_detection(shared_data: Path) -> None:
    cases = import_folder(shared_data / "busi")
    assert (cases.name, len(cases), cases.refused) == ("busi", 442, [])
    streamed = import_folder(shared_data / "busi", "busi", stream=True)
    assert "streamed" in repr(streamed)
    assert [c.id for c in streamed] == cases.ids()


def test_listing_imports_nothing_heavy() -> None:
    code = (
        "import sys, vesalius.sources.layouts.registry as r; r.layouts();"
        "print([m for m in ('torch', 'scipy', 'pydicom', 'nibabel', 'PIL', 'matplotlib') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_every_layout_resolves_and_is_described() -> None:
    names = [layout.name for layout in layouts()]
    assert len(names) == len(set(names))
    for layout in layouts():
        assert callable(resolve(layout.reader))
        assert layout.title
        assert layout.signs
        assert all(
            rule.kind in {"path", "columns", "values", "json", "npz", "xml", "class_folders", "named_files"}
            for s in layout.signs
            for rule in s.rules
        )
        assert all(0 < s.confidence <= 1 for s in layout.signs)
        if layout.writer:
            assert callable(resolve(layout.writer))
    with pytest.raises(UsageError, match="no such layout"):
        layout_named("nope")
    with pytest.raises(UsageError, match="must live"):
        resolve("os:system")


def test_the_reference_names_every_layout() -> None:
    text = reference()
    for layout in layouts():
        assert f"| `{layout.name}` |" in text
    assert len(text.splitlines()) == len(layouts()) + 2
    assert text.count("| yes |") == 7


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    secret = picture(tmp_path / "secret.png")
    folder = tmp_path / "set"
    picture(folder / "a.png")
    (folder / "b.png").symlink_to(secret)
    text(folder / "cases.csv", "file\na.png\nb.png\n")
    cases = import_folder(folder)
    assert cases.ids() == ["csv-images/a"]
    assert "link" in cases.refused[0][1]


@pytest.mark.parametrize(
    "name", ["../x.png", "a/../../x.png", "/x.png", "\\\\host\\x.png", "C:x.png", "c:/x.png", "..", "a\0b", "  "]
)
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    picture(tmp_path / "x.png")
    folder = tmp_path / "set"
    folder.mkdir()
    with pytest.raises(BadInputError):
        inside(folder, name)
    with pytest.raises(BadInputError):
        FileIndex(folder).find(name)


@given(st.text(max_size=30))
def test_no_name_ever_leads_out(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    folder = tmp_path_factory.getbasetemp() / "held"
    if not folder.exists():
        picture(folder / "a.png")
    try:
        found = inside(folder, name)
    except BadInputError:
        return
    assert os.path.realpath(found).startswith(os.path.realpath(folder) + os.sep)


def test_two_files_of_one_name_are_not_guessed_between(tmp_path: Path) -> None:
    picture(tmp_path / "one" / "a.png")
    picture(tmp_path / "two" / "a.png")
    index = FileIndex(tmp_path)
    with pytest.raises(BadInputError, match="cannot tell"):
        index.find("a.png")
    assert index.find("two/a.png") == tmp_path / "two" / "a.png"
    with pytest.raises(BadInputError, match="not there"):
        index.find("three/a.png")


def test_tables_from_strangers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_LINE", 1000)
    file = text(
        tmp_path / "t.csv",
        b"\xef\xbb\xbfa,b\r\n1,2\r\n\r\n" + b"x" * 5000 + b",2\r\n3,\xff\r\n4,\x00\r\n5,6,7\r\n" + b'"8",9\r\n',
    )
    refused: files.Refused = []
    assert list(rows(file, refused)) == [(2, {"a": "1", "b": "2"}), (8, {"a": "8", "b": "9"})]
    assert [i for i, _ in refused] == ["t.csv:4", "t.csv:5", "t.csv:6", "t.csv:7"]


def test_an_open_quote_costs_rows_but_not_the_memory(tmp_path: Path) -> None:
    file = text(tmp_path / "t.csv", 'a,b\n1,"2\n' + "3,4\n" * 100_000)
    refused: files.Refused = []
    found = list(rows(file, refused))
    assert refused
    assert all(set(row) == {"a", "b"} for _, row in found)


def test_repeated_columns_are_refused(tmp_path: Path) -> None:
    refused: files.Refused = []
    assert list(rows(text(tmp_path / "t.csv", "a,a\n1,2\n"), refused)) == []
    assert refused == [("t.csv:1", "two columns have one name")]


@pytest.mark.parametrize(
    "content",
    [
        "[" * 100_000,
        "[" * 150 + "]" * 150,
        '{"a": 1, "a": 2}',
        "{",
        b"\xff\xfe",
        '{"a": ' * 5000,
        '["]]]]", ' + "[" * 101 + "]" * 102,
    ],
)
def test_json_from_strangers(tmp_path: Path, content: str | bytes) -> None:
    with pytest.raises(BadInputError):
        read_json(text(tmp_path / "x.json", content))


def test_json_with_brackets_in_strings_is_read(tmp_path: Path) -> None:
    data = {"text": "[" * 500 + '\\"{{', "list": [[[1]]]}
    assert read_json(dump(tmp_path / "x.json", data)) == data
    assert read_json(text(tmp_path / "y.json", "\ufeff" + json.dumps(data))) == data


def test_xml_keeps_text_and_refuses_entities(tmp_path: Path) -> None:
    root = read_xml(text(tmp_path / "a.xml", "<a b='1'><c>x &amp; y</c></a>"))
    assert (root.tag, root.get("b"), root.findtext("c")) == ("a", "1", "x & y")
    with pytest.raises(UnsafeInputError):
        read_xml(text(tmp_path / "b.xml", '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]><a>&x;</a>'))
    with pytest.raises(BadInputError):
        read_xml(text(tmp_path / "c.xml", "<a>"))
    with pytest.raises(BadInputError):
        read_xml(text(tmp_path / "d.xml", ""))


@pytest.mark.parametrize(
    ("cell", "how", "want"),
    [
        ("058Y", "age", 58.0), ("6M", "age", 0.5), ("", "age", None), ("NA", "number", None), ("1.0", "status", 1),
        ("-1.0", "status", -1), ("female", "sex", "F"), ("M", "sex", "M"), ("AP Supine", "view", "AP SUPINE"),
        ("LL", "view", "LL"), ("true", "flag", 1), ("3", "integer", 3), ("NA", "text", "NA"),
    ],
)  # fmt: skip
def test_cells(cell: str, how: str, want: object) -> None:
    assert parse(cell, how) == want


@pytest.mark.parametrize(
    ("cell", "how"),
    [
        ("411", "age"),
        ("-3", "age"),
        ("2", "status"),
        ("inf", "number"),
        ("1.5", "integer"),
        ("x", "sex"),
        ("2", "flag"),
    ],
)
def test_cells_that_cannot_be_understood(cell: str, how: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse(cell, how)


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("instances_train2017", "train"),
        ("validate", "val"),
        ("imagesTs", "test"),
        ("latest", ""),
        ("ISIC-2017_Training", "train"),
        ("trainer", ""),
    ],
)
def test_parts_in_names(name: str, want: str) -> None:
    assert split_name(name) == want
