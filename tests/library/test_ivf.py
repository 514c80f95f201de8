"""The approximate index: its rule, its recall, its tail, deletes, erasure, and life without faiss."""

from __future__ import annotations

import shutil
import sys

import numpy as np
import pytest

from tests.library.fakes import FakeEmbedder, make_case
from tests.tolerance import FLOAT32
from vesalius.cases import Case, Image
from vesalius.errors import MissingError, ResourceError, UsageError
from vesalius.job import Job
from vesalius.library import Library, ivf

pytest.importorskip("faiss", reason="needs the faiss extra")


def walk(n, seed=0):
    """Images along random walks: neighbours in the library look alike, as in real collections."""
    rng = np.random.default_rng(seed)
    start = rng.normal(size=(20, 6, 6))
    out = []
    for i in range(n):
        start[i % 20] += 0.3 * rng.normal(size=(6, 6))
        image = Image(array=start[i % 20].astype(np.float32).copy(), modality="CT")
        out.append(Case(f"w{seed}-{i}", patient=f"{seed}-{i // 4}", images=(image,), attributes={"n": i}))
    return out


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built") / "big"
    with Library.open(folder, FakeEmbedder(), exact_rows=1000) as lib:
        lib.add(walk(1500), Job(batch_size=500))
    return folder


@pytest.fixture
def big(tmp_path, built, model):
    shutil.copytree(built, tmp_path / "big")
    with Library.open(tmp_path / "big", model, exact_rows=1000) as lib:
        yield lib


def brute(lib, q, k, leave=()):
    v = lib.vectors()
    order = np.argsort(-(v.vectors @ q), kind="stable")
    return [v.ids[i] for i in order if v.ids[i] not in leave][:k]


def recall(lib, **options):
    rng = np.random.default_rng(5)
    v = lib.vectors().vectors
    found = []
    for _ in range(40):
        q = v[rng.integers(len(v))] + 0.1 * rng.normal(size=v.shape[1])
        q = (q / np.linalg.norm(q)).astype(np.float32)
        got = {h.id for h in lib.search(q, k=10, **options)}
        found.append(len(got & set(brute(lib, q, 10))) / 10)
    return float(np.mean(found))


def test_it_is_built_above_the_limit_and_finds_nearly_all(big):
    hits = big.search("some question", k=10)
    assert hits.plan.method == "ivf"
    assert hits.plan.nprobe > 0
    assert hits.plan.recall is not None
    assert hits.plan.recall >= 0.97
    assert hits.plan.warnings == ()
    assert recall(big) >= 0.95
    assert recall(big, method="exact") == 1.0
    assert big.check().problems == ()
    scores = {h.id: h.score for h in big.search("some question", k=50, method="exact")}
    assert all(h.score == pytest.approx(scores[h.id], rel=FLOAT32) for h in hits if h.id in scores)


def test_a_filter_makes_it_exact(big, model):
    q = model.embed_text(["q"])[0]
    hits = big.search(q, k=20, where="n < 700")
    assert hits.plan.method == "exact"
    assert hits.plan.candidates == 700
    assert [h.id for h in hits] == brute(big, q, 20, leave={f"w0-{i}" for i in range(700, 1500)})
    with pytest.raises(UsageError, match="always exact"):
        big.search(q, where="n < 700", method="ivf")


def test_rows_added_later_are_found_before_they_are_indexed(big):
    late = walk(60, seed=3)
    big.add(late)
    hits = big.search(late[7], k=1, include_same_patient=True)
    assert (hits.plan.method, hits.plan.tail) == ("ivf", 60)
    assert (hits[0].id, round(hits[0].score, 4)) == ("w3-7", 1.0)
    assert "3-1" not in {h.patient for h in big.search(late[7], k=30)}
    big.add(walk(500, seed=4))  # over a fifth is not covered: it is built again
    assert big.search("x").plan.tail == 0
    assert big.check().problems == ()


def test_the_patient_and_the_deleted_are_passed_over_without_losing_hits(big):
    case = walk(1500)[600]
    hits = big.search(case, k=10)
    assert hits.plan.method == "ivf"
    assert len(hits) == 10
    assert case.patient not in {h.patient for h in hits}
    gone = [h.id for h in hits]
    big.delete(gone, erase=False)
    again = big.search(case, k=10)
    assert len(again) == 10
    assert not {h.id for h in again} & set(gone)
    assert again.plan.method == "ivf"
    assert big.check().problems == ()


def test_an_erasure_takes_the_index_with_it(big, tmp_path):
    vector = big.vectors(["w0-3"]).vectors[0].tobytes()
    files = list((tmp_path / "big" / "index").iterdir())
    assert any(vector in f.read_bytes() for f in files)
    big.delete("w0-3")
    assert not any(vector in f.read_bytes() for f in (tmp_path / "big").rglob("*") if f.is_file())
    hits = big.search("x")
    assert hits.plan.method == "exact"
    assert "no approximate index" in hits.plan.warnings[0]
    with pytest.raises(MissingError, match="no approximate index"):
        big.search("x", method="ivf")
    assert big.build_index().rows == 1500
    assert big.search("x").plan.method == "ivf"
    assert big.compact() == 1
    assert big.search("x").plan.method == "ivf"
    assert big.check().problems == ()


def test_without_faiss_it_is_said_and_searched_exactly(big, monkeypatch, tmp_path):
    with Library.open(tmp_path / "big", FakeEmbedder(), exact_rows=1000) as again:
        monkeypatch.setitem(sys.modules, "faiss", None)
        hits = again.search("x", k=7)
        assert hits.plan.method == "exact"
        assert "faiss" in hits.plan.warnings[0]
        with pytest.raises(MissingError, match="pip install"):
            again.search("x", method="ivf")
        with pytest.raises(MissingError, match="pip install"):
            again.build_index()
        monkeypatch.setattr(ivf, "available", lambda: False)
        assert again.add(walk(900, seed=8)).added == 900


def test_a_damaged_index_is_found_and_never_trusted(big, tmp_path):
    (file,) = (tmp_path / "big" / "index").iterdir()
    file.write_bytes(file.read_bytes()[:1000])
    with Library.open(tmp_path / "big", FakeEmbedder(), exact_rows=1000) as again:
        hits = again.search("x")
        assert hits.plan.method == "exact"
        assert "cannot read the approximate index" in hits.plan.warnings[0]
        with pytest.raises(ResourceError, match="cannot read"):
            again.search("x", method="ivf")
        assert [p.kind for p in again.check().problems] == ["ivf"]
        again.store.connection.execute("UPDATE ivf SET bytes = 1000, hash = ?", ("0" * 64,))
        file.rename(file.with_name("00000001-0000000000000000.ivf"))
        assert [p.why for p in again.check().problems] == ["it was made from other vectors than those it stands for"]


def test_small_libraries_and_empty_ones(tmp_path, model):
    with Library.open(tmp_path / "l", model) as lib:
        with pytest.raises(UsageError, match="empty"):
            lib.build_index()
        lib.add([make_case(1), make_case(2)])
        assert lib.build_index().nlist == 1
        assert len(lib.search("x", method="ivf", k=9)) == 2
        assert lib.search("x").plan.method == "exact"
