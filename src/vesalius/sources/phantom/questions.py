"""Questions with answers, rationales and probing twins, asked so that nobody can answer them without the image.

Closed questions about a finding are asked with probability inversely proportional to how common the answer is (its
prevalence is known), options are drawn evenly and shuffled, numbers are placed at a random rank among their
distractors, and twins come as one yes and one no: the most common answer to any form is right as often as chance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vesalius.cases import Question, Region
from vesalius.cases.geometry import Box
from vesalius.sources.phantom.catalogue import FINDINGS, PATIENT_HINDI, STUDIES, ZH_WORDS
from vesalius.sources.phantom.model import Finding, Patient
from vesalius.sources.phantom.reports import MEASURED, PLURALS, phrase, place


@dataclass(frozen=True)
class Facts:
    """All that questions may be asked about."""

    case_id: str
    study: str
    patient: Patient
    findings: Sequence[Finding]
    resolved: Sequence[str]
    prior: bool
    prevalence: Callable[[str], float]
    regions: Sequence[Region]
    quality: tuple[str, int]
    languages: Sequence[str]
    studies: Sequence[str]


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


def _shuffled(right: str, wrong: Sequence[str], n: int, rng: np.random.Generator) -> tuple[str, ...]:
    """`n` options with the right one at a random place."""
    others = [w for w in dict.fromkeys(wrong) if w != right]
    pick = [others[int(i)] for i in rng.permutation(len(others))[: n - 1]]
    options = [right, *pick]
    return tuple(options[int(i)] for i in rng.permutation(len(options)))


def _titles() -> list[str]:
    """What the kinds of study are called; two kinds may share a name."""
    return list(dict.fromkeys(s.title for s in STUDIES.values()))


def _modality(facts: Facts, rng: np.random.Generator) -> list[Question]:
    title = STUDIES[facts.study].title
    options = _shuffled(title, _titles(), 4, rng)
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
            options = _shuffled(f.zone, zones, len(zones), rng)
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
        options = _shuffled(word, s.words, 3, rng)
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
            options = _shuffled(f.change, ("larger", "smaller", "unchanged"), 3, rng)
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
    options = _shuffled(name, names, 4, rng)
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


_HINDI = (
    (
        "Doctor sahab, mujhe {days} din se {body} mein problem ho rahi hai. "
        "Report mein {what} likha hai, kya yeh serious hai?",
        "The patient has had a problem of the {en} for {days} days; the report names {what}. Is it serious?",
    ),
    (
        "Namaste, meri {body} ki {scan} hui thi aur {what} aaya hai. Kya mujhe dawai leni padegi?",
        "The patient's {scan} of the {en} showed {what}. Is medicine needed?",
    ),
    (
        "Mere {body} mein {days} din se taklif hai, {scan} mein {what} dikha hai. "
        "Please bataiye aage kya karna chahiye?",
        "The patient has had trouble with the {en} for {days} days and the {scan} showed {what}. "
        "What should be done next?",
    ),
)


def _hindi(facts: Facts, rng: np.random.Generator) -> list[Question]:
    """A patient's question in Hindi-English as people type it, with its English summary as the answer."""
    k, days = int(rng.integers(len(_HINDI))), int(rng.integers(2, 30))
    if rng.random() > 0.3:
        return []
    body, en = PATIENT_HINDI[STUDIES[facts.study].body_part]
    what = " aur ".join(f.name for f in facts.findings) or "kuch nahi"
    what_en = " and ".join(f.name for f in facts.findings) or "nothing abnormal"
    text, summary = _HINDI[k]
    scan = STUDIES[facts.study].title
    return [
        Question(
            text.format(days=days, body=body, what=what, scan=scan),
            summary.format(days=days, en=en, what=what_en, scan=scan),
            (),
            "",
            ("open", "summary", "code-mixed"),
            language="hi",
        )
    ]


_CHANGE_ZH = {"larger": "增大", "smaller": "缩小", "unchanged": "无变化"}


def _chinese(facts: Facts, rng: np.random.Generator) -> list[Question]:
    """Kind of image, presence, side, number and change, asked in Chinese when the configuration has the language."""
    if "zh" not in facts.languages:
        return []
    title = STUDIES[facts.study].zh
    options = _shuffled(title, [s.zh for s in STUDIES.values()], 4, rng)
    out = [Question("这是哪一种影像？", title, options, "", ("multiple choice", "modality"), language="zh")]
    for f in facts.findings:
        s = FINDINGS[f.name]
        if len(s.sides) > 1:
            sides = tuple(f"{ZH_WORDS[x]}侧" for x in s.sides)
            text, tags = f"{s.zh}位于患者哪一侧？", ("multiple choice", "side", f.name)
            out.append(Question(text, f"{ZH_WORDS[f.side]}侧", sides, "", tags, language="zh"))
        if s.count is not None and f.name != "lymphocytic infiltrate":
            out.append(Question(f"{s.zh}共有几处？", str(f.count), (), "", ("open", "count", f.name), language="zh"))
        if facts.prior and f.change in _CHANGE_ZH:
            changes = tuple(_CHANGE_ZH.values())
            tags = ("multiple choice", "change", f.name)
            right = _CHANGE_ZH[f.change]
            out.append(
                Question(
                    f"与前次检查相比，{s.zh}有何变化？",
                    right,
                    _shuffled(right, changes, 3, rng),
                    "",
                    tags,
                    language="zh",
                )
            )
    present = {f.name for f in facts.findings}
    for name in STUDIES[facts.study].findings:
        p = facts.prevalence(name)
        u = rng.random()
        if not 0 < p < 1:
            continue
        odds = (1 - p) / p
        if u < min(1.0, odds if name in present else 1 / odds) * 0.4:
            out.append(
                Question(
                    f"图像中有{FINDINGS[name].zh}吗？",
                    "有" if name in present else "没有",
                    ("有", "没有"),
                    "",
                    ("closed", "finding", name),
                    language="zh",
                )
            )
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
    _hindi,
    _chinese,
)
