"""Pictures that a frozen encoder saw once, kept on disk, and what is to be segmented in them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vesalius.cases import Case, Image
from vesalius.cases.geometry import Mask
from vesalius.errors import BadInputError
from vesalius.job import Job
from vesalius.models.medsam.view import Frame, view_of

Bools = npt.NDArray[np.bool_]
#: Targets of fewer pixels than this in the encoder's square cannot be told from noise.
SMALLEST = 12


@dataclass(frozen=True)
class Target:
    """One structure in one picture.

    Args:
        picture: Number of the picture.
        name: Its name.
        mask: `(side, side)` in the encoder's square, packed to bits; empty where the structure has just ended.
        before: Number of the same structure's target in the neighbouring slice, or -1.
    """

    picture: int
    name: str
    mask: bytes
    before: int = -1


@dataclass(frozen=True)
class Picture:
    """One encoded picture.

    Args:
        file: Its map, half precision.
        frame: How it lies in the encoder's square.
        group: Patient.
        dataset: The set it comes from.
        where: Part of the body, as the set names it.
        mirrored: Whether it means the same when mirrored left to right.
    """

    file: Path
    frame: Frame
    group: str
    dataset: str
    where: str
    mirrored: bool


@dataclass(frozen=True, eq=False)
class Encoded:
    """Pictures and their targets.

    Args:
        pictures: Pictures.
        targets: Targets.
        side: Side of the encoder's square.
    """

    pictures: tuple[Picture, ...]
    targets: tuple[Target, ...]
    side: int

    def map(self, picture: int) -> npt.NDArray[np.float16]:
        """`(c, h, w)` of one picture."""
        found: npt.NDArray[np.float16] = np.load(self.pictures[picture].file, allow_pickle=False)
        return found

    def features(self, targets: Iterable[int]) -> Tensor:
        """`(n, c, h, w)` single precision, one row for each target."""
        return torch.from_numpy(np.stack([self.map(self.targets[t].picture) for t in targets])).float()

    def mask(self, target: int) -> Bools:
        """`(side, side)` of one target."""
        bits = np.unpackbits(np.frombuffer(self.targets[target].mask, np.uint8), count=self.side**2)
        return bits.reshape(self.side, self.side).astype(bool)

    def names(self) -> tuple[str, ...]:
        """Every name, in order of the alphabet."""
        return tuple(sorted({t.name for t in self.targets}))


#: `(1, 3, side, side)` to `(1, c, h, w)`.
Encoder = Callable[[Tensor], Tensor]


def encode_file(encoder: Encoder, image: Image, index: int, side: int, folder: Path) -> tuple[Path, Frame]:
    """The map of one picture on disk, made where it is not there yet; named by a hash of what the encoder sees.

    Args:
        encoder: `(1, 3, side, side)` to `(1, c, h, w)`.
        image: Picture or volume.
        index: Slice.
        side: Of the square.
        folder: Where maps lie: one folder for each encoder.
    """
    view, frame = view_of(image, index, side)
    path = folder / f"{hashlib.sha256(view.tobytes()).hexdigest()}.npy"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with torch.inference_mode():
            made = encoder(torch.from_numpy(view)[None])[0].cpu().numpy().astype(np.float16)
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            np.save(file, made, allow_pickle=False)
        part.replace(path)
    return path, frame


def masks_of(case: Case, number: int) -> dict[str, Bools]:
    """Name to mask of one image; regions of one name are one target, and of several annotators the first counts."""
    first: dict[str, str] = {}
    out: dict[str, Bools] = {}
    for region in case.regions:
        if region.image != number or not isinstance(region.geometry, Mask):
            continue
        if first.setdefault(region.label, region.annotator) != region.annotator:
            continue
        array = region.geometry.to_array()
        out[region.label] = out[region.label] | array if region.label in out else array
    return out


def gather(
    cases: Sequence[Case],
    encoder: Encoder,
    side: int,
    folder: Path,
    *,
    slices: Callable[[Bools], Sequence[tuple[int, int]]],
    joined: Mapping[str, Sequence[str]] | None = None,
    only_there: bool = False,
    job: Job | None = None,
) -> Encoded:
    """Encode pictures and collect their masks.

    Args:
        cases: Cases whose regions hold masks.
        encoder: `(1, 3, side, side)` to `(1, c, h, w)`.
        side: Of the encoder's square.
        folder: Where maps are kept.
        slices: From `(D, H, W)` True where any structure is: slices to take, each with the neighbour that leads to it
            (or -1), which is taken before.
        joined: A name to those of its parts, each of a volume's: the whole is one more target.
        only_there: Leave out pictures whose map is not there yet.
        job: Told how far it is.

    Raises:
        BadInputError: No case has a mask.
    """
    job = job or Job()
    pictures: list[Picture] = []
    targets: list[Target] = []
    for case in job.progress(cases, len(cases), "encode"):
        for number, image in enumerate(case.images):
            found = masks_of(case, number)
            for whole, parts in (joined or {}).items():
                if all(p in found for p in parts):
                    found[whole] = np.any([found[p] for p in parts], 0)
            if not found:
                continue
            flat = image.kind == "2d"
            chosen = [(0, -1)] if flat else slices(np.any(list(found.values()), 0))
            at: dict[tuple[int, str], int] = {}
            for index, neighbour in chosen:
                if only_there and not _there(image, index, side, folder):
                    continue
                path, frame = encode_file(encoder, image, index, side, folder)
                kept = []
                for name, mask in found.items():
                    put = frame.put(mask if flat else mask[index])
                    before = at.get((neighbour, name), -1)
                    if put.sum() >= SMALLEST or (not put.any() and before >= 0):
                        kept.append(Target(len(pictures), name, np.packbits(put).tobytes(), before))
                        if put.any():
                            at[index, name] = len(targets) + len(kept) - 1
                if kept:
                    mirrored = image.modality in ("ES", "US", "GM", "SM", "DMS") and flat
                    targets += kept
                    pictures.append(Picture(path, frame, case.group, case.source.dataset, image.body_part, mirrored))
    if not targets:
        raise BadInputError("nothing to segment", item=f"{len(cases)} cases", why="none has a region with a mask")
    return Encoded(tuple(pictures), tuple(targets), side)


def _there(image: Image, index: int, side: int, folder: Path) -> bool:
    view, _ = view_of(image, index, side)
    return (folder / f"{hashlib.sha256(view.tobytes()).hexdigest()}.npy").is_file()
