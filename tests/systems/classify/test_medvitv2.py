"""Card 38: what the ablations share with the net, and that pictures of a kind without sides alone are mirrored."""

from __future__ import annotations

import pytest

from tests.tolerance import close
from vesalius.systems import open_system
from vesalius.systems.classify.medvitv2 import ABLATIONS
from vesalius.systems.frame.recipe import Job, load_model, save_model


def test_ablations_have_as_many_weights():
    system = open_system("medvitv2")
    cases = system.example(20, 5)
    nets = [system.train(cases, Job(steps=1), **net).net for net in ({}, *ABLATIONS.values())]
    sizes = [sum(p.numel() for p in net.parameters()) for net in nets]
    assert max(sizes) / min(sizes) < 1.02


def test_a_saved_model_keeps_its_parts(tmp_path):
    system = open_system("medvitv2")
    cases = system.example(20, 5)
    model = system.train(cases, Job(steps=1), feed="mlp", dilated=False)
    save_model(model, tmp_path)
    loaded = load_model(tmp_path)
    assert loaded.config["parts"] == {"feed": "mlp", "dilated": False}
    close(loaded.predict(cases), model.predict(cases))


def test_a_check_in_miniature():
    claims = open_system("medvitv2").check(100, job=Job(steps=2))
    assert len({c.claim for c in claims}) == len(claims) == 5
    assert all(0 <= c.ours <= 1 and c.low <= c.margin <= c.high for c in claims)
    assert claims[0].n < 5 * 20
    assert claims[0].details["clean ours"] == pytest.approx(claims[2].ours)
