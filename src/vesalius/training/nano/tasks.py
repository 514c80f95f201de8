"""What nano is measured on: diagnostic probes, a few shots on every set with classes, kinds of image, and words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vesalius.cases import Case
from vesalius.text.vocabulary import parts_shown
from vesalius.training.nano.captions import modality_of, part_of, plane_of

Ints = npt.NDArray[np.int64]

#: DICOM code to the words a user would type.
MODALITIES: Mapping[str, str] = {
    "DX": "chest x-ray or bone x-ray",
    "CT": "CT scan",
    "MR": "MRI",
    "US": "ultrasound image",
    "MG": "mammogram",
    "ES": "endoscopy image",
    "DMS": "dermoscopy image",
    "GM": "blood smear under a microscope",
    "SM": "histology slide",
    "OP": "fundus photograph",
}
#: Body part to the words a user would type.
PARTS: Mapping[str, str] = {
    "brain": "brain", "chest": "chest", "abdomen": "abdomen", "heart": "heart", "breast": "breast", "skin": "skin",
    "blood": "blood cells", "retina": "retina", "colon": "colon", "knee": "knee", "hand": "hand",
    "extremity": "limb bones", "shoulder": "shoulder", "spine": "spine", "prostate": "prostate", "fetus": "fetus",
    "neck": "neck",
}  # fmt: skip
#: Shots of each class, and how often they are drawn.
SHOTS, DRAWS = 16, 5


@dataclass(frozen=True, eq=False)
class Task:
    """A question with classes.

    Args:
        name: What is asked.
        cases: Indices of the cases that have an answer.
        answer: `(cases,)` class numbers.
        classes: Names of the classes.
    """

    name: str
    cases: Ints
    answer: Ints
    classes: tuple[str, ...]

    def among(self, keep: npt.NDArray[np.bool_]) -> Task:
        """The same question on some of the cases."""
        inside = keep[self.cases]
        return Task(self.name, self.cases[inside], self.answer[inside], self.classes)


def _task(name: str, cases: Sequence[Case], answer: Callable[[Case], str | None]) -> Task:
    said = [answer(case) for case in cases]
    classes = tuple(sorted({s for s in said if s}))
    index = np.asarray([i for i, s in enumerate(said) if s], np.int64)
    return Task(name, index, np.asarray([classes.index(str(said[i])) for i in index], np.int64), classes)


def _in(name: str, answer: Callable[[Case], str | None]) -> Callable[[Case], str | None]:
    return lambda case: answer(case) if case.source.dataset == name else None


def _class(case: Case) -> str | None:
    value = case.label("class")
    return value if isinstance(value, str) else None


def diagnostic_tasks(cases: Sequence[Case]) -> list[Task]:
    """The three questions that nano is tuned for most."""

    def pneumonia(case: Case) -> str | None:
        if case.label("Pneumonia") == 1:
            return "pneumonia"
        return "no finding" if case.label("No Finding") == 1 else None

    def melanoma(case: Case) -> str | None:
        return "melanoma" if case.label("melanoma") == 1 else "benign mole"

    return [
        _task("busi", cases, _in("busi", _class)),
        _task("isic2017", cases, _in("isic2017", melanoma)),
        _task("nih-cxr14", cases, _in("nih-cxr14", pneumonia)),
    ]


def few_shot_tasks(cases: Sequence[Case]) -> list[Task]:
    """Questions for a few shots of each class: every other set with classes, and kinds of image."""

    def bleeding(case: Case) -> str | None:
        if case.images[0].meta.get("window_name") != "brain":
            return None
        return "no" if case.label("no haemorrhage") == 1 else "yes"

    def tumour(case: Case) -> str | None:
        return _class(case) if case.label("class") != "no tumour" else None

    def cancer(case: Case) -> str | None:
        return _class(case) if case.label("class") != "normal" else None

    def cross(case: Case) -> bool:
        return modality_of(case) in ("CT", "MR") and case.images[0].kind == "2d"

    plain = ("fracatlas", "paediatric-pneumonia", "pbc-blood", "iq-oth-lung-ct", "knee-oa", "spine-xray",
             "shoulder-implant")  # fmt: skip
    return [
        *(_task(name, cases, _in(name, _class)) for name in plain),
        _task("brain-mr", cases, _in("brain-mr", tumour)),
        _task("chest-ct", cases, _in("chest-ct", cancer)),
        _task("ct-ich", cases, _in("ct-ich", bleeding)),
        _task("mednist", cases, _in("mednist", _class)),
        _task("CT or MR", cases, lambda c: modality_of(c) if cross(c) else None),
        _task("plane", cases, lambda c: plane_of(c) or None if cross(c) else None),
        _task("body region", cases, lambda c: part_of(c) or None if cross(c) else None),
        _task("modality", cases, lambda c: modality_of(c)),
        _task("MR sequence", cases, _in("cross-sections", lambda c: str(c.images[0].meta.get("sequence", "")) or None)),
    ]


def macro_auroc(scores: npt.NDArray[np.float64], truth: Ints) -> float:
    """Mean over the classes that occur, and do not alone, of the AUROC of one class against the rest."""
    from sklearn.metrics import roc_auc_score

    columns = [c for c in range(scores.shape[1]) if 0 < (truth == c).sum() < len(truth)]
    if scores.shape[1] == 2:
        columns = columns[-1:]
    return float(np.mean([roc_auc_score(truth == c, scores[:, c]) for c in columns])) if columns else float("nan")


def few_shots(
    x: npt.NDArray[np.float32], task: Task, train: npt.NDArray[np.bool_], held: npt.NDArray[np.bool_],
    *, shots: int = SHOTS, draws: int = DRAWS,
) -> float:  # fmt: skip
    """Macro AUROC on held-out cases of a logistic probe on `shots` of each class, the mean over draws."""
    from sklearn.linear_model import LogisticRegression

    fit, test = task.among(train), task.among(held)
    out = []
    for draw in range(draws):
        rng = np.random.default_rng(draw)
        chosen = np.concatenate(
            [rng.permutation(np.flatnonzero(fit.answer == c))[:shots] for c in np.unique(fit.answer)]
        )
        rows = x[fit.cases[chosen]]
        mean, std = rows.mean(0), rows.std(0) + 1e-6
        model = LogisticRegression(C=1 / np.sqrt(x.shape[1]), max_iter=300)
        model.fit((rows - mean) / std, fit.answer[chosen])
        scores = np.full((len(test.cases), len(task.classes)), -1e9)
        found = model.decision_function((x[test.cases] - mean) / std)
        scores[:, model.classes_] = np.stack([-found, found], 1) if found.ndim == 1 else found
        out.append(macro_auroc(scores, test.answer))
    return float(np.mean(out))


def modality_truth(cases: Sequence[Case]) -> Ints:
    """Number of each case's modality among `MODALITIES`, -1 where it is not one of them."""
    codes = list(MODALITIES)
    return np.asarray([codes.index(m) if (m := modality_of(c)) in codes else -1 for c in cases])


def part_truth(cases: Sequence[Case]) -> npt.NDArray[np.bool_]:
    """`(cases, parts)` whether a picture shows the part; rows without any have no known part among `PARTS`."""
    return np.asarray([[p in parts_shown(part_of(c)) for p in PARTS] for c in cases])
