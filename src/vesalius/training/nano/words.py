"""How words are scored on pictures of a kind that was never seen: each set is left out in turn, tower aside.

Only the projections are trained again without a set: the tower has seen its pictures, but no word of them goes through
it. What the left-out pictures then get for modalities and body parts gives the temperature of the softmax and the score
that says "none of these".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from vesalius.job import Job
from vesalius.models.calibrators import fit_calibrator
from vesalius.models.nano.minilm import MiniLM
from vesalius.models.zeroshot import Rejection
from vesalius.text.prompts import prompt_ensemble
from vesalius.training.nano.projections import Projections
from vesalius.training.nano.tasks import MODALITIES, PARTS, modality_truth, part_truth

if TYPE_CHECKING:
    from vesalius.training.nano.build import Material

Floats = npt.NDArray[np.float64]
#: A set that is left out is judged on so many of its pictures at most, so that no large set decides alone.
MOST = 150
#: Probability from which an image is called none of the classes.
LIMIT = 0.5


class Asked:
    """Sentences about class names, encoded once.

    Args:
        names: Class names.
    """

    def __init__(self, names: Sequence[str]) -> None:
        tower = MiniLM()
        self.names = tuple(names)
        self.prompts = [torch.from_numpy(tower(prompt_ensemble(name))) for name in names]

    def similarity(self, net: Projections, vectors: npt.NDArray[np.float32]) -> Floats:
        """`(n, names)` cosine similarities of `(n, 384)` unit vectors."""
        with torch.inference_mode():
            features = torch.stack([F.normalize(net.text(p).mean(0), dim=0) for p in self.prompts])
        return np.asarray(vectors @ features.numpy().T, np.float64)


def by_case(views: npt.NDArray[np.float32], owner: npt.NDArray[np.int64], cases: int) -> npt.NDArray[np.float32]:
    """`(cases, d)` mean over each case's views of `(views, d)` vectors."""
    summed = np.zeros((cases, views.shape[1]), np.float32)
    np.add.at(summed, owner, views)
    return np.asarray(summed / np.maximum(np.bincount(owner, minlength=cases), 1)[:, None], np.float32)


@torch.inference_mode()
def case_vectors(
    image: Callable[[torch.Tensor], torch.Tensor], features: npt.NDArray[np.float32], owner: npt.NDArray[np.int64],
    cases: int,
) -> npt.NDArray[np.float32]:  # fmt: skip
    """`(cases, 384)` unit vectors: the mean over a case's views of unit vectors, scaled to length 1, as nano has it.

    Args:
        image: Features to unit vectors of the shared space.
        features: `(views, 1280)`.
        owner: `(views,)` the case of each view.
        cases: How many there are.
    """
    mean = by_case(image(torch.from_numpy(features)).numpy(), owner, cases)
    return np.asarray(mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-9), np.float32)


def fit_words(
    material: Material, features: npt.NDArray[np.float32], fit: Callable[[npt.NDArray[np.bool_]], Projections],
    whole: Projections, job: Job,
) -> dict[str, Any]:  # fmt: skip
    """Temperature, "none of these", and how well kinds that were left out are named.

    Args:
        material: All cases; those of the parts `nano` and `validation` are used.
        features: `(views, 1280)`.
        fit: Trains projections on the cases that it is given.
        whole: The projections that ship; validation cases of seen kinds are read off them.
        job: Told how far it is.

    Returns:
        `rejection` (arguments of `models.zeroshot.Rejection`); `told` and `false`, how many lists without and with the
        right class were called none of these, of how many; and `left_out`, of each set how many of its pictures were
        given their own modality and body part by projections that never saw the set.
    """
    asked = {"modality": Asked(list(MODALITIES.values())), "part": Asked(list(PARTS.values()))}
    truth = {
        "modality": np.eye(len(MODALITIES), dtype=bool)[modality_truth(material.cases)],
        "part": part_truth(material.cases),
    }
    truth["modality"][modality_truth(material.cases) < 0] = False
    train, sets = material.part == "nano", material.sets
    usable = train | (material.part == "validation")
    rng = np.random.default_rng(0)
    rows: dict[str, list[tuple[Floats, npt.NDArray[np.bool_]]]] = {name: [] for name in asked}
    left_out: dict[str, Any] = {}
    vectors = case_vectors(whole.image, features, material.owner, len(material.cases))
    for name, question in asked.items():
        known = np.flatnonzero((material.part == "validation") & truth[name].any(1))
        rows[name].append((question.similarity(whole, vectors[known]), truth[name][known]))
    for dataset in job.progress(list(dict.fromkeys(sets[train])), what="kinds left out"):
        net = fit(train & (sets != dataset))
        vectors = case_vectors(net.image, features, material.owner, len(material.cases))
        left_out[dataset] = {}
        for name, question in asked.items():
            index = np.flatnonzero(usable & (sets == dataset) & truth[name].any(1))
            index = rng.permutation(index)[:MOST]
            if not len(index):
                continue
            similarity = question.similarity(net, vectors[index])
            right = truth[name][index, similarity.argmax(1)]
            left_out[dataset][name] = [int(right.sum()), len(right)]
            rows[name].append((similarity, truth[name][index]))
        job.note(f"without {dataset}: {left_out[dataset]}")
    pooled = {name: tuple(np.concatenate(x) for x in zip(*found, strict=True)) for name, found in rows.items()}
    return {**_rejection(pooled, rng), "left_out": left_out}


def _rejection(pooled: dict[str, tuple[Any, ...]], rng: np.random.Generator) -> dict[str, Any]:
    """Lists of classes of every length, half of them without the right one; a logistic function tells them apart."""
    from sklearn.linear_model import LogisticRegression

    features, none, scores, answers = [], [], [], []
    for similarity, truth in pooled.values():
        for row, true in zip(similarity, truth, strict=True):
            right, wrong = np.flatnonzero(true), np.flatnonzero(~true)
            count = int(rng.integers(2, len(wrong)))
            others = rng.permutation(wrong)[:count]
            features.append(Rejection.features(row[others][None])[0])
            none.append(1)
            chosen = np.concatenate([[rng.choice(right)], others[: count - 1]])
            features.append(Rejection.features(row[chosen][None])[0])
            none.append(0)
            scores.append(np.pad(row[chosen], (0, similarity.shape[1] + 1 - len(chosen)), constant_values=-1e3))
            answers.append(0)
    x, y = np.asarray(features), np.asarray(none)
    model = LogisticRegression(C=100.0, max_iter=1000).fit(x, y)
    width = max(map(len, scores))
    table = np.stack([np.pad(s, (0, width - len(s)), constant_values=-1e3) for s in scores])
    temperature = fit_calibrator("temperature", table, np.asarray(answers)).temperature
    said = model.predict_proba(x)[:, 1] > LIMIT
    best, lead, classes = map(float, model.coef_[0])
    bias, scale = float(model.intercept_[0]), 1 / temperature
    return {
        "rejection": {"best": best, "lead": lead, "classes": classes, "bias": bias, "scale": scale},
        "told": [int(said[y == 1].sum()), int((y == 1).sum())],
        "false": [int(said[y == 0].sum()), int((y == 0).sum())],
    }
