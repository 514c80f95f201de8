"""What a comparison is about: a number of each test case, a ranking of them, or numbers in strata."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Each:
    """A number of each case (right or wrong, Dice, IoU, an error); what counts is its mean.

    Args:
        values: `(n,)`.
        groups: `(n,)` who is resampled together: the patient, or whatever else makes cases alike.
    """

    values: npt.NDArray[np.generic]
    groups: Sequence[str]


@dataclass(frozen=True, eq=False)
class Strata(Each):
    """A number of each case; what counts is its mean in the stratum that fares worst.

    Args:
        strata: `(n,)` stratum of each case, such as class x confounder.
    """

    strata: Sequence[str]


@dataclass(frozen=True, eq=False)
class Ranking(Each):
    """A score of each case; what counts is the area under the ROC curve.

    Args:
        truth: `(n,)` whether the case is positive.
    """

    truth: npt.NDArray[np.bool_]


def averaged(several: Sequence[Each]) -> Each:
    """Scores of the same cases by several makings of one thing: each case's mean."""
    return replace(several[0], values=np.mean([np.asarray(s.values, np.float64) for s in several], 0))
