"""Keep what was measured beside the processor and kernels it was measured with, and show it in the documentation."""

from __future__ import annotations

import csv
import datetime
import os
import platform
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["FILE", "keep", "kernels", "machine", "show", "table"]

FILE = Path(__file__).parent / "results.csv"
PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "measure-speed.md"
COLUMNS = (
    "date", "processor", "cores", "kernels", "threads", "load", "topic", "name", "ours", "peer", "ratio", "goal",
    "unit", "n", "repeats", "peer_name",
)  # fmt: skip
#: What makes a measurement the successor of an older one.
KEY = ("processor", "kernels", "topic", "name")
_START, _END = "<!-- measured: written by `python -m perf show` -->", "<!-- end of measured -->"


def kernels() -> tuple[str, int]:
    """The kernels that numpy and torch use in this process, and numpy's threads."""
    import numpy as np
    import torch
    from threadpoolctl import threadpool_info

    np.ones((2, 2)) @ np.ones((2, 2))
    blas = [e for e in threadpool_info() if e["user_api"] == "blas"]
    name = blas[0].get("architecture", blas[0]["internal_api"]) if blas else "?"
    mkl = os.environ.get("MKL_ENABLE_INSTRUCTIONS", "auto")
    capability = torch.backends.cpu.get_cpu_capability()
    return f"BLAS {name}, torch {capability}, MKL {mkl}", blas[0]["num_threads"] if blas else 1


def machine() -> dict[str, Any]:
    """What the figures are measured on."""
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        facts = dict(re.findall(r"^(model name|cpu family|model)\s*: (.*)$", cpuinfo.read_text(), re.M))
        # Some hosts hide the name; family and model still tell the generation.
        model = f"{facts.get('model name', model)} (family {facts.get('cpu family')}, model {facts.get('model')})"
    used, threads = kernels()
    return {
        "date": datetime.date.today().isoformat(),
        "processor": model,
        "cores": os.cpu_count(),
        "kernels": used,
        "threads": threads,
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else "",
        "python": platform.python_version(),
        "system": platform.platform(terse=True),
    }


def keep(rows: Iterable[Mapping[str, Any]], where: Mapping[str, Any], file: Path = FILE) -> None:
    """Write rows into the table; each takes the place of the one measured before with this processor and kernels."""
    held: dict[tuple[str, ...], dict[str, str]] = {}
    if file.is_file():
        with file.open(newline="", encoding="utf-8") as stream:
            for old in csv.DictReader(stream):
                held[tuple(old[k] for k in KEY)] = old
    for row in rows:
        new = {c: _text({**where, **row}.get(c)) for c in COLUMNS}
        held[tuple(new[k] for k in KEY)] = new
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(held[key] for key in sorted(held))


def _text(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def table(file: Path = FILE) -> str:
    """The stored figures as one Markdown table for each processor and set of kernels."""
    with file.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    parts = []
    for place in sorted({(r["processor"], r["cores"], r["kernels"]) for r in rows}):
        mine = [r for r in rows if (r["processor"], r["cores"], r["kernels"]) == place]
        loads = sorted(float(r["load"]) for r in mine if r["load"])
        busy = f"load {loads[0]:g} to {loads[-1]:g}" if loads else "load unknown"
        parts.append(f"{place[0]}, {place[1]} cores, {place[2]}; {busy}:\n")
        parts.append("| what | beside | ours | peer | ratio | goal | n | repeats |\n|---|---|--:|--:|--:|--:|--:|--:|")
        for r in mine:
            parts.append("| " + " | ".join(r[c] for c in (
                "name", "peer_name", "ours", "peer", "ratio", "goal", "n", "repeats")) + " |")  # fmt: skip
        parts.append("")
    return "\n".join(parts)


def show(page: Path = PAGE, file: Path = FILE) -> None:
    """Write the stored figures into the page."""
    before, _, rest = page.read_text("utf-8").partition(_START)
    _, _, after = rest.partition(_END)
    page.write_text(f"{before}{_START}\n\n{table(file)}\n{_END}{after}", "utf-8")
