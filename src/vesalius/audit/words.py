"""The parts of an audit that need a model of words, or that ask a classifier questions: pairs and prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from vesalius.audit.pairs import MediConfusion, Pair, Probe, ProbMed, mediconfusion, probmed
from vesalius.audit.prompts import PromptSensitivity, prompt_sensitivity
from vesalius.cases import Case
from vesalius.corruptions.keys import generator
from vesalius.errors import BadInputError
from vesalius.models.calibrators import probabilities
from vesalius.models.protocols import Embedder
from vesalius.text.prompts import NORMAL_LABELS, prompt_ensemble

__all__ = ["Matched", "Zero", "ask_labels", "matched_pairs", "single_prompts"]

Floats = npt.NDArray[np.float64]


@runtime_checkable
class Zero(Protocol):
    """A classifier made of sentences (`models.zeroshot.ZeroShot`)."""

    @property
    def embedder(self) -> Embedder:
        """Its dual encoder."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names."""
        ...

    @property
    def prompts(self) -> Mapping[str, tuple[str, ...]]:
        """The sentences behind each class."""
        ...

    @property
    def scale(self) -> float:
        """Inverse temperature."""
        ...


@dataclass(frozen=True)
class Matched:
    """Two patients who differ in the label and are alike in what is known of them otherwise.

    Args:
        positive: Index of the positive case.
        negative: Index of the negative case.
        alike: Attributes in which they agree.
    """

    positive: int
    negative: int
    alike: tuple[str, ...]


def matched_pairs(
    y: npt.ArrayLike, attributes: Mapping[str, Sequence[Any]], patients: Sequence[str], seed: int
) -> list[Matched]:
    """Pair each positive patient with a negative one who agrees in as many attributes as can be had.

    Ages agree within five years. Every patient is used once at most; ties are settled by the seed.
    """
    labels = np.asarray(y)
    order = generator("audit", "pairs", seed).permutation(len(labels))
    first: dict[str, int] = {}
    for i in order:
        first.setdefault(patients[int(i)], int(i))
    chosen = list(first.values())
    positive = [i for i in chosen if labels[i] == 1]
    free = np.asarray([i for i in chosen if labels[i] == 0], np.intp)
    columns = {k: _comparable(v) for k, v in attributes.items()}
    out = []
    for i in positive:
        if not len(free):
            break
        alike = {k: _same(number, code, i, free) for k, (number, code) in columns.items()}
        best = int(np.sum(list(alike.values()), axis=0).argmax()) if alike else 0
        out.append(Matched(i, int(free[best]), tuple(k for k, v in alike.items() if v[best])))
        free = np.delete(free, best)
    return out


def _comparable(values: Sequence[Any]) -> tuple[Floats, npt.NDArray[np.intp]]:
    """Values as numbers (NaN for what is none) and as codes (-1 for what is missing)."""
    number = np.asarray(
        [v if isinstance(v, int | float) and not isinstance(v, bool) else np.nan for v in values], float
    )
    names: dict[Any, int] = {}
    code = [-1 if v is None or v == "" else names.setdefault(v, len(names)) for v in values]
    return number, np.asarray(code, np.intp)


def _same(number: Floats, code: npt.NDArray[np.intp], i: int, others: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
    """Which others agree with case `i`: numbers within five (years of age), all else when equal and known."""
    near = np.abs(number[others] - number[i]) <= 5
    return np.asarray(near | ((code[others] == code[i]) & (code[i] >= 0)))


def score_pairs(pairs: Sequence[Matched], score: Floats, threshold: float) -> MediConfusion:
    """Ask "is it there?" of both pictures of each pair; A is yes.

    Raises:
        BadInputError: Fewer than ten pairs.
    """
    if len(pairs) < 10:
        raise BadInputError("too few pairs", why=f"{len(pairs)} pairs of a positive and a negative patient, 10 needed")
    answer: dict[bool, Literal["A", "B"]] = {True: "A", False: "B"}
    return mediconfusion(
        [
            Pair(
                answer[bool(score[p.positive] >= threshold)], answer[bool(score[p.negative] >= threshold)], "A",
                tuple(f"alike in {k}" for k in p.alike),
            )
            for p in pairs
        ]
    )  # fmt: skip


def ask_labels(cases: Sequence[Case], vectors: npt.ArrayLike, embedder: Embedder, seed: int) -> ProbMed:
    """Ask a dual encoder about one finding that is there and one that is not, on each image that has both.

    The answer is yes when the image is nearer to sentences that state the finding than to sentences that deny it.

    Args:
        cases: Cases with labels 0 and 1.
        vectors: `(n, dim)` unit vectors of their images.
        embedder: What made them.
        seed: Which findings are asked about.

    Raises:
        BadInputError: Fewer than ten images have a finding that is there and one that is not.
    """
    names = sorted(
        {k for c in cases for k, v in c.labels.items() if v.value in (0, 1) and v.unit == ""} - NORMAL_LABELS
    )
    names = [n for n in names if n.lower() not in NORMAL_LABELS]
    x = np.asarray(vectors, np.float64)
    yes: dict[str, Floats] = {}
    for modality in sorted({c.images[0].modality for c in cases}):
        for name in names:
            stated = embedder.embed_text(prompt_ensemble(name, modality)).mean(0)
            denied = embedder.embed_text(prompt_ensemble(f"no {name}", modality)).mean(0)
            yes[f"{modality}/{name}"] = x @ (stated / np.linalg.norm(stated) - denied / np.linalg.norm(denied))
    probes = []
    for i, case in enumerate(cases):
        there, absent = ([n for n in names if case.label(n) == v] for v in (1, 0))
        if not there or not absent:
            continue
        rng = generator("audit", "probes", case.id, seed)
        kind = case.images[0].modality
        for name, true in (
            (there[int(rng.integers(len(there)))], True),
            (absent[int(rng.integers(len(absent)))], False),
        ):
            probes.append(Probe(case.id, kind, "abnormality", true, bool((yes[f"{kind}/{name}"][i] > 0) == true)))
    if len(probes) < 20:
        why = f"{len(probes) // 2} images have a finding that is there and one that is not, 10 needed"
        raise BadInputError("too few probing pairs", why=why)
    return probmed(probes)


def single_prompts(
    y: npt.ArrayLike, vectors: npt.ArrayLike, model: Zero, column: int, *, threshold: float,
    patients: Sequence[str] | None, seed: int, resamples: int, level: float,
) -> PromptSensitivity:  # fmt: skip
    """The same cases under each wording alone, instead of the mean of all.

    Raises:
        BadInputError: The classes have no two wordings in common.
    """
    wordings = min(len(p) for p in model.prompts.values())
    if wordings < 2:
        raise BadInputError("no two wordings", why="each class has one sentence")
    names = list(model.prompts)
    x = np.asarray(vectors, np.float64)
    scores = {}
    for j in range(wordings):
        sentences = [model.prompts[c][j] for c in names]
        similarity = x @ model.embedder.embed_text(sentences).astype(np.float64).T
        scores[sentences[column]] = probabilities(model.scale * similarity)[:, column]
    return prompt_sensitivity(
        y, scores, threshold=threshold, patients=patients, resamples=resamples, level=level, seed=seed
    )
