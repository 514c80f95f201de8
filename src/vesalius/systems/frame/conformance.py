"""`check_system`: what every system must keep, ours or a plug-in's. Cheap: it trains for a few steps only."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from vesalius.cases import CaseSet
from vesalius.errors import BadInputError
from vesalius.models import _METHOD
from vesalius.systems.frame.recipe import Job, System, load_model, save_model

_ELSEWHERE = """
import sys
import numpy as np
import vesalius
from vesalius.cases import CaseSet
from vesalius.models import load
model = load("dir:" + sys.argv[1], device="cpu")
np.save(sys.argv[3], model.predict(list(CaseSet.read(sys.argv[2]))))
"""


def _keeps(kept: bool, promise: str) -> None:
    if not kept:
        raise AssertionError(promise)


def check_system(system: System, *, n: int = 24, steps: int = 2, elsewhere: bool = True) -> None:
    """Hold a system to the contract of this room.

    It has a row in the catalogue and says its claim in a sentence; its phantom cases are the same for the same seed;
    training is the same for the same seed and refuses nothing; the model folder it saves gives the same predictions to
    1e-5 when loaded, also in another process; its model has the method of each capability it names; it refuses empty
    input with a clear error.

    Args:
        system: The system.
        n: Phantom cases to try it on.
        steps: Optimiser steps.
        elsewhere: Load the model in another process too.

    Raises:
        AssertionError: A promise is not kept; the message says which.
    """
    entry = system.entry
    _keeps(entry.name == system.name == system.model.system, "the names of system, model and catalogue differ")
    _keeps(system.claim.endswith("."), "the claim is one sentence")
    _keeps(bool(system.data) and set(system.data) <= {"phantom", "real"}, "data says where check can run")
    cases, again = system.example(n, 5), system.example(n, 5)
    _keeps([c.to_dict() for c in cases] == [c.to_dict() for c in again], "example() depends on more than its seed")
    job = Job(steps=steps, seed=3)
    model = system.train(cases, job)
    given = np.asarray(model.predict(cases), np.float64)
    _keeps(given.shape[0] == len(cases), "predict() gives one row a case")
    _keeps(bool(np.isfinite(given).all()), "predictions are not finite")
    for capability in model.capabilities:
        method = _METHOD.get(capability, "predict")
        _keeps(callable(getattr(model, method, None)), f"it claims to {capability} but has no {method}()")
    twin = system.train(cases, job)
    np.testing.assert_allclose(twin.predict(cases), given, atol=1e-5, err_msg="training depends on more than its seed")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        manifest = save_model(model, folder)
        _keeps(not manifest.problems(folder), "the model folder is not what its manifest says")
        loaded = load_model(folder)
        np.testing.assert_allclose(loaded.predict(cases), given, atol=1e-5, err_msg="a saved model predicts otherwise")
        if elsewhere:
            CaseSet(cases).write(Path(scratch) / "cases")
            stored = list(CaseSet.read(Path(scratch) / "cases"))
            out = Path(scratch) / "out.npy"
            subprocess.run(  # noqa: S603 # our own interpreter, code and paths
                [sys.executable, "-c", _ELSEWHERE, str(folder), str(Path(scratch) / "cases"), str(out)], check=True
            )
            np.testing.assert_allclose(
                np.load(out), loaded.predict(stored), atol=1e-5, err_msg="another process predicts otherwise"
            )
    try:
        system.train([], job)
    except BadInputError:
        pass
    else:
        raise AssertionError("training on no cases must be refused with a BadInputError")
