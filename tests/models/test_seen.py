"""Training pictures are recognised by file and by pixels, and stay out of held-out figures unless that is asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image as Picture

from tests.models.test_heads import head_of, separable
from vesalius.audit.inputs import SEEN, gather
from vesalius.cases import Case, Image, Label
from vesalius.errors import BadInputError
from vesalius.models.fitting import fit
from vesalius.models.heads import Head
from vesalius.models.manifest import Manifest, describe_files
from vesalius.models.seen import FILE, Seen, hashes, prefix, seen_by


def picture(path: Path, seed: int) -> Image:
    array = np.random.default_rng(seed).integers(0, 255, (20, 24), dtype=np.uint8)
    Picture.fromarray(array).save(path)
    return Image(uri=str(path))


def test_a_picture_is_known_by_its_file_and_by_its_pixels(tmp_path: Path) -> None:
    one, two = picture(tmp_path / "a.png", 1), picture(tmp_path / "b.png", 2)
    seen = Seen.of([one])
    assert len(seen) == 2
    moved = tmp_path / "elsewhere.png"
    moved.write_bytes((tmp_path / "a.png").read_bytes())
    anew = tmp_path / "anew.bmp"
    Picture.open(tmp_path / "a.png").save(anew)
    held = Image(array=one.pixels())
    asked = [one, two, Image(uri=str(moved)), Image(uri=str(anew)), held, Image(uri=str(tmp_path / "gone.png"))]
    assert seen.images(asked).tolist() == [True, False, True, True, True, False]
    darker = Image(array=one.pixels() // 2)
    assert not seen.images([darker]).any()
    assert seen.has("0" * 64, hashes(one)[0])
    assert not Seen.of([]).has(hashes(one)[0])


def test_a_case_counts_by_any_image_and_a_patient_by_any_case() -> None:
    rng = np.random.default_rng(3)
    images = [Image(array=rng.integers(0, 9, (8, 8), dtype=np.uint8)) for _ in range(4)]
    seen = Seen.of(images[1:2])
    cases = [
        Case("1", "p", images=(images[0],)),
        Case("2", "p", images=(images[2], images[1])),
        Case("3", "q", images=(images[3],)),
        Case("4"),
    ]
    assert seen.cases(cases).tolist() == [False, True, False, False]
    assert seen.patients(cases).tolist() == [True, True, False, False]


def test_what_is_written_is_read_and_changes_no_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").write_bytes(b"x")
    Manifest("m", "nano", files=describe_files(tmp_path)).write(tmp_path)
    before = Manifest.read(tmp_path)
    assert Seen.read(tmp_path) is None
    assert seen_by(SimpleNamespace(folder=tmp_path)) is None
    image = Image(array=np.zeros((4, 4), np.uint8))
    Seen.of([image]).write(tmp_path)
    after = Manifest.read(tmp_path)
    assert after.fingerprint == before.fingerprint
    assert FILE in after.files
    assert after.problems(tmp_path) == []
    behind_a_head = SimpleNamespace(embedder=SimpleNamespace(folder=tmp_path))
    for model in (SimpleNamespace(folder=tmp_path), behind_a_head, SimpleNamespace(model=behind_a_head)):
        found = seen_by(model)
        assert found is not None
        assert found.images([image]).all()
    assert seen_by(object()) is None
    before.write(tmp_path)
    assert Seen.read(tmp_path) is None  # another model's: the manifest does not name it
    after.write(tmp_path)
    (tmp_path / FILE).write_bytes(b"no tensors")
    with pytest.raises(BadInputError, match="what a model has seen"):
        Seen.read(tmp_path)


def test_hashes_out_of_order_are_refused(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    for bad in (np.asarray([3, 2], np.uint64), np.asarray([2, 2], np.uint64), np.asarray([1.0, 2.0])):
        save_file({"prefixes": bad}, tmp_path / FILE)
        with pytest.raises(BadInputError, match="out of order"):
            Seen.read(tmp_path)
    assert prefix("ff" * 32) == 2**64 - 1


def test_held_out_figures_leave_seen_patients_out() -> None:
    """Seen cases are told apart perfectly, new ones by nothing: the figure must be that of the new ones."""
    x, y = separable(n=120, noise=0.2)
    rng = np.random.default_rng(4)
    seen = np.arange(120) < 60
    x[~seen] = x[rng.permutation(np.flatnonzero(~seen))]
    values = [int(v) for v in y]
    plain, honest = head_of(x, values), head_of(x, values, seen=seen)
    assert "seen" not in plain.settings
    assert honest.settings["seen"] == {"cases": 60, "of": 120, "left_out": True}
    assert honest.evaluation.n == 60
    assert plain.evaluation["auroc"].value > honest.evaluation["auroc"].value + 0.1
    labels, score = honest.held_out_scores()
    assert len(labels) == len(score) == 60
    np.testing.assert_array_equal(labels, y[~seen])
    # All cases are still learnt from.
    np.testing.assert_array_equal(plain.probe.weight, honest.probe.weight)
    asked_for = head_of(x, values, seen=seen, count_seen=True)
    assert asked_for.settings["seen"]["left_out"] is False
    assert asked_for.evaluation["auroc"].value == plain.evaluation["auroc"].value


def test_too_few_new_patients_keep_the_figures_and_say_so() -> None:
    x, y = separable(n=60)
    seen = np.arange(60) >= 6
    head = head_of(x, [int(v) for v in y], seen=seen)
    assert head.settings["seen"] == {"cases": 54, "of": 60, "left_out": False}
    assert head.evaluation.n == 60
    nothing = head_of(x, [int(v) for v in y], seen=np.zeros(60, bool))
    assert nothing.settings["seen"] == {"cases": 0, "of": 60, "left_out": False}


def test_a_saved_head_remembers_what_was_counted(tmp_path: Path) -> None:
    x, y = separable(n=80)
    head = head_of(x, [int(v) for v in y], seen=np.arange(80) < 20)
    back = Head.load(head.save(tmp_path / "head"))
    np.testing.assert_array_equal(back.counted, head.counted)
    assert back.settings["seen"] == head.settings["seen"]
    assert back.operating_point(sensitivity=0.9) == head.operating_point(sensitivity=0.9)


class _Model:
    """An embedder in a folder; a picture's vector is its mean brightness."""

    name, fingerprint, dim = "toy", "f" * 64, 2

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def embed(self, images: list[Image]) -> np.ndarray:
        angle = np.asarray([float(i.pixels().mean()) / 100 for i in images])
        return np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float32)


def _cases(n: int) -> list[Case]:
    rng = np.random.default_rng(8)
    return [
        Case(
            f"c{i}",
            f"p{i // 2}",
            images=(Image(array=np.clip(rng.normal(40 + 60 * (i % 2), 20, (8, 8)), 0, 255).astype(np.uint8)),),
            labels={"finding": Label(i % 2)},
        )
        for i in range(n)
    ]


def test_fit_asks_the_model_folder(tmp_path: Path) -> None:
    cases = _cases(80)
    model = _Model(tmp_path)
    assert "seen" not in fit(cases, "finding", model=model).settings
    # One image of each of twenty patients is known: both of their cases stay out.
    Seen.of([c.images[0] for c in cases[:40:2]]).write(tmp_path)
    head = fit(cases, "finding", model=model)
    assert head.settings["seen"] == {"cases": 40, "of": 80, "left_out": True}
    assert head.evaluation.n == 40
    assert fit(cases, "finding", model=model, count_seen=True).evaluation.n == 80


def test_an_audit_leaves_seen_patients_out_where_enough_remain() -> None:
    cases = _cases(40)
    seen = Seen.of([c.images[0] for c in cases[:20]])
    found = gather(cases, "finding", seen=seen)
    assert (len(found), found.seen, found.left_out[SEEN]) == (20, 20, 20)
    kept = gather(cases, "finding", seen=seen, count_seen=True)
    assert (len(kept), kept.seen) == (40, 20)
    assert SEEN not in kept.left_out
    everything = Seen.of([c.images[0] for c in cases])
    assert (len(gather(cases, "finding", seen=everything)), gather(cases, "finding").seen) == (40, None)
    assert replace(found, seen=None).seen is None


class _Brightness(_Model):
    """A classifier: the brighter, the likelier."""

    classes = ("finding",)

    def predict_proba(self, images: list[Image]) -> np.ndarray:
        return np.asarray([[float(i.pixels().mean()) / 255] for i in images])


def test_an_audit_says_whom_the_model_knows(tmp_path: Path) -> None:
    from vesalius.audit.page import page
    from vesalius.audit.run import audit
    from vesalius.cases import CaseSet

    cases = _cases(80)
    Seen.of([c.images[0] for c in cases[:40]]).write(tmp_path)
    options = {"sections": ("performance",), "resamples": 50}
    report = audit(CaseSet(cases), _Brightness(tmp_path), "finding", **options)
    assert (report.n, report.sections["seen"], report.sections["left_out"]) == (40, {"cases": 40}, {SEEN: 40})
    assert SEEN in page(report)
    assert "flatter" not in page(report)
    kept = audit(CaseSet(cases), _Brightness(tmp_path), "finding", count_seen=True, **options)
    assert (kept.n, kept.sections["left_out"]) == (80, {})
    assert "patients of 40 of these cases, so figures flatter it" in page(kept)


def test_the_training_pictures_of_a_model_are_written_from_the_sets(tmp_path: Path, shared_data: Path) -> None:
    import json

    from vesalius.sources.open_sets.readers import read_layout
    from vesalius.training.nano.remember import remember

    cases = list(read_layout("chase-db1", shared_data / "chase-db1"))
    held, trained = cases[:4], cases[4:]
    (tmp_path / "held_out.json").write_text(json.dumps([c.id for c in held]))
    Manifest("m", "nano", notes={"trained_on": {"chase-db1": 16}}).write(tmp_path)
    seen = remember(tmp_path, shared_data)
    assert seen.cases(held).tolist() == [False] * 4
    assert seen.cases(trained[:3]).all()
    assert len(seen) == 32
    Manifest("m", "nano", notes={"trained_on": {"chase-db1": 15}}).write(tmp_path)
    with pytest.raises(BadInputError, match="chase-db1"):
        remember(tmp_path, shared_data)
