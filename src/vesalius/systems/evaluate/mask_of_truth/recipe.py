"""63 Mask of truth: classify without the organ, or with it alone; one area gone from all images is the control.

*Why claims fail.* Shortcut, trained on all: the finding was as easy to read as the marker (AUROC .99 from the lungs
alone), so a probe trained on whole films used both and kept .50 to .73 with the lungs alone; findings are faint there
now (difficulty .7), as a shortcut's are that a model prefers. The real films were narrowed after a first figure had
been seen: see `masking.clear_of_border`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from vesalius.audit.masks import Mode
from vesalius.cases import Case
from vesalius.job import Job
from vesalius.sources.phantom import Phantom, PhantomConfig, Shortcut
from vesalius.sources.phantom.catalogue import STUDIES
from vesalius.systems.evaluate.mask_of_truth.masking import Scores, clear_of_border, read_masked
from vesalius.systems.frame.recipe import protocol
from vesalius.systems.frame.scores import Ranking
from vesalius.systems.frame.worlds.real import Sets
from vesalius.systems.frame.worlds.world import Drawn, Parts

FINDING, LUNGS = "atelectasis", ("right lung", "left lung", "lungs")
SHARES = {**dict.fromkeys(STUDIES["chest_film"].findings, 0.0), FINDING: 0.5}
Label = Literal["finding", "size", "view"]


def films(n: int, seed: int, *, correlation: float = 0.0, difficulty: float = 0.0) -> list[Case]:
    """Chest films with atelectasis or without, and a marker in a corner that goes along with it so much."""
    config = PhantomConfig(
        seed=seed + (50_000 if correlation else 0), studies={"chest_film": 1.0}, prevalence=SHARES, size=96,
        questions=False, geometries=("mask",), shortcut=Shortcut(FINDING, "marker", correlation), degraded=0.0,
        risk_ehr=0.0, risk_polygenic=0.0, device_shift=0.0, difficulty=difficulty, uncertain=0.0,
    )  # fmt: skip
    return list(Phantom(config).cases(n))


@dataclass(frozen=True, eq=False)
class Readings:
    """What was read off pictures from which something was removed."""

    scores: Scores
    truth: npt.NDArray[np.bool_]


@protocol(
    "mask-of-truth",
    claim=(
        "A classifier that still works when one and the same area around the organ is removed from every image reads a "
        "shortcut; removing each image's own organ raises a false alarm where organ size goes with the label."
    ),
    worlds=(
        Drawn(films, n=600, shares={"test": 1.0}),
        Sets(("covid-cc-by",), pick=lambda c: c if c.images and c.images[0].view else None, on_nano=False,
             shares={"test": 1.0}, stratify=None, expand=lambda cases, _: clear_of_border(cases, LUNGS),
             title="covid-cc-by: AP supine or PA"),
    ),
)  # fmt: skip
def mask_of_truth(cases: Sequence[Case], job: Job, *, label: Label = "finding") -> Readings:
    """Train and test with lungs, without them, with them alone, and with one common area gone.

    Args:
        cases: Films with masks of the lungs.
        job: Its seed is that of the folds.
        label: What is read: the finding; an answer that only the size of the organ's mask goes along with; the view.
    """
    if label == "size":
        # The mask grows, the picture stays: what goes with the answer is nowhere in the picture.
        coin = np.random.default_rng((job.seed, 63)).random(len(cases)) < 0.5
        grow, modes = [3 if c else 0 for c in coin], ("no-roi", "no-fixed")
        return Readings(read_masked(cases, LUNGS, coin, grow=grow, modes=modes, seed=job.seed), coin)  # type: ignore[arg-type] # a tuple of modes
    truth = np.asarray([c.images[0].view.startswith("AP") if label == "view" else c.label(FINDING) == 1 for c in cases])
    return Readings(read_masked(cases, LUNGS, truth, seed=job.seed), truth)


def auroc(found: Readings, parts: Parts, *, mode: Mode = "no-fixed", trained_on: Mode | None = None) -> Ranking:
    """Scores in a mode, of a probe trained in the same mode unless told otherwise."""
    return Ranking(found.scores[trained_on or mode, mode], parts.groups, found.truth)


_DRAWN, _REAL = ("phantom",), ("real",)
#: Findings so faint that the marker is the easier thing to read.
_FAINT = {"difficulty": 0.7}
mask_of_truth.compare("size leak: AUROC without control - with it", auroc, given={"label": "size", "mode": "no-roi"},
                      against={"mode": "no-fixed"}, goal=0.2, on=_DRAWN)  # fmt: skip
mask_of_truth.compare("AUROC outside the lungs: shortcut - honest", auroc, given={"correlation": 0.9},
                      against={"correlation": 0.0}, goal=0.3, on=_DRAWN)  # fmt: skip
mask_of_truth.compare("honest: AUROC of the lungs alone - outside", auroc, given={"mode": "only-roi"},
                      against={"mode": "no-fixed"}, goal=0.3, on=_DRAWN)  # fmt: skip
mask_of_truth.compare("shortcut: trained on all, AUROC without lungs - with lungs only", auroc,
                      given={**_FAINT, "correlation": 0.9, "trained_on": "full", "mode": "no-roi"},
                      against={"mode": "only-roi"}, goal=0.2, on=_DRAWN)  # fmt: skip
mask_of_truth.compare("AUROC outside the lungs' common area - 0.5", auroc, given={"label": "view"}, against=0.5,
                      goal=0.1, on=_REAL)  # fmt: skip
mask_of_truth.compare("AUROC of the lungs' outline alone - 0.5", auroc, given={"label": "view", "mode": "outline"},
                      against=0.5, goal=0.1, on=_REAL)  # fmt: skip
