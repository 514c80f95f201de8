"""What concept bottlenecks are checked on: vectors, concepts, and groups of class x confounder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vesalius.cases import Case
from vesalius.errors import BadInputError
from vesalius.systems.frame.inputs import aligned, frozen, labelled, nano_split, pictures, real_set
from vesalius.systems.frame.recipe import Job
from vesalius.text.concepts import clean_bank, curated_bank
from vesalius.training.bottleneck import train_bottleneck
from vesalius.training.two_tower import PictureAligner, train_pictures

FINDING = "pleural effusion"
#: Share of each finding on the phantom films, so that the scorer learns more signs than those of one class.
SHARES = {FINDING: 0.5, "cardiomegaly": 0.3, "pneumothorax": 0.3, "atelectasis": 0.3}
NONE = "no finding"
MARKER, VIEWS = ("bright square marker in the corner",), ("anteroposterior view", "posteroanterior view")
#: How often class and confounder agree where a head is trained.
SHARE = 0.95


@dataclass(frozen=True, eq=False)
class Trial:
    """Vectors to learn from and to test on, concepts (the confounder's last), and groups of class x confounder."""

    data: str
    x: Tensor
    y: npt.NDArray[np.int64]
    tested: Tensor
    truth: npt.NDArray[np.int64]
    confounder: npt.NDArray[np.int64]
    texts: Tensor
    extra: int
    patients: list[str] | None = None

    @property
    def groups(self) -> list[str]:
        """Class x confounder of each test case."""
        return [f"{k} x {c}" for k, c in zip(self.truth, self.confounder, strict=True)]

    def right(self, texts: Tensor, steps: int, seed: int, standardise: bool = True) -> npt.NDArray[np.bool_]:
        """Which test cases a head on these concepts gets right."""
        net = train_bottleneck(self.x, self.y, texts, 2, steps, seed, standardise=standardise)
        with torch.inference_mode():
            return np.asarray(net(net.scores(self.tested)).argmax(1).numpy() == self.truth)


def phantom_trial(example: Callable[[int, int, float], list[Case]], seed: int, job: Job | None) -> Trial:
    """Effusion or none on films whose marker goes along with it; the scorer learns to see both from captions."""
    n = 1000 if job is None or job.steps is None else 10 * job.steps
    steps = 400 if job is None or job.steps is None else job.steps
    told, train, test = (
        example(m, 3 * seed + k, c) for k, (m, c) in enumerate(((n, 0.0), (n // 2, 2 * SHARE - 1), (n // 2, 0.0)))
    )
    bank = clean_bank(curated_bank((*SHARES, NONE), "DX"), tuple(SHARES))[0]
    phrases = (*bank.concepts, *MARKER, "empty film corner")
    owner = [next((k for k, v in bank.classes.items() if p in v), "") for p in phrases]
    embedded = frozen("nano").embed_text([f"x-ray showing {p}" for p in phrases])

    def true(case: Case) -> list[bool]:
        here = {f: case.label(f) == 1 for f in SHARES}
        here[NONE] = not any(here.values())
        mark = bool(case.attributes["shortcut"])
        return [here[k] if k else mark if p in MARKER else not mark for k, p in zip(owner, phrases, strict=True)]

    scorer = train_pictures(_grey(told), embedded, np.asarray([true(c) for c in told]), steps, seed)
    with torch.inference_mode():
        x, tested = (scorer.image(torch.from_numpy(_grey(cs))) for cs in (train, test))
        texts = scorer.text(torch.from_numpy(embedded[:-1]))
    y, truth = (np.asarray([int(c.label(FINDING) == 1) for c in cs]) for cs in (train, test))
    marked = np.asarray([int(bool(c.attributes["shortcut"])) for c in test])
    return Trial("phantom", x.clone(), y, tested.clone(), truth, marked, texts.clone(), 1)


def _grey(cases: Sequence[Case]) -> npt.NDArray[np.float32]:
    grey = pictures((c.images[0] for c in cases), PictureAligner.SIDE).mean(1, keepdims=True) / 255
    return np.asarray(grey, np.float32)


def real_trial(folder: Path | None, seed: int) -> Trial:
    """Pneumonia or no finding on frontal films; the confounder is the view, AP going along with pneumonia."""
    kept, y, _ = labelled(real_set(folder, "nih-cxr14"), "", "cbm-robust")
    view = np.asarray([int(c.images[0].view == "AP") for c in kept])
    seen = {c.id for c in nano_split(kept)[0]}
    inside = np.asarray([c.id in seen for c in kept])
    if inside.all():
        raise BadInputError("no case is left to test on", item="nih-cxr14", why="nano was trained on all of them")
    at, out = np.flatnonzero(inside), np.flatnonzero(~inside)
    at = at[aligned(y[at], view[at], SHARE, np.random.default_rng((seed, 42)))]
    base = frozen("nano")
    x, tested = (torch.from_numpy(base.embed([kept[i].images[0] for i in part])) for part in (at, out))
    bank = clean_bank(curated_bank(("pneumonia", NONE), "DX"), ("pneumonia",))[0]
    texts = torch.from_numpy(base.embed_text([f"x-ray showing {p}" for p in (*bank.concepts, *VIEWS)]))
    return Trial("nih-cxr14", x, y[at], tested, y[out], view[out], texts, len(VIEWS), [kept[i].group for i in out])
