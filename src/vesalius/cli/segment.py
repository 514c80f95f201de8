"""`vesalius segment IMAGE (--point | --box | --text) --out DIR`: masks as PNG, JSON, NIfTI and DICOM SEG."""

from __future__ import annotations

import argparse
import functools
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vesalius.cases import Case, Image
from vesalius.cases.geometry import Mask
from vesalius.cli.common import Run, add_flags
from vesalius.errors import BadInputError, UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from vesalius.models.protocols import Prompt, Segmenter

    BoolArray = npt.NDArray[np.bool_]

#: Version of `segmentation.json`.
SCHEMA = 1
#: Short side in pixels below which an overlay is enlarged.
_LEGIBLE = 256
FORMATS = ("png", "json", "nifti", "seg")


@dataclass(frozen=True)
class Found:
    """One target's answer.

    Args:
        label: Its name, or "".
        prompt: What was asked.
        flat: `(H, W)` mask of the prompted picture or slice.
        mask: The same in the image's own shape, `(H, W)` or `(D, H, W)`.
        score: The model's estimate of its IoU.
        scores: Slice to score, where the mask went through a volume.
        seconds: What the prompt took.
    """

    label: str
    prompt: Prompt
    flat: BoolArray
    mask: BoolArray
    score: float
    scores: dict[int, float]
    seconds: float


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.add_argument("image", type=Path, help="a picture, a DICOM file, the folder of one series, a volume")
    parser.add_argument(
        "--point",
        action="append",
        default=[],
        metavar="X,Y[,LABEL]",
        help="a click in pixels (x to the right, y down); label 1 inside the target (default), 0 outside; repeat it",
    )
    parser.add_argument("--box", action="append", default=[], metavar="X0,Y0,X1,Y1", help="a box around the target")
    parser.add_argument(
        "--text", action="append", default=[], metavar="NAME", help="the target's name; repeat it for several targets"
    )
    parser.add_argument("--slice", type=int, metavar="K", help="slice of a volume, from 0 (default: the middle one)")
    parser.add_argument("--volume", action="store_true", help="follow the target from that slice through the volume")
    parser.add_argument(
        "--lost", type=float, default=0.5, metavar="IOU", help="with --volume: end below this score (default: 0.5)"
    )
    parser.add_argument(
        "--format", default="png,json", metavar="LIST", help=f"of {','.join(FORMATS)} (default: png,json)"
    )
    parser.add_argument("--cache", type=Path, metavar="DIR", help="keep embeddings there: the next prompt is faster")
    add_flags(parser, "--model", "--device", "--workers", "--online")


def run(options: argparse.Namespace, run: Run) -> None:
    """Segment, and write what was asked for."""
    formats = _formats(options, run)
    from vesalius.cli.prompts import check_inside, read_prompts

    prompts = read_prompts(options)
    if not 0 <= options.lost <= 1:
        raise UsageError("a score is between 0 and 1", item=f"--lost {options.lost:g}")
    case, image = _one_image(options, run)
    at = _slice(options, image, run)
    image = image.with_array(image.pixels())
    for prompt in prompts:
        check_inside(prompt, _plane(image))
    if "seg" in formats:
        from vesalius.io.dicom.seg import require_carrier

        require_carrier(image)
    from vesalius.models import load
    from vesalius.models.embedding_cache import EmbeddingCache, encode_once, look_of

    model = load(options.model, device=options.device, online=run.online, can="segment")
    cache = EmbeddingCache(options.cache) if options.cache else None
    look = look_of(image) if cache else ""
    # Several targets walk through the same slices; a volume's embeddings must not fill the memory.
    encode = functools.lru_cache(maxsize=64)(lambda k: encode_once(model, image, k, cache=cache, look=look))
    clock = time.perf_counter()
    encode(at or 0)
    run.facts["model"] = {"name": model.name, "fingerprint": model.fingerprint}
    run.facts["encode_seconds"] = round(time.perf_counter() - clock, 4)
    found = [_segment(model, encode, image, at, p, options) for p in prompts]
    run.facts["prompt_seconds"] = [round(f.seconds, 4) for f in found]
    answer = _answer(case, image, at, model, found, with_masks="json" in formats or run.out is None)
    for n, (f, said) in enumerate(zip(found, answer["masks"], strict=True), 1):
        run.say(f"{f.label or f'region {n}'}: {_size(said)}, score {f.score:.3f}")
    if run.out is not None:
        answer["files"] = [p.name for p in _write(run.out, formats, image, at, found, model, answer)]
    run.result = {**answer, "masks": [{k: v for k, v in m.items() if run.out is None or k != "mask"}
                                      for m in answer["masks"]]}  # fmt: skip


def _formats(options: argparse.Namespace, run: Run) -> list[str]:
    names = [name.strip() for name in options.format.split(",") if name.strip()]
    for name in names:
        if name not in FORMATS:
            raise UsageError("no such format", item=name, fix=f"use some of {', '.join(FORMATS)}")
    if run.out is None and not options.json:
        raise UsageError("masks need a folder", fix="give --out DIR (or --json, to have them on stdout)")
    return names


def _one_image(options: argparse.Namespace, run: Run) -> tuple[Case, Image]:
    from vesalius.cli.sources import open_cases

    cases = [case for case in open_cases(options.image, options, run) if case.images]
    if not cases:
        raise BadInputError(
            "no image to segment", item=str(options.image), why="; ".join(why for _, why in run.refused[:3])
        )
    if len(cases) > 1:
        some = ", ".join(str(c.images[0].uri or c.id) for c in cases[:4])
        raise UsageError(
            "more than one image", item=str(options.image), why=f"{len(cases)}: {some}{', ...' * (len(cases) > 4)}",
            fix="give one file, or the folder of one series",
        )  # fmt: skip
    (case,) = cases
    if len(case.images) > 1:
        run.note(f"{options.image}: has {len(case.images)} volumes; the first is segmented")
    return case, case.images[0]


def _slice(options: argparse.Namespace, image: Image, run: Run) -> int | None:
    if image.kind == "2d":
        for flag, given in (("--slice", options.slice is not None), ("--volume", options.volume)):
            if given:
                raise UsageError("the image has no slices", item=flag, why="it is a single picture")
        return None
    depth = (image.shape or image.pixels().shape)[0]
    if options.slice is None:
        run.note(f"slice {depth // 2} of {depth} is taken; --slice says another")
        return int(depth // 2)
    if not 0 <= options.slice < depth:
        raise UsageError("no such slice", item=f"--slice {options.slice}", why=f"there are {depth}, from 0")
    return int(options.slice)


def _plane(image: Image) -> tuple[int, int]:
    height, width = (image.shape or image.pixels().shape)[0 if image.kind == "2d" else 1 :][:2]
    return height, width


def _segment(
    model: Segmenter, encode: Any, image: Image, at: int | None, prompt: Prompt, options: argparse.Namespace
) -> Found:
    import numpy as np

    from vesalius.models.propagate import propagate

    clock = time.perf_counter()
    first = model.segment(encode(at or 0), prompt)
    seconds = time.perf_counter() - clock
    mask, scores = first.mask, {}
    if at is not None:
        depth = (image.shape or image.pixels().shape)[0]
        if options.volume:
            through = propagate(model, encode, depth, at, first, text=prompt.text, lost=options.lost)
            mask = through.mask
            scores = {int(k): round(float(through.scores[k]), 4) for k in np.flatnonzero(~np.isnan(through.scores))}
        else:
            mask = np.zeros((depth, *first.mask.shape), bool)
            mask[at] = first.mask
    return Found(prompt.text, prompt, first.mask, mask, float(first.score), scores, seconds)


def _answer(
    case: Case, image: Image, at: int | None, model: Segmenter, found: Sequence[Found], *, with_masks: bool
) -> dict[str, Any]:
    """What `segmentation.json` holds."""
    shape = list(image.shape or ())
    picture: dict[str, Any] = {"case": case.id, "content_sha256": image.content_hash(), "kind": image.kind}
    picture |= {"shape": shape} | ({} if at is None else {"slice": at})
    masks = []
    for f in found:
        inside = int(f.mask.sum())
        one: dict[str, Any] = {"label": f.label, "score": round(f.score, 4), "prompt": _prompt_dict(f.prompt)}
        one["voxels" if at is not None else "pixels"] = inside
        # Spacing at the detector is not the patient's: areas would come out too large.
        if image.spacing is not None and image.meta.get("spacing_at") != "detector" and image.kind != "video":
            one["mm3" if at is not None else "mm2"] = round(inside * math.prod(image.spacing), 3)
        if f.scores:
            one["slice_scores"] = f.scores
        if with_masks:
            one["mask"] = Mask.from_array(f.mask).to_dict()
        masks.append(one)
    return {
        "schema": SCHEMA,
        "image": picture,
        "model": {"name": model.name, "fingerprint": model.fingerprint},
        "masks": masks,
    }


def _prompt_dict(prompt: Prompt) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if prompt.points:
        out["points"] = [list(p) for p in prompt.points]
    if prompt.box is not None:
        out["box"] = prompt.box.to_dict()
    if prompt.text:
        out["text"] = prompt.text
    return out


def _size(said: dict[str, Any]) -> str:
    count = f"{said['voxels']} voxels" if "voxels" in said else f"{said['pixels']} pixels"
    if "mm3" in said:
        return f"{count} ({said['mm3'] / 1000:.2f} ml)"
    return f"{count} ({said['mm2']:.1f} mm2)" if "mm2" in said else count


def _write(
    folder: Path,
    formats: Sequence[str],
    image: Image,
    at: int | None,
    found: Sequence[Found],
    model: Segmenter,
    answer: dict[str, Any],
) -> list[Path]:
    """Files by number, never by name: a name is what somebody typed."""
    import numpy as np

    from vesalius.io.write import write_nifti, write_png

    written: list[Path] = []
    for n, f in enumerate(found, 1):
        if "png" in formats:
            written.append(write_png(folder / f"mask-{n}.png", f.flat.astype(np.uint8) * 255))
        if "nifti" in formats:
            stack = f.mask[None] if image.kind == "2d" else f.mask
            written.append(write_nifti(folder / f"mask-{n}.nii.gz", stack, image.affine))
    if "png" in formats:
        written.append(write_png(folder / "overlay.png", _overlay(image, at, found)))
    if "seg" in formats:
        from vesalius.io.dicom.seg import Algorithm, Segment, write_seg

        clicked = any(f.prompt.points or f.prompt.box for f in found)
        algorithm = Algorithm(model.name, model.fingerprint[:16], automatic=not clicked)
        segments = [Segment(f.label, f.mask) for f in found]
        written.append(write_seg(folder / "segmentation.dcm", image, segments, algorithm))
    if "json" in formats:
        path = folder / "segmentation.json"
        part = path.with_suffix(".json.part")
        part.write_text(json.dumps(answer, ensure_ascii=False) + "\n", "utf-8")
        written.append(part.replace(path))
    return written


def _overlay(image: Image, at: int | None, found: Sequence[Found]) -> Any:
    """Masks and prompts over the picture; a small one is enlarged by a whole number, or its names would cover it."""
    from vesalius.render.display import to_display, to_rgb
    from vesalius.render.overlay import draw_overlay

    picture = to_rgb(to_display(image.pixels(), image, index=at), str(image.uri or "array"))
    n = max(1, math.ceil(_LEGIBLE / min(picture.shape[:2])))
    boxes = [(f.label, f.prompt.box.scaled(n, n)) for f in found if f.prompt.box is not None]
    points = [(x * n, y * n, label) for x, y, label in found[0].prompt.points]
    masks = [(f.label, f.flat.repeat(n, 0).repeat(n, 1)) for f in found]
    return draw_overlay(picture.repeat(n, 0).repeat(n, 1), masks, boxes, points)
