"""What may be said of each case: facts with truth values, the sentences that state them, and who they are true of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vesalius.cases import Case
from vesalius.text.prompts import describe, is_normal_label
from vesalius.text.tables import load_table
from vesalius.text.vocabulary import meaning

#: Other words for a label, so that a query need not use the data set's own.
WORDS: Mapping[str, tuple[str, ...]] = {k: tuple(v) for k, v in load_table("vocabulary")["findings"].items()}
#: A label whose absence is a finding of its own, worth sentences.
OPPOSITE = {"melanoma": "not melanoma"}
_VIEWS = ("PA", "AP")


@dataclass(frozen=True)
class Domain:
    """A kind of image: sentences of one domain are false of images of another."""

    modality: str
    body_part: str


def domain_of(case: Case) -> Domain:
    """The domain of a case's first image."""
    image = case.images[0]
    return Domain(image.modality, str(image.meta.get("anatomy") or image.body_part))


def facts_of(case: Case) -> dict[str, bool]:
    """Findings known to be there or not: labels 0/1, classes, cell kinds; uncertain and numeric ones are left out.

    A class says what its name means: `no fracture` denies one, `glioma` is a brain tumour too, `HeadCT` is no finding.
    That the other classes of its set are not there is known to the table, not to a case.
    """
    facts: dict[str, bool] = {}
    for name, label in case.labels.items():
        if label.unit:
            continue
        if isinstance(label.value, str):
            facts |= meaning(label.value).facts
        elif label.value in (0, 1):
            facts[name] = bool(label.value)
    for region in case.regions:
        # One normal cell does not make a normal smear, and "uncategorised" is no finding.
        if region.granularity == "cell" and region.label not in ("", "normal", "uncategorised"):
            facts[region.label] = True
    for name, opposite in OPPOSITE.items():
        if name in facts:
            facts[opposite] = not facts[name]
    return facts


@dataclass(frozen=True)
class Sentences:
    """Every sentence of a training set and what it claims.

    Args:
        text: The sentences.
        domain: `(n,)` index of the domain.
        fact: `(n,)` index of the fact, -1 where the sentence only names the kind of image.
        present: `(n,)` whether the fact is claimed to be there.
        view: `(n,)` 0 PA, 1 AP, -1 not said.
        domains: The domains.
        facts: (domain index, finding) of each fact.
        truth: `(cases, facts)` 1 true, 0 false, NaN not known.
        case_domain: `(cases,)`.
        case_view: `(cases,)` 0 PA, 1 AP, -1 not known or neither.
    """

    text: tuple[str, ...]
    domain: npt.NDArray[np.int64]
    fact: npt.NDArray[np.int64]
    present: npt.NDArray[np.bool_]
    view: npt.NDArray[np.int64]
    domains: tuple[Domain, ...]
    facts: tuple[tuple[int, str], ...]
    truth: npt.NDArray[np.float32]
    case_domain: npt.NDArray[np.int64]
    case_view: npt.NDArray[np.int64]

    def match(
        self, cases: npt.NDArray[np.int64], sentences: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Which sentence is true of which case.

        Args:
            cases: `(n,)` case indices.
            sentences: `(m,)` sentence indices.

        Returns:
            `(n, m)` true, and `(n, m)` not known.
        """
        same = self.case_domain[cases][:, None] == self.domain[sentences][None]
        fact = self.fact[sentences]
        truth = self.truth[cases][:, np.maximum(fact, 0)]
        claims = (fact >= 0)[None]
        agrees = ~claims | (truth == self.present[sentences][None])
        unknown = same & claims & np.isnan(truth)
        said, seen = self.view[sentences][None], self.case_view[cases][:, None]
        other_view = (said >= 0) & (seen >= 0) & (said != seen)
        unknown |= same & (said >= 0) & (seen < 0)
        true = same & agrees & ~other_view & ~unknown
        return true, unknown & ~other_view

    def choose(self, case: int, rng: np.random.Generator) -> int:
        """One sentence that is true of a case: a finding that is there, one that is not, or the kind of image."""
        view = int(self.case_view[case]) if rng.random() < 0.5 else -1
        mine = np.flatnonzero((self.domain == self.case_domain[case]) & (self.view == view))
        fact = self.fact[mine]
        truth = self.truth[case][np.maximum(fact, 0)]
        kind = rng.random()
        pools = {
            "kind": mine[fact < 0],
            "present": mine[(fact >= 0) & self.present[mine] & (truth == 1)],
            "absent": mine[(fact >= 0) & ~self.present[mine] & (truth == 0)],
        }
        order = ("present", "absent", "kind") if kind < 0.6 else ("absent", "present", "kind")
        if kind > 0.85:
            order = ("kind", "present", "absent")
        pool = next((pools[name] for name in order if len(pools[name])), mine)
        # First a fact, then one of its sentences: a fact with many wordings is not said more often.
        wanted = rng.choice(np.unique(self.fact[pool]))
        return int(rng.choice(pool[self.fact[pool] == wanted]))


def build(cases: Sequence[Case]) -> Sentences:
    """The sentence table of a set of cases; sets of one domain share their facts."""
    domains = tuple(dict.fromkeys(domain_of(c) for c in cases))
    case_domain = np.asarray([domains.index(domain_of(c)) for c in cases])
    known = [facts_of(c) for c in cases]
    facts = tuple(dict.fromkeys((int(d), f) for d, found in zip(case_domain, known, strict=True) for f in found))
    truth = np.full((len(cases), max(len(facts), 1)), np.nan, np.float32)
    column = {fact: i for i, fact in enumerate(facts)}
    exclusive = _exclusive(cases)
    for i, (case, found) in enumerate(zip(cases, known, strict=True)):
        for other in exclusive.get((case.source.dataset, "class"), ()) if isinstance(case.label("class"), str) else ():
            # A class that this kind of image never shows in this set has no sentences, so no column.
            if (int(case_domain[i]), other) in column:
                truth[i, column[(int(case_domain[i]), other)]] = 0
        for name, there in found.items():
            truth[i, column[(int(case_domain[i]), name)]] = there
    rows: list[tuple[str, int, int, bool, int]] = []
    for d, domain in enumerate(domains):
        views = (
            (-1, 0, 1) if any(case_view(c) >= 0 for c, cd in zip(cases, case_domain, strict=True) if cd == d) else (-1,)
        )
        for v in views:
            code = _VIEWS[v] if v >= 0 else None
            rows += [(s, d, -1, True, v) for s in describe(domain.modality, code, domain.body_part)]
            for f, (fact_domain, name) in enumerate(facts):
                if fact_domain != d:
                    continue
                # The template's words for "normal" are their own denial; so are opposites.
                polarities = (True,) if is_normal_label(name) or name in OPPOSITE.values() else (True, False)
                for words in dict.fromkeys(WORDS.get(name, (name,))):
                    for there in polarities:
                        said = describe(domain.modality, code, domain.body_part, words, absent=not there)
                        rows += [(s, d, f, there, v) for s in said]
    # A wording that leaves the view out is true of every view: it is kept once, as claiming none.
    plain = {(d, f, s) for s, d, f, _, v in rows if v < 0}
    rows = [row for row in rows if row[4] < 0 or (row[1], row[2], row[0]) not in plain]
    text, at, fact_at, present, view = zip(*rows, strict=True)
    return Sentences(
        text,
        np.asarray(at),
        np.asarray(fact_at),
        np.asarray(present),
        np.asarray(view),
        domains,
        facts,
        truth,
        case_domain,
        np.asarray([case_view(c) for c in cases]),
    )


def case_view(case: Case) -> int:
    """0 for PA, 1 for AP (also supine), -1 for anything else."""
    view = case.images[0].view
    return 1 if view.startswith("AP") else 0 if view == "PA" else -1


def _exclusive(cases: Sequence[Case]) -> dict[tuple[str, str], tuple[str, ...]]:
    """The values of class labels: in one data set, one of them being there rules the others out."""
    values: dict[tuple[str, str], dict[str, None]] = {}
    for case in cases:
        for name, label in case.labels.items():
            if isinstance(label.value, str):
                values.setdefault((case.source.dataset, name), {})[label.value] = None
    return {key: tuple(found) for key, found in values.items()}
