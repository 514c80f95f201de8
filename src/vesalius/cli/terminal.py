"""A job on a terminal: progress and notes on stderr, refusals as they happen, Ctrl-C as a wish to stop."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vesalius.job import Job, Progress, Refusal

#: Seconds between two lines of progress where there is no terminal.
EVERY = 10.0


class Listener:
    """Says on stderr how a job goes: a bar on a terminal, a line now and then elsewhere, nothing when quiet."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._bars: Any = None
        self._tasks: dict[str, Any] = {}
        self._last = time.monotonic()

    def listen(self, job: Job) -> None:
        """Hear what the job says."""
        if not self._quiet:
            job.on_progress, job.on_note, job.on_refused = self.progress, self.note, self.refused

    def note(self, text: str) -> None:
        """A line about how the work goes."""
        if self._bars is not None:
            self._bars.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=sys.stderr)

    def refused(self, refusal: Refusal) -> None:
        """An input that could not be used."""
        self.note(f"refused {refusal.item}: {refusal.why}")

    def progress(self, at: Progress) -> None:
        """How far a step is."""
        if sys.stderr.isatty():
            self._bar(at)
        elif time.monotonic() - self._last >= EVERY:
            self._last = time.monotonic()
            print(f"{at.what}: {at.done}{f' of {at.total}' if at.total else ''}", file=sys.stderr)

    def _bar(self, at: Progress) -> None:
        if self._bars is None:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bars

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bars = Bars(*columns, console=Console(stderr=True), transient=True)
            self._bars.start()
        if at.what not in self._tasks:
            self._tasks[at.what] = self._bars.add_task(at.what, total=at.total)
        self._bars.update(self._tasks[at.what], completed=at.done, total=at.total)

    def close(self) -> None:
        """Give the terminal back."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None


@contextmanager
def stoppable(job: Job, listener: Listener) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) asks the job to stop at its next safe point; the second stops it where it is."""
    if threading.current_thread() is not threading.main_thread():  # signals belong to the main thread
        yield
        return

    def stop(_number: int, _frame: Any) -> None:
        if job.cancelled:
            raise KeyboardInterrupt
        job.cancel()
        listener.note("stopping at the next safe point; press Ctrl-C again to stop at once")

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
