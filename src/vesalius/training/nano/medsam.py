"""What `medsam-lite` learns here: its decoder on our masks, names, and what is not there; the encoder stays as it is.

The encoder sees each picture once and its maps are kept on disk, so that a step costs the decoder alone. First a small
net learns where names are (`Locator`), twice on half of the patients each, so that there are honest coarse maps of
every picture, and once on all of them for use. Then the decoder learns what boxes, clicks, coarse maps and a
neighbouring slice's mask mean on these pictures.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from vesalius.cases import Case
from vesalius.errors import MissingError
from vesalius.job import Job
from vesalius.models.converted import read_external
from vesalius.models.manifest import Manifest, describe_files
from vesalius.models.medsam.model import FILE, NAME
from vesalius.models.medsam.net import SIDE, WORDS, MaskDecoder, decoder_from_published, encoder_from_published
from vesalius.models.nano.minilm import MiniLM
from vesalius.models.promptable import TEMPLATE
from vesalius.models.store import SHIPPED
from vesalius.nn.locate import Locator
from vesalius.nn.tiny_vit import OUT
from vesalius.sources.open_sets.readers import read_layout
from vesalius.sources.open_sets.splits import Part, in_part
from vesalius.training.encoded import Bools, Encoded, gather
from vesalius.training.locating import Coarse, absent_names, balance, folds, locate_step
from vesalius.training.loop import Plan, train_loop
from vesalius.training.prompting import Locate, prompt_step

#: Sets with masks.
MASKED = ("kvasir-seg", "hc18-fetal-head", "cross-sections", "covid-cc-by", "chase-db1", "hippocampus")
#: A structure and the parts of it that a set names.
JOINED = {"hippocampus": ("anterior hippocampus", "posterior hippocampus")}
#: Other wordings of a name; a doctor's and everybody's.
WORDINGS: Mapping[str, tuple[str, ...]] = {
    "polyp": ("polyp", "colon polyp", "colorectal polyp", "growth in the bowel"),
    "fetal head": ("fetal head", "head of the fetus", "fetal skull", "head of the unborn child"),
    "lungs": ("lungs", "lung fields", "both lungs", "right and left lung"),
    "retinal vessel": ("retinal vessel", "retinal vessels", "blood vessels of the retina", "vessels"),
    "hippocampus": ("hippocampus", "whole hippocampus", "hippocampal formation"),
    "anterior hippocampus": ("anterior hippocampus", "head of the hippocampus", "front of the hippocampus"),
    "posterior hippocampus": ("posterior hippocampus", "body and tail of the hippocampus", "back of the hippocampus"),
    "aorta": ("aorta", "main artery of the body"),
    "multiple sclerosis lesion": ("multiple sclerosis lesion", "MS lesion", "white matter lesion", "MS plaque"),
    "liver or liver mass": ("liver or liver mass", "liver", "liver tissue"),
    "labelled spine structures": ("labelled spine structures", "lumbar spine", "vertebrae and discs", "spine"),
    "heart chambers and great vessels": ("heart chambers and great vessels", "heart", "heart chambers"),
    "liver vessel or tumour": ("liver vessel or tumour", "liver tumour or vessel", "vessels and tumours in the liver"),
    "lung tumour": ("lung tumour", "lung cancer", "tumour in the lung", "lung mass"),
    "kidney": ("kidney", "kidneys", "both kidneys"),
    "prostate zones or tumour": ("prostate zones or tumour", "prostate", "prostate gland"),
    "kidney stone": ("kidney stone", "renal calculus", "stone in the kidney"),
    "common carotid artery": ("common carotid artery", "carotid artery", "artery of the neck"),
    "breast or dense tissue": ("breast or dense tissue", "breast", "dense breast tissue"),
    "left atrium": ("left atrium", "left atrium of the heart"),
    "knee bones": ("knee bones", "bones of the knee", "femur and tibia"),
    "ischaemic core or penumbra": ("ischaemic core or penumbra", "stroke", "ischaemic stroke", "infarct"),
}
#: Names of fewer training pictures than this are not said to be known.
FEWEST = 10
#: Names at which nano's small head is better on the validation part.
LEFT_TO_THE_SMALL_HEAD = ("retinal vessel", "anterior hippocampus", "posterior hippocampus")


@dataclass(frozen=True)
class MedSamRecipe:
    """How it is trained.

    Args:
        locate: Steps of each locator.
        locate_batch: Pictures of such a step.
        locate_rate: Its peak learning rate.
        decode: Steps of the decoder.
        batch: Targets of such a step.
        rounds: Prompts for each target.
        rate: The decoder's peak learning rate; what is new (words, presence) learns ten times as fast.
        seed: Seed of everything.
    """

    locate: int = 1500
    locate_batch: int = 12
    locate_rate: float = 2e-3
    decode: int = 1500
    batch: int = 4
    rounds: int = 3
    rate: float = 1e-4
    seed: int = 0


def slices_for_training(structure: Bools) -> list[tuple[int, int]]:
    """Slices of a volume that are trained on, each with the neighbour that leads to it.

    They are the middle of the structure and the one after it, the last one and the slice beyond; upwards in one half of
    the volumes and downwards in the other.

    Args:
        structure: `(D, H, W)`.
    """
    filled = np.flatnonzero(structure.any((1, 2)))
    if not len(filled):
        return []
    middle = int(structure.sum((1, 2)).argmax())
    up = int(structure.sum()) % 2 == 0
    step, end = (1, int(filled[-1])) if up else (-1, int(filled[0]))
    walk = [(middle, -1), (middle + step, middle), (end, -1), (end + step, end)]
    seen: set[int] = set()
    return [w for w in walk if 0 <= w[0] < len(structure) and not (w[0] in seen or seen.add(w[0]))]  # type: ignore[func-returns-value] # adds as it goes


def masked_cases(data: Path, *parts: Part, sets: Sequence[str] = MASKED) -> list[Case]:
    """Cases of the sets with masks that belong to some parts.

    Raises:
        MissingError: A set is not there.
    """
    out = []
    for name in sets:
        if not (data / name).is_dir():
            raise MissingError("training set is not there", item=str(data / name), fix="give the folder that holds it")
        out += in_part(read_layout(name, data / name), *parts)
    return out


def sentence_table(names: Sequence[str]) -> dict[str, npt.NDArray[np.float32]]:
    """Name to `(k, 384)` vectors of its wordings, the name itself first."""
    tower = MiniLM()
    return {n: tower([TEMPLATE.format(w) for w in wordings_of(n)]) for n in names}


def wordings_of(name: str) -> list[str]:
    """A name, then other words for it."""
    return list(dict.fromkeys((name, *WORDINGS.get(name, ()))))


def train_medsam(
    data: Path,
    out: Path,
    recipe: MedSamRecipe | None = None,
    *,
    maps: Path | None = None,
    job: Job | None = None,
    resume: bool = False,
    seconds: float | None = None,
    only_there: bool = False,
) -> Path:
    """Train and write the model folder.

    Args:
        data: Folder with the open sets.
        out: Model folder; made from the shipped one where it is empty.
        recipe: How.
        maps: Where the encoder's maps are kept (2 MB a picture); `out/work/maps` by default.
        job: Told how it goes.
        resume: Go on from the checkpoints in `out/work`.
        seconds: Stop each phase after so much time.
        only_there: Use only pictures whose maps are kept already.

    Returns:
        The file with what was trained.
    """
    recipe, job = recipe or MedSamRecipe(), job or Job()
    work = out / "work"
    if not (out / "model.json").is_file():
        shutil.copytree(SHIPPED / NAME, out, dirs_exist_ok=True)
    published = read_external(Manifest.read(out).external["weights"])
    encoder = encoder_from_published(published)
    encoded = gather(
        masked_cases(data, "nano"), encoder, SIDE, maps or work / "maps", slices=slices_for_training,
        joined=JOINED, only_there=only_there, job=job,
    )  # fmt: skip
    job.note(f"{len(encoded.targets)} targets in {len(encoded.pictures)} pictures")
    words = sentence_table(encoded.names())
    locators = _train_locators(encoded, words, recipe, work, job, resume, seconds)
    torch.manual_seed(recipe.seed)
    decoder = decoder_from_published(published)
    with torch.no_grad():
        decoder.no_words.copy_(decoder.prompts.not_a_point_embed.weight[0])
    decoder.tuned = True
    decoder.locator.load_state_dict(locators[2].state_dict())
    _freeze(decoder)
    half = folds(encoded, recipe.seed)

    def honest(picture: int) -> Locate:
        return coarse_maps(locators[1 - int(half[picture])])

    rows = np.arange(len(encoded.targets))
    kinds = [f"{encoded.pictures[t.picture].dataset} {t.name}" for t in encoded.targets]
    step = prompt_step(
        decoder, encoded, rows, words, absent_names(encoded), honest, batch=recipe.batch, rounds=recipe.rounds,
        odds=balance(kinds),
    )  # fmt: skip
    plan = Plan(
        steps=recipe.decode, learning_rate=recipe.rate, rates={"words": 10, "no_words": 10, "present": 10},
        warmup=30, average=0.99, seed=recipe.seed, every=25,
        weights={"focal": 4.0, "dice": 1.0, "overlap": 0.5, "present": 0.5},
    )  # fmt: skip
    train_loop(decoder, step, plan, seconds=seconds, work=work / "decoder", resume=resume, job=job)
    return save_trained(decoder, published, out, recipe, encoded)


def _train_locators(
    data: Encoded, words: Mapping[str, npt.NDArray[np.float32]], recipe: MedSamRecipe, work: Path, job: Job,
    resume: bool, seconds: float | None,
) -> list[Locator]:  # fmt: skip
    """One for each half of the patients, and one for all."""
    half = folds(data, recipe.seed)
    coarse = Coarse(data, new_locator())
    everyone = np.arange(len(data.pictures))
    out = []
    for number, pictures in enumerate((everyone[half == 0], everyone[half == 1], everyone)):
        torch.manual_seed(recipe.seed)
        locator = new_locator()
        odds = balance([data.pictures[p].dataset for p in pictures])
        step = locate_step(locator, coarse, pictures, words, batch=recipe.locate_batch, odds=odds)
        plan = Plan(
            steps=recipe.locate, learning_rate=recipe.locate_rate, warmup=30, average=0.98, seed=recipe.seed, every=50,
            weights={"cells": 1.0, "dice": 1.0, "there": 0.5},
        )  # fmt: skip
        job.note(f"locator {number + 1} of 3: {len(pictures)} pictures")
        train_loop(
            locator, step, plan, seconds=seconds, work=work / f"locator-{number}", resume=resume, job=job
        )  # fmt: skip
        out.append(locator.requires_grad_(False))
    return out


def new_locator() -> Locator:
    """As `MaskDecoder` has it."""
    return Locator(OUT, WORDS)


def coarse_maps(locator: Locator) -> Locate:
    """What a locator draws, at the size of the masks."""

    def locate(features: Tensor, words: Tensor) -> Tensor:
        logits, _ = locator(locator.cells(locator.pooled(features)), words)
        return F.interpolate(logits[:, None], size=(SIDE, SIDE), mode="bilinear", align_corners=False)[:, 0]

    return locate


def _freeze(decoder: MaskDecoder) -> None:
    """Places stay where they are, the locator is trained by itself, and masks of an unclear prompt are not used."""
    decoder.locator.requires_grad_(False)
    decoder.prompts.shared_embedding.requires_grad_(False)
    for number in (1, 2, 3):
        decoder.decoder.output_hypernetworks_mlps[number].requires_grad_(False)


def save_trained(
    decoder: MaskDecoder, published: Mapping[str, Tensor], out: Path, recipe: MedSamRecipe, data: Encoded
) -> Path:
    """Write what differs from the published weights, in half precision, and bring the manifest up to it."""
    before = decoder_from_published(published).state_dict()
    ours = ("words.", "no_words", "present.", "locator.")
    changed = {
        k: v.detach().half().contiguous().clone() for k, v in decoder.state_dict().items()
        if k.startswith(ours) or not torch.equal(v, before[k])
    }  # fmt: skip
    counts: dict[str, int] = {}
    for picture in data.pictures:
        counts[picture.dataset] = counts.get(picture.dataset, 0) + 1
    where: dict[str, set[str]] = {}
    for target in data.targets:
        where.setdefault(target.name, set()).add(data.pictures[target.picture].where)
    places = {name: sorted(parts) for name, parts in sorted(where.items())}
    number: dict[str, int] = {}
    for target in data.targets:
        number[target.name] = number.get(target.name, 0) + 1
    names = {
        name: wordings_of(name) for name in places if number[name] >= FEWEST and name not in LEFT_TO_THE_SMALL_HEAD
    }
    facts = {"recipe": asdict(recipe), "pictures": counts, "where": places, "names": names}
    save_file(changed, out / FILE, {"config": json.dumps(facts, sort_keys=True)})
    (out / FILE).chmod(0o644)  # safetensors writes for the owner alone
    manifest = Manifest.read(out)
    fields = {
        **vars(manifest), "files": describe_files(out), "capabilities": ("segment", "text"),
        "title": "LiteMedSAM with a decoder tuned for boxes, names and absence",
        "notes": {**manifest.notes, **facts},
    }  # fmt: skip
    Manifest(**fields).write(out)
    return out / FILE
