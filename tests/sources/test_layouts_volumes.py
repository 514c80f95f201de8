"""Medical Segmentation Decathlon, nnU-Net raw data and MedMNIST archives, each on files written in that layout."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.sources.sources_files import array_picture, as_shown, dump, picture, text, volume
from vesalius.errors import BadInputError
from vesalius.sources.layouts.detect import detect
from vesalius.sources.layouts.medmnist_sets import SETS, set_of
from vesalius.sources.layouts.registry import import_folder


def label_volume() -> np.ndarray:
    """Columns, rows, slices: 5 x 4 x 3."""
    array = np.zeros((5, 4, 3), np.uint8)
    array[1:3, 1, 2] = 1
    array[4, 3, 0] = 2
    return array


def test_msd(tmp_path: Path) -> None:
    array = label_volume()
    volume(tmp_path / "imagesTr" / "hippocampus_001.nii.gz", array.astype(np.float32))
    volume(tmp_path / "labelsTr" / "hippocampus_001.nii.gz", array)
    volume(tmp_path / "imagesTs" / "hippocampus_002.nii.gz", array.astype(np.float32))
    dump(
        tmp_path / "dataset.json",
        {
            "name": "Hippocampus", "licence": "CC-BY-SA 4.0", "tensorImageSize": "3D", "modality": {"0": "MRI"},
            "labels": {"0": "background", "1": "Anterior", "2": "Posterior"}, "numTraining": 2, "numTest": 1,
            "training": [
                {"image": "./imagesTr/hippocampus_001.nii.gz", "label": "./labelsTr/hippocampus_001.nii.gz"},
                {"image": "./imagesTr/gone.nii.gz", "label": "./labelsTr/gone.nii.gz"},
                {"image": "/etc/passwd", "label": "/etc/passwd"},
            ],
            "test": ["./imagesTs/hippocampus_002.nii.gz"],
        },
    )  # fmt: skip
    assert detect(tmp_path)[0].name == "msd"
    cases = import_folder(tmp_path)
    first, second = cases
    assert (first.images[0].modality, first.images[0].kind, first.source.licence) == ("MR", "3d", "CC-BY-SA 4.0")
    assert (first.source.split, second.source.split, second.regions) == ("train", "test", ())
    assert [r.label for r in first.regions] == ["Anterior", "Posterior"]
    for value, region in enumerate(first.regions, 1):
        assert region.geometry.shape == (3, 4, 5)
        assert np.array_equal(region.geometry.to_array(), as_shown((array == value).astype(np.uint8), np.eye(4)))
    assert first.images[0].shape == (3, 4, 5)
    assert first.images[0].affine is not None
    assert first.images[0].affine.axis_codes() == "HPL"
    assert [i for i, _ in cases.refused] == ["dataset.json training[1]", "dataset.json training[2]"]


def test_channels_in_one_file_become_images(tmp_path: Path) -> None:
    four = np.stack([label_volume().astype(np.float32) + c for c in range(2)], axis=-1)
    volume(tmp_path / "imagesTr" / "BRATS_001.nii.gz", four)
    volume(tmp_path / "labelsTr" / "BRATS_001.nii.gz", label_volume())
    dump(
        tmp_path / "dataset.json",
        {
            "modality": {"0": "FLAIR", "1": "T1w"}, "labels": {"0": "background", "1": "edema", "2": "core"},
            "training": [{"image": "./imagesTr/BRATS_001.nii.gz", "label": "./labelsTr/BRATS_001.nii.gz"}], "test": [],
        },
    )  # fmt: skip
    (case,) = import_folder(tmp_path)
    assert [(i.modality, i.meta["channel"], i.frame) for i in case.images] == [("MR", "FLAIR", 0), ("MR", "T1w", 1)]
    for channel, image in enumerate(case.images):
        assert np.array_equal(image.pixels(), as_shown(four[..., channel], np.eye(4)))


def test_a_label_volume_that_lies_elsewhere_is_refused(tmp_path: Path) -> None:
    import nibabel

    array = label_volume()
    for n in (1, 2, 3):
        volume(tmp_path / "imagesTr" / f"a{n}_0000.nii.gz", array.astype(np.float32))
    volume(tmp_path / "labelsTr" / "a1.nii.gz", array)
    volume(tmp_path / "labelsTr" / "a2.nii.gz", array[:4])
    nibabel.save(nibabel.Nifti1Image(array, np.diag([-1.0, 1, 1, 1])), tmp_path / "labelsTr" / "a3.nii.gz")
    dump(tmp_path / "dataset.json", {"channel_names": {"0": "CT"}, "labels": {"background": 0, "a": 1, "b": 2}})
    cases = import_folder(tmp_path)
    assert cases.ids() == ["nnunet/a1"]
    assert [i for i, _ in cases.refused] == ["imagesTr/a2", "imagesTr/a3"]
    assert all("grid" in why for _, why in cases.refused)


def test_nnunet_channels_and_regions(tmp_path: Path) -> None:
    array = label_volume()
    for channel in (0, 1):
        volume(tmp_path / "imagesTr" / f"BRATS_001_{channel:04d}.nii.gz", array.astype(np.float32))
    volume(tmp_path / "labelsTr" / "BRATS_001.nii.gz", array)
    volume(tmp_path / "imagesTr" / "BRATS_002_0000.nii.gz", array.astype(np.float32))
    volume(tmp_path / "imagesTr" / "stray.nii.gz", array.astype(np.float32))
    dump(
        tmp_path / "dataset.json",
        {
            "channel_names": {"0": "T1", "1": "FLAIR"},
            "labels": {"background": 0, "whole tumor": [1, 2], "core": [2]},
            "regions_class_order": [1, 2], "numTraining": 2, "file_ending": ".nii.gz",
        },
    )  # fmt: skip
    assert detect(tmp_path)[0].name == "nnunet"
    cases = import_folder(tmp_path)
    (case,) = cases
    assert [(i.modality, i.meta["channel"]) for i in case.images] == [("MR", "T1"), ("MR", "FLAIR")]
    areas = {r.label: r.geometry.area for r in case.regions}
    assert areas == {"class 1": 2, "core": 1, "whole tumor": 3}
    assert [i for i, _ in cases.refused] == [
        "imagesTr/stray.nii.gz",
        "labelsTr/BRATS_002.nii.gz",
        "imagesTr/BRATS_002",
    ]


def test_nnunet_pictures(tmp_path: Path) -> None:
    picture(tmp_path / "imagesTr" / "a_0000.png")
    label = np.zeros((8, 10), np.uint8)
    label[2:4, 5] = 1
    label[0, 0] = 3
    array_picture(tmp_path / "labelsTr" / "a.png", label)
    dump(
        tmp_path / "dataset.json",
        {
            "channel_names": {"0": "x-ray"},
            "labels": {"background": 0, "rib": 1},
            "numTraining": 1,
            "file_ending": ".png",
        },
    )
    cases = import_folder(tmp_path)
    (case,) = cases
    assert (case.images[0].kind, case.images[0].modality) == ("2d", "DX")
    assert np.array_equal(case.regions[0].geometry.to_array(), label == 1)
    assert "value 3" in cases.refused[0][1]


def npz(path: Path, **arrays: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)
    return path


def split_arrays(shape: tuple[int, ...], labels: dict[str, list[list[int]]]) -> dict[str, np.ndarray]:
    out = {}
    for split, values in labels.items():
        rng = np.random.default_rng(len(values))
        out[f"{split}_images"] = rng.integers(0, 256, (len(values), *shape), dtype=np.uint8)
        out[f"{split}_labels"] = np.array(values, np.uint8)
    return out


@pytest.mark.parametrize(
    ("name", "shape", "labels", "kind", "name_of", "want"),
    [
        ("pathmnist_64", (64, 64, 3), [[0], [8]], "2d", "class", ["adipose", "colorectal adenocarcinoma epithelium"]),
        ("pneumoniamnist", (28, 28), [[1], [0]], "2d", "class", ["pneumonia", "normal"]),
        ("organmnist3d", (28, 28, 28), [[10], [0]], "3d", "class", ["pancreas", "liver"]),
        ("retinamnist", (28, 28, 3), [[4], [0]], "2d", "diabetic retinopathy grade", [4, 0]),
    ],
)
def test_medmnist(
    tmp_path: Path,
    name: str,
    shape: tuple[int, ...],
    labels: list[list[int]],
    kind: str,
    name_of: str,
    want: list[object],
) -> None:
    arrays = split_arrays(shape, {"train": labels, "val": labels[:1], "test": labels[1:]})
    npz(tmp_path / f"{name}.npz", **arrays)
    assert detect(tmp_path)[0].name == "medmnist"
    cases = import_folder(tmp_path)
    assert cases.refused == []
    assert [c.source.split for c in cases] == ["train", "train", "val", "test"]
    assert [c.label(name_of) for c in cases][:2] == want
    assert {len(c.labels) for c in cases} == {1}
    assert {c.images[0].kind for c in cases} == {kind}
    assert {c.images[0].modality for c in cases} == {SETS[set_of(name)[0]].modality}
    assert np.array_equal(cases[1].images[0].pixels(), arrays["train_images"][1])
    assert cases[0].id == f"medmnist/{name}/train/000000"


def test_chestmnist_has_fourteen_labels(tmp_path: Path) -> None:
    values = [[0] * 14, [0, 1] * 7]
    npz(tmp_path / "chestmnist_224.npz", **split_arrays((8, 8), {"train": values, "val": values, "test": [[2] * 14]}))
    cases = import_folder(tmp_path)
    assert len(cases) == 4
    assert [n for n, v in cases[1].labels.items() if v.value == 1] == [
        "cardiomegaly", "infiltration", "nodule", "pneumothorax", "edema", "fibrosis", "hernia",
    ]  # fmt: skip
    assert [i for i, _ in cases.refused] == ["chestmnist_224.npz:test[0]"]


def test_the_table_of_medmnist_is_whole() -> None:
    assert len(SETS) == 18
    counts = {
        "pathmnist": 9, "chestmnist": 14, "dermamnist": 7, "octmnist": 4, "pneumoniamnist": 2, "retinamnist": 5,
        "breastmnist": 2, "bloodmnist": 8, "tissuemnist": 8, "organamnist": 11, "organcmnist": 11, "organsmnist": 11,
        "organmnist3d": 11, "nodulemnist3d": 2, "adrenalmnist3d": 2, "fracturemnist3d": 3, "vesselmnist3d": 2,
        "synapsemnist3d": 2,
    }  # fmt: skip
    assert {n: len(s.classes) for n, s in SETS.items()} == counts


def raw_member(shape: tuple[int, ...], descr: str, body: bytes = b"") -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": descr, "fortran_order": False, "shape": shape})
    return out.getvalue() + body


@pytest.mark.parametrize(
    ("images", "why"),
    [
        (raw_member((10**6, 10**6), "|u1"), "too large"),
        (raw_member((100, 100, 100), "|u1", b"abc"), "header"),
        (raw_member((1, 2, 2), "|O", b"cos\nsystem\n(S'true'\ntR." * 4), "plain numbers"),
        (b"not an array at all", "magic"),
    ],
)
def test_hostile_archives_are_refused_by_name(tmp_path: Path, images: bytes, why: str) -> None:
    with zipfile.ZipFile(tmp_path / "bad.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for split in ("train", "val", "test"):
            archive.writestr(f"{split}_images.npy", images)
            archive.writestr(f"{split}_labels.npy", raw_member((1, 1), "|u1", b"\0"))
    text(tmp_path / "half.npz", b"PK\x03\x04 half a zip")
    good = split_arrays((4, 4), {"train": [[0]], "val": [[1]], "test": [[0]]})
    npz(tmp_path / "breastmnist.npz", **good)
    cases = import_folder(tmp_path, "medmnist")
    assert len(cases) == 3
    refused = dict(cases.refused)
    assert set(refused) == {"bad.npz", "half.npz"}
    assert why in refused["bad.npz"]


def test_an_archive_that_holds_nothing_to_read_says_so(tmp_path: Path) -> None:
    npz(tmp_path / "breastmnist.npz", **split_arrays((4, 4), {"train": [[7]], "val": [[8]], "test": [[9]]}))
    with pytest.raises(BadInputError, match="3 items were refused"):
        import_folder(tmp_path)
