"""`segment`: masks of what clicks, a box or a name point at, as PNG, JSON, NIfTI and DICOM SEG."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vesalius.errors import BadInputError, UsageError
from vesalius.job import Job
from vesalius.verbs.frame import Result, arg, verb
from vesalius.verbs.frame.arguments import Cases, Numbers
from vesalius.verbs.frame.files import write_json
from vesalius.verbs.frame.results import hidden
from vesalius.verbs.frame.shared import WithModel

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from vesalius.cases import Case, Image
    from vesalius.models.protocols import Prompt, Segmenter

    BoolArray = npt.NDArray[np.bool_]

#: Version of `segmentation.json`.
SCHEMA = 2
#: Short side in pixels below which an overlay is enlarged.
_LEGIBLE = 256
FORMATS = ("png", "json", "nifti", "seg")
#: What is said of a score that nobody has held against real masks.
UNCALIBRATED = "the model's own guess, not calibrated: it does not tell a right mask from a wrong one"


@dataclass(frozen=True)
class Segment(WithModel):
    """What to segment in which picture."""

    image: Cases = arg("a picture, a DICOM file, the folder of one series, a volume", positional=True)
    point: tuple[Numbers, ...] = arg(
        "a click in pixels (x to the right, y down); label 1 inside the target (default), 0 outside", (),
        metavar="X,Y[,LABEL]",
    )  # fmt: skip
    box: tuple[Numbers, ...] = arg("a box around the target", (), metavar="X0,Y0,X1,Y1")
    text: tuple[str, ...] = arg("the target's name; each of several is a target of its own", (), metavar="NAME")
    slice: int | None = arg("slice of a volume, from 0 (default: the middle one)", None, metavar="K")
    volume: bool = arg("follow the target from that slice through the volume", False)
    lost: float = arg("with --volume: end below this score", 0.5, metavar="IOU")
    format: tuple[str, ...] = arg("what to write into --out", ("png", "json"), choices=FORMATS, separator=",")
    measure: bool = arg(
        "measure the masks: area, volume, diameters, circumference; in mm where the spacing is known", False
    )
    cache: Path | None = arg("keep embeddings there: the next prompt is faster", None, metavar="DIR")


@dataclass(frozen=True)
class Target(Result):
    """One target's mask: its size, and with `--json` or in `segmentation.json` the mask itself as run lengths."""

    label: str
    prompt: Mapping[str, Any]
    score: float | None = None
    uncalibrated_score: float | None = None
    score_note: str | None = None
    pixels: int | None = None
    voxels: int | None = None
    mm2: float | None = None
    mm3: float | None = None
    measures: Mapping[str, Any] | None = None
    slice_scores: Mapping[str, float] | None = None
    mask: Mapping[str, Any] | None = None

    def size(self) -> str:
        """How much it is."""
        count = f"{self.voxels} voxels" if self.voxels is not None else f"{self.pixels} pixels"
        if self.mm3 is not None:
            return f"{count} ({self.mm3 / 1000:.2f} ml)"
        return f"{count} ({self.mm2:.1f} mm2)" if self.mm2 is not None else count


@dataclass(frozen=True)
class Segmented(Result):
    """Every target's mask, and the file that the picture comes from."""

    schema: int
    image: Mapping[str, Any]
    model: Mapping[str, str]
    masks: tuple[Target, ...]
    files: tuple[str, ...] | None = None
    arrays: tuple[Any, ...] = hidden(default=())

    def lines(self) -> Iterator[str]:
        """One a target. A score is printed only where the model says what it is worth."""
        yield str(self.image["file"] or self.image["case"])
        for n, target in enumerate(self.masks, 1):
            score = "" if target.score is None else f", score {target.score:.3f}"
            yield f"{target.label or f'region {n}'}: {target.size()}{score}"
            if target.measures is not None:
                yield f"  {_said(target.measures)}"
        if self.files is None:
            yield "no mask was written: give --out DIR (or --json, to have them on stdout)"


@dataclass(frozen=True, eq=False)
class _Found:
    """One target's answer: the mask of the prompted picture or slice, and in the image's own shape."""

    label: str
    prompt: Prompt
    flat: BoolArray
    mask: BoolArray
    score: float
    scores: dict[str, float]
    seconds: float


@verb("segment", "ask", uses=("device", "workers", "online"), reads_only=True, long=True)
def segment(args: Segment, job: Job) -> Segmented:
    """Segment what clicks, a box or a name point at."""
    from dataclasses import replace

    from vesalius.models.prompting import check_inside, read_prompts

    prompts = read_prompts(args.point, args.box, args.text)
    if not 0 <= args.lost <= 1:
        raise UsageError("a score is between 0 and 1", item=f"--lost {args.lost:g}")
    case, image = _one_image(args, job)
    at = _slice(args, image, job)
    from vesalius.io.decode import decode_one, held

    image = decode_one(image, held, job)
    for prompt in prompts:
        check_inside(prompt, _plane(image))
    if "seg" in args.format:
        from vesalius.io.dicom.seg import require_carrier

        require_carrier(image)
    from vesalius.models import load

    model: Any = args.model
    if isinstance(model, str):
        model = load(model, device=job.device, online=job.online, can="segment")
    if note := getattr(model, "note", ""):
        job.note(note)
    encode = _encoder(args, model, image)
    clock = time.perf_counter()
    encode(at or 0)
    job.facts["model"] = {"name": model.name, "fingerprint": model.fingerprint}
    job.facts["encode_seconds"] = round(time.perf_counter() - clock, 4)
    found = [_segment(model, encode, image, at, p, args) for p in job.progress(prompts, len(prompts), "segmenting")]
    job.facts["prompt_seconds"] = [round(f.seconds, 4) for f in found]
    answer = Segmented(
        SCHEMA,
        _picture(case, image, at),
        {"name": model.name, "fingerprint": model.fingerprint},
        tuple(_target(f, image, at, bool(getattr(model, "calibrated_scores", False)), args.measure) for f in found),
        arrays=tuple(f.mask for f in found),
    )
    if args.out is None:
        return answer
    files = _write(args.out, args.format, image, at, found, model, answer)
    masks = tuple(replace(t, mask=None) for t in answer.masks)
    return replace(answer, files=tuple(p.name for p in files), masks=masks)


def _one_image(args: Segment, job: Job) -> tuple[Case, Image]:
    from vesalius.cases import Case, Image
    from vesalius.sources.opening import open_cases

    if isinstance(args.image, Image):
        return Case("image", images=(args.image,)), args.image
    given = [args.image] if isinstance(args.image, Case) else args.image
    cases = [case for case in open_cases(given, job) if case.images]
    name = str(args.image) if isinstance(args.image, Path) else "image"
    if not cases:
        raise BadInputError("no image to segment", item=name, why="; ".join(r.why for r in job.refused[:3]))
    if len(cases) > 1:
        some = ", ".join(c.file or c.id for c in cases[:4])
        raise UsageError(
            "more than one image", item=name, why=f"{len(cases)}: {some}{', ...' * (len(cases) > 4)}",
            fix="give one file, or the folder of one series",
        )  # fmt: skip
    (case,) = cases
    if len(case.images) > 1:
        job.note(f"{name}: has {len(case.images)} volumes; the first is segmented")
    return case, case.images[0]


def _slice(args: Segment, image: Image, job: Job) -> int | None:
    if image.kind == "2d":
        for flag, given in (("--slice", args.slice is not None), ("--volume", args.volume)):
            if given:
                raise UsageError("the image has no slices", item=flag, why="it is a single picture")
        return None
    depth = (image.shape or image.pixels().shape)[0]
    if args.slice is None:
        job.note(f"slice {depth // 2} of {depth} is taken; --slice says another")
        return int(depth // 2)
    if not 0 <= args.slice < depth:
        raise UsageError("no such slice", item=f"--slice {args.slice}", why=f"there are {depth}, from 0")
    return args.slice


def _plane(image: Image) -> tuple[int, int]:
    height, width = (image.shape or image.pixels().shape)[0 if image.kind == "2d" else 1 :][:2]
    return height, width


def _encoder(args: Segment, model: Segmenter, image: Image) -> Callable[[int], Any]:
    """A slice's embedding: kept for the other targets (not all of a large volume's), and in `--cache`."""
    import functools

    from vesalius.models.embedding_cache import EmbeddingCache, encode_once, look_of

    cache = EmbeddingCache(args.cache) if args.cache else None
    look = look_of(image) if cache else ""
    return functools.lru_cache(maxsize=64)(lambda k: encode_once(model, image, k, cache=cache, look=look))


def _segment(
    model: Segmenter, encode: Callable[[int], Any], image: Image, at: int | None, prompt: Prompt, args: Segment
) -> _Found:
    import numpy as np

    from vesalius.models.propagate import propagate

    clock = time.perf_counter()
    first = model.segment(encode(at or 0), prompt)
    seconds = time.perf_counter() - clock
    mask: BoolArray = first.mask
    scores: dict[str, float] = {}
    if at is not None:
        depth = (image.shape or image.pixels().shape)[0]
        if args.volume:
            through = propagate(model, encode, depth, at, first, text=prompt.text, lost=args.lost)
            mask = through.mask
            scores = {str(k): round(float(through.scores[k]), 4) for k in np.flatnonzero(~np.isnan(through.scores))}
        else:
            mask = np.zeros((depth, *first.mask.shape), bool)
            mask[at] = first.mask
    return _Found(prompt.text, prompt, first.mask, mask, float(first.score), scores, seconds)


def _picture(case: Case, image: Image, at: int | None) -> dict[str, Any]:
    picture: dict[str, Any] = {"case": case.id, "file": case.file, "content_sha256": image.content_hash()}
    picture |= {"kind": image.kind, "shape": list(image.shape or ())}
    return picture | ({} if at is None else {"slice": at})


def _target(f: _Found, image: Image, at: int | None, calibrated: bool, measured: bool) -> Target:
    from vesalius.cases.geometry import Mask

    inside, score = int(f.mask.sum()), round(f.score, 4)
    facts: dict[str, Any] = (
        {"score": score} if calibrated else {"uncalibrated_score": score, "score_note": UNCALIBRATED}
    )
    facts["voxels" if at is not None else "pixels"] = inside
    # Spacing at the detector is not the patient's: areas would come out too large.
    known = image.spacing is not None and image.meta.get("spacing_at") != "detector" and image.kind != "video"
    spacing = image.spacing if known else None
    if spacing is not None:
        facts["mm3" if at is not None else "mm2"] = round(inside * math.prod(spacing), 3)
    if measured:
        facts["measures"] = _measures(f.mask, spacing)
    return Target(
        f.label, _prompt(f.prompt), slice_scores=f.scores or None, mask=Mask.from_array(f.mask).to_dict(), **facts
    )


def _measures(mask: BoolArray, spacing: Sequence[float] | None) -> dict[str, Any] | None:
    """Sizes of a mask, or None where it is empty."""
    from vesalius.metrics.segmentation.sizes import measure

    found = measure(mask, spacing)
    if found is None:
        return None
    return {k: round(v, 3) if isinstance(v, float) else v for k, v in found.to_dict().items()}


def _said(sizes: Mapping[str, Any]) -> str:
    """A line about sizes."""
    unit = sizes["unit"]
    parts = [f"volume {sizes['volume']:.1f} {unit}3"] if "volume" in sizes else []
    parts += [f"area {sizes['area']:.1f} {unit}2", f"longest {sizes['longest']:.1f} {unit}"]
    parts += [f"shortest {sizes['shortest']:.1f} {unit}", f"circumference {sizes['circumference']:.1f} {unit}"]
    where = f" (in slice {sizes['slice']})" if "slice" in sizes else ""
    return ", ".join(parts) + where + ("" if unit == "mm" else "; the spacing is not known")


def _prompt(prompt: Prompt) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if prompt.points:
        out["points"] = [list(p) for p in prompt.points]
    if prompt.box is not None:
        out["box"] = prompt.box.to_dict()
    if prompt.text:
        out["text"] = prompt.text
    return out


def _write(
    folder: Path,
    formats: Sequence[str],
    image: Image,
    at: int | None,
    found: Sequence[_Found],
    model: Segmenter,
    answer: Segmented,
) -> list[Path]:
    """Files by number, never by name: a name is what somebody typed."""
    import numpy as np

    from vesalius.io.write import write_mask, write_png

    written: list[Path] = []
    for n, f in enumerate(found, 1):
        if "png" in formats:
            written.append(write_png(folder / f"mask-{n}.png", f.flat.astype(np.uint8) * 255))
        if "nifti" in formats:
            written.append(write_mask(folder / f"mask-{n}.nii.gz", f.mask, image))
    if "png" in formats:
        written.append(write_png(folder / "overlay.png", _overlay(image, at, found)))
    if "seg" in formats:
        from vesalius.io.dicom.seg import Algorithm, write_seg
        from vesalius.io.dicom.seg import Segment as SegSegment

        clicked = any(f.prompt.points or f.prompt.box for f in found)
        algorithm = Algorithm(model.name, model.fingerprint[:16], automatic=not clicked)
        segments = [SegSegment(f.label, f.mask) for f in found]
        written.append(write_seg(folder / "segmentation.dcm", image, segments, algorithm))
    if "json" in formats:
        written.append(write_json(folder / "segmentation.json", answer.to_dict()))
    return written


def _overlay(image: Image, at: int | None, found: Sequence[_Found]) -> Any:
    """Masks and prompts over the picture; a small one is enlarged by a whole number, or its names would cover it."""
    from vesalius.render.display import to_display, to_rgb
    from vesalius.render.overlay import draw_overlay

    picture = to_rgb(to_display(image.pixels(), image, index=at), str(image.uri or "array"))
    n = max(1, math.ceil(_LEGIBLE / min(picture.shape[:2])))
    boxes = [(f.label, f.prompt.box.scaled(n, n)) for f in found if f.prompt.box is not None]
    points = [(x * n, y * n, label) for x, y, label in found[0].prompt.points]
    masks = [(f.label, f.flat.repeat(n, 0).repeat(n, 1)) for f in found]
    return draw_overlay(picture.repeat(n, 0).repeat(n, 1), masks, boxes, points)
