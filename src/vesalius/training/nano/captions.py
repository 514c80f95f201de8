"""What may be said of a picture's kind: modality, body part, plane, sequence and finding, alone and together.

A caption states some of these and leaves the others open; it is true of every picture that has what it states, false
where one thing stated is otherwise, and unknown where a set does not say. Since each is said alone too, words for a
combination that no set shows still work.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from vesalius.cases import Case
from vesalius.models.nano.minilm import MiniLM
from vesalius.text.modalities import view_names
from vesalius.text.prompts import clean_label, describe, is_normal_label, prompt_ensemble
from vesalius.text.vocabulary import (
    SAME_MODALITY,
    Kind,
    finding_words,
    meaning,
    modality_words,
    part_named,
    part_words,
    parts_shown,
    parts_unsure,
    plane_words,
    say_kind,
)
from vesalius.training.nano.facts import facts_of

#: What a claim may state.
FIELDS = ("modality", "part", "plane", "sequence", "fact")
#: Planes of slices; everything else that stands there is a view of a film.
PLANES = ("axial", "coronal", "sagittal")
_VIEWS = ("pa", "ap", "lateral", "cc", "mlo")


@dataclass(frozen=True)
class Claim:
    """What a caption states; "" where it leaves something open.

    Args:
        modality: DICOM code.
        part: Key of the table of body parts.
        plane: `axial`, `coronal`, `sagittal`, or a view's code.
        sequence: MR sequence, or `with contrast`, `without contrast`.
        fact: A finding or class.
        present: Whether the finding is said to be there.
    """

    modality: str = ""
    part: str = ""
    plane: str = ""
    sequence: str = ""
    fact: str = ""
    present: bool = True

    @property
    def fields(self) -> tuple[str, ...]:
        """The five values, in the order of `FIELDS`; a denied finding is another value."""
        fact = self.fact and (self.fact if self.present else f"no {self.fact}")
        return self.modality, self.part, self.plane, self.sequence, fact


@dataclass(frozen=True, eq=False)
class Captions:
    """Captions and what they state.

    Args:
        text: The captions.
        claims: `(captions, 5)` number of each field's value, -1 where open.
        values: Of each field.
        truth: For each field `(cases, values)`: 1 true, 0 false, NaN not known.
        kinds: `(captions,)` which of the ways of saying something a caption belongs to.
    """

    text: tuple[str, ...]
    claims: npt.NDArray[np.int64]
    values: tuple[tuple[str, ...], ...]
    truth: tuple[npt.NDArray[np.float32], ...]
    kinds: npt.NDArray[np.int64]

    def match(self, cases: npt.NDArray[np.int64], captions: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """`(n, m)` 1 true, 0 false, NaN not known, of each caption for each case."""
        false = np.zeros((len(cases), len(captions)), bool)
        unknown = np.zeros_like(false)
        for field, truth in enumerate(self.truth):
            said = self.claims[captions, field]
            if not (said >= 0).any() or not truth.shape[1]:
                continue
            value = truth[cases][:, np.maximum(said, 0)]
            value = np.where(said[None] >= 0, value, 1.0)
            false |= value == 0
            unknown |= np.isnan(value)
        return np.where(false, 0.0, np.where(unknown, np.nan, 1.0)).astype(np.float32)


def part_of(case: Case) -> str:
    """The closest body part of the vocabulary that a case's first image shows, "" where none is known.

    What a class places (`left atrium`) comes before the image's own words, unless those are closer (`hippocampus`).
    """
    image = case.images[0]
    own = part_named(str(image.meta.get("anatomy") or image.body_part))
    said = [meaning(str(v.value)).part for v in case.labels.values() if isinstance(v.value, str)]
    placed = next((part for part in said if part), "")
    return own if placed in parts_shown(own) or not placed else placed


def modality_of(case: Case) -> str:
    """DICOM code, the same for codes that words cannot tell apart."""
    code = case.images[0].modality
    return SAME_MODALITY.get(code, code)


def plane_of(case: Case) -> str:
    """Plane of a slice or view of a film, in lower case."""
    image = case.images[0]
    plane = str(image.meta.get("plane") or image.view or "").lower()
    plane = {"transverse": "axial", "ap supine": "ap", "ap erect": "ap"}.get(plane, plane)
    return plane if plane in (*PLANES, *_VIEWS) else ""


def sequence_of(case: Case) -> str:
    """MR sequence, or `with` or `without` where it is known whether a contrast medium was given."""
    meta = case.images[0].meta
    return str(meta.get("contrast") or meta.get("sequence") or "").replace("-", "")


def captions_of(cases: Sequence[Case], *, drawn: Sequence[bool], seed: int = 0, most: int = 24) -> Captions:
    """Every caption that these cases' kinds and facts give rise to.

    Args:
        cases: The cases.
        drawn: Which are drawings: their findings are left unsaid.
        seed: Seed of the words drawn for combinations.
        most: Captions of one claim.
    """
    modality = [modality_of(c) for c in cases]
    part = [part_of(c) for c in cases]
    plane, sequence = [plane_of(c) for c in cases], [sequence_of(c) for c in cases]
    facts = [{} if d else facts_of(c) for c, d in zip(cases, drawn, strict=True)]
    claims: dict[Claim, None] = {}
    for m, p, v, s, found in zip(modality, part, plane, sequence, facts, strict=True):
        every = sorted(parts_shown(p))  # a set has another order in every process
        claims |= dict.fromkeys([Claim(m), *(Claim(part=x) for x in every), *(Claim(m, x) for x in every)])
        if v:
            claims |= dict.fromkeys([Claim(plane=v), Claim(m, plane=v), Claim(m, p, v)])
        if s:
            claims |= dict.fromkeys([Claim(m, sequence=s), Claim(m, p, sequence=s), Claim(m, p, v, s)])
        for fact, there in found.items():
            claims |= dict.fromkeys([Claim(fact=fact, present=there), Claim(m, p, fact=fact, present=there)])
    rows: list[tuple[str, Claim, int]] = []
    for claim in claims:
        if claim.fact and not claim.present and is_normal_label(claim.fact):
            continue
        rng = random.Random(f"{seed}|{claim}")
        said = _say(claim, rng)
        rng.shuffle(said)
        kind = sum(bool(f) << i for i, f in enumerate(claim.fields))
        rows += [(text, claim, kind) for text in said[:most]]
    text, stated, kinds = zip(*rows, strict=True)
    values = tuple(tuple(sorted({c.fields[f] for c in claims} - {""})) for f in range(len(FIELDS)))
    number = [{v: i for i, v in enumerate(v)} for v in values]
    claimed = np.asarray([[n.get(v, -1) for n, v in zip(number, c.fields, strict=True)] for c in stated])
    truth = (
        _exact(modality, values[0]), _parts(part, values[1]), _exact(plane, values[2]), _exact(sequence, values[3]),
        _facts(cases, facts, values[4]),
    )  # fmt: skip
    return Captions(text, claimed, values, truth, np.asarray(kinds))


def _say(claim: Claim, rng: random.Random) -> list[str]:
    """Ways to say a claim: those that people are asked in (`text.prompts`), and phrases drawn from the vocabulary."""
    if claim.fact:
        out: list[str] = []
        for finding in finding_words(claim.fact) or (clean_label(claim.fact),):
            if not claim.modality:
                if claim.present:
                    out += prompt_ensemble(finding)
                continue
            for _ in range(2):
                body = rng.choice(part_words(claim.part)) if claim.part else None
                name = rng.choice(modality_words(claim.modality))
                out += describe(name, None, body, finding, absent=not claim.present)
        return list(dict.fromkeys(out))
    plane = claim.plane if claim.plane in PLANES else ""
    view = claim.plane.upper() if claim.plane and not plane else ""
    if not (claim.modality or claim.part):
        spoken = plane_words(plane) if plane else view_names(view)
        tails = ("view", "image", "plane", "slice" if plane else "projection")
        return [f"{s} {tail}" for s in spoken for tail in tails]
    out = []
    if not (claim.plane or claim.sequence):
        both = claim.modality and claim.part
        words = () if both else modality_words(claim.modality) if claim.modality else part_words(claim.part)
        out += [s for w in words for s in prompt_ensemble(w)]
    contrast = claim.sequence if claim.sequence in ("with", "without") else ""
    kind = Kind(claim.modality, claim.part, plane, "" if contrast else claim.sequence, contrast, "", view)
    for _ in range(24):
        said = say_kind(kind, rng)
        out += [said, f"an image: {said}", f"This is {said}."] if rng.random() < 0.3 else [said]
    return list(dict.fromkeys(out))


def _exact(said: Sequence[str], values: Sequence[str]) -> npt.NDArray[np.float32]:
    """1 where a case has a value, 0 where it has another, NaN where it has none."""
    truth = np.asarray([[float(s == v) for v in values] for s in said], np.float32).reshape(len(said), len(values))
    truth[[not s for s in said]] = np.nan
    return truth


def _parts(said: Sequence[str], values: Sequence[str]) -> npt.NDArray[np.float32]:
    out = np.zeros((len(said), len(values)), np.float32)
    for i, part in enumerate(said):
        if not part:
            out[i] = np.nan
            continue
        for j, value in enumerate(values):
            if value in parts_shown(part):
                out[i, j] = 1
            elif value in parts_unsure(part):
                out[i, j] = np.nan
    return out


def _facts(
    cases: Sequence[Case], facts: Sequence[Mapping[str, bool]], values: Sequence[str]
) -> npt.NDArray[np.float32]:
    """Truth of findings and of their denials; the classes of one set exclude each other, other sets stay unknown."""
    known: dict[str, set[str]] = {}
    for case, found in zip(cases, facts, strict=True):
        if isinstance(case.label("class"), str):
            known.setdefault(case.source.dataset, set()).update(k for k, v in found.items() if v)
    column = {v: i for i, v in enumerate(values)}
    out = np.full((len(cases), len(values)), np.nan, np.float32)
    # A finding is false of other kinds of image: no skin photograph shows a pneumothorax.
    kinds = [f"{modality_of(c)} {c.images[0].body_part}" for c in cases]
    shown: dict[str, set[str]] = {}
    for kind, found in zip(kinds, facts, strict=True):
        shown.setdefault(kind, set()).update(found)
    for i, (case, kind, found) in enumerate(zip(cases, kinds, facts, strict=True)):
        there = dict(found)
        if isinstance(case.label("class"), str):
            there = {**dict.fromkeys(known.get(case.source.dataset, ()), False), **there}
        for name, at in column.items():
            plain = name.removeprefix("no ") if name not in shown[kind] else name
            if plain in there:
                out[i, at] = float(there[plain] == (plain == name))
            elif plain not in shown[kind] and not is_normal_label(plain):
                out[i, at] = 0.0
    return out


def sentence_vectors(texts: Sequence[str], folder: Path) -> torch.Tensor:
    """`(n, 384)` MiniLM vectors, kept in `folder`."""
    path = folder / f"sentences-{hashlib.sha256(chr(10).join(texts).encode()).hexdigest()[:16]}.npy"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        np.save(path, MiniLM()(texts))
    return torch.from_numpy(np.load(path))
