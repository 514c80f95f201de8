"""Model folders of published systems through `classify` and `audit`: classes of their own, tables, bounded decoding."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from tests.tolerance import close
from vesalius.audit.run import audit
from vesalius.cases import Case, CaseSet
from vesalius.job import Job
from vesalius.models import load
from vesalius.models.protocols import CaseClassifier, Classifier
from vesalius.systems import open_system
from vesalius.systems.frame.budget import Budget
from vesalius.systems.frame.model import save_model

pytestmark = pytest.mark.slow

TARGET = "pleural effusion"
CLASSIFIERS = ("biomedcoop", "3mt", "medmnistc")


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cases")
    CaseSet(open_system("3mt").example(44, 101)).write(folder)
    return folder


@pytest.fixture(scope="module")
def models(cases: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    out = {}
    some = [c for c in CaseSet.read(cases) if c.label(TARGET) in (0, 1)]
    for name in (*CLASSIFIERS, "medimageinsight"):
        out[name] = tmp_path_factory.mktemp(name)
        save_model(open_system(name).train(some, Budget(steps=2), Job(seed=100), target=TARGET), out[name])
    return out


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classify_gives_the_models_own_classes(run_json, cases: Path, models, name: str, tmp_path: Path) -> None:
    code, done = run_json(
        "classify", cases, "--model", f"dir:{models[name]}", "--target", TARGET, "--plot", "--out", tmp_path
    )
    assert code == 0
    model = load(f"dir:{models[name]}", can="classify")
    assert isinstance(model, Classifier)
    assert done["result"]["classes"] == list(model.classes)
    read = list(CaseSet.read(cases))
    rows = [[r["probabilities"][c] for c in model.classes] for r in done["result"]["cases"]]
    close(rows, model.predict_cases(read))
    assert done["result"]["figures"]["n"] == sum(c.label(TARGET) in (0, 1) for c in read)
    assert len(list(csv.DictReader((tmp_path / "predictions.csv").open()))) == 44
    assert (tmp_path / "contact-sheet.png").is_file()


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_audit_takes_the_classifier_as_it_is(run_json, cases: Path, models, name: str, tmp_path: Path) -> None:
    code, done = run_json(
        "audit", cases, "--model", f"dir:{models[name]}", "--target", TARGET, "--out", tmp_path,
        "--sections", "performance,subgroups,blind,pairs,attributes",
    )  # fmt: skip
    assert code == 0
    assert done["result"]["model"] == name
    assert {"performance.auroc", "pairs.discrimination"} <= set(done["result"]["values"])
    assert done["result"]["skipped"]["attributes"] == "the model gives no embeddings"
    assert TARGET in (tmp_path / "audit.html").read_text("utf-8")


def test_an_embedder_gets_a_head(run_json, cases: Path, models) -> None:
    code, done = run_json(
        "audit", cases, "--model", f"dir:{models['medimageinsight']}", "--target", TARGET, "--sections", "performance"
    )
    assert code == 0
    assert done["result"]["model"] == f"{TARGET} head on medimageinsight"
    code, wrong = run_json("classify", cases, "--model", f"dir:{models['medimageinsight']}")
    assert code == 2
    assert "no classes of its own" in str(wrong)


def test_a_bad_picture_is_named_and_the_rest_goes_on(run_json, cases: Path, models, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    CaseSet.read(cases).write(copy)
    first = CaseSet.read(copy)[3]
    assert first.images[0].path is not None
    first.images[0].path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 40)
    known = sum(c.label(TARGET) in (0, 1) for c in CaseSet.read(copy))
    for verb in (["classify"], ["audit", "--target", TARGET, "--sections", "performance"]):
        code, done = run_json(verb[0], copy, "--model", f"dir:{models['medmnistc']}", *verb[1:])
        assert code == 3
        assert [r["item"] for r in done["refused"]] == [first.id]
    assert done["result"]["n"] == known - (first.label(TARGET) in (0, 1))


class Table:
    """Reads the table alone: what an audit must not take for a shortcut in the picture."""

    name, classes = "table", ("0", "1")

    def predict_cases(self, cases: list[Case]) -> np.ndarray:
        p = np.asarray([0.2 + 0.6 * c.attributes["known"] for c in cases])
        return np.stack([1 - p, p], 1)

    def predict_proba(self, images: list) -> np.ndarray:
        return np.full((len(images), 2), 0.5)


def test_a_table_is_no_shortcut_of_the_picture(cases: Path) -> None:
    some = [
        c.replace(attributes={"known": int(c.label(TARGET) == 1)})
        for c in CaseSet.read(cases)
        if c.label(TARGET) in (0, 1)
    ]
    assert isinstance(Table(), CaseClassifier)
    got = audit(CaseSet(some), Table(), TARGET, sections=("performance", "shortcuts", "blind"), resamples=100)
    assert got.values["performance.auroc"].value == 1.0
    assert got.values["shortcuts.border_auroc"].value == 0.5
    assert got.values["blind.brightness_auroc"].value == 0.5
    assert got.alarms() == ()
