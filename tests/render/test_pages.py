"""Pages quote all text but plots, and a name that nothing gives is a fault."""

import pytest
from jinja2 import UndefinedError

from vesalius.metrics.measure import Measure
from vesalius.render.pages import Beside, Fold, Plot, Row, Section, Table, Text, page
from vesalius.render.svg import ForestRow, forest

BAD = "<script>alert('1')</script>"


class Report:
    target = model = data = verdict = fingerprint = BAD
    n, positives, patients, alpha, seed, seconds, tested = 1000, 1, 1, 0.05, 0, 1.0, ("leakage",)


def whole(parts: list) -> str:
    sections = [Section(BAD, BAD, parts)]
    return page("audit", BAD, sections, report=Report, bad=True, cards=[(BAD, Measure(0.5))], left_out=BAD)


def test_every_text_is_quoted() -> None:
    table = Table((BAD,), [Row([BAD], True), Row([BAD])], (0,))
    plot = Plot(forest([ForestRow(BAD, Measure(0.5, 0.4, 0.6), BAD, True)], axis=BAD, label=BAD))
    text = whole([table, Text(BAD), Fold(BAD, Beside([plot, Text(BAD)]))])
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 17
    assert text.count("<svg") == text.count("</svg>") == 1  # the plot itself is markup
    assert '<tr class="alarm-row"><td class="n">' in text
    assert "1,000 cases" in text


def test_a_missing_value_is_a_fault() -> None:
    with pytest.raises(UndefinedError):
        page("audit", "title")
