"""Windows against pydicom's own, inversion, and values that are not numbers."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_windowing

from vesalius.cases import Image
from vesalius.render.display import to_display


def image(**meta: object) -> Image:
    return Image(uri="x", meta={"format": "dicom", **meta})


@pytest.mark.filterwarnings("ignore:overflow encountered")
@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("centre", "width"), [(40, 400), (0, 1), (-600, 1500), (1000, 2)])
def test_windows_are_pydicoms(function, centre, width):
    array = np.arange(-1024, 3072, dtype=np.int16).reshape(64, 64)
    ds = Dataset()
    ds.WindowCenter, ds.WindowWidth, ds.VOILUTFunction = centre, width, function
    ds.BitsStored, ds.PixelRepresentation, ds.PhotometricInterpretation = 16, 1, "MONOCHROME2"
    theirs = apply_windowing(array, ds)
    theirs = (theirs + 2**15) / (2**16 - 1) * 255  # pydicom stretches to the range of the stored type
    ours = to_display(array, image(window=[[centre, width]], voi_function=function))
    assert np.abs(ours.astype(float) - theirs).max() <= 1
    assert ours.max() == 255


def test_monochrome1_is_inverted():
    array = np.arange(256, dtype=np.uint16).reshape(16, 16)
    normal = to_display(array, image(photometric="MONOCHROME2", window=[[128, 256]]))
    np.testing.assert_array_equal(
        to_display(array, image(photometric="MONOCHROME1", window=[[128, 256]])), 255 - normal
    )


@pytest.mark.parametrize(
    "array",
    [
        np.full((4, 4), np.nan),
        np.zeros((4, 4)),
        np.full((4, 4), 7, np.int16),
        np.array([[np.inf, -np.inf], [np.nan, 1.0]]),
    ],
)
def test_odd_values_give_a_picture(array):
    out = to_display(array)
    assert out.dtype == np.uint8
    assert out.shape == array.shape


def test_percentiles_ignore_a_few_bright_pixels():
    array = np.random.default_rng(0).normal(100, 10, (100, 100)).astype(np.float32)
    array[0, :5] = 1e6
    out = to_display(array)
    assert 100 < np.median(out) < 160


def test_colour_and_plain_bytes_come_through():
    rgb = np.random.default_rng(0).integers(0, 255, (5, 6, 3), np.uint8)
    np.testing.assert_array_equal(to_display(rgb, Image(uri="x.png")), rgb)
    grey = rgb[..., 0]
    np.testing.assert_array_equal(to_display(grey, Image(uri="x.png", meta={"format": "png"})), grey)


def test_a_table_is_looked_up():
    array = np.array([[9, 10, 11, 12, 99]], np.int16)
    table = {"first": 10, "bits": 8, "values": [0, 100, 255]}
    np.testing.assert_array_equal(to_display(array, image(voi_lut=table)), [[0, 0, 100, 255, 255]])


@pytest.mark.parametrize("dtype", ["i2", "u1", "f4"])
@pytest.mark.parametrize(
    "meta",
    [{}, {"window": [[40, 400]]}, {"voi_lut": {"values": [0, 9, 255], "first": 30, "bits": 8}},
     {"photometric": "MONOCHROME1"}, {"format": "dicom"}],
)  # fmt: skip
def test_one_slice_looks_as_it_does_among_the_others(dtype, meta):
    array = np.random.default_rng(0).integers(0, 200, (7, 9, 8)).astype(dtype)
    array[3] += 50
    if dtype == "f4":
        array[0, 0, 0] = np.nan
    for volume in (array, np.stack([array] * 3, axis=-1)):
        held = Image(array=volume, kind="3d", meta=meta)
        for k in (0, 3, 6):
            np.testing.assert_array_equal(to_display(volume, held, index=k), to_display(volume, held)[k])


def test_one_slice_of_a_volume_costs_what_a_slice_costs():
    """Held by what is touched, not by the clock: windowing makes arrays of the slice's size."""
    volume = np.broadcast_to(np.arange(512, dtype=np.int16), (400, 512, 512))  # takes no memory of its own
    held = Image(array=volume, kind="3d", meta={"window": [[256, 512]]})
    tracemalloc.start()
    to_display(volume, held, index=7)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 * 512 * 512 * 4  # a few float32 copies of one slice; the volume has 400 of them
