"""The studies of several pictures: both breasts in two views, stacks of OCT scans, and videos of cells with tracks."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from vesalius.cases import Box, Case, CaseSet, Mask, Point, Region
from vesalius.sources.phantom import Phantom
from vesalius.sources.phantom.cell_video import FAST


def drawn(study: str, n: int, **fields: object) -> list[Case]:
    common = {"seed": 120, "studies": {study: 1.0}, "size": 96, "size_3d": 40, "degraded": 0.0, "questions": False}
    return list(Phantom(**{**common, **fields}).cases(n))  # type: ignore[arg-type]


def mask_of(region: Region) -> np.ndarray:
    assert isinstance(region.geometry, Mask)
    return region.geometry.to_array()


def masks(case: Case, label: str, image: int = 0) -> list[np.ndarray]:
    return [mask_of(r) for r in case.regions if r.label == label and r.image == image and isinstance(r.geometry, Mask)]


# -- mammography ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mammograms() -> list[Case]:
    return drawn("mammography", 24, prevalence_scale=2.0)


def test_a_mammogram_has_both_breasts_in_two_views(mammograms: list[Case]) -> None:
    for c in mammograms:
        assert c.attributes["sex"] == "F"
        said = [(i.modality, i.meta["laterality"], i.view) for i in c.images]
        assert said == [("MG", "R", "CC"), ("MG", "R", "MLO"), ("MG", "L", "CC"), ("MG", "L", "MLO")]
        for k, image in enumerate(c.images):
            breast = masks(c, "breast", k)[0]
            # The chest wall is where the films of both sides are held together.
            wall = -1 if image.meta["laterality"] == "R" else 0
            assert breast[:, wall].mean() > 0.4
            assert not breast[:, -1 - wall].any()
            assert image.pixels()[breast].mean() > 3 * image.pixels()[~breast].mean()
            assert bool(masks(c, "pectoral muscle", k)) == (image.view == "MLO")


def test_a_lesion_of_the_breast_is_in_both_views_of_its_side_and_in_its_quadrant(mammograms: list[Case]) -> None:
    n = 0
    for c in mammograms:
        for name in ("circumscribed mass", "spiculated mass", "microcalcifications", "skin thickening"):
            mine = [r for r in c.regions if r.label == name and isinstance(r.geometry, Mask)]
            assert len(mine) == (2 if c.label(name) == 1 else 0)
            for r in mine:
                image = c.images[r.image]
                assert image.meta["laterality"] == str(r.attributes["side"])[0].upper()
                m, breast = mask_of(r), masks(c, "breast", r.image)[0]
                assert not (m & ~breast).any()
                if name == "skin thickening":
                    continue
                # Rows of CC run from outward to inward, rows of MLO from upward to downward.
                first = "outer" if image.view == "CC" else "upper"
                middle = np.argwhere(masks(c, "breast", r.image)[0])[:, 0]
                nipple = np.median(middle) if image.view == "CC" else 0.54 * image.shape[0]  # type: ignore[index]
                above = np.argwhere(m)[:, 0].mean() < nipple
                assert above == (first in str(r.attributes["zone"])), (c.id, r.label, image.view)
                extent = (np.ptp(np.argwhere(m), axis=0) + 1).max() * image.spacing[0]  # type: ignore[index]
                assert 0.5 * float(r.attributes["size_mm"]) - 4 < extent < 1.2 * float(r.attributes["size_mm"]) + 4  # type: ignore[arg-type]
                n += 1
    assert n > 40


def test_calcifications_are_bright_specks_of_known_number(mammograms: list[Case]) -> None:
    seen = 0
    for c in mammograms:
        specks = defaultdict(list)
        for r in c.regions:
            if r.label == "calcification" and isinstance(r.geometry, Box):
                specks[r.image].append(r.geometry)
        wanted = c.labels["calcification count"].value
        assert all(len(v) == wanted for v in specks.values())
        assert bool(specks) == (wanted != 0) == (c.label("microcalcifications") == 1)
        for k, boxes in specks.items():
            a = c.images[k].pixels().astype(float)
            around = masks(c, "microcalcifications", k)[0]
            peaks = [a[int(b.y0) : int(b.y1), int(b.x0) : int(b.x1)].max() for b in boxes]
            seen += 1
            assert np.mean(peaks) > np.median(a[around]) + 8
    assert seen > 8


def test_the_breast_category_is_that_of_the_worst_finding(mammograms: list[Case]) -> None:
    rank = {"skin thickening": 2, "circumscribed mass": 3, "microcalcifications": 4, "spiculated mass": 5}
    for c in mammograms:
        assert c.labels["BI-RADS"].value == max([v for k, v in rank.items() if c.label(k) == 1], default=1)


def test_denser_breasts_are_whiter() -> None:
    grey: dict[object, list[float]] = defaultdict(list)
    for c in drawn("mammography", 40, prevalence_scale=0.0, device_shift=0.0):
        a, breast = c.images[0].pixels(), masks(c, "breast")[0]
        grey[c.labels["breast density"].value].append(float(a[breast].mean()))
    means = [np.mean(grey[k]) for k in sorted(grey, key=str)]
    assert len(means) >= 3
    assert means == sorted(means)


# -- OCT volumes ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scans() -> list[Case]:
    return drawn("oct_volume", 16, prevalence_scale=1.6)


def test_an_oct_volume_is_a_stack_whose_lesions_lie_in_the_retina(scans: list[Case]) -> None:
    n = 0
    for c in scans:
        (image,) = c.images
        assert (image.modality, image.kind, image.shape) == ("OPT", "3d", (40, 40, 40))
        retina = masks(c, "retina")[0]
        for name in ("intraretinal fluid", "subretinal fluid", "drusenoid deposits", "geographic atrophy"):
            found = masks(c, name)
            assert bool(found) == (c.label(name) == 1)
            for m in found:
                assert m.shape == image.shape
                assert not (m & ~retina).any()
                n += 1
    assert n > 25


def test_layers_of_an_oct_volume_are_in_order_and_thin_at_the_fovea(scans: list[Case]) -> None:
    order = ("nerve fibre layer", "inner nuclear layer", "outer nuclear layer", "pigment epithelium")
    for c in scans:
        depth = np.arange(40)[None, :, None]
        heights = []
        for name in order:
            m = masks(c, name)[0]
            heights.append((m * depth).sum() / m.sum())
        assert heights == sorted(heights)
    for c in drawn("oct_volume", 6, prevalence_scale=0.0):
        thick = masks(c, "retina")[0].sum(1)
        assert thick[17:23, 17:23].mean() < thick[:, :8].mean()
        um = 1000 / 40
        # The part reaches 41 micrometres below the epithelium, the measurement does not.
        measured = thick[18:22, 18:22].mean() * um - 41
        assert c.labels["central subfield thickness"].value == pytest.approx(measured, abs=40)


def test_fluid_is_dark_and_a_deposit_bright_in_every_slice(scans: list[Case]) -> None:
    dark, bright = [], []
    for c in scans:
        a = c.images[0].pixels().astype(float)
        layer = masks(c, "inner plexiform layer")[0]
        dark += [a[m].mean() < 0.7 * a[layer].mean() for m in masks(c, "subretinal fluid")]
        bright += [a[m].mean() > 0.7 * a[layer].mean() for m in masks(c, "drusenoid deposits")]
    assert len(dark) > 3
    assert len(bright) > 10
    assert np.mean(dark) > 0.9
    assert np.mean(bright) > 0.9


# -- videos of cells -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def videos() -> list[Case]:
    return drawn("cell_video", 16, frames=10, prevalence_scale=1.5)


def tracks(case: Case) -> dict[object, dict[int, Region]]:
    """Boxes of each cell by frame."""
    out: dict[object, dict[int, Region]] = defaultdict(dict)
    for r in case.regions:
        if r.granularity == "cell" and isinstance(r.geometry, Box):
            out[r.attributes["track"]][int(r.geometry.z0 or 0)] = r
    return out


def test_every_cell_of_a_video_has_one_unbroken_track(videos: list[Case]) -> None:
    for c in videos:
        (image,) = c.images
        assert (image.kind, image.shape) == ("video", (10, 96, 96))
        assert image.spacing is None
        found = tracks(c)
        assert len(found) == c.labels["cell tracks"].value
        tubes = {
            r.attributes["track"]: mask_of(r)
            for r in c.regions
            if r.label == "cell track" and isinstance(r.geometry, Mask)
        }
        assert set(tubes) == set(found)
        for number, boxes in found.items():
            frames = sorted(boxes)
            assert frames == list(range(frames[0], frames[-1] + 1))
            for t, r in boxes.items():
                where = np.argwhere(tubes[number][t])
                b = r.geometry
                assert isinstance(b, Box)
                assert r.attributes["frame"] == t == b.z1 - 1  # type: ignore[operator]
                assert (b.y0, b.x0) == tuple(where.min(0))
                assert (b.y1, b.x1) == tuple(where.max(0) + 1)
            assert not tubes[number][[t for t in range(10) if t not in boxes]].any()
        points = [r for r in c.regions if r.granularity == "cell" and isinstance(r.geometry, Point)]
        assert len(points) == sum(len(b) for b in found.values())
        for t in range(10):
            assert c.labels[f"cell count in frame {t}"].value == sum(t in b for b in found.values())


def test_divisions_and_deaths_are_as_many_as_were_set_and_end_their_tracks(videos: list[Case]) -> None:
    divided = died = 0
    for c in videos:
        found = tracks(c)
        first = {k: v[min(v)].attributes for k, v in found.items()}
        by_mother = defaultdict(list)
        for k, a in first.items():
            if a["parent"]:
                by_mother[a["parent"]].append(k)
        events = [r for r in c.regions if r.label == "cell division" and isinstance(r.geometry, Mask)]
        assert len(events) == len(by_mother)
        assert (len(events) > 0) == (c.label("cell division") == 1)
        for r in events:
            mother = r.attributes["track"]
            last = max(found[mother])
            assert first[mother]["fate"] == "divides"
            assert len(by_mother[mother]) == 2
            assert all(min(found[d]) == last + 1 for d in by_mother[mother])
            divided += 1
        deaths = [r for r in c.regions if r.label == "apoptotic cell" and isinstance(r.geometry, Mask)]
        assert (len(deaths) > 0) == (c.label("apoptotic cell") == 1)
        for r in deaths:
            assert first[r.attributes["track"]]["fate"] == "dies"
            assert max(found[r.attributes["track"]]) < 9
            died += 1
        fates = [a["fate"] for a in first.values()]
        assert fates.count("divides") == len(events)
        assert fates.count("dies") == len(deaths)
        assert fates.count("stays") == c.labels["cell count in frame 9"].value
    assert divided > 10
    assert died > 5


@pytest.mark.parametrize("frames", [2, 40])
def test_no_event_leaves_the_field_unseen(frames: int) -> None:
    for c in drawn("cell_video", 4, frames=frames, size=48, prevalence_scale=3.0):
        for name in ("cell division", "apoptotic cell"):
            said = c.report.findings.lower() if c.report else ""
            shown = sum(r.label == name and isinstance(r.geometry, Mask) for r in c.regions)
            word = {1: "one", 2: "two", 3: "three", 4: "four"}[shown] if shown != 1 else ""
            assert f"{word} {name}".strip() in said


def test_motility_can_be_measured_from_the_boxes(videos: list[Case]) -> None:
    for c in videos:
        um = float(c.images[0].meta["pixel_mm"]) * 1000
        minutes = float(c.images[0].meta["seconds_per_frame"]) / 60
        steps = []
        for boxes in tracks(c).values():
            places = {t: r.geometry for t, r in boxes.items()}
            middle = {t: np.asarray((b.y0 + b.y1, b.x0 + b.x1)) / 2 for t, b in places.items()}  # type: ignore[union-attr]
            steps += [float(np.linalg.norm(middle[t] - middle[t - 1])) for t in middle if t - 1 in middle]
        speed = float(c.labels["mean speed"].value)  # type: ignore[arg-type]
        assert np.mean(steps) * um / minutes == pytest.approx(speed, rel=0.35, abs=0.12)
        assert (speed > FAST) == (c.label("increased cell motility") == 1), c.id


def test_videos_and_volumes_take_every_dial_and_come_back_from_disk(tmp_path) -> None:
    config = {
        "seed": 121,
        "studies": {"cell_video": 1.0, "oct_volume": 1.0, "mammography": 1.0},
        "size": 48,
        "size_3d": 20,
        "frames": 4,
        "degraded": 1.0,
        "device_shift": 1.0,
        "missing": 0.4,
        "visits": (2, 2),
        "shortcut": {"finding": "spiculated mass", "kind": "tube", "correlation": -1.0},
        "readers": ({"name": "A", "skill": 0.8},),
        "languages": ("en", "zh"),
    }
    cases = list(Phantom(**config).cases(12))
    written = CaseSet(cases).write(tmp_path / "set")
    for a, b in zip(cases, written, strict=True):
        assert a.regions == b.regions
        assert a.questions == b.questions
        assert all(np.array_equal(x.pixels(), y.pixels()) for x, y in zip(a.images, b.images, strict=True))
        assert a.attributes["quality_grade"]
