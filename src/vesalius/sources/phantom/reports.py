"""Reports written from findings, in English and Chinese, and the phrases that refer to one finding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vesalius.cases import Report
from vesalius.sources.phantom.catalogue import FINDINGS, GRADE_WORDS, STUDIES, ZH_WORDS
from vesalius.sources.phantom.model import SEVERITIES, Finding, Patient

#: Names that take no article.
_MASS_NOUNS = frozenset(f.name for f in FINDINGS.values() if f.mass_noun)
#: Names that are plurals, of which a count can be said.
PLURALS = frozenset(f.name for f in FINDINGS.values() if f.plural_name)
#: Findings whose size is said in mm.
MEASURED = frozenset(f.name for f in FINDINGS.values() if f.measured)
_NUMBERS = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight", 9: "nine"}
_CHANGE = {
    "new": (", new since the prior study", "，较前新发"),
    "larger": (", larger than before", "，较前增大"),
    "smaller": (", smaller than before", "，较前缩小"),
    "unchanged": (", unchanged", "，较前无变化"),
}
_INDICATION = ("Routine check.", "Cough.", "Pain.", "Follow-up.", "Screening.", "Before an operation.")


def severity_word(f: Finding) -> str:
    """The catalogue's word for how far it has gone."""
    return FINDINGS[f.name].words[SEVERITIES.index(f.severity)]


def place(f: Finding, language: str = "en") -> str:
    """Where it is, in words, or ""."""
    s = FINDINGS[f.name]
    if language == "zh":
        return s.where_zh.format(side=ZH_WORDS.get(f.side, ""), zone=ZH_WORDS.get(f.zone, "")) if s.where_zh else ""
    if f.side == "bilateral":
        return "on both sides"
    return s.where.format(side=f.side, zone=f.zone) if s.where else ""


def noun(f: Finding) -> str:
    """Adjective and name without article: `moderate pleural effusion`, `three mild drusen`."""
    s = FINDINGS[f.name]
    if s.count is not None and f.name != "lymphocytic infiltrate" and not (s.plural and f.count == 1):
        name = s.plural or f.name
        if f.name in PLURALS or s.plural:
            return f"{_NUMBERS.get(f.count, str(f.count))} {name}"
    return f"{severity_word(f)} {f.name}"


def _article(words: str, f: Finding) -> str:
    s = FINDINGS[f.name]
    many = f.name in PLURALS or (s.plural and f.count > 1)
    if many or f.name in _MASS_NOUNS:
        return words
    return ("an " if words[0] in "aeiou" else "a ") + words


def is_many(f: Finding) -> bool:
    """Whether the verb is plural."""
    return f.name in PLURALS or bool(FINDINGS[f.name].plural and f.count > 1)


def phrase(f: Finding) -> str:
    """Words that refer to one finding, for grounding: `a small nodule in the left upper zone`."""
    words = _article(noun(f), f)
    where = place(f)
    return f"{words} {where}" if where else words


def _measure(f: Finding) -> str:
    return f" measuring {f.size:g} mm" if f.name in MEASURED and f.size else ""


def sentence(f: Finding, rng: np.random.Generator) -> str:
    """One English sentence that states a finding with its certainty and change."""
    what = phrase(f) + _measure(f)
    tail = _CHANGE[f.change][0] if f.change else ""
    many = is_many(f)
    k = int(rng.integers(3))
    if f.certainty == "possible":
        forms = (
            f"There may be {what}{tail}.",
            f"Possible {noun(f)}{_space(place(f))}{_measure(f)}{tail}.",
            f"{_upper(what)} cannot be excluded{tail}.",
        )
    else:
        forms = (
            f"There {'are' if many else 'is'} {what}{tail}.",
            f"{_upper(what)} {'are' if many else 'is'} seen{tail}.",
            f"{_upper(what)}{tail}.",
        )
    return forms[k]


def _space(words: str) -> str:
    return f" {words}" if words else ""


def _upper(words: str) -> str:
    return words[:1].upper() + words[1:]


def denial(names: Sequence[str], rng: np.random.Generator) -> str:
    """One English sentence that denies findings."""
    listed = names[0] if len(names) == 1 else ", ".join(names[:-1]) + " or " + names[-1]
    forms = (f"No {listed}.", f"There is no {listed}.", f"No evidence of {listed}.", f"No {listed} is seen.")
    return forms[int(rng.integers(len(forms)))]


def sentence_zh(f: Finding, rng: np.random.Generator) -> str:
    """One Chinese sentence that states a finding."""
    s = FINDINGS[f.name]
    name = s.zh
    where = place(f, "zh")
    grade = (
        ZH_WORDS[severity_word(f)]
        if s.words == GRADE_WORDS
        else {
            "small": "少量" if "积" in name else "小",
            "moderate": "中等量" if "积" in name else "中等",
            "large": "大量" if "积" in name else "大",
        }[severity_word(f)]
    )
    number = f"{f.count}处" if s.count is not None and f.name != "lymphocytic infiltrate" else ""
    size = f"，大小约{f.size:g}mm" if f.name in MEASURED and f.size else ""
    tail = _CHANGE[f.change][1] if f.change else ""
    what = f"{where}{number}{grade}{name}"
    if f.certainty == "possible":
        return (f"{what}可能{size}{tail}。", f"不除外{what}{size}{tail}。")[int(rng.integers(2))]
    return (f"可见{what}{size}{tail}。", f"{what}{size}{tail}。")[int(rng.integers(2))]


def write_report(
    study: str,
    patient: Patient,
    findings: Sequence[Finding],
    resolved: Sequence[str],
    gap_days: float | None,
    view: str,
    language: str,
    rng: np.random.Generator,
) -> Report:
    """A structured report.

    Args:
        study: Kind of study.
        patient: Who.
        findings: What is there.
        resolved: What was there before and is gone.
        gap_days: Days since the prior study, None when there is none.
        view: Views in words (`PA and LATERAL`), or "".
        language: `en` or `zh`.
        rng: Chooses phrasings and which absent findings are denied.
    """
    s = STUDIES[study]
    absent = [n for n in s.findings if n not in {f.name for f in findings} and n not in resolved]
    said = [n for n in absent if rng.random() < 0.7]
    normal = int(rng.integers(len(s.normal)))
    order = list(findings)
    if language == "zh":
        lines = [sentence_zh(f, rng) for f in order]
        lines += [f"原{FINDINGS[n].zh}已消失。" for n in resolved]
        if said:
            lines.append("未见" + "、".join(FINDINGS[n].zh for n in said) + "。")
        lines.append(s.normal_zh[normal])
        end = "；".join(FINDINGS[f.name].zh + ("可能" if f.certainty == "possible" else "") for f in order)
        return Report(
            findings="".join(lines),
            impression=f"{end}。" if end else "未见明显异常。",
            indication=f"{patient.age:g}岁{'女' if patient.sex == 'F' else '男'}性。",
            comparison="" if gap_days is None else f"与{gap_days:g}天前检查比较。",
            technique=f"{s.zh}{view.replace(' and ', '、')}。",
            language="zh",
        )
    lines = [sentence(f, rng) for f in order]
    for n in resolved:
        lines.append(
            (f"The previously seen {n} has resolved.", f"Interval resolution of the {n}.")[int(rng.integers(2))]
        )
    while said:
        take = min(len(said), int(rng.integers(1, 4)))
        lines.append(denial(said[:take], rng))
        said = said[take:]
    lines.append(s.normal[normal])
    rng.shuffle(lines)
    who = f"{patient.age:g}-year-old {'woman' if patient.sex == 'F' else 'man'}. "
    if order:
        bits = [("Possible " if f.certainty == "possible" else "") + noun(f) + _space(place(f)) for f in order]
        impression = " ".join(_upper(b) + "." for b in bits)
    else:
        impression = ("No abnormality.", f"Normal {s.title}.", "No abnormal finding.")[int(rng.integers(3))]
    return Report(
        findings=" ".join(lines),
        impression=impression,
        indication=who + _INDICATION[int(rng.integers(len(_INDICATION)))],
        comparison="None." if gap_days is None else f"Study of {gap_days:g} days earlier.",
        technique=_upper(f"{s.title}, {view} view{'s' if ' and ' in view else ''}." if view else f"{s.title}."),
        language="en",
    )
