"""One piece of work as everything below a face sees it: what it may use, where it says how it goes, how it is stopped.

A face (command line, server, notebook) makes a `Job` and passes it down; a verb, a reader, a training loop and a claim
check all speak through it. Nothing below a face prints, reads the environment or knows who listens.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from vesalius.errors import CancelledError

__all__ = ["Job", "Progress", "Refusal"]

T = TypeVar("T")
#: Seconds between two reports of the same progress.
EVERY = 0.1


@dataclass(frozen=True)
class Refusal:
    """An input that could not be used; those beside it went through.

    Args:
        item: Which one, as the user named it.
        why: The cause and, where there is one, what to do.
    """

    item: str
    why: str

    def to_dict(self) -> dict[str, str]:
        """Plain data."""
        return {"item": self.item, "why": self.why}


@dataclass(frozen=True)
class Progress:
    """How far a step of the work is.

    Args:
        what: The step, in words.
        done: Items finished.
        total: Items in all, or None where nobody knows.
    """

    what: str
    done: int
    total: int | None = None


@dataclass(eq=False)
class Job:
    """What a piece of work may use, and where it reports.

    Args:
        device: torch device: `auto`, `cpu`, `cuda:N` or `mps`.
        workers: Decoding processes; None one for each processor, 0 none (trusted files only).
        batch_size: Images in one pass of a model.
        seed: Seed of everything random.
        online: Whether the network may be used.
        on_progress: Told how far a step is, at most every tenth of a second, and when it ends.
        on_note: Told one line about how the work goes.
        on_refused: Told of each refusal as it happens.
    """

    device: str = "auto"
    workers: int | None = None
    batch_size: int = 32
    seed: int = 0
    online: bool = False
    on_progress: Callable[[Progress], None] | None = field(default=None, repr=False)
    on_note: Callable[[str], None] | None = field(default=None, repr=False)
    on_refused: Callable[[Refusal], None] | None = field(default=None, repr=False)
    #: What the result came from (models with fingerprints, layouts seen): goes into `run.json`.
    facts: dict[str, Any] = field(default_factory=dict, repr=False)
    #: Every refusal so far, in order.
    refused: list[Refusal] = field(default_factory=list, repr=False)
    _stop: threading.Event = field(default_factory=threading.Event, init=False, repr=False)

    def note(self, text: str) -> None:
        """Say one line about how the work goes."""
        if self.on_note is not None:
            self.on_note(text)

    def refuse(self, item: str, why: str | BaseException) -> None:
        """Name an input that cannot be used; the work goes on."""
        refusal = Refusal(item, str(why).replace(f" [{item}]", "", 1))
        self.refused.append(refusal)
        if self.on_refused is not None:
            self.on_refused(refusal)

    def at(self, what: str, done: int, total: int | None = None) -> None:
        """Say how far a step is, where there are no items to pass on."""
        if self.on_progress is not None:
            self.on_progress(Progress(what, done, total))

    def progress(self, items: Iterable[T], total: int | None = None, what: str = "") -> Iterator[T]:
        """Pass items on, say how far it is, and stop between two items when the job was cancelled.

        Raises:
            CancelledError: Somebody called `cancel`.
        """
        last, done = time.monotonic(), 0
        for item in items:
            self.check()
            yield item
            done += 1
            if self.on_progress is not None and time.monotonic() - last >= EVERY:
                last = time.monotonic()
                self.at(what, done, total)
        self.at(what, done, done if total is None else total)

    def cancel(self) -> None:
        """Ask the work to stop at its next safe point; may be called from another thread."""
        self._stop.set()

    @property
    def cancelled(self) -> bool:
        """Whether it was asked to stop."""
        return self._stop.is_set()

    def check(self) -> None:
        """A safe point: what was reported done is kept.

        Raises:
            CancelledError: Somebody called `cancel`.
        """
        if self._stop.is_set():
            raise CancelledError("stopped as asked", fix="what was reported done is kept; run again to go on")
