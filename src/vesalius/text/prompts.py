"""Sentences about an image: for image-text training from labels, and for zero-shot classification.

A contrastive model learns the style of the sentences it was trained with, so training text and query text come from the
same templates: structured (`x-ray chest anteroposterior pneumonia`, the form published for MedImageInsight), captions,
report sentences, and denials. Everything is a pure function of its arguments; randomness comes from `seed` alone.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vesalius.text.modalities import body_part_name, implied_body_parts, modality_code, modality_names, view_names
from vesalius.text.vocabulary import NONE_OF_THESE, part_named, part_words, parts

#: Labels that mean that nothing was found.
NORMAL_LABELS = frozenset(
    {"no finding", "no findings", "normal", "healthy", "none", "unremarkable", "negative", "no abnormality"}
)

_PLURALS = frozenset({"drusen", "metastases", "bullae", "bacteria"})

# Slots: {m} modality, {mi} x-ray image, {b} body part, {v} view, {img} "chest x-ray", {vimg} "lateral chest x-ray",
# {f} the finding with side, severity and location, {is} is/are. An empty slot leaves no gap.
_PRESENT = (
    "{m} {b} {v} {f}",
    "{m} {b} {f}",
    "{img}, {f}",
    "{f}",
    "{img} showing {f}",
    "{a:vimg} with {f}",
    "{a:img} of a patient with {f}",
    "{f} on {a:img}",
    "{f} in {a:vimg}",
    "There {is} {f}.",
    "There {is} {f} on this {img}.",
    "This {vimg} demonstrates {f}.",
    "{f} {is} seen on the {img}.",
    "{f} {is} present.",
    "Findings are consistent with {f}.",
    "Impression: {f}.",
    "evidence of {f} on {img}",
    "{mi} of the {b}: {f}",
)
_ABSENT = (
    "{m} {b} {v} no {f}",
    "{m} {b} no {f}",
    "{img}, no {f}",
    "no {f}",
    "{img} without {f}",
    "{a:vimg} without evidence of {f}",
    "{a:img} of a patient without {f}",
    "There {is} no {f}.",
    "There {is} no {f} on this {img}.",
    "No evidence of {f}.",
    "No {f} {is} seen on the {vimg}.",
    "This {img} is negative for {f}.",
    "{f} {is} absent.",
    "Impression: no {f}.",
    "no evidence of {f} on {img}",
)
_NORMAL = (
    "{m} {b} {v} no finding",
    "{m} {b} normal",
    "normal {img}",
    "healthy {b}",
    "{a:vimg} with no abnormality",
    "{a:img} of a healthy person",
    "The {b} is normal.",
    "No abnormality on this {img}.",
    "Normal {vimg}.",
    "Unremarkable {img}.",
    "There is no abnormal finding.",
    "Impression: normal {b}.",
    "{img} within normal limits",
    "{img} without abnormality",
)
_SUBJECT = (
    "{m} {b} {v}",
    "{m} {b}",
    "{img}",
    "{vimg}",
    "{a:img}",
    "{a:vimg}",
    "{m} of the {b}",
    "{mi} of the {b}",
    "an image of the {b} by {m}",
    "This is {a:img}.",
    "This is {a:vimg}.",
    "medical image: {img}",
    "{img}, {v} view",
)
_ZERO_SHOT = (
    "{m} {b} {f}",
    "{img}, {f}",
    "{f}",
    "{img} showing {f}",
    "{a:img} of a patient with {f}",
    "There {is} {f}.",
    "This {img} demonstrates {f}.",
    "evidence of {f} on {img}",
    "{a:img} with {f}",
    "Impression: {f}.",
)
_KIND = (
    "{f}",
    "{a:f}",
    "This is {a:f}.",
    "an image: {f}",
    "medical image, {f}",
    "{a:f} of a patient",
    "{a:f} showing a finding",
    "{a:f} within normal limits",
)
_PART = (
    "{f}",
    "the {f}",
    "{m} of the {f}",
    "{f} {m}",
    "an image of the {f}",
    "a scan of the {f}",
    "a picture of the {f}",
    "This shows the {f}.",
    "{f} imaging",
)


@dataclass(frozen=True, slots=True)
class _Slots:
    """The words that fill one template."""

    m: str
    b: str
    v: str
    f: str

    @property
    def img(self) -> str:
        words = self.m.lower().split()
        said = not self.b or self.b in implied_body_parts(self.m) or any(part in words for part in self.b.split())
        return self.m if said else f"{self.b} {self.m}"

    def value(self, slot: str) -> str:
        if slot == "img":
            return self.img
        if slot == "vimg":
            return f"{self.v} {self.img}".strip()
        if slot == "mi":
            return self.m if self.m.endswith(("image", "photograph", "photo")) else f"{self.m} image"
        if slot == "is":
            return "are" if _is_plural(self.f) else "is"
        return {"m": self.m, "b": self.b, "v": self.v, "f": self.f}[slot]


def clean_label(label: str) -> str:
    """A label as people would say it: no underscores or control characters, capitals only in short forms.

    Examples:
        >>> clean_label("Pleural_Thickening"), clean_label(" COVID-19  Pneumonia")
        ('pleural thickening', 'COVID-19 pneumonia')
    """
    words = "".join(c if c.isprintable() else " " for c in label.replace("_", " ")).split()
    return " ".join(word.lower() if word[1:].islower() or (len(word) == 1 and word != "T") else word for word in words)


def is_normal_label(label: str) -> bool:
    """True when a label says that nothing was found ("No Finding", "normal", "healthy" ...)."""
    return clean_label(label).lower() in NORMAL_LABELS


def is_image_kind(label: str) -> bool:
    """True when a label names a kind of image ("mammogram", "chest x-ray", "MRI of the knee") and not a finding."""
    words = clean_label(label).split()
    head = words[: words.index("of")] if "of" in words else words
    return any(modality_code(" ".join(head[start:])) for start in range(len(head)))


def is_part_of_body(label: str) -> bool:
    """True when a label names a body part ("knee", "large bowel") and not a finding."""
    phrase = clean_label(label).lower()
    return phrase in part_words(part_named(phrase)) or phrase in parts()


def describe(
    modality: str,
    view: str | None = None,
    body_part: str | None = None,
    finding: str | None = None,
    side: str | None = None,
    attributes: Mapping[str, str] | None = None,
    *,
    absent: bool = False,
    seed: int | None = None,
    n: int | None = None,
) -> list[str]:
    """Many ways to say what one image shows, for image-text training.

    Args:
        modality: DICOM modality code (`"DX"`) or a spoken name.
        view: View code (`"AP"`) or words, if known.
        body_part: Body part or organ, if known.
        finding: The finding or class. A label that means normal gives sentences for a normal image; `None` gives
            sentences on modality, view and body part alone.
        side: `"left"`, `"right"` or `"bilateral"`.
        attributes: Further words by name. `severity` and `size` go before the finding, `location` after it, `change`
            at its end; any other value is added in brackets to half of the sentences.
        absent: Say that the finding is not there.
        seed: `None` writes the standard words in template order. A number draws synonyms for modality and view and
            shuffles the sentences, the same way for the same arguments on every machine.
        n: Keep at most this many.

    Returns:
        Distinct sentences, twelve or more when `n` is not given and body part and view are known.

    Examples:
        >>> describe("DX", "AP", "chest", "Pneumonia")[0]
        'x-ray chest anteroposterior pneumonia'
        >>> describe("DX", "AP", "chest", "Effusion", "left", {"severity": "small"})[9]
        'There is small left effusion.'
        >>> describe("DX", "PA", "chest", "Pneumothorax", absent=True)[7]
        'There is no pneumothorax.'
    """
    templates, phrase, extra = _choose(finding, side, attributes or {}, absent)
    names, views = modality_names(modality), view_names(view) if view else ("",)
    body = body_part_name(body_part) if body_part else ""
    rng = None if seed is None else random.Random(f"{seed}|{modality}|{view}|{body}|{phrase}|{absent}")
    sentences = []
    for index, template in enumerate(templates):
        name, spoken_view = (names[0], views[0]) if rng is None else (rng.choice(names), rng.choice(views))
        sentence = _fill(template, _Slots(name, body, spoken_view, phrase))
        if extra and index % 2:
            sentence = f"{sentence.rstrip('.')} ({extra})"
        sentences.append(sentence)
    distinct = _distinct(sentences)
    if rng is not None:
        rng.shuffle(distinct)
    return distinct if n is None else distinct[:n]


def prompt_ensemble(label: str, modality: str | None = None, body_part: str | None = None) -> list[str]:
    """Prompts for zero-shot classification with any label a user gives; average their text embeddings.

    Args:
        label: A class in free words: a finding (`"pneumonia"`), a normal label, a body part (`"knee"`), a kind of image
            (`"chest x-ray"`), or `"none of these"`.
        modality: DICOM code or name of the images, if known.
        body_part: Body part of the images, if known.

    Returns:
        Distinct prompts, always the label itself among them (for a label that means normal: sentences for normal).

    Examples:
        >>> prompt_ensemble("melanoma", "DMS", "skin")[0]
        'dermoscopy skin melanoma'
        >>> "no finding" in " ".join(prompt_ensemble("No Finding", "DX", "chest"))
        True
    """
    phrase = clean_label(label)
    if is_image_kind(label):
        return [t.replace("{f}", phrase).replace("{a:f}", f"{_article(phrase)} {phrase}") for t in _KIND]
    if phrase.lower() == NONE_OF_THESE[0]:
        return list(NONE_OF_THESE)
    templates = _NORMAL if is_normal_label(label) else _PART if is_part_of_body(label) else _ZERO_SHOT
    name = modality_names(modality)[0] if modality else "medical image"
    slots = _Slots(name, body_part_name(body_part) if body_part else "", "", phrase)
    prompts = _distinct([_fill(template, slots) for template in templates])
    return prompts if phrase in prompts else [*prompts, phrase]


def _choose(
    finding: str | None, side: str | None, attributes: Mapping[str, str], absent: bool
) -> tuple[tuple[str, ...], str, str]:
    """Templates, finding phrase and left-over attributes for one combination."""
    known = {key: clean_label(value) for key, value in attributes.items() if value}
    extra = ", ".join(value for key, value in known.items() if key not in {"severity", "size", "location", "change"})
    if finding is None or not finding.strip():
        return _SUBJECT, "", extra
    if is_normal_label(finding):
        return _NORMAL, "", extra
    before = (known.get("size", ""), known.get("severity", ""), clean_label(side) if side else "")
    words = [*before, clean_label(finding)]
    if known.get("location"):
        words.append(f"in the {known['location'].removeprefix('in ').removeprefix('the ')}")
    if known.get("change"):
        words.append(f", {known['change']}")
    phrase = " ".join(word for word in words if word).replace(" ,", ",")
    return (_ABSENT if absent else _PRESENT), phrase, extra


def _fill(template: str, slots: _Slots) -> str:
    """Fill a template; empty slots leave neither double spaces nor loose commas."""

    def put(match: re.Match[str]) -> str:
        article, slot = match.group(1), match.group(2)
        value = slots.value(slot)
        return f"{_article(value)} {value}" if article and value else value

    if not slots.b and re.search(r"([Tt]he|healthy|normal) \{b\}", template):
        return ""  # needs a body part to make sense; dropped by _distinct
    text = re.sub(r"\{(a:)?(m|mi|b|v|img|vimg|f|is)\}", put, template)
    text = re.sub(r"\s+", " ", text).strip()
    text = re.sub(r", view$", "", re.sub(r"\s+([,.:])", r"\1", text))
    return text[0].upper() + text[1:] if text.endswith(".") else text


def _article(words: str) -> str:
    """`a` or `an`: by sound for short forms (an MRI, an x-ray), by letter for words."""
    first = re.split(r"[\s-]", words, maxsplit=1)[0]
    if first.lower() == "x" or (first.isupper() and first[0] in "AEFHILMNORSX" and first != "SPECT"):
        return "an"
    return "an" if first[:1].lower() in "aeiou" and not first.lower().startswith(("uni", "eu", "use")) else "a"


def _is_plural(phrase: str) -> bool:
    """Whether a finding takes `are`: judged on the last word before any "in the" or comma."""
    head = re.split(r" (?:in|of|with|on) |,", phrase, maxsplit=1)[0].split()
    last = head[-1].lower() if head else ""
    return (
        (last.endswith("s") and not last.endswith(("ss", "is", "us", "as", "os", "ax")))
        or last.endswith("ae")
        or last in _PLURALS
    )


def _distinct(sentences: Iterable[str]) -> list[str]:
    """Without repeats and empties, order kept."""
    return list(dict.fromkeys(s for s in sentences if s))
