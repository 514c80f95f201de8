"""Few-shot heads: a small predictor on an embedder's vectors, calibrated, measured by patient, with operating points.

What is reported comes from out-of-fold predictions: each case is scored by a head that saw no case of its patient, and
calibrated by a calibrator fitted without its fold. Operating points are chosen on those predictions, stored with them,
and can be derived again to the bit from the saved head.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vesalius.cases import Image
from vesalius.cases.targets import Task, Value
from vesalius.errors import BadInputError, MissingError, UsageError
from vesalius.metrics.classification.operating import Cost, OperatingPoint, operating_point
from vesalius.metrics.evaluation import Evaluation
from vesalius.models.calibrators import Calibrator
from vesalius.models.manifest import sha256
from vesalius.models.probes import Floats, Linear, Neighbours, Probe, ProbeKind
from vesalius.models.protocols import Embedder

SCHEMA = 2


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
        settings: Everything else that `fit` was told; `seen` says how many cases the embedder was trained on.
        counted: `(n,)` cases whose held-out predictions the evaluation and operating points stand on; None means all.
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
    counted: npt.NDArray[np.bool_] | None = None

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
        """`(n,)` labels 0/1 and `(n,)` out-of-fold probabilities of one class, of the cases that are counted."""
        column = self.column(positive)
        y = np.asarray([int(str(v) == self.classes[column]) for v in self.values], np.int64)
        where = slice(None) if self.counted is None else self.counted
        return y[where], np.ascontiguousarray(self.held_out[where, column])

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

    def column_of_point(self, name: str) -> int:
        """The column that a stored operating point is about: its name ends with the class, where that was said."""
        return self.column(name.partition(" ")[2] or None)

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
        if self.counted is not None:
            arrays["counted"] = self.counted
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
                raise BadInputError(
                    "cannot read head",
                    item=str(path),
                    why=f"schema {data['schema']}, not {SCHEMA}: another version of vesalius wrote it",
                    fix="fit it again with `vesalius fit`",
                )
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
                arrays.get("counted"),
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError, SafetensorError) as error:
            raise BadInputError("cannot read head", item=str(path), why=str(error)) from error


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
