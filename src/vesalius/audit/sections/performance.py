"""Section `performance`: how good, with intervals over patients; the curves behind it."""

from __future__ import annotations

from typing import Any

import numpy as np

from vesalius.audit.context import Context
from vesalius.metrics.classification.calibration import ece_interval, reliability_curve
from vesalius.metrics.classification.scores import roc_curve
from vesalius.metrics.evaluation import auprc_measure, auroc_measure
from vesalius.metrics.statistics.bootstrap import bootstrap_mean, bootstrap_share


def run(context: Context) -> None:
    """Put AUROC, AUPRC, Brier, ECE and the rates at the threshold."""
    s = context.settings
    y, score, patients = context.inputs.y, context.score, context.inputs.patients
    how: Any = {"resamples": s.resamples, "seed": s.seed, "level": s.level}
    context.put("performance.auroc", auroc_measure(y, score, patients, **how))
    context.put("performance.auprc", auprc_measure(y, score, patients, **how))
    called = score >= s.threshold
    rates = {
        "sensitivity": (called, y == 1), "specificity": (~called, y == 0), "ppv": (y == 1, called),
        "npv": (y == 0, ~called),
    }  # fmt: skip
    for name, (right, among) in rates.items():
        if among.any():  # else nothing was called positive, or nothing negative
            whose = np.asarray(patients)[among]
            context.put(f"performance.{name}", bootstrap_share(right[among], groups=whose, **how))
    squared = bootstrap_mean((score - y) ** 2, groups=patients, **how)
    context.put("performance.brier", squared)
    context.put("performance.ece", ece_interval(y, score, 10, groups=patients, **how))
    curve = roc_curve(y, score)
    keep = np.unique(np.linspace(0, len(curve.fpr) - 1, 200).astype(int))
    reliability = reliability_curve(y, score, bins=10)
    context.sections["performance"] = {
        "prevalence": float(y.mean()),
        "threshold": s.threshold,
        "roc": {"fpr": curve.fpr[keep], "tpr": curve.tpr[keep]},
        "reliability": dict(vars(reliability)),
    }
