"""Splits by patient: nobody on two sides, the same for the same seed, close to what was asked."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vesalius.cases import Case, CaseSet, kfold, split
from vesalius.errors import UsageError

people = st.lists(st.tuples(st.integers(0, 15), st.integers(0, 2)), min_size=1, max_size=60)


def _cases(rows):
    # Patient 0 stands for "not known": each such case is a patient of its own.
    return [Case(f"c{i}", patient=f"p{p}" if p else "", labels={"x": v}) for i, (p, v) in enumerate(rows)]


@settings(max_examples=150)
@given(people, st.integers(0, 5), st.randoms(use_true_random=False))
def test_patients_are_never_on_two_sides(rows, seed, random):
    cases = _cases(rows)
    made = split(cases, {"train": 3, "val": 1, "test": 1, "none": 0}, seed=seed, stratify="x")
    where = made.part_of()
    assert sorted(where) == sorted(c.id for c in cases)  # everyone once
    assert sum(map(len, made.parts.values())) == len(cases)
    assert made.parts["none"] == ()
    for case in cases:
        assert len({where[c.id] for c in cases if c.group == case.group}) == 1
    # The order of the input decides the order inside a part and nothing else.
    shuffled = list(cases)
    random.shuffle(shuffled)
    again = split(shuffled, {"train": 3, "val": 1, "test": 1, "none": 0}, seed=seed, stratify="x")
    assert again.part_of() == where
    order = {c.id: i for i, c in enumerate(cases)}
    assert all(list(ids) == sorted(ids, key=order.__getitem__) for ids in made.parts.values())


def test_shares_and_strata_are_close():
    rng = np.random.default_rng(0)
    rows = [(1 + int(p), int(rng.random() < 0.1)) for p in rng.integers(0, 400, 1000)]
    cases = _cases(rows)
    made = split(cases, {"train": 0.7, "val": 0.1, "test": 0.2}, stratify="x", seed=3)
    rate = np.mean([v for _, v in rows])
    value = {c.id: c.label("x") for c in cases}
    for name, share in (("train", 0.7), ("val", 0.1), ("test", 0.2)):
        ids = made.parts[name]
        assert len(ids) / 1000 == pytest.approx(share, abs=0.01)
        assert np.mean([value[i] for i in ids]) == pytest.approx(rate, abs=0.02)


def test_seeds_give_other_splits_and_a_seed_the_same():
    cases = _cases([(i + 1, i % 2) for i in range(40)])
    half = {"a": 1, "b": 1}
    assert split(cases, half, seed=1) == split(cases, half, seed=1)
    assert len({split(cases, half, seed=s).parts["a"] for s in range(5)}) == 5


def test_a_case_set_splits_into_case_sets():
    made = CaseSet(_cases([(i // 3 + 1, i % 2) for i in range(30)]))
    parts = made.split({"train": 0.8, "test": 0.2}, seed=0, stratify=lambda c: c.label("x"))
    assert sorted(parts["train"].ids() + parts["test"].ids()) == sorted(made.ids())
    assert not {c.patient for c in parts["train"]} & {c.patient for c in parts["test"]}


@pytest.mark.parametrize(
    "fractions", [{}, {"a": 0}, {"a": -1, "b": 2}, {"a": float("nan"), "b": 1}, {"a": float("inf"), "b": 1}]
)
def test_shares_that_make_no_sense_are_refused(fractions):
    with pytest.raises(UsageError):
        split(_cases([(1, 0)]), fractions)


@settings(max_examples=100)
@given(people, st.integers(2, 6), st.integers(0, 3))
def test_folds_are_a_partition_by_patient(rows, k, seed):
    groups = [f"p{p}" for p, _ in rows]
    strata = [v for _, v in rows]
    if len(set(groups)) < k:
        with pytest.raises(UsageError):
            kfold(groups, strata, k, seed=seed)
        return
    folds = kfold(groups, strata, k, seed=seed)
    assert len(folds) == k
    tested = np.concatenate([test for _, test in folds])
    assert sorted(tested) == list(range(len(rows)))
    for train, test in folds:
        assert sorted([*train, *test]) == list(range(len(rows)))
        assert not {groups[i] for i in train} & {groups[i] for i in test}
        assert len(train) > 0


def test_every_fold_gets_its_share_of_a_rare_class():
    strata = [1] * 5 + [0] * 95
    folds = kfold([str(i) for i in range(100)], strata, 5, seed=0)
    assert [sum(strata[i] for i in test) for _, test in folds] == [1] * 5
    assert [len(test) for _, test in folds] == [20] * 5


def test_one_fold_is_refused():
    with pytest.raises(UsageError, match="fold"):
        kfold(["a", "b"], [0, 1], 1)
