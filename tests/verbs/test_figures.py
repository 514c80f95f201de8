"""Figures and answers that say what they stand on: classes, left-out cases, files, what was trained on, evidence."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

import vesalius as vs
from vesalius.cases import Case, CaseSet, Image, Label
from vesalius.errors import UsageError
from vesalius.metrics.truth import against_classes, against_numbers


def test_a_class_that_no_case_has_counts():
    """Everything malignant, on cases that are normal or benign: accuracy is nought, not one."""
    p = np.tile([0.1, 0.1, 0.8], (10, 1))
    truth = ["normal"] * 5 + ["benign"] * 5
    found = against_classes(p, truth, ("normal", "benign", "malignant"), [f"p{i}" for i in range(10)])
    assert found.evaluation["accuracy"].value == 0
    assert found.evaluation.counts == {"normal": 5, "benign": 5, "malignant": 0}


def test_cases_outside_the_classes_are_counted_not_dropped():
    p = np.tile([0.6, 0.4], (40, 1))
    truth = ["a"] * 5 + ["b"] * 5 + ["c"] * 20 + [None] * 10
    found = against_classes(p, truth, ("a", "b"), [f"p{i}" for i in range(40)])
    assert found.evaluation.n == 10
    assert found.left_out == {"": 10, "c": 20}
    with pytest.raises(UsageError, match="none of its values"):
        against_classes(p, ["z"] * 40, ("a", "b"), ["p"] * 40)


def test_one_and_nought_stand_for_a_finding_and_its_absence():
    p = np.asarray([[0.9, 0.1], [0.2, 0.8]])
    found = against_classes(p, [1, 0.0], ("Effusion", "no finding"), ["a", "b"], target="effusion")
    assert found.evaluation["accuracy"].value == 1


def test_numbers_leave_out_what_is_none():
    found = against_numbers(np.asarray([1.0, 2, 3]), [1.0, None, 5], ["a", "b", "c"])
    assert (found.evaluation.n, found.left_out) == (2, {"": 1})


def draw(i: int, kind: str, **more: object) -> Case:
    y, x = np.mgrid[:64, :64]
    shade = (
        np.where((x - 32) ** 2 + (y - 32) ** 2 < (8 + i) ** 2, 210, 40)
        if kind == "disc"
        else 120 + 90 * np.sin(x / (2 + i / 9))
    )
    return Case(f"{kind}-{i}", images=(Image(array=shade.astype(np.uint8)),), labels={"class": Label(kind)}, **more)


@pytest.fixture(scope="module")
def nobody() -> CaseSet:
    """Cases without patient numbers."""
    return CaseSet([draw(i, kind) for i in range(8) for kind in ("disc", "stripes")])


def test_no_case_is_its_own_evidence_without_patient_numbers_either(nobody, tmp_path):
    head = vs.fit(nobody, "class", kind="prototype", workers=0)
    done = vs.classify(nobody, head=head, evidence=3, target="class", workers=0, out=tmp_path)
    assert len(done.cases) == 16
    assert all(case.id not in [near.id for near in case.evidence] for case in done.cases)
    # And the figures say that the head learned from these very cases.
    assert done.figures.trained_on == 16
    assert "TRAINED ON: the model or head learned from 16 of these cases" in str(done)
    assert json.loads((tmp_path / "run.json").read_text())["result"]["figures"]["trained_on"] == 16


def test_every_answer_names_its_file(run, run_json, pictures, tmp_path):
    code, out, _ = run("classify", pictures / "disc", "--labels", "disc,stripes", "--limit", 3, "--out", tmp_path / "o")
    assert code == 0
    rows = list(csv.DictReader((tmp_path / "o" / "predictions.csv").open()))
    assert {r["file"] for r in rows} <= {str(p) for p in (pictures / "disc").iterdir()}
    assert len({r["file"] for r in rows}) == 3
    for row in rows:
        assert f"{row['file']} [{row['id']}]" in out
    done = json.loads((tmp_path / "o" / "predictions.json").read_text())
    assert [d["file"] for d in done] == [r["file"] for r in rows]


def test_left_out_cases_are_said(run, pictures):
    code, out, _ = run(
        "classify", pictures, "--layout", "folder-per-class", "--labels", "disc,malignant", "--target", "class"
    )
    assert code == 0
    assert "left out: 12 case(s) whose value is none of the classes (stripes 12)" in out
    assert "against the truth, 12 cases" in out


def test_a_trained_system_remembers_its_pictures_and_figures_on_them_are_marked(tmp_path, run_json):
    from vesalius.systems import open_system

    CaseSet(open_system("3mt").example(24, 101)).write(tmp_path / "cases")
    code, done = run_json(
        "train", "medmnistc", "--data", tmp_path / "cases", "--target", "pleural effusion", "--steps", 2, "--out",
        tmp_path / "model",
    )  # fmt: skip
    assert code == 0, done
    code, done = run_json(
        "classify", tmp_path / "cases", "--model", f"dir:{tmp_path / 'model'}", "--target", "pleural effusion"
    )
    assert code == 0
    assert done["result"]["figures"]["trained_on"] == done["result"]["figures"]["n"]


def test_an_audit_takes_the_cut_off_of_its_own_class_alone(nobody):
    from types import SimpleNamespace

    from vesalius.job import Job
    from vesalius.verbs.audit import _threshold

    head = vs.fit(nobody, "class", workers=0)
    point = head.operating_point(sensitivity=0.9, positive="disc")
    head = head.with_point("sensitivity=0.9 disc", point)
    notes: list[str] = []
    model = SimpleNamespace(classes=head.classes)
    assert _threshold(head, model, "class", "disc", Job()) == point.threshold
    assert _threshold(head, model, "class", "stripes", Job(on_note=notes.append)) == 0.5
    assert "about another class" in notes[0]


def test_an_audit_is_a_function_and_a_room():
    import vesalius.audit.run

    assert callable(vs.audit)
    assert vesalius.audit.run.audit is not None
    with pytest.raises(TypeError, match="target"):
        vs.audit("nowhere")


def test_nothing_asks_the_network_and_the_environment_stays(monkeypatch, pictures):
    import os
    import socket

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    before = dict(os.environ)
    vs.classify(pictures / "disc" / "0.png", labels=["disc", "stripes"], workers=0)
    assert dict(os.environ) == before
