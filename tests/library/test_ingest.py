"""Adding: what is skipped, what is written again, what is refused, and in which processes it is decoded."""

from __future__ import annotations

import io
import os

import numpy as np
import pytest
from PIL import Image as Pillow

from tests.library.fakes import FakeEmbedder, make_case, make_cases
from tests.tolerance import close
from vesalius.cases import Case, CaseSet, Image, Label
from vesalius.errors import BadInputError, UsageError, VesaliusError
from vesalius.job import Job, Progress
from vesalius.library import Library


def contents(lib):
    v = lib.vectors()
    keys = list(zip(v.ids, v.images.tolist(), v.patients, strict=True))
    return {key: vector.tobytes() for key, vector in zip(keys, v.vectors, strict=True)}


def files(folder, n=6):
    out = []
    for i in range(n):
        path = folder / f"{i}.npy"
        np.save(path, np.random.default_rng(i).integers(0, 99, (9, 9)))
        out.append(Case(f"f{i}", images=(Image(uri=str(path), modality="CT"),)))
    return out


def test_every_image_has_the_vector_that_the_model_gives_it(lib, model):
    got = contents(lib)
    assert len(got) == 60
    for case in make_cases(40):
        for n, image in enumerate(case.images):
            vector = np.frombuffer(got[case.id, n, case.group], np.float32)
            close(vector, model.embed([image])[0])


def test_adding_again_skips_without_decoding_or_embedding(lib, model, tmp_path):
    before, embedded = contents(lib), model.embedded
    report = lib.add(make_cases(42))
    assert (report.added, report.skipped, report.updated, report.images) == (2, 40, 0, 3)
    assert model.embedded == embedded + 3
    assert contents(lib).items() >= before.items()
    # From files: only their size and time are looked at.
    cases = files(tmp_path)
    lib.add(cases)
    stat = (tmp_path / "0.npy").stat()
    (tmp_path / "0.npy").write_bytes(b"x" * stat.st_size)
    os.utime(tmp_path / "0.npy", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert lib.add(cases).skipped == 6


def test_a_changed_file_is_embedded_again_and_the_old_vector_is_buried(lib, tmp_path):
    cases = files(tmp_path)
    lib.add(cases)
    old = contents(lib)
    np.save(tmp_path / "2.npy", np.random.default_rng(99).integers(0, 99, (9, 9)))
    report = lib.add(cases)
    assert (report.added, report.updated, report.skipped, report.images) == (0, 1, 5, 1)
    new = contents(lib)
    assert {k[0] for k in new if new[k] != old[k]} == {"f2"}
    assert lib.stats()["dead_rows"] == 1
    assert len(lib) == 66
    assert lib.check().ok


def test_a_changed_record_is_written_without_embedding(lib, model):
    embedded, before = model.embedded, contents(lib)
    case = make_case(3)
    report = lib.add([case.replace(labels={"effusion": Label(0), "new": Label("mild")}, patient="someone")])
    assert (report.updated, report.images) == (1, 0)
    assert model.embedded == embedded
    assert {k[:2] for k in contents(lib)} == {k[:2] for k in before}
    assert lib.get("c3").label("new") == "mild"
    assert [h.id for h in lib.search("mild", mode="text")] == ["c3"]
    assert len(lib.search("thickening", mode="text", where="id = c3")) == 0
    assert "c3" in {h.id for h in lib.search("x", where="label.new = mild and patient = someone")}
    assert lib.check().ok


def test_images_that_go_away_or_come_are_followed(lib):
    first, second = make_case(5).images
    assert lib.add([make_case(5).replace(images=(first,), regions=(), questions=())]).updated == 1
    assert [k[1] for k in contents(lib) if k[0] == "c5"] == [0]
    assert lib.add([make_case(5).replace(images=(first, first, second))]).images == 2
    assert [k[1] for k in contents(lib) if k[0] == "c5"] == [0, 1, 2]
    assert lib.check().ok


class Picky(FakeEmbedder):
    """Refuses images whose first value is 200, and gives 13 as NaN, 14 as a vector of length 2."""

    def embed_views(self, views):
        if any(v.flat[0] == 200 for v in views):
            raise ValueError("cannot take 200")
        out = super().embed_views(views)
        out[[i for i, v in enumerate(views) if v.flat[0] == 13]] = np.nan
        out[[i for i, v in enumerate(views) if v.flat[0] == 14]] *= 2
        return out


def picture(first):
    pixels = np.random.default_rng(first).integers(0, 9, (8, 8))
    pixels[0, 0] = first
    return Image(array=pixels)


def test_bad_images_and_cases_are_refused_by_name_and_the_rest_is_kept(tmp_path):
    broken = tmp_path / "broken.npy"
    broken.write_bytes(b"\x93NUMPY junk")
    cases = [
        Case("good", images=(picture(1),)),
        Case("refused", images=(picture(200),)),
        Case("nan", images=(picture(13),)),
        Case("long", images=(picture(14),)),
        Case("gone", images=(Image(uri=str(tmp_path / "no.npy")),)),
        Case("broken", images=(Image(uri=str(broken)),)),
        Case("device", images=(Image(uri="/dev/null"),)),
        Case("bare"),
        Case("half", images=(picture(2), Image(uri=str(broken)), picture(3))),
        Case("good", images=(picture(4),)),
        Case("odd", images=(Image(array=np.eye(5), meta={"dose": float("nan")}),)),
        Case("last", images=(picture(6),)),
    ]
    told: list[tuple[str, str]] = []
    with Library.open(tmp_path / "l", Picky()) as lib:
        report = lib.add(cases, Job(batch_size=4, on_refused=lambda r: told.append((r.item, r.why))))
        assert {k[:2] for k in contents(lib)} == {("good", 0), ("half", 0), ("half", 2), ("last", 0)}
        assert (report.added, report.images) == (3, 4)
        assert sorted(i for i, _ in report.refused) == sorted(
            [
                "refused",
                "nan",
                "long",
                "gone image 0",
                "broken",
                "device image 0",
                "bare",
                "half image 1",
                "good",
                "odd",
            ]
        )
        assert report.refused == tuple(told)
        why = dict(report.refused)
        assert "cannot take 200" in why["refused"]
        assert "length nan" in why["nan"]
        assert "length 2" in why["long"]
        assert "same id" in why["good"]
        assert lib.check().ok
        # The bad ones are tried again, the good ones of the same case are not.
        np.save(broken, np.eye(5))
        again = lib.add(cases, Job(batch_size=4))
        assert {k[:2] for k in contents(lib)} >= {("half", 1), ("broken", 0)}
        assert (again.added, again.updated, again.images, again.skipped) == (1, 1, 2, 2)
        assert lib.check().ok


def test_a_model_that_breaks_its_promise_is_a_fault_and_what_was_written_stays(tmp_path):
    class Wrong(FakeEmbedder):
        def embed_views(self, views):
            return super().embed_views(views)[:, : 16 if self.embedded < 6 else 9]

    with Library.open(tmp_path / "l", Wrong()) as lib:
        with pytest.raises(VesaliusError, match="promise"):
            lib.add(make_cases(20), Job(batch_size=4))
        n = len(lib)
        assert n > 0
        assert lib.check().ok
    with Library.open(tmp_path / "l", Wrong()) as lib:
        assert len(lib) == n


def test_progress_counts_only_what_is_on_the_disk(tmp_path, model):
    seen: list[Progress] = []

    def look(progress: Progress) -> None:
        with Library.open(tmp_path / "l", readonly=True) as other:
            assert len({key[0] for key in contents(other)}) == progress.done
        seen.append(progress)

    with Library.open(tmp_path / "l", model) as lib:
        report = lib.add(make_cases(20), Job(batch_size=6, on_progress=look))
    assert len(seen) > 3
    assert [p.done for p in seen] == sorted(p.done for p in seen)
    assert (seen[-1].what, seen[-1].done) == ("cases indexed", 20)
    assert (report.added, report.images) == (20, 30)


@pytest.mark.parametrize("batch_size", [1, 3, 1000])
def test_batches_and_workers_do_not_change_the_result(tmp_path, lib, model, batch_size):
    with Library.open(tmp_path / "other", model) as other:
        report = other.add(iter(make_cases(40)), Job(batch_size=batch_size, workers=2 if batch_size == 3 else 0))
        assert (report.added, report.images, report.refused) == (40, 60, ())
        mine, theirs = contents(lib), contents(other)
        assert mine.keys() == theirs.keys()
        for key in mine:
            a, b = (np.frombuffer(x[key], np.float32) for x in (mine, theirs))
            close(a, b)
        assert [h.id for h in other.search("some words", k=10)] == [h.id for h in lib.search("some words", k=10)]
        assert other.check().ok


def test_workers_report_bad_images_and_an_error_of_the_source_comes_through(tmp_path, model):
    (tmp_path / "bad.npy").write_bytes(b"junk")

    def cases():
        yield from make_cases(5)
        yield Case("bad", images=(Image(uri=str(tmp_path / "bad.npy")),))
        raise BadInputError("the source broke off", item="here")

    with Library.open(tmp_path / "l", model) as lib:
        with pytest.raises(BadInputError, match="broke off"):
            lib.add(cases(), Job(batch_size=2, workers=1))
        assert lib.check().ok
        report = lib.add([*make_cases(5), Case("bad", images=(Image(uri=str(tmp_path / "bad.npy")),))], Job(workers=1))
        assert [i for i, _ in report.refused] == ["bad"]
        assert len({k[0] for k in contents(lib)}) == 5


def test_records_come_back_and_relative_files_are_found(tmp_path, model):
    cases = CaseSet(files(tmp_path)).write(tmp_path / "set", copy_images=True)
    with Library.open(tmp_path / "l", model) as lib:
        lib.add(cases)
        for case in cases:
            stored = lib.get(case.id)
            assert stored.replace(images=()) == case.replace(images=())
            np.testing.assert_array_equal(stored.images[0].pixels(), case.images[0].pixels())
        assert [c.id for c in lib.cases()] == cases.ids()
        assert "f3" in lib
        assert "f9" not in lib
        with pytest.raises(VesaliusError, match="nobody"):
            lib.get("nobody")


def test_thumbnails_are_small_pictures_of_every_kind(tmp_path, model):
    ramp = np.linspace(-1000, 3000, 300 * 200).reshape(300, 200)
    colour = np.zeros((40, 50, 3), np.uint8)
    colour[..., 0] = 250
    images = (
        Image(array=ramp.astype(np.int16)),
        Image(array=colour),
        Image(array=np.stack([ramp * 0, ramp, ramp * 0]).astype(np.float32), kind="3d"),
        Image(array=np.stack([colour] * 3), kind="video"),
        Image(array=np.full((10, 10), np.nan)),
    )
    with Library.open(tmp_path / "l", model) as lib:
        report = lib.add([Case("t", images=images)])
        assert [i for i, _ in report.refused] == ["t image 4"]
        pictures = [Pillow.open(io.BytesIO(lib.thumbnail("t", n) or b"")) for n in range(4)]
        assert all(max(p.size) <= 128 for p in pictures)
        assert pictures[0].size == (85, 128)
        grey = np.asarray(pictures[0]).astype(int)
        assert grey[0].mean() < 10
        assert grey[-1].mean() > 245
        assert np.asarray(pictures[1])[20, 20, 0] > 240
        assert np.abs(np.asarray(pictures[2]).astype(int) - grey).max() < 12
        assert lib.thumbnail("t", 9) is None


def test_senseless_options_are_refused(lib):
    with pytest.raises(UsageError, match="batch_size"):
        lib.add([], Job(batch_size=0))
