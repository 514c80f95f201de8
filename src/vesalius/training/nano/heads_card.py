"""What nano's heads are worth, for the model card: figures that their training stored beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vesalius.models.manifest import Manifest, describe_files
from vesalius.models.nano import detect as nano_detect
from vesalius.models.nano import ground as nano_ground
from vesalius.models.nano import segment as nano_segment

#: Files of figures beside the heads.
GROUND_FIGURES, SEGMENT_FIGURES = "head-ground.json", "head-segment.json"
#: What each head lets the model do.
CAPABILITIES = {nano_ground.FILE: "ground", nano_detect.FILE: "ground", nano_segment.FILE: "segment"}
#: Families of figures that are real pictures; all others are phantoms.
_REAL = ("covid-cc-by", "cbc")
#: Real films whose labels say what is present, but not where; findings on fewer are left out.
_FILMS, _FEWEST = "nih-cxr14", 5

_GROUND = """\
## Boxes for phrases

`{file}`, on the frozen tower; trained on {phantoms} phantoms and {real_cases} real cases. IoU of the one box with the
truth, and the share of at least 0.5; *mean box* is what the average box of that name gives without looking. Held-out
cases, 95 % intervals by bootstrap over patients. A box is always given: a score below a half means "not here".

| on | n (patients) | mean IoU | IoU >= 0.5 | mean box | AUROC of the score, present against absent |
| --- | --- | --- | --- | --- | --- |"""
_BOXES = """\
## Every instance, and how many

`{file}`, on the model's own tower at {side} px; trained on {pictures} pictures of part `nano` for {steps} steps,
figures on part `{part}`, 95 % intervals by bootstrap over patients. *IoU* is that of the best-scored box with the
instance it fits best, *mean box* what the average box of that name gives without looking, *one box* the same IoU of
`{one}`; *AP50* is average precision over all instances. The error of the count (instances above the
name's threshold) stands beside that of the *usual* number, on pictures that show the name; *in vain*: of pictures that
surely do not show it, those in which an instance was found. A name with "no" draws no box, only a heat map: on part
`validation` its boxes did not beat the mean box.{flatters}

| name | box | pictures (patients) | instances | IoU | mean box | one box | AP50 | count error | usual | in vain |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"""
_FLATTERS = """
Thresholds and names were chosen on that same part, which flatters them."""
_SEGMENT = """\
## Masks for clicks, boxes and names

`{file}`, on the frozen tower at {side} px; trained on phantoms of every study, on real masks, and on
unnamed regions of real pictures. Mean Dice at the picture's own size on held-out cases, 95 % intervals by bootstrap
over patients. Each click after the first falls where the mask is wrong. Of a volume, the slice where the structure is
largest.

| target | n (patients) | name | box | 1 click | 3 clicks | 5 clicks |
| --- | --- | --- | --- | --- | --- | --- |"""


def capabilities_of(folder: Path) -> tuple[str, ...]:
    """What the heads in a nano folder let it do."""
    return tuple(dict.fromkeys(able for file, able in CAPABILITIES.items() if (folder / file).is_file()))


def record(folder: Path) -> Manifest:
    """Bring a nano folder's manifest up to what lies in it: files with their sums, and what the heads let it do."""
    manifest = Manifest.read(folder)
    able = ("embed", "text", *capabilities_of(folder))
    new = Manifest(**{**vars(manifest), "files": describe_files(folder), "capabilities": able})
    new.write(folder)
    return new


def heads_section(folder: Path) -> list[str]:
    """Lines of the card about the heads that are there."""
    lines: list[str] = []
    ground, segment = (_read(folder / name) for name in (GROUND_FIGURES, SEGMENT_FIGURES))
    if ground is not None:
        lines += [*_GROUND.format(file=nano_ground.FILE, **ground).splitlines(), *_ground_rows(ground["held_out"]), ""]
        lines += [*_films(ground["held_out"].get(_FILMS, {})), ""]
    if (boxes := _read(folder / nano_detect.FIGURES)) is not None:
        part = "test" if "held_out" in boxes else "validation"
        text = _BOXES.format(
            file=nano_detect.FILE, side=nano_detect.SIDE, pictures=boxes["pictures"], steps=boxes["steps"], part=part,
            one=nano_ground.FILE, flatters="" if part == "test" else _FLATTERS,
        )  # fmt: skip
        lines += [*text.splitlines(), *_box_rows(boxes["held_out" if part == "test" else part], boxes["names"]), ""]
    if segment is not None:
        text = _SEGMENT.format(file=nano_segment.FILE, side=nano_segment.SIDE)
        lines += [*text.splitlines(), *(_segment_row(k, v) for k, v in segment["held_out"].items()), ""]
    return lines


def _read(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


def _ground_rows(held: Mapping[str, Any]) -> list[str]:
    out = []
    for group, figures in sorted(held.items(), key=lambda kv: (kv[0] not in _REAL, kv[0])):
        if group == _FILMS:
            continue
        a, there = figures["all"], figures.get("presence", {}).get("auroc")
        where = group if group in _REAL else f"phantom {group.replace('_', ' ')}"
        out.append(
            f"| {where} | {a['n']} ({a['patients']}) | {_interval(a['mean_iou'])} | {_interval(a['accuracy_50'])} "
            f"| {a['mean_box']:.2f} | {_interval(there) if there else 'not measured'} |"
        )
    return out


def _box_rows(figures: Mapping[str, Any], names: Mapping[str, Any]) -> list[str]:
    out = []
    for name, row in sorted(figures.items(), key=lambda kv: -kv[1]["n"]):
        drawn, absent = "yes" if names[name]["boxes"] else "no", row["absent"]
        one = _interval(row["one_box"]) if "one_box" in row else ""
        out.append(
            f"| {name} | {drawn} | {row['n']} ({row['patients']}) | {row['instances']} | {_interval(row['iou'])} "
            f"| {row['mean_box']:.2f} | {one} | {row['ap50']:.2f} | {_interval(row['count_error'])} "
            f"| {row['constant_error']:.2f} | {absent['called']} of {absent['n']} |"
        )
    return out


def _films(findings: Mapping[str, Any]) -> list[str]:
    """What the score says of findings on real films, for which there is no box: labels mined from reports."""
    rows = [
        f"{name} {_interval(f['auroc'])} ({f['present']} of {f['n']})" for name, f in findings.items()
        if "auroc" in f and f["present"] >= _FEWEST
    ]  # fmt: skip
    if not rows:
        return []
    return [
        f"Findings on held-out real films ({_FILMS}; no boxes, labels mined from reports): AUROC of the score "
        f"{'; '.join(rows)}.",
        "Where an interval holds 0.5 a score says nothing of that finding on a real film: phantoms taught it.",
    ]


def _segment_row(name: str, figures: Mapping[str, Any]) -> str:
    cells = (_interval(figures[key]) for key in ("name", "box", "click 1", "click 3", "click 5"))
    return f"| {name} | {figures['n']} ({figures['patients']}) | {' | '.join(cells)} |"


def _interval(values: Sequence[float]) -> str:
    return f"{values[0]:.2f}" + (f" [{values[1]:.2f}, {values[2]:.2f}]" if len(values) == 3 else "")
