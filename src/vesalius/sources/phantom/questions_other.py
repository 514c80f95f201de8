"""Questions in other languages than English: a patient's in Hindi-English, a reader's in Chinese."""

from __future__ import annotations

import numpy as np

from vesalius.cases import Question
from vesalius.sources.phantom.catalogue import FINDINGS, PATIENT_HINDI, STUDIES, ZH_WORDS
from vesalius.sources.phantom.facts import Facts, shuffled

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


def hindi(facts: Facts, rng: np.random.Generator) -> list[Question]:
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


def chinese(facts: Facts, rng: np.random.Generator) -> list[Question]:
    """Kind of image, presence, side, number and change, asked in Chinese when the configuration has the language."""
    if "zh" not in facts.languages:
        return []
    title = STUDIES[facts.study].zh
    options = shuffled(title, [s.zh for s in STUDIES.values()], 4, rng)
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
                    shuffled(right, changes, 3, rng),
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
