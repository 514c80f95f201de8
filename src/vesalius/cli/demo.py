"""`vesalius demo`: the main job on real images that pip brings, ending in one page with pictures and numbers."""

from __future__ import annotations

import argparse
import base64
import html
import io
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vesalius.cli.common import Run, add_flags
from vesalius.errors import MissingError, VesaliusError

if TYPE_CHECKING:
    from vesalius.cases import Case
    from vesalius.library import Library
    from vesalius.library.results import Hits

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


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    add_flags(parser, "--device", "--workers", "--batch-size", "--seed")


def run(options: argparse.Namespace, run: Run) -> None:
    """Gather, index, search, classify, fit, write the page."""
    from vesalius.library import Library
    from vesalius.models import load
    from vesalius.sources.bundled import bundled

    started = time.perf_counter()
    found = bundled()
    cases = list(found.cases)
    for name, why in found.missing:
        run.note(f"passed over {name}: {why}")
    if len(cases) < 20:
        raise MissingError(
            "too few images for a demo", item=f"{len(cases)} found", fix="run `pip install 'vesalius[demo]'`"
        )
    model = load("nano", device=options.device)
    # The demo's library is thrown away: its images stay in their packages.
    with (
        tempfile.TemporaryDirectory(prefix="vesalius-demo-") as scratch,
        Library.open(Path(scratch) / "library", model) as library,
    ):
        run.note(f"indexing {len(cases)} cases")
        report = library.add(cases, batch_size=options.batch_size, workers=options.workers or 0, on_refused=run.refuse)
        patients = len({c.group for c in cases})
        run.say(f"indexed {report.added} cases ({report.images} images, {patients} patients), {report.seconds:.1f} s")
        searches = {text: library.search(text, 6) for text in SEARCHES}
        for text, hits in searches.items():
            run.say(f"search {text!r}: {', '.join(f'{h.id} {h.score:.2f}' for h in hits[:3])}")
        zero = {
            "modality": _zero_shot(cases, library, "modality", MODALITIES),
            "anatomy": _zero_shot(cases, library, "anatomy", ANATOMY),
        }
        for name, z in zero.items():
            run.say(
                f"zero-shot {name}: {z['right']} of {z['n']} right = {z['accuracy']:.3f} "
                f"[{z['low']:.3f}, {z['high']:.3f}], {z['classes']} classes (chance {1 / z['classes']:.3f})"
            )
        head = _fit(cases, library, options.seed)
        point = head.points["sensitivity=0.9"]
        run.say(
            f"few-shot head 'is it an ultrasound image?': {head.evaluation['auroc']}, {head.evaluation.n} cases of "
            f"{head.evaluation.patients} patients, held out by patient"
        )
        run.say(
            f"  operating point: score >= {point.threshold:.4f}, sensitivity {point.sensitivity:.3f}, "
            f"specificity {point.specificity:.3f}"
        )
        page = _page(cases, library, searches, zero, head, report.to_dict(), found.missing)
    target = run.out or Path("demo-output")
    target.mkdir(parents=True, exist_ok=True)
    path = target / "demo.html"
    path.write_text(page, "utf-8")
    seconds = time.perf_counter() - started
    run.result = {
        "page": str(path),
        "cases": len(cases),
        "zero_shot": {k: {n: v for n, v in z.items() if n != "wrong"} for k, z in zero.items()},
        "head": head.evaluation.to_dict(),
        "operating_point": point.to_dict(),
        "seconds": seconds,
    }
    run.say(f"page: {path} ({seconds:.0f} s)")


def _zero_shot(cases: Sequence[Case], library: Library, label: str, words: Mapping[str, str]) -> dict[str, Any]:
    from vesalius.metrics.statistics.intervals import wilson
    from vesalius.models.fitting import mean_by_case
    from vesalius.models.zeroshot import zero_shot

    known = [c for c in cases if c.id in library and c.label(label) in words]
    found = library.vectors([c.id for c in known])
    vectors = mean_by_case(found.ids, found.vectors, [c.id for c in known])
    codes = list(words)
    shot = zero_shot(library.model, [words[c] for c in codes])
    said = [codes[i] for i in shot.predict_vectors(vectors).argmax(1)]
    wrong = [(c.id, str(c.label(label)), s) for c, s in zip(known, said, strict=True) if c.label(label) != s]
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


_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:0 auto;max-width:1100px;padding:24px;color:#1b2330;background:#fff}
h1{font-size:26px;margin:0 0 4px}h2{font-size:19px;margin:34px 0 8px;border-bottom:1px solid #d5dbe3;padding-bottom:4px}
.hits,.all{display:flex;flex-wrap:wrap;gap:10px}figure{margin:0;width:150px}.all figure{width:92px}
figure img{width:100%;aspect-ratio:1;object-fit:contain;background:#000;border-radius:4px;display:block}
figcaption{font-size:12px;color:#46505e;overflow-wrap:anywhere}table{border-collapse:collapse}
td,th{padding:4px 14px 4px 0;text-align:left;vertical-align:top;border-bottom:1px solid #e8ecf1}
.note{background:#fff6e5;border-left:4px solid #d98a00;padding:8px 12px}.query{font-weight:600;margin:14px 0 6px}
.plots img{max-width:420px;width:48%}small{color:#5a6472}
@media (prefers-color-scheme:dark){body{background:#12161c;color:#dfe5ec}figcaption,small{color:#a5b0be}
.note{background:#2c2412}h2,td,th{border-color:#2b333d}.plots img{background:#fff}}
"""


def _page(
    cases: Sequence[Case],
    library: Library,
    searches: Mapping[str, Hits],
    zero: Mapping[str, Mapping[str, Any]],
    head: Any,
    report: Mapping[str, Any],
    missing: Sequence[tuple[str, str]],
) -> str:
    """One self-contained page: no script, no outside address."""
    from vesalius.render.charts import plot_calibration, plot_roc

    e = html.escape
    out = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>vesalius demo</title>',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<style>{_STYLE}</style></head><body><h1>vesalius: what it does, on real images</h1>",
        "<p class='note'>Research software, not a medical device. The images are test files that Python packages "
        f"bring; the model is <b>{e(library.model.name)}</b> ({e(library.model.fingerprint[:12])}), run offline.</p>",
        "<h2>1. A searchable library</h2>",
        f"<p>{report['added']} cases with {report['images']} images from {len({c.group for c in cases})} patients "
        f"were read, embedded and stored in {report['seconds']:.1f} seconds. Each picture below is one case; captions "
        "give the modality and anatomy that are known to be true.</p><div class='all'>",
    ]
    for case in cases:
        truth = f"{case.label('modality')} {case.label('anatomy') or ''}"
        out.append(_figure(library, case.id, f"{e(truth)}"))
    out.append("</div><h2>2. Search by words</h2>")
    for text, hits in searches.items():
        out.append(f"<div class='query'>“{e(text)}”</div><div class='hits'>")
        for hit in hits:
            truth = f"{hit.labels.get('modality')} {hit.labels.get('anatomy') or ''}"
            out.append(_figure(library, hit.id, f"{hit.rank}. similarity {hit.score:.2f}<br>{e(truth)}", hit.image))
        out.append("</div>")
    out.append(
        "<h2>3. Classification with no labels</h2><table><tr><th>question</th><th>right</th><th>95 % interval</th>"
    )
    out.append("<th>chance</th><th>mistakes (truth → answer)</th></tr>")
    for name, z in zero.items():
        mistakes = ", ".join(f"{e(t)} → {e(s)}" for _, t, s in z["wrong"][:12]) or "none"
        more = f" and {len(z['wrong']) - 12} more" if len(z["wrong"]) > 12 else ""
        out.append(
            f"<tr><td>{e(name)}, {z['classes']} choices</td><td>{z['right']} of {z['n']} ({z['accuracy']:.0%})</td>"
            f"<td>{z['low']:.0%} to {z['high']:.0%}</td><td>{1 / z['classes']:.0%}</td><td>{mistakes}{more}</td></tr>"
        )
    out.append(
        f"</table><p><small>{sum(c.source.dataset == 'nilearn' for c in cases)} of the images are slices of one brain "
        "atlas, so these figures are about files, not about patients. nano was trained on chest films, skin, breast "
        "ultrasound, blood, tissue, fundus and small MR volumes; it never saw CT or nuclear medicine, and its mistakes "
        "show that.</small></p>"
    )
    point = head.points["sensitivity=0.9"]
    auroc = head.evaluation["auroc"]
    out.append(
        "<h2>4. A head from a few labels, with an operating point</h2><p>Question: is it an ultrasound image? "
        f"{head.evaluation.n} labelled cases of {head.evaluation.patients} patients, every case scored by a head that "
        "saw none of its patient's images. Area under the ROC curve "
        f"<b>{auroc.value:.3f}</b> {e(auroc.limits())}. Asked for a sensitivity of at least 90 %, the "
        f"cut-off is <b>{point.threshold:.4f}</b>: sensitivity {point.sensitivity:.1%}, "
        f"specificity {point.specificity:.1%}.</p><div class='plots'>"
    )
    for figure in (plot_roc(head, "ultrasound"), plot_calibration(head, "ultrasound")):
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
        out.append(f"<img alt='plot' src='data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}'>")
    out.append("</div>")
    if missing:
        out.append("<h2>Not shown</h2><ul>" + "".join(f"<li>{e(n)}: {e(w)}</li>" for n, w in missing) + "</ul>")
    out.append("</body></html>\n")
    return "\n".join(out)


def _figure(library: Library, case_id: str, caption: str, image: int = 0) -> str:
    try:
        data = library.thumbnail(case_id, image) or b""
    except VesaliusError:
        data = b""
    picture = base64.b64encode(data or _blank()).decode()
    kind = "jpeg" if data else "png"
    alt = html.escape(case_id)
    return (
        f"<figure title='{alt}'><img alt='{alt}' src='data:image/{kind};base64,{picture}'>"
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _blank() -> bytes:
    from PIL import Image as Pillow

    buffer = io.BytesIO()
    Pillow.fromarray(np.zeros((8, 8), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()
