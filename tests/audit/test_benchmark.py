"""The MedMNIST-C protocol end to end on a classifier whose errors are known, and BE and rBE by hand."""

from __future__ import annotations

import numpy as np
import pytest

from vesalius.audit.benchmark import as_baseline, benchmark, published_form, suite_of
from vesalius.audit.robustness import Robustness, published_scores
from vesalius.cases import Case, Image, Label
from vesalius.corruptions import corrupt, datasets, registry
from vesalius.errors import BadInputError
from vesalius.models import load
from vesalius.models.fitting import fit
from vesalius.models.heads import HeadClassifier
from vesalius.models.zeroshot import zero_shot
from vesalius.sources.phantom import Phantom, PhantomConfig
from vesalius.systems import open_system
from vesalius.systems.frame.budget import Budget
from vesalius.systems.frame.model import save_model


class Bright:
    """Calls a picture by its mean."""

    classes = ("dark", "bright")

    def predict_proba(self, images):
        p = np.asarray([i.pixels().mean() / 255 for i in images])
        return np.stack([1 - p, p], 1)


def cases(n=20):
    rng = np.random.default_rng(0)
    out = []
    for i in range(n):
        name = ("dark", "bright")[i % 2]
        base = 95 if name == "dark" else 160
        array = np.clip(rng.normal(base, 12, (32, 32)), 0, 255).astype(np.uint8)
        labels = {"class": Label(name)}
        out.append(Case(f"c{i}", f"p{i // 2}", images=(Image(array=array, modality="US"),), labels=labels))
    return out


def test_errors_are_those_of_corrupted_copies():
    found = benchmark(Bright(), cases(), seed=3, resamples=50)
    assert set(found.errors) == set(registry("breastmnist"))
    assert (found.clean, found.n) == (0.0, 20)
    for name, severity in (("brightness_up", 5), ("contrast_down", 2)):
        wrong = []
        for c in cases():
            seen = corrupt(c.images[0].pixels(), name, severity, seed=3, image_id=c.id, dataset="breastmnist")
            wrong.append((seen.mean() > 127.5) != (c.label("class") == "bright"))
        want = np.mean([np.mean(wrong[0::2]), np.mean(wrong[1::2])])
        assert found.errors[name][severity - 1] == pytest.approx(want)
    assert max(found.errors["brightness_up"]) > 0


def test_be_and_rbe_by_hand():
    """Errors .1 clean, .2 and .4 corrupted against .2 clean, .4 and .5: BE .5 and .8, rBE .5 and 1, pooled .8."""
    ours = benchmark(Bright(), cases(), seed=3, resamples=50)
    made = {**vars(ours), "clean": 0.1, "errors": {"a": (0.2,) * 5, "b": (0.3, 0.3, 0.4, 0.5, 0.5)}}
    means = {k: float(np.mean(v)) for k, v in made["errors"].items()}
    be, rbe, pooled = published_scores(0.1, means, {"clean": 0.2, "corrupted": {"a": 0.4, "b": 0.5}})
    assert be == pytest.approx({"a": 0.5, "b": 0.8})
    assert rbe == pytest.approx({"a": 0.5, "b": 1.0})
    assert pooled == pytest.approx(0.8)
    form = published_form(Robustness(**{**made, "be": be, "rbe": rbe}))
    assert form["metrics"] == pytest.approx({"clean_score": 0.1, "be": 0.65, "rbe": 0.75})
    assert form["raw_scores"]["b"] == [0.3, 0.3, 0.4, 0.5, 0.5]


def test_any_classifier_can_be_the_baseline():
    first = benchmark(Bright(), cases(), seed=3, resamples=50)
    again = benchmark(Bright(), cases(), seed=3, resamples=50, baseline=as_baseline(first, "itself"))
    hurt = [n for n, e in first.errors.items() if np.mean(e) > 0]
    assert hurt
    assert all(again.be[n] == pytest.approx(1) and again.rbe[n] == pytest.approx(1) for n in hurt)
    assert again.pooled_rbe == pytest.approx(1)
    assert again.baseline == "itself"
    assert published_form(first)["metrics"]["be"] is None


def test_head_and_words_and_system_folder_alike(tmp_path):
    """A fitted head, zero-shot classification and a trained system's folder all go through the one protocol."""
    nano = load("nano", can="embed")
    made = []
    for study, name in (("chest_film", "chest radiograph"), ("dermoscopy", "skin lesion")):
        drawn = Phantom(PhantomConfig(seed=7, size=48, studies={study: 1.0}, degraded=0.0)).cases(5)
        made += [c.replace(id=f"{study} {c.id}", labels={"class": Label(name)}) for c in drawn]
    head = HeadClassifier(fit(made, "class", model=nano, folds=2), nano)
    shot = zero_shot(nano, ("chest radiograph", "skin lesion"))
    system = open_system("medmnistc")
    save_model(system.train(made, Budget(steps=40), targeted=False), tmp_path)
    for model in (head, shot, load(f"dir:{tmp_path}")):
        found = benchmark(model, made, suite="digital", severities=(5,), resamples=20)
        assert (found.clean, found.n) == (0.0, 10)
        assert set(found.errors) == set(registry("digital"))


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(BadInputError, match="nothing to corrupt"):
        benchmark(Bright(), cases(), "grade")
    odd = cases()[0].replace(labels={"class": Label("green")})
    with pytest.raises(BadInputError, match="does not know a class"):
        benchmark(Bright(), [odd, *cases()])


def test_every_modality_has_a_list():
    for code in ("GM", "SM", "DMS", "XC", "OP", "OPT", "US", "DX", "CR", "CT", "MR", ""):
        assert suite_of(code) in datasets()
