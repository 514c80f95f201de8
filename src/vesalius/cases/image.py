"""One picture, volume or video of a case: where it is, what it shows, and its stored values, loaded when asked for."""

from __future__ import annotations

import dataclasses
import hashlib
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from vesalius import late_binding
from vesalius.cases.geometry import Affine
from vesalius.errors import BadInputError, MissingError

AnyArray = npt.NDArray[Any]
Kind = Literal["2d", "3d", "video"]
KINDS: tuple[Kind, ...] = ("2d", "3d", "video")


@dataclass(frozen=True, eq=False)
class Image:
    """A reference to stored values, with what is needed to understand them.

    Args:
        uri: Path, relative to the case set's folder or absolute; None when `array` is given.
        array: Stored values: 2d `(H, W[, C])`, 3d `(D, H, W[, C])`, video `(T, H, W[, C])`.
        modality: DICOM modality code (`CR DX CT MR PT US MG PX OP OPT DMS ES SM GM ...`), or "" when not known.
        view: `PA AP LATERAL ...` or "".
        kind: `2d`, `3d` or `video`.
        spacing: Millimetres for one step along each array axis (without the channel), or None.
        affine: Array index to patient LPS mm, or None.
        body_part: DICOM BodyPartExamined term in lower case, or "".
        shape: Shape of the array where it is known without loading.
        frame: Which frame of a multi-frame file, where the image is one of several.
        sha256: Hash of the file's bytes, where known.
        meta: More facts as plain data (never identifiers).
    """

    uri: str | None = None
    array: AnyArray | None = field(default=None, repr=False)
    modality: str = ""
    view: str = ""
    kind: Kind = "2d"
    spacing: tuple[float, ...] | None = None
    affine: Affine | None = None
    body_part: str = ""
    shape: tuple[int, ...] | None = None
    frame: int | None = None
    sha256: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)
    root: Path | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise BadInputError("image kind is not known", item=str(self.kind), fix=f"use one of {', '.join(KINDS)}")
        if not self.uri and self.array is None:
            raise BadInputError("image has neither a uri nor an array")
        if self.array is not None:
            _check_shape(self.array.shape, self.kind, self.uri or "array")
            object.__setattr__(self, "shape", tuple(int(n) for n in self.array.shape))
        elif self.shape is not None:
            object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
            _check_shape(self.shape, self.kind, self.uri or "array")
        if self.spacing is not None:
            object.__setattr__(self, "spacing", tuple(float(s) for s in self.spacing))

    @property
    def path(self) -> Path | None:
        """The file, resolved against the case set's folder."""
        if self.uri is None:
            return None
        p = Path(self.uri)
        return p if p.is_absolute() or self.root is None else self.root / p

    def pixels(self) -> AnyArray:
        """The stored values (no window, no scaling), read from the file unless they are in memory.

        Raises:
            MissingError: The file is gone, or no reader is set.
            BadInputError: The file cannot be read as an image.
        """
        if self.array is not None:
            return self.array
        path = self.path
        if path is not None and path.suffix == ".npy":
            return _read_npy(path)
        if late_binding.image_reader is None:
            raise MissingError("no image reader is set", item=str(self.uri), fix="import vesalius first")
        array: AnyArray = late_binding.image_reader(self)
        return array

    def with_array(self, array: AnyArray, **changes: Any) -> Image:
        """The same image holding `array` in memory."""
        return dataclasses.replace(self, array=array, **changes)

    def content_hash(self) -> str:
        """SHA-256 over dtype, shape and values: the same pixels give the same hash whatever file holds them."""
        a = np.ascontiguousarray(self.pixels())
        h = hashlib.sha256(f"{a.dtype.str}{a.shape}".encode())
        h.update(a.tobytes())
        return h.hexdigest()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Image):
            return NotImplemented
        same_array = (self.array is None) == (other.array is None) and (
            self.array is None
            or (
                other.array is not None
                and self.array.dtype == other.array.dtype
                and np.array_equal(self.array, other.array)
            )
        )
        return same_array and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.uri, self.modality, self.view, self.kind, self.shape))

    def to_dict(self) -> dict[str, Any]:
        """Plain data without the array; empty fields are left out."""
        out: dict[str, Any] = {"kind": self.kind}
        for name in ("uri", "modality", "view", "body_part", "frame", "sha256"):
            if getattr(self, name) not in ("", None):
                out[name] = getattr(self, name)
        if self.spacing is not None:
            out["spacing"] = list(self.spacing)
        if self.affine is not None:
            out["affine"] = self.affine.to_dict()
        if self.shape is not None:
            out["shape"] = list(self.shape)
        if self.meta:
            out["meta"] = dict(self.meta)
        return out

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], root: Path | None = None) -> Image:
        """Read back what `to_dict` wrote; `root` is the folder that relative uris start from."""
        fields = dict(data)
        if fields.get("affine") is not None:
            fields["affine"] = Affine(np.asarray(fields["affine"], dtype=np.float64))
        for name in ("spacing", "shape"):
            if fields.get(name) is not None:
                fields[name] = tuple(fields[name])
        return cls(**fields, root=root)


def _check_shape(shape: tuple[int, ...], kind: Kind, item: str) -> None:
    low, high = (2, 3) if kind == "2d" else (3, 4)
    if not low <= len(shape) <= high:
        raise BadInputError(
            "array does not fit the image's kind",
            item=item,
            why=f"kind {kind} wants {low} or {high} axes, the array has shape {shape}",
        )
    if any(n < 1 for n in shape):
        raise BadInputError("image is empty", item=item, why=f"shape {shape}")


def _read_npy(path: Path) -> AnyArray:
    try:
        with path.open("rb") as file:
            array: AnyArray = np.lib.format.read_array(file, allow_pickle=False)
    except FileNotFoundError as error:
        raise MissingError("image file is gone", item=str(path), fix="index or import the folder again") from error
    except (OSError, ValueError, EOFError, SyntaxError, tokenize.TokenError, MemoryError, OverflowError) as error:
        # A header is text that NumPy parses: a broken one fails in the parser, a lying one asks for too much memory.
        raise BadInputError("cannot read image", item=str(path), why=str(error)) from error
    return array
