"""The demo's page: pictures, answers with the files they belong to, and numbers; no script, no outside address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vesalius.errors import VesaliusError

if TYPE_CHECKING:
    from vesalius.cases import Case
    from vesalius.library import Library
    from vesalius.library.results import Hits

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


def page(
    cases: Sequence[Case],
    library: Library,
    searches: Mapping[str, Hits],
    zero: Mapping[str, Mapping[str, Any]],
    head: Any,
    report: Mapping[str, Any],
    missing: Sequence[tuple[str, str]],
) -> str:
    """One self-contained page: no script, no outside address."""
    import base64
    import html
    import io

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
        out.append(_figure(library, case.id, f"{e(named(case))}<br>{e(truth)}"))
    out.append("</div><h2>2. Search by words</h2>")
    for text, hits in searches.items():
        out.append(f"<div class='query'>“{e(text)}”</div><div class='hits'>")
        for hit in hits:
            truth = f"{hit.labels.get('modality')} {hit.labels.get('anatomy') or ''}"
            file = e(Path(hit.path).name or hit.id)
            caption = f"{hit.rank}. {file}<br>similarity {hit.score:.2f}<br>{e(truth)}"
            out.append(_figure(library, hit.id, caption, hit.image))
        out.append("</div>")
    out.append(
        "<h2>3. Classification with no labels</h2><table><tr><th>question</th><th>right</th><th>95 % interval</th>"
    )
    out.append("<th>chance</th><th>mistakes (file: truth → answer)</th></tr>")
    for name, z in zero.items():
        mistakes = ", ".join(f"{e(f)}: {e(t)} → {e(s)}" for f, t, s in z["wrong"][:12]) or "none"
        more = f" and {len(z['wrong']) - 12} more" if len(z["wrong"]) > 12 else ""
        out.append(
            f"<tr><td>{e(name)}, {z['classes']} choices</td><td>{z['right']} of {z['n']} ({z['accuracy']:.0%})</td>"
            f"<td>{z['low']:.0%} to {z['high']:.0%}</td><td>{1 / z['classes']:.0%}</td><td>{mistakes}{more}</td></tr>"
        )
    out.append(
        f"</table><p><small>{sum(c.source.dataset == 'nilearn' for c in cases)} of the images are slices of one brain "
        "atlas, so these figures are about files, not about patients. nano was trained on other pictures of most of "
        "these kinds and on none of these; it knows nuclear medicine from no picture at all.</small></p>"
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


def named(case: Case) -> str:
    """The file that a case comes from, without its folder; its id where it was cut from a larger picture."""
    return Path(case.file).name or case.id


def _figure(library: Library, case_id: str, caption: str, image: int = 0) -> str:
    import base64
    import html

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
    import io

    import numpy as np
    from PIL import Image as Pillow

    buffer = io.BytesIO()
    Pillow.fromarray(np.zeros((8, 8), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()
