"""`demo`: the main job on real images that pip brings, ending in one page with pictures and numbers."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vesalius.errors import MissingError
from vesalius.job import Job
from vesalius.verbs.frame import Args, Result, arg, verb

if TYPE_CHECKING:
    from vesalius.cases import Case
    from vesalius.library import Library

#: DICOM code to the words that zero-shot classification is asked with.
MODALITIES = {
    "CT": "CT scan",
    "MR": "MRI",
    "US": "ultrasound image",
    "CR": "x-ray film",
    "NM": "nuclear medicine scan",
    "OP": "fundus photograph",
    "SM": "stained tissue under a microscope",
    "GM": "cells under a microscope",
}
ANATOMY = {
    "head": "brain",
    "abdomen": "abdomen",
    "chest": "chest",
    "heart": "heart",
    "retina": "retina",
    "leg": "leg bones",
    "shoulder": "shoulder joint",
    "spine": "spine",
    "lymph node": "lymph node",
    "colon": "colon tissue",
    "cells": "cells",
}
SEARCHES = ("chest x-ray", "fundus photograph of the retina", "MRI of the brain")


@dataclass(frozen=True)
class Demo(Args):
    """Where the page goes."""

    out: Path | None = arg("folder of the page and run.json", Path("demo-output"), metavar="DIR")


@dataclass(frozen=True)
class Shown(Result):
    """What the demo found."""

    page: str
    cases: int
    patients: int
    images: int
    indexed_seconds: float
    searches: Mapping[str, tuple[Mapping[str, Any], ...]]
    zero_shot: Mapping[str, Mapping[str, Any]]
    head: Mapping[str, Any]
    auroc: str
    operating_point: Mapping[str, Any]
    seconds: float

    def lines(self) -> Iterator[str]:
        """Step by step."""
        yield (
            f"indexed {self.cases} cases ({self.images} images, {self.patients} patients), {self.indexed_seconds:.1f} s"
        )
        for text, hits in self.searches.items():
            best = ", ".join(f"{h['file']} {h['score']:.2f}" for h in hits[:3])
            yield f"search {text!r}: {best}"
        for name, z in self.zero_shot.items():
            yield (
                f"zero-shot {name}: {z['right']} of {z['n']} right = {z['accuracy']:.3f} "
                f"[{z['low']:.3f}, {z['high']:.3f}], {z['classes']} classes (chance {1 / z['classes']:.3f})"
            )
            for file, truth, said in z["wrong"][:5]:
                yield f"  mistaken: {file} is {truth}, the answer was {said}"
        yield (
            f"few-shot head 'is it an ultrasound image?': {self.auroc}, {self.head['n']} cases of "
            f"{self.head['patients']} patients, held out by patient"
        )
        point = self.operating_point
        yield (
            f"  operating point: score >= {point['threshold']:.4f}, sensitivity {_interval(point['sensitivity'])}, "
            f"specificity {_interval(point['specificity'])}"
        )
        yield f"page: {self.page} ({self.seconds:.0f} s)"


def _interval(said: Any) -> str:
    if isinstance(said, Mapping):
        return f"{said['value']:.3f} [{said['low']:.3f}, {said['high']:.3f}]"
    return f"{said:.3f}"


@verb("demo", "set up", uses=("device", "workers", "batch_size", "seed"), reads_only=True, long=True)
def demo(args: Demo, job: Job) -> Shown:
    """Show all of it on real images that pip brings."""
    import tempfile

    from vesalius.library import Library
    from vesalius.models import load
    from vesalius.sources.bundled import bundled
    from vesalius.verbs.demo.page import page

    started = time.perf_counter()
    found = bundled()
    cases = list(found.cases)
    for name, why in found.missing:
        job.note(f"passed over {name}: {why}")
    if len(cases) < 20:
        raise MissingError(
            "too few images for a demo", item=f"{len(cases)} found", fix="run `pip install 'vesalius[demo]'`"
        )
    model = load("nano", device=job.device, can="embed")
    # The demo's library is thrown away: its images stay in their packages.
    with (
        tempfile.TemporaryDirectory(prefix="vesalius-demo-") as scratch,
        Library.open(Path(scratch) / "library", model) as library,
    ):
        job.note(f"indexing {len(cases)} cases")
        report = library.add(cases, job)
        searches = {text: library.search(text, 6) for text in SEARCHES}
        zero = {
            "modality": _zero_shot(cases, library, "modality", MODALITIES),
            "anatomy": _zero_shot(cases, library, "anatomy", ANATOMY),
        }
        head = _fit(cases, library, job.seed)
        text = page(cases, library, searches, zero, head, report.to_dict(), found.missing)
    folder = args.out or Path("demo-output")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "demo.html"
    path.write_text(text, "utf-8")
    return Shown(
        page=str(path),
        cases=report.added,
        patients=len({c.group for c in cases}),
        images=report.images,
        indexed_seconds=report.seconds,
        searches={
            asked: tuple({"file": Path(h.path).name or h.id, "id": h.id, "score": h.score} for h in hits)
            for asked, hits in searches.items()
        },
        zero_shot=zero,
        head=head.evaluation.to_dict(),
        auroc=str(head.evaluation["auroc"]),
        operating_point=head.points["sensitivity=0.9"].to_dict(),
        seconds=time.perf_counter() - started,
    )


def _zero_shot(cases: Sequence[Case], library: Library, label: str, words: Mapping[str, str]) -> dict[str, Any]:
    from vesalius.metrics.statistics.intervals import wilson
    from vesalius.models.fitting import mean_by_case
    from vesalius.models.zeroshot import zero_shot
    from vesalius.verbs.demo.page import named

    known = [c for c in cases if c.id in library and c.label(label) in words]
    found = library.vectors([c.id for c in known])
    vectors = mean_by_case(found.ids, found.vectors, [c.id for c in known])
    codes = list(words)
    shot = zero_shot(library.model, [words[c] for c in codes])
    said = [codes[i] for i in shot.predict_vectors(vectors).argmax(1)]
    wrong = [(named(c), str(c.label(label)), s) for c, s in zip(known, said, strict=True) if c.label(label) != s]
    right, n = len(known) - len(wrong), len(known)
    interval = wilson(right, n)
    return {
        "right": right,
        "n": n,
        "accuracy": right / n,
        "low": interval.low,
        "high": interval.high,
        "classes": len(codes),
        "wrong": wrong,
    }


def _fit(cases: Sequence[Case], library: Library, seed: int) -> Any:
    from vesalius.models.fitting import fit_vectors, mean_by_case

    known = [c for c in cases if c.id in library]
    found = library.vectors([c.id for c in known])
    head = fit_vectors(
        mean_by_case(found.ids, found.vectors, [c.id for c in known]),
        ["ultrasound" if c.label("modality") == "US" else "other" for c in known],
        ids=[c.id for c in known],
        groups=[c.group for c in known],
        target="ultrasound",
        model=library.model.name,
        fingerprint=library.model.fingerprint,
        seed=seed,
    )
    return head.with_point("sensitivity=0.9", head.operating_point(sensitivity=0.9, positive="ultrasound"))
