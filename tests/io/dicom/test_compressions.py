"""One table says what decodes a compression: the choice, the message, the doctor and the reference follow it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from vesalius.errors import BadInputError
from vesalius.io.dicom.compressions import COMPRESSIONS, compression_of, plugin_for

#: What is imported for each plug-in.
MODULES = {"pillow": "PIL", "gdcm": "gdcm", "pyjpegls": "jpeg_ls", "pylibjpeg": "pylibjpeg"}
#: In a process of its own: hide a package, then ask for the decoder of every compression.
HIDE = """
import json, sys
sys.modules[sys.argv[1]] = None
from vesalius.errors import MissingError
from vesalius.io.dicom.compressions import COMPRESSIONS, plugin_for
said = {}
for uid in COMPRESSIONS:
    try:
        said[uid] = plugin_for(uid, 8, "scan.dcm")
    except MissingError as error:
        said[uid] = str(error)
print(json.dumps(said))
"""


@pytest.mark.parametrize("plugin", MODULES)
def test_every_compression_says_what_to_install_when_its_package_is_hidden(plugin):
    done = subprocess.run([sys.executable, "-c", HIDE, MODULES[plugin]], capture_output=True, text=True, check=True)
    said = json.loads(done.stdout)
    hidden = {uid for uid, c in COMPRESSIONS.items() if c.plugin == plugin}
    assert hidden
    for uid, row in COMPRESSIONS.items():
        if uid not in hidden:
            assert said[uid] == row.plugin
            continue
        assert f"no decoder for {row.name} [scan.dcm]: {plugin} is not installed" in said[uid]
        assert f"ip install {' '.join(repr(r) for r in row.requires)}" in said[uid]


def test_what_it_says_to_install_is_what_the_package_depends_on():
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    asked = {r for c in COMPRESSIONS.values() for r in c.requires}
    assert asked <= set(project["dependencies"])


def test_every_compression_works_here():
    assert {c.name: c.missing() for c in COMPRESSIONS.values()} == {c.name: "" for c in COMPRESSIONS.values()}


def test_every_syntax_that_pydicom_decodes_is_in_the_table():
    from pydicom.pixels.decoders.base import _PIXEL_DATA_DECODERS

    compressed = {str(u) for u in _PIXEL_DATA_DECODERS if u.is_compressed and not u.is_deflated}
    assert compressed == set(COMPRESSIONS)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.102", "1.2.3.4"])
def test_others_are_named_with_a_way_out(syntax):
    with pytest.raises(BadInputError, match=rf"{re.escape(syntax)}.*Convert"):
        compression_of(syntax, "a.dcm")


def test_twelve_bits_of_jpeg_are_refused():
    with pytest.raises(BadInputError, match="12-bit JPEG extended, 8-bit is read"):
        plugin_for("1.2.840.10008.1.2.4.51", 12, "a.dcm")


def test_the_doctor_shows_the_table():
    from vesalius.verbs.doctor import _decoders

    assert _decoders() == dict.fromkeys((c.name for c in COMPRESSIONS.values()), "yes")
