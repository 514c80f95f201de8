"""`vesalius ground SRC --phrase "..."`: where in an image a phrase points, as boxes, pictures and figures."""

from __future__ import annotations

import argparse
import json
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vesalius.cases import Case, Image
from vesalius.cli.common import Run, add_flags
from vesalius.errors import BadInputError, UsageError, VesaliusError
from vesalius.models.preprocess import U8, display_view

if TYPE_CHECKING:
    from vesalius.models.protocols import Grounding

#: Shorter side of a written picture, so that names can be read on a thumbnail too.
LEGIBLE = 512


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.add_argument("source", type=Path, help="a file, a folder, a case set or a data set")
    parser.add_argument(
        "--phrase", action="append", default=[], metavar="WORDS", help="what to find; may be given several times"
    )
    parser.add_argument(
        "--threshold", type=float, default=0.5, metavar="P",
        help="below this score a phrase counts as not here (default: 0.5; its box is still given)",
    )  # fmt: skip
    parser.add_argument("--index", type=int, metavar="N", help="slice of a volume, frame of a video (default: middle)")
    parser.add_argument(
        "--evaluate", action="store_true",
        help="ask for the phrases of the cases' own boxes, and measure against them with intervals",
    )  # fmt: skip
    parser.add_argument("--layout", default="", help="layout of SRC (default: found out; `files` for plain files)")
    add_flags(parser, "--model", "--device", "--workers", "--limit", "--seed", "--online")


def run(options: argparse.Namespace, run: Run) -> None:
    """Ground every phrase in every case; a bad case is named and the rest goes on."""
    phrases = [p.strip() for p in options.phrase if p.strip()]
    if not phrases and not options.evaluate:
        raise UsageError("ground what?", fix='give --phrase "...", or --evaluate for the phrases of the cases')
    if not 0 <= options.threshold <= 1:
        raise UsageError("not a score", item=f"--threshold {options.threshold}", fix="give 0 to 1")
    from vesalius.cli.sources import open_cases
    from vesalius.models import load
    from vesalius.training.grounding import targets_of

    model: Any = load(options.model, device=options.device, online=run.online, can="ground")
    run.facts["model"] = {"name": model.name}
    cases = open_cases(options.source, options, run, layout=options.layout)
    results: list[dict[str, Any]] = []
    pairs: list[_Pair] = []
    for case, picture in _pictures(cases, options, run):
        truth = {}
        if options.evaluate:
            targets, _ = targets_of(case, picture.shape[:2], index=_slice(case.images[0], options.index))
            truth = {t.words[0]: t for t in targets}
        found = model.ground(Image(array=picture), [*phrases, *(w for w in truth if w not in phrases)])
        result = {"id": case.id, "shape": list(picture.shape[:2]), "phrases": [_plain(g, options) for g in found]}
        results.append(result)
        _say(run, result)
        for g in found:
            if g.phrase in truth:
                target = truth[g.phrase]
                height, width = picture.shape[:2]
                box = np.asarray(target.box) * (width, height, width, height)
                pairs.append(_Pair(target.name, case.group, [list(_corners(b)) for b in g.boxes], box.tolist()))
        if run.out is not None:
            _draw(picture, found, options.threshold).save(run.out / f"{_file_name(case.id, len(results))}.png")
    run.result = {"threshold": options.threshold, "cases": results}
    if options.evaluate:
        run.result["figures"] = _figures(run, pairs, options.seed)
    if run.out is not None:
        text = json.dumps(run.result, indent=1, ensure_ascii=False)
        (run.out / "grounding.json").write_text(text + "\n", "utf-8")


def _pictures(cases: Any, options: argparse.Namespace, run: Run) -> Iterator[tuple[Case, U8]]:
    """Each case's first image as a screen shows it, decoded in bounded child processes."""
    from vesalius.io.pool.pool import DecodePool, default_workers

    owners: deque[Case] = deque()

    def images() -> Iterator[Image]:
        for case in cases:
            if case.images:
                owners.append(case)
                yield case.images[0]
            else:
                run.refuse(case.id, "the case has no image")

    show = partial(display_view, index=options.index)
    if options.workers == 0:
        results: Iterator[U8 | VesaliusError] = (_shown(show, image) for image in images())
        yield from _usable(owners, results, run)
        return
    with DecodePool(options.workers or default_workers()) as pool:
        yield from _usable(owners, (result for _, result in pool.map(show, images())), run)


def _shown(show: Any, image: Image) -> U8 | VesaliusError:
    try:
        picture: U8 = show(image)
    except VesaliusError as error:
        return error
    except (ValueError, TypeError, OSError, ArithmeticError, LookupError) as error:
        return BadInputError("cannot read image", item=str(image.uri or "array"), why=str(error))
    return picture


def _usable(owners: deque[Case], results: Iterator[U8 | VesaliusError], run: Run) -> Iterator[tuple[Case, U8]]:
    try:
        for result in results:
            case = owners.popleft()
            if isinstance(result, VesaliusError):
                run.refuse(case.id, result)
            else:
                yield case, result
    except VesaliusError as error:
        run.refuse(error.item or "the rest of the cases", error)


def _slice(image: Image, asked: int | None) -> int | None:
    """The slice that `display_view` shows; None of a picture."""
    if image.kind == "2d" or asked is not None:
        return None if image.kind == "2d" else asked
    return int((image.shape or image.pixels().shape)[0]) // 2


def _corners(box: Any) -> tuple[float, float, float, float]:
    return box.x0, box.y0, box.x1, box.y1


def _plain(found: Grounding, options: argparse.Namespace) -> dict[str, Any]:
    """One phrase's answer as plain data; boxes in pixels of the image, `[x0, y0, x1, y1)`."""
    return {
        "phrase": found.phrase,
        "here": bool(found.scores and found.scores[0] >= options.threshold),
        "boxes": [[round(v, 2) for v in _corners(box)] for box in found.boxes],
        "scores": [round(s, 4) for s in found.scores],
    }


def _say(run: Run, result: dict[str, Any]) -> None:
    run.say(result["id"])
    for row in result["phrases"]:
        box = " ".join(f"{v:.0f}" for v in row["boxes"][0]) if row["boxes"] else "no box"
        score = f"{row['scores'][0]:.2f}" if row["scores"] else "-"
        run.say(f"  {row['phrase']}: [{box}] score {score}{'' if row['here'] else '  (not here)'}")


def _draw(picture: U8, found: Sequence[Grounding], threshold: float) -> Any:
    """Panels in rows of three: all boxes on the picture, then the heat of each phrase with its box."""
    from PIL import Image as Pillow

    from vesalius.render.heat import draw_heat
    from vesalius.render.overlay import draw_overlay

    height, width = picture.shape[:2]
    scale = max(1.0, LEGIBLE / min(height, width))
    size = (round(width * scale), round(height * scale))
    large: U8 = np.asarray(Pillow.fromarray(picture).resize(size, Pillow.Resampling.BICUBIC))
    boxed = [g for g in found if g.boxes]
    named = [(_caption(g, threshold), g.boxes[0].scaled(scale, scale)) for g in boxed]
    here = [entry for entry, g in zip(named, boxed, strict=True) if g.scores[0] >= threshold]
    panels = [draw_overlay(large, [], here)]
    panels += [
        draw_overlay(draw_heat(large, g.heat), [], [entry])
        for entry, g in zip(named, boxed, strict=True)
        if g.heat is not None
    ]
    columns = min(3, len(panels))
    sheet = np.full((-(-len(panels) // columns) * size[1], columns * size[0], 3), 255, np.uint8)
    for i, panel in enumerate(panels):
        y, x = i // columns * size[1], i % columns * size[0]
        sheet[y : y + size[1], x : x + size[0]] = panel
    return Pillow.fromarray(sheet)


def _caption(found: Grounding, threshold: float) -> str:
    return f"{found.phrase} {found.scores[0]:.2f}" + ("" if found.scores[0] >= threshold else ", not here")


def _file_name(case_id: str, number: int) -> str:
    """A name for a case's picture that is a plain file name and, by its number, unique."""
    return f"{number:04d}-{re.sub(r'[^A-Za-z0-9._-]+', '-', case_id)[-60:].strip('.-') or 'case'}"


@dataclass(frozen=True)
class _Pair:
    """One phrase with its predicted boxes and true box, in pixels."""

    name: str
    group: str
    boxes: list[list[float]]
    truth: list[float]


def _figures(run: Run, pairs: Sequence[_Pair], seed: int) -> dict[str, Any]:
    """Mean IoU and accuracy at IoU 0.5, over all phrases and for each name, with intervals over patients."""
    from vesalius.metrics.detection.grounding import single_ious
    from vesalius.metrics.statistics.bootstrap import bootstrap_mean

    if not pairs:
        raise UsageError("nothing to measure against", why="no case has a box that a phrase names alone")
    iou = single_ious([p.boxes for p in pairs], [p.truth for p in pairs])

    def measured(at: npt.NDArray[np.int64]) -> dict[str, Any]:
        groups = [pairs[i].group for i in at]
        out: dict[str, Any] = {"n": len(at), "patients": len(set(groups))}
        for name, values in (("mean_iou", iou[at]), ("accuracy_50", (iou[at] >= 0.5).astype(float))):
            found = bootstrap_mean(values, groups=groups, resamples=2000, seed=seed)
            out[name] = {"value": found.estimate, "low": found.interval.low, "high": found.interval.high}
        return out

    names = sorted({p.name for p in pairs})
    figures = {"all": measured(np.arange(len(pairs)))} | {
        n: measured(np.flatnonzero([p.name == n for p in pairs])) for n in names
    }
    rows = [
        (name, f["n"], f["patients"], *(f"{m['value']:.3f} [{m['low']:.3f}, {m['high']:.3f}]" for m in
         (f["mean_iou"], f["accuracy_50"])))
        for name, f in figures.items()
    ]  # fmt: skip
    run.say("against the cases' own boxes:")
    run.table(rows, ("what", "n", "patients", "mean IoU", "accuracy at IoU 0.5"))
    return figures
