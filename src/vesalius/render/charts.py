"""Pictures of results: ROC, calibration, contact sheet. matplotlib without a display."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vesalius.metrics.classification.calibration import reliability_curve
from vesalius.metrics.classification.scores import pr_curve, roc_curve
from vesalius.metrics.evaluation import auprc_measure, auroc_measure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from vesalius.models.heads import Head

#: Blue and orange that colour-blind readers can tell apart (Okabe and Ito).
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#666666"


def new_figure(width: float = 5.0, height: float = 5.0) -> tuple[Figure, Any]:
    """A figure with one plot, no frame at top and right."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def plot_roc(head: Head, positive: str | None = None) -> Figure:
    """ROC of held-out predictions with the area, its interval, and the stored operating points."""
    y, score = head.held_out_scores(positive)
    curve = roc_curve(y, score)
    figure, axes = new_figure()
    name = head.classes[head.column(positive)]
    measure = auroc_measure(y, score, head.groups, name, int(head.settings.get("seed", 0)))
    axes.plot(curve.fpr, curve.tpr, color=BLUE, lw=2, label=f"AUROC {measure:.3f}")
    axes.plot([0, 1], [0, 1], color=GREY, lw=1, ls=":")
    for key, point in head.points.items():
        at = (1 - point.specificity.value, point.sensitivity.value)
        axes.plot(*at, "o", color=ORANGE, label=f"{key}: score >= {point.threshold:.3g}")
    axes.set(
        xlabel="1 - specificity", ylabel="sensitivity", title=f"{head.target}: {name}", xlim=(-0.01, 1), ylim=(0, 1.01)
    )
    axes.legend(loc="lower right", frameon=False, fontsize=9)
    return figure


def plot_precision_recall(head: Head, positive: str | None = None) -> Figure:
    """Precision against recall of held-out predictions, with the area, its interval, and the prevalence as a floor."""
    y, score = head.held_out_scores(positive)
    curve = pr_curve(y, score)
    name = head.classes[head.column(positive)]
    measure = auprc_measure(y, score, head.groups, name, int(head.settings.get("seed", 0)))
    figure, axes = new_figure()
    axes.plot(curve.recall, curve.precision, color=BLUE, lw=2, label=f"AUPRC {measure:.3f}")
    axes.axhline(float(y.mean()), color=GREY, lw=1, ls=":", label=f"prevalence {y.mean():.3f}")
    axes.set(xlabel="recall (sensitivity)", ylabel="precision (PPV)", title=f"{head.target}: {name}")
    axes.set(xlim=(0, 1), ylim=(0, 1.01))
    axes.legend(loc="lower left", frameon=False, fontsize=9)
    return figure


def plot_calibration(head: Head, positive: str | None = None) -> Figure:
    """Observed share against stated probability of held-out predictions, ten bins of equal size, Wilson intervals."""
    y, score = head.held_out_scores(positive)
    curve = reliability_curve(y, score, bins=10, binning="mass")
    low = [max(o - i.low, 0) for o, i in zip(curve.observed, curve.shares, strict=True)]
    high = [max(i.high - o, 0) for o, i in zip(curve.observed, curve.shares, strict=True)]
    figure, axes = new_figure()
    axes.plot([0, 1], [0, 1], color=GREY, lw=1, ls=":")
    axes.errorbar(curve.predicted, curve.observed, yerr=[low, high], fmt="o", color=BLUE, capsize=2)
    axes.set(xlabel="stated probability", ylabel="observed share", title=f"calibration, n = {len(y)}")
    axes.set(xlim=(0, 1), ylim=(0, 1))
    return figure


def plot_head(head: Head, folder: Path, positive: str | None = None) -> list[Path]:
    """Write roc.png, precision-recall.png and calibration.png (predicted.png for a number) into a folder."""
    if head.task == "regression":
        figure, axes = new_figure()
        where = slice(None) if head.counted is None else head.counted
        truth = np.asarray(head.values, float)[where]
        axes.plot(truth, head.held_out[where, 0], ".", color=BLUE, alpha=0.6)
        ends = [truth.min(), truth.max()]
        axes.plot(ends, ends, color=GREY, lw=1, ls=":")
        axes.set(xlabel=head.target, ylabel="held-out prediction", title=str(head.evaluation["mae"]))
        figure.savefig(folder / "predicted.png")
        return [folder / "predicted.png"]
    classes: Sequence[str | None] = [positive]
    if positive is None and len(head.classes) > 2:
        classes = head.classes
    out = []
    for number, name in enumerate(classes):
        suffix = f"-{number}" if len(classes) > 1 else ""
        for kind, make in _PLOTS:
            path = folder / f"{kind}{suffix}.png"
            make(head, name).savefig(path)
            out.append(path)
    return out


_PLOTS = (("roc", plot_roc), ("precision-recall", plot_precision_recall), ("calibration", plot_calibration))


def contact_sheet(thumbnails: Sequence[np.ndarray[Any, Any]], captions: Sequence[str], columns: int = 6) -> Figure:
    """Pictures in rows with a caption under each."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = max(1, -(-len(thumbnails) // columns))
    figure = Figure(figsize=(2 * columns, 2.3 * rows), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    for i, (picture, caption) in enumerate(zip(thumbnails, captions, strict=True)):
        axes = figure.add_subplot(rows, columns, i + 1)
        axes.imshow(picture, cmap="gray" if picture.ndim == 2 else None, vmin=0, vmax=255)
        axes.set_title(caption, fontsize=7)
        axes.axis("off")
    return figure
