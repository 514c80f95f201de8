"""What reports say: expectations worked out by hand."""

import json
from importlib import resources

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vesalius.cases import Report
from vesalius.errors import BadInputError, UsageError
from vesalius.text.findings import entities_and_relations, extract, label_report
from vesalius.text.lexicon import CHEXPERT, Lexicon, default_lexicon, sizes_mm
from vesalius.text.tokens import tokenize

REPORT = """EXAM: Chest two views.
INDICATION: Evaluate for pneumonia. History of tuberculosis.
FINDINGS: The heart is mildly enlarged. There is a small left pleural effusion, increased since the prior study.
Patchy opacity in the right lower lobe may represent atelectasis or pneumonia. No pneumothorax.
A 1.2 x 0.8 cm nodule is seen in the left upper lobe.
IMPRESSION:
1. Small left effusion.
2. No edema."""


def by_finding(report):
    return {m.finding: m for m in extract(report)}


def test_a_whole_report():
    mentions = by_finding(REPORT)
    assert mentions["cardiomegaly"].status == "present"
    assert mentions["cardiomegaly"].severity == "mild"
    assert mentions["pneumonia"].status == "uncertain"
    assert mentions["atelectasis"].status == "uncertain"
    assert (mentions["lung_opacity"].side, mentions["lung_opacity"].location) == ("right", "lower lobe")
    assert mentions["pneumothorax"].status == "absent"
    assert mentions["edema"].status == "absent"
    assert (mentions["nodule"].size_mm, mentions["nodule"].side) == (12.0, "left")
    assert "tuberculosis" not in mentions, "the indication is not a finding"
    first = next(m for m in extract(REPORT) if m.finding == "pleural_effusion")
    assert (first.side, first.severity, first.change, first.section) == ("left", "mild", "worse", "findings")


def test_spans_point_at_the_words():
    for mention in extract(REPORT):
        words = REPORT[mention.span[0] : mention.span[1]]
        assert words
        assert words in mention.sentence
    nodule = by_finding(REPORT)["nodule"]
    assert REPORT[nodule.span[0] : nodule.span[1]] == "nodule"


def test_a_record_gives_the_same_as_its_text():
    record = Report(findings="Small left effusion.", impression="No pneumothorax.")
    mentions = extract(record)
    assert [(m.finding, m.status, m.section) for m in mentions] == [
        ("pleural_effusion", "present", "findings"),
        ("pneumothorax", "absent", "impression"),
    ]
    assert [record.text[slice(*m.span)] for m in mentions] == ["effusion", "pneumothorax"]
    assert label_report(record) == label_report(record.text)


@pytest.mark.parametrize(
    ("text", "finding", "status"),
    [
        ("Heart size is normal.", "cardiomegaly", "absent"),
        ("Heart size and mediastinal contours are within normal limits.", "cardiomegaly", "absent"),
        ("Heart size and mediastinal contours are within normal limits.", "enlarged_cardiomediastinum", "absent"),
        ("The heart, mediastinum, and pulmonary vascularity are normal.", "pulmonary_congestion", "absent"),
        ("Normal heart size and mediastinal contours.", "enlarged_cardiomediastinum", "absent"),
        ("The heart is not enlarged.", "cardiomegaly", "absent"),
        ("Heart size is top normal.", "cardiomegaly", "uncertain"),
        ("The cardiac silhouette is markedly enlarged.", "cardiomegaly", "present"),
        ("Heart normal, aorta tortuous.", "cardiomegaly", "absent"),
        ("Heart normal, aorta tortuous.", "tortuous_aorta", "present"),
        ("The aorta is tortuous and calcified.", "atherosclerosis", "present"),
        ("Tortuosity and calcification of the aorta.", "tortuous_aorta", "present"),
        ("Flattened hemidiaphragms.", "hyperinflation", "present"),
        ("Lungs are clear.", "lung_opacity", "absent"),
        ("Blunting of the left costophrenic angle.", "costophrenic_blunting", "present"),
        ("The spleen is normal in size.", "splenomegaly", "absent"),
        ("Cup to disc ratio is increased.", "glaucoma", "present"),
        ("Old healed left rib fractures.", "fracture", "present"),
        ("Sequela of prior granulomatous disease.", "granuloma", "present"),
        ("Calcifications suggest a previous granulomatous process.", "granuloma", "uncertain"),
        ("双肺未见实变。", "consolidation", "absent"),
        ("右下肺斑片影，考虑肺炎。", "pneumonia", "uncertain"),
        ("心影增大。", "cardiomegaly", "present"),
        ("左侧胸腔少量积液，较前相仿。", "pleural_effusion", "present"),
        ("Pleural effusion nahi hai.", "pleural_effusion", "absent"),
    ],
)
def test_one_sentence(text, finding, status):
    assert by_finding(text)[finding].status == status


@pytest.mark.parametrize(
    ("text", "finding", "expected"),
    [
        ("Small left effusion, right basilar opacity.", "pleural_effusion", ("left", None, "mild")),
        ("Small left effusion, right basilar opacity.", "lung_opacity", ("right", "base", None)),
        ("LLL atelectasis and a large right pneumothorax.", "atelectasis", ("left", "lower lobe", None)),
        ("LLL atelectasis and a large right pneumothorax.", "pneumothorax", ("right", None, "severe")),
        ("Left and right pleural effusions.", "pleural_effusion", ("bilateral", "pleura", None)),
        ("Trace bilateral effusions.", "pleural_effusion", ("bilateral", None, "minimal")),
        ("Opacity in the left upper lobe.", "lung_opacity", ("left", "upper lobe", None)),
        ("右下肺实变。", "consolidation", ("right", "lower lobe", None)),
    ],
)
def test_side_place_and_severity(text, finding, expected):
    mention = by_finding(text)[finding]
    assert (mention.side, mention.location, mention.severity) == expected


@pytest.mark.parametrize(
    ("text", "change"),
    [
        ("New left effusion.", "new"),
        ("The effusion has increased.", "worse"),
        ("Decreased left effusion.", "better"),
        ("No change in the left effusion.", "stable"),
        ("The left effusion has resolved.", "resolved"),
        ("Left effusion.", None),
        ("No new effusion.", None),
    ],
)
def test_change(text, change):
    assert by_finding(text)["pleural_effusion"].change == change


def test_sizes():
    assert [mm for *_, mm in sizes_mm("1.2 x 0.8 cm; 5-mm; 12 毫米; 2 to 3 mm; 3 cm x 2 cm; 0.5cm")] == [
        12,
        5,
        12,
        3,
        30,
        5,
    ]
    assert sizes_mm("900 cm, 12 mmHg, T12, 5 days") == []
    assert by_finding("Line tip 3 cm above the carina.") == {} or all(
        m.size_mm is None for m in extract("Catheter tip 3 cm above the carina.")
    )


def test_chexpert_labels():
    labels = label_report(REPORT)
    assert tuple(labels) == CHEXPERT
    assert labels == {
        "No Finding": None,
        "Enlarged Cardiomediastinum": None,
        "Cardiomegaly": 1,
        "Lung Opacity": 1,
        "Lung Lesion": 1,
        "Edema": 0,
        "Consolidation": None,
        "Pneumonia": -1,
        "Atelectasis": -1,
        "Pneumothorax": 0,
        "Pleural Effusion": 1,
        "Pleural Other": None,
        "Fracture": None,
        "Support Devices": None,
    }


def test_aggregation_prefers_present_then_uncertain():
    assert label_report("No effusion. Possible effusion.")["Pleural Effusion"] == -1
    assert label_report("Possible effusion. Left effusion. No effusion.")["Pleural Effusion"] == 1
    assert label_report("Rule out pneumonia.")["Pneumonia"] is None
    assert label_report("History of pneumonia.")["Pneumonia"] is None


def test_no_finding():
    assert label_report("Lungs are clear. Normal heart size. No pneumothorax.")["No Finding"] == 1
    assert label_report("Right IJ catheter. No pneumothorax.")["No Finding"] == 1
    assert label_report("Possible pneumonia.")["No Finding"] is None
    assert set(label_report("").values()) == {None}
    assert set(label_report(" \n 12 .").values()) == {None}


def test_only_negations():
    labels = label_report("No effusion. No pneumothorax. No consolidation. No edema.")
    assert {name for name, value in labels.items() if value == 0} == {
        "Pleural Effusion",
        "Pneumothorax",
        "Consolidation",
        "Edema",
    }
    assert labels["No Finding"] == 1


def test_extended_labels_climb_to_parents():
    labels = label_report("Subdural hematoma. No subarachnoid hemorrhage.", extended=True)
    assert labels["subdural_hematoma"] == 1
    assert labels["intracranial_hemorrhage"] == 1
    assert labels["subarachnoid_hemorrhage"] == 0
    assert label_report("No subdural hematoma.", extended=True)["intracranial_hemorrhage"] is None


def test_entities_and_relations():
    text = "Small left effusion. Opacity in the right base is suggestive of pneumonia. No pneumothorax."
    entities, relations = entities_and_relations(text)
    effusion = ("pleural_effusion", "observation:present")
    opacity = ("lung_opacity", "observation:present")
    assert {effusion, opacity, ("pneumonia", "observation:uncertain")} <= set(entities)
    assert ("pneumothorax", "observation:absent") in entities
    assert (("left", "modifier"), "modify", effusion) in relations
    assert (("mild", "modifier"), "modify", effusion) in relations
    assert (opacity, "located_at", ("base", "anatomy")) in relations
    assert (opacity, "suggestive_of", ("pneumonia", "observation:uncertain")) in relations
    assert all(head in entities and tail in entities for head, _, tail in relations)


def test_same_meaning_gives_the_same_graph():
    one = entities_and_relations("Air-space opacification at the left base.")
    two = entities_and_relations("Airspace opacity in the LEFT basal region.")
    assert set(one[0]) == set(two[0])


def test_lexicon_is_broad_and_sound():
    lexicon = default_lexicon()
    assert len(lexicon.findings) >= 60
    assert {f.body_part for f in lexicon.findings.values()} >= {
        "chest", "abdomen", "brain", "fundus", "oct", "skin", "breast", "histology", "dental", "blood",
    }  # fmt: skip
    assert {f.chexpert for f in lexicon.findings.values()} - {""} == set(CHEXPERT) - {"No Finding"}
    table = json.loads(resources.files("vesalius.text").joinpath("data/findings.json").read_text("utf-8"))
    assert all(entry["zh"] for entry in table["findings"] if entry["id"] != "costophrenic_blunting")


def test_every_synonym_is_found_alone():
    for finding in default_lexicon().findings.values():
        for phrase in (p for phrases in finding.synonyms.values() for p in phrases):
            ids = {i for m in default_lexicon().match(tokenize(phrase)) for i in m.value.split("|")}
            assert finding.id in ids, (finding.id, phrase)


def test_lexicon_can_be_extended():
    halo = {"id": "halo", "name": "Halo", "en": ["halo sign"], "parents": ["lung_opacity"]}
    [mention] = extract("A halo sign on the left.", lexicon=Lexicon([halo]))
    assert (mention.finding, mention.side) == ("halo", "left")
    with pytest.raises(BadInputError, match="unknown parent"):
        Lexicon([{**halo, "parents": ["nothing"]}])
    with pytest.raises(BadInputError, match="at least one phrase"):
        Lexicon([{"id": "x", "name": "X"}])


def test_unknown_language_is_refused():
    with pytest.raises(UsageError, match="English and Chinese"):
        extract("Pas d'épanchement.", language="fr")


@pytest.mark.parametrize(
    "text", ["", " ", "\n\n", "🫁🩻", "لا يوجد انصباب جنبي", "אין תפליט", "\u202eno effusion\u202c", "\x00"]
)
def test_odd_texts_give_no_false_finding(text):
    assert all(m.status == "absent" for m in extract(text))


def test_emoji_and_mixed_scripts_do_not_shift_spans():
    text = "🫁 छाती: left pleural effusion hai, लेकिन no pneumothorax 👍."
    found = {text[slice(*m.span)]: m.status for m in extract(text)}
    assert found == {"pleural effusion": "present", "pneumothorax": "absent"}


@pytest.mark.parametrize("unit", ["No focal disease is seen today. ", "no ", "FINDINGS: \n", "a"])
def test_a_megabyte_ends(unit):
    assert extract(unit * (1_000_000 // len(unit))) == ()


@pytest.mark.parametrize("unit", ["no effusion and left edema ", "effusion, ", "heart size normal enlarged aorta "])
def test_nothing_is_lost_in_text_without_full_stops(unit):
    """Such text is cut so that the work stays linear; the mentions must grow with the length all the same."""
    short, long = (len(extract(unit * (length // len(unit)))) for length in (20_000, 80_000))
    assert short > 100
    assert long == pytest.approx(4 * short, rel=0.05)


@settings(max_examples=60)
@given(st.text(max_size=300))
def test_any_text_is_read(text):
    for mention in extract(text):
        assert 0 <= mention.span[0] < mention.span[1] <= len(text)
    entities, relations = entities_and_relations(text)
    assert all(head in entities and tail in entities for head, _, tail in relations)


@settings(max_examples=60)
@given(
    st.lists(
        st.sampled_from(["No effusion.", "Left effusion.", "Possible effusion.", "Normal heart size."]), max_size=5
    )
)
def test_labels_do_not_depend_on_sentence_order(sentences):
    assert label_report(" ".join(sentences)) == label_report(" ".join(reversed(sentences)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Acute 1.2 cm right thalamic hemorrhage with mild vasogenic edema. No midline shift or hydrocephalus.",
            {
                "intracranial_hemorrhage": "present",
                "midline_shift": "absent",
                "hydrocephalus": "absent",
                "soft_tissue_swelling": "present",
            },
        ),
        (
            "Gallbladder contains multiple stones. Common bile duct is not dilated. Liver compatible with steatosis.",
            {"gallstones": "present", "biliary_dilatation": "absent", "hepatic_steatosis": "present"},
        ),
        (
            "Irregular hypoechoic mass in the left breast. No axillary lymphadenopathy.",
            {"breast_mass": "present", "lymphadenopathy": "absent"},
        ),
        (
            "Dot and blot hemorrhages and hard exudates, consistent with nonproliferative diabetic retinopathy.",
            {"retinal_hemorrhage": "present", "hard_exudate": "present", "diabetic_retinopathy": "present"},
        ),
        (
            "OCT: subretinal fluid; no intraretinal cysts.",
            {"subretinal_fluid": "present", "intraretinal_fluid": "absent"},
        ),
        (
            "Atypical pigment network, suspicious for melanoma.",
            {"pigment_network": "present", "melanoma": "uncertain"},
        ),
        (
            "Invasive ductal carcinoma with lymphovascular invasion. No necrosis identified.",
            {"breast_cancer": "present", "lymphovascular_invasion": "present", "necrosis": "absent"},
        ),
        (
            "Impacted third molars bilaterally; caries of tooth 16, no periapical lesion.",
            {"impacted_tooth": "present", "caries": "present", "periapical_lesion": "absent"},
        ),
        ("Multiple target cells; no blasts seen.", {"target_cells": "present", "blast_cells": "absent"}),
        (
            "右侧基底节区脑出血，中线移位约5mm。未见骨折。",
            {"intracranial_hemorrhage": "present", "midline_shift": "present", "fracture": "absent"},
        ),
        (
            "胆囊结石，无胆管扩张。心影不大。",
            {"gallstones": "present", "biliary_dilatation": "absent", "cardiomegaly": "absent"},
        ),
    ],
)
def test_other_body_parts(text, expected):
    assert {m.finding: m.status for m in extract(text)} == expected


def test_chinese_sizes():
    assert by_finding("右上肺见一大小约1.2cm结节。")["nodule"].size_mm == 12.0
    assert by_finding("中线移位约5mm。")["midline_shift"].size_mm == 5.0


def test_not_significantly_changed_is_no_severity():
    mention = by_finding("Right effusion, not significantly changed.")["pleural_effusion"]
    assert (mention.severity, mention.change) == (None, "stable")
