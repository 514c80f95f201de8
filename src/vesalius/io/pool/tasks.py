"""Work that waits for children, and when one more child is worth its start."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Generic, TypeVar

__all__ = ["Tasks"]

T = TypeVar("T")
#: Seconds between two looks at whether one more child is worth its start.
_LOOK = 0.02
#: What a start is taken to cost before one was seen, and at most.
_START_SECONDS, _MOST = 0.4, 2.0


class Tasks(Generic[T]):
    """A queue whose takers start a process each, which costs as much as hundreds of headers.

    The first taker starts at once and alone, so that it does not share its processor with the others' imports. The
    others start when there has been more work than the running ones could take up for as long as a start takes: few
    files are read by one child, and many cost at most one start more than with all children from the beginning.
    """

    def __init__(self) -> None:
        self._waiting: deque[T] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._active = self._ready = 0
        self._behind: float | None = None
        self._cost = _START_SECONDS

    def put(self, task: T) -> None:
        """Add work."""
        with self._changed:
            self._waiting.append(task)
            if self._behind is None and self._ready:
                self._behind = time.monotonic()
            self._changed.notify_all()

    def close(self) -> None:
        """Let every taker go."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def take(self, active: bool, timeout: float | None = None) -> T | None:
        """The next piece of work; None once closed.

        Args:
            active: Whether the taker has its process; one that has none takes work only when its start is worth it,
                and counts as active from then on.
            timeout: Seconds to wait.

        Raises:
            TimeoutError: There was no work for so long.
        """
        end = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                if self._waiting and (active or self._worth(now)):
                    if not active:
                        self._active += 1
                    return self._waiting.popleft()
                if active and not self._waiting:
                    self._behind = None  # this one has nothing to do: nobody is behind
                left = None if end is None else end - now
                if left is not None and left <= 0:
                    raise TimeoutError
                if self._waiting:
                    left = _LOOK if left is None else min(left, _LOOK)
                self._changed.wait(left)
        return None

    def _worth(self, now: float) -> bool:
        return self._active == 0 or (self._behind is not None and now - self._behind >= self._cost)

    def started(self, seconds: float) -> None:
        """A taker's process is ready after so long."""
        with self._changed:
            # Its first item makes it import about as much again.
            self._cost = min(2 * seconds, _MOST)
            self._ready += 1
            if self._behind is None and self._waiting:
                self._behind = time.monotonic()
            self._changed.notify_all()

    def ended(self, ready: bool) -> None:
        """A taker's process was sent home; `ready` as it was."""
        with self._changed:
            self._active -= 1
            self._ready -= ready
            if not self._ready:
                self._behind = None
