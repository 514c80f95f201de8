"""Questions with answers, rationales and probing twins, asked so that nobody can answer them without the image.

Closed questions about a finding are asked with probability inversely proportional to how common the answer is (its
prevalence is known), options are drawn evenly and shuffled, numbers are placed at a random rank among their
distractors, and twins come as one yes and one no: the most common answer to any form is right as often as chance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from vesalius.cases import Question, Region
from vesalius.cases.geometry import Box
from vesalius.sources.phantom.catalogue import FINDINGS, STUDIES
from vesalius.sources.phantom.facts import Facts, shuffled
from vesalius.sources.phantom.model import Finding
from vesalius.sources.phantom.questions_other import chinese, hindi
from vesalius.sources.phantom.reports import MEASURED, PLURALS, phrase, place


def ask(facts: Facts, rng: np.random.Generator) -> tuple[Question, ...]:
    """All questions about one case; each form has its own stream, so that a new one leaves the others alone."""
    out: list[Question] = []
    for make, own in zip(_FORMS, rng.spawn(len(_FORMS)), strict=True):
        out += make(facts, own)
    return tuple(
        Question(
            q.text,
            q.answer,
            q.options,
            q.rationale,
            q.tags,
            f"{facts.case_id}/{q.pair}" if q.pair else "",
            f"{facts.case_id}/q{i}",
            q.image,
            q.language,
        )
        for i, q in enumerate(out)
    )


def _the(name: str) -> str:
    return f"the {name}"


def _is(name: str) -> str:
    return "are" if name in PLURALS else "is"


def _any(name: str) -> str:
    return f"Are there any {name}?" if name in PLURALS else f"Is there any {name}?"


def _why(f: Finding) -> str:
    s = FINDINGS[f.name]
    where = place(f)
    return f"{s.sign[0].upper()}{s.sign[1:]} can be seen{' ' + where if where else ''}; this is the sign of {f.name}."


def _why_not(name: str) -> str:
    sign = FINDINGS[name].sign
    return f"Nothing like {sign} can be seen, so there is no {name}."


def _titles() -> list[str]:
    """What the kinds of study are called; two kinds may share a name."""
    return list(dict.fromkeys(s.title for s in STUDIES.values()))


def _modality(facts: Facts, rng: np.random.Generator) -> list[Question]:
    title = STUDIES[facts.study].title
    options = shuffled(title, _titles(), 4, rng)
    return [
        Question(
            "Which kind of image is this?",
            title,
            options,
            f"Its look and the part of the body ({STUDIES[facts.study].body_part}) are those of {title}.",
            ("multiple choice", "modality"),
        )
    ]


def _exists(facts: Facts, rng: np.random.Generator) -> list[Question]:
    out = []
    present = {f.name: f for f in facts.findings}
    for name in STUDIES[facts.study].findings:
        p = facts.prevalence(name)
        u = rng.random()
        if not 0 < p < 1:
            continue
        odds = (1 - p) / p
        if u < min(1.0, odds if name in present else 1 / odds) * 0.6:
            yes = name in present
            why = _why(present[name]) if yes else _why_not(name)
            out.append(Question(_any(name), "yes" if yes else "no", ("yes", "no"), why, ("closed", "finding", name)))
    return out


def _side(facts: Facts, _: np.random.Generator) -> list[Question]:
    out = []
    for f in facts.findings:
        s = FINDINGS[f.name]
        if len(s.sides) > 1:
            words = {"left": "left", "right": "right", "bilateral": "both sides"}
            options = tuple(words[x] for x in s.sides)
            text = f"On which side of the patient {_is(f.name)} {_the(f.name)}?"
            out.append(Question(text, words[f.side], options, _why(f), ("multiple choice", "side", f.name)))
    return out


def _zone(facts: Facts, rng: np.random.Generator) -> list[Question]:
    out = []
    for f in facts.findings:
        zones = FINDINGS[f.name].zones
        if len(zones) > 2:
            options = shuffled(f.zone, zones, len(zones), rng)
            text = f"Where {_is(f.name)} {_the(f.name)}?"
            out.append(Question(text, f.zone, options, _why(f), ("multiple choice", "zone", f.name)))
    return out


def _size(facts: Facts, rng: np.random.Generator) -> list[Question]:
    out = []
    for f in facts.findings:
        bigger = rng.random() < 0.5
        factor = float(rng.uniform(1.25, 1.8))
        if f.name in MEASURED and f.size:
            limit = round(f.size / factor if bigger else f.size * factor)
            text = f"Is {_the(f.name)} larger than {limit} mm?"
            why = f"It measures {f.size:g} mm, which is {'more' if bigger else 'less'} than {limit} mm."
            out.append(Question(text, "yes" if bigger else "no", ("yes", "no"), why, ("closed", "size", f.name)))
    return out


def _count(facts: Facts, rng: np.random.Generator) -> list[Question]:
    out = []
    for f in facts.findings:
        s = FINDINGS[f.name]
        if s.count is None or f.name == "lymphocytic infiltrate":
            continue
        text = f"How many {s.counted or s.plural or f.name} are there?"
        if f.count < 3 or s.count[1] < 10:
            # Low ranks would be impossible, or one number too common, and give the answer away.
            out.append(
                Question(
                    text, str(f.count), (), f"Counting them one by one gives {f.count}.", ("open", "count", f.name)
                )
            )
            continue
        step = f.count // 3
        low = f.count - int(rng.integers(4)) * step
        options = tuple(str(low + k * step) for k in range(4))
        why = f"Counting them one by one gives {f.count}."
        out.append(Question(text, str(f.count), options, why, ("multiple choice", "count", f.name)))
    return out


def _severity(facts: Facts, rng: np.random.Generator) -> list[Question]:
    out = []
    for f in facts.findings:
        s = FINDINGS[f.name]
        if s.count is not None or rng.random() < 0.5:
            continue
        word = s.words[("mild", "moderate", "severe").index(f.severity)]
        options = shuffled(word, s.words, 3, rng)
        text = f"How would {_the(f.name)} be graded?"
        out.append(
            Question(text, word, options, f"By its extent it is {word}.", ("multiple choice", "severity", f.name))
        )
    return out


def _change(facts: Facts, rng: np.random.Generator) -> list[Question]:
    if not facts.prior:
        return []
    out = []
    for f in facts.findings:
        text = f"How has {_the(f.name)} changed since the prior study?"
        if f.change in ("larger", "smaller", "unchanged"):
            options = shuffled(f.change, ("larger", "smaller", "unchanged"), 3, rng)
            why = f"Compared with the prior image it is {f.change}."
            out.append(Question(text, f.change, options, why, ("multiple choice", "change", f.name)))
        elif f.change == "new":
            text = f"Has {_the(f.name)} appeared or gone since the prior study?"
            out.append(
                Question(
                    text,
                    "appeared",
                    ("appeared", "gone"),
                    "It is not on the prior image.",
                    ("closed", "change", f.name),
                )
            )
    for name in facts.resolved:
        text = f"Has {_the(name)} appeared or gone since the prior study?"
        out.append(
            Question(text, "gone", ("appeared", "gone"), "It is on the prior image only.", ("closed", "change", name))
        )
    return out


def _boxes(facts: Facts) -> Mapping[str, Region]:
    return {
        r.label: r
        for r in facts.regions
        if r.granularity == "organ" and isinstance(r.geometry, Box) and not r.annotator and r.image == 0
    }


def _organ(facts: Facts, rng: np.random.Generator) -> list[Question]:
    boxes = _boxes(facts)
    if len(boxes) < 4:
        return []
    names = sorted(boxes)
    name = names[int(rng.integers(len(names)))]
    b = boxes[name].geometry
    if not isinstance(b, Box):
        return []
    deep = "" if b.z0 is None or b.z1 is None else f", slices {b.z0:g} to {b.z1:g}"
    text = f"Which structure does the box [{b.x0:g}, {b.y0:g}, {b.x1:g}, {b.y1:g}]{deep} hold?"
    options = shuffled(name, names, 4, rng)
    return [Question(text, name, options, f"The box fits the {name}.", ("multiple choice", "organ"))]


def _open(facts: Facts, _: np.random.Generator) -> list[Question]:
    names = [phrase(f) for f in facts.findings]
    answer = "; ".join(names) if names else "nothing abnormal"
    why = " ".join(_why(f) for f in facts.findings) or "All that is drawn is normal."
    out = [Question("What abnormalities are there?", answer, (), why, ("open", "finding"))]
    if facts.quality[1]:
        out.append(
            Question(
                "What is wrong with the quality of this image?",
                facts.quality[0],
                (),
                f"The picture shows {facts.quality[0]} of grade {facts.quality[1]} of 3.",
                ("open", "quality"),
            )
        )
    return out


def _twins(facts: Facts, rng: np.random.Generator) -> list[Question]:
    """Pairs of one true and one false attribute: modality, finding, side."""
    out = []
    title = STUDIES[facts.study].title
    others = [t for t in _titles() if t != title]
    false = others[int(rng.integers(len(others)))]
    for t, answer in ((title, "yes"), (false, "no")):
        why = f"It is {title}."
        out.append(
            Question(
                f"Was this image made by {t}?", answer, ("yes", "no"), why, ("closed", "modality", "probe"), "modality"
            )
        )
    absent = [n for n in STUDIES[facts.study].findings if n not in {f.name for f in facts.findings}]
    if facts.findings and absent:
        f = facts.findings[int(rng.integers(len(facts.findings)))]
        n = absent[int(rng.integers(len(absent)))]
        out.append(
            Question(
                f"Does the image show {f.name}?",
                "yes",
                ("yes", "no"),
                _why(f),
                ("closed", "finding", "probe"),
                "finding",
            )
        )
        out.append(
            Question(
                f"Does the image show {n}?", "no", ("yes", "no"), _why_not(n), ("closed", "finding", "probe"), "finding"
            )
        )
    one_sided = [f for f in facts.findings if f.side in ("left", "right")]
    if one_sided:
        f = one_sided[int(rng.integers(len(one_sided)))]
        for side in ("left", "right"):
            text = f"{_is(f.name).capitalize()} {_the(f.name)} on the patient's {side}?"
            answer = "yes" if side == f.side else "no"
            out.append(Question(text, answer, ("yes", "no"), _why(f), ("closed", "side", "probe"), "side"))
    return out


_FORMS: tuple[Callable[[Facts, np.random.Generator], list[Question]], ...] = (
    _modality,
    _exists,
    _side,
    _zone,
    _size,
    _count,
    _severity,
    _change,
    _organ,
    _open,
    _twins,
    hindi,
    chinese,
)
