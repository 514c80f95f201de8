"""Fetch a MedMNIST or MedMNIST+ archive from its publishers' record, only when the network was asked for.

Names, sizes and MD5 sums are those of the official record (Zenodo 10519652); a file counts as fetched only when its sum
is right. MD5 guards against damage, not against somebody who can write to the record: it is what the authors publish.
"""

from __future__ import annotations

import functools
import hashlib
import http.client
import json
import tempfile
import urllib.request
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import urlsplit

from vesalius.errors import BadInputError, MissingError, ResourceError, UsageError

RECORD = "https://zenodo.org/records/10519652/files"
_CHUNK = 1 << 20
_SECONDS = 60.0


@functools.cache
def sums() -> dict[str, dict[int, str]]:
    """Set to size (pixels or voxels of an edge) to MD5 sum."""
    table = json.loads(Path(__file__).with_name("medmnist_md5.json").read_text("utf-8"))
    return {name: {int(size): md5 for size, md5 in sizes.items()} for name, sizes in table.items()}


def file_name(name: str, size: int) -> str:
    """The archive's official name.

    Raises:
        UsageError: There is no such set, or it does not come in this size.
    """
    known = sums()
    if name not in known:
        near = get_close_matches(name, known, n=1)
        raise UsageError(
            "no such MedMNIST set",
            item=name,
            fix=f"did you mean {near[0]}?" if near else f"use one of {', '.join(known)}",
        )
    if size not in known[name]:
        listed = ", ".join(str(s) for s in known[name])
        raise UsageError("this MedMNIST set does not come in this size", item=f"{name}, {size}", fix=f"use {listed}")
    return f"{name}.npz" if size == 28 else f"{name}_{size}.npz"


def get(name: str, folder: Path, *, size: int = 28, online: bool, record: str = RECORD) -> Path:
    """Fetch one archive into a folder; one that is there already and whole is not fetched again.

    Args:
        name: A set, for example `pathmnist` or `organmnist3d`.
        folder: Where to; made if it is not there.
        size: Edge of its pictures or volumes: 28, 64, 128, 224 (64 at most in 3-d).
        online: Must be True: vesalius never uses the network unless asked.
        record: Address of the folder that holds the archives, for a mirror.

    Returns:
        The archive, for `import_folder(folder, "medmnist")`.

    Raises:
        UsageError: Unknown set or size, an address that is not https, or `online` is False and the file not there.
        MissingError: The host does not have it or cannot be reached.
        BadInputError: What came is not the official file; nothing is kept of it.
        ResourceError: The folder cannot be written to.
    """
    file = file_name(name, size)
    md5 = sums()[name][size]
    target = folder / file
    if target.is_file() and _md5(target) == md5:
        return target
    if not online:
        raise UsageError("will not use the network unasked", item=file, fix="pass --online")
    address = urlsplit(record)
    if address.scheme != "https" and (address.scheme, address.hostname) != ("http", "127.0.0.1"):
        raise UsageError("a mirror must be reached by https", item=record)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".getting-") as scratch:
            part = Path(scratch) / file
            found = _fetch(f"{record}/{file}?download=1", part)
            if found != md5:
                raise BadInputError(
                    "what was fetched is not the official file",
                    item=file,
                    why=f"its MD5 is {found}, not {md5}",
                    fix="try again; if it stays so, the record has changed",
                )
            part.replace(target)
    except OSError as error:
        raise ResourceError("cannot write the archive", item=str(target), why=str(error)) from error
    return target


def _fetch(url: str, part: Path) -> str:
    """Stream an address into a file and return the MD5 of what came."""
    md5 = hashlib.md5(usedforsecurity=False)
    try:
        # The scheme was checked by the caller.
        answer = urllib.request.urlopen(url, timeout=_SECONDS)  # noqa: S310 # https, or this machine
    except OSError as error:
        raise _unreachable(url, error) from error
    with answer, part.open("wb") as out:
        while chunk := _read(answer, url):
            md5.update(chunk)
            out.write(chunk)
    return md5.hexdigest()


def _read(answer: http.client.HTTPResponse, url: str) -> bytes:
    try:
        return answer.read(_CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(url, error) from error


def _unreachable(url: str, error: Exception) -> MissingError:
    return MissingError("cannot get the archive", item=url, why=str(error)[:200], fix="is the network there?")


def _md5(file: Path) -> str:
    with file.open("rb") as data:
        return hashlib.file_digest(data, functools.partial(hashlib.md5, usedforsecurity=False)).hexdigest()
