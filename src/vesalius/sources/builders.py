"""Sentences from labels, for image-text training, and helpers against class imbalance."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vesalius.cases import Case
from vesalius.errors import UsageError
from vesalius.sources.layouts.layout import CLASS
from vesalius.text.prompts import clean_label, describe, is_normal_label
from vesalius.text.sentences import split_sentences

#: Class names that need a noun to be said in a sentence; the first phrase is the usual one.
_PHRASES: Mapping[str, tuple[str, ...]] = {
    "benign": ("benign lesion", "benign mass", "benign tumour"),
    "malignant": ("malignant lesion", "malignant mass", "cancer"),
    "rbc": ("red blood cells", "RBC", "erythrocytes"),
    "wbc": ("white blood cell", "WBC", "leukocyte"),
    "lymphocyte": ("lymphocytes", "lymphocyte infiltrate"),
    "tumour_or_epithelial": ("tumour or epithelial cells", "epithelial cells"),
    "stroma": ("stromal cells", "stroma"),
}
#: Marks of what every such image holds; they say where things are, not what was found.
_ANATOMY = frozenset({"organ", "vessel", "layer", "tooth", "structure"})
_NO_FINDING = frozenset({"uncategorised", "other", "background", "unknown"})
#: Attributes of a region that `describe` puts next to the finding.
_WORDS = {"severity": "severity", "size": "size", "zone": "location", "location": "location", "change": "change"}


@dataclass(frozen=True, slots=True)
class Statement:
    """One thing that is known of an image.

    Args:
        finding: What is there or not there, in words.
        absent: True when it is known not to be there.
        side: `left`, `right`, `bilateral` or "".
        words: Severity, size, location and change, where known.
        names: Other ways to say the finding.
    """

    finding: str
    absent: bool = False
    side: str = ""
    words: Mapping[str, str] = field(default_factory=dict)
    names: tuple[str, ...] = ()


def statements(case: Case, *, image: int = 0) -> list[Statement]:
    """All that a case's labels and regions say about one image, findings that are present first.

    Numbers with a unit, grades, and labels that are uncertain or unknown say nothing here. A region says that its
    label is present; labels that a region describes closer are not repeated.
    """
    found: dict[tuple[str, bool, str], Statement] = {}
    for region in case.regions:
        name = region.label.lower()
        if region.image != image or region.granularity in _ANATOMY or name in _NO_FINDING:
            continue
        # A normal cell among others does not make the picture normal.
        if name and not is_normal_label(name):
            words = {to: str(region.attributes[key]) for key, to in _WORDS.items() if region.attributes.get(key)}
            side = str(region.attributes.get("side") or "")
            phrases = _PHRASES.get(name, (region.label,))
            found.setdefault((name, False, side), Statement(phrases[0], False, side, words, phrases[1:]))
    said = {key[0] for key in found}
    absent: list[Statement] = []
    for name, label in case.labels.items():
        if label.unit or name.lower() in said:
            continue
        if isinstance(label.value, str):
            if name == CLASS:
                names = _PHRASES.get(label.value.lower(), (label.value,))
                found.setdefault((label.value.lower(), False, ""), Statement(names[0], names=names[1:]))
        elif label.value == 1:
            found.setdefault((name.lower(), False, ""), Statement(name))
        elif label.value == 0 and not is_normal_label(name):
            absent.append(Statement(name, absent=True))
    return [*found.values(), *absent]


def label_text(case: Case, *, image: int = 0) -> str:
    """What the image is and shows in one canonical line; images with the same line are positives of each other.

    Where nothing is known to be there, the line says what is known not to be there.
    """
    shown = case.images[image] if case.images else None
    head = [shown.modality, str(shown.meta.get("anatomy") or shown.body_part)] if shown else []
    known = statements(case, image=image)
    facts = {" ".join(w for w in (s.side, clean_label(s.finding)) if w) for s in known if not s.absent}
    facts = facts or {f"no {clean_label(s.finding)}" for s in known}
    return " ".join(part for part in head if part) + ": " + (", ".join(sorted(facts)) or "-")


def captions(
    case: Case, n: int = 8, seed: int = 0, *, absent: float = 0.2, reported: float = 0.0, image: int = 0
) -> list[str]:
    """Up to `n` distinct sentences that are true of one image of a case.

    Sentences name one finding, all findings together, or the kind of image alone where nothing else is known.

    Args:
        case: Needs an image with a modality.
        n: How many at most.
        seed: The same case and seed give the same sentences.
        absent: Share of sentences that deny a finding known to be absent, in [0, 1].
        reported: Share of sentences taken from the findings and impression of the report, where there is one.
        image: Which image of the case.

    Returns:
        The sentences in random order; fewer than `n` when no more can be said.

    Raises:
        UsageError: The case has no such image, or its modality is not known.

    Examples:
        >>> from vesalius.cases import Image
        >>> film = Image(uri="a.png", modality="DX", view="PA", body_part="chest")
        >>> told = captions(Case("a", images=(film,), labels={"Effusion": 1}), 3, seed=1, absent=0)
        >>> len(told), all("effusion" in sentence for sentence in told)
        (3, True)
    """
    if not 0 <= image < len(case.images) or not case.images[image].modality:
        raise UsageError(
            "cannot write captions", item=case.id, why="it has no image whose modality is known", fix="set the modality"
        )
    shown = case.images[image]
    rng = random.Random(f"{seed}|{case.id}|{image}")
    known = statements(case, image=image)
    present = [s for s in known if not s.absent]
    denied = [s for s in known if s.absent]
    rng.shuffle(present)
    rng.shuffle(denied)
    bodies = [shown.body_part, *([str(shown.meta["anatomy"])] if shown.meta.get("anatomy") else [])]
    told: list[str] = []
    no = round(n * absent) if denied else 0

    def say(statement: Statement | None, limit: int) -> list[str]:
        finding = None if statement is None else rng.choice((statement.finding, *statement.names))
        return describe(
            shown.modality,
            shown.view or None,
            rng.choice(bodies) or None,
            finding,
            (statement.side or None) if statement else None,
            statement.words if statement else None,
            absent=bool(statement and statement.absent),
            seed=rng.getrandbits(32),
            n=limit,
        )

    if reported and case.report is not None:
        own = [s.text.strip() for s in split_sentences(case.report.text) if s.text.strip()]
        told += rng.sample(own, min(len(own), round(n * reported)))
    for turn in range(no):
        told += say(denied[turn % len(denied)], 1)
    subjects: list[Statement | None] = [*present]
    if len(present) > 1:
        subjects.append(_together(present))
    subjects = subjects or [None]
    for turn in range(4 * n):
        if len(set(told)) >= n:
            break
        told += say(subjects[turn % len(subjects)], 1)
    chosen = list(dict.fromkeys(told))[:n]
    rng.shuffle(chosen)
    return chosen


def _together(present: Sequence[Statement]) -> Statement:
    names = list(dict.fromkeys(" ".join(w for w in (s.side, clean_label(s.finding)) if w) for s in present))[:4]
    return Statement(names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}")
