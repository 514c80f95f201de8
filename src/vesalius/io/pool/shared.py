"""The pools that all of the package decodes in: one for each number of workers and budget, made when first needed."""

from __future__ import annotations

import atexit
import os
import threading

from vesalius.io.limits import DEFAULT, Limits
from vesalius.io.pool.pool import DecodePool, default_workers

__all__ = ["close_pools", "shared_pool"]

#: Children of a shared pool that have had nothing to do for so long end; the next call starts them again.
IDLE_SECONDS = 60.0

_pools: dict[tuple[int, int, Limits], DecodePool] = {}
_lock = threading.Lock()


def shared_pool(workers: int | None = None, limits: Limits | None = None) -> DecodePool:
    """The pool of this process with so many workers and these limits; never closed by who uses it.

    Args:
        workers: Number of processes, at least 1; None for one a processor, at most 8.
        limits: Budgets of each process and item.
    """
    # A forked process has the parent's pools without their threads: it gets pools of its own.
    key = os.getpid(), default_workers() if workers is None else workers, limits or DEFAULT
    with _lock:
        if key not in _pools:
            _pools[key] = DecodePool(key[1], key[2], idle_seconds=IDLE_SECONDS)
        return _pools[key]


@atexit.register
def close_pools() -> None:
    """End the children of this process's shared pools; the next call starts new ones."""
    with _lock:
        mine = [key for key in _pools if key[0] == os.getpid()]
        pools = [_pools.pop(key) for key in mine]
    for pool in pools:
        pool.close()
