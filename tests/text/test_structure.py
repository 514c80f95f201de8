"""Tokens, sentences and sections: cut by hand."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vesalius.text.sections import described_ranges, find_sections, parse_report
from vesalius.text.sentences import split_sentences
from vesalius.text.tokens import Phrases, is_chinese, lemma, tokenize


def sentences(text):
    return [s.text for s in split_sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("No effusion. Heart is normal.", ["No effusion.", "Heart is normal."]),
        ("Seen by Dr. Smith at 3 p.m. today. Stable.", ["Seen by Dr. Smith at 3 p.m. today.", "Stable."]),
        ("A 1.5 cm nodule vs. scar. No change.", ["A 1.5 cm nodule vs. scar.", "No change."]),
        ("1. Nodule. 2. No effusion.", ["1. Nodule.", "2. No effusion."]),
        ("1. Cardiomegaly 2. Effusion", ["1. Cardiomegaly", "2. Effusion"]),
        ("The answer is no. The heart is big.", ["The answer is no.", "The heart is big."]),
        ("Lungs are clear.The heart is normal.", ["Lungs are clear.", "The heart is normal."]),
        ("- Effusion\n- No edema", ["- Effusion", "- No edema"]),
        ("No evidence of:\n- effusion\n- edema\n\nStable.", ["No evidence of:\n- effusion\n- edema", "Stable."]),
        ("Clear lungs\nNormal heart", ["Clear lungs", "Normal heart"]),
        (
            "There is a small left pleural effusion with adjacent\natelectasis in the lung.",
            ["There is a small left pleural effusion with adjacent\natelectasis in the lung."],
        ),
        ("双肺清晰。未见积液；心影正常。", ["双肺清晰。", "未见积液；", "心影正常。"]),
        ("Is it new? Yes!", ["Is it new?", "Yes!"]),
        ("", []),
        (" . ! \n", []),
    ],
)
def test_sentences(text, expected):
    assert sentences(text) == expected


@given(st.text(alphabet=st.sampled_from("ab N1.,;:?!\n\t -()。；"), max_size=200))
def test_sentences_lose_nothing(text):
    pieces = split_sentences(text)
    assert all(text[s.start : s.end] == s.text for s in pieces)
    assert all(a.end <= b.start for a, b in itertools.pairwise(pieces))
    kept = "".join(c for s in pieces for c in s.text if c.isalpha())
    assert kept == "".join(c for c in text if c.isalpha())


def test_a_text_without_full_stops_is_cut():
    assert all(len(s.text) <= 2000 for s in split_sentences("word " * 5000))


MIMIC = """ FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___F with cough  // r/o pneumonia

 COMPARISON:  None.

 FINDINGS:

 Lungs are clear. No
 effusion.

 IMPRESSION:

 Normal chest."""


def test_mimic_form():
    report = parse_report(MIMIC)
    assert report.technique == "CHEST (PA AND LAT)"
    assert report.indication == "___F with cough  // r/o pneumonia"
    assert report.comparison == "None."
    assert report.findings == "Lungs are clear. No\n effusion."
    assert report.impression == "Normal chest."


@pytest.mark.parametrize(
    ("text", "findings", "impression"),
    [
        ("Findings\nClear lungs\n\nImpression\nNormal", "Clear lungs", "Normal"),
        ("**Findings:** Clear lungs.\n**Impression:** Normal.", "Clear lungs.", "Normal."),
        ("## Findings:\nClear.\n## Conclusion:\nNormal.", "Clear.", "Normal."),
        ("CLINICAL HISTORY: Cough. FINDINGS: Clear. IMPRESSION: Normal.", "Clear.", "Normal."),
        ("The lungs are clear. Findings are stable.", "The lungs are clear. Findings are stable.", ""),
        ("Clear lungs.\nIMPRESSION: Normal.", "", "Normal."),
        ("INDICATION: Pain.\nCONCLUSION: Fracture.", "", "Fracture."),
        ("【影像所见】双肺清晰。\n【诊断意见】未见异常。", "双肺清晰。", "未见异常。"),
        ("检查所见：双肺清晰。 印象：未见异常。", "双肺清晰。", "未见异常。"),
        ("", "", ""),
    ],
)
def test_other_forms(text, findings, impression):
    report = parse_report(text)
    assert (report.findings, report.impression) == (findings, impression)


def test_sections_point_into_the_text_and_the_indication_is_left_out():
    for section in find_sections(MIMIC):
        assert MIMIC[section.start : section.end] == section.text
    assert [s.name for s in described_ranges(MIMIC)] == ["findings", "impression"]
    assert parse_report("检查所见：双肺清晰。").language == "zh"


@given(st.text(max_size=200))
def test_any_text_has_sections(text):
    assert all(text[s.start : s.end] == s.text for s in find_sections(text))


def test_tokens():
    assert [t.text for t in tokenize("A 1.5-cm nodule; T12, it's 5mm")] == [
        "A", "1.5", "-", "cm", "nodule", ";", "T", "12", ",", "it's", "5", "mm",
    ]  # fmt: skip
    assert [t.text for t in tokenize("未见pneumothorax")] == ["未", "见", "pneumothorax"]
    assert [t.text for t in tokenize("नहीं है")] == ["नहीं", "है"]


@given(st.text(max_size=200))
def test_tokens_keep_their_places(text):
    tokens = tokenize(text, offset=7)
    assert all(text[t.start - 7 : t.end - 7] == t.text for t in tokens)
    assert "".join(t.text for t in tokens if t.text.isalnum()).isalnum() or not any(t.text.isalnum() for t in tokens)


def test_plural_and_spelling():
    pairs = {"opacities": "opacity", "masses": "mass", "effusions": "effusion", "metastases": "metastasis",
             "oedema": "edema", "haemorrhages": "hemorrhage", "pelvis": "pelvis", "thrombus": "thrombus"}  # fmt: skip
    assert {word: lemma(word) for word in pairs} == pairs


def test_longest_phrase_wins_and_hyphens_do_not_matter():
    phrases = Phrases([("effusion", "a"), ("pericardial effusion", "b"), ("ground glass", "c")])
    found = phrases.find(tokenize("Pericardial effusion, effusions, ground-glass."))
    assert [m.value for m in found] == ["b", "a", "c"]


def test_language_by_script():
    assert is_chinese("左侧 pleural 积液少量")
    assert not is_chinese("Left pleural effusion")
    assert not is_chinese("123")
