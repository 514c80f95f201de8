"""Card 66: where the words are spliced in, what gets a gradient, and what pruning keeps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.tolerance import close
from vesalius.systems import open_system
from vesalius.systems.classify.biomedcoop.losses import consistency, distillation, select_prompts, selected_mean
from vesalius.systems.classify.biomedcoop.prompt import PromptLearner
from vesalius.systems.frame.budget import Budget
from vesalius.systems.frame.frozen import frozen


def test_untrained_context_says_what_its_words_say():
    """The context starts as the embeddings of "a photo of a", so it must equal the sentence itself: splice and mask."""
    nano = frozen("nano")
    net = PromptLearner(nano)
    with torch.no_grad():
        ours = net(["melanoma", "benign skin lesion"]).numpy()
    written = nano.embed_text(["a photo of a melanoma.", "a photo of a benign skin lesion."])
    close(ours, written)


def test_only_the_context_is_trained():
    nano = frozen("nano")
    net = PromptLearner(nano)
    assert [n for n, _ in net.named_parameters()] == ["context"]
    assert net.context.shape == (4, 384)
    before = {k: v.clone() for k, v in nano.net.state_dict().items()}
    system = open_system("biomedcoop")
    model = system.train(system.example(8, 3), Budget(steps=2))
    assert (model.net.context.detach() - net.context.detach()).abs().max() > 1e-4
    assert all(torch.equal(before[k], v) for k, v in nano.net.state_dict().items())


def test_pruning_is_the_published_rule():
    """z from median and MAD, then |z - mean| / std, as the card writes it; ours is the plain z-score it equals."""
    g = torch.Generator().manual_seed(0)
    image = F.normalize(torch.randn(5, 8, generator=g), dim=1)
    bank = F.normalize(torch.randn(3, 12, 8, generator=g), dim=2)
    keep = []
    s = torch.stack([(10 * image @ bank[:, i].T).max(1).values.mean() for i in range(12)])
    mad = (s - s.median()).abs().median()
    z = (s - s.median()) / mad
    for zi in z:
        keep.append(bool(((zi - z.mean()) / z.std(correction=0)).abs() <= 1.25))
    assert select_prompts(image, bank, 10, 1.25).tolist() == keep
    assert not all(keep)


def test_prompts_that_do_not_differ_all_stay():
    bank = F.normalize(torch.ones(2, 4, 3), dim=2)
    assert select_prompts(F.normalize(torch.ones(2, 3), dim=1), bank, 10).all()


def test_consistency_is_between_unit_vectors():
    a, b = torch.randn(2, 6), torch.randn(2, 6)
    assert consistency(3 * a, b) == pytest.approx(float(consistency(a, 5 * b)))
    expected = ((F.normalize(a, dim=1) - F.normalize(b, dim=1)) ** 2).sum() / 12
    close(consistency(a, b), expected)
    assert selected_mean(b[:, None], torch.tensor([True])).norm(dim=1).tolist() == pytest.approx([1, 1])


def test_distillation_against_the_definition():
    student, teacher = torch.randn(4, 3), torch.randn(4, 3, requires_grad=True)
    p, q = teacher.softmax(1), student.softmax(1)
    expected = (p * (p / q).log()).sum() / 12
    close(distillation(student, teacher), expected.detach())
    assert not distillation(student, teacher).requires_grad


def test_half_of_the_classes_are_taught_and_the_others_can_be_named():
    system = open_system("biomedcoop")
    cases = system.example(30, 3)
    names = sorted({str(c.label("class")) for c in cases})
    model = system.train(cases, Budget(steps=1), half=True, shots=1)
    assert list(model.classes) == names[: len(names) // 2]
    p = model.named([c.images[0] for c in cases[:3]], names[len(names) // 2 :])
    np.testing.assert_allclose(p.sum(1), 1)


def test_another_draw_has_other_shots():
    system = open_system("biomedcoop")
    cases = system.example(40, 3)
    found = {system.train(cases, Budget(steps=2), shots=1, draw=d).fingerprint for d in (0, 0, 1)}
    assert len(found) == 2
