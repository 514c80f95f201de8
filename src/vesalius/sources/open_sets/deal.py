"""How the development sets were divided: `python -m vesalius.sources.open_sets.deal FOLDER` writes both tables again.

The tables in `data/` are what counts. They are not to be made anew lightly: a model trained on the old ones has then
seen cases of the new test part.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path

from vesalius.cases import Case, split
from vesalius.sources.layouts import tabular
from vesalius.sources.open_sets import near_copies
from vesalius.sources.open_sets.readers import BY_NAME, read_layout
from vesalius.sources.open_sets.splits import PARTS, SHARES, Part

#: Sets that leak however they are split are trained on and nothing else: turned and flipped copies of few originals.
WHOLE_SETS: dict[str, Part] = {"lc25000-lung": "nano"}
#: Sources of `cross-sections` without case numbers, and those of one person, stay whole. Those whose words nano can
#: know from nowhere else are trained on; a knee in MR and a kidney in ultrasound are tested: each word is known from
#: other pictures, the two together are new.
WHOLE_SOURCES: dict[str, Part] = {
    "liverus": "nano",
    "mammo": "nano",
    "msflair": "nano",
    "mst1": "nano",
    "aorta": "validation",
    "carotid": "validation",
    "stroke": "system",
    "knee": "test",
    "kstoneus": "test",
}


def deal(cases: Sequence[Case]) -> dict[str, Part]:
    """Case id to part for all cases of one set: whole patients, each class spread as evenly as they allow.

    What the first nano never saw goes to `test` first and then to `system`, and to no other part, so that figures of
    the first and of later models on `test` stand on cases that none of them was trained on.
    """
    out: dict[str, Part] = {}
    free = []
    for case in cases:
        whole = WHOLE_SETS.get(case.source.dataset) or WHOLE_SOURCES.get(str(case.attributes.get("source", "")))
        if whole:
            out[case.id] = whole
        else:
            free.append(case)
    held = {c.group for c in free if c.id in first_held_out()}
    never = [c for c in free if c.group in held]
    share = len(never) / len(free) if free else 0.0
    tested = min(SHARES["test"], share)
    if never:
        out |= _dealt(never, {"test": tested, "system": share - tested})
    rest: dict[Part, float] = {
        "nano": SHARES["nano"],
        "validation": SHARES["validation"],
        "system": max(SHARES["system"] - (share - tested), 0.0),
        "test": SHARES["test"] - tested,
    }
    return out | _dealt([c for c in free if c.group not in held], rest)


def stratum(case: Case) -> str:
    """What is spread evenly over the parts: the class, or what the set is about."""
    match case.source.dataset:
        case "cross-sections":
            return str(case.attributes["source"])
        case "spine-xray":
            return f"{case.label('class')} {case.attributes.get('series')}"
        case "ct-ich":
            there = sorted(n for n, label in case.labels.items() if label.value == 1)
            return f"{case.images[0].meta.get('window_name')} {'+'.join(there)}"
        case "nih-cxr14":
            there = sorted(n for n, label in case.labels.items() if label.value == 1)
            return next((n for n in ("Pneumonia", "No Finding") if n in there), there[0] if there else "")
        case "isic2017":
            return str(case.label("melanoma"))
        case "covid-cc-by":
            return str(case.label("COVID-19"))
        case "chula-rbc12":
            return str(case.attributes["complete"])
        case "pubmedqa":
            return case.questions[0].answer
        case _:
            return str(case.label("class"))


@functools.cache
def first_held_out() -> frozenset[str]:
    """Ids of the cases that the first nano was never trained on; figures reported for it stand on them."""
    text = resources.files(__package__).joinpath("data", "nano1_held_out.json").read_text("utf-8")
    return frozenset(json.loads(text))


def _dealt(cases: Iterable[Case], shares: dict[Part, float]) -> dict[str, Part]:
    parts = split(cases, {str(p): share for p, share in shares.items()}, stratify=stratum).parts
    return {i: p for p in PARTS for i in parts.get(p, ())}


def main(folder: Path, out: Path) -> None:
    """Look for near-copies, deal every set and write both tables.

    Args:
        folder: The sets, one folder each.
        out: Where `near_copies.json` and `parts.json` go.
    """
    # As their own tables group them: what `read_layout` gives holds the near-copies found before.
    near = {name: list(tabular.read(BY_NAME[name], folder / name, [])) for name in near_copies.SETS}
    text = json.dumps(near_copies.table(near), separators=(",", ":"))
    (out / "near_copies.json").write_text(text + "\n", "utf-8")
    near_copies.stored.cache_clear()
    table: dict[str, dict[Part, list[str]]] = {}
    for name in BY_NAME:
        parts = deal(list(read_layout(name, folder / name)))
        table[name] = {p: [i.partition("/")[2] for i, own in parts.items() if own == p] for p in PARTS}
    (out / "parts.json").write_text(json.dumps(table, separators=(",", ":")) + "\n", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(__file__).parent / "data")
