"""`vesalius fit SRC --target NAME`: a few-shot head with cross-validated figures and operating points."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vesalius.cli.common import Run, add_flags
from vesalius.errors import BadInputError, UsageError

if TYPE_CHECKING:
    from vesalius.models.protocols import Embedder


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.add_argument("source", type=Path, help="labelled cases: a case set, a data set folder, or a library")
    parser.add_argument("--target", required=True, help="label or attribute to learn (pneumonia, age, modality ...)")
    parser.add_argument("--task", choices=("classification", "regression"), help="default: by the values")
    parser.add_argument("--kind", choices=("logistic", "prototype", "knn", "ridge"), help="default: logistic or ridge")
    parser.add_argument(
        "--calibration", choices=("temperature", "isotonic", "none"), default="temperature", help="default: temperature"
    )
    parser.add_argument("--balance", action="store_true", help="weigh classes by the inverse of their frequency")
    parser.add_argument("--shots", type=int, help="use at most this many cases of each class")
    parser.add_argument("--folds", type=int, default=5, help="patient-grouped folds (default: 5)")
    parser.add_argument("--positive", help="which class counts as positive (needed for three classes or more)")
    parser.add_argument("--sensitivity", type=float, help="operating point with at least this sensitivity")
    parser.add_argument("--specificity", type=float, help="operating point with at least this specificity")
    parser.add_argument("--cost", type=float, help="operating point of least cost; cost of a miss to a false alarm")
    parser.add_argument("--prevalence", type=float, help="prevalence for PPV and NPV (default: that of the cases)")
    parser.add_argument("--layout", default="", help="layout of SRC (default: found out; `files` for plain files)")
    parser.add_argument("--plot", action="store_true", help="write roc.png, precision-recall.png and calibration.png")
    add_flags(parser, "--model", "--device", "--seed", "--limit", "--workers", "--batch-size", "--online")


@dataclass(frozen=True)
class _Rows:
    """What a head is fitted on, one row a case."""

    ids: list[str]
    groups: list[str]
    values: list[Any]
    vectors: npt.NDArray[np.float32]

    def pick(self, index: Sequence[int]) -> _Rows:
        def some(column: list[Any]) -> list[Any]:
            return [column[i] for i in index]

        return _Rows(some(self.ids), some(self.groups), some(self.values), self.vectors[list(index)])


def _from_library(options: argparse.Namespace, model: Embedder) -> _Rows:
    """Rows from vectors that a library holds already."""
    from vesalius.cases.targets import target_value
    from vesalius.library import Library
    from vesalius.models.fitting import mean_by_case

    with Library.open(options.source, model, create=False, readonly=True) as library:
        kept = [(c.id, c.group, v) for c in library.cases() if (v := target_value(c, options.target)) is not None]
        found = library.vectors([id for id, _, _ in kept]) if kept else None
    ids = [id for id, _, _ in kept]
    vectors = np.zeros((0, model.dim), np.float32) if found is None else mean_by_case(found.ids, found.vectors, ids)
    return _Rows(ids, [g for _, g, _ in kept], [v for _, _, v in kept], vectors)


def _from_cases(options: argparse.Namespace, model: Embedder, run: Run) -> _Rows:
    """Rows from images, decoded and embedded now."""
    from vesalius.cases.targets import target_value
    from vesalius.cli.embedding import embedded
    from vesalius.cli.sources import open_cases

    cases = open_cases(options.source, options, run, layout=options.layout)
    usable = cases.filter(lambda c: bool(c.images) and target_value(c, options.target) is not None)
    found = list(embedded(usable, model, run, workers=options.workers, batch_size=options.batch_size))
    vectors = np.stack([e.vector for e in found]) if found else np.zeros((0, model.dim), np.float32)
    values = [target_value(e.case, options.target) for e in found]
    return _Rows([e.case.id for e in found], [e.case.group for e in found], values, vectors)


def run(options: argparse.Namespace, run: Run) -> None:
    """Fit, report, save."""
    from vesalius.models import load
    from vesalius.models.fitting import fit_vectors
    from vesalius.models.probes import draw_shots

    if options.plot and options.out is None:
        raise UsageError("--plot needs a folder", fix="give --out DIR")
    model = load(options.model, device=options.device, online=run.online)
    settings = {
        "task": options.task,
        "kind": options.kind,
        "calibration": options.calibration,
        "balance": options.balance,
        "folds": options.folds,
        "seed": options.seed,
    }
    rows = (
        _from_library(options, model)
        if (options.source / "library.sqlite").is_file()
        else _from_cases(options, model, run)
    )
    if not rows.ids:
        raise BadInputError(
            "no case has a usable value of the target",
            item=options.target,
            fix="see the labels with `vesalius data stats`",
        )
    if options.shots:
        rows = rows.pick(draw_shots(rows.values, options.shots, options.seed))
    head = fit_vectors(
        rows.vectors,
        rows.values,
        ids=rows.ids,
        groups=rows.groups,
        target=options.target,
        model=model.name,
        fingerprint=model.fingerprint,
        **settings,
    )
    run.facts["model"] = {"name": model.name, "fingerprint": model.fingerprint}
    evaluation = head.evaluation
    run.say(f"{head.target}: {head.kind} head on {head.model}, {evaluation.n} cases of {evaluation.patients} patients")
    if evaluation.counts:
        run.say("  " + ", ".join(f"{name}: {n}" for name, n in evaluation.counts.items()))
    run.say(f"held out by patient ({head.settings['folds']} folds):")
    for measure in evaluation.measures:
        run.say(f"  {measure}")
    asked = {k: getattr(options, k) for k in ("sensitivity", "specificity", "cost") if getattr(options, k) is not None}
    for name, value in asked.items():
        point = head.operating_point(**{name: value}, positive=options.positive, prevalence=options.prevalence)
        key = f"{name}={value:g}" + (f" {options.positive}" if options.positive else "")
        head = head.with_point(key, point)
        run.say(f"operating point ({point.rule}): score >= {point.threshold:.6g}")
        run.say(f"  sensitivity {point.sensitivity:.3f}")
        run.say(f"  specificity {point.specificity:.3f}")
        for label, worth in (("PPV", point.ppv), ("NPV", point.npv)):
            if worth is not None:
                run.say(f"  {label} {worth:.3f} at prevalence {point.prevalence:.3f}")
    if run.out is not None:
        head.save(run.out)
        run.say(f"head saved in {run.out}")
        if options.plot:
            from vesalius.render.charts import plot_head

            for path in plot_head(head, run.out, options.positive):
                run.say(f"plot: {path}")
    run.result = {k: v for k, v in head.to_dict().items() if k not in ("ids", "groups", "values")}
