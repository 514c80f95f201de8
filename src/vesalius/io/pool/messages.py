"""Frames between a `DecodePool` and its processes.

Length-prefixed pickles. The parent unpickles answers through a narrow door that lets plain data, arrays and the
package's own classes through, and nothing that can be called.
"""

from __future__ import annotations

import importlib
import io
import pickle
import struct
from typing import IO, Any

import vesalius.errors
from vesalius.errors import BadInputError, MissingError, ResourceError, UnsafeInputError, VesaliusError

_HEAD = struct.Struct("<Q")
#: Functions that numpy's own arrays and scalars are rebuilt with.
_NUMPY = {"_reconstruct", "scalar", "_frombuffer", "ndarray", "dtype"}
_BUILTINS = {"set", "frozenset", "complex", "slice", "range", "bytearray"}


class _Narrow(pickle.Unpickler):
    """Rebuilds plain data, numpy arrays, paths and classes of the package; refuses any other name."""

    def __init__(self, data: bytes, modules: frozenset[str]) -> None:
        super().__init__(io.BytesIO(data))
        self._modules = modules

    def find_class(self, module: str, name: str) -> Any:
        root = module.partition(".")[0]
        if (
            (root == "numpy" and (name in _NUMPY or module == "numpy.dtypes"))
            or (module == "builtins" and name in _BUILTINS)
            or (root == "pathlib" and name in {"Path", "PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath"})
            or (module == "collections" and name in {"OrderedDict", "Counter", "deque"})
        ):
            return super().find_class(module, name)
        if root == "vesalius" or module in self._modules:
            found = getattr(importlib.import_module(module), name)
            if isinstance(found, type):
                return found
        raise pickle.UnpicklingError(f"a worker sent {module}.{name}, which is not plain data")


def send(stream: IO[bytes], message: Any) -> None:
    """Write one frame.

    Raises:
        OSError: The other side is gone.
    """
    send_bytes(stream, pack(message))


def pack(message: Any) -> bytes:
    """A message's bytes."""
    return pickle.dumps(message, protocol=5)


def send_bytes(stream: IO[bytes], data: bytes) -> None:
    """Write one packed message.

    Raises:
        OSError: The other side is gone.
    """
    stream.write(_HEAD.pack(len(data)))
    stream.write(data)
    stream.flush()


def receive_bytes(stream: IO[bytes]) -> bytes | None:
    """Read one frame's bytes, None at the end of the stream."""
    head = stream.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    (size,) = _HEAD.unpack(head)
    data = stream.read(size)
    return data if len(data) == size else None


def unpack(data: bytes, modules: frozenset[str] = frozenset()) -> Any:
    """A frame's message, parent side: plain data only.

    Raises:
        VesaliusError: The message holds something else.
    """
    try:
        return _Narrow(data, modules).load()
    except Exception as error:
        raise VesaliusError("a worker's answer cannot be read", why=str(error)) from error


def unpack_trusted(data: bytes) -> Any:
    """A frame's message, child side: it comes from the parent, which may send functions."""
    return pickle.loads(data)  # noqa: S301 - the sender is the process that started this one


def pack_error(error: BaseException, item: str) -> tuple[str, str, str, str, str]:
    """Any exception as the five texts of a `VesaliusError`."""
    e = as_error(error, item)
    return type(e).__name__, e.what, e.item or item, e.why, e.fix


def unpack_error(parts: tuple[str, str, str, str, str]) -> VesaliusError:
    """The error that `pack_error` packed."""
    name, what, item, why, fix = parts
    cls = getattr(vesalius.errors, name, VesaliusError)
    made: VesaliusError = cls(what, item=item, why=why, fix=fix)
    return made


def as_error(error: BaseException, item: str, what: str = "cannot read") -> VesaliusError:
    """Any exception as a `VesaliusError` that names the item.

    A `VesaliusError` stays what it is and only gets its item filled in.
    """
    if isinstance(error, VesaliusError):
        if error.item:
            return error
        return type(error)(error.what, item=item, why=error.why, fix=error.fix)
    if isinstance(error, MemoryError):
        return ResourceError(
            what, item=item, why="it needs more memory than it may have", fix="raise memory_bytes of Limits"
        )
    if isinstance(error, RecursionError):
        return UnsafeInputError(what, item=item, why="it is nested too deeply")
    if isinstance(error, FileNotFoundError):
        return MissingError(what, item=item, why="the file is gone", fix="read the folder again")
    if isinstance(error, ImportError):
        return MissingError(
            what, item=item, why=f"a package is missing ({error.name})", fix=f"install it: pip install {error.name}"
        )
    if isinstance(error, OSError) and error.strerror:
        return BadInputError(what, item=item, why=error.strerror.lower())
    text = " ".join(str(error).split())[:200]
    return BadInputError(what, item=item, why=f"{type(error).__name__}: {text}" if text else type(error).__name__)
