"""What a conversion wrote and what the target layout could not hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vesalius.cases import Box, Case, Mask, Point, Polygon


@dataclass
class Lost:
    """Facts that a writer had to leave out, counted, and cases that it refused."""

    facts: Counter[tuple[str, str]] = field(default_factory=Counter)
    refused: list[tuple[str, str]] = field(default_factory=list)
    #: (folder, file stem in small letters) of what was written.
    taken: set[tuple[Path, str]] = field(default_factory=set)

    def add(self, what: str, why: str, n: int = 1) -> None:
        """Count a fact that was left out."""
        self.facts[(what, why)] += n

    def refuse(self, item: str, why: str) -> None:
        """Name a case that was not written."""
        self.refused.append((item, why))

    def case(
        self,
        case: Case,
        *,
        holds: Iterable[str],
        geometry: Iterable[str] = (),
        label: str | None = None,
        images: int | None = None,
    ) -> None:
        """Count every fact of a case that the layout has no place for.

        Args:
            case: The case.
            holds: Fields the layout keeps: any of `id patient time regions report labels label questions attributes
                prior split licence view modality body_part phrase region_attributes annotator rationale`.
            geometry: Kinds of region kept: `point box polygon mask`.
            label: With `label` in `holds`, the only one kept.
            images: How many images a case may have.
        """
        kept, shapes = set(holds), set(geometry)
        why = "the layout has no place for it"
        facts: dict[str, Any] = {
            "patient": case.patient,
            "time": case.time is not None,
            "report": case.report is not None,
            "prior": case.prior,
            "split": case.source.split,
            "licence": case.source.licence,
        }
        for name, there in facts.items():
            if there and name not in kept:
                self.add(name, why)
        for image in case.images[:1]:
            for name in ("modality", "view", "body_part"):
                if getattr(image, name) and name not in kept:
                    self.add(name, why)
        if images is not None and len(case.images) > images:
            self.add("images", f"the layout has {images} image a case", len(case.images) - images)
        if "attributes" not in kept and case.attributes:
            self.add("attributes", why, len(case.attributes))
        if "questions" not in kept and case.questions:
            self.add("questions", why, len(case.questions))
        if "labels" not in kept:
            over = [n for n in case.labels if "label" not in kept or n != label]
            if over:
                self.add("labels", why, len(over))
        if "regions" not in kept and not shapes and case.regions:
            self.add("regions", why, len(case.regions))
            return
        for region in case.regions:
            if shapes and shape_of(region.geometry) not in shapes:
                self.add(f"{shape_of(region.geometry)} regions", why)
            for name in ("phrase", "annotator"):
                if getattr(region, name) and name not in kept:
                    self.add(f"region {name}", why)
            if region.attributes and "region_attributes" not in kept:
                self.add("region attributes", why, len(region.attributes))


@dataclass(frozen=True)
class ConvertReport:
    """What `convert` did.

    Args:
        layout: Target layout.
        out: Folder written.
        written: Cases written.
        lost: (what, why, how often) of every fact that was left out.
        refused: (case, why) of every case that was not written.
    """

    layout: str
    out: str
    written: int
    lost: tuple[tuple[str, str, int], ...] = ()
    refused: tuple[tuple[str, str], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "layout": self.layout,
            "out": self.out,
            "written": self.written,
            "lost": [{"what": what, "why": why, "n": n} for what, why, n in self.lost],
            "refused": [{"item": item, "why": why} for item, why in self.refused],
        }


def shape_of(geometry: Point | Box | Polygon | Mask) -> str:
    """`point`, `box`, `polygon` or `mask`."""
    return type(geometry).__name__.lower()
