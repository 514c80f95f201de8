"""63 Mask of truth: classify without the organ, or with it alone; one area gone from all images is the control."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from vesalius.cases import Case
from vesalius.sources.phantom import Phantom, PhantomConfig, Shortcut
from vesalius.sources.phantom.catalogue import STUDIES
from vesalius.systems.evaluate.masking import SIDE, FilterModel, clear_of_border, read_masked
from vesalius.systems.frame.claims import above_chance, apart
from vesalius.systems.frame.inputs import labelled, present, real_set
from vesalius.systems.frame.recipe import Claim, Data, Job, System

FINDING, LUNGS, OUT = "atelectasis", ("right lung", "left lung", "lungs"), ("no-fixed", "no-fixed")
SHARES = {**dict.fromkeys(STUDIES["chest_film"].findings, 0.0), FINDING: 0.5}


class MaskModel(FilterModel):
    """The classifier that the masks are tried on."""

    system = "mask-of-truth"


class MaskOfTruth(System):
    """The recipe."""

    name, model, data = "mask-of-truth", MaskModel, ("phantom", "real")
    claim = (
        "A classifier that still works when one and the same area around the organ is removed from every image reads a "
        "shortcut; removing each image's own organ raises a false alarm where organ size goes with the label."
    )

    def example(self, n: int, seed: int, correlation: float = 0.0) -> list[Case]:
        """Chest films with atelectasis or without, and a marker in a corner that goes along with it."""
        config = PhantomConfig(
            seed=seed, studies={"chest_film": 1.0}, prevalence=SHARES, size=96, questions=False, geometries=("mask",),
            shortcut=Shortcut(FINDING, "marker", correlation), degraded=0.0, risk_ehr=0.0, risk_polygenic=0.0,
            device_shift=0.0, difficulty=0.0, uncertain=0.0,
        )  # fmt: skip
        return list(Phantom(config).cases(n))

    def train(self, cases: Sequence[Case], job: Job) -> MaskModel:
        """Fit the head on whole images of two classes."""
        kept, y, classes = labelled(cases, job.target or present(cases, FINDING), self.name)
        return MaskModel({"classes": list(classes[:2]), "side": SIDE}, job.device).fit(kept, y == 1)

    def check(
        self, seed: int, data: Data = "phantom", *, folder: Path | None = None, job: Job | None = None
    ) -> tuple[Claim, ...]:
        """Honest, shortcut and size-leak sets, with and without the control."""
        if data == "real":
            cases = [c for c in clear_of_border(real_set(folder, "covid-cc-by"), LUNGS) if c.images[0].view]
            found = read_masked(cases, LUNGS, np.asarray([c.images[0].view.startswith("AP") for c in cases]), seed=seed)
            above = partial(above_chance, self.name, goal=0.1, seed=seed, data="covid-cc-by: AP supine or PA")
            names = ("AUROC outside the lungs' common area - 0.5", "AUROC of the lungs' outline alone - 0.5")
            return above(names[0], found[OUT]), above(names[1], found["outline", "outline"])
        n = 600 if job is None or job.steps is None else 20 * job.steps
        honest, biased = self.example(n, seed), self.example(n, seed + 50_000, correlation=0.9)
        fair, short = (read_masked(s, LUNGS, np.asarray([c.label(FINDING) == 1 for c in s])) for s in (honest, biased))
        # Organ size goes with an answer that the picture does not show: the mask grows, the picture stays.
        coin = np.random.default_rng((seed, 63)).random(n) < 0.5
        leak = read_masked(honest, LUNGS, coin, grow=[3 if c else 0 for c in coin], modes=("no-roi", "no-fixed"))
        say = partial(apart, self.name, seed=seed)
        return (
            say("size leak: AUROC without control - with it", leak["no-roi", "no-roi"], leak[OUT], goal=0.2),
            say("AUROC outside the lungs: shortcut - honest", short[OUT], fair[OUT], goal=0.3),
            say("honest: AUROC of the lungs alone - outside", fair["only-roi", "only-roi"], fair[OUT], goal=0.3),
            say("shortcut: trained on all, AUROC without lungs - with lungs only", short["full", "no-roi"],
                short["full", "only-roi"], goal=0.2),
        )  # fmt: skip


SYSTEM = MaskOfTruth()
