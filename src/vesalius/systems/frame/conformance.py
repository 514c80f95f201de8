"""`check_system`: what every system must keep, ours or a plug-in's. Cheap: it trains for a few steps only."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vesalius.cases import Box, Case, CaseSet
from vesalius.errors import BadInputError
from vesalius.job import Job
from vesalius.models.protocols import Prompt
from vesalius.systems.frame.budget import Budget
from vesalius.systems.frame.model import load_model, save_model
from vesalius.systems.frame.recipe import Recipe, System

Answers = dict[str, npt.NDArray[np.float64]]
#: Saved and loaded, here and in another process, a model's answers agree so far: float32 kernels may differ in bits.
CLOSE = 1e-5
#: Share of a mask's pixels that a restored encoding must give again: encodings are stored in half precision, which
#: moves logits by parts in a thousand, and an untrained head's lie close to 0.
SAME = 0.95
_ELSEWHERE = """
import sys
import numpy as np
import vesalius
from vesalius.cases import CaseSet
from vesalius.models import load
from vesalius.systems.frame.conformance import exercised
model = load("dir:" + sys.argv[1], device="cpu")
np.savez(sys.argv[3], **exercised(model, list(CaseSet.read(sys.argv[2]))))
"""


def _keeps(kept: bool, promise: str) -> None:
    if not kept:
        raise AssertionError(promise)


def _classify(model: Any, cases: Sequence[Case]) -> npt.NDArray[np.float64]:
    images = model.predict_proba([c.images[0] for c in cases])
    _keeps(images.shape == (len(cases), len(model.classes)), "predict_proba() gives a row a case, a column a class")
    np.testing.assert_allclose(images.sum(1), 1, rtol=1e-5, err_msg="probabilities of the classes sum to 1")
    if not hasattr(model, "predict_cases"):
        return np.asarray(images, np.float64)
    whole = model.predict_cases(cases)
    _keeps(whole.shape == images.shape, "predict_cases() gives what predict_proba() gives, of whole cases")
    return np.asarray(np.concatenate([images, whole], 1), np.float64)


def _embed(model: Any, cases: Sequence[Case]) -> npt.NDArray[np.float64]:
    found = model.embed([c.images[0] for c in cases])
    _keeps(found.shape == (len(cases), model.dim), "embed() gives a row an image, as long as dim says")
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-4, err_msg="vectors have length 1")
    views = model.embed_views([model.preprocess(cases[0].images[0])])
    np.testing.assert_allclose(views[0], found[0], atol=1e-4, err_msg="embed_views(preprocess()) is embed()")
    return np.asarray(found, np.float64)


def _text(model: Any, _: Sequence[Case]) -> npt.NDArray[np.float64]:
    found = model.embed_text(["pleural effusion", "a normal chest film", "pleural effusion"])
    _keeps(found.shape == (3, model.dim), "embed_text() gives a row a text, as long as dim says")
    np.testing.assert_allclose(found[0], found[2], atol=CLOSE, err_msg="one text has one vector")
    return np.asarray(found, np.float64)


def _ground(model: Any, cases: Sequence[Case]) -> npt.NDArray[np.float64]:
    rows = []
    for case in cases:
        found = model.ground(case.images[0], ["heart", "left lung"])
        _keeps([g.phrase for g in found] == ["heart", "left lung"], "ground() gives one answer a phrase, in order")
        height, width = case.images[0].pixels().shape[:2]
        for g in found:
            _keeps(len(g.boxes) == len(g.scores) > 0, "a box has a score")
            b = g.boxes[0]
            inside = 0 <= b.x0 <= b.x1 <= width + 1e-3 and 0 <= b.y0 <= b.y1 <= height + 1e-3
            _keeps(inside and 0 <= g.scores[0] <= 1, "boxes lie in the image, scores in [0, 1]")
            rows.append([b.x0 / width, b.y0 / height, b.x1 / width, b.y1 / height, g.scores[0]])
    return np.asarray(rows, np.float64)


def _segment(model: Any, cases: Sequence[Case]) -> npt.NDArray[np.float64]:
    rows = []
    for case in cases:
        image = case.images[0]
        encoded = model.encode(image, 0 if image.kind == "2d" else len(image.pixels()) // 2)
        height, width = encoded.size
        again = model.restore(encoded.to_tensors(), encoded.size)
        for prompt in (
            Prompt(box=Box(width / 4, height / 4, 3 * width / 4, 3 * height / 4)),
            Prompt(points=((width / 2, height / 2, 1),)),
            Prompt(text="heart"),
        ):
            found = model.segment(encoded, prompt)
            _keeps(found.mask.shape == (height, width), "a mask has the picture's size")
            _keeps(0 <= found.score <= 1, "a mask's score lies in [0, 1]")
            same = float((model.segment(again, prompt).mask == found.mask).mean())
            _keeps(same > SAME, "an encoding that was stored and restored gives the same mask")
            rows.append([float(np.tanh(found.logits).mean()), found.score])
    return np.asarray(rows, np.float64)


#: Capability to what is done with a model that says it has it: the methods that verbs call, none other.
EXERCISES: dict[str, Callable[[Any, Sequence[Case]], npt.NDArray[np.float64]]] = {
    "classify": _classify, "embed": _embed, "text": _text, "ground": _ground, "segment": _segment,
}  # fmt: skip


def exercised(model: Any, cases: Sequence[Case]) -> Answers:
    """What a model answers to each capability that it names, asked as verbs ask.

    Raises:
        AssertionError: It names a capability that nothing here can ask for, or does not keep what that promises.
    """
    _keeps(bool(model.capabilities), "a model has a capability")
    out: Answers = {}
    for capability in model.capabilities:
        _keeps(capability in EXERCISES, f"nothing can ask a model to {capability}")
        try:
            out[capability] = EXERCISES[capability](model, cases)
        except AttributeError as error:
            raise AssertionError(f"it says that it can {capability}: {error}") from error
        _keeps(bool(np.isfinite(out[capability]).all()), f"answers to {capability} are finite")
    return out


def check_system(system: System, *, n: int = 24, steps: int = 2, elsewhere: bool = True) -> None:
    """Hold a system to the contract of this room.

    It has a row in the catalogue, says its claim in a sentence and what it compares. A recipe's phantom cases are the
    same for the same seed; training is the same for the same seed, and another for another; the model folder it saves
    answers the same when loaded, also in another process; each capability is exercised through the methods that verbs
    call; empty input is refused with a clear error. A protocol trains nothing and has no `train`.

    Args:
        system: The system.
        n: Phantom cases to try it on.
        steps: Optimiser steps.
        elsewhere: Load the model in another process too.

    Raises:
        AssertionError: A promise is not kept; the message says which.
    """
    _keeps(system.entry.name == system.name, "the names of system and catalogue differ")
    _keeps(system.claim.endswith("."), "the claim is one sentence")
    _keeps(bool(system.worlds), "a system has a world to be checked on")
    for world in system.worlds:
        _keeps(any(c.concerns(world) for c in system.comparisons), f"nothing is compared on {world.name}")
    if not isinstance(system, Recipe):
        _keeps(not hasattr(system, "train"), "a protocol trains nothing")
        return
    _keeps(system.model.system == system.name, "the names of system and model differ")
    cases, again = system.example(n, 5), system.example(n, 5)
    _keeps([c.to_dict() for c in cases] == [c.to_dict() for c in again], "example() depends on more than its seed")
    budget = Budget(steps=steps)
    model = system.train(cases, budget, Job(seed=3))
    given = exercised(model, cases)
    _same(exercised(system.train(cases, budget, Job(seed=3)), cases), given, "training depends on more than its seed")
    other = system.train(cases, budget, Job(seed=4))
    _keeps(other.fingerprint != model.fingerprint, "another seed gives the same model: the job's seed is not used")
    with tempfile.TemporaryDirectory() as scratch:
        folder, stored, out = (Path(scratch) / name for name in ("model", "cases", "out.npz"))
        manifest = save_model(model, folder)
        _keeps(not manifest.problems(folder), "the model folder is not what its manifest says")
        loaded = load_model(folder)
        _same(exercised(loaded, cases), given, "a saved model answers otherwise")
        if elsewhere:
            CaseSet(cases).write(stored)
            subprocess.run(  # noqa: S603 # our own interpreter, code and paths
                [sys.executable, "-c", _ELSEWHERE, str(folder), str(stored), str(out)], check=True
            )
            there = exercised(loaded, list(CaseSet.read(stored)))
            with np.load(out, allow_pickle=False) as found:
                _same(dict(found), there, "another process answers otherwise")
    try:
        system.train([], budget, Job(seed=3))
    except BadInputError:
        return
    raise AssertionError("training on no cases must be refused with a BadInputError")


def _same(found: Answers, wanted: Answers, promise: str) -> None:
    _keeps(set(found) == set(wanted), promise)
    for capability, values in wanted.items():
        np.testing.assert_allclose(found[capability], values, rtol=CLOSE, atol=CLOSE, err_msg=promise)
