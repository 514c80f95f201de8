"""Searching: against brute force, by every kind of query, without the query's own patient, by words, by both."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.io.dicom_makers import dicom_bytes, save_all
from tests.library.fakes import FakeEmbedder, FakePreprocess, make_case, make_cases
from tests.tolerance import FLOAT32, close
from vesalius.cases import Affine, Case, Image, Report
from vesalius.errors import BadInputError, MissingError, UsageError
from vesalius.io import read, write
from vesalius.job import Job
from vesalius.library import Library, exact
from vesalius.render.display import to_display


@dataclass(frozen=True)
class Shown(FakePreprocess):
    """As real towers' preprocessing does: what a screen shows, not what is stored."""

    def __call__(self, image: Image) -> np.ndarray:
        return super().__call__(image.with_array(to_display(image.pixels(), image)))


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_scan_equals_brute_force(data):
    n, dim, m = data.draw(st.integers(0, 60)), data.draw(st.integers(1, 6)), data.draw(st.integers(1, 4))
    k = data.draw(st.integers(1, 70))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**31)))
    # Small integers: products are exact in float32 and ties are many.
    vectors = rng.integers(-2, 3, (n, dim)).astype(np.float32)
    queries = rng.integers(-2, 3, (m, dim)).astype(np.float32)
    cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=4)))
    bounds = [0, *cuts, n]
    chunks = [(a, vectors[a:b]) for a, b in itertools.pairwise(bounds)]
    every = st.sets(st.integers(0, max(n - 1, 0))).map(lambda s: np.array(sorted(s), np.int64))
    allowed = data.draw(st.none() | every) if n else None
    excluded = data.draw(every) if n else None
    start = data.draw(st.integers(0, n))
    rows, scores = exact.scan(chunks, queries, k, allowed=allowed, excluded=excluded, start=start)
    for q in range(m):
        usable = [
            r for r in range(start, n) if (allowed is None or r in allowed) and (excluded is None or r not in excluded)
        ]
        truth = sorted((-float(vectors[r] @ queries[q]), r) for r in usable)[:k]
        got = [(-float(s), int(r)) for r, s in zip(rows[q], scores[q], strict=True) if r >= 0]
        assert got == truth


@pytest.mark.parametrize("step", [None, 2, 3, 50])
@pytest.mark.parametrize(("m", "k"), [(1, 10), (3, 7), (5, 100)])
def test_scan_of_large_pieces_sieves_nothing_away(m, k, step):
    """Enough rows for the sieve, for gathering in blocks and for the pool of ties to be shrunk on the way."""
    rng = np.random.default_rng(k)
    vectors = rng.integers(-2, 3, (30_000, 4)).astype(np.float32)
    queries = rng.integers(-2, 3, (m, 4)).astype(np.float32)
    allowed = None if step is None else np.arange(1, 30_000, step)
    excluded = np.flatnonzero(rng.random(30_000) < 0.3)
    chunks = [(0, vectors[:17_000]), (17_000, vectors[17_000:])]
    rows, scores = exact.scan(chunks, queries, k, allowed=allowed, excluded=excluded, start=5)
    usable = np.setdiff1d(np.arange(30_000) if allowed is None else allowed, excluded)
    usable = usable[usable >= 5]
    for q in range(m):
        truth = vectors[usable] @ queries[q]
        order = np.lexsort((usable, -truth))[:k]
        np.testing.assert_array_equal(rows[q], usable[order])
        np.testing.assert_array_equal(scores[q], truth[order])


def test_search_by_every_kind_of_query(lib, model, tmp_path):
    case = make_case(8)
    image = case.images[0]
    np.save(tmp_path / "q.npy", image.array)
    for query in (case, image, image.array, tmp_path / "q.npy", lib.vectors(["c8"]).vectors[0]):
        top = lib.search(query, k=1, include_same_patient=True)[0]
        assert (top.id, top.image, top.rank) == ("c8", 0, 1)
        assert top.score == pytest.approx(1, rel=FLOAT32)
    text = lib.search("anything", k=3)
    q = model.embed_text(["anything"])[0]
    assert text[0].score == pytest.approx(float((lib.vectors().vectors @ q).max()), rel=FLOAT32)
    assert "similarity" in text[0].why[0]


def test_hits_carry_what_a_reader_needs(lib):
    hit = lib.search(make_case(5), k=1, include_same_patient=True)[0]
    assert hit.labels == {"effusion": 0, "grade": 0, "modality": "US", "pleural thickening": 1}
    assert hit.attributes["age"] == 25
    assert (hit.patient, hit.modality) == ("p1", "US")
    assert hit.caption == "Impression of study token5."
    assert hit.to_dict()["why"] == list(hit.why)


def test_a_case_of_many_images_takes_one_place(tmp_path, model):
    with Library.open(tmp_path / "l", model) as lib:
        pixels = np.arange(120).reshape(12, 10)
        same = [Image(array=pixels + i % 2) for i in range(30)]
        lib.add([Case("many", images=tuple(same)), make_case(1), make_case(2)])
        assert sorted(h.id for h in lib.search(pixels, k=3)) == ["c1", "c2"]
        hits = lib.search(pixels, k=3, include_same_patient=True)
        assert hits[0].id == "many"
        assert sorted(h.id for h in hits) == ["c1", "c2", "many"]


@pytest.mark.parametrize("workers", [None, 0])
def test_a_query_by_path_is_read_as_adding_reads_it(tmp_path, workers):
    """A MONOCHROME1 film finds itself first, not its negative; NIfTI and a series' folder are queries too."""
    nano = FakeEmbedder()
    nano.preprocess = Shown()
    ramp = np.random.default_rng(0).integers(0, 4000, (24, 20)).astype(np.uint16)
    scans = tmp_path / "scans"
    scans.mkdir()
    for name, pixels, photometric in (("film", ramp, "MONOCHROME1"), ("negative", 4000 - ramp, "MONOCHROME1")):
        film = write.secondary_capture(pixels, modality="DX", uid_seed=name)
        film.PhotometricInterpretation, film.PatientID = photometric, name
        (scans / name).write_bytes(dicom_bytes(film))
    volume = np.random.default_rng(1).integers(0, 99, (5, 9, 8)).astype(np.int16)
    write.write_nifti(scans / "v.nii.gz", volume, None)
    save_all(write.series(volume[:, ::-1], Affine(np.diag([2.0, 1, 1, 1])), uid_seed="ct"), scans / "ct")
    with Library.open(tmp_path / "l", nano) as lib:
        lib.add(read(scans))
        for name in ("film", "negative", "v.nii.gz", "ct"):
            top = lib.search(scans / name, k=1, include_same_patient=True, job=Job(workers=workers))[0]
            assert top.path.startswith(str(scans / name))
            assert top.score == pytest.approx(1, rel=1e-5)  # float32 vectors of length 1
        with pytest.raises(UsageError, match="more than one case"):
            lib.search(scans)
        (scans / "junk").write_text("nothing")
        with pytest.raises(BadInputError, match="not an image"):
            lib.search(scans / "junk")


def test_the_querys_own_patient_is_left_out_unless_asked_for(lib, tmp_path):
    case = make_case(8)  # patient p2 has c6, c8 (c7 has no patient)
    assert case.patient == "p2"
    for query in (case, case.images[0], case.images[0].array, case.replace(id="new", patient="p2")):
        hits = lib.search(query, k=100)
        assert hits.plan.excluded_patient == "p2"
        assert "p2" not in {h.patient for h in hits}
        assert len(hits) == 38
    assert len(lib.search(case, k=100, include_same_patient=True)) == 40
    assert len(lib.search(case, k=100, exclude_patient=None)) == 40
    assert "p3" not in {h.patient for h in lib.search(case, k=100, exclude_patient="p3")}
    alone = make_case(7)  # no patient: the case is a patient of its own
    assert "c7" not in {h.id for h in lib.search(alone, k=100)}
    assert len(lib.search(alone, k=100)) == 39
    assert lib.search("words", k=100).plan.excluded_patient == ""
    assert len(lib.search(case, k=100, where="sex = F")) == sum(int(i) % 2 == 0 and i not in (6, 8) for i in range(40))


def test_text_search_finds_words_and_says_which(lib):
    hits = lib.search("effusions", mode="text", k=100)
    # Stemmed; in the report of n % 4 == 2 and as a present label of n % 4 == 0; labels read as absent do not count.
    assert {int(h.id[1:]) % 4 for h in hits} == {0, 2}
    assert len(hits) == 20
    assert "effusion" in hits[0].why[0]
    one = lib.search("token17", mode="text")
    assert [h.id for h in one] == ["c17"]
    assert "token17" in one[0].caption
    assert [h.id for h in lib.search("token17", mode="text", where="sex = F")] == []
    assert lib.search('NEAR( "x', mode="text").hits == ()
    assert lib.search("!!!", mode="text").hits == ()
    assert all(a.score >= b.score for a, b in itertools.pairwise(hits))


def test_hybrid_is_reciprocal_rank_fusion(lib):
    k = 50
    vector = [h.id for h in lib.search("small pleural effusion", k=250)]
    text = [h.id for h in lib.search("small pleural effusion", mode="text", k=250)]
    expected = {
        id: sum(1 / (60 + side.index(id) + 1) for side in (vector, text) if id in side) for id in {*vector, *text}
    }
    hits = lib.search("small pleural effusion", mode="hybrid", k=k)
    assert {h.id: h.score for h in hits} == pytest.approx(expected)
    assert [h.score for h in hits] == sorted(expected.values(), reverse=True)
    both = next(h for h in hits if h.id in text)
    assert len(both.why) == 2
    assert hits.plan.method == "exact+text"
    by_case = lib.search(Case("q", images=make_case(3).images, report=Report(impression="token17")), mode="hybrid", k=3)
    assert "c17" in {h.id for h in by_case}


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("", {}),
        ("  ", {}),
        (np.ones((4, 4)), {"mode": "text"}),
        (np.ones(3), {}),
        (np.zeros(16), {}),
        (np.full(16, np.nan), {}),
        (Case("x"), {}),
        (Case("x", images=(Image(array=np.ones((3, 3))),)), {"mode": "hybrid"}),
        (3, {}),
        ("x", {"k": 0}),
        ("x", {"mode": "magic"}),
        ("x", {"method": "magic"}),
    ],
)
def test_questions_that_make_no_sense_are_refused(lib, query, options):
    with pytest.raises(UsageError):
        lib.search(query, **options)


def test_a_file_that_is_gone_is_named(lib, tmp_path):
    with pytest.raises(MissingError, match=r"nothing\.npy"):
        lib.search(tmp_path / "nothing.npy")


def test_text_vectors_are_computed_once_and_kept_without_the_words(lib, tmp_path):
    class Once(FakeEmbedder):
        calls = 0

        def embed_text(self, texts):
            self.calls += 1
            return super().embed_text(texts)

    for n in range(2):
        once = Once()
        with Library.open(tmp_path / "lib", once) as again:
            a = again.search("Jane Doe's secret words")
            b = again.search("Jane Doe's secret words")
            assert a == b
            assert once.calls == (1 if n == 0 else 0)
    assert not any(b"secret words" in p.read_bytes() for p in (tmp_path / "lib").rglob("*") if p.is_file())


def test_an_empty_library_finds_nothing(tmp_path, model):
    with Library.open(tmp_path / "l", model) as lib:
        assert lib.search("x").hits == ()
        assert lib.search("x", mode="hybrid").hits == ()
        assert lib.near_duplicates() == ()
        assert len(lib) == 0
        assert lib.check().ok


def test_labelled_and_vectors(lib, model):
    found = lib.labelled("effusion")
    truth = {c.id: c.label("effusion") for c in make_cases(40)}
    assert set(found.ids) == {id for id, v in truth.items() if v is not None}
    assert [truth[id] for id in found.ids] == list(found.values)
    by_id = {c.id: c for c in make_cases(40)}
    expected = model.embed([by_id[id].images[n] for id, n in zip(found.ids, found.images, strict=True)])
    close(found.vectors, expected)
    assert list(found.patients) == [by_id[id].group for id in found.ids]
    assert set(lib.labelled("modality").values) == {"CR", "CT", "US"}
    some = lib.vectors(["c9", "c2", "c9"])
    assert list(zip(some.ids, some.images.tolist(), strict=True)) == [("c9", 0), ("c9", 1), ("c2", 0)]
    with pytest.raises(MissingError, match="nobody"):
        lib.vectors(["c1", "nobody"])
    assert len(lib.labelled("no such label")) == 0


def test_near_duplicates_equal_brute_force(tmp_path, model):
    rng = np.random.default_rng(0)
    base = [rng.integers(0, 255, (12, 10)) for _ in range(6)]
    cases = [Case(f"a{i}", patient=f"p{i}", images=(Image(array=b),)) for i, b in enumerate(base)]
    cases += [Case("same", patient="p0", images=(Image(array=base[0].copy()),))]
    cases += [Case("close", patient="other", images=(Image(array=base[1] + rng.integers(0, 3, (12, 10))),))]
    with Library.open(tmp_path / "l", model) as lib:
        lib.add(cases)
        groups = {tuple(id for id, _ in g.items): g for g in lib.near_duplicates(0.99)}
        assert set(groups) == {("a0", "same"), ("a1", "close")}
        assert groups["a0", "same"].same_pixels
        assert groups["a0", "same"].patients == ("p0",)
        assert not groups["a1", "close"].same_pixels
        assert groups["a1", "close"].patients == ("p1", "other")
        v = lib.vectors().vectors
        for threshold in (0.2, 0.5, 0.9):
            linked = {frozenset((i, j)) for i in range(8) for j in range(i) if v[i] @ v[j] >= threshold}
            merged: list[set[int]] = []
            for pair in linked:
                touching = [s for s in merged if s & pair]
                merged = [s for s in merged if not s & pair] + [set(pair).union(*touching)]
            ids = [c.id for c in cases]
            expected = {frozenset(ids[i] for i in s) for s in merged}
            assert {frozenset(id for id, _ in g.items) for g in lib.near_duplicates(threshold)} == expected
