"""Real sets as worlds: diagnoses, and training cases that nano never saw."""

from __future__ import annotations

import pytest

from vesalius.cases import Case, Image
from vesalius.cases.record import Source
from vesalius.errors import MissingError
from vesalius.sources.open_sets.splits import part_of
from vesalius.systems.frame.inputs import class_of
from vesalius.systems.frame.worlds.films import single_finding_films
from vesalius.systems.frame.worlds.real import Sets, diagnosed, real_set


@pytest.mark.parametrize(
    ("dataset", "labels", "name"),
    [
        ("busi", {"class": "malignant"}, "malignant"),
        ("isic2017", {"melanoma": 1}, "melanoma"),
        ("isic2017", {"melanoma": 0}, "benign skin lesion"),
        ("nih-cxr14", {"Pneumonia": 1, "Infiltration": 1}, "pneumonia"),
        ("nih-cxr14", {"No Finding": 1, "Pneumonia": 0}, "no finding"),
        ("nih-cxr14", {"Mass": 1}, ""),
    ],
)
def test_the_one_diagnosis_that_a_set_is_about(dataset, labels, name):
    found = diagnosed(Case("a", source=Source(dataset=dataset), labels=labels))
    assert (class_of(found) if found is not None else "") == name


def test_a_film_with_two_findings_has_no_single_class():
    for case in single_finding_films(30, 101):
        there = [k for k, v in case.labels.items() if k != "class" and v.value == 1]
        assert there == ([] if class_of(case) == "no finding" else [class_of(case)])


def test_a_set_that_is_not_there_is_named(tmp_path):
    with pytest.raises(MissingError, match="busi"):
        real_set(tmp_path, "busi")
    with pytest.raises(MissingError):
        Sets(("busi",)).parts(0, folder=None)


def test_parts_hold_patients_that_nano_never_saw_and_each_once(shared_data):
    one, two = (Sets(("busi", "isic2017")).parts(seed, folder=shared_data) for seed in (0, 1))
    # Nothing is chosen on validation cases here, and nano was not trained on them either.
    assert {part_of(c) for c in one.train} == {"system", "validation"}
    assert {part_of(c) for c in one.test} == {"test"}
    assert not {c.group for c in one.train} & {c.group for c in one.test}
    assert [c.id for c in one.test] == [c.id for c in two.test]  # a seed does not change who is tested
    free = [Sets(("busi",), on_nano=False).parts(seed, folder=shared_data) for seed in (0, 1)]
    assert {c.id for c in free[0].test} != {c.id for c in free[1].test}


def test_images_of_a_case_stay_with_it():
    kept = diagnosed(
        Case("a", images=(Image(array=single_finding_films(1, 1)[0].images[0].pixels()),), labels={"class": "x"})
    )
    assert kept is not None
    assert kept.images
