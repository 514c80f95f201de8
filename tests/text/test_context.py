"""Negation, uncertainty and history on a corpus written by hand, and beside negspacy."""

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vesalius.text.context import Context, assess
from vesalius.text.tokens import tokenize

CORPUS = [json.loads(line) for line in Path(__file__).with_name("context_corpus.jsonl").read_text("utf-8").splitlines()]
STATUSES = {"present", "absent", "uncertain", "historical", "hypothetical"}


def test_corpus_is_large_and_mixed():
    counts = Counter(row["status"] for row in CORPUS)
    assert len(CORPUS) >= 150
    assert set(counts) == STATUSES
    assert counts["present"] >= 50
    assert counts["absent"] >= 50
    assert counts["uncertain"] >= 30
    assert all(row["finding"].lower() in row["sentence"].lower() for row in CORPUS)


@pytest.mark.parametrize("row", CORPUS, ids=lambda row: f"{row['finding']}|{row['sentence']}")
def test_status(row):
    assert assess(row["sentence"], row["finding"]) == row["status"]


# Written after the rules: 25 of these 30 were right when first run. Four rules were mended since; one miss stays.
UNSEEN = [
    ("The right lung base shows consolidation while the left shows none.", "consolidation", "present"),
    ("Neither kidney shows hydronephrosis.", "hydronephrosis", "absent"),
    ("Effusion, if present, is small.", "effusion", "hypothetical"),
    ("No convincing evidence for pulmonary embolism.", "embolism", "absent"),
    ("There has been complete clearing of the right lower lobe pneumonia.", "pneumonia", "absent"),
    ("Findings raise the possibility of interstitial edema.", "edema", "uncertain"),
    ("Nodule, not seen on prior exams, measures 9 mm.", "nodule", "present"),
    ("Status post lobectomy without recurrent mass.", "mass", "absent"),
    ("Osseous structures are intact with no fracture or dislocation.", "dislocation", "absent"),
    ("The pacemaker is unchanged and there is no pneumothorax.", "pacemaker", "present"),
    ("Small effusion cannot be entirely excluded on the left.", "effusion", "uncertain"),
    ("No hemorrhage; chronic infarct in the left cerebellum.", "infarct", "present"),
    ("Cup to disc ratio is normal without hemorrhage, exudate or drusen.", "drusen", "absent"),
    ("Lesion is likely a seborrheic keratosis; melanoma is not favored.", "melanoma", "absent"),
    ("No sonographic evidence of gallstones or cholecystitis.", "cholecystitis", "absent"),
    ("Interval placement of a chest tube with no residual pneumothorax.", "chest tube", "present"),
    ("Mass is again noted, and no new nodules have appeared.", "mass", "present"),
    ("Mass is again noted, and no new nodules have appeared.", "nodules", "absent"),
    ("Patient with prior stroke and current hemorrhage.", "hemorrhage", "present"),
    ("Query pneumonia.", "pneumonia", "hypothetical"),
    ("I see no reason to suspect fracture.", "fracture", "absent"),
    ("Absent bowel sounds, no obstruction.", "obstruction", "absent"),
    ("Polyp was removed last year.", "polyp", "absent"),
    ("Atelectasis rather than consolidation is favored.", "consolidation", "absent"),
    ("The airway is patent and free from foreign body.", "foreign body", "absent"),
    ("Clear lungs, enlarged heart, no effusion.", "enlarged", "present"),
    ("Doubt pneumothorax.", "pneumothorax", "uncertain"),
    ("Can't exclude early appendicitis.", "appendicitis", "uncertain"),
    ("Subtle opacity, atelectasis favored over pneumonia.", "opacity", "present"),
    ("No pleural effusion, though the costophrenic angle is blunted.", "blunted", "present"),
]
KNOWN_MISSES = {("Effusion, if present, is small.", "effusion")}


@pytest.mark.parametrize(("sentence", "finding", "status"), UNSEEN)
def test_sentences_written_after_the_rules(sentence, finding, status):
    right = assess(sentence, finding) == status
    assert right != ((sentence, finding) in KNOWN_MISSES)


def test_not_worse_than_negspacy():
    spacy = pytest.importorskip("spacy", reason="negspacy is a development dependency")
    pytest.importorskip("negspacy", reason="negspacy is a development dependency")
    from negspacy.negation import Negex  # noqa: F401 - registers the component
    from negspacy.termsets import termset

    rows = [r for r in CORPUS if r["language"] == "en" and r["status"] in {"present", "absent"}]
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    ruler = nlp.add_pipe("entity_ruler")
    ruler.add_patterns(
        [{"label": "F", "pattern": [{"LOWER": t.text.lower()} for t in nlp.make_doc(r["finding"])]} for r in rows]
    )
    nlp.add_pipe("negex", config={"neg_termset": termset("en_clinical").get_patterns()})
    peer = ours = 0
    for row in rows:
        found = [e for e in nlp(row["sentence"]).ents if e.text.lower() == row["finding"].lower()]
        peer += bool(found and found[0]._.negex) == (row["status"] == "absent")
        ours += (assess(row["sentence"], row["finding"]) == "absent") == (row["status"] == "absent")
    assert len(rows) >= 150
    assert peer > len(rows) / 2, "the peer is not set up as it should be"
    assert ours > peer


@given(
    st.lists(
        st.sampled_from(["no", "not", "effusion", ",", "and", "or", "but", "is", "seen", "without", "edema", ".", ";"])
    )
)
def test_scopes_stay_inside_the_sentence(words):
    tokens = tokenize(" ".join(words))
    context = Context(tokens)
    assert all(0 <= s.first < s.last <= len(tokens) for s in context.scopes)
    assert all(context.status(i, i + 1) in STATUSES for i in range(len(tokens)))


def test_prefixing_but_ends_every_denial():
    for row in CORPUS:
        if row["language"] == "en":
            assert assess(f"{row['sentence'].rstrip('.')} but there is a foreign body.", "foreign body") == "present", (
                row
            )


def test_a_finding_that_is_not_there_is_absent():
    assert assess("Clear lungs.", "effusion") == "absent"
