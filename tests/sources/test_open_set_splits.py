"""The parts of the development sets: whole patients, near the wanted shares, the same on every machine."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

from vesalius.cases import Case, Image, Label, Source
from vesalius.errors import UsageError
from vesalius.sources.open_sets import deal, near_copies, splits
from vesalius.sources.open_sets.readers import BY_NAME, read_layout

#: Sets whose few groups or whole sources keep them further from the wanted shares.
FEW_GROUPS = {"lc25000-lung", "lung-ultrasound", "chase-db1", "cross-sections", "ct-ich"}


def test_every_case_has_one_part_and_shares_are_near_the_wanted_ones() -> None:
    counts = splits.counts()
    assert set(counts) == set(BY_NAME)
    for name, own in counts.items():
        total = sum(own.values())
        assert len(splits._places(name)) == total
        if name in FEW_GROUPS:
            continue
        for part, share in splits.SHARES.items():
            # Half a percent of a large set; two patients of a small one.
            assert abs(own[part] - share * total) <= max(2.5, 0.006 * total), (name, part)
    assert counts["lc25000-lung"] == {"nano": 270, "validation": 0, "system": 0, "test": 0}
    for name in ("cross-sections", "ct-ich"):
        total = sum(counts[name].values())
        assert all(abs(counts[name][p] / total - s) < 0.03 for p, s in splits.SHARES.items())


def test_the_first_model_never_saw_what_is_tested() -> None:
    held = deal.first_held_out()
    assert len(held) == 735
    assert {splits.part_of(id) for id in held} == {"test", "system"}
    old = {id.partition("/")[0] for id in held}
    for name in old:
        tested = {f"{name}/{rest}" for rest, part in splits._places(name).items() if part == "test"}
        # Where the first model left fewer cases out than the test part wants, all of those are in it.
        mine = {id for id in held if id.startswith(f"{name}/")}
        assert tested <= mine or mine <= tested, name


@pytest.mark.parametrize("name", BY_NAME)
def test_patients_stay_whole_and_dealing_again_gives_the_same(shared_data: Path, name: str) -> None:
    cases = list(read_layout(name, shared_data / name))
    parts = {c.id: splits.part_of(c) for c in cases}
    assert len(cases) == sum(splits.counts()[name].values())
    homes = defaultdict(set)
    for case in cases:
        homes[case.group].add(parts[case.id])
    assert all(len(h) == 1 for h in homes.values())
    assert deal.deal(cases) == parts
    assert deal.deal(cases[::-1]) == parts
    if name in FEW_GROUPS:
        return
    strata = Counter(deal.stratum(c) for c in cases)
    there = Counter((deal.stratum(c), parts[c.id]) for c in cases)
    biggest = max(Counter(c.group for c in cases).values())
    for stratum, total in strata.items():
        for part, share in splits.SHARES.items():
            assert abs(there[stratum, part] - share * total) <= max(3.0, 1.5 * biggest), (stratum, part)


def test_whole_sources_and_combinations_never_trained_on(shared_data: Path) -> None:
    cases = read_layout("cross-sections", shared_data / "cross-sections")
    homes = defaultdict(set)
    for case in cases:
        homes[str(case.attributes["source"])].add(splits.part_of(case))
    assert {s: homes[s] for s in deal.WHOLE_SOURCES} == {s: {p} for s, p in deal.WHOLE_SOURCES.items()}
    sick = {c.group for c in cases if c.attributes["source"] in ("msflair", "mst1")}
    assert len(sick) == 1
    trained = {(c.images[0].modality, c.images[0].body_part) for c in splits.in_part(cases, "nano")}
    assert ("MR", "knee") not in trained
    assert ("US", "kidney") not in trained


def test_cases_are_picked_by_part_and_strangers_refused() -> None:
    cases = [Case(id="busi/benign_1"), Case(id="busi/benign_101")]
    by_part = {p: splits.in_part(cases, p) for p in splits.PARTS}
    assert sum(map(len, by_part.values())) == 2
    assert splits.in_part(cases, *splits.PARTS) == cases
    with pytest.raises(UsageError, match="no such part"):
        splits.in_part(cases, "train")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="mine/1"):
        splits.part_of(Case(id="mine/1"))


def _slices(heads: int, each: int, seed: int) -> list[Case]:
    """Heads of noise; slices of one head differ by a little noise of their own."""
    rng = np.random.default_rng(seed)
    cases = []
    for h in range(heads):
        base = rng.normal(128, 40, (64, 64))
        for s in range(each):
            array = np.clip(base + rng.normal(0, 8, base.shape), 0, 255).astype(np.uint8)
            cases.append(Case(id=f"brain-mr/{h}-{s}", images=(Image(array=array),), source=Source("brain-mr")))
    return cases


def test_like_slices_are_found_and_linked_through_others_and_patients() -> None:
    cases = _slices(5, 3, seed=1)
    assert near_copies.groups(cases) == [h for h in range(5) for _ in range(3)]
    assert near_copies.groups([]) == []
    # A patient that two heads share joins both.
    joined = [c.replace(patient="p") if c.id.split("/")[1] in ("0-0", "4-2") else c for c in cases]
    assert near_copies.groups(joined) == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 0, 0, 0]
    table = near_copies.table({"brain-mr": cases})["brain-mr"]
    assert table["cases"] == 15
    assert [len(g) for g in table["groups"]] == [3] * 5
    even = Case(id="x/1", images=(Image(array=np.full((80, 60), 7, np.uint8)),))
    assert not near_copies.thumbnail(even.images[0]).any()


def test_stored_near_copies_are_what_looking_again_finds(shared_data: Path) -> None:
    name = "kvasir-seg"
    cases = [c.replace(patient="") for c in read_layout(name, shared_data / name)]
    count, stored = near_copies.stored(name)
    assert count == len(cases)
    assert len(stored) > 10
    found = near_copies.table({name: cases})[name]["groups"]
    again = {case: n for n, own in enumerate(found) for case in own}
    # A pair at the very border may fall to the other side with another JPEG decoder.
    assert len(set(again) ^ set(stored)) <= 4
    assert near_copies.stored("busi") == (0, {})


def test_groups_of_a_set_are_not_given_to_another_selection(tmp_path: Path, shared_data: Path) -> None:
    alike = [c for c in read_layout("fracatlas", shared_data / "fracatlas") if "/like-" in c.patient]
    assert alike
    lines = (shared_data / "fracatlas" / "cases.csv").read_text("utf-8").splitlines()
    (tmp_path / "images").symlink_to(shared_data / "fracatlas" / "images")
    some = tmp_path / "cases.csv"
    some.write_text("\n".join(lines[:100]), "utf-8")
    assert not any(c.patient for c in read_layout("fracatlas", tmp_path))


def test_the_class_is_what_is_spread() -> None:
    case = Case(id="isic2017/1", labels={"melanoma": Label(1)}, source=Source("isic2017"))
    assert deal.stratum(case) == "1"
    film = Case(id="nih-cxr14/1", labels={"Edema": Label(1), "Pneumonia": Label(0)}, source=Source("nih-cxr14"))
    assert deal.stratum(film) == "Edema"
    json.dumps(splits.counts())
