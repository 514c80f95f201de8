"""The one decode path: the same values, in order, bad ones named beside good ones, files read in bounded children."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from tests.io.dicom_makers import dicom_bytes, save_all, volume_series
from vesalius.cases import Case, Image
from vesalius.errors import BadInputError, CancelledError, MissingError, ResourceError, UsageError, VesaliusError
from vesalius.io import Limits, case_at, decode_cases, decode_images, decode_one, decoded, read, write
from vesalius.io.decode import held
from vesalius.io.pool import shared
from vesalius.io.pool.pool import DecodePool
from vesalius.job import Job


@pytest.fixture
def cases(tmp_path: Path) -> list[Case]:
    rng = np.random.default_rng(0)
    out = []
    for i in range(6):
        images = []
        for k in range(i % 3):  # none, one or two images
            name = f"{i}-{k}.png"
            Pillow.fromarray(rng.integers(0, 255, (20 + i, 30 + k), np.uint8)).save(tmp_path / name)
            images.append(Image(name, modality="DX", root=tmp_path))
        out.append(Case(f"c{i}", images=tuple(images)))
    volume = np.arange(24, dtype=">i2").reshape(2, 3, 4)
    out.insert(3, Case("memory", images=(Image(array=volume, kind="3d"), Image("2-0.png", root=tmp_path))))
    return out


def shape_and_process(image: Image) -> tuple[tuple[int, ...], int]:
    return image.pixels().shape, os.getpid()


def hang_on_tall_pictures(image: Image) -> int:
    if image.pixels().shape[0] == 24:
        time.sleep(60)
    return image.pixels().shape[0]


@dataclass(frozen=True)
class Unsendable:
    lock: object

    def __call__(self, image: Image) -> int:
        return os.getpid()


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_values_and_order_are_those_of_reading_here(cases: list[Case], workers: int) -> None:
    got = list(decoded(cases, Job(workers=workers)))
    assert [c.id for c in got] == [c.id for c in cases]
    for case, was in zip(got, cases, strict=True):
        for image, before in zip(case.images, was.images, strict=True):
            assert image.array is not None
            assert image.modality == before.modality
            np.testing.assert_array_equal(image.array, before.pixels())


@pytest.mark.parametrize("workers", [0, 1])
def test_a_case_with_an_unreadable_image_is_named_and_the_rest_goes_on(cases, tmp_path: Path, workers: int) -> None:
    (tmp_path / "2-1.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 40)
    (tmp_path / "4-0.png").unlink()
    job = Job(workers=workers)
    got = list(decoded(cases, job))
    assert [r.item for r in job.refused] == ["c2", "c4"]
    assert "2-1.png" in job.refused[0].why
    assert [c.id for c in got] == ["c0", "c1", "memory", "c3", "c5"]
    with pytest.raises(BadInputError):  # nobody to tell
        list(decoded(cases))


def test_a_picture_over_budget_is_refused(cases: list[Case]) -> None:
    job = Job(workers=1)
    assert list(decoded(cases[1:2], job, limits=Limits(max_pixels=100))) == []
    assert [r.item for r in job.refused] == ["c1"]


def test_files_are_read_elsewhere_by_default_and_what_is_in_memory_here(cases: list[Case]) -> None:
    results = [r for found in decode_cases(cases, shape_and_process, Job()) for r in found.results]
    shapes = [i.pixels().shape for c in cases for i in c.images]
    assert [shape for shape, _ in results] == shapes
    here = [process == os.getpid() for _, process in results]
    assert here == [i.array is not None for c in cases for i in c.images]
    assert all(p == os.getpid() for _, p in decode_images(shape_and_process, cases[1].images, Job(workers=0)))


def test_a_function_that_cannot_travel_runs_here_on_what_a_child_read(cases: list[Case]) -> None:
    job = Job(workers=1)
    assert list(decode_images(Unsendable(threading.Lock()), cases[1].images, job)) == [os.getpid()]
    assert list(decode_images(lambda i: i.pixels().shape, cases[1].images, job)) == [(21, 30)]
    assert isinstance(next(decode_images(lambda i: 1 / 0, cases[1].images, job)), BadInputError)


def test_a_hang_costs_its_case_alone(cases: list[Case]) -> None:
    job = Job(workers=1)
    got = list(decode_cases(cases, hang_on_tall_pictures, job, limits=Limits(seconds=1)))
    assert [(r.item, "too long" in r.why) for r in job.refused] == [
        ("c0", False), ("c3", False), ("c4", True),
    ]  # fmt: skip
    assert [f.case.id for f in got] == ["c1", "c2", "memory", "c5"]
    with pytest.raises(ResourceError, match="too long"):
        decode_one(cases[5].images[0], hang_on_tall_pictures, job, limits=Limits(seconds=1))


def test_some_images_of_a_case_may_be_asked_for(cases: list[Case]) -> None:
    job = Job(workers=1)
    got = list(decode_cases(cases, shape_and_process, job, of=lambda c: c.images[:1]))
    assert [len(f.results) for f in got] == [1, 1, 1, 1, 1]
    assert [(r.item, r.why) for r in job.refused] == [
        ("c0", "the case has no image."),
        ("c3", "the case has no image."),
    ]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_source_that_breaks_off_costs_what_comes_after_it_alone(cases: list[Case], workers: int) -> None:
    def broken():
        yield from cases[:3]
        raise BadInputError("the set breaks off", item="line 4")

    job = Job(workers=workers)
    assert [c.id for c in decoded(broken(), job)] == ["c0", "c1", "c2"]
    assert [r.item for r in job.refused] == ["line 4"]
    got: list[str] = []
    with pytest.raises(BadInputError, match="breaks off"):
        got.extend(case.id for case in decoded(broken()))
    assert got == ["c0", "c1", "c2"]


def test_it_streams_and_stops_when_asked(cases: list[Case]) -> None:
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield cases[1].replace(id=f"n{taken}")

    job = Job(workers=1)
    running = decoded(endless(), job)
    assert next(running).id == "n1"
    assert taken < 200
    job.cancel()
    with pytest.raises(CancelledError):
        list(running)


def test_all_calls_share_the_children_of_one_pool(cases: list[Case]) -> None:
    images = [i for c in cases for i in c.images if i.array is None]
    outer = {p for _, p in decode_images(shape_and_process, images, Job(workers=1))}
    inner = {
        p
        for _ in decode_images(shape_and_process, images, Job(workers=1))
        for _, p in decode_images(shape_and_process, images[:2], Job(workers=1))
    }
    assert len(outer) == 1
    assert inner == outer
    found: list[set[int]] = [set(), set()]

    def run(mine: set[int]) -> None:
        mine |= {p for _, p in decode_images(shape_and_process, images * 3, Job(workers=1))}

    threads = [threading.Thread(target=run, args=(mine,)) for mine in found]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert found == [outer, outer]


def test_a_child_that_has_nothing_to_do_goes_and_comes_back(cases: list[Case], monkeypatch) -> None:
    with DecodePool(1, idle_seconds=0.2) as pool:
        (first,) = (r[1] for _, r in pool.map(shape_and_process, cases[1].images))
        deadline = time.monotonic() + 20
        while Path(f"/proc/{first}").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        (second,) = (r[1] for _, r in pool.map(shape_and_process, cases[1].images))
    assert first != second


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_gets_a_pool_of_its_own() -> None:
    pool = shared.shared_pool(1)
    assert shared.shared_pool(1) is pool
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write_end, b"same" if shared.shared_pool(1) is pool else b"own ")
        os._exit(0)
    assert os.read(read_end, 4) == b"own "
    os.waitpid(child, 0)


def test_the_header_counts_whoever_made_the_image(tmp_path: Path) -> None:
    """A MONOCHROME1 film by its bare path shows as the film that `read` found, and a volume is a volume."""
    ramp = np.linspace(0, 4000, 40 * 30).reshape(40, 30).astype(np.uint16)
    film = write.secondary_capture(ramp, modality="DX", uid_seed="film")
    film.PhotometricInterpretation = "MONOCHROME1"
    (tmp_path / "film").write_bytes(dicom_bytes(film))
    write.write_nifti(tmp_path / "v.nii.gz", np.zeros((5, 6, 7), np.int16), None)
    save_all(volume_series(4), tmp_path / "ct")
    (from_read,) = decoded(read(tmp_path / "film"))
    by_hand = decode_one(Image(uri=str(tmp_path / "film"), view="PA"), held)
    assert by_hand.meta["photometric"] == "MONOCHROME1"
    assert by_hand.view == "PA"
    assert by_hand.modality == "DX"
    np.testing.assert_array_equal(by_hand.pixels(), from_read.images[0].pixels())
    volume = decode_one(Image(uri=str(tmp_path / "v.nii.gz")), held)
    assert (volume.kind, volume.pixels().ndim) == ("3d", 3)
    for path, kind in (("film", "2d"), ("v.nii.gz", "3d"), ("ct", "3d")):
        assert case_at(tmp_path / path).images[0].kind == kind
    with pytest.raises(UsageError, match="more than one case"):
        case_at(tmp_path)
    (tmp_path / "junk").write_text("nothing")
    with pytest.raises(BadInputError, match="not an image"):
        case_at(tmp_path / "junk")
    with pytest.raises(BadInputError, match="not an image"):
        decode_one(Image(uri=str(tmp_path / "junk")), held)
    with pytest.raises(MissingError):
        decode_one(Image(uri=str(tmp_path / "gone.png")), held)
    with pytest.raises(MissingError):
        case_at(tmp_path / "gone")
    assert case_at(np.zeros((9, 9, 3), np.uint8)).images[0].kind == "2d"
    assert case_at(np.zeros((9, 9, 9), np.uint8)).images[0].kind == "3d"


def test_errors_of_one_item_name_it(cases: list[Case]) -> None:
    for result in decode_images(shape_and_process, [Image("/no/such.png")], Job(workers=1)):
        assert isinstance(result, VesaliusError)
        assert "/no/such.png" in str(result)
