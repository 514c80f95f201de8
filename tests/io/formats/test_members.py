"""Members of archives: each read once in its order, whoever asks; counted in unpacked bytes, not in seconds."""

from __future__ import annotations

import io
import random
import tarfile
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pil

from vesalius.errors import BadInputError
from vesalius.io import Limits, read, read_pixels
from vesalius.io.formats import members
from vesalius.io.formats.members import MemberReader, read_member, reading
from vesalius.job import Job

LIMITS = Limits()


def archive(path: Path, count: int, size: int = 3000) -> dict[str, bytes]:
    data = {f"d/{n:05d}.bin": random.Random(n).randbytes(size) for n in range(count)}
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as z:
            for name, content in data.items():
                z.writestr(name, content)
        return data
    mode = {".gz": "w:gz", ".xz": "w:xz", ".bz2": "w:bz2"}.get(path.suffix, "w")
    with tarfile.open(path, mode, format=tarfile.USTAR_FORMAT) as t:
        for name, content in data.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            t.addfile(info, io.BytesIO(content))
    return data


@pytest.fixture(autouse=True)
def _nothing_held():
    yield
    while members._free:
        members._free.popitem()[1].close()


@pytest.mark.parametrize("suffix", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_reads_every_member_in_any_order(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    data = archive(path, 30)
    names = list(data)
    for order in (names, names[::-1], random.Random(0).sample(names, len(names))):
        assert [read_member(path, n, LIMITS, f"a!{n}") for n in order] == [data[n] for n in order]
    with reading(path, LIMITS, "a") as reader:
        assert dict(reader.read(names[3:9], "a")) == {n: data[n] for n in names[3:9]}
        assert [m.name for m, _ in reader.walk(10, 20)] == names[10:20]
        assert [s.read() for _, s in reader.walk(20, 40)] == [data[n] for n in names[20:]]


@pytest.mark.parametrize("step", [1, 3])
def test_members_in_order_cost_one_pass_however_many(tmp_path, monkeypatch, step):
    monkeypatch.setattr(members, "KEPT_BYTES", 0)  # nothing is kept: what is unpacked twice is counted twice
    cost = {}
    for count in (60, 240):
        path = tmp_path / f"{count}.tar.gz"
        data = archive(path, count)
        for name in list(data)[::step]:
            read_member(path, name, LIMITS, f"a!{name}")
        with reading(path, LIMITS, "a") as reader:
            cost[count] = reader.unpacked
        assert cost[count] < 1.1 * count * (3072 + 512) + 20_000  # a block of header each, and the end of the tar
    assert cost[240] < 4.5 * cost[60]


def test_runs_of_members_cost_one_pass(tmp_path):
    path = tmp_path / "a.tar.gz"
    archive(path, 100)
    for start in range(0, 100, 10):
        with reading(path, LIMITS, "a") as reader:
            assert len([m for m, _ in reader.walk(start, start + 10)]) == 10
            assert reader.unpacked < 1.1 * 100 * (3072 + 512) + 20_000


def test_members_a_little_out_of_order_are_kept(tmp_path):
    path = tmp_path / "a.tar.gz"
    data = archive(path, 100)
    names = list(data)
    for n in range(0, 100, 2):  # the second of each pair first
        for name in (names[n + 1], names[n], names[n + 1]):
            assert read_member(path, name, LIMITS, f"a!{name}") == data[name]
    with reading(path, LIMITS, "a") as reader:
        assert reader.unpacked < 1.1 * 100 * (3072 + 512) + 20_000


def test_keeps_no_more_than_it_may(tmp_path, monkeypatch):
    monkeypatch.setattr(members, "KEPT_BYTES", 10_000)
    path = tmp_path / "a.tar.gz"
    data = archive(path, 50, size=2000)
    read_member(path, list(data)[-1], LIMITS, "a")
    with reading(path, LIMITS, "a") as reader:
        assert 0 < sum(map(len, reader._kept.values())) <= 10_000


def test_holds_few_archives_open(tmp_path):
    for n in range(6):
        data = archive(tmp_path / f"{n}.tar.gz", 3)
        read_member(tmp_path / f"{n}.tar.gz", next(iter(data)), LIMITS, "a")
    assert len(members._free) == members.HELD


def test_a_file_written_anew_is_read_anew(tmp_path):
    path = tmp_path / "a.tar.gz"
    archive(path, 3)
    read_member(path, "d/00000.bin", LIMITS, "a")
    data = archive(tmp_path / "b.tar.gz", 3, size=10)
    (tmp_path / "b.tar.gz").replace(path)
    assert read_member(path, "d/00000.bin", LIMITS, "a") == data["d/00000.bin"]
    assert len(members._free) == 1


@pytest.mark.parametrize("suffix", ["zip", "tar", "tar.gz"])
def test_says_what_is_not_there(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    archive(path, 3)
    with pytest.raises(BadInputError, match=r"a!d/x.bin.*no such member"):
        read_member(path, "d/x.bin", LIMITS, "a!d/x.bin")
    assert read_member(path, "d/00001.bin", LIMITS, "a!d/00001.bin")


def test_threads_do_not_share_a_place_in_the_file(tmp_path):
    path = tmp_path / "a.tar.gz"
    data = archive(path, 40)
    wrong = []

    def work(seed: int) -> None:
        names = random.Random(seed).sample(list(data), 20)
        wrong.extend(n for n in names if read_member(path, n, LIMITS, "a") != data[n])

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == []


def test_a_damaged_end_costs_only_what_lies_there(tmp_path):
    path = tmp_path / "a.tar.gz"
    data = archive(path, 40)
    path.write_bytes(path.read_bytes()[:60_000])
    assert read_member(path, "d/00003.bin", LIMITS, "a") == data["d/00003.bin"]
    with pytest.raises(BadInputError, match="cannot read archive"):
        read_member(path, "d/00039.bin", LIMITS, "a")
    assert read_member(path, "d/00002.bin", LIMITS, "a") == data["d/00002.bin"]


def test_pictures_of_a_packed_tar_are_decoded_in_one_pass(tmp_path, monkeypatch):
    monkeypatch.setattr(members, "KEPT_BYTES", 0)
    path = tmp_path / "films.tar.gz"
    with tarfile.open(path, "w:gz") as t:
        for n in range(40):
            buffer = io.BytesIO()
            Pil.fromarray(np.random.default_rng(n).integers(0, 255, (40, 40), np.uint8)).save(buffer, "PNG")
            info = tarfile.TarInfo(f"{n:03d}.png")
            info.size = len(buffer.getvalue())
            t.addfile(info, io.BytesIO(buffer.getvalue()))
    with tarfile.open(path) as t:
        whole = t.getmembers()[-1].offset_data + 10_240
    made: list[MemberReader] = []
    start = MemberReader.__init__
    monkeypatch.setattr(MemberReader, "__init__", lambda self, *a: (made.append(self), start(self, *a))[1])
    cases = list(read(path, Job(workers=0)))
    for n, case in enumerate(cases):
        want = np.random.default_rng(n).integers(0, 255, (40, 40), np.uint8)
        np.testing.assert_array_equal(read_pixels(case.images[0]), want)
    # One pass to look at the members and one to decode them.
    assert len(cases) == 40
    assert sum(r.unpacked for r in made) <= 2.2 * whole
