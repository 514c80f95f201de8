"""Small parts of open data sets with tables of their own (`cases.csv`, `boxes.csv`, `points.csv`), one folder a set.

Each set's patient field holds whatever must stay on one side of a split: the patient, or, where the source names none,
the lesion, the run of neighbouring frames, the slide block, the head or the eye pair.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from vesalius.cases import Case, CaseSet, Label, Question, Source
from vesalius.errors import MissingError, UsageError, VesaliusError
from vesalius.sources.layouts.files import FileIndex, Refused, rows, stem_of
from vesalius.sources.layouts.layout import Column, Layout, RegionTable, Rule, Sign
from vesalius.sources.layouts.tabular import read, read_rows, reason, tables
from vesalius.sources.layouts.volumes import label_regions, volume_images
from vesalius.sources.open_sets import image_sets, near_copies, question_sets

NIH_LABELS = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
    "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia",
)  # fmt: skip

_AGE, _SEX = Column("attr:age", "age"), Column("attr:sex", "sex")
_HERE = "vesalius.sources.open_sets.readers"
_OWN = 0.95


def _known_by(table: str, *columns: str) -> tuple[Sign, ...]:
    return (Sign(_OWN, (Rule("columns", table, columns),)),)


LAYOUTS: tuple[Layout, ...] = (
    Layout(
        "nih-cxr14",
        "NIH ChestX-ray14, part with priors",
        "NIH Clinical Center: free to use, name the provider and cite",
        "https://nihcc.app.box.com/v/ChestXray-NIHCC",
        _known_by("cases.csv", "file", "follow_up", "labels", "source_id"),
        f"{_HERE}:read_nih",
        "cases.csv",
        {
            "file": Column("image"),
            "patient": Column("patient"),
            "follow_up": Column("attr:follow_up", "integer"),
            "age": _AGE,
            "sex": _SEX,
            "view": Column("view", "view"),
            "labels": Column("labels"),
            "source_id": Column("source_id"),
        },
        vocabulary=NIH_LABELS,
        label_source="mined",
        modality="DX",
        body_part="chest",
    ),
    Layout(
        "isic2017",
        "ISIC 2017, part",
        "CC0-1.0",
        "https://challenge.isic-archive.com/data/",
        _known_by("cases.csv", "file", "melanoma", "same_lesion_group"),
        table="cases.csv",
        columns={
            "file": Column("image"),
            "melanoma": Column("label:melanoma", "status"),
            "age": _AGE,
            "sex": _SEX,
            "same_lesion_group": Column("patient"),
        },
        modality="DMS",
        body_part="skin",
    ),
    Layout(
        "busi",
        "Breast ultrasound images, part",
        "CC-BY-4.0",
        "https://doi.org/10.1016/j.dib.2019.104863",
        _known_by("cases.csv", "file", "label", "near_duplicate_group"),
        table="cases.csv",
        columns={
            "file": Column("image"),
            "label": Column("class"),
            "split": Column("split"),
            "near_duplicate_group": Column("patient"),
        },
        modality="US",
        body_part="breast",
    ),
    Layout(
        "cbc",
        "Complete Blood Count, training part",
        "MIT",
        "https://doi.org/10.1049/htl.2018.5098",
        # Other sets have such a table beside their table of cases, and are surer of themselves.
        (Sign(0.8, (Rule("columns", "boxes.csv", ("file", "label", "xmin", "ymin", "xmax", "ymax")),)),),
        f"{_HERE}:read_cbc",
        "boxes.csv",
        {"file": Column("image")},
        (RegionTable("boxes.csv", "file", "label", ("xmin", "ymin", "xmax", "ymax"), "xyxy", "cell"),),
        # Some cells that overlap or touch the edge have no box: a count of the boxes is a lower bound.
        facts={"complete": 0},
        modality="GM",
        body_part="blood",
    ),
    Layout(
        "chula-rbc12",
        "Chula RBC-12, part",
        "MIT",
        "https://arxiv.org/abs/2012.01321",
        _known_by("cases.csv", "file", "label_coverage", "complete", "block"),
        table="cases.csv",
        columns={
            "file": Column("image"),
            "label_coverage": Column("attr:label_coverage", "number"),
            "complete": Column("attr:complete", "flag"),
            "block": Column("patient"),
        },
        regions=(RegionTable("points.csv", "file", "label", ("x", "y"), "xy", "cell"),),
        modality="GM",
        body_part="blood",
    ),
    Layout(
        "brca-m2c",
        "BRCA-M2C, training and validation part",
        "BSD-3-Clause; patches of TCGA slides",
        "https://www.cancer.gov/tcga",
        _known_by("cases.csv", "file", "patient", "lymphocyte", "tumour_or_epithelial", "stroma"),
        table="cases.csv",
        columns={
            "file": Column("image"),
            "patient": Column("patient"),
            "split": Column("split"),
            "lymphocyte": Column("label:lymphocyte count", "integer", "{cells}"),
            "tumour_or_epithelial": Column("label:tumour or epithelial count", "integer", "{cells}"),
            "stroma": Column("label:stroma count", "integer", "{cells}"),
        },
        regions=(RegionTable("points.csv", "file", "label", ("x", "y"), "xy", "cell"),),
        known={"breast cancer": 1},
        modality="SM",
        body_part="breast",
    ),
    Layout(
        "hippocampus",
        "Hippocampus (Medical Segmentation Decathlon, Task 04), part",
        "CC-BY-SA-4.0",
        "https://arxiv.org/abs/1902.09063",
        _known_by("cases.csv", "image", "label", "number_pair", "anterior_voxels"),
        f"{_HERE}:read_hippocampus",
        "cases.csv",
        {"image": Column("image"), "number_pair": Column("patient")},
        mask_labels={1: "anterior hippocampus", 2: "posterior hippocampus"},
        anatomy="hippocampus",
        modality="MR",
        body_part="brain",
        kind="3d",
        granularity="organ",
    ),
    Layout(
        "chase-db1",
        "CHASE_DB1, part",
        "CC-BY-4.0",
        "https://doi.org/10.1109/TBME.2012.2205687",
        _known_by("cases.csv", "image", "mask_observer1", "mask_observer2", "subject", "eye"),
        table="cases.csv",
        columns={
            "image": Column("image"),
            "mask_observer1": Column("mask:retinal vessel@observer 1"),
            "mask_observer2": Column("mask:retinal vessel@observer 2"),
            "subject": Column("patient"),
            "eye": Column("attr:laterality"),
        },
        modality="OP",
        body_part="retina",
        granularity="vessel",
    ),
    Layout(
        "covid-cc-by",
        "COVID-19 image data collection, the CC BY and CC BY-SA images",
        "CC BY / CC BY-SA per image",
        "https://arxiv.org/abs/2006.11988",
        _known_by("cases.csv", "file", "offset_days", "finding", "licence_doubt"),
        f"{_HERE}:read_covid",
        "cases.csv",
        {
            "file": Column("image"),
            "patient": Column("patient"),
            "offset_days": Column("time", "number"),
            "age": _AGE,
            "sex": _SEX,
            "view": Column("view", "view"),
            "licence": Column("licence"),
            "licence_doubt": Column("attr:licence_doubt"),
            "source_url": Column("url"),
            "doi": Column("attr:doi"),
            "notes": Column("report:findings"),
            "credit": Column("attr:credit"),
            "mask": Column("mask:lungs@V7 Labs"),
            "source_id": Column("source_id"),
        },
        (
            RegionTable(
                "boxes.csv",
                "file",
                "label",
                ("xmin", "ymin", "xmax", "ymax"),
                "xyxy",
                "organ",
                "General Blockchain",
                # They are loose and often reach below the lung.
                {"loose": 1},
            ),
        ),
        modality="DX",
        body_part="chest",
        granularity="organ",
    ),
    Layout(
        "vqa-rad-text",
        "VQA-RAD, questions and answers only",
        "CC0-1.0",
        "https://doi.org/10.1038/sdata.2018.251",
        _known_by("qa.csv", "id", "image_id", "question", "answer", "answer_type"),
        f"{_HERE}:read_vqa_rad_text",
        "qa.csv",
    ),
)

LAYOUTS = (*LAYOUTS, *image_sets.LAYOUTS, *question_sets.LAYOUTS)
BY_NAME = {layout.name: layout for layout in LAYOUTS}


def read_layout(name: str, folder: str | os.PathLike[str]) -> CaseSet:
    """Read one of these sets; images stay where they are and are named by absolute path.

    Args:
        name: A name of `LAYOUTS`: `nih-cxr14`, `isic2017`, `busi`, `cross-sections`, `medquad`, ...
        folder: The set's own folder, with its tables.

    Returns:
        The cases in memory; `refused` lists rows that could not be used.

    Raises:
        UsageError: There is no layout of this name.
        MissingError: The folder or its table is not there.
    """
    if name not in BY_NAME:
        terms = "read its terms with `vesalius.sources.terms.read_terms`"
        fix = terms if name == "disease-ontology" else f"use one of {', '.join(BY_NAME)}"
        raise UsageError("no such set of cases", item=name, fix=fix)
    path = Path(folder).absolute()
    if not path.is_dir():
        raise MissingError("folder is not there", item=str(path))
    layout = BY_NAME[name]
    reader = _READERS.get(name, read)
    refused: Refused = []
    cases = CaseSet(list(reader(layout, path, refused)), root=path, name=name)
    cases.refused = refused
    return cases


def read_nih(layout: Layout, folder: Path, refused: Refused) -> Iterator[Case]:
    """Films in the order of `follow_up`, each linked to the film before it by `pairs.csv`."""
    pairs = {}
    for file in sorted(folder.glob("pairs.csv")):
        for _, row in rows(file, refused, needs=("prior", "current", "changed", "appeared", "resolved")):
            pairs[stem_of(row["current"])] = row
    cases = [case for case, _ in read_rows(layout, folder, refused)]
    ids = {case.id for case in cases}

    def order(case: Case) -> tuple[str, float]:
        number = case.attributes.get("follow_up")
        return case.patient, float(number) if isinstance(number, int | float) else -1.0

    for case in sorted(cases, key=order):
        pair = pairs.get(case.id.removeprefix(f"{layout.name}/"))
        prior = f"{layout.name}/{stem_of(pair['prior'])}" if pair else ""
        if pair is None or prior not in ids:
            yield case
            continue
        change = {"changed": int(pair["changed"]), "appeared": pair["appeared"], "resolved": pair["resolved"]}
        yield case.replace(prior=prior, attributes={**case.attributes, **{k: v for k, v in change.items() if v != ""}})


def read_cbc(layout: Layout, folder: Path, refused: Refused) -> Iterator[Case]:
    """Blood smears with boxes; the two pictures that show nearly one field share a patient."""
    for case, _ in read_rows(layout, folder, refused):
        twin = stem_of(case.id) in {"BloodImage_00037", "BloodImage_00038"}
        yield case.replace(patient=f"{layout.name}/00037-00038") if twin else case


def read_hippocampus(layout: Layout, folder: Path, refused: Refused) -> Iterator[Case]:
    """Volumes with label volumes, voxel sizes, and the volume of each part in mm3."""
    index = FileIndex(folder)
    for case, row in read_rows(layout, folder, refused):
        try:
            (image,) = volume_images(layout, index.find(row["image"]))
            image = replace(image, meta={**image.meta, **case.images[0].meta})
            volume = float(row["mm_x"]) * float(row["mm_y"]) * float(row["mm_z"])
            labels = {
                f"{part} hippocampus volume": Label(round(int(row[f"{part}_voxels"]) * volume, 3), "mm3")
                for part in ("anterior", "posterior")
            }
            regions = label_regions(
                image, index.find(row["label"]), layout.mask_labels, granularity=layout.granularity, refused=refused
            )
        except (VesaliusError, KeyError, ValueError) as error:
            refused.append((case.id, f"its volume, size or voxel count cannot be read ({reason(error)})"))
            continue
        yield case.replace(images=(image,), labels=labels, regions=tuple(regions))


def read_covid(layout: Layout, folder: Path, refused: Refused) -> Iterator[Case]:
    """Films with findings, ordered by `offset_days` within a patient and linked to the film before."""
    found: dict[str, list[Case]] = defaultdict(list)
    for case, row in read_rows(layout, folder, refused):
        found[case.group].append(case.replace(labels=_covid_labels(row.get("finding", ""))))
    for films in found.values():
        dated = sorted((c for c in films if c.time is not None), key=lambda c: (float(c.time or 0), c.id))
        before = dict(zip((c.id for c in dated[1:]), dated, strict=False))
        for case in (*dated, *(c for c in films if c.time is None)):
            prior = before.get(case.id)
            # Two films of one day have no order that could be trusted.
            yield case.replace(prior=prior.id) if prior is not None and prior.time != case.time else case


def read_vqa_rad_text(layout: Layout, folder: Path, refused: Refused) -> Iterator[Case]:
    """Questions without their images, one case for each image name."""
    found: dict[str, list[Question]] = defaultdict(list)
    for file in tables(folder, layout.table):
        for line, row in rows(
            file, refused, needs=("id", "image_id", "question", "answer", "answer_type", "question_type")
        ):
            if not row["image_id"] or not row["question"]:
                refused.append((f"{file.name}:{line}", "image_id or question is empty"))
                continue
            found[row["image_id"]].append(
                Question(
                    row["question"],
                    row["answer"],
                    tags=tuple(t for t in (row["answer_type"], row["question_type"]) if t),
                    id=f"{layout.name}/{row['id']}",
                )
            )
    for image_id, questions in found.items():
        yield Case(
            id=f"{layout.name}/{image_id}",
            patient=f"{layout.name}/{image_id}",
            questions=tuple(questions),
            source=Source(layout.name, layout.licence, url=layout.url, id=image_id),
        )


def _covid_labels(finding: str) -> dict[str, Label]:
    """The finding as labels; COVID-19 is absent only where the list says that nothing was found."""
    if finding in {"", "Unknown"}:
        return {}
    if finding == "No Finding":
        return {"COVID-19": Label(0), "No Finding": Label(1)}
    return {{"Pneumocystis": "Pneumocystis pneumonia"}.get(finding, finding): Label(1), "No Finding": Label(0)}


_READERS: dict[str, Callable[[Layout, Path, Refused], Iterator[Case]]] = {
    "nih-cxr14": read_nih,
    "cbc": read_cbc,
    "hippocampus": read_hippocampus,
    "covid-cc-by": read_covid,
    "vqa-rad-text": read_vqa_rad_text,
    **dict.fromkeys(near_copies.SETS, image_sets.read_alike),
    "ct-ich": image_sets.read_ct_ich,
    "hc18-fetal-head": image_sets.read_fetal_head,
    "cross-sections": image_sets.read_cross_sections,
    "lung-ultrasound": image_sets.read_clips,
    "medquad": question_sets.read_medquad,
    "pubmedqa": question_sets.read_pubmedqa,
}
