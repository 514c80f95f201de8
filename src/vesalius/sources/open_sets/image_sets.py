"""Sets whose `cases.csv` names file, label, group, modality and body part: what each one's other columns mean.

`class` holds the one label of an image, as its set names it. What else is known of the picture itself stands in the
image's `meta`: `plane` (axial, coronal, sagittal, transverse), `sequence` (T1, T2, FLAIR, bSSFP), `contrast` (with or
without a contrast medium), `window_name` (brain, bone), `anatomy` (closer words than the body part), `probe`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from vesalius.cases import Case, Image, Label, Mask, Source
from vesalius.errors import VesaliusError
from vesalius.sources.layouts.files import FileIndex, Refused, rows
from vesalius.sources.layouts.layout import Column, Layout, RegionTable, Rule, Sign
from vesalius.sources.layouts.tabular import read, read_rows, reason, tables
from vesalius.sources.open_sets.near_copies import stored

_HERE = "vesalius.sources.open_sets.image_sets"
_TABLE = "cases.csv"
_OWN = 0.95
#: The columns that all these sets share.
_COLUMNS: Mapping[str, Column] = {
    "file": Column("image"),
    "label": Column("class"),
    "group": Column("patient"),
    "modality": Column("modality"),
    "body_part": Column("body_part"),
}
_AGE, _SEX, _VIEW = Column("attr:age", "age"), Column("attr:sex", "sex"), Column("view", "view")
_PLANE = Column("meta:plane")
_BLEEDING = (
    "epidural haemorrhage",
    "intraparenchymal haemorrhage",
    "intraventricular haemorrhage",
    "subarachnoid haemorrhage",
    "subdural haemorrhage",
)


def _columns_known(*names: str) -> tuple[Sign, ...]:
    return (Sign(_OWN, (Rule("columns", _TABLE, ("file", *names)),)),)


def _labels_known(*names: str) -> tuple[Sign, ...]:
    """Sets with the shared columns alone are told apart by what they label."""
    shared = Rule("columns", _TABLE, tuple(_COLUMNS))
    return (Sign(_OWN, (shared, Rule("values", _TABLE, ("label", *names)))),)


LAYOUTS: tuple[Layout, ...] = (
    Layout(
        "fracatlas",
        "FracAtlas, part: limb X-rays, fracture or not",
        "CC-BY-4.0",
        "https://doi.org/10.1038/s41597-023-02432-4",
        _labels_known("fracture", "no fracture"),
        reader=f"{_HERE}:read_alike",
        table=_TABLE,
        columns=_COLUMNS,
    ),
    Layout(
        "brain-mr",
        "Brain tumour MR slices, part: glioma, meningioma, pituitary tumour, none",
        "CC0-1.0 as declared by its uploader; parts CC-BY-4.0",
        "https://doi.org/10.6084/m9.figshare.1512427",
        _labels_known("glioma", "meningioma", "pituitary tumour", "no tumour"),
        reader=f"{_HERE}:read_alike",
        table=_TABLE,
        columns=_COLUMNS,
    ),
    Layout(
        "chest-ct",
        "Chest CT slices, part: three lung cancers, normal",
        "ODbL-1.0 as declared by its uploader",
        "",
        _labels_known("adenocarcinoma", "large cell carcinoma", "squamous cell carcinoma", "normal"),
        reader=f"{_HERE}:read_alike",
        table=_TABLE,
        columns=_COLUMNS,
    ),
    Layout(
        "mednist",
        "MedNIST, part: small slices of five kinds",
        "CC-BY-SA-4.0",
        "https://docs.monai.io/en/stable/apps.html",
        _labels_known("AbdomenCT", "BreastMRI", "ChestCT", "Hand", "HeadCT"),
        reader=f"{_HERE}:read_alike",
        table=_TABLE,
        columns=_COLUMNS,
    ),
    Layout(
        "kvasir-seg",
        "Kvasir-SEG, part: colonoscopy pictures of polyps, with masks",
        "CC-BY-4.0",
        "https://doi.org/10.1007/978-3-030-37734-2_37",
        (
            Sign(
                _OWN,
                (
                    Rule("columns", _TABLE, (*_COLUMNS, "mask")),
                    Rule("values", _TABLE, ("label", "polyp")),
                ),
            ),
        ),
        reader=f"{_HERE}:read_alike",
        table=_TABLE,
        columns={**_COLUMNS, "mask": Column("mask:polyp")},
        granularity="lesion",
    ),
    Layout(
        "paediatric-pneumonia",
        "Children's chest films, part: normal, bacterial and viral pneumonia",
        "CC-BY-4.0",
        "https://doi.org/10.1016/j.cell.2018.02.010",
        _labels_known("bacterial pneumonia", "viral pneumonia", "normal"),
        table=_TABLE,
        columns=_COLUMNS,
        facts={"age_group": "child"},
    ),
    Layout(
        "lc25000-lung",
        "LC25000, part: lung tissue, benign and two cancers",
        "declared free for research by its authors",
        "https://arxiv.org/abs/1912.12142",
        _labels_known("benign lung tissue", "lung adenocarcinoma", "lung squamous cell carcinoma"),
        table=_TABLE,
        columns=_COLUMNS,
    ),
    Layout(
        "pbc-blood",
        "Peripheral blood cells, part: one cell of eight kinds in the middle",
        "CC-BY-4.0",
        "https://doi.org/10.1016/j.dib.2020.105474",
        _labels_known(
            "basophil",
            "eosinophil",
            "erythroblast",
            "immature granulocyte",
            "lymphocyte",
            "monocyte",
            "neutrophil",
            "platelet",
        ),
        reader=f"{_HERE}:read_alike",
        table=_TABLE,
        columns=_COLUMNS,
    ),
    Layout(
        "ct-ich",
        "Head CT with bleeding, part (brain and bone windows)",
        "CC-BY-4.0",
        "https://doi.org/10.3390/data5010014",
        _columns_known("fracture", "window", "slice", "plane"),
        f"{_HERE}:read_ct_ich",
        _TABLE,
        {
            **_COLUMNS,
            "label": Column("labels"),
            "fracture": Column("label:fracture", "status"),
            "slice": Column("attr:slice", "integer"),
            "window": Column("meta:window_name"),
            "plane": _PLANE,
            "age": _AGE,
            "sex": _SEX,
        },
        vocabulary=_BLEEDING,
        no_finding="no haemorrhage",
        label_source="radiologist",
    ),
    Layout(
        "iq-oth-lung-ct",
        "IQ-OTH/NCCD chest CT slices, part: benign nodule, malignant nodule, normal",
        "CC-BY-4.0",
        "https://doi.org/10.17632/bhmdr45bh2.1",
        (
            Sign(
                _OWN,
                (
                    Rule("columns", _TABLE, (*_COLUMNS, "plane")),
                    Rule("values", _TABLE, ("label", "benign nodule", "malignant nodule", "normal lung")),
                ),
            ),
        ),
        reader=f"{_HERE}:read_alike",
        table=_TABLE,
        columns={**_COLUMNS, "plane": _PLANE},
    ),
    Layout(
        "hc18-fetal-head",
        "HC18, part: fetal heads with masks, boxes and head circumference",
        "CC-BY-4.0",
        "https://doi.org/10.1371/journal.pone.0200412",
        _columns_known("head_circumference_mm", "mm_per_pixel", "mask"),
        f"{_HERE}:read_fetal_head",
        _TABLE,
        {
            **_COLUMNS,
            "plane": _PLANE,
            "head_circumference_mm": Column("label:head circumference", "number", "mm"),
            "mm_per_pixel": Column("spacing", "number"),
            "mask": Column("mask:fetal head"),
        },
        (RegionTable("boxes.csv", "file", "label", ("xmin", "ymin", "xmax", "ymax"), "xyxy", "organ"),),
        anatomy="fetal head",
        granularity="organ",
    ),
    Layout(
        "knee-oa",
        "Knee X-rays with Kellgren-Lawrence grade, part",
        "CC-BY-4.0; films of the Osteoarthritis Initiative",
        "https://doi.org/10.17632/56rmx5bjcr.1",
        _columns_known("kl_grade", "side_of_body"),
        table=_TABLE,
        columns={
            **_COLUMNS,
            # The unit says that 0 and 1 are grades here, not absent and present.
            "kl_grade": Column("label:Kellgren-Lawrence grade", "integer", "{grade}"),
            "side_of_body": Column("attr:laterality", "side"),
            "view": _VIEW,
            "split": Column("split"),
        },
    ),
    Layout(
        "spine-xray",
        "Spine X-rays, part: scoliosis or normal",
        "CC-BY-4.0",
        "https://doi.org/10.1371/journal.pone.0267851",
        _columns_known("curve", "series"),
        table=_TABLE,
        columns={
            **_COLUMNS,
            "curve": Column("attr:curve"),
            "series": Column("attr:series"),
            "view": _VIEW,
            "age": _AGE,
            "sex": _SEX,
        },
    ),
    Layout(
        "shoulder-implant",
        "Shoulder implants, part: X-rays by maker",
        "CC-BY-4.0",
        "",
        _labels_known("Cofield implant", "DePuy implant", "Tornier implant", "Zimmer implant"),
        table=_TABLE,
        columns=_COLUMNS,
        known={"implant": 1},
    ),
    Layout(
        "cross-sections",
        "Slices and frames of nineteen open sets, CT, MR, ultrasound and mammography",
        "CC-BY-4.0 or CC-BY-SA, per source",
        "",
        _columns_known("source", "sequence", "mask_label", "mask"),
        f"{_HERE}:read_cross_sections",
        _TABLE,
        {
            **_COLUMNS,
            "source": Column("attr:source"),
            "plane": _PLANE,
            "sequence": Column("meta:sequence"),
            "mask": Column("mask:structure"),
        },
    ),
    Layout(
        "lung-ultrasound",
        "POCUS lung ultrasound, the CC BY clips",
        "CC BY per clip",
        "https://doi.org/10.3390/app11020672",
        _columns_known("clip", "frame", "frames_in_source", "probe"),
        f"{_HERE}:read_clips",
        _TABLE,
        kind="video",
    ),
)

#: Sources of `cross-sections` that give no case number stay whole; these two hold the same people.
_SAME_PEOPLE = {"msflair": "multiple-sclerosis", "mst1": "multiple-sclerosis"}
#: What a mask of `cross-sections` marks: its granularity, and whether it may join or stand for several structures.
_STRUCTURES: Mapping[str, tuple[str, bool]] = {
    "aorta": ("vessel", False),
    "breast or dense tissue": ("organ", True),
    "common carotid artery": ("vessel", False),
    "heart chambers and great vessels": ("organ", True),
    "ischaemic core or penumbra": ("lesion", True),
    "kidney": ("organ", False),
    "kidney stone": ("lesion", False),
    "knee bones": ("organ", False),
    "labelled spine structures": ("organ", True),
    "left atrium": ("organ", False),
    "liver or liver mass": ("organ", True),
    "liver vessel or tumour": ("vessel", True),
    "lung tumour": ("lesion", False),
    "multiple sclerosis lesion": ("lesion", False),
    "prostate zones or tumour": ("organ", True),
    "spleen": ("organ", False),
}


def read_alike(layout: Layout, folder: Path, refused: Refused) -> Iterator[Case]:
    """Pictures of sets without patient numbers: those that look alike share a patient.

    They were compared once, and `data/near_copies.json` names them; another selection of such a set has other names, so
    the groups are used only where the number of pictures is the same.
    """
    cases = list(read(layout, folder, refused))
    count, alike = stored(layout.name)
    for case in cases:
        group = alike.get(case.id.partition("/")[2]) if len(cases) == count else None
        yield case if group is None else case.replace(patient=f"{layout.name}/like-{group}")


def read_ct_ich(layout: Layout, folder: Path, refused: Refused) -> Iterator[Case]:
    """Slices with the labels that their window shows: kinds of bleeding in the brain window, fractures in the bone one.

    What the slice is said to show but its window hides is kept as an attribute.
    """
    for case, row in read_rows(layout, folder, refused):
        bone = row["window"] == "bone"
        shown = {k: v for k, v in case.labels.items() if (k == "fracture") == bone}
        hidden = {"haemorrhage": row["label"]} if bone else {"fracture": int(row["fracture"] or 0)}
        yield case.replace(labels=shown, attributes={**case.attributes, **hidden})


def read_fetal_head(layout: Layout, folder: Path, refused: Refused) -> Iterator[Case]:
    """Heads in the standard plane, an axial one."""
    for case, row in read_rows(layout, folder, refused):
        plane, _, standard = row["plane"].partition(" ")
        meta = {**case.images[0].meta, "plane": plane, **({"standard_plane": 1} if "standard" in standard else {})}
        yield case.replace(images=(replace(case.images[0], meta=meta),))


def read_cross_sections(layout: Layout, folder: Path, refused: Refused) -> Iterator[Case]:
    """Slices with the mask of the structure that each names; a mask without a pixel says that it is not there."""
    for case, row in read_rows(layout, folder, refused):
        image = case.images[0]
        meta: dict[str, Any] = {k: v for k, v in image.meta.items() if v != "-"}
        if str(meta.get("sequence", "")).endswith("contrast"):
            # Of a CT the column says whether a contrast medium was given.
            meta["contrast"] = "without" if meta.pop("sequence").startswith("no ") else "with"
        name = row["mask_label"]
        granularity, mixed = _STRUCTURES.get(name, ("", False))
        labels, regions = dict(case.labels), []
        for region in case.regions:
            if isinstance(region.geometry, Mask) and region.geometry.area == 0:
                labels[name] = Label(0)
                continue
            facts = {"mixed": 1} if mixed else {}
            regions.append(replace(region, label=name, granularity=granularity, attributes=facts))
        source = row["source"]
        yield case.replace(
            patient=case.patient or f"{layout.name}/{_SAME_PEOPLE.get(source, source)}",
            images=(replace(image, meta=meta),),
            labels=labels,
            regions=tuple(regions),
        )


def read_clips(layout: Layout, folder: Path, refused: Refused) -> Iterator[Case]:
    """Ultrasound clips, one case each; a clip of one frame is a still picture."""
    index = FileIndex(folder)
    needs = ("file", "clip", "frame", "label", "group", "modality", "body_part", "probe", "licence", "source_file")
    clips: dict[str, list[tuple[int, Path, Mapping[str, str]]]] = {}
    for file in tables(folder, layout.table):
        for line, row in rows(file, refused, needs=needs):
            try:
                clips.setdefault(row["clip"], []).append((int(row["frame"]), index.find(row["file"]), row))
            except (VesaliusError, ValueError) as error:
                refused.append((f"{file.name}:{line}", reason(error)))
    for clip, frames in clips.items():
        frames.sort(key=lambda f: f[0])
        _, first, said = frames[0]
        meta: dict[str, Any] = {"probe": said["probe"]}
        if len(frames) > 1:
            meta["files"] = [path.relative_to(first.parent).as_posix() for _, path, _ in frames]
        image = Image(
            uri=str(first.absolute()),
            modality=said["modality"],
            body_part=said["body_part"],
            kind="video" if len(frames) > 1 else "2d",
            meta=meta,
        )
        yield Case(
            id=f"{layout.name}/{clip}",
            patient=f"{layout.name}/{said['group']}" if said["group"] else "",
            images=(image,),
            labels={"class": Label(said["label"])},
            source=Source(layout.name, said["licence"] or layout.licence, url=layout.url, id=said["source_file"]),
        )
