"""Embeddings of images kept on disk, so that the next prompt on the same image does not encode it again.

A file is named by a hash of model, pixels, display and slice: nothing about the image can be read from it, and another
model or another window never finds it. What an embedding says about an image is not known to be harmless: the folder
and its files are readable by their owner alone, and deleting the folder forgets them all.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vesalius.cases import Image
from vesalius.errors import UsageError
from vesalius.models.protocols import EncodedImage, Segmenter

AnyArray = npt.NDArray[Any]

#: Bytes that a cache keeps at most.
MOST = 2**30
#: Raised when keys or files change their meaning.
_VERSION = 1
#: Seconds after which a half-written file belongs to a process that is gone.
_ABANDONED = 3600.0
#: Facts of an image that say where it lies and not how it looks.
_PLACE = ("uri", "sha256", "frame")
_PLACE_META = ("files", "members", "member", "key")


class EmbeddingCache:
    """A folder of safetensors files, the least recently used of which go when it is full.

    Args:
        folder: Made when something is first kept.
        most: Bytes that it keeps at most.

    Raises:
        UsageError: The folder is a file, or the budget is not above 0.
    """

    def __init__(self, folder: str | os.PathLike[str], most: int = MOST) -> None:
        self.folder, self.most = Path(folder), most
        if self.folder.exists() and not self.folder.is_dir():
            raise UsageError("the cache must be a folder", item=str(folder))
        if most <= 0:
            raise UsageError("a cache of no bytes keeps nothing", item=str(most))

    def get(self, key: str) -> dict[str, AnyArray] | None:
        """The tensors kept under a key, or None; a damaged file is removed and counts as none."""
        from safetensors import SafetensorError, safe_open

        path = self._path(key)
        try:
            with safe_open(path, framework="numpy") as file:
                whole = (file.metadata() or {}).get("key") == key
                tensors = {name: file.get_tensor(name) for name in file.keys()} if whole else None  # noqa: SIM118 # not a dict
            if tensors is not None:
                os.utime(path)
                return tensors
        except FileNotFoundError:
            return None
        except (SafetensorError, ValueError, TypeError):
            pass
        path.unlink(missing_ok=True)
        return None

    def put(self, key: str, tensors: Mapping[str, AnyArray]) -> None:
        """Keep tensors under a key: whole or not at all, also when the process is killed.

        Raises:
            OSError: The disk is full, or the folder may not be written.
        """
        from safetensors.numpy import save

        data = save({n: np.ascontiguousarray(t) for n, t in tensors.items()}, {"key": key})
        if len(data) > self.most:
            return
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, part = tempfile.mkstemp(suffix=".part", dir=self.folder)  # 0600, as mkstemp makes them
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            Path(part).replace(self._path(key))
        except BaseException:
            Path(part).unlink(missing_ok=True)
            raise
        self._shrink(keep=self._path(key))

    def _path(self, key: str) -> Path:
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()}.safetensors"

    def _shrink(self, keep: Path) -> None:
        """Remove what was used longest ago until the rest fits; another process may be doing the same."""
        found: list[tuple[float, int, Path]] = []
        for path in self.folder.iterdir():
            with contextlib.suppress(FileNotFoundError):
                stat = path.stat()
                if path.suffix == ".safetensors":
                    found.append((stat.st_mtime, stat.st_size, path))
                elif path.suffix == ".part" and time.time() - stat.st_mtime > _ABANDONED:
                    path.unlink()
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= self.most:
                return
            if path != keep:
                path.unlink(missing_ok=True)
                total -= size


def look_of(image: Image) -> str:
    """SHA-256 over an image's values and everything that may change how they are shown; reads the pixels."""
    facts = {k: v for k, v in image.to_dict().items() if k not in _PLACE}
    facts["meta"] = {k: v for k, v in image.meta.items() if k not in _PLACE_META}
    text = json.dumps([_VERSION, image.content_hash(), facts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def encode_once(
    model: Segmenter, image: Image, index: int = 0, *, cache: EmbeddingCache | None = None, look: str = ""
) -> EncodedImage:
    """The embedding of one picture or slice, from the cache where it is kept.

    Args:
        model: Who encodes.
        image: Picture, volume or video.
        index: Slice or frame of it.
        cache: Where embeddings are kept; None encodes always.
        look: `look_of(image)`, where it is known already (several slices of one volume).
    """
    if cache is None:
        return model.encode(image, index)
    # Where the model says what its encodings hang on, they outlive another decoder.
    mark = getattr(model, "encoder_fingerprint", model.fingerprint)
    key = f"{mark}/{look or look_of(image)}/{index}"
    tensors = cache.get(key)
    if tensors is not None:
        height, width = (image.shape or image.pixels().shape)[0 if image.kind == "2d" else 1 :][:2]
        return model.restore(tensors, (height, width))
    encoded = model.encode(image, index)
    cache.put(key, encoded.to_tensors())
    return encoded
