"""Chest film sets whose tables need more than columns: NIH official, CheXpert, MIMIC-CXR-JPG."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from vesalius.cases import Case, Image, Label, Report
from vesalius.errors import VesaliusError
from vesalius.sources.layouts.common import image_of, link_priors, pick, source_of
from vesalius.sources.layouts.files import FileIndex, Refused, header, rows
from vesalius.sources.layouts.layout import Layout
from vesalius.sources.layouts.tabular import read as read_table
from vesalius.sources.layouts.tabular import reason
from vesalius.sources.layouts.values import parse
from vesalius.text.sections import parse_report

_MAX_REPORT = 2**20
_STUDY = re.compile(r"(?:^|/)(?:(train|valid|test)/)?(patient\d+)/(study\d+)/[^/]+$")


def read_nih_official(layout: Layout, folder: Path, refused: Refused) -> Iterator[Case]:
    """Films of the official tables with radiologist boxes, official parts, and priors by follow-up number."""
    split: dict[str, str] = {}
    for name, part in (("train_val_list*.txt", "train"), ("test_list*.txt", "test")):
        for file in sorted(folder.glob(name)):
            for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
                split[line.strip()] = part
    cases = []
    for case in read_table(layout, folder, refused):
        path = case.images[0].path if case.images else None
        part = split.get(path.name, "") if path else ""
        cases.append(case.replace(source=source_of(layout, case.source.id, part)) if part else case)
    order = {c.id: float(n) for c in cases if isinstance(n := c.attributes.get("follow_up"), int)}
    yield from link_priors(cases, order)


def read_chexpert(layout: Layout, folder: Path, refused: Refused) -> Iterator[Case]:
    """One case a study, with its frontal and lateral films; uncertain labels stay -1, blank ones unknown."""
    index = FileIndex(folder)
    for file in [f for f in pick(folder, layout.table) if {"Path", "Frontal/Lateral"} <= set(header(f))]:
        studies: dict[str, tuple[dict[str, str], list[Image]]] = {}
        for line, row in rows(file, refused):
            where = f"{file.name}:{line}"
            match = _STUDY.search(row["Path"])
            if not match:
                refused.append(
                    (where, f"{row['Path'][:100]!r} is not a path like patient00001/study1/view1_frontal.jpg")
                )
                continue
            try:
                image = image_of(layout, _below(index, row["Path"]), view=_chexpert_view(row))
            except VesaliusError as error:
                refused.append((where, reason(error)))
                continue
            key = "/".join(part for part in match.groups() if part)
            studies.setdefault(key, ({**row, "": where}, []))[1].append(image)
        for key, (first, films) in studies.items():
            yield from _study(layout, key, films, first, refused)


def _study(layout: Layout, key: str, films: list[Image], row: Mapping[str, str], refused: Refused) -> Iterator[Case]:
    *part, patient, _ = key.split("/")
    attributes: dict[str, str | int | float | bool | None] = {}
    try:
        labels = statuses(layout, row)
    except ValueError as error:
        refused.append((row[""], str(error)))
        return
    for name, how in (("Age", "age"), ("Sex", "sex")):
        try:
            value = parse(row.get(name, ""), how)  # type: ignore[arg-type] # two of the literals
        except ValueError as error:
            refused.append((row[""], f"{name}: {error}; it was left out"))
            continue
        if value is not None:
            attributes[name.lower()] = value
    split = {"train": "train", "valid": "val", "test": "test"}.get(part[0], "") if part else ""
    yield Case(
        id=f"{layout.name}/{key}",
        patient=f"{layout.name}/{patient}",
        images=tuple(films),
        labels=labels,
        attributes=attributes,
        source=source_of(layout, key, split),
    )


def _chexpert_view(row: Mapping[str, str]) -> str:
    if row.get("Frontal/Lateral") == "Lateral":
        return "LATERAL"
    return str(parse(row.get("AP/PA", ""), "view") or "FRONTAL")


def _below(index: FileIndex, name: str) -> Path:
    """The path in the table starts with the name of the data set's folder, which may be the folder given."""
    try:
        return index.find(name)
    except VesaliusError:
        head, _, rest = name.replace("\\", "/").partition("/")
        if not rest or head in {"", "..", "."}:
            raise
        return index.find(rest)


def statuses(layout: Layout, row: Mapping[str, str]) -> dict[str, Label]:
    """The columns of the vocabulary as statuses; blank ones are left out.

    Raises:
        ValueError: A cell is not 1, 0 or -1.
    """
    found = {}
    for name in layout.vocabulary:
        try:
            value = parse(row.get(name, ""), "status")
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        if value is not None:
            found[name] = Label(value, source=layout.label_source)
    return found


def read_mimic(layout: Layout, folder: Path, refused: Refused) -> Iterator[Case]:
    """One case a study: its films, CheXpert labels, official part, report sections, and the study before.

    A film is looked for at `files/p10/p10000032/s50414267/DICOM_ID.jpg`, the report at the same path as the study's
    folder with the suffix `.txt`.
    """
    label_rows: dict[str, tuple[str, dict[str, str]]] = {}
    split_of: dict[str, str] = {}
    read_labels = False
    for file in sorted(folder.glob("*chexpert.csv*")):
        read_labels = True
        label_rows |= {
            row["study_id"]: (f"{file.name}:{n}", row) for n, row in rows(file, refused, needs=("study_id",))
        }
    for file in sorted(folder.glob("*split.csv*")):
        split_of |= {row["dicom_id"]: row["split"] for _, row in rows(file, refused, needs=("dicom_id", "split"))}
    if not read_labels:
        refused.append((folder.name, "there is no *chexpert.csv, so the cases have no labels"))
    index = FileIndex(folder, ("files",))
    studies: dict[tuple[str, str], list[tuple[Image, dict[str, str]]]] = defaultdict(list)
    for file in pick(folder, layout.table):
        for line, row in rows(file, refused, needs=("subject_id", "study_id", "dicom_id")):
            subject, study, dicom = row["subject_id"], row["study_id"], row["dicom_id"]
            if not (subject.isdecimal() and study.isdecimal()):
                refused.append((f"{file.name}:{line}", f"subject {subject!r} or study {study!r} is not a number"))
                continue
            name = f"files/p{subject[:2]}/p{subject}/s{study}/{dicom}.jpg"
            try:
                view = str(parse(row.get("ViewPosition", ""), "view") or "")
                image = image_of(layout, index.find(name), view=view)
            except VesaliusError as error:
                refused.append((f"{file.name}:{line}", reason(error)))
                continue
            studies[subject, study].append((image, row))
    cases, order = [], {}
    for (subject, study), films in studies.items():
        first = films[0][1]
        time = _time(first.get("StudyDate", ""), first.get("StudyTime", ""))
        where, row = label_rows.get(study, ("", {}))
        try:
            labels = statuses(layout, row)
        except ValueError as error:
            refused.append((where, f"{error}; the study's labels were left out"))
            labels = {}
        parts = {"validate": "val"}
        split = split_of.get(first["dicom_id"], "")
        case = Case(
            id=f"{layout.name}/s{study}",
            patient=f"{layout.name}/p{subject}",
            time=time or None,
            images=tuple(image for image, _ in films),
            report=_report(index, f"files/p{subject[:2]}/p{subject}/s{study}.txt", refused),
            labels=labels,
            source=source_of(layout, f"s{study}", parts.get(split, split)),
        )
        cases.append(case)
        if time:
            order[case.id] = time
    yield from link_priors(cases, order)


def _time(date: str, clock: str) -> str:
    """DICOM date and time as ISO 8601; "" when the date is not one."""
    match = re.fullmatch(r"(\d{4})(\d{2})(\d{2})", date)
    if not match:
        return ""
    # The table stores the time as a number, so leading zeros are gone: 90345.5 is 09:03:45.5.
    hours = re.fullmatch(r"(\d{2})(\d{2})(\d{2})", clock.partition(".")[0].zfill(6)) if clock else None
    return "-".join(match.groups()) + (f"T{':'.join(hours.groups())}" if hours else "")


def _report(index: FileIndex, name: str, refused: Refused) -> Report | None:
    try:
        path = index.find(name)
    except VesaliusError:
        return None
    if path.stat().st_size > _MAX_REPORT:
        refused.append((name, f"the report is over {_MAX_REPORT} bytes"))
        return None
    return parse_report(path.read_text(encoding="utf-8", errors="replace"))
