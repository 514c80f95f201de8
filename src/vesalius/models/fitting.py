"""Fitting of few-shot heads: cases and labels to an embedder's vectors, folds by patient, probe, calibration, measures.

What is reported comes from out-of-fold predictions: each case is scored by a head that saw no case of its patient, and
calibrated by a calibrator fitted without its fold.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vesalius.cases import Case
from vesalius.cases.splits import kfold
from vesalius.cases.targets import Task, Value, class_name, class_names, guess_task, target_value
from vesalius.errors import BadInputError, UsageError
from vesalius.metrics.evaluation import evaluate_classes, evaluate_numbers
from vesalius.models.calibrators import CalibrationKind, Calibrator, fit_calibrator
from vesalius.models.embedding import unit
from vesalius.models.heads import Head
from vesalius.models.probes import ProbeKind, draw_shots, fit_probe
from vesalius.models.protocols import Embedder
from vesalius.models.seen import seen_patients


def fit(
    cases: Iterable[Case],
    target: str,
    *,
    model: Embedder | str = "nano",
    task: Task | None = None,
    kind: ProbeKind | None = None,
    calibration: CalibrationKind = "temperature",
    balance: bool = False,
    shots: int | None = None,
    folds: int = 5,
    seed: int = 0,
    count_seen: bool = False,
) -> Head:
    """Fit a head on cases' images.

    Where the model's folder says which pictures it was trained on, cases of those patients are learnt from but stay out
    of the held-out figures, as the model would flatter itself on them (`settings["seen"]` says how many).

    Args:
        cases: Cases with images; a case with several is represented by the mean of their vectors.
        target: A label's name, an attribute's name (`age`), or `modality`, `view`, `body_part` of the first image.
        model: An embedder or its name.
        task: Classification or regression; guessed from the values when None.
        kind: The probe; logistic or ridge by default.
        calibration: How scores become probabilities.
        balance: Weigh classes by the inverse of their frequency.
        shots: Use this many cases of each class at most, drawn by seed.
        folds: Patient-grouped folds.
        seed: Seed of folds and shots.
        count_seen: Count cases that the model was trained on in the held-out figures too.

    Returns:
        The head, with its cross-validated evaluation.

    Raises:
        BadInputError: Too few usable cases, or one class only.
        UsageError: The options do not fit together.
    """
    from vesalius.models import load

    embedder = load(model) if isinstance(model, str) else model
    kept = [(case, value) for case in cases if case.images and (value := target_value(case, target)) is not None]
    if not kept:
        raise BadInputError(
            "no case has a usable value of the target", item=target, fix="see the labels with `vesalius data stats`"
        )
    chosen = range(len(kept)) if shots is None else draw_shots([v for _, v in kept], shots, seed)
    kept = [kept[i] for i in chosen]
    vectors = case_vectors([case for case, _ in kept], embedder)
    seen = seen_patients(embedder, [case for case, _ in kept])
    return fit_vectors(
        vectors,
        [value for _, value in kept],
        ids=[case.id for case, _ in kept],
        groups=[case.group for case, _ in kept],
        target=target,
        model=embedder.name,
        fingerprint=embedder.fingerprint,
        task=task,
        kind=kind,
        calibration=calibration,
        balance=balance,
        folds=folds,
        seed=seed,
        seen=seen,
        count_seen=count_seen,
    )


def fit_vectors(
    vectors: npt.NDArray[np.float32],
    values: Sequence[Value],
    *,
    ids: Sequence[str],
    groups: Sequence[str],
    target: str,
    model: str,
    fingerprint: str,
    task: Task | None = None,
    kind: ProbeKind | None = None,
    calibration: CalibrationKind = "temperature",
    balance: bool = False,
    folds: int = 5,
    seed: int = 0,
    seen: Sequence[bool] | npt.NDArray[np.bool_] | None = None,
    count_seen: bool = False,
) -> Head:
    """Fit a head on vectors that exist already (those of a library); arguments as for `fit`.

    Args as there, and:
        seen: Which cases the model was trained on; None where that is not known.
    """
    job = task or guess_task(values)
    probe_kind: ProbeKind = kind or ("logistic" if job == "classification" else "ridge")
    if (probe_kind == "ridge") != (job == "regression"):
        raise UsageError("this probe does not fit the task", item=f"{probe_kind} for {job}")
    if folds < 2:
        raise UsageError("held-out figures need two folds", item=f"folds={folds}", fix="use 2 or more")
    settings: dict[str, Any] = {"balance": balance, "calibration": calibration, "folds": folds, "seed": seed}
    x = np.asarray(vectors, np.float64)
    classes: tuple[str, ...] = ()
    if job == "classification":
        classes = class_names(values)
        values = [class_name(v) for v in values]
        y: npt.NDArray[Any] = np.asarray([classes.index(v) for v in values])
        strata: list[Any] = list(values)
        folds = _possible_folds(values, groups, folds, target)
    else:
        if not all(isinstance(v, int | float) for v in values):
            raise BadInputError(
                "the target is not a number in every case", item=target, fix="use task='classification'"
            )
        y = np.asarray([float(v) for v in values])
        strata = [None] * len(y)
        folds = min(folds, len(set(groups)))
        if folds < 2:
            raise BadInputError("too few patients to fit a head", item=target, why=f"{len(set(groups))} patient(s)")
    outputs = max(len(classes), 1)
    options: dict[str, Any] = {"classes": outputs, "balance": balance, "seed": seed}
    raw = np.zeros((len(y), outputs))
    splits = _complete_folds(groups, strata, folds, seed, target)
    for train, test in splits:
        fold_groups = [groups[i] for i in train]
        raw[test] = fit_probe(probe_kind, x[train], y[train], fold_groups, **options).scores(x[test])
    final = fit_probe(probe_kind, x, y, groups, **options)
    counted = np.ones(len(y), bool)
    if seen is not None:
        new = ~np.asarray(seen, bool)
        # Where too few cases are new to the model, figures on all of them are given, and said to be flattering.
        left_out = not (count_seen or new.all()) and _enough(strata, groups, new)
        counted = new if left_out else counted
        settings["seen"] = {"cases": int((~new).sum()), "of": len(new), "left_out": left_out}
    calibrator, held_out = Calibrator(), raw
    if job == "classification":
        calibrator = fit_calibrator(calibration, raw[counted], y[counted])
        held_out = np.zeros_like(raw)
        for train, test in splits:  # calibrated by the other folds' held-out scores alone
            others = train[counted[train]] if _every_class(y[train[counted[train]]], y) else train
            held_out[test] = fit_calibrator(calibration, raw[others], y[others])(raw[test])
        evaluation = evaluate_classes(y[counted], held_out[counted], classes, _some(groups, counted), seed=seed)
    else:
        evaluation = evaluate_numbers(y[counted], raw[counted, 0], _some(groups, counted), seed=seed)
    return Head(
        target,
        job,
        classes,
        model,
        fingerprint,
        probe_kind,
        final,
        calibrator,
        tuple(ids),
        tuple(groups),
        tuple(str(v) if job == "classification" else float(v) for v in values),
        np.asarray(vectors, np.float32),
        held_out,
        evaluation,
        settings=settings,
        counted=counted,
    )


def _enough(strata: Sequence[Any], groups: Sequence[str], new: npt.NDArray[np.bool_]) -> bool:
    """Whether the cases that are new to the model can carry figures: ten patients, and two of every class."""
    patients: dict[Any, set[str]] = {value: set() for value in strata}
    for value, group, here in zip(strata, groups, new, strict=True):
        if here:
            patients[value].add(group)
    return len(set().union(*patients.values())) >= 10 and min(map(len, patients.values())) >= 2


def _every_class(some: npt.NDArray[Any], everything: npt.NDArray[Any]) -> bool:
    return set(some.tolist()) == set(everything.tolist())


def _some(items: Sequence[str], where: npt.NDArray[np.bool_]) -> list[str]:
    return [item for item, here in zip(items, where, strict=True) if here]


def case_vectors(cases: Sequence[Case], embedder: Embedder) -> npt.NDArray[np.float32]:
    """`(n, dim)` unit vectors of cases: the mean of their images' vectors, scaled to length 1 again."""
    owners = [case.id for case in cases for _ in case.images]
    vectors = embedder.embed([image for case in cases for image in case.images])
    return mean_by_case(owners, vectors, [case.id for case in cases])


def mean_by_case(
    owners: Sequence[str], vectors: npt.NDArray[np.float32], ids: Sequence[str]
) -> npt.NDArray[np.float32]:
    """`(len(ids), dim)` unit vectors: the mean of each case's image vectors, scaled to length 1.

    Args:
        owners: Case id of each row of `vectors`.
        vectors: `(n, dim)` unit vectors, one an image.
        ids: Cases, in the order wanted.
    """
    place = {id: i for i, id in enumerate(ids)}
    summed = np.zeros((len(ids), vectors.shape[1]), np.float32)
    np.add.at(summed, [place[owner] for owner in owners], vectors)
    return unit(summed, "mean of a case's images")


def _complete_folds(
    groups: Sequence[str], strata: Sequence[Any], folds: int, seed: int, target: str
) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """As many folds as asked for, fewer where one would hold all patients of a class and leave none to learn from."""
    everything = set(strata)
    for k in range(folds, 1, -1):
        splits = kfold(groups, strata, k, seed=seed)
        if all({strata[i] for i in train} == everything for train, _ in splits):
            return splits
    raise BadInputError(
        "too few patients of a class",
        item=target,
        why="however patients are divided, one part lacks a class",
        fix="add cases, leave the class out, or try another seed",
    )


def _possible_folds(values: Sequence[Value], groups: Sequence[str], folds: int, target: str) -> int:
    """As many folds as the rarest class has patients, at most what was asked for."""
    patients: dict[str, set[str]] = {}
    for value, group in zip(values, groups, strict=True):
        patients.setdefault(class_name(value), set()).add(group)
    if len(patients) < 2:
        raise BadInputError(
            "only one class to learn", item=target, why=f"every usable case is {next(iter(patients))!r}"
        )
    fewest = min(patients, key=lambda v: len(patients[v]))
    possible = min(folds, len(patients[fewest]))
    if possible < 2:
        raise BadInputError(
            "too few patients of a class",
            item=f"{target} = {fewest}",
            why=f"{len(patients[fewest])} patient(s); held-out figures need two",
            fix="add cases, or leave the class out",
        )
    return possible
