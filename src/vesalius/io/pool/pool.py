"""Run a function over untrusted items in child processes that may crash, hang or run out of memory one at a time.

The children are plain interpreters started by this module and not by `multiprocessing`: they never import the user's
`__main__`, so a script needs no `if __name__ == "__main__"` guard, and nothing is forked after threads were started.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

from vesalius.errors import BadInputError, ResourceError, UsageError, VesaliusError
from vesalius.io.limits import DEFAULT, Limits
from vesalius.io.pool import messages
from vesalius.io.pool.tasks import Tasks

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

#: Seconds a child may take to start and import the function.
START_SECONDS = 120.0
#: Aim of a batch: long enough that talking costs nothing, short enough that work is spread evenly.
_BATCH_SECONDS = 0.05
_MAX_BATCH = 64
#: Functions that a child keeps at hand.
_KEPT_FUNCTIONS = 8
_PIPE_BYTES = 1 << 20


def default_workers() -> int:
    """Processors this process may use, at most 8."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, min(8, len(os.sched_getaffinity(0))))
    return max(1, min(8, os.cpu_count() or 1))


class DecodePool:
    """Child processes with limits on memory, processor and time; one that dies is replaced and its item is named.

    Args:
        workers: Number of processes; None for as many as there are processors, at most 8.
        limits: `seconds` and `memory_bytes` are enforced here; the function may take the rest for itself.
        idle_seconds: A child without work for so long ends, and starts again when there is some; None never.

    Example:
        >>> import math
        >>> from vesalius.io import DecodePool
        >>> with DecodePool(1) as pool:
        ...     list(pool.map(math.sqrt, [4.0, 9.0]))
        [(0, 2.0), (1, 3.0)]
    """

    def __init__(
        self, workers: int | None = None, limits: Limits | None = None, *, idle_seconds: float | None = None
    ) -> None:
        self.limits, self.idle_seconds = limits or DEFAULT, idle_seconds
        self.workers = default_workers() if workers is None else workers
        if self.workers < 1:
            raise UsageError("a pool needs at least one worker", item=f"workers={workers}")
        self._tasks: Tasks[_Batch] = Tasks()
        self._hands: list[_Hand] = []
        self._watchdog: threading.Thread | None = None
        self._closed = threading.Event()
        self._starting = threading.Lock()

    def __enter__(self) -> DecodePool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all children at once; results not yet fetched are lost."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._tasks.close()
        for hand in self._hands:
            hand.kill()
        for hand in self._hands:
            hand.thread.join()

    def map(
        self, function: Callable[[_Item], _Result], items: Iterable[_Item], *, ahead: int = 0
    ) -> Iterator[tuple[int, _Result | VesaliusError]]:
        """Run `function` on every item, several at once; several calls, in threads or one in another, share the pool.

        Args:
            function: Importable by name (a module's function, or a `functools.partial` of one); its result must be
                plain data, numpy arrays or classes of this package or of the function's own module.
            items: Taken from as they are needed; never all at once.
            ahead: At least so many items are on their way or done while the caller is busy with a result.

        Yields:
            `(index, result)` in the order of the items; the result is a `VesaliusError` for an item that failed.

        Raises:
            UsageError: The function cannot be sent to another process, or the pool is closed.
        """
        if self._closed.is_set():
            raise UsageError("the pool is closed", fix="use it inside its `with` block")
        job: _Job[_Result] = _Job(_packed(function), _modules(function))
        self._start()
        return self._run(job, iter(items), ahead)

    def _run(
        self, job: _Job[_Result], items: Iterator[_Item], ahead: int
    ) -> Iterator[tuple[int, _Result | VesaliusError]]:
        sent = given = 0
        more = True
        try:
            while True:
                batch_size = job.batch_size()
                # Enough work ahead that no child waits, little enough that results do not pile up.
                while more and sent - given < max(ahead, self.workers * (batch_size * 2 + 1)):
                    batch = _Batch(job)
                    for item in items:
                        batch.items.append((sent, item, _label(item, sent)))
                        sent += 1
                        if len(batch.items) >= batch_size:
                            break
                    else:
                        more = False
                    if batch.items:
                        self._tasks.put(batch)
                if given == sent and not more:
                    return
                yield given, job.wait(given)
                given += 1
        finally:
            job.cancelled = True

    def _start(self) -> None:
        with self._starting:
            if self._hands:
                return
            self._hands = [
                _Hand(self._tasks, self.limits, self._closed, self.idle_seconds) for _ in range(self.workers)
            ]
            self._watchdog = threading.Thread(target=self._watch, name="vesalius-watchdog", daemon=True)
            self._watchdog.start()

    def _watch(self) -> None:
        while not self._closed.wait(0.05):
            now = time.monotonic()
            for hand in self._hands:
                hand.kill_if_late(now)


class _Job(Generic[_Result]):
    """One call of `map`: its function, its results so far, how long an item takes."""

    def __init__(self, function: bytes, modules: frozenset[str]) -> None:
        self.function, self.modules = function, modules
        self.cancelled = False
        self._results: dict[int, _Result | VesaliusError] = {}
        self._arrived = threading.Condition()
        self._seconds = 0.0
        self._count = 0

    def put(self, index: int, result: Any, seconds: float) -> None:
        with self._arrived:
            if not self.cancelled:
                self._results[index] = result
            self._count += 1
            # A running mean that forgets, so that a folder of films followed by volumes is batched rightly.
            self._seconds += (seconds - self._seconds) / min(self._count, 50)
            self._arrived.notify_all()

    def wait(self, index: int) -> _Result | VesaliusError:
        with self._arrived:
            while index not in self._results:
                self._arrived.wait(0.5)  # a timeout keeps Ctrl-C working on every platform
            return self._results.pop(index)

    def batch_size(self) -> int:
        if self._count < 4:
            return 1
        return max(1, min(_MAX_BATCH, int(_BATCH_SECONDS / max(self._seconds, 1e-5))))


class _Batch:
    __slots__ = ("items", "job")

    def __init__(self, job: _Job[Any], items: list[tuple[int, Any, str]] | None = None) -> None:
        self.job, self.items = job, items or []


class _Hand:
    """One thread and the child it feeds."""

    def __init__(
        self,
        tasks: Tasks[_Batch],
        limits: Limits,
        closed: threading.Event,
        idle_seconds: float | None,
    ) -> None:
        self._tasks, self._limits, self._closed, self._idle = tasks, limits, closed, idle_seconds
        self._process: subprocess.Popen[bytes] | None = None
        #: Functions that the child holds, by their pickles, each with its number there.
        self._functions: dict[bytes, int] = {}
        self._deadline: float | None = None
        self._late = False
        #: Whether it counts among those that have a process, and whether that was ready once.
        self._active = self._was_ready = False
        self._lock = threading.Lock()
        self.thread = threading.Thread(target=self._loop, name="vesalius-decode", daemon=True)
        self.thread.start()

    def kill(self) -> None:
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                self._process.kill()

    def kill_if_late(self, now: float) -> None:
        with self._lock:
            if self._deadline is not None and now > self._deadline and self._process is not None:
                self._late, self._deadline = True, None
                self._process.kill()

    def _loop(self) -> None:
        while (batch := self._next()) is not None and not self._closed.is_set():
            self._do(batch)
        self.kill()
        self._reap()

    def _next(self) -> _Batch | None:
        """The next batch; a child that has waited too long for one is sent home."""
        if self._active:
            with contextlib.suppress(TimeoutError):
                return self._tasks.take(True, self._idle)
            self.kill()
            self._reap()
            self._tasks.ended(self._was_ready)
            self._active = self._was_ready = False
        batch = self._tasks.take(False)
        self._active = batch is not None
        return batch

    def _do(self, batch: _Batch) -> None:
        """Every item of the batch gets an answer; the one that killed the child gets the reason."""
        left = batch.items
        while left and not self._closed.is_set():
            if batch.job.cancelled:
                return
            try:
                self._prepare(batch.job)
                done = self._feed(batch.job, left)
            except Exception as error:  # no child, or an item that cannot travel: whoever waits must get an answer
                if len(left) > 1 and not isinstance(error, VesaliusError):
                    for item in left:
                        self._do(_Batch(batch.job, [item]))
                    return
                for index, _, label in left:
                    batch.job.put(index, messages.as_error(error, label, "cannot send to another process"), 0.0)
                return
            left = left[done:]
            if left:
                index, _, label = left[0]
                batch.job.put(index, self._obituary(label), self._limits.seconds if self._late else 0.0)
                left = left[1:]

    def _prepare(self, job: _Job[Any]) -> None:
        """Have a live child that knows the function."""
        began = time.monotonic()
        if self._process is None:
            self._process = _spawn()
            self._functions = {}
        if job.function not in self._functions:
            # Two rooms may share a pool and take turns with a function each; a few are kept, old ones go.
            if len(self._functions) >= _KEPT_FUNCTIONS:
                self._functions = {}
            number = len(self._functions)
            self._set_deadline(START_SECONDS)
            try:
                messages.send(_stdin(self._process), ("limits", self._limits))
                messages.send(_stdin(self._process), ("function", (number, job.function)))
                data = messages.receive_bytes(_stdout(self._process))
            except OSError:
                data = None
            self._set_deadline(None)
            answer = messages.unpack(data) if data is not None else ("broken", "the process ended while it started")
            if answer[0] != "ready":
                if data is None:
                    self._reap()
                raise VesaliusError(
                    "cannot start a decoding process", why=str(answer[1]), fix="decode in this process (workers=0)"
                )
            self._functions[job.function] = number
        if not self._was_ready:
            self._was_ready = True
            self._tasks.started(time.monotonic() - began)

    def _feed(self, job: _Job[Any], items: list[tuple[int, Any, str]]) -> int:
        """Send a batch, collect the answers; returns how many came before the child died (all of them, usually)."""
        process = self._process
        if process is None:
            return 0
        self._late = False
        question = messages.pack(("items", (self._functions[job.function], items)))
        started = time.monotonic()
        self._set_deadline(self._limits.seconds)
        done = 0
        try:
            messages.send_bytes(_stdin(process), question)
            while done < len(items):
                data = messages.receive_bytes(_stdout(process))
                if data is None:
                    break
                self._set_deadline(self._limits.seconds if done + 1 < len(items) else None)
                now = time.monotonic()
                job.put(items[done][0], _result(data, job, items[done]), now - started)
                started = now
                done += 1
        except OSError:
            pass  # the pipe broke: the child is dead, the caller says why
        finally:
            self._set_deadline(None)
        return done

    def _obituary(self, label: str) -> VesaliusError:
        code = self._reap()
        seconds = f"{self._limits.seconds:g} seconds"
        if self._late or code == -getattr(signal, "SIGXCPU", 24):
            return ResourceError(
                "reading took too long and was stopped",
                item=label,
                why=f"over {seconds}",
                fix="the file may be damaged or hostile; if it is trusted, raise `seconds` of Limits",
            )
        if code == -getattr(signal, "SIGKILL", 9):
            return ResourceError(
                "the system killed the process that read it (SIGKILL)",
                item=label,
                why="most often because memory ran out",
                fix="use fewer workers or lower memory_bytes of Limits",
            )
        name = f"exit code {code}"
        if code is not None and code < 0:
            with contextlib.suppress(ValueError):
                name = signal.Signals(-code).name
        return BadInputError(
            "the decoder crashed",
            item=label,
            why=f"its process ended with {name}",
            fix="the file is damaged or hostile, or needs more memory than memory_bytes of Limits allows",
        )

    def _set_deadline(self, seconds: float | None) -> None:
        with self._lock:
            self._deadline = None if seconds is None else time.monotonic() + seconds

    def _reap(self) -> int | None:
        with self._lock:
            process, self._process = self._process, None
        if process is None:
            return None
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        try:
            return process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


def _spawn() -> subprocess.Popen[bytes]:
    # The parent's import path, without the current directory: a folder of scans may hold a `numpy.py`.
    path = [p for p in sys.path if p] + ([str(Path.cwd())] if "" in sys.path else [])
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    env = {**os.environ, **one_thread, "PYTHONPATH": os.pathsep.join(path), "PYTHONUTF8": "1"}
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", "from vesalius.io.pool.worker import main; main()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=env,
    )
    if sys.platform == "linux":
        import fcntl

        with contextlib.suppress(OSError):
            fcntl.fcntl(_stdout(process), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return process


def _stdin(process: subprocess.Popen[bytes]) -> Any:
    return process.stdin


def _stdout(process: subprocess.Popen[bytes]) -> Any:
    return process.stdout


def _result(data: bytes, job: _Job[Any], item: tuple[int, Any, str]) -> Any:
    try:
        kind, index, payload = messages.unpack(data, job.modules)
        if index != item[0]:
            raise VesaliusError("a worker answered another question")
    except VesaliusError as error:
        return messages.as_error(error, item[2])
    return payload if kind == "ok" else messages.unpack_error(payload)


def _innermost(function: Any) -> Any:
    while hasattr(function, "func"):
        function = function.func
    return function


def _modules(function: Any) -> frozenset[str]:
    return frozenset({getattr(_innermost(function), "__module__", "")}) - {"", "builtins"}


def _packed(function: Any) -> bytes:
    name = getattr(_innermost(function), "__qualname__", repr(function))
    if getattr(_innermost(function), "__module__", "") == "__main__":
        raise UsageError(
            "cannot run this function in another process",
            item=name,
            why="it is defined in the script itself",
            fix="move it to a module of its own",
        )
    try:
        return pickle.dumps(function, protocol=5)
    except Exception as error:
        raise UsageError(
            "cannot run this function in another process",
            item=name,
            why=str(error),
            fix="use a function of a module, not a lambda or a nested function",
        ) from error


def _label(item: object, index: int) -> str:
    text = (
        str(item) if isinstance(item, str | Path) else str(getattr(item, "item", "") or getattr(item, "uri", "") or "")
    )
    return text or f"item {index}"
