"""What a public layout looks like, as data: how to know it, which column holds what, where the images are.

A `Layout` says what columns and paths can say. Only a layout that needs more names its own function in `reader`; the
others are read by `vesalius.sources.layouts.tabular`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from vesalius.cases.image import Kind

Parse = Literal["text", "number", "integer", "age", "sex", "status", "flag", "view", "side"]
RuleKind = Literal["path", "columns", "values", "json", "npz", "class_folders", "xml", "named_files"]
Shape = Literal["xyxy", "xywh", "xy"]

#: The label that holds the one class of a case, where a data set sorts each case into exactly one.
CLASS = "class"


@dataclass(frozen=True, slots=True)
class Column:
    """What one column of a table means.

    Args:
        to: Field of the record: `id`, `image`, `patient`, `time`, `split`, `view`, `modality`, `body_part`, `licence`,
            `url`, `source_id`, `class`, `onehot:NAME` (1 says that the class is NAME), `labels` (several, with
            `Layout.separator` between them), `label:NAME`, `attr:NAME`, `meta:NAME` (a fact of the image, such as its
            plane or sequence), `spacing` (mm for one pixel, the same both ways), `report:SECTION`, or
            `mask:LABEL[@ANNOTATOR]` (path of a mask image).
        parse: How the cell is understood; an empty cell is always "not known".
        unit: UCUM unit, for a `label:NAME` that is a number.
    """

    to: str
    parse: Parse = "text"
    unit: str = ""


@dataclass(frozen=True, slots=True)
class RegionTable:
    """A table with one region a row, keyed by the image it belongs to.

    Args:
        file: Glob of the table, relative to the folder.
        key: Column that names the image.
        label: Column with the class.
        columns: Columns of the numbers, in the order of `shape`.
        shape: `xyxy` corners, `xywh` corner and size, or `xy` a point.
        granularity: What is marked (`lesion`, `cell`, `organ`).
        annotator: Who drew it.
        attributes: Facts that hold for every region.
        rename: Label in the table to the label that the cases use.
        origin: Subtracted from every coordinate: 1 where the layout counts pixels from one.
    """

    file: str
    key: str
    label: str
    columns: tuple[str, ...]
    shape: Shape
    granularity: str = ""
    annotator: str = ""
    attributes: Mapping[str, str | int] = field(default_factory=dict)
    rename: Mapping[str, str] = field(default_factory=dict)
    origin: float = 0.0


@dataclass(frozen=True, slots=True)
class Rule:
    """One sign by which a layout is known.

    Args:
        kind: `path` (a file or folder matches `glob`), `columns` (a matching table has all `names` in its header),
            `values` (the column named first holds the other names in a matching table, and nothing else),
            `json` (a matching file has all `names` as keys near its start), `npz` (an archive has all members),
            `xml` (a matching file's root element is one of `names`), `class_folders` (folders that hold images only),
            `named_files` (a column of one of `names` names images that are there).
        glob: Which files to look at, relative to the folder.
        names: Columns, keys, members or element names.
    """

    kind: RuleKind
    glob: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sign:
    """Rules that together make a layout likely, with the confidence they give when all hold."""

    confidence: float
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """One public layout, as data.

    Args:
        name: Short name, used on the command line.
        title: Name that people know.
        licence: Licence of the data where the layout belongs to one data set, else "".
        url: Home of the data set or description of the format.
        signs: How to know it; the best sign that holds counts.
        reader: `module:function` that reads it.
        table: Glob of the table with one case a row.
        columns: Column name to meaning.
        regions: Tables of boxes or points.
        image_roots: Folders (globs) in which images named by a table are looked for.
        suffixes: Suffixes tried when a table names an image without one.
        separator: Between the values of a `labels` cell.
        vocabulary: All names a `labels` cell may hold; those not named are absent.
        no_finding: The value of a `labels` cell that says that nothing was found.
        label_source: Who says the labels (`mined`, `pathology`, ...).
        mask_labels: Value in a mask to the name of what it marks.
        masks: File name pattern of mask pictures (`{stem}` is the image's stem) to what they mark.
        known: Labels that hold for every case.
        facts: Attributes that hold for every case.
        anatomy: Closer words than `body_part` for what is shown, kept in the image's `meta`.
        modality: DICOM modality code of every image, where it is always the same.
        view: View of every image.
        body_part: Body part of every image.
        kind: `2d`, `3d` or `video`.
        granularity: What masks mark.
        writer: `module:function` that writes it, or "" when it is only read.
        options: Anything else the layout's own reader wants to be told.
    """

    name: str
    title: str
    licence: str = ""
    url: str = ""
    signs: tuple[Sign, ...] = ()
    reader: str = "vesalius.sources.layouts.tabular:read"
    table: str = ""
    columns: Mapping[str, Column] = field(default_factory=dict)
    regions: tuple[RegionTable, ...] = ()
    image_roots: tuple[str, ...] = (".",)
    suffixes: tuple[str, ...] = ()
    separator: str = "|"
    vocabulary: tuple[str, ...] = ()
    no_finding: str = "No Finding"
    label_source: str = ""
    mask_labels: Mapping[int, str] = field(default_factory=dict)
    masks: Mapping[str, str] = field(default_factory=dict)
    known: Mapping[str, int] = field(default_factory=dict)
    facts: Mapping[str, str | int] = field(default_factory=dict)
    anatomy: str = ""
    modality: str = ""
    view: str = ""
    body_part: str = ""
    kind: Kind = "2d"
    granularity: str = ""
    writer: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
