"""66 BiomedCoOp: four learned words before the class name, held near what many written prompts say.

Nothing but the context's embeddings is trained. The ablation is CoOp: the same context, cross-entropy alone. The model
also names classes that it was not trained on (`named`), which is what consistency and distillation are for. On phantoms
that part says nothing: nano gives films of three unseen findings one and the same name, with either prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from vesalius.cases import Case, Image
from vesalius.cases.record import Label
from vesalius.losses.prompting import consistency, distillation, select_prompts, selected_mean
from vesalius.models.nano.model import Nano
from vesalius.models.probes import fit_probe
from vesalius.systems.frame.claims import paired
from vesalius.systems.frame.inputs import base_embedder, frozen, labelled, nano_split, parts, real_set
from vesalius.systems.frame.recipe import Claim, ClassifierModel, Data, Floats, Job, System, SystemModel, run_training
from vesalius.systems.frame.worlds.chest_films import class_of, single_finding_films
from vesalius.text.prompts import prompt_ensemble
from vesalius.training.prompt_learning import PromptLearner, draw_shots

Vectors = npt.NDArray[np.float32]
#: Weights of consistency and distillation, those published for BUSI; 0, 0 is CoOp.
WEIGHTS = (0.75, 0.75)
SUPPORTS = 2


class PromptModel(ClassifierModel):
    """Frozen dual encoder, learned context."""

    system: ClassVar[str] = "biomedcoop"
    net: PromptLearner

    def __init__(self, config: Mapping[str, Any], device: str = "cpu") -> None:
        self.base: Nano = base_embedder(config, device)  # type: ignore[assignment] # the one embedder here whose words can be learned
        super().__init__(config, device)

    def build(self) -> PromptLearner:
        """The context, at "a photo of a"."""
        return PromptLearner(self.base)

    @torch.inference_mode()
    def named(self, vectors: Vectors, names: Sequence[str]) -> Floats:
        """`(n, names)` probabilities of classes by name, trained on or not, from the embedder's vectors."""
        text = self.net(list(names)).double()
        logits = self.base.scale * torch.from_numpy(vectors).to(text) @ text.T
        out: Floats = logits.softmax(1).cpu().numpy()
        return out

    def predict_proba(self, images: Sequence[Image]) -> Floats:
        """`(n, classes)` probabilities."""
        return self.named(self.base.embed(images), self.classes)


def written(base: Nano, names: Sequence[str], modality: str, junk: float = 0.0) -> torch.Tensor:
    """`(classes, prompts, d)` vectors of the written prompts, a share of them replaced by words about nothing."""
    bank = [prompt_ensemble(k, modality, None) for k in names]
    n = min(map(len, bank))
    bad = round(junk * n)
    bank = [[*b[: n - bad], *(f"a page about the weather in town number {i}" for i in range(bad))] for b in bank]
    return torch.from_numpy(np.stack([base.embed_text(b) for b in bank]))


class BiomedCoOp(System):
    """The recipe."""

    name: ClassVar[str] = "biomedcoop"
    claim: ClassVar[str] = (
        "Holding learned words near many written prompts (consistency and distillation) makes a few-shot classifier "
        "more accurate than learning them from the shots alone, also on classes without a shot."
    )
    model: ClassVar[type[SystemModel]] = PromptModel
    data: ClassVar[tuple[Data, ...]] = ("phantom", "real")

    def example(self, n: int, seed: int) -> list[Case]:
        """Chest films with one finding or none."""
        return [c.replace(labels={**c.labels, "class": Label(class_of(c))}) for c in single_finding_films(n, seed)]

    def train(self, cases: Sequence[Case], job: Job, weights: tuple[float, float] = WEIGHTS) -> PromptModel:
        """Learn the context from all cases given (draw the shots first)."""
        kept, y, classes = labelled(cases, job.target, self.name)
        if classes == ("0", "1"):  # a finding that is there or not: the words are what this learns beside
            classes = (f"no {job.target}", job.target)
        base = frozen("nano", job.device)
        vectors = base.embed([c.images[0] for c in kept])
        return self.learn(vectors, y, classes, kept[0].images[0].modality, job, weights)

    def learn(
        self, vectors: Vectors, y: npt.NDArray[np.int64], names: Sequence[str], modality: str, job: Job,
        weights: tuple[float, float] = WEIGHTS, junk: float = 0.0, limit: float = 1.5,
    ) -> PromptModel:  # fmt: skip
        """As `train`, from the embedder's vectors."""
        base = frozen("nano", job.device)
        config = {"base": "nano", "base_fingerprint": base.fingerprint, "classes": list(names)}
        model = PromptModel(config, job.device)
        bank = written(model.base, names, modality, junk).to(job.device)
        x, target = torch.from_numpy(vectors).to(job.device), torch.from_numpy(y).to(job.device)

        def step(_: int, rng: np.random.Generator) -> dict[str, torch.Tensor]:
            i = rng.choice(len(y), min(32, len(y)), replace=False)
            text = model.net(names)
            logits = model.base.scale * x[i] @ text.T
            losses = {"classes": F.cross_entropy(logits, target[i])}
            if any(weights):
                teacher = selected_mean(bank, select_prompts(x[i], bank, model.base.scale, limit))
                losses["consistency"] = weights[0] * consistency(text, bank.mean(1))
                losses["distillation"] = weights[1] * distillation(logits, model.base.scale * x[i] @ teacher.T)
            return losses

        run_training(model, step, job, steps=80, learning_rate=2e-3, weight_decay=0.0, warmup=10)
        return model

    def check(
        self, seed: int, data: Data = "phantom", *, folder: Path | None = None, job: Job | None = None
    ) -> tuple[Claim, ...]:
        """Few shots against CoOp, a linear probe and no shots; then classes without a shot."""
        job = Job(seed=seed) if job is None else job
        if data == "real":
            return tuple(
                claim for s in ("busi", "isic2017")
                for claim in self._shots(*nano_split(real_set(folder, s)), (1, 2, 4, 8, 16), seed, job, s)[:2]
            )  # fmt: skip
        part = parts(self.example(600, seed), {"train": 0.4, "test": 0.6}, seed, "class")
        return self._shots(part["train"], part["test"], (1, 4), seed, job, "phantom")

    def _shots(
        self, train: list[Case], test: list[Case], shots: Sequence[int], seed: int, job: Job, where: str
    ) -> tuple[Claim, ...]:
        base: Any = frozen("nano", job.device)
        train, y, names = labelled(train, "", self.name)
        test, truth, _ = labelled(test, "", self.name)
        x, tested = (base.embed([c.images[0] for c in cs]) for cs in (train, test))
        t = _Trial(x, y, tested, truth, names, test[0].images[0].modality, [c.group for c in test], seed, job)
        no_shot = written(base, names, t.modality).mean(1).numpy()
        details = {"zero-shot": float(((tested @ no_shot.T).argmax(1) == truth).mean())}
        right: dict[tuple[str, int], Floats] = {}
        for k in shots:
            drawn = [draw_shots(y, k, np.random.default_rng((seed, 66, k, draw))) for draw in range(SUPPORTS)]
            right["ours", k] = np.mean([t.right(self, i) for i in drawn], 0)
            right["coop", k] = np.mean([t.right(self, i, weights=(0.0, 0.0)) for i in drawn], 0)
            probes = [fit_probe("prototype", x[i].astype(np.float64), y[i], [], classes=len(names)) for i in drawn]
            right["prototype", k] = np.mean([p.scores(tested).argmax(1) == truth for p in probes], 0)
        details |= {f"{m} {k}-shot": float(v.mean()) for (m, k), v in right.items()}
        claims = [
            paired(self.name, f"{k}-shot accuracy, BiomedCoOp - CoOp", right["ours", k], right["coop", k], goal=0.03,
                   seed=seed, data=where, groups=t.groups, details=details)
            for k in sorted(shots, key=lambda k: k != 4)[:2]
        ]  # fmt: skip
        if where != "phantom":
            return tuple(claims)
        half = len(names) // 2
        new = truth >= half
        drawn = [draw_shots(y, 16, np.random.default_rng((seed, 67, draw))) for draw in range(1)]
        base_only = [i[y[i] < half] for i in drawn]
        novel = [
            np.mean([t.right(self, i, weights=w, half=half) for i in base_only], 0)[new] for w in (WEIGHTS, (0.0, 0.0))
        ]
        claims.append(paired(
            self.name, "accuracy on classes without a shot, BiomedCoOp - CoOp", *novel, goal=0.05, seed=seed,
            groups=[g for g, n in zip(t.groups, new, strict=True) if n],
        ))  # fmt: skip
        few = draw_shots(y, 4, np.random.default_rng((seed, 68)))
        pruned = [t.right(self, few, junk=0.2, limit=limit) for limit in (1.5, float("inf"))]
        claims.append(paired(
            self.name, "accuracy with a fifth of junk prompts, pruned - not", *pruned, goal=0.02, seed=seed,
            groups=t.groups,
        ))  # fmt: skip
        return tuple(claims)


@dataclass(frozen=True, eq=False)
class _Trial:
    """Vectors and classes to learn from and to test on."""

    x: Vectors
    y: npt.NDArray[np.int64]
    tested: Vectors
    truth: npt.NDArray[np.int64]
    names: tuple[str, ...]
    modality: str
    groups: list[str]
    seed: int
    job: Job

    def right(self, system: BiomedCoOp, i: npt.NDArray[np.int64], half: int = 0, **how: Any) -> npt.NDArray[np.bool_]:
        """Which test cases a model of shots `i` names rightly; with `half`, among the classes from there on."""
        taught = self.names[:half] if half else self.names
        model = system.learn(self.x[i], self.y[i], taught, self.modality, self.job, **how)
        chosen = model.named(self.tested, self.names[half:]).argmax(1) + half
        return np.asarray(chosen == self.truth)


SYSTEM = BiomedCoOp()
