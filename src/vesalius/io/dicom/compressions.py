"""Which package decodes which DICOM compression, and how to get it: the one table of it.

One plug-in of pydicom for each transfer syntax, all of them dependencies and none under the GPL: the values do not
depend on what else is installed.
"""

from __future__ import annotations

from dataclasses import dataclass

from vesalius.errors import BadInputError, MissingError

__all__ = ["COMPRESSIONS", "NATIVE", "Compression", "compression_of", "plugin_for"]

#: What to do with a compression that is not read.
CONVERT = "convert the file to another transfer syntax, with DCMTK's dcmdjpeg for example"
#: Transfer syntaxes that need no decoder: implicit, explicit, big endian, deflated, and none said.
NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99", "")


@dataclass(frozen=True, slots=True)
class Compression:
    """How the pixels of a transfer syntax are decoded.

    Args:
        uid: Transfer syntax.
        name: What people call it.
        plugin: pydicom's plug-in for it.
        requires: pip requirements of the plug-in beside pydicom.
        bits: Most bits stored in a sample, or 0 for no limit of the plug-in.
        end_marker: Its streams must come with their end marker: the decoder may fill what is missing in silence.
    """

    uid: str
    name: str
    plugin: str
    requires: tuple[str, ...] = ()
    bits: int = 0
    end_marker: bool = False

    @property
    def install(self) -> str:
        """The command that brings its decoder."""
        return "pip install " + " ".join(f"'{r}'" for r in self.requires or ("pydicom>=3.0.2",))

    def missing(self) -> str:
        """What to install, or "" where the decoder works here."""
        from pydicom.pixels import get_decoder
        from pydicom.uid import UID

        return "" if self.plugin in get_decoder(UID(self.uid)).available_plugins else self.install


_PILLOW = ("pillow", ("pillow>=10.3",))
_GDCM = ("gdcm", ("python-gdcm>=3.0.24",))
_LS = ("pyjpegls", ("pyjpegls>=1.4",))
_J2K = ("pylibjpeg", ("pylibjpeg>=2.0", "pylibjpeg-openjpeg>=2.3"))

#: Every compression that is read, by transfer syntax.
COMPRESSIONS: dict[str, Compression] = {
    c.uid: c
    for c in (
        Compression("1.2.840.10008.1.2.5", "RLE lossless", "pydicom"),
        Compression("1.2.840.10008.1.2.4.50", "JPEG baseline", *_PILLOW, bits=8),
        Compression("1.2.840.10008.1.2.4.51", "JPEG extended", *_PILLOW, bits=8),
        Compression("1.2.840.10008.1.2.4.57", "JPEG lossless", *_GDCM, end_marker=True),
        Compression("1.2.840.10008.1.2.4.70", "JPEG lossless (SV1)", *_GDCM, end_marker=True),
        Compression("1.2.840.10008.1.2.4.80", "JPEG-LS lossless", *_LS),
        Compression("1.2.840.10008.1.2.4.81", "JPEG-LS near-lossless", *_LS),
        Compression("1.2.840.10008.1.2.4.90", "JPEG 2000 lossless", *_J2K, end_marker=True),
        Compression("1.2.840.10008.1.2.4.91", "JPEG 2000", *_J2K, end_marker=True),
        Compression("1.2.840.10008.1.2.4.201", "HTJ2K lossless", *_J2K),
        Compression("1.2.840.10008.1.2.4.202", "HTJ2K lossless (RPCL)", *_J2K),
        Compression("1.2.840.10008.1.2.4.203", "HTJ2K", *_J2K),
    )
}


def compression_of(syntax: str, item: str) -> Compression:
    """The row of a transfer syntax.

    Raises:
        BadInputError: It is not read.
    """
    if syntax in COMPRESSIONS:
        return COMPRESSIONS[syntax]
    from pydicom.uid import UID

    name = UID(syntax).name
    why = syntax if name == syntax else f"{name} ({syntax})"
    raise BadInputError("DICOM compression is not read", item=item, why=why, fix=CONVERT)


def plugin_for(syntax: str, bits: int, item: str) -> str:
    """Name of pydicom's plug-in that decodes a compressed object here.

    Args:
        syntax: Its transfer syntax.
        bits: Bits stored in a sample.
        item: Name for messages.

    Raises:
        BadInputError: The compression is not read, or not with so many bits.
        MissingError: Its package is not installed, or does not work.
    """
    row = compression_of(syntax, item)
    if row.bits and bits > row.bits:
        why = f"it is {bits}-bit {row.name}, {row.bits}-bit is read"
        raise BadInputError("DICOM compression is not read", item=item, why=why, fix=CONVERT)
    if install := row.missing():
        what = "is not installed or does not work here"
        raise MissingError(f"no decoder for {row.name}", item=item, why=f"{row.plugin} {what}", fix=install)
    return row.plugin
