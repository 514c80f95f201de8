"""The whole audit: planted faults are named, skipped parts say why, gates stop with exit code 6, the page is safe."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from vesalius.audit.gate import check_gate, read_gate
from vesalius.audit.inputs import display
from vesalius.audit.page import page, write
from vesalius.audit.run import AuditReport, audit
from vesalius.cases import Box, Case, CaseSet, Image, Region
from vesalius.errors import BadInputError, ExitCode, GateError, MissingError, UsageError
from vesalius.models.preprocess import ViewPreprocess
from vesalius.render.display import as_shown


class Toy:
    """Reads brightness of the middle, and (when it cheats) of the top right corner."""

    name = "toy"
    classes = ("finding",)

    def __init__(self, corner: float = 0.0) -> None:
        self.corner = corner

    def predict_proba(self, images: Sequence[Image]) -> np.ndarray:
        out = []
        for image in images:
            a = image.pixels().astype(float)
            x = (a[12:20, 12:20].mean() - a.mean()) / 20 - 0.5
            x += self.corner * (float(a[:4, -4:].mean() > 200) - 0.5)
            out.append(1 / (1 + np.exp(-2 * x)))
        return np.asarray(out)[:, None]

    def embed(self, images: Sequence[Image]) -> np.ndarray:
        return np.stack([i.pixels()[::4, ::4].ravel().astype(float) for i in images])


def cases(n: int = 240, *, tag: float = 0.0, weak: str = "", seed: int = 0, extra: str = "") -> CaseSet:
    rng = np.random.default_rng(seed)
    out = []
    for i in range(n):
        y, sex = int(rng.integers(0, 2)), ("F", "M")[int(rng.integers(0, 2))]
        image = rng.normal(100, 10, (32, 32))
        image[12:20, 12:20] += rng.normal(10, 8) + (0 if sex == weak else 20) * y
        if tag and rng.random() < ((1 + tag) / 2 if y else (1 - tag) / 2):
            image[:4, -4:] = 250
        out.append(
            Case(
                f"c{seed}-{i}{extra}",
                patient=f"p{seed}-{i}",
                images=(Image(array=np.clip(image, 0, 255).astype(np.uint8), modality="DX"),),
                labels={"finding": y},
                regions=(Region(Box(10, 10, 22, 22), "organ"),),
                attributes={"sex": sex, "age": float(rng.integers(20, 90)), "note": f"n{i}"},
            )
        )
    return CaseSet(out, name="toy set")


QUICK = {"severities": (1, 5), "corruptions": ("gaussian_noise", "pixelate"), "resamples": 300}


@pytest.fixture(scope="module")
def report() -> AuditReport:
    return audit(cases(300, tag=0.9, weak="F"), Toy(corner=3.0), "finding", seed=1, **QUICK)


def test_planted_shortcut_and_subgroup_fault_are_both_found(report: AuditReport) -> None:
    names = {f.name for f in report.alarms()}
    assert "border" in names
    assert "occlusion:0,5" in names
    assert "mask:no-fixed" in names
    assert report.values["shortcuts.border_auroc"].value > 0.8


def test_a_weak_group_is_found() -> None:
    # AUROC 0.5 in women, and the score's dependence on sex once the label is known.
    got = audit(cases(400, weak="F"), Toy(), "finding", sections=("subgroups",), resamples=400)
    assert {"auroc:sex=F", "dependence:sex=F"} & {f.name for f in got.alarms()}
    assert got.values["subgroups.worst_auroc"].value < 0.65


def test_a_clean_set_is_silent() -> None:
    got = audit(cases(300, seed=5), Toy(), "finding", sections=("performance", "subgroups", "shortcuts"), resamples=400)
    assert got.alarms() == ()
    assert got.values["alarms.all"].value == 0


def test_report_is_plain_data_and_repeats_itself(report: AuditReport) -> None:
    data = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert data["n"] == 300
    assert {"performance.auroc", "robustness.skill_loss", "blind.metadata_auroc"} <= set(data["values"])
    assert "note" not in {g["group"].split("=")[0] for g in data["sections"]["subgroups"]["groups"]}
    again = audit(cases(300, tag=0.9, weak="F"), Toy(corner=3.0), "finding", seed=1, **QUICK)
    drop = ("seconds",)
    assert {k: v for k, v in again.to_dict().items() if k not in drop} == {
        k: v for k, v in report.to_dict().items() if k not in drop
    }


def test_skipped_parts_say_why() -> None:
    plain = cases(60).map(lambda c: c.replace(regions=(), attributes={}))
    got = audit(plain, Toy(), "finding", sections=("performance", "subgroups", "shortcuts", "leakage"), resamples=100)
    assert "attributes" in got.skipped["subgroups"]
    assert "regions" in got.skipped["shortcuts: masks"]
    assert "training set" in got.skipped["leakage"]
    assert got.skipped["robustness"] == "not asked for"


def test_leakage_against_the_training_set_is_an_alarm() -> None:
    test = cases(60, seed=3)
    train = CaseSet([*cases(60, seed=4), test[5].replace(id="copy", patient="someone")])
    got = audit(test, Toy(), "finding", train=train, sections=("leakage",))
    assert [f.name for f in got.alarms()] == ["leakage:exact"]


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_page_is_one_balanced_file_without_script_or_address(report: AuditReport) -> None:
    read = Page()
    read.feed(page(report))
    assert read.open == []
    assert "script" not in read.tags
    assert read.tags.count("svg") >= 6
    assert all(a.startswith("data:image/png;base64,") for a in read.addresses)
    assert "Alarms" in page(report)


def test_page_quotes_what_comes_from_the_data() -> None:
    bad = "<script>alert(1)</script>"
    hostile = cases(80, seed=2).map(lambda c: c.replace(attributes={"sex": bad if c.attributes["sex"] == "F" else "M"}))
    got = audit(hostile, Toy(), "finding", sections=("performance", "subgroups"), resamples=100)
    assert bad not in page(got)
    assert "&lt;script&gt;" in page(got)


def test_gate_stops_with_exit_code_six(tmp_path: Path, report: AuditReport) -> None:
    toml = tmp_path / "gate.toml"
    toml.write_text(
        '[performance.auroc]\nat_least = 0.5\nuse = "low"\n[alarms.shortcuts]\nat_most = 0\n[no.such]\nat_most = 1\n'
    )
    results = check_gate(read_gate(toml), report.values)
    assert [(r.limit.name, r.passed) for r in results] == [
        ("performance.auroc", True), ("alarms.shortcuts", False), ("no.such", False),
    ]  # fmt: skip
    got = audit(cases(80), Toy(), "finding", gate=toml, sections=("performance",), resamples=100)
    with pytest.raises(GateError, match=r"no\.such") as error:
        got.raise_for_gate()
    assert error.value.exit_code == ExitCode.GATE == 6
    assert not got.passed
    fine = audit(
        cases(80), Toy(), "finding", gate={"performance": {"auroc": {"at_least": 0.5}}}, sections=("performance",)
    )
    fine.raise_for_gate()
    assert fine.passed


def test_nothing_tested_is_not_passed() -> None:
    """No alarm counts only where one could have been raised."""
    bare = cases(60).map(lambda c: c.replace(regions=(), attributes={}))
    gate = {"alarms": {"all": {"at_most": 0}, "subgroups": {"at_most": 0}}}
    # Neither can run: no attributes, no training set.
    got = audit(bare, Toy(), "finding", sections=("subgroups", "leakage"), gate=gate)
    assert got.tested == ()
    assert [(r.passed, r.why) for r in got.gate] == [(False, "was not measured")] * 2
    assert got.verdict.startswith("Nothing was tested")
    assert got.verdict.endswith("gate not met (2 of 2 limits)")
    assert '<div class="verdict bad"><strong>Nothing was tested' in page(got)
    # One that describes without testing is no better.
    described = audit(bare, Toy(), "finding", sections=("performance",), resamples=50, gate=gate)
    assert not described.passed
    # A search for leaks that finds none has looked.
    looked = audit(
        bare, Toy(), "finding", sections=("leakage",), train=cases(20, seed=9),
        gate={"alarms": {"all": {"at_most": 0}, "leakage": {"at_most": 0}}, "leakage": {"patient": {"at_most": 0}}},
    )  # fmt: skip
    assert looked.passed
    assert looked.verdict == "No alarm (leakage) · gate met"


def test_no_corruption_is_not_a_loss_of_nothing() -> None:
    got = audit(cases(60), Toy(), "finding", sections=("robustness",), corruptions=(), resamples=50,
                gate={"robustness": {"skill_loss": {"at_most": 0.1}}})  # fmt: skip
    assert "nothing to corrupt with" in got.skipped["robustness"]
    assert not got.passed


def test_a_perfect_score_keeps_an_interval_with_a_width() -> None:
    class Knows(Toy):
        def predict_cases(self, cases: Sequence[Case]) -> np.ndarray:
            return np.asarray([[0.9 if c.label("finding") else 0.1] for c in cases])

    got = audit(cases(60), Knows(), "finding", sections=("performance",), resamples=100)
    for name in ("auroc", "sensitivity", "specificity", "ppv", "npv"):
        value = got.values[f"performance.{name}"]
        assert value.value == 1
        assert 0.8 < value.low < 0.99


@pytest.mark.parametrize(
    "gate",
    [
        {},
        {"a": {}},
        {"a": {"at_least": "x"}},
        {"a": {"min": 1}},
        {"a": {"at_most": 1, "use": "middle"}},
        {"at_most": 1},
    ],
)
def test_gates_that_make_no_sense_are_refused(gate: dict) -> None:
    with pytest.raises(UsageError):
        read_gate(gate)


def test_missing_gate_file_and_bad_arguments(tmp_path: Path) -> None:
    with pytest.raises(MissingError):
        read_gate(tmp_path / "none.toml")
    with pytest.raises(UsageError):
        audit(cases(40), Toy(), "finding", sections=("nothing",))
    with pytest.raises(BadInputError, match="no case has this label"):
        audit(cases(40), Toy(), "another")
    other = Toy()
    other.classes = ("a", "b")
    with pytest.raises(UsageError, match="does not know the target"):
        audit(cases(40), other, "finding")


def test_uncertain_and_unknown_labels_are_left_out_and_counted() -> None:
    def change(c: Case) -> Case:
        number = int(c.id.split("-")[1])
        return c.replace(labels={"finding": -1 if number < 5 else None if number < 12 else c.label("finding")})

    got = audit(cases(80).map(change), Toy(), "finding", sections=("performance",), resamples=100)
    assert got.n == 68
    assert got.sections["left_out"] == {"label uncertain": 5, "label unknown": 7}


def test_written_files(tmp_path: Path, report: AuditReport) -> None:
    data, text = write(report, tmp_path / "out")
    assert json.loads(data.read_text())["fingerprint"] == report.fingerprint
    assert text.read_text().startswith("<!doctype html>")


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("dtype", ["int16", "uint8"])
def test_a_shown_picture_is_not_windowed_or_inverted_again(photometric: str, dtype: str) -> None:
    rng = np.random.default_rng(0)
    meta = {"window": [[60.0, 80.0]], "photometric": photometric, "format": "dicom", "other": 1}
    image = Image(array=rng.integers(0, 120, (40, 30)).astype(dtype), modality="CT", meta=meta)
    eats = ViewPreprocess(32, 32)
    shown = as_shown(image, display(image))
    np.testing.assert_array_equal(eats(shown), eats(image))
    assert shown.meta == {"other": 1}
    bare = image.with_array(image.pixels(), meta={**meta, "window": None})
    np.testing.assert_array_equal(eats(as_shown(bare, display(bare))), eats(bare))


def test_changed_pictures_reach_the_model_as_they_were_shown() -> None:
    class Sees(Toy):
        seen: list[np.ndarray] = []

        def predict_proba(self, images: Sequence[Image]) -> np.ndarray:
            self.seen += [ViewPreprocess(32, 32)(i)[0] for i in images]
            return super().predict_proba(images)

    films = cases(40).map(
        lambda c: c.replace(
            images=(c.images[0].with_array(c.images[0].pixels().astype(np.int16) * 8, meta={"window": [[900, 1500]]}),)
        )
    )
    model = Sees()
    audit(films, model, "finding", sections=("robustness",), corruptions=("pixelate",), severities=(1,), resamples=50)
    whole, clean = model.seen[:40], model.seen[40:80]
    assert {a.tobytes() for a in clean} <= {a.tobytes() for a in whole}
