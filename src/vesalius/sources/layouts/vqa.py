"""Questions and answers about images: VQA-RAD, SLAKE, LLaVA conversations."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vesalius.cases import Box, Case, Image, Question, Region
from vesalius.errors import BadInputError, VesaliusError
from vesalius.sources.layouts.common import image_of, pick, source_of, split_name
from vesalius.sources.layouts.files import FileIndex, Refused, read_json, stem_of
from vesalius.sources.layouts.layout import Layout
from vesalius.sources.layouts.masks import class_regions
from vesalius.sources.layouts.tabular import reason
from vesalius.text.modalities import modality_code

_ORGANS = {"HEAD": "head", "CHEST": "chest", "ABD": "abdomen"}
#: Names of LLaVA-Med's `domain` to DICOM modality codes.
_DOMAINS = {"chest_xray": "DX", "ct_scan": "CT", "mri": "MR", "histology": "SM", "gross": "XC"}
_MAX_LINE = 16 * 2**20


def read_vqa_rad(layout: Layout, folder: Path, refused: Refused) -> Iterator[Case]:
    """One case an image; `phrase_type` says the official part, rephrased questions share their link as a tag."""
    index = FileIndex(folder, suffixes=(".jpg",))
    groups: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for file in pick(folder, "*.json", "*/*.json"):
        for where, entry in entries(file, refused):
            name = entry.get("image_name")
            if not isinstance(name, str) or not entry.get("question"):
                refused.append((where, "it names no image or asks no question"))
                continue
            groups.setdefault(name, []).append((where, entry))
    for name, own in groups.items():
        try:
            path = index.find(name)
        except VesaliusError as error:
            refused += [(where, reason(error)) for where, _ in own]
            continue
        organ = _ORGANS.get(str(own[0][1].get("image_organ", "")).upper(), "")
        questions = []
        for where, entry in own:
            part = "test" if str(entry.get("phrase_type", "")).startswith("test") else "train"
            tags = (
                str(entry.get("answer_type", "")).strip().lower(),
                str(entry.get("question_type", "")).strip(),
                part,
            )
            questions.append(_question(layout, entry, where, tags, refused))
        parts = {q.tags[-1] for q in questions if q}
        key = stem_of(name)
        yield Case(
            id=f"{layout.name}/{key}",
            patient=f"{layout.name}/{key}",
            images=(image_of(layout, path, body_part=organ),),
            questions=tuple(q for q in questions if q),
            # Train and test questions of VQA-RAD share images, so an image of both has no part of its own.
            source=source_of(layout, key, parts.pop() if len(parts) == 1 else ""),
        )


def read_slake(layout: Layout, folder: Path, refused: Refused) -> Iterator[Case]:
    """One case an image: questions in English and Chinese, boxes of `detection.json`, masks named by `mask.txt`."""
    index = FileIndex(folder, ("imgs", "."))
    names = _mask_names(folder, refused)
    groups: dict[str, tuple[str, list[tuple[str, Mapping[str, Any]]]]] = {}
    for file in pick(folder, "*.json"):
        for where, entry in entries(file, refused):
            name = entry.get("img_name")
            if not isinstance(name, str) or not entry.get("question"):
                refused.append((where, "it names no image or asks no question"))
                continue
            groups.setdefault(name, (split_name(file.stem), []))[1].append((where, entry))
    for name, (split, own) in groups.items():
        try:
            path = index.find(name)
        except VesaliusError as error:
            refused += [(where, reason(error)) for where, _ in own]
            continue
        about = own[0][1]
        questions = [
            _question(
                layout,
                entry,
                where,
                (str(entry.get("answer_type", "")).lower(), str(entry.get("content_type", ""))),
                refused,
                language=str(entry.get("q_lang") or "en"),
            )
            for where, entry in own
        ]
        key = path.parent.name
        image = image_of(
            layout,
            path,
            modality=modality_code(str(about.get("modality", ""))) or "",
            body_part=str(about.get("location", "")).lower().replace("_", " "),
        )
        yield Case(
            id=f"{layout.name}/{key}",
            patient=f"{layout.name}/{key}",
            images=(image,),
            regions=tuple(_slake_regions(layout, path.parent, names, refused)),
            questions=tuple(q for q in questions if q),
            source=source_of(layout, key, split),
        )


def _slake_regions(layout: Layout, folder: Path, names: Mapping[int, str], refused: Refused) -> list[Region]:
    found: list[Region] = []
    boxes = folder / "detection.json"
    if boxes.is_file() and not boxes.is_symlink():
        where = f"{folder.name}/{boxes.name}"
        for place, entry in entries(boxes, refused):
            for label, values in entry.items():
                try:
                    x, y, w, h = (float(v) for v in values)
                    found.append(Region(Box.from_xywh(x, y, w, h), label, granularity=layout.granularity))
                except (TypeError, ValueError, OverflowError, VesaliusError) as error:
                    at = place.partition("[")[2]
                    refused.append(
                        (f"{where}[{at}", f"{label[:60]}: not a box of x, y, width, height ({reason(error)})")
                    )
    mask = folder / "mask.png"
    if names and mask.is_file() and not mask.is_symlink():
        try:
            found += class_regions(mask, names, granularity=layout.granularity, refused=refused)
        except VesaliusError as error:
            refused.append((f"{folder.name}/{mask.name}", reason(error)))
    return found


def _mask_names(folder: Path, refused: Refused) -> dict[int, str]:
    found: dict[int, str] = {}
    for file in sorted(folder.glob("mask.txt")):
        for number, line in enumerate(file.read_text(encoding="utf-8-sig", errors="replace").splitlines(), 1):
            value, colon, name = line.partition(":")
            if colon and value.strip().isdecimal():
                found[int(value)] = name.strip()
            elif line.strip():
                refused.append((f"{file.name}:{number}", "it is not a line like 1:Liver"))
    return found


def read_llava(layout: Layout, folder: Path, refused: Refused) -> Iterator[Case]:
    """One case an entry: each turn of the human is a question, the model's reply its answer."""
    index = FileIndex(folder, ("images", "."))
    seen: set[str] = set()
    for file in pick(folder, "*.json", "*.jsonl"):
        for number, (where, entry) in enumerate(entries(file, refused)):
            turns = entry.get("conversations", entry.get("conversatons"))
            if not isinstance(turns, list):
                refused.append((where, "it has no conversations"))
                continue
            key = str(entry.get("id") or entry.get("image") or f"{file.stem}-{number}")
            if key in seen:
                refused.append((where, f"the id {key[:100]} is there already"))
                continue
            try:
                images = _llava_images(layout, index, entry)
                questions = _turns(turns, key, layout)
            except (VesaliusError, ValueError) as error:
                refused.append((where, reason(error)))
                continue
            seen.add(key)
            yield Case(
                id=f"{layout.name}/{key}",
                images=images,
                questions=questions,
                source=source_of(layout, key, split_name(file.stem)),
            )


def _llava_images(layout: Layout, index: FileIndex, entry: Mapping[str, Any]) -> tuple[Image, ...]:
    named = entry.get("image", [])
    domain = entry.get("domain")
    modality = ""
    if isinstance(domain, dict):
        modality = next((code for key, code in _DOMAINS.items() if domain.get(key) is True), "")
    names = named if isinstance(named, list) else [named]
    return tuple(image_of(layout, index.find(str(name)), modality=modality) for name in names if name)


def _turns(turns: list[Any], key: str, layout: Layout) -> tuple[Question, ...]:
    questions: list[Question] = []
    asked: str | None = None
    for turn in turns:
        if not isinstance(turn, dict) or not isinstance(turn.get("value"), str):
            raise ValueError("a turn is not an object with a text in `value`")
        text = turn["value"].replace("<image>", "").strip()
        who = str(turn.get("from"))
        if who in {"human", "user"}:
            asked = text
        elif who in {"gpt", "assistant"} and asked is not None:
            questions.append(Question(asked, text, id=f"{layout.name}/{key}/{len(questions)}"))
            asked = None
        elif who != "system":
            raise ValueError(f"a turn is from {who[:40]!r}, after no question")
    if not questions:
        raise ValueError("no question is answered")
    return tuple(questions)


def _question(
    layout: Layout,
    entry: Mapping[str, Any],
    where: str,
    tags: tuple[str, ...],
    refused: Refused,
    *,
    language: str = "en",
) -> Question | None:
    if entry.get("answer") is None:
        refused.append((where, "the question has no answer"))
        return None
    return Question(
        str(entry["question"]).strip(),
        str(entry["answer"]).strip(),
        tags=tuple(t for t in tags if t),
        id=f"{layout.name}/{entry.get('qid', where)}",
        language=language,
    )


def entries(file: Path, refused: Refused) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The objects of a JSON list, or of a file of JSON lines, each with its place; others are named and passed by."""
    if file.name.endswith((".jsonl", ".jsonl.gz")):
        yield from _json_lines(file, refused)
        return
    try:
        data = read_json(file)
    except VesaliusError as error:
        refused.append((file.name, reason(error)))
        return
    if not isinstance(data, list):
        refused.append((file.name, "it is not a list"))
        return
    for number, entry in enumerate(data):
        if isinstance(entry, dict):
            yield f"{file.name}[{number}]", entry
        else:
            refused.append((f"{file.name}[{number}]", "it is not an object"))


def _json_lines(file: Path, refused: Refused) -> Iterator[tuple[str, Mapping[str, Any]]]:
    with gzip.open(file, "rb") if file.suffix == ".gz" else file.open("rb") as lines:
        number = 0
        while True:
            number += 1
            try:
                raw = lines.readline(_MAX_LINE)
            except (EOFError, zlib.error, OSError) as error:
                refused.append((f"{file.name}:{number}", f"the file is damaged from here on ({error})"))
                return
            if not raw:
                return
            where = f"{file.name}:{number}"
            if not raw.strip():
                continue
            try:
                if len(raw) == _MAX_LINE:
                    raise BadInputError("the line is too long", item=f"{_MAX_LINE} bytes")
                entry = json.loads(raw.decode("utf-8-sig"))
            except (ValueError, RecursionError, BadInputError) as error:
                refused.append((where, reason(error)))
                continue
            if isinstance(entry, dict):
                yield where, entry
            else:
                refused.append((where, "it is not an object"))
