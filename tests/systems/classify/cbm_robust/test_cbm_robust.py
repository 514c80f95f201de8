"""Card 42: the head sees scores alone, interventions change what it says, and the bank is the one it was told."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from tests.tolerance import FLOAT32, TRAINED, close
from vesalius.errors import BadInputError, UsageError
from vesalius.job import Job
from vesalius.systems import open_system
from vesalius.systems.classify.cbm_robust.world import MARKER, aligned
from vesalius.systems.frame.budget import Budget


@pytest.fixture(scope="module")
def trained():
    system = open_system("cbm-robust")
    cases = system.example(40, 101)
    return system.train(cases, Budget(steps=60), Job(seed=2)), cases


def test_images_with_the_same_scores_get_the_same_answer(trained):
    """What a concept does not say must not reach the head: moving an image in their null space is unseen."""
    model, cases = trained
    with torch.no_grad():
        vectors = model.vectors([c.images[0] for c in cases[:4]])
        null = torch.linalg.svd(model.net.texts, full_matrices=True).Vh[len(model.config["concepts"]) :]
        moved = vectors + torch.randn(4, len(null)) @ null
        a, b = (model.net(model.net.scores(v)) for v in (vectors, moved))
    assert (moved - vectors).norm(dim=1).min() > 1
    close(a, b, TRAINED)  # the null space is large beside what is left of it


def test_reasons_add_up_to_the_decision(trained):
    model, cases = trained
    image = cases[0].images[0]
    found = model.explain(image, most=1000)
    k = model.classes.index(found.label)
    with torch.no_grad():
        logit = float(model.net(model.scores([image]))[0, k])
    shares = [share for *_, share in found.reasons]
    close(sum(shares) + float(model.net.head.bias[k]), logit, scale=sum(map(abs, shares)))
    assert found.probability == pytest.approx(model.predict_proba([image])[0].max(), rel=FLOAT32)
    shares = [abs(share) for *_, share in found.reasons]
    assert shares == sorted(shares, reverse=True)


def test_holding_the_strongest_sign_far_on_the_other_side_turns_the_decision(trained):
    model, cases = trained
    image = cases[0].images[0]
    before = model.explain(image)
    name, score, share = before.reasons[0]
    after = model.explain(image, hold={name: -np.sign(share / score) * 1000})
    assert after.label != before.label
    with pytest.raises(UsageError, match="no such concept"):
        model.explain(image, hold={"a sign that nobody named": 0})


def test_a_dropped_sign_has_no_say_and_the_model_itself_is_untouched(trained):
    model, cases = trained
    name = model.explain(cases[0].images[0]).reasons[0][0]
    edited = model.edit([name])
    held = model.explain(cases[0].images[0], most=1000, hold={name: 0.0})
    assert edited.predict_cases(cases[:1])[0].max() == pytest.approx(held.probability, rel=FLOAT32)
    assert np.abs(edited.predict_cases(cases) - model.predict_cases(cases)).max() > 1e-3


def test_bank_from_a_file_is_cleaned_and_said_so(tmp_path):
    path = tmp_path / "bank.json"
    bank = {"no finding": ["clear lungs", "young woman"], "effusion": ["large pleural effusion", "blunted angle"]}
    path.write_text(json.dumps(bank), "utf-8")
    system, said = open_system("cbm-robust"), []
    model = system.train(system.example(12, 101), Budget(steps=2), Job(on_note=said.append), concepts=str(path))
    assert model.config["concepts"] == ["clear lungs", "blunted angle"]
    assert any("young woman" in line for line in said)


def test_cells_of_the_picture_can_be_scored(trained):
    system = open_system("cbm-robust")
    model = system.train(system.example(8, 101), Budget(steps=2), patches="yes")
    cells = model.vectors([trained[1][0].images[0]])
    assert cells.shape == (1, 49, 384)
    best = (cells[0] @ model.net.texts.T).max(0).values
    close(model.net.raw(cells)[0], best)


def test_sparse_head_uses_few_signs(trained):
    system, said = open_system("cbm-robust"), []
    model = system.train(trained[1], job=Job(on_note=said.append), sparse="0.1")
    used = (model.net.head.weight.abs() > 0).any(0).sum()
    assert 0 < used < len(model.config["concepts"])
    assert any(f"{used} of" in line for line in said)


def test_aligned_cases_have_the_share_that_was_asked_for():
    rng = np.random.default_rng(0)
    y, c = rng.integers(0, 2, 4000), rng.integers(0, 2, 4000)
    i = aligned(y, c, 0.95, rng)
    assert (y[i] == c[i]).mean() == pytest.approx(0.95, abs=1e-3)
    assert len(set(i.tolist())) == len(i)
    wrong = y[i] != c[i]
    assert abs((y[i][wrong] == 1).sum() - (y[i][wrong] == 0).sum()) <= 1


def test_an_endpoint_that_is_not_here_is_not_called_unasked():
    system = open_system("cbm-robust")
    with pytest.raises(UsageError, match="network unasked"):
        system.train(system.example(4, 101), concepts="openai:https://example.org/v1#m")


@pytest.mark.parametrize("options", [{"sparse": "much"}, {"sparse": "0"}, {"patches": "maybe"}])
def test_settings_that_make_no_sense(options):
    system = open_system("cbm-robust")
    with pytest.raises(UsageError):
        system.train(system.example(8, 101), Budget(steps=1), **options)


def test_no_cases_are_refused():
    with pytest.raises(BadInputError):
        open_system("cbm-robust").train([])


def test_a_scorer_that_captions_taught_goes_with_the_model(tmp_path):
    """The world's extra films reach the recipe, every variant has the same scorer, and a folder restores it."""
    from vesalius.systems.frame.model import load_model, save_model

    system = open_system("cbm-robust")
    parts = system.world("phantom").parts(101, scale=0.05)
    budget, images = Budget(steps=3), [c.images[0] for c in parts.test[:4]]
    signs, also, vector = (
        system.make(parts, budget, Job(seed=1), **how) for how in ({}, {"also": (MARKER,)}, {"see": "vector"})
    )
    for other in (also, vector):
        close(signs.vectors(images), other.vectors(images))
    assert also.config["concepts"] == [*signs.config["concepts"], MARKER]
    assert len(vector.config["concepts"]) == signs.net.texts.shape[1]
    save_model(signs, tmp_path)
    close(load_model(tmp_path).predict_proba(images), signs.predict_proba(images))
