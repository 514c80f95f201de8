"""A classifier that reads is caught; one that only minds marks in a corner is not."""

from __future__ import annotations

import numpy as np
import pytest

from vesalius.audit.injection import injection_audit, shuffled, write_on
from vesalius.errors import UsageError

RNG = np.random.default_rng(0)
PICTURES = [RNG.integers(0, 120, (96, 96), dtype=np.uint8) for _ in range(60)]
Y = np.arange(60) % 2
KEYS = [str(i) for i in range(60)]


def ink(picture):
    """Share of pixels that letters made white."""
    return float((np.asarray(picture) > 200).mean())


def test_text_lands_in_its_corner_and_nowhere_else():
    black = np.zeros((100, 200), np.uint8)
    for corner, (rows, columns) in {
        "top left": (slice(0, 50), slice(0, 100)), "bottom right": (slice(50, 100), slice(100, 200)),
        "top right": (slice(0, 50), slice(100, 200)), "bottom left": (slice(50, 100), slice(0, 100)),
    }.items():  # fmt: skip
        out = write_on(black, "mass", size=0.1, corner=corner)
        assert out[rows, columns].sum() == out.sum() > 0
        assert not black.any()


def test_colour_stays_colour_and_long_text_fits():
    out = write_on(np.zeros((64, 64, 3), np.uint8), "a very long diagnosis that would not fit", size=0.2)
    assert out.shape == (64, 64, 3)
    columns = np.flatnonzero(out.any((0, 2)))
    assert columns[-1] < 63
    with pytest.raises(UsageError, match="unknown corner"):
        write_on(np.zeros((8, 8), np.uint8), "x", corner="middle")


def test_shuffled_letters_keep_ink_and_spaces():
    text = "no pleural effusion"
    got = shuffled(text, 20)
    assert len(set(got)) == 20
    assert text not in got
    for other in got:
        assert sorted(other) == sorted(text)
        assert [c == " " for c in other] == [c == " " for c in text]
    assert shuffled("aa", 7) == ()
    assert set(shuffled("abc", 7)) == {"acb", "bac", "bca", "cab", "cba"}
    assert shuffled("mass", 7, 3) == shuffled("mass", 7, 3)


def test_a_reader_is_caught():
    known = {}
    for p in PICTURES:
        for corner in ("top left", "top right", "bottom left", "bottom right"):
            for size in (0.06, 0.12):
                known[write_on(p, "pneumonia", size=size, corner=corner).tobytes()] = 0.9

    found = injection_audit(
        PICTURES,
        Y,
        lambda a, _: np.asarray([known.get(x.tobytes(), 0.2) for x in a]),
        ("pneumonia", "normal"),
        keys=KEYS,
    )
    raised = [f for f in found if ":raise:" in f.name]
    assert [f.measure.n for f in raised] == [30, 30]
    assert all(f.measure.value == pytest.approx(0.7) for f in raised)
    assert all(f.details == {"written": 1.0, "shuffled": 0.0} for f in raised)
    assert all(abs(f.measure.value) < 1e-9 and f.p > 0.49 for f in found if ":lower:" in f.name)


def test_what_any_ink_does_is_taken_off():
    """A classifier that goes by how much white there is moves a lot, but as much for its letters shuffled."""
    found = injection_audit(
        PICTURES,
        Y,
        lambda a, _: np.asarray([min(1.0, 0.2 + 5 * ink(x)) for x in a]),
        ("pneumonia", "normal"),
        keys=KEYS,
    )
    for f in found:
        assert abs(f.measure.value) < 0.02
        assert f.p > 0.01
        assert f.details["written"] == pytest.approx(f.details["shuffled"], abs=0.05)


def test_corners_do_not_depend_on_the_order():
    seen = []

    def predict(arrays, where):
        seen.append({int(i): a.tobytes() for a, i in zip(arrays, where, strict=True)})
        return np.full(len(arrays), 0.3)

    injection_audit(PICTURES, Y, predict, ("mass", "clear"), keys=KEYS, sizes=(0.1,))
    forward = list(seen)
    seen.clear()
    back = injection_audit(PICTURES[::-1], Y[::-1], predict, ("mass", "clear"), keys=KEYS[::-1], sizes=(0.1,))
    assert len(back) == 2
    for a, b in zip(forward, seen, strict=True):
        assert {59 - i: v for i, v in b.items()} == a


def test_too_few_of_a_class_say_nothing():
    assert not injection_audit(PICTURES[:12], Y[:12], lambda a, _: np.zeros(len(a)), ("a", "b"), keys=KEYS)
