"""Two files, one volume: the names of a NIfTI or Analyze header (`.hdr`) and of its voxels (`.img`), gzipped or not."""

from __future__ import annotations

from pathlib import Path

from vesalius.errors import MissingError
from vesalius.io.formats.blob import Blob

__all__ = ["header_names", "header_of", "voxels_of"]


def header_names(name: str) -> frozenset[str]:
    """Names, in lower case, that the header of a file of voxels may have; none where it cannot be one."""
    low = name.lower()
    base = low.removesuffix(".gz")
    if not base.endswith(".img"):
        return frozenset()
    return frozenset((base[:-4] + ".hdr", base[:-4] + ".hdr.gz"))


def header_of(path: Path) -> Path:
    """The header beside a file of voxels; the path itself for anything else."""
    wanted = header_names(path.name)
    if wanted:
        for name in sorted(p.name for p in path.parent.glob("*")):
            if name.lower() in wanted:
                return path.with_name(name)
    return path


def voxels_of(header: Blob) -> Blob:
    """The voxels beside a header, in the folder or the archive that it is in.

    Raises:
        MissingError: They are not there.
    """
    if header.member:
        base = header.member[: -len(".hdr")] if header.member.lower().endswith(".hdr") else header.member
        return Blob(header.path, base + ".img", header.name)
    base = header.path.name.lower().removesuffix(".gz").removesuffix(".hdr")
    wanted = {base + ".img", base + ".img.gz"}
    for name in sorted(p.name for p in header.path.parent.glob("*")):
        if name.lower() in wanted:
            return Blob(header.path.with_name(name), "", header.name)
    raise MissingError(
        "voxels are not there", item=header.name, why=f"it is a header, and there is no {base}.img beside it"
    )
