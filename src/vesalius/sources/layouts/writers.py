"""Writers of the plain layouts, and the step all writers share: one picture of a case as a file."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from vesalius.cases import Case, CaseSet
from vesalius.cases.image import AnyArray
from vesalius.errors import VesaliusError
from vesalius.sources.layouts.common import split_name
from vesalius.sources.layouts.files import suffix_of
from vesalius.sources.layouts.layout import CLASS
from vesalius.sources.layouts.masks import picture_size
from vesalius.sources.layouts.reports import Lost
from vesalius.sources.layouts.tabular import reason

#: Files that every reader of these layouts understands; copied byte for byte.
_COPIED = frozenset({".png", ".jpg", ".jpeg"})
_RESERVED = re.compile(r"^(con|prn|aux|nul|com\d|lpt\d)$", re.IGNORECASE)


def safe_name(text: str, unique: str) -> str:
    """A file name of plain characters for a text; where characters had to go, a hash of `unique` keeps it unique."""
    plain = re.sub(r"[^A-Za-z0-9._ ()-]+", "_", text).strip(" .")[:100]
    if plain == text and not _RESERVED.match(plain):
        return plain
    return f"{plain or 'case'}-{hashlib.sha256(unique.encode()).hexdigest()[:10]}"


def save_png(array: AnyArray, path: Path) -> bool:
    """Write 8-bit grey or colour, or 16-bit grey, without loss; False when the values do not fit."""
    from PIL import Image as Picture

    values = array.astype(np.uint8) * 255 if array.dtype == bool else array
    if values.ndim == 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.dtype == np.uint8 and (values.ndim == 2 or values.shape[-1] in (3, 4)):
        Picture.fromarray(values).save(path)
        return True
    if values.dtype == np.uint16 and values.ndim == 2:
        Picture.fromarray(values).save(path)
        return True
    return False


def picture(case: Case, folder: Path, lost: Lost, *, stem: str = "") -> tuple[str, tuple[int, int]] | None:
    """Write the case's first image as a PNG, or copy its file where it is a PNG or JPEG already.

    Args:
        case: The case.
        folder: Made if it is not there.
        lost: Gets the case when it cannot be written.
        stem: File name without suffix; the last part of the id by default.

    Returns:
        File name and (height, width), or None when the case was refused.
    """
    if not case.images or case.images[0].kind != "2d":
        lost.refuse(case.id, "it has no picture, and the layout holds pictures")
        return None
    image = case.images[0]
    name = free_name(folder, stem or case.id.rpartition("/")[2], case.id, lost)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        path = image.path
        if image.array is None and path is not None and suffix_of(path.name) in _COPIED and image.frame is None:
            size = picture_size(path)
            target = folder / f"{name}{path.suffix.lower()}"
            shutil.copyfile(path, target)
            return target.name, size
        array = image.pixels()
        target = folder / f"{name}.png"
        if not save_png(array, target):
            lost.refuse(case.id, f"{array.dtype} of shape {array.shape} does not fit a picture of 8 or 16 bits")
            return None
        return target.name, (int(array.shape[0]), int(array.shape[1]))
    except (VesaliusError, OSError) as error:
        lost.refuse(case.id, reason(error))
        return None


def free_name(folder: Path, text: str, case_id: str, lost: Lost) -> str:
    """A stem that no other case of this conversion has in this folder, capitals not told apart."""
    name = safe_name(text, case_id)
    if (folder, name.lower()) in lost.taken:
        name = f"{name}-{hashlib.sha256(case_id.encode()).hexdigest()[:10]}"
    lost.taken.add((folder, name.lower()))
    return name


def write_csv_images(cases: CaseSet, out: Path, lost: Lost) -> int:
    """Write `OUT/cases.csv` and `OUT/images/`, a column for each fact that one cell can hold.

    Labels are columns `label:NAME` (`class` for the one class of a case), attributes `attr:NAME`. Texts that would
    start a formula in a spreadsheet are written as they are: the file is data, not a sheet.

    Returns:
        Cases written.
    """
    lines: list[dict[str, Any]] = []
    fields = ["id", "file", "patient", "time", "split", "modality", "view", "licence", "findings", "impression", CLASS]
    extra: dict[str, None] = {}
    holds = ("patient", "time", "split", "modality", "view", "licence", "report", "labels", "attributes")
    for case in cases:
        lost.case(case, holds=holds, images=1)
        for name, label in case.labels.items():
            if label.unit or label.source:
                lost.add("label unit or source", "the layout has no place for it")
            if name != CLASS and label.value not in (1, 0, -1, None):
                lost.add("label kinds", f"{name}: graded and measured labels are read back as attributes")
        saved = picture(case, out / "images", lost)
        if saved is None:
            continue
        line: dict[str, Any] = {
            "id": case.id,
            "file": f"images/{saved[0]}",
            "patient": case.patient,
            "time": case.time,
            "split": case.source.split,
            "modality": case.images[0].modality,
            "view": case.images[0].view,
            "licence": case.source.licence,
            "findings": case.report.findings if case.report else "",
            "impression": case.report.impression if case.report else "",
            CLASS: case.label(CLASS),
        }
        for name, label in case.labels.items():
            status = label.value in (1, 0, -1, None) and not isinstance(label.value, str)
            if name != CLASS:
                line[f"{'label' if status else 'attr'}:{name}"] = label.value
        for name, value in case.attributes.items():
            line[name if name in {"age", "sex"} else f"attr:{name}"] = value
        extra.update(dict.fromkeys(k for k in line if k not in fields))
        lines.append(line)
    used = [f for f in fields if f in {"id", "file"} or any(line.get(f) not in (None, "") for line in lines)]
    out.mkdir(parents=True, exist_ok=True)
    with (out / "cases.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, [*used, *extra], extrasaction="ignore")
        table.writeheader()
        table.writerows({k: "" if v is None else v for k, v in line.items()} for line in lines)
    return len(lines)


def write_folder_per_class(cases: CaseSet, out: Path, lost: Lost, *, label: str = CLASS) -> int:
    """Write `OUT/[SPLIT/]CLASS/IMAGE`.

    Args:
        cases: The cases; those without the label are refused.
        out: Folder.
        lost: Gets what the layout cannot hold.
        label: The label whose value names the folder.

    Returns:
        Cases written.
    """
    written = 0
    split_used = any(split_name(case.source.split) for case in cases)
    for case in cases:
        value = case.label(label)
        if value is None:
            lost.refuse(case.id, f"it has no label {label!r}")
            continue
        lost.case(case, holds=("label", "split"), label=label, images=1)
        named = "/".join(safe_name(part, str(value)) for part in str(value).split("/"))
        if named != str(value):
            lost.add("class names", "characters that a folder cannot have were replaced")
        folder = out / (split_name(case.source.split) or "train") / named if split_used else out / named
        written += picture(case, folder, lost) is not None
    return written


def write_llava(cases: CaseSet, out: Path, lost: Lost) -> int:
    """Write `OUT/[SPLIT or data].json` and `OUT/images/`: each answered question is a turn, a report a last one.

    Returns:
        Cases written.
    """
    parts: dict[str, list[dict[str, Any]]] = {}
    for case in cases:
        lost.case(case, holds=("questions", "report", "split"), images=1)
        turns = []
        for question in case.questions:
            if not question.answer:
                lost.add("questions", "they have no answer")
                continue
            for name in ("options", "rationale", "tags", "pair"):
                if getattr(question, name):
                    lost.add(f"question {name}", "the layout has no place for it")
            if question.language != "en":
                lost.add("question language", "the layout has no place for it")
            turns += [("human", question.text), ("gpt", question.answer)]
        if case.report and case.report.text:
            turns += [("human", "Write the report of this image."), ("gpt", case.report.text)]
            lost.add("report sections", "they were joined")
        if not turns:
            lost.refuse(case.id, "it has neither an answered question nor a report")
            continue
        entry: dict[str, Any] = {"id": case.id}
        if case.images:
            saved = picture(case, out / "images", lost)
            if saved is None:
                continue
            entry["image"] = saved[0]
            turns[0] = ("human", f"<image>\n{turns[0][1]}")
        entry["conversations"] = [{"from": who, "value": text} for who, text in turns]
        parts.setdefault(split_name(case.source.split) or "data", []).append(entry)
    out.mkdir(parents=True, exist_ok=True)
    for split, entries in parts.items():
        (out / f"{split}.json").write_text(json.dumps(entries, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return sum(len(entries) for entries in parts.values())
