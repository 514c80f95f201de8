"""Killed, contended, full, erased, compacted: nothing reported is lost and nothing half done is served."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.library.fakes import FakeEmbedder, make_case, make_cases
from tests.tolerance import close
from vesalius.cases import Case, Image
from vesalius.errors import BadInputError, ResourceError, UsageError
from vesalius.job import Job
from vesalius.library import Library, segments

HERE = Path(__file__).parent
ENV = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), *filter(None, sys.path)]),
    "OMP_NUM_THREADS": "1",
}


def contents(lib):
    v = lib.vectors()
    keys = zip(v.ids, v.images.tolist(), v.patients, strict=True)
    return {key: vector.tobytes() for key, vector in zip(keys, v.vectors, strict=True)}


def answers(lib):
    queries = [lib.search(f"query {n}", k=25, where=w) for n in range(4) for w in (None, "sex = F and age > 30")]
    queries += [lib.search("effusion heart", k=25, mode=m) for m in ("text", "hybrid")]
    return [[(h.id, h.image, h.rank, round(h.score, 5), h.caption) for h in hits] for hits in queries]


def all_bytes(folder):
    return b"".join(p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file())


def start_adding(folder, n):
    return subprocess.Popen(
        [sys.executable, str(HERE / "adder.py"), str(folder), str(n)], env=ENV, stdout=subprocess.PIPE, text=True
    )


def test_killed_ten_times_and_resumed_equals_one_clean_run(tmp_path, model):
    n, rng = 300, random.Random(7)
    with Library.open(tmp_path / "clean", model) as clean:
        clean.add(make_cases(n), Job(batch_size=5))
        expected, found = contents(clean), answers(clean)
    folder, reported, kills = tmp_path / "killed", 0, 0
    while kills < 10:
        process = start_adding(folder, n)
        # The pace of the lines is the pace of the commits; the wait that follows falls anywhere between two of them.
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(rng.randrange(1, 6))]
        threading.Event().wait(rng.random() * 0.02)
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.readlines()
        assert process.wait() == -signal.SIGKILL, "the program ended by itself: give it more to do"
        kills += 1
        reported = max([reported, *(int(line) for line in lines if line.strip().isdigit() and line.endswith("\n"))])
        with Library.open(folder, model, readonly=True) as lib:
            got = contents(lib)
            whole = {id for id, _, _ in got}
            assert len(whole) >= reported, "a case that was reported is gone"
            assert got.items() <= expected.items()
            assert set(got) == {key for key in expected if key[0] in whole}, "half a case is served"
            assert {h.id for h in lib.search("x", k=n)} == whole
            assert lib.check().ok
    assert reported > 20
    process = start_adding(folder, n)
    assert process.communicate()[0].strip().endswith(str(n))
    assert process.returncode == 0
    with Library.open(folder, model) as lib:
        assert contents(lib) == expected
        assert answers(lib) == found
        report = lib.check()
        assert report.problems == ()
        assert lib.add(make_cases(n)).skipped == n


@pytest.mark.parametrize("bytes_more", [1, 63, 64, 6400])
def test_a_tail_that_was_never_committed_is_ignored_and_cut(lib, tmp_path, bytes_more):
    before, found = contents(lib), answers(lib)
    lib.close()
    file = tmp_path / "lib" / "vectors" / "00000001.f32"
    file.write_bytes(file.read_bytes() + b"\x7f" * bytes_more)
    (tmp_path / "lib" / "vectors" / "00000002.f32").write_bytes(b"stray")
    with Library.open(tmp_path / "lib", FakeEmbedder()) as lib:
        assert contents(lib) == before
        assert answers(lib) == found
        report = lib.check()
        assert report.ok
        assert {p.kind for p in report.problems} == {"tail", "stray"}
        lib.add([make_case(40)])
        assert contents(lib).items() > before.items()
        assert lib.check().problems == ()


def test_segments_fill_one_after_another(tmp_path, model, monkeypatch):
    monkeypatch.setattr(segments, "ROWS", 8)
    with Library.open(tmp_path / "l", model) as lib, Library.open(tmp_path / "r", model) as other:
        lib.add(make_cases(30), Job(batch_size=20))
        assert lib.stats()["segments"] == 6
        assert [p.stat().st_size for p in sorted((tmp_path / "l" / "vectors").iterdir())] == [8 * 64] * 5 + [5 * 64]
        monkeypatch.setattr(segments, "ROWS", 10**6)
        other.add(make_cases(30))
        assert contents(lib) == contents(other)
        assert answers(lib) == answers(other)
        assert lib.check().problems == ()


def test_two_writers_one_waits_outside_and_readers_go_on(lib, tmp_path, model):
    def second():
        with Library.open(tmp_path / "lib", FakeEmbedder()) as other:
            n = len(other)
            assert len(other.search("a new question", k=100)) >= 40
            for call in (lambda: other.add(make_cases(3)), lambda: other.delete("c1"), other.compact):
                with pytest.raises(ResourceError, match="written by another process") as caught:
                    call()
                assert str(os.getpid()) in caught.value.why
            assert len(other) == n

    def cases():
        for case in make_cases(20, 100):
            second()
            yield case

    assert lib.add(cases(), Job(batch_size=3)).added == 20
    with pytest.raises(UsageError, match="already being written"):
        lib.add(case for case in [make_case(200)] if lib.delete("c1") >= 0)
    # The lock dies with its holder.
    process = start_adding(tmp_path / "lib", 400)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.readline()
    with pytest.raises(ResourceError, match=str(process.pid)):
        lib.add(make_cases(3))
    process.kill()
    process.wait()
    assert lib.add(make_cases(3)).skipped == 3
    assert lib.check().ok


def test_threads_may_search_while_one_adds_and_deletes(lib):
    wrong: list[str] = []
    stop = threading.Event()

    def look():
        try:
            while not stop.is_set():
                for hit in lib.search("question", k=30):
                    if not -1.001 < hit.score < 1.001 or hit.score == 0:
                        wrong.append(f"{hit.id} {hit.score}")
        except Exception as error:
            wrong.append(repr(error))

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for n in range(6):
        lib.add(make_cases(10, 100 + 10 * n), Job(batch_size=4))
        lib.delete([f"c{100 + 10 * n + i}" for i in range(0, 10, 2)])
        lib.compact()
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert lib.check().problems == ()
    assert len(contents(lib)) == 60 + 6 * 5 * 2


MARK = "zyxwvsecret"


def secret_case(n):
    pixels = np.random.default_rng(5000 + n).integers(0, 255, (140, 150)).astype(np.uint8)
    case = make_case(n, images=0)
    return case.replace(
        id=f"{MARK}{n}",
        patient=f"{MARK}patient{n}",
        images=(Image(array=pixels, modality="CR"),),
        regions=(),
        questions=(),
        labels={f"{MARK}label": f"{MARK}value"},
        attributes={f"{MARK}attribute": f"{MARK}place"},
        report=case.report.__class__(findings=f"Words of {MARK}finding {n}. " * (1 + n % 30)),
    )


def test_erased_cases_leave_no_byte_of_words_vectors_or_pictures(lib, tmp_path):
    rng = random.Random(3)
    secrets = [secret_case(n) for n in range(120)]
    others = make_cases(120, 100)
    mixed = [case for pair in zip(secrets, others, strict=True) for case in pair]
    lib.add(mixed, Job(batch_size=11))
    lib.add([c.replace(patient=f"{MARK}again") for c in secrets[:40]])
    lib.search(f"{MARK} question", k=3)
    gone = lib.vectors([c.id for c in secrets])
    thumbs = [lib.thumbnail(c.id) or b"" for c in secrets]
    before = all_bytes(tmp_path / "lib")
    assert MARK.encode() in before
    assert all(v.tobytes() in before for v in gone.vectors)
    assert all(len(t) > 1500 and t[700:732] in before for t in thumbs)
    kept = {key: v for key, v in contents(lib).items() if MARK not in key[0]}
    ids = [c.id for c in secrets]
    rng.shuffle(ids)
    assert lib.delete(ids[:50]) == 50
    assert lib.delete([*ids[50:], "nobody", ids[0]]) == 70
    after = all_bytes(tmp_path / "lib")
    assert MARK.encode() not in after.lower()
    assert not any(v.tobytes() in after or v[3:6].tobytes() in after for v in gone.vectors)
    assert not any(
        t[i : i + 32] in after for t in thumbs for i in range(700, len(t) - 32, 512)
    )  # behind the tables that all JPEGs share
    assert contents(lib) == kept
    assert lib.check().problems == ()
    assert len(lib.search(MARK, mode="text")) == 0
    assert MARK not in str(lib.stats())


def test_deleting_without_erasing_hides_at_once_and_compacting_removes_the_bytes(lib, tmp_path):
    lib.add([secret_case(n) for n in range(5)])
    gone = lib.vectors([f"{MARK}{n}" for n in range(5)]).vectors
    assert lib.delete([f"{MARK}{n}" for n in range(5)], erase=False) == 5
    assert len(lib.search(MARK, mode="text")) == 0
    assert MARK not in str([h.id for h in lib.search("x", k=100)])
    assert all(v.tobytes() in all_bytes(tmp_path / "lib") for v in gone)
    assert lib.check().problems == ()
    assert lib.compact() == 5
    assert not any(v.tobytes() in all_bytes(tmp_path / "lib") for v in gone)
    assert lib.check().problems == ()


def test_an_erasure_that_was_cut_off_is_finished_by_the_next_writer(lib, tmp_path, monkeypatch):
    lib.add([secret_case(n) for n in range(5)])
    gone = lib.vectors([f"{MARK}{n}" for n in range(5)]).vectors
    monkeypatch.setattr(segments.SegmentFiles, "zero", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        lib.delete([f"{MARK}{n}" for n in range(5)])
    monkeypatch.undo()
    lib.close()
    with Library.open(tmp_path / "lib", FakeEmbedder()) as lib:
        assert len(lib) == 60
        assert any(v.tobytes() in all_bytes(tmp_path / "lib") for v in gone)
        assert [p.kind for p in lib.check().problems] == ["erase"]
        lib.add([])
        assert not any(v.tobytes() in all_bytes(tmp_path / "lib") for v in gone)
        assert MARK.encode() not in all_bytes(tmp_path / "lib")
        assert lib.check().problems == ()


def test_a_reader_that_holds_on_delays_the_erasure_and_is_told(lib, tmp_path, monkeypatch):
    monkeypatch.setattr("vesalius.library.local.BUSY_SECONDS", 0.2)
    with Library.open(tmp_path / "lib", readonly=True) as reader:
        reader.store.connection.execute("BEGIN")
        reader.store.connection.execute("SELECT count(*) FROM cases").fetchone()
        with pytest.raises(ResourceError, match="not erased yet"):
            lib.delete("c3")
        assert "c3" not in lib
        reader.store.connection.execute("ROLLBACK")
    assert lib.delete("c4") == 1
    assert b"token3." not in all_bytes(tmp_path / "lib")
    assert lib.check().problems == ()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_sequence_of_changes_equals_a_dictionary(tmp_path_factory, data):
    rows, block = segments.ROWS, 3
    segments.ROWS = 7
    folder = tmp_path_factory.mktemp("sequence")
    model, truth = FakeEmbedder(), {}
    try:
        with Library.open(folder / "l", model) as lib:
            for _ in range(data.draw(st.integers(1, 8))):
                what = data.draw(st.sampled_from(["add", "add", "delete", "hide", "compact", "change"]))
                some = data.draw(st.lists(st.integers(0, 25), max_size=12, unique=True))
                if what == "add":
                    lib.add([make_case(n) for n in some], Job(batch_size=block))
                    truth.update({f"c{n}": make_case(n) for n in some})
                elif what == "change":
                    changed = [make_case(n + 1, images=2).replace(id=f"c{n}") for n in some]
                    lib.add(changed, Job(batch_size=block))
                    truth.update({c.id: c for c in changed})
                elif what == "compact":
                    lib.compact()
                    assert lib.stats()["dead_rows"] == 0
                else:
                    ids = [f"c{n}" for n in some]
                    assert lib.delete(ids, erase=what == "delete") == sum(truth.pop(i, None) is not None for i in ids)
                assert lib.check().problems == ()
                got = lib.vectors()
                assert sorted(zip(got.ids, got.images.tolist(), strict=True)) == sorted(
                    (id, n) for id, c in truth.items() for n in range(len(c.images))
                )
                for id, n, v in zip(got.ids, got.images, got.vectors, strict=True):
                    close(v, model.embed([truth[id].images[n]])[0])
    finally:
        segments.ROWS = rows


def test_compacting_that_is_killed_before_or_after_the_commit_changes_nothing_seen(lib, tmp_path, monkeypatch):
    lib.delete([f"c{n}" for n in range(0, 40, 3)], erase=False)
    before, found = contents(lib), answers(lib)
    for where in ("vesalius.library.compaction._renumber", "vesalius.library.segments.SegmentFiles.settle"):
        with monkeypatch.context() as patched:
            inside = {"left": 1 if where.endswith("settle") else 0}

            def die(*_, inside=inside):
                if inside["left"] == 0:
                    raise KeyboardInterrupt
                inside["left"] -= 1

            patched.setattr(where, die)
            with pytest.raises(KeyboardInterrupt):
                lib.compact()
        lib.close()
        lib = Library.open(tmp_path / "lib", FakeEmbedder())
        assert contents(lib) == before
        assert answers(lib) == found
        assert lib.check().ok
    lib.add([])
    assert lib.check().problems == ()
    assert lib.stats()["dead_rows"] == 0
    lib.close()


def test_compacting_holds_a_bounded_number_of_rows(tmp_path, monkeypatch):
    monkeypatch.setattr("vesalius.library.compaction.BLOCK", 4)
    biggest = 0
    append = segments.SegmentFiles.append

    def watch(self, last, vectors, next_pk):
        nonlocal biggest
        biggest = max(biggest, len(vectors))
        return append(self, last, vectors, next_pk)

    with Library.open(tmp_path / "l", FakeEmbedder()) as lib:
        lib.add(make_cases(40), Job(batch_size=30))
        lib.delete("c0", erase=False)
        monkeypatch.setattr(segments.SegmentFiles, "append", watch)
        before = contents(lib)
        assert lib.compact() == 1
        assert 0 < biggest <= 4
        assert contents(lib) == before


FULL = textwrap.dedent("""
    import resource, sys
    from vesalius.errors import ResourceError
    from vesalius.job import Job
    from vesalius.library import Library
    from tests.library.fakes import FakeEmbedder, make_cases
    folder, limit = sys.argv[1], int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    done = 0
    def note(p):
        global done
        done = p.done
    with Library.open(folder, FakeEmbedder(dim=int(sys.argv[3]))) as lib:
        try:
            lib.add(make_cases(400), Job(batch_size=10, on_progress=note))
            print("finished")
        except ResourceError as error:
            print(done, len(lib.search("x", k=1000)), error.what, "|", error.fix)
""")


@pytest.mark.parametrize(("limit", "dim"), [(300_000, 16), (700_000, 16), (200_000, 400), (250_001, 300)])
def test_a_full_disk_is_a_clear_error_and_the_library_stays_readable(tmp_path, limit, dim):
    folder = tmp_path / "l"
    model = FakeEmbedder(dim=dim)
    with Library.open(folder, model) as lib:
        lib.add(make_cases(3))
    out = subprocess.run(
        [sys.executable, "-c", FULL, str(folder), str(limit), str(dim)],
        env=ENV,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "free some space" in out.stdout.lower(), out.stdout + out.stderr
    done, searched = map(int, out.stdout.split()[:2])
    assert 3 <= done <= searched < 400
    with Library.open(folder, model) as lib:
        assert len({k[0] for k in contents(lib)}) == searched
        assert lib.check().ok
        report = lib.add(make_cases(400))
        assert report.skipped == searched
        assert report.added == 400 - searched
        assert lib.check().problems == ()


@pytest.mark.parametrize("harm", ["short", "gone", "flip", "nan", "orphan", "record", "rows", "page"])
def test_check_finds_every_kind_of_damage(lib, tmp_path, harm):
    file = tmp_path / "lib" / "vectors" / "00000001.f32"
    data = bytearray(file.read_bytes())
    sql = lib.store.connection
    if harm == "short":
        os.truncate(file, len(data) - 4)
    elif harm == "gone":
        file.unlink()
    elif harm == "flip":
        data[70] ^= 1
        file.write_bytes(data)
    elif harm == "nan":
        data[64:68] = np.float32(np.nan).tobytes()
        file.write_bytes(data)
    elif harm == "orphan":
        sql.execute("PRAGMA foreign_keys = OFF")
        sql.execute("DELETE FROM cases WHERE id = 'c3'")
    elif harm == "record":
        sql.execute("UPDATE cases SET record = replace(record, 'left', 'right') WHERE id = 'c4'")
    elif harm == "rows":
        sql.execute("PRAGMA foreign_keys = OFF")
        sql.execute("DELETE FROM images WHERE row = 3")
    else:
        sql.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        lib.close()
        base = tmp_path / "lib" / "library.sqlite"
        raw = bytearray(base.read_bytes())
        raw[4096 * 5 + 8 : 4096 * 5 + 60] = b"\xff" * 52
        base.write_bytes(raw)
        lib = Library.open(tmp_path / "lib", FakeEmbedder())
    lib.store.files.forget()
    report = lib.check()
    kinds = {p.kind for p in report.problems if p.fatal}
    expected = {
        "short": {"segment"},
        "gone": {"segment"},
        "flip": {"hash"},
        "nan": {"vector"},
        "orphan": {"orphan"},
        "record": {"hash"},
        "rows": {"orphan", "count"},
        "page": {"database"},
    }[harm]
    assert expected <= kinds
    assert not report.ok
    if harm in ("short", "gone"):
        with pytest.raises(BadInputError, match="damaged"):
            lib.search("x")


def test_a_library_from_elsewhere_cannot_name_files(lib, tmp_path):
    """Paths are built from numbers alone; text in the catalogue never becomes one."""
    lib.close()
    outside = tmp_path / "outside.f32"
    outside.write_bytes(b"precious")
    with Library.open(tmp_path / "lib", FakeEmbedder()) as lib:
        lib.add([Case("../../outside", patient="../..", images=(Image(array=np.eye(5)),))])
        assert lib.delete("../../outside") == 1
        lib.store.connection.execute("INSERT INTO ivf VALUES (1, '../../outside', 1, 1, 1, 1.0, 8)")
        with pytest.raises(ResourceError, match="damaged"):
            lib.search("x", method="ivf")
    assert outside.read_bytes() == b"precious"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["lib", "outside.f32"]
