"""Whatever happens to a table or description, reading it ends in cases, named refusals, or a named error."""

from __future__ import annotations

import random
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.sources.sources_files import dump, picture, text
from vesalius.cases import Box, Case, CaseSet, Image, Mask, Question, Region, Source
from vesalius.errors import VesaliusError
from vesalius.sources.layouts.convert import convert, writable
from vesalius.sources.layouts.detect import detect
from vesalius.sources.layouts.registry import import_folder

_JSON = (b"null", b"[]", b"{}", b"-1", b"1e999", b'"x"', b'"../x"', b"NaN", b"true", b"[[1]]", b"9" * 30)
_TEXT = (b"\xff", b"\x00", b'"', b",", b"\n", b"..", b"nan", b"1e999", b"<", b"&x;", b"-" * 9)
_FILES = {".json", ".jsonl", ".csv", ".xml", ".txt", ".yaml", ".npz", ".gz"}


def folder_of(layout: str, out: Path) -> Path:
    if layout == "yolo":
        picture(out / "images" / "a.png")
        text(out / "labels" / "a.txt", "0 0.5 0.5 0.2 0.2\n0 0.1 0.1 0.5 0.1 0.5 0.5\n")
        text(out / "data.yaml", "names:\n  0: polyp\n")
        return out
    if layout == "slake":
        picture(out / "imgs" / "xmlab1" / "source.jpg")
        dump(out / "imgs" / "xmlab1" / "detection.json", [{"Liver": [1, 1, 3, 3]}])
        dump(
            out / "train.json",
            [{"img_name": "xmlab1/source.jpg", "question": "q", "answer": "a", "q_lang": "en", "qid": 1}],
        )
        text(out / "mask.txt", "1:Liver\n")
        return out
    if layout == "msd":
        folder_of("nnunet", out)
        image = next((out / "imagesTr").glob("*"))
        label = next((out / "labelsTr").glob("*"))
        pair = {"image": image.relative_to(out).as_posix(), "label": label.relative_to(out).as_posix()}
        dump(
            out / "dataset.json",
            {"modality": {"0": "MRI"}, "labels": {"0": "no", "1": "x"}, "training": [pair], "test": []},
        )
        return out
    deep = layout in {"nnunet", "msd"}
    array = np.arange(60, dtype=np.uint8).reshape((3, 4, 5) if deep else (6, 10))
    region = Region(Mask.from_array(array > 30), "x")
    cases = [
        Case(
            f"c{n}",
            images=(Image(array=array, kind="3d" if deep else "2d", modality="MR"),),
            regions=(region,) if deep else (region, Region(Box(1, 1, 3, 3), "y")),
            labels={"class": "a" if n else "b"},
            questions=(Question("q", "a"),),
            source=Source(split="train"),
        )
        for n in range(2)
    ]
    convert(CaseSet(cases), layout, out)
    return out


def damaged(data: bytes, suffix: str, rng: random.Random) -> bytes:
    spots = (
        list(re.finditer(rb'(?<=: )("[^"]*"|-?\d[\d.]*|null)|(?<=\[|,)(-?\d[\d.]*)', data)) if suffix == ".json" else []
    )
    if spots and rng.random() < 0.7:
        spot = rng.choice(spots)
        return data[: spot.start()] + rng.choice(_JSON) + data[spot.end() :]
    at = rng.randrange(len(data) + 1)
    kind = rng.random()
    if kind < 0.4:
        return data[:at]
    if kind < 0.8:
        return data[:at] + rng.choice(_TEXT) + data[at + rng.randrange(5) :]
    return data[:at] + data[max(0, at - 40) :]


@pytest.mark.parametrize("layout", [*writable(), "yolo", "slake", "msd"])
def test_damage_never_ends_in_a_crash(layout: str, tmp_path: Path) -> None:
    whole = folder_of(layout, tmp_path / "whole")
    assert len(import_folder(whole, layout)) >= 1
    rng = random.Random(f"damage {layout}")
    for n in range(30):
        broken = tmp_path / str(n)
        shutil.copytree(whole, broken)
        files = sorted(p for p in broken.rglob("*") if p.suffix in _FILES)
        if not files:  # a folder per class has nothing but pictures
            files = sorted(p for p in broken.rglob("*") if p.is_file())
        file = rng.choice(files)
        file.write_bytes(damaged(file.read_bytes(), file.suffix, rng))
        detect(broken)
        try:
            cases = import_folder(broken, layout)
        except VesaliusError:
            continue
        assert all(item and why for item, why in cases.refused)
        for case in cases:
            assert all(i.path is None or i.path.resolve().is_relative_to(broken.resolve()) for i in case.images)
