"""The list of verbs, without importing them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Verb:
    """One verb.

    Args:
        name: What the user types.
        help: One line.
        module: Module with `configure(parser)` and `run(options, run)`.
    """

    name: str
    help: str
    module: str


VERBS: tuple[Verb, ...] = (
    Verb("data", "import, validate, describe, de-identify, split, convert and simulate data", "vesalius.cli.data"),
    Verb("index", "put images into a searchable library", "vesalius.cli.index"),
    Verb("classify", "classify images with no labels, or with a fitted head", "vesalius.cli.classify"),
    Verb("ground", "find where in an image a phrase points", "vesalius.cli.ground"),
    Verb("fit", "fit a few-shot head and choose its operating point", "vesalius.cli.fit"),
    Verb("segment", "segment what clicks, a box or a name point at", "vesalius.cli.segment"),
    Verb("audit", "find out whether a classifier can be trusted, and hold it to a gate", "vesalius.cli.audit"),
    Verb("systems", "list the published systems and what their checks found", "vesalius.cli.systems"),
    Verb("train", "train a model that ships or a published system", "vesalius.cli.train"),
    Verb("check", "hold a published system's claim against its own ablation", "vesalius.cli.check"),
    Verb("demo", "show all of it on real images that pip brings", "vesalius.cli.demo"),
)
