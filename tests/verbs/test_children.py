"""Verbs that look at pixels leave the reading of files to bounded children: this process decodes nothing."""

from __future__ import annotations

import numpy as np
import pytest

from vesalius.cases import CaseSet, image
from vesalius.io import pixels, read
from vesalius.io.write import write_png
from vesalius.systems import open_system


@pytest.fixture
def films(tmp_path):
    CaseSet(open_system("cbm-robust").example(12, 101)).write(tmp_path / "films")
    return tmp_path / "films"


@pytest.fixture(autouse=True)
def _no_decoding_here(monkeypatch):
    def refuse(*_):
        raise AssertionError("a file was decoded in this process")

    monkeypatch.setattr(pixels, "_read", refuse)
    monkeypatch.setattr(image, "_read_npy", refuse)


def test_the_guard_works(films, pictures):
    for case in (CaseSet.read(films)[0], next(iter(read(pictures)))):
        with pytest.raises(Exception, match="decoded in this process"):
            case.images[0].pixels()


def test_library_and_search_by_path(pictures, tmp_path, run, run_json):
    code, _, said = run("index", pictures, "--library", tmp_path / "lib", "--model", "nano")
    assert code == 0, said
    code, done = run_json("search", tmp_path / "lib", "--image", pictures / "disc" / "3.png", "--same-patient")
    assert code == 0
    assert done["result"]["hits"][0]["score"] == pytest.approx(1, abs=1e-3)


def test_segment(films, tmp_path, run):
    write_png(tmp_path / "a.png", (np.indices((96, 96)).sum(0) % 200).astype(np.uint8))
    code, _, said = run("segment", tmp_path / "a.png", "--point", "40,40", "--out", tmp_path / "seg")
    assert code == 0, said


def test_train_goes_on_without_a_picture_that_cannot_be_read(films, tmp_path, run_json):
    cases = list(CaseSet.read(films))
    (tmp_path / "bank.txt").write_text("blunted costophrenic angle\nhomogeneous white opacity\n")
    broken = cases[0].images[0].path
    broken.write_bytes(broken.read_bytes()[:60])
    code, done = run_json(
        "train", "cbm-robust", "--data", films, "--target", "pleural effusion", "--steps", 2, "--out", tmp_path / "m",
        "--set", f"concepts={tmp_path / 'bank.txt'}",
    )  # fmt: skip
    assert code == 3
    assert done["result"]["cases"] == 11
    assert [r["item"] for r in done["refused"]] == [cases[0].id]
