"""How far two floating-point results for the same quantity may lie apart, relative to its size, and why.

Sums come out in another order under other kernels (AVX2, AVX-512), numbers of threads, batch sizes and alignments in
memory. What that costs grows with the terms of a sum and not with what is left of it: an element is compared with the
largest of its array, never with a constant.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["FLOAT32", "FLOAT64", "HALF", "REPEATED", "TRAINED", "close"]

#: float32 rounds at 6e-8; a net or a distance chains some dozens of sums of up to some thousand terms.
FLOAT32 = 1e-4
#: Half precision rounds at 5e-4: what was stored in it and read back, a net later.
HALF = 1e-2
#: float64 rounds at 1e-16; the same sums leave seven digits more than anything here is told by.
FLOAT64 = 1e-9
#: The same float32 steps run twice on one machine: only alignment and the shares of threads differ.
REPEATED = 1e-5
#: After tens of optimiser steps: Adam divides by the root of small second moments, which magnifies rounding.
TRAINED = 1e-3


def close(found: Any, expected: Any, rel: float = FLOAT32, *, scale: float | None = None) -> None:
    """Hold an array or tensor to another of its shape, or to a number, within `rel` of the largest magnitude expected.

    Args:
        found: What was computed.
        expected: What it is held to.
        rel: One of the constants above.
        scale: Magnitude of the terms, where what is left of them (a mean of zero, say) does not show it.
    """
    found, expected = _array(found), _array(expected)
    assert expected.shape in ((), found.shape), f"{found.shape} is not {expected.shape}"
    if scale is None:
        finite = np.abs(expected[np.isfinite(expected)])
        scale = float(finite.max()) if finite.size else 0.0
    np.testing.assert_allclose(found, expected, rtol=0, atol=rel * scale)


def _array(x: Any) -> np.ndarray:
    x = x.detach().cpu().numpy() if hasattr(x, "detach") else np.asarray(x)
    return x.astype(np.float64)
