"""Section `performance`: how good, with intervals over patients; the curves behind it."""

from __future__ import annotations

import numpy as np

from vesalius.audit.context import Context
from vesalius.errors import BadInputError
from vesalius.metrics.classification.calibration import ece, reliability_curve
from vesalius.metrics.classification.rates import rates_at
from vesalius.metrics.classification.scores import roc_curve
from vesalius.metrics.statistics.bootstrap import bootstrap, bootstrap_mean


def run(context: Context) -> None:
    """Put AUROC, AUPRC, Brier, ECE and the rates at the threshold."""
    s = context.settings
    y, score = context.inputs.y, context.score
    rates = rates_at(y, score, s.threshold)
    for name in ("auroc", "auprc", "sensitivity", "specificity", "ppv", "npv"):
        at = None if name.startswith("au") else s.threshold
        estimate = None if at is None else getattr(rates, name)
        if at is not None and estimate is None:
            continue  # nothing was called positive, or nothing negative
        try:
            b = bootstrap(
                y, score, name, at, resamples=s.resamples, seed=s.seed, groups=context.clusters, level=s.level
            )
            context.put(f"performance.{name}", b.estimate, b.interval.low, b.interval.high)
        except BadInputError:  # undefined in too many resamples: a number without an interval
            if estimate is not None:
                context.put(f"performance.{name}", estimate)
    squared = bootstrap_mean(
        (score - y) ** 2, resamples=s.resamples, seed=s.seed, groups=context.clusters, level=s.level
    )
    context.put("performance.brier", squared.estimate, squared.interval.low, squared.interval.high)
    # No interval: the bootstrap of a binned error is biased upwards, since resampling adds noise to every bin.
    context.put("performance.ece", ece(y, score, 10))
    curve = roc_curve(y, score)
    keep = np.unique(np.linspace(0, len(curve.fpr) - 1, 200).astype(int))
    reliability = reliability_curve(y, score, bins=10)
    context.sections["performance"] = {
        "prevalence": float(y.mean()),
        "threshold": s.threshold,
        "roc": {"fpr": curve.fpr[keep], "tpr": curve.tpr[keep]},
        "reliability": {k: getattr(reliability, k) for k in vars(reliability)},
    }
