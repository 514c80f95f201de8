"""The frame itself, on a toy: variants are made alike and each once, patients go along."""

from __future__ import annotations

import numpy as np
import pytest

from vesalius.cases import Case, Image, Label
from vesalius.errors import BadInputError, CancelledError, MissingError
from vesalius.job import Job
from vesalius.systems.frame.budget import Budget
from vesalius.systems.frame.nets.picture_classifier import PictureModel
from vesalius.systems.frame.recipe import Protocol, Recipe
from vesalius.systems.frame.trial import Trial
from vesalius.systems.frame.worlds.world import Drawn


def bright(n, seed, *, shift=0):
    """Two pictures a patient; the class is whether they are bright."""
    rng = np.random.default_rng(seed)
    return [
        Case(f"c{i}", f"p{i // 2}", images=(Image(array=rng.integers(0, 200, (4, 4), dtype=np.uint8) + shift),),
             labels={"class": Label("ab"[i % 2])})
        for i in range(n)
    ]  # fmt: skip


def toy(calls):
    """A recipe that notes how it was called; its model is what it was told."""

    def function(cases, budget, job, *, power=1.0, noise=0.0):
        calls.append((len(cases), budget.steps, job.seed, power, noise))
        return {"power": power, "ids": {c.id for c in cases}}

    return Recipe("3mt", "It works.", function, (Drawn(bright, n=100),), steps=40, model=PictureModel)


def mean(made, parts, *, times=1.0):
    assert not made["ids"] & {c.id for c in parts.test}
    return np.full(len(parts.test), made["power"] * times)


def test_variants_are_made_alike_and_each_once():
    calls = []
    system = toy(calls)
    system.compare("power", mean, against={"power": 0.25}, goal=0.5)
    system.compare("power again", mean, given={"times": 2.0}, against={"power": 0.25}, goal=0.5)
    system.compare("of the score", mean, against={"times": 0.5})
    first, again, score = system.check(job=Job(seed=107))
    assert calls == [(60, 40, 107, 1.0, 0.0), (60, 40, 107, 0.25, 0.0)]
    assert (first.ours, first.baseline, first.margin) == (1.0, 0.25, 0.75)
    assert (again.ours, again.baseline) == (2.0, 0.5)
    assert (score.ours, score.baseline) == (1.0, 0.5)
    assert {c.seed for c in (first, again, score)} == {107}


def test_a_smaller_check_has_fewer_cases_and_steps():
    calls = []
    system = toy(calls)
    system.compare("power", mean, against={"power": 0.25})
    (found,) = system.check(job=Job(seed=1), scale=0.5)
    assert calls[0][1] == 20
    assert found.n < 25


def test_patients_always_go_along():
    system = toy([])
    rng = np.random.default_rng(0)

    def noisy(made, parts):
        of = {g: rng.normal() for g in dict.fromkeys(parts.groups)}
        return np.asarray([of[g] for g in parts.groups])

    system.compare("noise", noisy, against=0.0)
    world = system.worlds[0]
    parts = world.parts(3)
    assert not {c.group for c in parts.train} & {c.group for c in parts.test}
    (found,) = system.check(job=Job(seed=3))
    values = noisy(None, parts)
    naive = 2 * 1.96 * values.std() / np.sqrt(len(values))
    assert found.high - found.low > 1.15 * naive  # two alike cases a patient: sqrt(2) wider


def test_a_changed_world_is_other_cases():
    calls = []
    system = toy(calls)

    def level(made, parts):
        return np.asarray([c.images[0].pixels().mean() for c in parts.test])

    system.compare("level", level, given={"shift": 50}, against={"shift": 0})
    trial = Trial(system, system.worlds[0], Job(seed=2, device="cpu"))
    assert trial.claim(system.comparisons[0]).margin == pytest.approx(50)
    assert len(calls) == 2  # made anew on the other cases


def test_an_argument_that_nothing_takes_is_refused_when_the_module_is_read():
    system = toy([])
    with pytest.raises(TypeError, match="colour"):
        system.compare("x", mean, against={"colour": "red"})
    with pytest.raises(TypeError, match="size"):
        system.compare("x", mean, given={"size": 3}, against=0.5)


def test_over_averages_case_by_case():
    system = toy([])
    system.compare("power", mean, against={"times": 0.0}, over={"power": (1.0, 3.0)})
    (found,) = system.check(job=Job(seed=2))
    assert found.ours == 2.0


def test_a_comparison_may_be_of_one_world_only():
    system = toy([])
    system.compare("power", mean, against=0.5, on=("real",))
    assert system.check(job=Job(seed=2)) == ()


def test_a_protocol_reads_the_test_cases():
    system = Protocol("3mt", "It works.", lambda cases, job, *, add=0: len(cases) + add, (Drawn(bright, n=40),))
    system.compare("n", lambda made, parts: np.full(len(parts.test), made), against={"add": -1})
    (found,) = system.check(job=Job(seed=5))
    assert found.ours == found.n
    assert found.margin == 1


def test_training_refuses_nothing_and_unknown_arguments():
    system = toy([])
    with pytest.raises(BadInputError, match="not enough cases"):
        system.train([])
    with pytest.raises(BadInputError, match="colour"):
        system.train(bright(4, 0), Budget(steps=1), colour="red")


def test_a_world_that_is_not_there_is_named():
    with pytest.raises(MissingError, match="phantom"):
        toy([]).world("busi")


def test_a_cancelled_job_stops():
    system = toy([])
    system.compare("power", mean, against=0.5)
    job = Job(seed=1)
    job.cancel()
    with pytest.raises(CancelledError):
        system.check(job=job)
