"""`vesalius fit SRC --target NAME`: a few-shot head with cross-validated figures and operating points."""

from __future__ import annotations

import argparse
from pathlib import Path

from vesalius.cli.common import Run, add_flags
from vesalius.errors import BadInputError, UsageError


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
    parser.add_argument("--plot", action="store_true", help="write roc.png and calibration.png beside the head")
    add_flags(parser, "--model", "--device", "--seed", "--limit", "--workers", "--batch-size", "--online")


def run(options: argparse.Namespace, run: Run) -> None:
    """Fit, report, save."""
    from vesalius.cli.sources import open_cases
    from vesalius.models import load
    from vesalius.models.heads import Head, fit, fit_vectors, mean_by_case, target_value

    if options.plot and options.out is None:
        raise UsageError("--plot needs a folder", fix="give --out DIR")
    model = load(options.model, device=options.device, online=run.online)
    if hasattr(model, "batch_size"):
        model.batch_size = options.batch_size
    settings = {
        "task": options.task,
        "kind": options.kind,
        "calibration": options.calibration,
        "balance": options.balance,
        "folds": options.folds,
        "seed": options.seed,
    }
    head: Head
    if (options.source / "library.sqlite").is_file():
        from vesalius.library import Library

        with Library.open(options.source, model, create=False, readonly=True) as library:
            kept = [(c.id, c.group, v) for c in library.cases() if (v := target_value(c, options.target)) is not None]
            if not kept:
                raise BadInputError("no case has a usable value of the target", item=options.target)
            found = library.vectors([id for id, _, _ in kept])
            head = fit_vectors(
                mean_by_case(found.ids, found.vectors, [id for id, _, _ in kept]),
                [value for _, _, value in kept],
                ids=[id for id, _, _ in kept],
                groups=[group for _, group, _ in kept],
                target=options.target,
                model=model.name,
                fingerprint=model.fingerprint,
                **settings,
            )
    else:
        cases = open_cases(options.source, options, run, layout=options.layout)
        usable = cases.filter(lambda c: bool(c.images) and target_value(c, options.target) is not None)
        head = fit(usable, options.target, model=model, shots=options.shots, **settings)
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
        run.say(f"  sensitivity {point.sensitivity:.3f} {point.sensitivity_interval}")
        run.say(f"  specificity {point.specificity:.3f} {point.specificity_interval}")
        for label, worth, interval in (("PPV", point.ppv, point.ppv_interval), ("NPV", point.npv, point.npv_interval)):
            if worth is not None:
                run.say(f"  {label} {worth:.3f} {interval} at prevalence {point.prevalence:.3f}")
    if run.out is not None:
        head.save(run.out)
        run.say(f"head saved in {run.out}")
        if options.plot:
            from vesalius.cli.plots import plot_head

            for path in plot_head(head, run.out, options.positive):
                run.say(f"plot: {path}")
    run.result = {k: v for k, v in head.to_dict().items() if k not in ("ids", "groups", "values")}
