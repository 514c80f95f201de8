"""The one front of the speed measurements: `python -m perf [list | show | NAME ...] [--json FILE] [--store]`.

Every module of this folder that has `TOPICS` adds its topics. A row says ours, the peer, their ratio (above one: ours
is faster), the goal if one was set, how much work it was, and how often it was repeated.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from perf.store import keep, machine, show

Topic = Callable[[], list[dict[str, Any]]]


def topics() -> dict[str, Topic]:
    """Every topic by name."""
    found: dict[str, Topic] = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if path.stem.startswith("_") or "TOPICS" not in path.read_text("utf-8"):
            continue
        found.update(importlib.import_module(f"perf.{path.stem}").TOPICS)
    return found


def main() -> int:
    """Run the topics asked for, or all."""
    parser = argparse.ArgumentParser(prog="python -m perf", description=__doc__)
    parser.add_argument("names", nargs="*", help="topics (default: all), `list`, or `show`")
    parser.add_argument("--store", action="store_true", help="keep the rows in perf/results.csv and show them in docs/")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows to a file")
    options = parser.parse_args()
    known = topics()
    if options.names == ["list"]:
        print("\n".join(known))
        return 0
    if options.names == ["show"]:
        show()
        return 0
    unknown = [n for n in options.names if n not in known]
    if unknown:
        print(f"no such topic: {', '.join(unknown)}; see `python -m perf list`", file=sys.stderr)
        return 2
    where = machine()
    print(f"{where['processor']}, {where['cores']} cores, load {where['load']}, Python {where['python']}")
    print(f"{where['kernels']}, {where['threads']} threads")
    print(f"{'name':<58} {'ours':>10} {'peer':>10} {'ratio':>8} {'goal':>6} {'n':>9} {'reps':>5}  peer")
    rows: list[dict[str, Any]] = []
    failed = []
    for name in options.names or known:
        try:
            measured = known[name]()
        except ImportError as error:
            failed.append((name, f"a peer is not installed: {error}"))
            continue
        if options.store:
            keep([{"topic": name, **row} for row in measured], {**where, "load": machine()["load"]})
        for row in measured:
            rows.append({"topic": name, **row})
            print(_line(row), flush=True)
    for name, why in failed:
        print(f"left out: {name}: {why}", file=sys.stderr)
    if options.store:
        show()
    if options.json:
        text = json.dumps({"machine": where, "rows": rows, "left_out": failed}, indent=1)
        options.json.write_text(text + "\n", "utf-8")
    return 0


def _line(row: dict[str, Any]) -> str:
    def number(value: Any, form: str) -> str:
        return "-" if value is None else format(value, form)

    return (
        f"{row['name'][:58]:<58} {number(row['ours'], '10.4g')} {number(row.get('peer'), '10.4g'):>10} "
        f"{number(row.get('ratio'), '8.2f'):>8} {number(row.get('goal'), '6.3g'):>6} {row['n']:>9} {row['repeats']:>5}"
        f"  {row.get('peer_name', '')}"
    )


if __name__ == "__main__":
    sys.exit(main())
