"""The MedMNIST-C protocol over any classifier: every class, every corruption of a list, five severities.

Di Salvo et al., arXiv 2406.17536. `robustness` does the arithmetic; here are the way from cases to it, the choice of a
list, any other classifier as the baseline of BE and rBE (the published one is AlexNet on MedMNIST), and the published
form of the result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vesalius.audit.inputs import Scorer, display
from vesalius.audit.robustness import Robustness, robustness
from vesalius.cases import Case
from vesalius.cases.targets import target_value
from vesalius.corruptions import SEVERITIES, registry
from vesalius.errors import BadInputError

__all__ = ["as_baseline", "benchmark", "published_form", "suite_of"]

#: DICOM modality to the MedMNIST-C set whose pictures come from it.
_SUITES = {
    "GM": "bloodmnist", "SM": "pathmnist", "DMS": "dermamnist", "XC": "dermamnist", "OP": "retinamnist",
    "OPT": "octmnist", "US": "breastmnist", "DX": "chestmnist", "CR": "chestmnist", "CT": "organamnist",
}  # fmt: skip


def suite_of(modality: str) -> str:
    """The list of corruptions for pictures of a DICOM modality: a MedMNIST-C set's, else `default`."""
    return _SUITES.get(modality, "default")


def benchmark(
    model: Scorer,
    cases: Sequence[Case],
    target: str = "class",
    *,
    suite: str = "",
    baseline: Mapping[str, Any] | None = None,
    severities: Sequence[int] = SEVERITIES,
    resamples: int = 1000,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Robustness:
    """Put a classifier through the corruptions that belong to its pictures.

    Args:
        model: Classifier; its classes are the target's values.
        cases: Cases that it was not trained on; those without a known class or a flat picture are left out.
        target: Label or attribute that says the class.
        suite: Whose list and severities (`audit.corruptions.datasets`); by default that of the modality.
        baseline: Errors to divide by (`alexnet`, `as_baseline`), or None.
        severities: Some of 1 to 5.
        resamples: Bootstrap resamples of the intervals, drawn by patient.
        seed: Seed of corruptions and resamples.
        progress: Called with a line of text for each corruption.

    Raises:
        BadInputError: No case is left, a case has a class that the model does not know, or the model is at chance.
    """
    kept = [c for c in cases if c.images and c.images[0].kind == "2d" and target_value(c, target) is not None]
    if not kept:
        raise BadInputError("nothing to corrupt", item=target, why="no case has a flat picture and this label")
    names = [str(name) for name in model.classes]
    truth = [str(target_value(c, target)) for c in kept]
    if unknown := sorted(set(truth) - set(names)):
        raise BadInputError(
            "the model does not know a class", item=f"{target}={unknown[0]}", why=f"it knows {', '.join(names[:12])}"
        )
    suite = suite or suite_of(kept[0].images[0].modality)
    pictures = [display(c.images[0]) for c in kept]

    def predict(arrays: list[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float64]:
        return np.asarray(
            model.predict_proba([c.images[0].with_array(a) for c, a in zip(kept, arrays, strict=True)]), np.float64
        )

    return robustness(
        pictures, [names.index(t) for t in truth], predict, registry(suite), dataset=suite, severities=severities,
        image_ids=[c.id for c in kept], patients=[c.group for c in kept], baseline=baseline, resamples=resamples,
        seed=seed, progress=progress,
    )  # fmt: skip


def as_baseline(result: Robustness, name: str) -> dict[str, Any]:
    """A classifier's result, as what another one's errors are divided by."""
    return {
        "name": name,
        "clean": result.clean,
        "corrupted": {k: float(np.mean(errors)) for k, errors in result.errors.items()},
    }


def published_form(result: Robustness) -> dict[str, Any]:
    """The layout in which MedMNIST-C results are exchanged: errors, and BE and rBE as ratios to the baseline's."""
    return {
        "metrics": {"clean_score": result.clean, "be": _mean(result.be), "rbe": _mean(result.rbe)},
        "be_scores": dict(result.be),
        "rbe_scores": dict(result.rbe),
        "raw_scores": {k: list(errors) for k, errors in result.errors.items()},
    }


def _mean(scores: Mapping[str, float]) -> float | None:
    return float(np.mean(list(scores.values()))) if scores else None
