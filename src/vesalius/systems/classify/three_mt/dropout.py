"""Making inputs go missing while training, so that a model learns to do without any of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]


def modality_dropout(present: Bools, p: float, rng: np.random.Generator) -> Bools:
    """Which inputs stay: each that is there goes with probability `p`, but never a case's last one.

    Args:
        present: `(n, kinds)` True where a case has that input.
        p: Probability of dropping one.
        rng: Source of draws.

    Returns:
        `(n, kinds)`; a case that had something keeps at least one, drawn evenly when all would have gone.
    """
    kept = present & (rng.random(present.shape) >= p)
    bare = present.any(1) & ~kept.any(1)
    lucky = np.where(present, rng.random(present.shape), -1.0).argmax(1)
    kept[bare, lucky[bare]] = True
    return kept
