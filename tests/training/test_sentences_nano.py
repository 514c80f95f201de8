"""What may be said of a case, against a slow reading of the facts; and the trainer, a few steps at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.tolerance import REPEATED, TRAINED, close
from vesalius.cases import Box, Case, Image, Label, Region, Source
from vesalius.training.nano.sentences import build, case_view, facts_of

RNG = np.random.default_rng(0)


def _case(i, dataset, modality, body, *, view="", patient="", **fields):
    pixels = RNG.integers(0, 256, (3, 64, 64), dtype=np.uint8)
    image = Image(array=pixels.transpose(1, 2, 0), modality=modality, body_part=body, view=view)
    return Case(f"{dataset}-{i}", patient=patient, images=(image,), source=Source(dataset=dataset), **fields)


def _cases():
    """Chest films with and without views and findings, breast classes, skin with an opposite, cells."""
    out = []
    for i, view in enumerate(("PA", "AP", "", "AP SUPINE", "LATERAL", "PA", "AP", "PA")):
        labels = {"Pneumonia": [1, 0, 1, -1, None, 0, 1, 0][i], "Effusion": [0, 1, None, 1, 0, 0, 1, 1][i]}
        if i == 5:
            labels["No Finding"] = 1
        age = {"age": 40.0 + i, "sex": "FM"[i % 2]}
        out.append(_case(i, "nih-cxr14", "DX", "chest", view=view, labels=labels, attributes=age, patient=f"n{i // 2}"))
    for i, name in enumerate(("benign", "malignant", "normal", "benign")):
        out.append(_case(i, "busi", "US", "breast", labels={"class": name, "size": Label(1, "mm")}))
    out.append(_case(9, "busi", "US", "breast", labels={"class": None}))
    out += [_case(i, "isic2017", "DMS", "skin", labels={"melanoma": i % 2}) for i in range(4)]
    cells = (Region(Box(0, 0, 3, 3), "RBC", granularity="cell"), Region(Box(3, 3, 6, 6), "normal", granularity="cell"))
    out.append(_case(0, "cbc", "SM", "blood", regions=cells))
    return out


CASES = _cases()
TABLE = build(CASES)


def _fact(case, name, domain_cases):
    """True, False or None: what is known of one finding in one case, read afresh from its labels."""
    if name == "not melanoma":
        known = _fact(case, "melanoma", domain_cases)
        return None if known is None else not known
    if name in case.labels:
        return {1: True, 0: False}.get(case.label(name))
    if any(r.granularity == "cell" and r.label == name for r in case.regions):
        return True
    if case.label("class") is not None:
        others = {c.label("class") for c in domain_cases if c.source.dataset == case.source.dataset}
        if name in others:
            return case.label("class") == name
    return None


def _kleene(*parts):
    """Three-valued `and`."""
    return False if False in parts else None if None in parts else True


def test_facts_are_those_of_the_labels():
    assert facts_of(CASES[0]) == {"Pneumonia": True, "Effusion": False}
    assert facts_of(CASES[3]) == {"Effusion": True}  # uncertain is not known
    assert facts_of(CASES[8]) == {"benign": True}  # a number with a unit is no finding
    assert facts_of(CASES[14]) == {"melanoma": True, "not melanoma": False}
    assert facts_of(CASES[17]) == {"RBC": True}


def test_match_is_what_a_slow_reader_says():
    everyone, every = np.arange(len(CASES)), np.arange(len(TABLE.text))
    true, unknown = TABLE.match(everyone, every)
    assert not (true & unknown).any()
    spoken = {0: "posteroanterior", 1: "anteroposterior"}
    seen = {"yes": 0, "no": 0, "?": 0}
    for j in every:
        domain, view = TABLE.domains[TABLE.domain[j]], int(TABLE.view[j])
        for i, case in enumerate(CASES):
            image = case.images[0]
            here = (image.modality, image.body_part) == (domain.modality, domain.body_part)
            fact = True
            if TABLE.fact[j] >= 0:
                known = _fact(case, TABLE.facts[TABLE.fact[j]][1], CASES)
                fact = None if known is None else known == bool(TABLE.present[j])
            mine = case_view(case)
            looks = True if view < 0 else None if mine < 0 else mine == view
            want = _kleene(here, fact, looks)
            if true[i, j]:
                assert want is True
                seen["yes"] += 1
            elif unknown[i, j]:
                # Where the finding is known to be wrong and the view is not known, "not known" is said: only cautious.
                assert want is None or (fact is False and looks is None)
                seen["?"] += 1
            else:
                assert want is False
                seen["no"] += 1
        if view >= 0:
            assert spoken[view] in TABLE.text[j], TABLE.text[j]
    assert min(seen.values()) > 100


def test_a_sentence_never_claims_a_view_it_does_not_name():
    """Otherwise a sentence that is true of both views would count as false of one of them."""
    plain = {(d, f, t) for d, f, t, v in zip(TABLE.domain, TABLE.fact, TABLE.text, TABLE.view, strict=True) if v < 0}
    with_view = [
        (d, f, t) for d, f, t, v in zip(TABLE.domain, TABLE.fact, TABLE.text, TABLE.view, strict=True) if v >= 0
    ]
    assert with_view
    assert not plain & set(with_view)


def test_a_chosen_sentence_is_true_of_its_case():
    rng = np.random.default_rng(1)
    kinds = set()
    for i in range(len(CASES)):
        for _ in range(60):
            j = TABLE.choose(i, rng)
            true, _ = TABLE.match(np.asarray([i]), np.asarray([j]))
            assert true[0, 0], (CASES[i].id, TABLE.text[j])
            kinds.add((TABLE.fact[j] >= 0, bool(TABLE.present[j]), int(TABLE.view[j])))
    assert len(kinds) >= 8  # kinds of image, findings there and not, views said and unsaid
    again = [TABLE.choose(0, np.random.default_rng(7)) for _ in range(2)]
    assert again[0] == again[1]


def test_denials_and_claims_read_so():
    name = TABLE.facts.index((0, "Pneumonia"))
    here = [t for t, f, p in zip(TABLE.text, TABLE.fact, TABLE.present, strict=True) if f == name and p]
    gone = [t for t, f, p in zip(TABLE.text, TABLE.fact, TABLE.present, strict=True) if f == name and not p]
    denial = ("no ", "without", "absent", "negative", "No ")
    assert all(any(w in t for w in denial) for t in gone)
    assert not any(any(w in t for w in denial) for t in here)
    normal = TABLE.facts.index((0, "No Finding"))
    assert all(p for f, p in zip(TABLE.fact, TABLE.present, strict=True) if f == normal)


def test_one_set_over_two_kinds_of_image():
    """A class that a set knows only from its CT images says nothing false of its MR images, and does not crash."""
    cases = [
        _case(i, "both", m, "head", labels={"class": c})
        for i, (m, c) in enumerate([("CT", "a"), ("MR", "b"), ("CT", "c")])
    ]
    table = build(cases)
    assert set(table.facts) == {(0, "a"), (1, "b"), (0, "c")}
    assert table.truth[0].tolist()[table.facts.index((0, "c"))] == 0


# --- the trainer ---


@pytest.fixture(scope="module")
def recipe():
    from vesalius.training.nano.tower import Recipe

    share = {"nih-cxr14": 0.4, "busi": 0.3, "isic2017": 0.2, "cbc": 0.1}
    return Recipe(share=share, steps=4, sizes=((0.0, 64),), batch=6, cache=64)


def _trainer(recipe):
    from vesalius.training.nano.tower import Trainer, decode

    return Trainer(recipe, CASES, decode(CASES, recipe.cache, lambda _: None), "cpu")


def test_a_resumed_run_repeats_the_losses(recipe, tmp_path):
    torch.manual_seed(123)  # what ran before must not matter
    whole = _trainer(recipe)
    losses = [whole.train_step() for _ in range(2)]
    whole.save(tmp_path / "work")
    losses += [whole.train_step() for _ in range(2)]
    assert all(np.isfinite(list(row.values())).all() for row in losses)

    torch.manual_seed(456)
    resumed = _trainer(recipe)
    assert not resumed.resume(tmp_path / "nothing")
    first = resumed.train_step()
    assert first == pytest.approx(losses[0], rel=REPEATED)  # the seed alone decides the start
    assert resumed.resume(tmp_path / "work")
    assert resumed.step == 2
    for row in losses[2:]:
        assert resumed.train_step() == pytest.approx(row, rel=TRAINED)
    for a, b in zip(whole.mean.state_dict().values(), resumed.mean.state_dict().values(), strict=True):
        close(b, a, TRAINED)


def test_held_out_patients_are_never_trained_on(recipe):
    from vesalius.training.nano.tower import parts

    many = [
        _case(i, name, "DX", "chest", patient=f"p{i // 3}", labels={"Pneumonia": int(i % 5 == 0)})
        for name in ("nih-cxr14", "covid-cc-by")
        for i in range(90)
    ]
    part = parts(many, recipe)
    assert set(part) == {c.id for c in many}
    for name in ("nih-cxr14", "covid-cc-by"):
        mine = [c for c in many if c.source.dataset == name]
        sides = [{c.patient for c in mine if part[c.id] == side} for side in ("train", "test")]
        assert not sides[0] & sides[1]
        held = [c for c in mine if part[c.id] == "test"]
        assert len(held) / len(mine) == pytest.approx(recipe.held_out, abs=0.04)
        assert any(c.label("Pneumonia") == 1 for c in held)
    assert parts(many[::-1], recipe) == part


def test_a_written_model_loads_and_embeds(recipe, tmp_path):
    from vesalius.models import load
    from vesalius.models.nano.model import NanoNet
    from vesalius.training.nano.tower import write_model

    torch.manual_seed(0)
    net = NanoNet().eval()
    manifest = write_model(tmp_path / "m", net, ["a"], {"why": "test"})
    assert manifest.problems(tmp_path / "m") == []
    model = load(f"dir:{tmp_path / 'm'}", device="cpu")
    views = model.preprocess(CASES[0].images[0])
    with torch.inference_mode():
        want = net.image(torch.from_numpy(views)).numpy()
    close(model.embed([CASES[0].images[0]]), want)
