"""A case as the rows of the catalogue: labels, attributes, words."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from vesalius.cases import Case
from vesalius.errors import BadInputError
from vesalius.library.results import FloatArray

FactRow = tuple[str, int, float | None, str]


def record_of(case: Case) -> tuple[str, str]:
    """The case's JSON form with absolute uris, and its digest.

    An image that is only in memory is kept as `memory:` plus its index: its vector and facts stay, its pixels do not.

    Raises:
        BadInputError: The record has no JSON form (a NaN label, for instance).
    """
    data = case.to_dict()
    for n, (image, entry) in enumerate(zip(case.images, data.get("images", ()), strict=True)):
        path = image.path
        entry["uri"] = f"memory:{n}" if path is None else str(path.absolute())
    try:
        text = json.dumps(data, sort_keys=True, ensure_ascii=False, allow_nan=False)
        return text, hashlib.sha256(text.encode()).hexdigest()
    except (TypeError, ValueError) as error:
        raise BadInputError("cannot store case", item=case.id, why=str(error)) from error


def fact_rows(facts: Mapping[str, Any]) -> list[FactRow]:
    """(name, known, number, text) of labels' values or attributes; text that reads as a number is also one."""
    rows: list[FactRow] = []
    for name, value in facts.items():
        if value is None or value == "":
            rows.append((name, 0, None, ""))
        elif isinstance(value, bool):
            rows.append((name, 1, float(value), "true" if value else "false"))
        elif isinstance(value, int | float):
            rows.append((name, 1, float(value), str(value)))
        else:
            rows.append((name, 1, _number(str(value)), str(value)))
    return rows


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def words_of(case: Case) -> tuple[str, str, str, str]:
    """(labels, report, questions, other): what full-text search reads.

    A label counts only where it is present: a search for "effusion" must not find the cases read as free of it.
    """
    labels = [_label_words(name, label.value) for name, label in case.labels.items()]
    report = case.report
    sections = () if report is None else (report.findings, report.impression, report.indication, report.comparison)
    questions = [part for q in case.questions for part in (q.text, q.answer, q.rationale)]
    other: list[str] = [case.source.dataset]
    for image in case.images:
        other += [image.modality, image.view, image.body_part, str(image.meta.get("caption", ""))]
    for region in case.regions:
        other += [region.label, region.phrase]
    other += [v for v in case.attributes.values() if isinstance(v, str)]
    return _joined(labels), _joined(sections), _joined(questions), _joined(dict.fromkeys(other))


def caption_of(record: Mapping[str, Any]) -> str:
    """The first words to show of a stored case: its impression, findings, or present labels."""
    report = record.get("report") or {}
    text = report.get("impression") or report.get("findings") or ""
    if not text:
        values = {k: v.get("value") if isinstance(v, dict) else v for k, v in record.get("labels", {}).items()}
        text = ", ".join(filter(None, (_label_words(k, v) for k, v in values.items())))
    return text if len(text) <= 160 else text[:157] + "..."


def _label_words(name: str, value: Any) -> str:
    words = name.replace("_", " ")
    if isinstance(value, str):
        return f"{words} {value.replace('_', ' ')}" if value else ""
    if value == 1:
        return words
    return f"{words} {value}" if isinstance(value, int) and value > 1 else ""


def _joined(parts: Iterable[str]) -> str:
    return "\n".join(part for part in parts if part)


def vector_digest(vector: FloatArray) -> bytes:
    """16 bytes that tell whether a stored vector is still the one that was written."""
    return hashlib.blake2b(vector.astype("<f4").tobytes(), digest_size=16).digest()
