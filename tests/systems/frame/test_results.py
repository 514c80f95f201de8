"""Stored results: a row a claim, what it hangs on, and what of it is stale."""

from __future__ import annotations

import dataclasses

import pytest

from vesalius.errors import BadInputError
from vesalius.systems.frame import rerun, stamp
from vesalius.systems.frame.claims import Claim
from vesalius.systems.frame.results import read_results, read_rows, store_results


def claim(**changes):
    base = Claim("mask-of-truth", "x", 0.6, 0.5, 0.1, 0.05, 0.15, 0.02, 100, 0, seconds=12)
    return dataclasses.replace(base, **changes)


def test_results_are_replaced_by_key_and_read_back(tmp_path):
    path = tmp_path / "systems.csv"
    store_results(path, [claim(), claim(seed=1, seconds=13)])
    store_results(path, [claim(ours=0.7, seconds=14)], code="c0de", inputs="1n")
    back = read_rows(path)
    assert [(r.claim.seed, r.claim.ours, r.code) for r in back] == [(0, 0.7, "c0de"), (1, 0.6, "")]
    assert back[0].claim == claim(ours=0.7, seconds=14)


def test_a_claim_no_longer_made_leaves_the_file(tmp_path):
    path = tmp_path / "systems.csv"
    store_results(path, [claim(claim="old"), claim(claim="old", seed=1)])
    store_results(path, [claim(claim="new")])
    assert [(c.claim, c.seed) for c in read_results(path)] == [("new", 0), ("old", 1)]


def test_a_results_file_that_is_not_one_names_the_line(tmp_path):
    path = tmp_path / "systems.csv"
    path.write_text("system,claim\nmedrpg-taco,mIoU\n", "utf-8")
    with pytest.raises(BadInputError, match="line 2"):
        read_results(path)


def test_only_what_other_code_or_inputs_made_is_stale(tmp_path, monkeypatch):
    path = tmp_path / "systems.csv"
    wanted = rerun.units(["mask-of-truth"], kinds=("phantom",), seeds=(0, 1))
    assert [u.seed for u in wanted] == [0, 1]
    assert rerun.stale(wanted, path) == wanted  # there is no file yet
    store_results(path, [claim()], code=wanted[0].code, inputs=wanted[0].inputs)
    assert rerun.stale(wanted, path) == [wanted[1]]
    other = [dataclasses.replace(u, code="0ther") for u in wanted]
    assert rerun.stale(other, path) == other
    exchanged = [dataclasses.replace(u, inputs="0ther") for u in wanted]
    assert rerun.stale(exchanged, path) == exchanged


def test_a_row_is_written_when_it_is_found_and_a_missing_set_is_refused(tmp_path):
    from vesalius.job import Job

    path, job = tmp_path / "systems.csv", Job(device="cpu")
    wanted = rerun.units(["mask-of-truth"], seeds=(101,), folder=tmp_path)
    store_results(path, [claim(data="a set that it was checked on once"), claim(system="3mt", data="another")])
    found = rerun.check(wanted, folder=tmp_path, store=path, job=job, scale=0.05)
    unit, claims = next(found)
    stored = [(c.system, c.claim) for c in read_results(path)]
    assert stored == [("3mt", "x"), *sorted((c.system, c.claim) for c in claims)]
    assert rerun.stale(wanted, path) == [u for u in wanted if u != unit]
    assert list(found) == []
    assert [r.item for r in job.refused] == ["mask-of-truth on covid-cc-by: AP supine or PA, seed 101"]


@pytest.mark.slow
def test_side_by_side_finds_what_one_after_the_other_finds():
    from vesalius.job import Job

    wanted = rerun.units(["mask-of-truth"], kinds=("phantom",), seeds=(101, 102))
    one, two = (
        {u.seed: c for u, c in rerun.check(wanted, workers=w, job=Job(device="cpu"), scale=0.05)} for w in (1, 2)
    )
    assert set(one) == set(two) == {101, 102}
    for seed in one:
        # Other processes may use other kernels: float32 features, so areas may move by a pair or two.
        assert [c.ours for c in two[seed]] == pytest.approx([c.ours for c in one[seed]], abs=5e-3)


class TestStamp:
    def test_a_docstring_and_a_comment_change_nothing_and_code_does(self, tmp_path, monkeypatch):
        (tmp_path / "systems" / "x").mkdir(parents=True)
        file = tmp_path / "systems" / "x" / "one.py"
        monkeypatch.setattr(stamp, "PACKAGE", tmp_path)

        def stripped(text):
            file.write_text(text, "utf-8")
            for kept in (stamp._source, stamp._stripped):
                kept.cache_clear()
            return stamp._stripped("vesalius.systems.x.one")

        try:
            plain = stripped('"""Says this."""\n\ndef f(x):\n    """And this."""\n    return x + 1\n')
            assert stripped('"""Says that."""\n# Why.\ndef f(x):\n    """And that."""\n    return x + 1\n') == plain
            assert stripped('"""Says this."""\n\ndef f(x):\n    return x + 2\n') != plain
        finally:
            stamp._source.cache_clear()
            stamp._stripped.cache_clear()

    def test_a_result_hangs_on_what_its_recipe_imports_and_not_on_faces(self):
        found = stamp.modules_of("vesalius.systems.classify.three_mt.recipe")
        assert "vesalius.systems.classify.three_mt.net" in found
        assert "vesalius.nn.convnet" in found  # by way of the net
        assert "vesalius.training.loop" in found
        assert "vesalius.sources.phantom.chest" in found  # opened by name while running
        assert not any(m.startswith(("vesalius.io", "vesalius.cli", "vesalius.library")) for m in found)
        assert "vesalius.systems.classify.medvitv2.net" not in found

    def test_the_tower_counts_where_a_system_stands_on_it(self):
        def on_tower(name):
            return "vesalius.models.nano.model" in stamp.modules_of(f"{stamp.ROOM}.{stamp.find(name).module}")

        assert on_tower("ptunifier")
        assert not on_tower("medmnistc")

    def test_exchanged_files_change_the_inputs(self, tmp_path):
        from vesalius.systems import open_system

        system = open_system("medmnistc")
        world = system.world("pbc-blood")
        (tmp_path / "pbc-blood").mkdir()
        (tmp_path / "pbc-blood" / "a.txt").write_text("1", "utf-8")
        before = stamp.input_hash("medmnistc", world, tmp_path)
        stamp._files.cache_clear()
        (tmp_path / "pbc-blood" / "a.txt").write_text("22", "utf-8")
        assert stamp.input_hash("medmnistc", world, tmp_path) != before
        assert stamp.input_hash("medmnistc", world, None) == ""
