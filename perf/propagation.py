"""What following a mask through a volume is worth: `python -m perf.propagation DATA`, on hippocampi nano never saw."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from vesalius.cases.geometry import Mask
from vesalius.metrics.segmentation.masks import dice
from vesalius.metrics.statistics.bootstrap import bootstrap_mean
from vesalius.models import load
from vesalius.models.propagate import propagate
from vesalius.models.protocols import Prompt
from vesalius.models.store import SHIPPED
from vesalius.sources.open_sets.readers import read_layout


def main(data: Path) -> None:
    """Prompt the largest slice with its true box and name, walk both ways, and compare in 3-d."""
    model = load("nano", can="segment")
    held = set(json.loads((SHIPPED / "nano" / "held_out.json").read_text("utf-8")))
    found: dict[str, list[tuple[float, str]]] = {}
    for case in read_layout("hippocampus", data / "hippocampus"):
        for region in case.regions if case.id in held else ():
            assert isinstance(region.geometry, Mask)
            truth = region.geometry.to_array()
            start = int(truth.sum((1, 2)).argmax())
            encoded = [model.encode(case.images[0], i) for i in range(len(truth))]
            prompt = Prompt(box=Mask.from_array(truth[start]).box(), text=region.label)
            first = model.segment(encoded[start], prompt)
            walked = propagate(model, encoded.__getitem__, len(truth), start, first, text=region.label)
            found.setdefault(region.label, []).append((dice(walked.mask, truth), case.group))
    for label, rows in found.items():
        drawn = bootstrap_mean(np.asarray([v for v, _ in rows]), groups=[g for _, g in rows], seed=0)
        low, high = drawn.interval.low, drawn.interval.high
        print(f"{label}: 3-d Dice {drawn.estimate:.2f} [{low:.2f}, {high:.2f}], n = {len(rows)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
