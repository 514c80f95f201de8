"""Few-shot heads: a small predictor on an embedder's vectors, calibrated, measured by patient, with operating points.

What is reported comes from out-of-fold predictions: each case is scored by a head that saw no case of its patient, and
calibrated by a calibrator fitted without its fold. Operating points are chosen on those predictions, stored with them,
and can be derived again to the bit from the saved head.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from vesalius.cases import Case, Image
from vesalius.cases.splits import kfold
from vesalius.errors import BadInputError, MissingError, UsageError
from vesalius.metrics.operating import Cost, OperatingPoint, operating_point
from vesalius.models.calibrators import CalibrationKind, Calibrator, fit_calibrator
from vesalius.models.embedding import unit
from vesalius.models.evaluation import Evaluation, evaluate_classes, evaluate_numbers
from vesalius.models.manifest import sha256
from vesalius.models.probes import Floats, Linear, Neighbours, Probe, ProbeKind, fit_probe
from vesalius.models.protocols import Embedder

SCHEMA = 1
Task = Literal["classification", "regression"]
Value = str | int | float


@dataclass(frozen=True)
class Evidence:
    """A labelled case near a new one.

    Args:
        id: Id of the labelled case.
        value: Its label.
        similarity: Cosine similarity.
    """

    id: str
    value: Value
    similarity: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Head:
    """A fitted head; see `fit`.

    Args:
        target: Name of the label or attribute.
        task: `classification` or `regression`.
        classes: Class names as text, in the order of the columns (empty for regression).
        model: Name of the embedder it belongs to.
        fingerprint: Fingerprint of that embedder; vectors of another are refused.
        kind: Which probe.
        probe: The fitted probe.
        calibrator: From scores to probabilities.
        ids: Labelled cases it was fitted on.
        groups: Their patients (pseudonyms).
        values: Their class names, or numbers.
        vectors: Their vectors `(n, dim)`, kept as evidence.
        held_out: Out-of-fold probabilities `(n, classes)` or values `(n, 1)`.
        evaluation: What those give.
        points: Operating points, by name.
        settings: Everything else that `fit` was told.
    """

    target: str
    task: Task
    classes: tuple[str, ...]
    model: str
    fingerprint: str
    kind: ProbeKind
    probe: Probe
    calibrator: Calibrator
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    values: tuple[Value, ...]
    vectors: npt.NDArray[np.float32]
    held_out: Floats
    evaluation: Evaluation
    points: Mapping[str, OperatingPoint] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def predict_vectors(self, vectors: npt.ArrayLike) -> Floats:
        """`(n, classes)` calibrated probabilities, or `(n, 1)` values for regression, from unit vectors."""
        scores = self.probe.scores(vectors)
        return scores if self.task == "regression" else self.calibrator(scores)

    def predict_proba(self, images: Sequence[Image], embedder: Embedder) -> Floats:
        """`(n, classes)` probabilities of images.

        Raises:
            BadInputError: The embedder is not the one the head was fitted with.
        """
        self.require(embedder)
        return self.predict_vectors(embedder.embed(images))

    def require(self, embedder: Embedder) -> None:
        """Refuse another embedder than the head's own."""
        if embedder.fingerprint != self.fingerprint:
            raise BadInputError(
                "head belongs to another model",
                item=f"{self.target}: fitted on {self.model} {self.fingerprint[:12]}",
                why=f"the model given is {embedder.name} {embedder.fingerprint[:12]}",
                fix="load that model, or fit the head again",
            )

    def operating_point(
        self,
        *,
        sensitivity: float | None = None,
        specificity: float | None = None,
        cost: Cost | float | None = None,
        positive: str | None = None,
        prevalence: float | None = None,
    ) -> OperatingPoint:
        """The exact cut-off on the out-of-fold probabilities that meets one constraint (see `metrics.operating`).

        Args:
            sensitivity: At least this sensitivity.
            specificity: At least this specificity.
            cost: Least cost, false negative to false positive.
            positive: Which class counts as positive (the second of two by default).
            prevalence: Prevalence for PPV and NPV.
        """
        y, score = self.held_out_scores(positive)
        return operating_point(
            y, score, sensitivity=sensitivity, specificity=specificity, cost=cost, prevalence=prevalence
        )

    def held_out_scores(self, positive: str | None = None) -> tuple[npt.NDArray[np.int64], Floats]:
        """`(n,)` labels 0/1 and `(n,)` out-of-fold probabilities of one class."""
        column = self.column(positive)
        y = np.asarray([int(str(v) == self.classes[column]) for v in self.values], np.int64)
        return y, np.ascontiguousarray(self.held_out[:, column])

    def column(self, positive: str | None = None) -> int:
        """The column of a class.

        Raises:
            UsageError: Not a class of this head, or the head gives numbers, or the choice is not clear.
        """
        if self.task == "regression":
            raise UsageError("an operating point needs classes", item=self.target, why="the head predicts a number")
        if positive is None:
            if len(self.classes) != 2:
                raise UsageError(
                    "which class is positive?", item=self.target, fix=f"name one of {', '.join(self.classes)}"
                )
            return 1
        if positive not in self.classes:
            raise UsageError("no such class", item=positive, fix=f"use one of {', '.join(self.classes)}")
        return self.classes.index(positive)

    def with_point(self, name: str, point: OperatingPoint) -> Head:
        """The same head with one more stored operating point."""
        return dataclasses.replace(self, points={**self.points, name: point})

    def evidence(self, vector: npt.ArrayLike, k: int = 3, *, exclude_group: str = "") -> tuple[Evidence, ...]:
        """The `k` labelled cases nearest to a unit vector, never of the patient `exclude_group`."""
        similarity = self.vectors @ np.asarray(vector, np.float32)
        if exclude_group:
            similarity = np.where(np.asarray(self.groups) == exclude_group, -np.inf, similarity)
        order = [i for i in np.argsort(-similarity, kind="stable")[:k] if np.isfinite(similarity[i])]
        return tuple(Evidence(self.ids[i], self.values[i], float(similarity[i])) for i in order)

    def to_dict(self) -> dict[str, Any]:
        """The JSON part; arrays are stored beside it."""
        return {
            "schema": SCHEMA,
            "target": self.target,
            "task": self.task,
            "classes": list(self.classes),
            "model": self.model,
            "fingerprint": self.fingerprint,
            "kind": self.kind,
            "k": self.probe.k if isinstance(self.probe, Neighbours) else None,
            "calibrator": self.calibrator.to_dict(),
            "ids": list(self.ids),
            "groups": list(self.groups),
            "values": list(self.values),
            "evaluation": self.evaluation.to_dict(),
            "points": {k: p.to_dict() for k, p in self.points.items()},
            "settings": dict(self.settings),
        }

    def save(self, folder: str | Path) -> Path:
        """Write `head.json` and `head.safetensors` into a folder (made if needed); the JSON last and whole.

        Raises:
            UsageError: The folder holds a head already.
        """
        from safetensors.numpy import save_file

        path = Path(folder)
        if (path / "head.json").exists():
            raise UsageError(
                "will not overwrite a head", item=str(path), fix="choose another folder or remove this one"
            )
        path.mkdir(parents=True, exist_ok=True)
        arrays = {f"probe.{k}": np.ascontiguousarray(v) for k, v in self.probe.arrays().items()}
        save_file({**arrays, "vectors": self.vectors, "held_out": self.held_out}, path / "head.safetensors")
        part = path / "head.json.part"
        record = {**self.to_dict(), "arrays": sha256(path / "head.safetensors")}
        part.write_text(json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")
        part.replace(path / "head.json")
        return path

    @classmethod
    def load(cls, folder: str | Path) -> Head:
        """Read what `save` wrote.

        Raises:
            MissingError: There is no head.
            BadInputError: The files do not fit together.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        path = Path(folder)
        if not (path / "head.json").is_file():
            raise MissingError("no head here", item=str(path), fix="make one with `vesalius fit --out`")
        try:
            data = json.loads((path / "head.json").read_text("utf-8"))
            if data["schema"] != SCHEMA:
                raise BadInputError("cannot read head", item=str(path), why=f"schema {data['schema']}, not {SCHEMA}")
            if sha256(path / "head.safetensors") != data["arrays"]:
                raise BadInputError(
                    "cannot read head", item=str(path), why="head.safetensors is not the one it was saved with"
                )
            arrays = load_file(path / "head.safetensors")
            probe: Probe
            if data["kind"] == "knn":
                probe = Neighbours(
                    arrays["probe.vectors"], arrays["probe.labels"], len(data["classes"]), int(data["k"])
                )
            else:
                probe = Linear(arrays["probe.weight"], arrays["probe.bias"])
            return cls(
                data["target"],
                data["task"],
                tuple(data["classes"]),
                data["model"],
                data["fingerprint"],
                data["kind"],
                probe,
                Calibrator.from_dict(data["calibrator"]),
                tuple(data["ids"]),
                tuple(data["groups"]),
                tuple(data["values"]),
                arrays["vectors"],
                arrays["held_out"],
                Evaluation.from_dict(data["evaluation"]),
                {k: OperatingPoint.from_dict(v) for k, v in data["points"].items()},
                data["settings"],
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError, SafetensorError) as error:
            raise BadInputError("cannot read head", item=str(path), why=str(error)) from error


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
) -> Head:
    """Fit a head on cases' images.

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
) -> Head:
    """Fit a head on vectors that exist already (those of a library); arguments as for `fit`."""
    job = task or guess_task(values)
    probe_kind: ProbeKind = kind or ("logistic" if job == "classification" else "ridge")
    if (probe_kind == "ridge") != (job == "regression"):
        raise UsageError("this probe does not fit the task", item=f"{probe_kind} for {job}")
    if folds < 2:
        raise UsageError("held-out figures need two folds", item=f"folds={folds}", fix="use 2 or more")
    settings = {"balance": balance, "calibration": calibration, "folds": folds, "seed": seed}
    x = np.asarray(vectors, np.float64)
    classes: tuple[str, ...] = ()
    if job == "classification":
        classes = _class_names(values)
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
    calibrator, held_out = Calibrator(), raw
    if job == "classification":
        calibrator = fit_calibrator(calibration, raw, y)
        held_out = np.zeros_like(raw)
        for train, test in splits:  # calibrated by the other folds' held-out scores alone
            held_out[test] = fit_calibrator(calibration, raw[train], y[train])(raw[test])
        evaluation = evaluate_classes(y, held_out, classes, groups, seed=seed)
    else:
        evaluation = evaluate_numbers(y, raw[:, 0], groups, seed=seed)
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
    )


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


def target_value(case: Case, target: str) -> Value | None:
    """The value a head learns: a label, else an attribute, else a fact of the first image; None when not known.

    A label's -1 (uncertain) counts as not known.
    """
    names = {name.lower(): name for name in case.labels}
    if target.lower() in names:
        label = case.labels[names[target.lower()]]
        return None if label.value == -1 and not label.unit else label.value
    attribute = case.attributes.get(target)
    if attribute is not None:
        return attribute
    if target in ("modality", "view", "body_part") and case.images:
        return str(getattr(case.images[0], target)) or None
    return None


def guess_task(values: Sequence[Value]) -> Task:
    """Regression for numbers with more than ten different values, else classification."""
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    return "regression" if numbers and len(set(values)) > 10 else "classification"


def _class_names(values: Sequence[Value]) -> tuple[str, ...]:
    """Distinct values as text: numbers in their order, else alphabetical (so absent 0 comes before present 1)."""
    distinct = set(values)
    if all(isinstance(v, int | float) for v in distinct):
        return tuple(class_name(v) for v in sorted(distinct, key=float))
    return tuple(sorted({class_name(v) for v in distinct}))


def class_name(value: Value) -> str:
    """A class as text; 1 and 1.0 are one class, for JSON does not tell them apart."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


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


def draw_shots(values: Sequence[Value], shots: int, seed: int) -> list[int]:
    """Indices of at most `shots` cases of each value, drawn by seed, in their order."""
    if shots < 1:
        raise UsageError("a head needs cases", item=f"shots={shots}", fix="use 1 or more, or leave it out for all")
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(values))
    taken: Counter[str] = Counter()
    out = []
    for i in order:
        if taken[class_name(values[i])] < shots:
            taken[class_name(values[i])] += 1
            out.append(int(i))
    return sorted(out)


@dataclass(frozen=True)
class HeadClassifier:
    """A head together with its embedder: a classifier of images.

    Args:
        head: A classification head.
        embedder: The embedder it was fitted with.

    Raises:
        BadInputError: It is another embedder.
        UsageError: The head predicts a number.
    """

    head: Head
    embedder: Embedder

    def __post_init__(self) -> None:
        self.head.require(self.embedder)
        if self.head.task == "regression":
            raise UsageError("a classifier needs classes", item=self.head.target, why="the head predicts a number")

    @property
    def name(self) -> str:
        """Target and model, for reports."""
        return f"{self.head.target} head on {self.embedder.name}"

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the columns."""
        return self.head.classes

    def embed(self, images: Sequence[Image]) -> npt.NDArray[np.float32]:
        """The embedder's vectors, `(n, dim)`."""
        return self.embedder.embed(images)

    def predict_proba(self, images: Sequence[Image]) -> Floats:
        """`(n, classes)` calibrated probabilities."""
        return self.head.predict_proba(images, self.embedder)
