"""Label tables as people write them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from vesalius.sources.layouts.detect import detect
from vesalius.sources.layouts.registry import import_folder

ROWS = [["File", "label", "age", "note"],
        ["im\\0.png", "ja", "40,5", "zwei\nZeilen"], ["im\\1.png", "größer", "50", ""],
        ["im/2.png", "ja", "", "x"]]  # fmt: skip


def written(separator: str, end: str = "\r\n", trailing: bool = False, blank: bool = False) -> str:
    def cell(text: str) -> str:
        return f'"{text}"' if separator in text or "\n" in text or "," in text else text

    lines = [separator.join(map(cell, row)) + separator * trailing for row in ROWS]
    return end.join([lines[0], *[""] * blank, *lines[1:], *[separator * 3] * blank]) + end


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
@pytest.mark.parametrize("odd", [{}, {"trailing": True}, {"blank": True}, {"end": "\n"}], ids=str)
def test_a_table_is_read_with_its_labels(tmp_path, separator, encoding, odd):
    (tmp_path / "im").mkdir()
    for k in range(3):
        Image.fromarray(np.full((8, 8), 40 * k, np.uint8)).save(tmp_path / f"im/{k}.png")
    (tmp_path / "labels.csv").write_bytes(written(separator, **odd).encode(encoding))
    best = detect(tmp_path)[0]
    assert (best.name, best.confidence >= 0.9) == ("csv-images", True)
    found = import_folder(tmp_path, "csv-images")
    cases = list(found)
    assert found.refused == []
    assert [c.labels["class"].value for c in cases] == ["ja", "größer", "ja"]
    assert [c.attributes.get("age") for c in cases] == [40.5, 50, None]
    assert "Zeilen" in str(cases[0].attributes["note"])
