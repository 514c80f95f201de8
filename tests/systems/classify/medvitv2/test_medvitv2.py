"""Card 38: what the ablations share with the net, and that pictures of a kind without sides alone are mirrored."""

from __future__ import annotations

from tests.tolerance import close
from vesalius.systems import open_system
from vesalius.systems.frame.budget import Budget
from vesalius.systems.frame.model import load_model, save_model


def test_ablations_have_as_many_weights():
    system = open_system("medvitv2")
    cases = system.example(20, 5)
    ablations = [c.against for c in system.comparisons]
    assert {k for net in ablations for k in net} == {"feed", "dilated", "layout"}
    nets = [system.train(cases, Budget(steps=1), **net).net for net in ({}, *ablations)]
    sizes = [sum(p.numel() for p in net.parameters()) for net in nets]
    assert max(sizes) / min(sizes) < 1.02


def test_a_saved_model_keeps_its_parts(tmp_path):
    system = open_system("medvitv2")
    cases = system.example(20, 5)
    model = system.train(cases, Budget(steps=1), feed="mlp", dilated=False)
    save_model(model, tmp_path)
    loaded = load_model(tmp_path)
    assert loaded.config["parts"] == {"feed": "mlp", "dilated": False, "layout": "permuted"}
    close(loaded.predict_cases(cases), model.predict_cases(cases))
