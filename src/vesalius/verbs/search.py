"""`search`: cases like words, a picture or another case."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vesalius.errors import MissingError, UsageError
from vesalius.job import Job
from vesalius.verbs.frame import Args, arg, verb
from vesalius.verbs.frame.arguments import Picture

if TYPE_CHECKING:
    from vesalius.library import Library
    from vesalius.library.results import Hits


@dataclass(frozen=True)
class Search(Args):
    """What to look for, where, and how."""

    library: Picture = arg("folder of a library", positional=True)
    text: str | None = arg("what to look for, in words", None, metavar="WORDS")
    image: Picture | None = arg("a picture, volume or DICOM file to find the like of", None, metavar="FILE")
    case: str | None = arg("id of a case in the library to find the like of", None, metavar="ID")
    k: int = arg("how many cases", 5, metavar="N", low=1)
    where: str | None = arg('filter: "modality = CT and age >= 60 and label.effusion = 1"', None, metavar="FILTER")
    mode: Literal["vector", "text", "hybrid"] = arg("meaning, words, or both", "vector")
    same_patient: bool = arg("also show other images of the query's patient", False)
    method: Literal["auto", "exact", "ivf"] = arg("exact up to 100,000 images by default, or as said", "auto")
    plot: bool = arg("write hits.png, a contact sheet, into --out", False)


@verb("search", "ask", uses=("device",), reads_only=True, returns="vesalius.library.results:Hits")
def search(args: Search, job: Job) -> Hits:
    """Find cases by words, by image, by filter."""
    asked = [name for name in ("text", "image", "case") if getattr(args, name) is not None]
    if len(asked) != 1:
        raise UsageError("what to search for?", why=f"{len(asked)} given", fix="give one of --text, --image, --case")
    for name in ("text", "case"):
        if getattr(args, name) is not None and not getattr(args, name).strip():
            raise UsageError("the query is empty", item=f'--{name} ""', fix="give some words, an image or a case")
    if args.plot and args.out is None:
        raise UsageError("--plot needs a folder", fix="give --out DIR")
    if isinstance(args.image, Path) and not args.image.exists():
        raise MissingError("no such file or folder", item=str(args.image))
    from vesalius.library import Library
    from vesalius.models import load

    if isinstance(args.library, Library):
        return _search(args, job, args.library)
    with Library.open(args.library, create=False, readonly=True) as library:
        model = None
        if args.mode != "text" and args.case is None:
            model = load(library.store.identity.model, device=job.device)
    with Library.open(args.library, model, create=False, readonly=True) as library:
        return _search(args, job, library)


def _search(args: Search, job: Job, library: Library) -> Hits:
    query: Any = args.text
    if query is None:
        query = args.image if args.case is None else library.get(args.case)
    hits = library.search(
        query,
        args.k,
        where=args.where,
        mode=args.mode,
        method=args.method,
        include_same_patient=args.same_patient,
    )
    for warning in hits.plan.warnings:
        job.note(f"note: {warning}")
    if args.plot and args.out is not None and hits:
        _sheet(library, hits, args.out / "hits.png")
        job.note(f"contact sheet: {args.out / 'hits.png'}")
    return hits


def _sheet(library: Library, hits: Hits, file: Path) -> None:
    import io

    import numpy as np
    from PIL import Image as Pillow

    from vesalius.render.charts import contact_sheet

    pictures, captions = [], []
    for hit in hits:
        data = library.thumbnail(hit.id, hit.image)
        if data is not None:
            pictures.append(np.asarray(Pillow.open(io.BytesIO(data))))
            captions.append(f"{hit.rank}. {hit.score:.3f}\n{Path(hit.path).name[-28:] or hit.id[-28:]}")
    contact_sheet(pictures, captions, columns=min(6, len(pictures) or 1)).savefig(file)
