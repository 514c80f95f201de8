"""Reports and questions: read back by a small reader of English that shares nothing with the writer."""

from __future__ import annotations

import re
from collections import Counter, defaultdict

import numpy as np
import pytest
from scipy.stats import binom

from vesalius.cases import Case, Question
from vesalius.sources.phantom import Phantom, PhantomConfig
from vesalius.sources.phantom.facts import Facts
from vesalius.sources.phantom.patients import course, locate, make_patient, prevalence
from vesalius.sources.phantom.questions import ask

#: name in a report (singular or plural) -> label; written by hand.
PLURAL = {
    "liver lesions": "liver lesion",
    "polyps": "polyp",
    "impacted teeth": "impacted tooth",
    "periapical lesions": "periapical lesion",
    "cell divisions": "cell division",
    "apoptotic cells": "apoptotic cell",
}
NUMBER = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9}


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    config = {"seed": 31, "size": 32, "size_3d": 16, "visits": (1, 3), "uncertain": 0.3}
    return list(Phantom(PhantomConfig.from_dict(config)).cases(150))


#: Options that are always given in the same order.
FIXED = ({"yes", "no"}, {"appeared", "gone"}, {"有", "没有"})


def finding_names(case: Case) -> list[str]:
    return [k for k, v in case.labels.items() if v.value in (0, 1) and isinstance(v.value, int) and k in NAMES]


NAMES = set(
    """pleural effusion|consolidation|nodule|mass|pneumothorax|cardiomegaly|atelectasis|pulmonary edema|
rib fracture|liver lesion|renal cyst|splenomegaly|microaneurysms|retinal haemorrhages|hard exudates|
drusen|optic disc cupping|intraretinal fluid|subretinal fluid|drusenoid deposits|geographic atrophy|
melanoma|blue-white veil|dots and globules|simple cyst|benign nodule|suspicious nodule|tumour nests|
lymphocytic infiltrate|mitoses|leukocytosis|sickle cells|target cells|thrombocytopenia|polyp|ulcer|
bleeding|instrument|brain tumour|white matter lesions|infarct|brain atrophy|caries|dental restoration|
impacted tooth|periapical lesion|missing teeth|circumscribed mass|spiculated mass|microcalcifications|
skin thickening|cell division|apoptotic cell|increased cell motility""".replace("\n", "").split("|")
)


def read(text: str, names: list[str]) -> dict[str, dict[str, object]]:
    """A small report reader: sentence by sentence, which finding, denied or not, doubtful or not, with what."""
    out: dict[str, dict[str, object]] = {}
    for sentence in re.split(r"(?<=\.)\s+", text):
        low = sentence.lower()
        for many, one in PLURAL.items():
            low = low.replace(many, one)
        rest = low
        for name in sorted(names, key=len, reverse=True):
            if not re.search(rf"\b{re.escape(name)}\b", rest):
                continue
            rest = rest.replace(name, " ")
            denied = low.startswith(("no ", "there is no ", "there are no "))
            gone = "has resolved" in low or "resolution of" in low
            doubt = any(w in low for w in ("possible", "may be", "cannot be excluded"))
            sides = {"both": "bilateral"} | {s: s for s in ("left", "right")}
            side = next((v for k, v in sides.items() if re.search(rf"\b{k}\b", low)), "")
            size = re.search(r"([\d.]+) mm", low)
            count = re.search(rf"\b(\d+|{'|'.join(NUMBER)}) {re.escape(name)}", low)
            out[name] = {
                "denied": denied,
                "gone": gone,
                "doubt": doubt,
                "side": side,
                "size": float(size[1]) if size else None,
                "count": (NUMBER.get(count[1]) or int(count[1])) if count else None,
                "change": next((w for w in ("new since", "larger", "smaller", "unchanged") if w in low), ""),
            }
    return out


def test_reports_say_what_is_there_and_nothing_else(cases: list[Case]) -> None:
    statements = 0
    for c in cases:
        assert c.report is not None
        names = finding_names(c)
        heard = read(c.report.findings, names)
        for name in names:
            present = c.label(name) == 1
            if present:
                h = heard[name]
                assert not h["denied"], (c.id, name)
                assert not h["gone"], (c.id, name)
                change = c.label(f"{name} change") or ""
                assert str(h["change"]).split()[:1] == ([change] if change else []), (c.id, name)
                regions = [r for r in c.regions if r.attributes.get("finding") == name]
                if regions:
                    assert h["doubt"] == (regions[0].attributes["certainty"] == "possible")
                    sides = {r.attributes.get("side") for r in regions} - {None}
                    if h["side"]:
                        assert sides == ({"left", "right"} if h["side"] == "bilateral" else {h["side"]}), (c.id, name)
            elif name in heard:
                assert heard[name]["denied"] or heard[name]["gone"], (c.id, name)
                assert heard[name]["gone"] == (c.label(f"{name} change") == "resolved")
            statements += name in heard
        impression = read(c.report.impression, names)
        assert {n for n, h in impression.items() if not h["denied"]} == {n for n in names if c.label(n) == 1}
    assert statements > 300


def test_answers_agree_with_the_labels(cases: list[Case]) -> None:
    asked: Counter[str] = Counter()
    for c in cases:
        for q in c.questions:
            name = next((t for t in q.tags if t in NAMES), "")
            if m := re.match(r"(?:Is there any|Are there any|Does the image show) (.+?)[?]$", q.text):
                m_name = m[1].rstrip(".")
                assert (q.answer == "yes") == (c.label(m_name) == 1), (c.id, q.text)
                asked["exists"] += 1
            elif q.text.startswith("Is the ") and "larger than" in q.text:
                size = next(
                    float(r.attributes["size_mm"]) for r in c.regions if r.label == name and "size_mm" in r.attributes
                )  # type: ignore[arg-type]
                limit = float(re.search(r"(\d+) mm", q.text)[1])  # type: ignore[index]
                # Regions of the same kind differ in size; the first is the one that is asked about.
                if name not in ("simple cyst", "benign nodule", "suspicious nodule"):
                    assert (q.answer == "yes") == (size > limit), (c.id, q.text)
                asked["size"] += 1
            elif q.text.startswith("How has the"):
                assert q.answer == c.label(f"{name} change")
                asked["change"] += 1
            elif q.text.startswith("Was this image made by"):
                title = {"DX": "chest x-ray", "OPT": "OCT", "US": "ultrasound", "ES": "endoscopy"}.get(
                    c.images[0].modality
                )
                if title:
                    assert (q.answer == "yes") == (title in q.text)
                    asked["modality"] += 1
    assert min(asked[k] for k in ("exists", "size", "change", "modality")) > 10, asked


def test_every_question_is_whole(cases: list[Case]) -> None:
    languages = set()
    for c in cases:
        ids = [q.id for q in c.questions]
        assert len(set(ids)) == len(ids)
        pairs = defaultdict(list)
        for q in c.questions:
            assert q.text
            assert q.answer
            assert len(set(q.options)) == len(q.options)
            assert not q.options or q.answer in q.options
            if q.pair:
                pairs[q.pair].append(q.answer)
            languages.add(q.language)
        assert all(sorted(a) == ["no", "yes"] for a in pairs.values())
    assert languages == {"en", "hi"}


@pytest.fixture(scope="module")
def asked() -> list[Question]:
    """Questions of 3,000 visits whose pictures were never drawn."""
    config = PhantomConfig(seed=77, visits=(2, 2))
    out: list[Question] = []
    for i in range(1, 6000, 2):
        first, visit = locate(config, i)
        patient, explained = make_patient(config, first)
        state = course(config, patient, explained, visit)[-1]
        facts = Facts(
            str(i),
            patient.study,
            patient,
            state.findings,
            state.resolved,
            True,
            lambda name, p=patient: prevalence(config, p, name),
            (),
            ("", 0),
            ("en", "zh"),
        )
        out += ask(facts, np.random.default_rng(i))
    return out


def test_majority_answers_without_the_image_score_at_chance(asked: list[Question]) -> None:
    """For every form of question, the best fixed answer and the best fixed place are right as often as chance."""
    groups: dict[tuple[str, int], list[Question]] = defaultdict(list)
    for q in asked:
        if q.options and "size" not in q.tags:
            groups[(re.sub(r"\d+", "#", q.text), len(q.options))].append(q)
        elif q.options:
            groups[("size " + q.tags[-1], 2)].append(q)
    checked = 0
    pooled: Counter[tuple[str, str]] = Counter()
    for (text, k), group in groups.items():
        # Probing twins name a true or a false attribute in the text itself; they are judged as pairs below.
        if "probe" in group[0].tags:
            pooled.update((" ".join(group[0].tags), q.answer) for q in group)
            continue
        n = len(group)
        if n < 60:
            continue
        best = max(Counter(q.answer for q in group).values())
        chance = 1 / k
        # 99.99 % of fair sets stay below this; the best of k answers is taken, so the level is shared among k.
        assert best <= binom.ppf(1 - 1e-4 / k, n, chance), (text, best / n, n)
        place = max(Counter(q.options.index(q.answer) for q in group).values())
        if set(group[0].options) not in FIXED and "side" not in group[0].tags:
            assert place <= binom.ppf(1 - 1e-4 / k, n, chance), (text, place / n, n)
        checked += 1
    assert checked > 40
    for tags in {t for t, _ in pooled}:
        assert pooled[(tags, "yes")] == pooled[(tags, "no")]


def test_chinese_answers_agree_with_the_labels() -> None:
    asked: Counter[str] = Counter()
    config = {"seed": 33, "studies": {"mammography": 1, "endoscopy": 1}, "visits": (2, 2), "size": 32}
    for c in Phantom(PhantomConfig.from_dict({**config, "languages": ("zh",), "prevalence_scale": 1.5})).cases(40):
        for q in (q for q in c.questions if q.language == "zh"):
            kind = q.tags[1]
            asked[kind] += 1
            if kind == "modality":
                assert q.answer == {"MG": "乳腺X线摄影", "ES": "内镜"}[c.images[0].modality]
                continue
            mine = [r for r in c.regions if r.attributes.get("finding") == q.tags[2] and r.granularity == "lesion"]
            if kind == "finding":
                assert (q.answer == "有") == (c.label(q.tags[2]) == 1)
            elif kind == "side":
                assert {r.attributes["side"] for r in mine} == {{"左侧": "left", "右侧": "right"}[q.answer]}
            elif kind == "count":
                assert len({r.attributes["id"] for r in mine}) == int(q.answer)
            elif kind == "change":
                assert {"增大": "larger", "缩小": "smaller", "无变化": "unchanged"}[q.answer] == c.label(
                    f"{q.tags[2]} change"
                )
    assert min(asked[k] for k in ("modality", "finding", "side", "count", "change")) > 5, asked


def test_chinese_reports_deny_and_state_rightly() -> None:
    zh = {
        "pleural effusion": "胸腔积液",
        "nodule": "肺结节",
        "mass": "肺肿块",
        "pneumothorax": "气胸",
        "cardiomegaly": "心影增大",
        "atelectasis": "肺不张",
        "pulmonary edema": "肺水肿",
        "rib fracture": "肋骨骨折",
        "consolidation": "肺实变",
    }
    n = 0
    for c in Phantom(seed=6, studies={"chest_film": 1}, languages=("zh",), size=32).cases(40):
        assert c.report is not None
        assert c.report.language == "zh"
        for name, word in zh.items():
            for sentence in c.report.findings.split("。"):
                if word in sentence:
                    assert sentence.startswith("未见") == (c.label(name) == 0), (c.id, sentence)
                    n += 1
        for f in c.regions:
            if f.label == "pleural effusion" and f.attributes.get("side") == "left":
                assert "左侧" in c.report.findings or "双侧" in c.report.findings
    assert n > 100
