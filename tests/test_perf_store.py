"""Stored measurements: one row for each processor and set of kernels, the newest kept, shown as a table."""

from __future__ import annotations

import csv

from perf import store

ROW = {"topic": "t", "name": "scan", "ours": 0.5, "peer": 1.0, "ratio": 2.0, "goal": None, "n": 3, "repeats": 5,
       "peer_name": "numpy"}  # fmt: skip


def test_a_new_measurement_takes_the_place_of_its_own_old_one_alone(tmp_path):
    file = tmp_path / "r.csv"
    one = {"processor": "A", "kernels": "AVX2", "cores": 2, "load": 0.5}
    other = {**one, "kernels": "AVX512", "load": 4.0}
    store.keep([ROW], one, file)
    store.keep([ROW], other, file)
    store.keep([{**ROW, "ratio": 3.0}], one, file)
    with file.open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(r["kernels"], r["ratio"], r["load"]) for r in rows] == [("AVX2", "3", "0.5"), ("AVX512", "2", "4")]


def test_the_page_shows_what_is_stored_and_keeps_its_words(tmp_path):
    file, page = tmp_path / "r.csv", tmp_path / "p.md"
    store.keep([ROW], {"processor": "A", "kernels": "AVX2", "cores": 2, "load": 0.5}, file)
    page.write_text(f"before\n\n{store._START}\n{store._END}\nafter\n")
    for _ in range(2):
        store.show(page, file)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert text.count("| scan | numpy | 0.5 | 1 | 2 |  | 3 | 5 |") == 1
    assert "A, 2 cores, AVX2; load 0.5 to 0.5:" in text


def test_this_machine_is_named_with_its_kernels():
    found = store.machine()
    assert found["processor"]
    assert "torch" in found["kernels"]
    assert found["threads"] >= 1
