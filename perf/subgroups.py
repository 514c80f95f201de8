"""Subgroup audit beside fairlearn's bootstrap: the same groups, measures and number of resamples.

The peer needs the dev extra (`fairlearn`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from perf.timing import row
from vesalius.audit.subgroups import subgroups

__all__ = ["TOPICS", "against_fairlearn"]


def against_fairlearn(n: int = 2000, resamples: int = 100, repeats: int = 3) -> list[dict[str, Any]]:
    """AUROC, sensitivity and specificity in the groups of sex, site and age, with intervals."""
    from fairlearn.metrics import MetricFrame, false_positive_rate, true_positive_rate
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, n)
    score = 1 / (1 + np.exp(-(rng.normal(size=n) + 1.5 * (y - 0.5))))
    attributes = {
        "sex": list(rng.choice(["F", "M"], n)),
        "site": list(rng.choice(["a", "b", "c"], n)),
        "age": list(rng.choice(["<40", "40-60", ">60"], n)),
    }

    def ours() -> Any:
        return subgroups(
            y, score, attributes, measures=("auroc", "sensitivity", "specificity"), resamples=resamples, seed=1
        )

    def theirs() -> Any:
        out = []
        for values in attributes.values():
            for metric, prediction in (
                (roc_auc_score, score),
                (true_positive_rate, score >= 0.5),
                (false_positive_rate, score >= 0.5),
            ):
                frame = MetricFrame(
                    metrics=metric, y_true=y, y_pred=prediction, sensitive_features=values,
                    n_boot=resamples, ci_quantiles=[0.025, 0.975], random_state=1,
                )  # fmt: skip
                out.append((frame.by_group_ci, frame.difference_ci()))
        return out

    name = f"subgroup intervals, n = {n}, {resamples} resamples, 8 groups x 3 measures"
    return [row(name, ours, theirs, peer_name="fairlearn MetricFrame bootstrap", goal=20.0, n=n, repeats=repeats)]


TOPICS = {"subgroups": against_fairlearn}
