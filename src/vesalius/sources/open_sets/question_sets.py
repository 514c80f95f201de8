"""Sets of questions with answers and no image: health questions by topic, and research questions about an abstract."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vesalius.cases import Case, Question, Source
from vesalius.errors import VesaliusError
from vesalius.sources.layouts.files import Refused
from vesalius.sources.layouts.layout import Layout, Rule, Sign
from vesalius.sources.layouts.tabular import reason, tables
from vesalius.sources.layouts.vqa import entries

_HERE = "vesalius.sources.open_sets.question_sets"
_FILE = "questions.jsonl.gz"
#: What a question of PubMedQA may be answered with.
DECISIONS = ("yes", "no", "maybe")


def _keys_known(*names: str) -> tuple[Sign, ...]:
    return (Sign(0.95, (Rule("json", _FILE, ("id", "question", "answer", *names)),)),)


LAYOUTS: tuple[Layout, ...] = (
    Layout(
        "medquad",
        "MedQuAD, part: health questions with answers",
        "CC-BY-4.0",
        "https://doi.org/10.1186/s12859-019-3119-4",
        _keys_known("focus", "question_type", "semantic_type"),
        f"{_HERE}:read_medquad",
        _FILE,
    ),
    Layout(
        "pubmedqa",
        "PubMedQA, the labelled training part",
        "MIT for the annotations; abstracts of PubMed",
        "https://arxiv.org/abs/1909.06146",
        _keys_known("contexts", "section_labels", "long_answer"),
        f"{_HERE}:read_pubmedqa",
        _FILE,
    ),
)


def read_medquad(layout: Layout, folder: Path, refused: Refused) -> Iterator[Case]:
    """One case a web page, with its questions; pages on one topic (`focus`) stay on one side of a split."""
    pages: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for entry in _entries(layout, folder, refused, ("id", "question", "answer")):
        pages.setdefault((str(entry.get("focus") or ""), str(entry.get("url") or "")), []).append(entry)
    for (focus, url), asked in pages.items():
        first = asked[0]
        # Numbers start anew for each institute, and one page may tell of several topics.
        key = "-".join((str(first.get("source", "")), str(first["id"]), re.sub(r"\W+", "-", focus.lower())[:60]))
        questions = tuple(
            Question(
                str(entry["question"]),
                str(entry["answer"]),
                tags=tuple(t for t in (str(entry.get("question_type", "")),) if t),
                id=f"{layout.name}/{key}/{n}",
            )
            for n, entry in enumerate(asked)
        )
        facts = {
            "focus": focus,
            "synonyms": _joined(first, "synonyms"),
            "cui": _joined(first, "cui"),
            "semantic_type": _joined(first, "semantic_type"),
        }
        yield Case(
            id=f"{layout.name}/{key}",
            patient=f"{layout.name}/{focus.lower() or url}",
            questions=questions,
            attributes={k: v for k, v in facts.items() if v},
            source=Source(layout.name, layout.licence, url=url, id=str(first.get("source", ""))),
        )


def read_pubmedqa(layout: Layout, folder: Path, refused: Refused) -> Iterator[Case]:
    """One case an abstract: its question, the decision, the authors' conclusion as rationale, the rest as `context`."""
    for entry in _entries(layout, folder, refused, ("id", "question", "contexts", "answer")):
        key = str(entry["id"])
        parts = [str(p) for p in entry["contexts"]]
        names = [str(n) for n in entry.get("section_labels", ())]
        if len(names) == len(parts):
            parts = [f"{name}: {part}" for name, part in zip(names, parts, strict=True)]
        try:
            question = Question(
                str(entry["question"]),
                str(entry["answer"]),
                options=DECISIONS,
                rationale=str(entry.get("long_answer", "")),
                id=f"{layout.name}/{key}",
            )
        except VesaliusError as error:
            refused.append((key, reason(error)))
            continue
        facts = {"context": "\n".join(parts), "mesh": _joined(entry, "mesh"), "year": str(entry.get("year") or "")}
        yield Case(
            id=f"{layout.name}/{key}",
            questions=(question,),
            attributes={k: v for k, v in facts.items() if v},
            source=Source(layout.name, layout.licence, url=f"https://pubmed.ncbi.nlm.nih.gov/{key}/", id=key),
        )


def _entries(layout: Layout, folder: Path, refused: Refused, needs: tuple[str, ...]) -> Iterator[Mapping[str, Any]]:
    for file in tables(folder, layout.table):
        for where, entry in entries(file, refused):
            lacking = next((n for n in needs if not entry.get(n)), "")
            if lacking:
                refused.append((where, f"it has no {lacking}"))
            else:
                yield entry


def _joined(entry: Mapping[str, Any], name: str) -> str:
    values = entry.get(name) or ()
    return "|".join(str(v) for v in values) if isinstance(values, list) else str(values)
