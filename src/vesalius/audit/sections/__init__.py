"""The sections of an audit, in the order they run: each a function of the shared context, one module each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from vesalius.audit.context import Context
from vesalius.audit.sections import (
    attributes,
    blind,
    injection,
    leakage,
    pairs,
    performance,
    prompts,
    robustness,
    shortcuts,
    subgroups,
)

__all__ = ["SECTIONS"]

#: Name to what runs it. A `BadInputError` means that it does not apply; the audit says why and goes on.
SECTIONS: Mapping[str, Callable[[Context], None]] = {
    "performance": performance.run,
    "subgroups": subgroups.run,
    "shortcuts": shortcuts.run,
    "robustness": robustness.run,
    "blind": blind.run,
    "attributes": attributes.run,
    "pairs": pairs.run,
    "prompts": prompts.run,
    "injection": injection.run,
    "leakage": leakage.run,
}
