"""The reference names every corruption and every value that an audit gives, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from tests.audit.test_run import QUICK, Toy, cases
from tests.audit.test_words import CASES
from tests.audit.test_words import Toy as Words
from vesalius.audit.reference import CORRUPTIONS, MEASURES, measure_of
from vesalius.audit.run import SECTIONS, audit
from vesalius.cases import CaseSet
from vesalius.corruptions import datasets, parameters, registry
from vesalius.models.zeroshot import zero_shot
from vesalius.verbs.audit import SECTIONS as OFFERED


def test_corruptions_are_those_of_the_registry() -> None:
    assert set(CORRUPTIONS) == {name for d in datasets() for name in registry(d)}


@pytest.mark.parametrize("name", sorted(CORRUPTIONS))
def test_a_parameter_has_as_many_parts_as_its_words_say(name: str) -> None:
    parts = len(CORRUPTIONS[name][1].replace(" (left out)", "").split(": ")[-1].replace(" and ", ", ").split(", "))
    length = {len(p) for p in parameters(name)}
    special = {"stain_deposit": {2}, "monochrome_flip": {1}, "jpeg_compression": {1}, "shot_noise": {1}}
    assert length == special.get(name, {parts})


@pytest.fixture(scope="module")
def emitted() -> set[str]:
    def all_of(cases: CaseSet, model: object, target: str, **more: object) -> set[str]:
        got = audit(cases, model, target, **{**QUICK, "severities": (5,), **more})  # type: ignore[arg-type]
        return set(got.values)

    toy = all_of(cases(160, tag=0.5), Toy(corner=1.0), "finding", train=cases(30, seed=9), most_pictures=80)
    shot = zero_shot(Words(), ("mass", "fracture"))
    return toy | all_of(CaseSet(CASES), shot, "mass", sections=("pairs", "prompts", "injection"))


def test_every_value_has_an_entry(emitted: set[str]) -> None:
    assert [name for name in sorted(emitted) if measure_of(name) is None] == []
    assert {name.split(".")[0] for name in emitted} == {*SECTIONS, "alarms"}


def test_every_entry_fits_a_value(emitted: set[str]) -> None:
    assert sorted(set(MEASURES) - {measure_of(name) for name in emitted}) == []


def test_a_value_without_an_entry_is_noticed() -> None:
    assert measure_of("performance.unheard_of") is None
    assert measure_of("injection.raise.0.12.flip_rate") == "injection.*.flip_rate"


def test_entries_are_whole() -> None:
    for name, m in MEASURES.items():
        assert all((m.definition, m.better, m.edges, m.unit)), name
        assert np.all([len(text) < 240 for text in (m.definition, m.better, m.edges)]), name


def test_the_command_offers_every_section() -> None:
    assert tuple(SECTIONS) == OFFERED
