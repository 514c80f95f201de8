"""Records against their published JSON schema, and case sets against what a stranger's file may hold."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vesalius.cases import (
    Affine,
    Box,
    Case,
    CaseSet,
    Image,
    Label,
    Mask,
    Point,
    Polygon,
    Question,
    Region,
    Report,
    Source,
    Status,
)
from vesalius.cases import caseset as caseset_module
from vesalius.cases.validate import schema, validate
from vesalius.errors import BadInputError, MissingError, UsageError

VALIDATOR = jsonschema.Draft202012Validator(schema())

text = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
word = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12)
number = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53)
scalar = text | number | st.booleans() | st.none()
geometry = st.one_of(
    st.builds(Point, st.floats(0, 99), st.floats(0, 99), st.none() | st.floats(0, 9)),
    st.tuples(*(st.floats(0, 50),) * 4).map(lambda v: Box.from_xywh(*v)),
    st.lists(st.tuples(st.floats(0, 9), st.floats(0, 9)), min_size=3, max_size=5).map(lambda p: Polygon(tuple(p))),
    st.lists(st.booleans(), min_size=6, max_size=6).map(lambda b: Mask.from_array(np.reshape(b, (2, 3)))),
)
image = st.builds(
    Image,
    uri=word,
    modality=st.sampled_from(["", "DX", "CT"]),
    view=text,
    kind=st.just("3d"),
    spacing=st.none() | st.tuples(*(st.floats(0.1, 9),) * 3),
    affine=st.none() | st.just(Affine.from_spacing((3, 2, 1), (4, 5, 6))),
    body_part=text,
    shape=st.none() | st.tuples(*(st.integers(1, 512),) * 3),
    frame=st.none() | st.integers(0, 9),
    sha256=text,
    meta=st.dictionaries(word, scalar, max_size=2),
)
label = st.builds(Label, text | number | st.none() | st.sampled_from(Status) | st.booleans(), text, text)
question = st.builds(
    Question, text=text, answer=text, rationale=text, tags=st.lists(text, max_size=2).map(tuple), language=text
)


@st.composite
def cases(draw):
    images = tuple(draw(st.lists(image, max_size=2)))
    n = st.integers(0, max(len(images) - 1, 0))
    region = st.builds(Region, geometry, text, text, n, text, text, st.dictionaries(word, scalar, max_size=2))
    return Case(
        draw(word),
        patient=draw(text),
        time=draw(st.none() | word | number),
        images=images,
        regions=tuple(draw(st.lists(region, max_size=2))),
        report=draw(st.none() | st.builds(Report, text, text, text, text, text, text)),
        labels=draw(st.dictionaries(word, label, max_size=3)),
        questions=tuple(draw(st.lists(question, max_size=2))),
        attributes=draw(st.dictionaries(word, scalar, max_size=3)),
        prior=draw(text),
        source=draw(st.builds(Source, text, text, text, text, text)),
    )


@settings(max_examples=60, deadline=None)
@given(cases())
def test_every_record_validates_and_comes_back(case):
    line = json.dumps(case.to_dict(), allow_nan=False)
    VALIDATOR.validate(json.loads(line))
    back = Case.from_dict(json.loads(line))
    assert back == case
    assert back.content_hash() == case.content_hash()


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"id": ""},
        {"id": 5},
        {"id": "a", "colour": 1},
        {"id": "a", "patient": 5},
        {"id": "a", "time": ["2020"]},
        {"id": "a", "images": [{}]},
        {"id": "a", "images": [{"kind": "4d", "uri": "x"}]},
        {"id": "a", "images": [{"kind": "2d", "uri": "x", "modality": 5}]},
        {"id": "a", "images": [{"kind": "2d", "uri": "x", "shape": [0, 5]}]},
        {"id": "a", "images": [{"kind": "2d", "uri": "x", "affine": [[1, 0], [0, 1]]}]},
        {"id": "a", "images": "x.png"},
        {"id": "a", "regions": [{"label": "x"}]},
        {"id": "a", "regions": [{"geometry": {"type": "box", "x0": 1}}]},
        {"id": "a", "regions": [{"geometry": {"type": "point", "x": 1, "y": 1}, "image": 0.5}]},
        {"id": "a", "regions": [{"geometry": {"type": "point", "x": 1, "y": 1}, "image": -1}]},
        {"id": "a", "regions": [{"geometry": {"type": "point", "x": 1, "y": 1}, "label": ["x"]}]},
        {"id": "a", "labels": ["x"]},
        {"id": "a", "labels": {"x": [1]}},
        {"id": "a", "labels": {"x": {"unit": "mm"}}},
        {"id": "a", "labels": {"x": {"value": 1, "colour": "red"}}},
        {"id": "a", "labels": {"x": {"value": 1, "unit": 5}}},
        {"id": "a", "attributes": {"age": [50]}},
        {"id": "a", "attributes": {"age": {"years": 50}}},
        {"id": "a", "questions": [{"answer": "yes"}]},
        {"id": "a", "questions": [{"text": 5}]},
        {"id": "a", "questions": [{"text": "?", "options": [1, 2]}]},
        {"id": "a", "report": "no finding"},
        {"id": "a", "report": {"findings": ["none"]}},
        {"id": "a", "source": {"dataset": 5}},
        {"id": "a", "source": {"path": "x"}},
    ],
)
def test_what_the_schema_rejects_the_reader_refuses(wrong):
    assert not VALIDATOR.is_valid(wrong)
    with pytest.raises(BadInputError):
        Case.from_dict(wrong)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32("nan")])
def test_values_that_json_cannot_say_are_refused(value):
    with pytest.raises(BadInputError, match="finite"):
        Label(value)
    with pytest.raises(BadInputError, match="finite"):
        Case("a", attributes={"age": value})


def test_numpy_scalars_and_truth_values_become_plain():
    case = Case("a", labels={"x": np.int64(1), "y": True, "z": np.float32(0.5)}, attributes={"age": np.int16(40)})
    data = json.loads(json.dumps(case.to_dict()))
    VALIDATOR.validate(data)
    assert data["labels"] == {"x": 1, "y": 1, "z": 0.5}
    assert data["attributes"] == {"age": 40}


def test_a_question_must_offer_its_answer():
    with pytest.raises(BadInputError, match="options"):
        Question("which side?", "left", ("right", "both"))


def test_a_region_must_point_at_an_image_that_is_there():
    with pytest.raises(BadInputError, match="image 1 of 1"):
        Case("a", images=(Image("x"),), regions=(Region(Point(1, 1), image=1),))


# --- case sets ---


def _sample(n: int = 4, seed: int = 0) -> list[Case]:
    rng = np.random.default_rng(seed)
    return [
        Case(
            f"c{i}",
            patient=f"p{i // 2}",
            images=(Image(array=rng.integers(0, 4096, (5 + i, 7), dtype=np.uint16), modality="CT"),),
            regions=(Region(Box(0, 0, 2, 3), "lesion"),) * (i % 2),
            labels={"effusion": i % 2, "grade": "AB"[i % 2]},
            report=Report(findings="é ☃ \u2028 x") if i == 0 else None,
            questions=(Question("?", "yes"),) if i == 1 else (),
            prior=f"c{i - 1}" if i % 2 else "",
        )
        for i in range(n)
    ]


def test_a_written_set_reads_back_pixels_and_all(tmp_path):
    made = _sample()
    written = CaseSet(made).write(tmp_path / "set")
    for line in (tmp_path / "set/cases.jsonl").read_text("utf-8").split("\n")[:-1]:
        VALIDATOR.validate(json.loads(line))
    for case, want in zip(CaseSet.read(tmp_path / "set"), made, strict=True):
        got = case.images[0].pixels()
        assert got.dtype == np.uint16
        assert np.array_equal(got, want.images[0].array)
        assert case.images[0].content_hash() == want.images[0].content_hash()
        assert case.replace(images=()) == want.replace(images=())
    assert written.ids() == CaseSet.read(tmp_path / "set/cases.jsonl").ids() == ["c0", "c1", "c2", "c3"]
    assert list(validate(written, pixels=True)) == []
    assert not list(tmp_path.rglob("*.part"))


def test_ids_never_become_paths(tmp_path):
    ids = ["../../escape", "/etc/passwd", "a\0b", "..", "C:\\x", "a/b", "." * 300]
    cases = [Case(i, images=(Image(array=np.full((2, 2), n)),)) for n, i in enumerate(ids)]
    written = CaseSet(cases).write(tmp_path / "in" / "set")
    assert [int(c.images[0].pixels()[0, 0]) for c in written] == list(range(len(ids)))
    files = {p.relative_to(tmp_path).parts[:3] for p in tmp_path.rglob("*") if p.is_file()}
    assert files == {("in", "set", "cases.jsonl"), ("in", "set", "images")}


def test_a_set_is_not_overwritten(tmp_path):
    CaseSet(_sample(1)).write(tmp_path)
    with pytest.raises(UsageError, match="overwrite"):
        CaseSet(_sample(2)).write(tmp_path)
    assert len(CaseSet.read(tmp_path)) == 1


def test_a_write_that_fails_leaves_no_set(tmp_path):
    def broken():
        yield from _sample(2)
        raise RuntimeError("the disk is gone")

    with pytest.raises(RuntimeError):
        CaseSet(broken).write(tmp_path)
    with pytest.raises(MissingError):
        CaseSet.read(tmp_path)
    assert len(CaseSet(_sample(2)).write(tmp_path)) == 2


@pytest.mark.parametrize(
    "case",
    [
        Case("a", images=(Image("x.png", meta={"window": float("nan")}),)),
        Case("a", images=(Image("x.png", meta={"raw": b"bytes"}),)),
        Case("bad \ud800 id"),
    ],
)
def test_a_case_without_a_json_form_is_named(tmp_path, case):
    with pytest.raises(BadInputError, match="cannot write case"):
        CaseSet([case]).write(tmp_path, copy_images=False)


def test_linking_keeps_files_and_refuses_what_would_be_lost(tmp_path):
    source = CaseSet(_sample(1)).write(tmp_path / "a")
    linked = source.write(tmp_path / "b", copy_images=False)
    assert Path(str(linked[0].images[0].uri)).is_absolute()
    assert np.array_equal(linked[0].images[0].pixels(), source[0].images[0].pixels())
    with pytest.raises(UsageError, match="only in memory"):
        CaseSet(_sample(1)).write(tmp_path / "c", copy_images=False)
    picture = source[0].images[0]
    held = Case("h", images=(picture.with_array(picture.pixels()),))
    assert len(CaseSet([held]).write(tmp_path / "d", copy_images=False)) == 1
    blackened = Case("h", images=(picture.with_array(picture.pixels() * 0),))
    with pytest.raises(UsageError, match="changed in memory"):
        CaseSet([blackened]).write(tmp_path / "e", copy_images=False)


def test_sets_stream(tmp_path):
    CaseSet(_sample(3)).write(tmp_path)
    with (tmp_path / "cases.jsonl").open("a") as file:
        file.write('{"id": "half')
    read = CaseSet.read(tmp_path)
    assert read.limit(3).ids() == ["c0", "c1", "c2"]  # the broken line is never reached
    assert "streamed" in repr(read)
    with pytest.raises(BadInputError, match=r"cases\.jsonl:4.*not JSON"):
        len(read)


def test_filter_map_limit_stats(tmp_path):
    made = CaseSet(_sample(4), name="one")
    assert made.filter(lambda c: c.label("effusion") == 1).ids() == ["c1", "c3"]
    assert made.limit(None).ids() == made.ids()
    assert made.limit(0).ids() == []
    renamed = made.map(lambda c: c.replace(id="x" + c.id, prior=""))
    both = CaseSet([*made, *renamed]).write(tmp_path / "both")
    assert both.ids() == [*made.ids(), *renamed.ids()]
    assert both["xc3"].images[0].pixels().shape == (8, 7)
    stats = both.stats()
    truth = [*made, *renamed]
    assert stats["cases"] == 8
    assert stats["patients"] == len({c.group for c in truth}) == 2
    assert stats["images"] == stats["modality"]["CT"] == stats["kind"]["2d"] == 8
    assert (stats["regions"], stats["questions"], stats["reports"], stats["with_prior"]) == (4, 2, 2, 2)
    assert stats["labels"]["grade"] == dict(Counter(str(c.label("grade")) for c in truth))
    with pytest.raises(KeyError):
        both["nowhere"]


def test_content_hash_follows_the_record_and_on_demand_the_pixels():
    one = Case("a", images=(Image(array=np.zeros((2, 2), np.uint8)),))
    other = Case("a", images=(Image(array=np.ones((2, 2), np.uint8)),))
    assert one.content_hash() == other.content_hash()
    assert one.content_hash(pixels=True) != other.content_hash(pixels=True)
    assert one.content_hash() != one.replace(labels={"x": 1}).content_hash()
    assert CaseSet([one, other.replace(id="b")]).content_hash() != CaseSet([one]).content_hash()
    wide, tall = (Image(array=np.zeros(s, np.uint8)) for s in ((2, 3), (3, 2)))
    assert wide.content_hash() != tall.content_hash()
    assert wide.content_hash() != Image(array=np.zeros((2, 3), np.int8)).content_hash()


def test_two_cases_with_one_id_are_refused(tmp_path):
    with pytest.raises(BadInputError, match="one id"):
        CaseSet([Case("a"), Case("a")]).write(tmp_path)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b'{"id": "a", "labels": {"x"', "not JSON"),
        (b"[" * 200_000, "not JSON"),
        (b'{"a":' * 200_000, "not JSON"),
        (b'{"id": "a", "labels": {"x": NaN}}', "NaN"),
        (b'{"id": "a", "labels": {"x": -Infinity}}', "Infinity"),
        (b'{"id": "a", "labels": {"x": 1e999}}', "finite"),
        (b'{"id": "a", "attributes": {"age": 1e999}}', "finite"),
        (b'{"id": "a", "schema": 2}', "schema 2"),
        (b'["id", "a"]', "not an object"),
        (b'"a"', "not an object"),
        (b"\xff\xfe{}", "not JSON"),
        (b'{"id": "a", "labels": {"x": 1' + b"0" * 5000 + b"}}", "digits"),
        (b'{"name": "a"}', "name"),
    ],
)
def test_a_line_that_is_no_case_is_named(tmp_path, line, why):
    (tmp_path / "cases.jsonl").write_bytes(b'{"id": "fine"}\n\n' + line + b"\n")
    stream = iter(CaseSet.read(tmp_path))
    assert next(stream).id == "fine"
    with pytest.raises(BadInputError, match=why):
        next(stream)


def test_a_huge_line_is_refused_before_it_is_parsed(tmp_path, monkeypatch):
    monkeypatch.setattr(caseset_module, "MAX_LINE", 1000)
    (tmp_path / "cases.jsonl").write_text('{"id": "a"}\n{"id": "' + "b" * 2000 + '"}\n')
    with pytest.raises(BadInputError, match=r"cases.jsonl:2.*over 1000 bytes"):
        CaseSet.read(tmp_path).ids()


def test_a_byte_order_mark_and_windows_lines_are_read(tmp_path):
    (tmp_path / "cases.jsonl").write_bytes(b'\xef\xbb\xbf{"id": "a"}\r\n{"id": "b"}')
    assert CaseSet.read(tmp_path).ids() == ["a", "b"]


# --- images ---


def test_image_shapes_follow_their_kind():
    with pytest.raises(BadInputError, match="axes"):
        Image(array=np.zeros(5))
    with pytest.raises(BadInputError, match="axes"):
        Image(array=np.zeros((2, 2)), kind="3d")
    with pytest.raises(BadInputError, match="axes"):
        Image("x", kind="video", shape=(5,))
    with pytest.raises(BadInputError, match="empty"):
        Image(array=np.zeros((0, 2)))
    with pytest.raises(BadInputError, match="empty"):
        Image("x", shape=(-1, 2))
    with pytest.raises(BadInputError, match="neither"):
        Image()
    with pytest.raises(BadInputError, match="neither"):
        Image("")
    with pytest.raises(BadInputError, match="kind"):
        Image("x", kind="4d")


def test_a_missing_file_is_missing(tmp_path):
    with pytest.raises(MissingError, match="gone"):
        Image(str(tmp_path / "a.npy")).pixels()


def _npy(header: bytes, body: bytes = b"") -> bytes:
    header = header.ljust(118 - 10) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + body


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not an array",
        b"PK\x03\x04zip",
        _npy(b"{'descr': '<u2', 'fortran_order': False, 'shape': (4, 4)}", b"short"),
        _npy(b"{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776, 1048576)}"),
        _npy(b"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", b"\x80\x04N."),
        _npy(b"{'descr': '<u2', 'fortran_order': False, 'shape': (4, 4)"),
        _npy(b"{'descr': '<u2', ''' 'shape': (("),
        _npy(b"__import__('os').system('true')"),
        _npy(b"{'descr': 'nonsense', 'fortran_order': False, 'shape': (2,)}"),
    ],
)
def test_an_array_file_that_is_none_is_refused(tmp_path, data):
    (tmp_path / "a.npy").write_bytes(data)
    with pytest.raises(BadInputError):
        Image(str(tmp_path / "a.npy")).pixels()


def test_a_zip_of_arrays_is_no_image(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 2)))
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    with pytest.raises(BadInputError):
        Image(str(tmp_path / "a.npy")).pixels()


def test_images_are_equal_when_their_values_are():
    a, b = (Image(array=np.zeros((2, 2), np.uint8), modality="CT") for _ in range(2))
    assert a == b
    assert hash(a) == hash(b)
    assert a != b.with_array(np.ones((2, 2), np.uint8))
    assert a != Image(array=np.zeros((2, 2), np.uint8), modality="MR")


# --- validate ---


def _faults(cases, **options):
    return [(f.case, f.severity, f.what) for f in validate(CaseSet(cases), **options)]


def test_validate_finds_each_fault(tmp_path):
    good = CaseSet(_sample(1)).write(tmp_path / "set")[0]
    assert _faults([good], pixels=True) == []
    picture = good.images[0]

    def one(case, *, what, severity="error", item=None, **options):
        found = _faults([case] if isinstance(case, Case) else case, **options)
        assert len(found) == 1, found
        assert found[0][:2] == (item or "x", severity)
        assert what in found[0][2]

    base = good.replace(id="x")
    one([base, base.replace(labels={})], what="two cases have this id")
    one(base.replace(images=(Image(str(tmp_path / "no.npy"), modality="CT"),)), what="there is no file")
    one(base.replace(images=(), report=None), what="no image, report or question", severity="warning")
    one(base.replace(images=(Image(array=np.zeros((4, 4))),)), what="modality is not known", severity="warning")
    one(base.replace(prior="nobody"), what="prior nobody is not in the set", severity="warning")
    split = [base.replace(id=i, source=Source(split=i)) for i in ("train", "test")]
    one(split, what="2 splits (test, train)", severity="warning", item="p0")

    lies = Image.from_dict({**picture.to_dict(), "shape": [5, 8]}, root=picture.root)
    one(base.replace(images=(lies,)), what="the record says (5, 8)", pixels=True)
    changed = Image.from_dict({**picture.to_dict(), "sha256": "0" * 64}, root=picture.root)
    one(base.replace(images=(changed,)), what="SHA-256 differs", pixels=True)
    (tmp_path / "cut.npy").write_bytes(picture.path.read_bytes()[:-3])
    one(base.replace(images=(Image(str(tmp_path / "cut.npy"), modality="CT"),)), what="cannot read", pixels=True)

    def region(geometry, kind="2d", shape=(5, 7)):
        return base.replace(
            images=(Image(array=np.zeros(shape), modality="CT", kind=kind),), regions=(Region(geometry),)
        )

    for geometry in (Box(0, 0, 8, 5), Box(-1, 0, 2, 2), Point(2, 5.5), Polygon(((0, 0), (3, 0), (3, 6)))):
        one(region(geometry), what="outside its 7 x 5 image", severity="warning")
    one(region(Mask.from_array(np.ones((5, 8)))), what="mask of shape (5, 8)")
    deep = {"kind": "3d", "shape": (3, 5, 7)}
    for geometry in (Box(0, 0, 7, 5, 1, 4), Point(2, 2, 3.5), Polygon(((0, 0), (3, 0), (3, 3)), z=-1)):
        one(region(geometry, **deep), what="outside the 3 slices", severity="warning")
    for geometry in (Box(0, 0, 7, 5, 0, 3), Point(7, 5, 2), Mask.from_array(np.ones((3, 5, 7))), Box(0, 0, 7, 5)):
        assert _faults([region(geometry, **deep)]) == []
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/cases.jsonl").write_text('{"id": "a", "report": {}}\n{"id": \n')
    found = list(validate(CaseSet.read(tmp_path / "bad")))
    assert len(found) == 1
    assert found[0].case.endswith("cases.jsonl:2")
