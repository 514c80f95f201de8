"""What the sections of an audit share while it runs: inputs, scores, settings, and what they have found so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from vesalius.audit.finding import Finding
from vesalius.audit.inputs import Inputs, Scorer, display
from vesalius.audit.report import Values
from vesalius.audit.scoring import Asker
from vesalius.audit.words import Zero
from vesalius.cases import CaseSet
from vesalius.metrics.measure import Measure

__all__ = ["Context", "Settings"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Settings:
    """The choices of one audit; see `run.audit`."""

    target: str
    threshold: float
    seed: int
    resamples: int
    level: float
    corruptions: str | Sequence[str] | None
    severities: Sequence[int]
    anatomy: Sequence[str] | None
    train: CaseSet | None
    depth: int
    most_pictures: int


@dataclass(eq=False)
class Context:
    """Handed to every section in turn; each adds its findings, values, plain data, and what it could not do.

    Args:
        inputs: Cases with a known label.
        asker: Asks the model.
        score: `(n,)` probability of the positive class.
        settings: The choices.
        say: Takes a line about progress.
    """

    inputs: Inputs
    asker: Asker
    score: Floats
    settings: Settings
    say: Callable[[str], None]
    findings: list[Finding] = field(default_factory=list)
    values: Values = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    #: Sections that looked for faults and could have raised an alarm, whether or not a test remained to be reported.
    checked: set[str] = field(default_factory=set)
    sections: dict[str, Any] = field(default_factory=dict)
    _pictures: dict[int, npt.NDArray[np.uint8]] = field(default_factory=dict)
    _vectors: Floats | None = None

    @property
    def model(self) -> Scorer:
        """The audited model."""
        return self.asker.model

    @property
    def clusters(self) -> list[str] | None:
        """Patients where some have several cases: what a bootstrap must resample whole. None where nobody has."""
        patients = self.inputs.patients
        return list(patients) if len(set(patients)) < len(patients) else None

    def picture(self, index: int) -> npt.NDArray[np.uint8]:
        """Case `index` as a uint8 picture; made once."""
        if index not in self._pictures:
            self._pictures[index] = display(self.inputs.images[index])
        return self._pictures[index]

    def zero_shot(self) -> Zero | None:
        """The sentences behind a zero-shot classifier, also when it goes by other class names; else None."""
        found = getattr(self.model, "zero_shot", self.model)
        return found if isinstance(found, Zero) else None

    def vectors(self) -> Floats:
        """`(n, dim)` vectors of the images, by the model or the dual encoder that it stands on; made once."""
        if self._vectors is None:
            zero = self.zero_shot()
            embedder: Any = self.model if zero is None else zero.embedder
            self._vectors = np.asarray(embedder.embed(list(self.inputs.images)), dtype=np.float64)
        return self._vectors

    def put(self, name: str, measure: Measure | float) -> None:
        """Set a value that a gate may limit; a bare number is one that rests on all cases and has no interval."""
        if not isinstance(measure, Measure):
            measure = Measure(measure, level=self.settings.level, n=len(self.inputs))
        self.values[name] = measure.named(name)
