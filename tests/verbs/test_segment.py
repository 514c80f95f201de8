"""`vesalius segment` with a segmenter that needs no network: prompts, slices, files, cache, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import pytest
from PIL import Image as Pillow

from tests.models.fakes import FakeSegmenter
from vesalius.cases import Affine
from vesalius.cases.geometry import geometry_from_dict
from vesalius.errors import MissingError
from vesalius.io import read, write
from vesalius.io.dicom.seg_read import read_seg
from vesalius.job import Job


@pytest.fixture
def model(monkeypatch):
    """Loaded by whatever name, when it is asked to segment."""
    fake = FakeSegmenter()

    def load(name, *, can, **_):
        assert can == "segment"
        return fake

    monkeypatch.setattr("vesalius.models.load", load)
    return fake


def scene() -> np.ndarray:
    """Two bright squares in a picture that is wider than high."""
    out = np.full((60, 90), 20, np.uint8)
    out[10:30, 15:40] = 200
    out[35:55, 60:80] = 200
    return out


@pytest.fixture
def picture(tmp_path) -> Path:
    (tmp_path / "in").mkdir()
    return write.write_png(tmp_path / "in" / "p.png", scene())


def stack() -> np.ndarray:
    out = np.zeros((7, 60, 90), np.int16)
    out[1:5] = scene()
    out[1:5, 35:55, 60:80] = 20
    return out


AFFINE = Affine(np.array([[0, 0.1, 0.8, -30], [0.2, -0.9, 0, 40], [3, 0, 0, 7], [0, 0, 0, 1.0]]))
#: The same with rows and columns at right angles, as DICOM needs it.
SQUARE = Affine(np.array([[0, 0, 0.8, -30], [0, 0.9, 0, 40], [3, 0, 0, 7], [0, 0, 0, 1.0]]))


def test_a_click_gives_a_mask_picture_and_json(model, picture, run, tmp_path):
    code, out, _ = run("segment", picture, "--point", "20,15", "--point", "70,40,0", "--out", tmp_path / "o")
    assert code == 0
    assert "500 pixels" in out
    mask = np.asarray(Pillow.open(tmp_path / "o" / "mask-1.png"))
    expected = np.zeros((60, 90), np.uint8)
    expected[10:30, 15:40] = 255
    np.testing.assert_array_equal(mask, expected)
    said = json.loads((tmp_path / "o" / "segmentation.json").read_text())
    assert said["masks"][0]["prompt"] == {"points": [[20.0, 15.0, 1], [70.0, 40.0, 0]]}
    np.testing.assert_array_equal(geometry_from_dict(said["masks"][0]["mask"]).to_array(), expected > 0)
    (case,) = read(picture, Job(workers=1))
    assert said["image"]["content_sha256"] == case.images[0].content_hash()
    assert said["model"] == {"name": "fake", "fingerprint": "f" * 64}
    overlay = np.asarray(Pillow.open(tmp_path / "o" / "overlay.png"))
    assert overlay.shape == (300, 450, 3)  # enlarged five times
    assert (overlay[100, 150] != 200).any()
    assert (overlay[225, 350] == 200).all()  # the other square is not part of it
    manifest = json.loads((tmp_path / "o" / "run.json").read_text())
    assert "mask" not in manifest["result"]["masks"][0]
    assert {"mask-1.png", "overlay.png", "segmentation.json"} == set(manifest["result"]["files"])


def test_each_name_is_a_target_and_names_no_file(model, picture, run, tmp_path):
    code, _, _ = run("segment", picture, "--text", "left lung", "--text", "../../x", "--out", tmp_path / "o")
    assert code == 0
    assert {p.name for p in (tmp_path / "o").iterdir()} == {
        "mask-1.png", "mask-2.png", "overlay.png", "segmentation.json", "run.json",
    }  # fmt: skip
    assert [p.text for p in model.prompts] == ["left lung", "../../x"]
    assert model.encoded == [0]


def test_json_on_stdout_needs_no_folder(model, picture, run_json):
    code, said = run_json("segment", picture, "--box", "10,5,50,35")
    assert code == 0
    (mask,) = said["result"]["masks"]
    assert geometry_from_dict(mask["mask"]).area == 500 == mask["pixels"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--point", "90,10"], "click is outside the image [--point 90,10]: it is 90 x 60"),
        (["--point=-1,10"], "click is outside the image [--point -1,10]"),
        (["--point", "nan,10"], "a coordinate is not finite [--point nan,10]"),
        (["--point", "1,inf"], "a coordinate is not finite [--point 1,inf]"),
        (["--point", "1"], "cannot read the numbers [--point 1]"),
        (["--point", "1,2,3"], "a click's label is 1 or 0 [--point 1,2,3]"),
        (["--point", "a,b"], "cannot read the numbers [--point a,b]"),
        (["--box", "50,5,10,35"], "box is inside out or empty [--box 50,5,10,35]"),
        (["--box", "5,5,5,35"], "box is inside out or empty [--box 5,5,5,35]"),
        (["--box", "5,5,91,35"], "box leaves the image [--box 5,5,91,35]: it is 90 x 60"),
        (["--box", "1,1,2,2", "--box", "3,3,4,4"], "more than one box [3,3,4,4]"),
        (["--box", "nan,1,2,2"], "a coordinate is not finite [--box nan,1,2,2]"),
        (["--text", "a", "--text", "b", "--point", "1,1"], "clicks and box belong to one target [a, b]"),
        (["--text", " "], "a name is empty"),
        ([], "segment what?"),
        (["--text", "a", "--format", "png,gif"], "no such choice [--format gif]"),
        (["--text", "a", "--slice", "0"], "the image has no slices [--slice]"),
        (["--text", "a", "--volume"], "the image has no slices [--volume]"),
        (["--text", "a", "--lost", "2"], "a score is between 0 and 1"),
        (["--text", "a", "--format", "seg"], "a DICOM SEG needs a DICOM image or a place in the patient [p.png]"),
    ],
)
def test_bad_prompts_are_named_before_a_model_is_loaded(arguments, says, picture, run, tmp_path, monkeypatch):
    def load(*_, **__):
        raise AssertionError("the model was loaded")

    monkeypatch.setattr("vesalius.models.load", load)
    code, _, err = run("segment", picture, *arguments, "--out", tmp_path / "o")
    assert says in err
    assert code == 2


def test_a_score_that_nobody_calibrated_is_not_shown_as_one(model, picture, run, run_json):
    code, out, _ = run("segment", picture, "--text", "a", "--text", "b")
    assert code == 0
    assert ", score" not in out
    assert str(picture) in out
    _, done = run_json("segment", picture, "--text", "a")
    (mask,) = done["result"]["masks"]
    assert "score" not in mask
    assert mask["uncalibrated_score"] == 0.9
    assert "not calibrated" in mask["score_note"]
    model.calibrated_scores = True
    assert "score 0.900" in run("segment", picture, "--text", "a")[1]
    assert run_json("segment", picture, "--text", "a")[1]["result"]["masks"][0]["score"] == 0.9


def test_python_takes_numbers_and_pictures_at_hand(model):
    import vesalius as vs
    from vesalius.cases import Image

    done = vs.segment(Image(array=scene()), point=[(20, 15)], model=model)
    assert done.masks[0].pixels == 500
    assert done.arrays[0].sum() == 500


def test_without_a_folder_it_says_so(model, picture, run):
    code, out, _ = run("segment", picture, "--text", "a")
    assert (code, "no mask was written: give --out DIR" in out) == (0, True)


def test_a_model_that_cannot_segment_is_missing(picture, run, tmp_path, monkeypatch):
    def load(name, *, can, **_):
        raise MissingError("the model cannot segment", item=name)

    monkeypatch.setattr("vesalius.models.load", load)
    code, _, err = run("segment", picture, "--text", "a", "--out", tmp_path / "o")
    assert (code, "cannot segment [nano]" in err) == (4, True)


def test_many_images_or_none_are_refused(model, picture, run, tmp_path):
    write.write_png(picture.parent / "q.png", scene()[::-1].copy())
    code, _, err = run("segment", picture.parent, "--text", "a", "--out", tmp_path / "o")
    assert code == 2
    assert "more than one image" in err
    assert "p.png" in err
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk" / "x.dcm").write_bytes(b"junk")
    code, _, err = run("segment", tmp_path / "junk", "--text", "a", "--out", tmp_path / "o")
    assert (code, "no image to segment" in err) == (3, True)
    code, _, _ = run("segment", tmp_path / "gone.png", "--text", "a", "--out", tmp_path / "o")
    assert code == 4


def test_a_second_call_does_not_encode(model, picture, run, tmp_path):
    for _ in range(2):
        assert run("segment", picture, "--point", "20,15", "--out", tmp_path / "o", "--cache", tmp_path / "c")[0] == 0
    assert model.encoded == [0]
    assert len(model.prompts) == 2
    (kept,) = (tmp_path / "c").iterdir()
    assert kept.suffix == ".safetensors"


@pytest.fixture
def nifti(tmp_path) -> Path:
    (tmp_path / "n").mkdir()
    return write.write_nifti(tmp_path / "n" / "v.nii.gz", stack(), AFFINE)


def test_one_slice_of_a_volume(model, nifti, run, tmp_path):
    (case,) = read(nifti, Job(workers=1))
    image = case.images[0]
    plane = image.pixels()[3] > 100
    y, x = np.argwhere(plane)[0]
    code, out, _ = run(
        "segment", nifti, "--slice", 3, "--point", f"{x + 0.5},{y + 0.5}", "--out", tmp_path / "o", "--format",
        "png,nifti,json",
    )  # fmt: skip
    assert code == 0
    assert "500 voxels" in out
    assert model.encoded == [3]
    (again,) = read(tmp_path / "o" / "mask-1.nii.gz", Job(workers=1))
    mask = again.images[0].pixels()
    assert mask[3].sum() == mask.sum() == 500
    np.testing.assert_array_equal(mask[3] > 0, plane)
    np.testing.assert_allclose(again.images[0].affine.matrix, image.affine.matrix, atol=1e-4)
    code, _, err = run("segment", nifti, "--slice", 9, "--text", "a", "--out", tmp_path / "o")
    assert (code, "no such slice [--slice 9]: there are 7" in err) == (2, True)


def test_a_volume_is_followed_and_lies_where_the_image_lies(model, nifti, run, tmp_path):
    code, out, _ = run(
        "segment", nifti, "--volume", "--text", "square", "--out", tmp_path / "o", "--format", "nifti,json"
    )
    assert code == 0
    assert "2000 voxels (4." in out
    # By nibabel alone: the same places in the patient as the bright voxels of the image.
    image, mask = nib.load(nifti), nib.load(tmp_path / "o" / "mask-1.nii.gz")
    places = [
        np.round(nib.affines.apply_affine(volume.affine, np.argwhere(inside)), 2) + 0.0
        for volume, inside in ((image, image.get_fdata() > 100), (mask, mask.get_fdata() > 0))
    ]
    first, second = (p[np.lexsort(p.T)] for p in places)
    np.testing.assert_allclose(first, second, atol=0.011)
    said = json.loads((tmp_path / "o" / "segmentation.json").read_text())["masks"][0]
    assert set(said["slice_scores"]) == {"0", "1", "2", "3", "4", "5"}
    assert said["mm3"] == pytest.approx(2000 * np.prod(AFFINE.spacing), rel=1e-3)


def test_a_series_gives_a_seg_that_refers_to_it(model, run, tmp_path):
    folder = tmp_path / "series"
    folder.mkdir()
    for n, ds in enumerate(write.series(stack(), SQUARE)):
        ds.PatientID = "P1"
        ds.save_as(folder / f"{n}.dcm", enforce_file_format=True)
    code, _, _ = run(
        "segment", folder, "--slice", 2, "--volume", "--box", "10,5,50,35", "--out", tmp_path / "o", "--format", "seg"
    )
    assert code == 0
    path = tmp_path / "o" / "segmentation.dcm"
    seg = hd.seg.segread(path)
    assert seg.PatientID == "P1"
    assert seg.NumberOfFrames == 4
    (case,) = read(folder, Job(workers=1))
    (region,) = read_seg(path, case.images[0])
    np.testing.assert_array_equal(region.geometry.to_array(), stack() > 100)
    assert seg.SegmentSequence[0].SegmentAlgorithmType == "SEMIAUTOMATIC"


def test_a_chest_film(model, run, tmp_path):
    """A real film if pydicom-data is there: 2-d, no place in the patient."""
    import importlib.util

    spec = importlib.util.find_spec("data_store")
    film = Path(spec.origin).parent / "data" / "RG1_UNCR.dcm" if spec and spec.origin else Path("gone")
    if not film.is_file():
        pytest.skip("needs pydicom-data")
    code, _, _ = run(
        "segment", film, "--text", "lungs", "--out", tmp_path / "o", "--format", "png,json,seg,nifti", "--model", "x"
    )
    assert code == 0
    seg = hd.seg.segread(tmp_path / "o" / "segmentation.dcm")
    source = pydicom.dcmread(film, stop_before_pixels=True)
    assert seg.StudyInstanceUID == source.StudyInstanceUID
    mask = np.asarray(Pillow.open(tmp_path / "o" / "mask-1.png")) > 0
    np.testing.assert_array_equal(np.squeeze(seg.pixel_array) > 0, mask)
    assert mask.shape == (source.Rows, source.Columns)


def test_a_measured_mask_has_its_sizes_and_says_their_unit(model, picture, run, run_json):
    code, said = run_json("segment", picture, "--box", "10,5,50,35", "--measure")
    assert code == 0
    sizes = said["result"]["masks"][0]["measures"]
    assert sizes["unit"] == "px"
    assert sizes["area"] == 500
    assert sizes["shortest"] == pytest.approx(20)
    assert sizes["longest"] == pytest.approx(np.hypot(20, 25), abs=1e-3)
    code, out, _ = run("segment", picture, "--box", "10,5,50,35", "--measure")
    assert code == 0
    assert "longest 32.0 px" in out
    assert "the spacing is not known" in out
