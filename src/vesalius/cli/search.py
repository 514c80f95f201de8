"""`vesalius search LIBRARY (--text WORDS | --image FILE | --case ID)`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from vesalius.cli.common import Run, add_flags
from vesalius.errors import MissingError, UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.add_argument("library", type=Path, help="folder of a library")
    parser.add_argument("--text", help="what to look for, in words")
    parser.add_argument("--image", type=Path, help="a picture, volume or DICOM file to find the like of")
    parser.add_argument("--case", help="id of a case in the library to find the like of")
    parser.add_argument("-k", type=int, default=5, help="how many cases (default: 5)")
    parser.add_argument("--where", help='filter: "modality = CT and age >= 60 and label.effusion = 1"')
    parser.add_argument(
        "--mode",
        choices=("vector", "text", "hybrid"),
        default="vector",
        help="meaning, words, or both (default: vector)",
    )
    parser.add_argument("--same-patient", action="store_true", help="also show other images of the query's patient")
    parser.add_argument(
        "--method", choices=("auto", "exact", "ivf"), default="auto", help="default: exact up to 100,000"
    )
    parser.add_argument("--plot", action="store_true", help="write hits.png, a contact sheet, into --out")
    add_flags(parser, "--device")


def run(options: argparse.Namespace, run: Run) -> None:
    """Search and show."""
    asked = [name for name in ("text", "image", "case") if getattr(options, name) is not None]
    if len(asked) != 1:
        raise UsageError("what to search for?", why=f"{len(asked)} given", fix="give one of --text, --image, --case")
    if options.plot and options.out is None:
        raise UsageError("--plot needs a folder", fix="give --out DIR")
    from vesalius.library import Library
    from vesalius.models import load

    if options.image is not None and not options.image.exists():
        raise MissingError("no such file or folder", item=str(options.image))
    with Library.open(options.library, create=False, readonly=True) as library:
        model = None
        if options.mode != "text" and options.case is None:
            model = load(library.store.identity.model, device=options.device)
    with Library.open(options.library, model, create=False, readonly=True) as library:
        query: Any = options.text or options.image or library.get(options.case)
        hits = library.search(
            query,
            options.k,
            where=options.where,
            mode=options.mode,
            method=options.method,
            include_same_patient=options.same_patient,
        )
        run.result = hits.to_dict()
        for warning in hits.plan.warnings:
            run.note(f"note: {warning}")
        if not hits:
            run.say("nothing found")
        for hit in hits:
            facts = [hit.modality, *(f"{k}={v}" for k, v in hit.labels.items() if v not in (0, None))]
            facts += [f"{k}={v}" for k, v in hit.attributes.items() if k in ("age", "sex")]
            run.say(f"{hit.rank:>2}  {hit.score:.4f}  {hit.id}  {' '.join(str(f) for f in facts[:8])}")
            for reason in hit.why:
                run.say(f"      {reason}")
            if hit.path:
                run.say(f"      {hit.path}")
        if options.plot and run.out is not None and hits:
            import io

            import numpy as np
            from PIL import Image as Pillow

            from vesalius.render.charts import contact_sheet

            pictures, captions = [], []
            for hit in hits:
                data = library.thumbnail(hit.id, hit.image)
                if data is not None:
                    pictures.append(np.asarray(Pillow.open(io.BytesIO(data))))
                    captions.append(f"{hit.rank}. {hit.score:.3f}\n{hit.id[-28:]}")
            contact_sheet(pictures, captions, columns=min(6, len(pictures) or 1)).savefig(run.out / "hits.png")
            run.say(f"contact sheet: {run.out / 'hits.png'}")
