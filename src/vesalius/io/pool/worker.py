"""The child side of a `DecodePool`: set the limits, run a function over items, answer each one at once."""

from __future__ import annotations

import logging
import math
import os
import signal
import sys
import warnings
from collections.abc import Callable
from importlib.abc import MetaPathFinder
from typing import IO, Any

from vesalius.io.limits import Limits
from vesalius.io.pool import messages

if sys.platform != "win32":
    import resource


#: What pydicom would fetch its test files with: a fifth of its import, and a child never goes to the network.
_NOT_NEEDED = ("requests", "tqdm")


class _Lighter(MetaPathFinder):
    """Lets pydicom believe that the packages it downloads with are not there; anyone else finds them."""

    def find_spec(self, name: str, *_: object) -> None:
        """No spec of its own, ever.

        Raises:
            ModuleNotFoundError: It is asked for by pydicom's download module.
        """
        if name in _NOT_NEEDED and _being_imported("pydicom.data.download"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def _being_imported(name: str) -> bool:
    return bool(getattr(getattr(sys.modules.get(name), "__spec__", None), "_initializing", False))


def main() -> None:
    """Serve until the parent closes the pipe. The answers go to the stream that was stdout; prints go nowhere."""
    with os.fdopen(os.dup(0), "rb") as questions, os.fdopen(os.dup(1), "wb") as answers:
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(2, 1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
        # Libraries print tag values in their warnings; those may name a patient.
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        sys.meta_path.insert(0, _Lighter())
        try:
            _serve(questions, answers)
        except (BrokenPipeError, KeyboardInterrupt):
            os._exit(0)


def _serve(questions: IO[bytes], answers: IO[bytes]) -> None:
    limits = Limits()
    functions: dict[int, Callable[[Any], Any]] = {}
    while (data := messages.receive_bytes(questions)) is not None:
        kind, payload = messages.unpack_trusted(data)
        if kind == "limits":
            limits = payload
        elif kind == "function":
            number, packed = payload
            try:
                functions[number] = messages.unpack_trusted(packed)
                _limit_memory(limits)
                messages.send(answers, ("ready", None))
            except Exception as error:  # whatever the import raises must reach the user
                messages.send(answers, ("broken", f"{type(error).__name__}: {error}"))
        else:
            number, items = payload
            for index, item, label in items:
                _limit_cpu(limits)
                _answer(answers, functions.get(number), index, item, label)


def _answer(answers: IO[bytes], function: Callable[[Any], Any] | None, index: int, item: Any, label: str) -> None:
    try:
        if function is None:
            raise RuntimeError("no function was sent")
        message: Any = ("ok", index, function(item))
    except Exception as error:
        message = ("error", index, messages.pack_error(error, label))
    try:
        messages.send(answers, message)
    except (BrokenPipeError, KeyboardInterrupt):
        raise
    except Exception as error:  # a result that cannot be pickled, or no memory to do so
        del message
        messages.send(answers, ("error", index, messages.pack_error(error, label)))


def _limit_memory(limits: Limits) -> None:
    """Cap the address space at what the process has now plus the budget (where the system can)."""
    if sys.platform == "win32":
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        with open("/proc/self/statm", encoding="ascii") as f:  # noqa: PTH123 - a kernel file, not a path of ours
            have = int(f.read().split()[0]) * resource.getpagesize()
    except OSError:
        return  # not Linux: the address space is not a useful measure there
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = have + limits.memory_bytes
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))


def _limit_cpu(limits: Limits) -> None:
    """Let the kernel end this process when one item burns too much, even if the parent is dead by then."""
    if sys.platform == "win32":
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    wanted = math.ceil(used.ru_utime + used.ru_stime + limits.seconds) + 1
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (wanted, hard))


if __name__ == "__main__":
    main()
