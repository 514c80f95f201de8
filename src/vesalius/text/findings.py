"""What a report says: mentions of findings, CheXpert-style labels, and entities with relations.

All three views come from one pass over the sentences (`parse.ParsedSentence`), so they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from vesalius.errors import UsageError
from vesalius.text.context import MentionStatus
from vesalius.text.lexicon import CHEXPERT, Lexicon, default_lexicon
from vesalius.text.parse import Attribute, ParsedSentence
from vesalius.text.sections import described_ranges
from vesalius.text.sentences import split_sentences
from vesalius.text.tokens import Phrases

#: Words by which one observation is offered as the explanation of another.
_SUGGESTS = Phrases(
    (phrase, "suggestive_of")
    for phrase in (
        "may represent", "may reflect", "could represent", "could reflect", "might represent", "may be due to",
        "could be due to", "representing", "represents", "reflecting", "consistent with", "compatible with", "suggest",
        "suggestive of", "suggesting", "suspicious for", "concerning for", "worrisome for", "related to", "likely",
        "probably", "most likely", "due to", "in keeping with", "may be related to", "indicative of", "indicating",
        "secondary to", "versus", "possibly", "提示", "考虑", "考虑为", "符合",
    )
)  # fmt: skip


class HasSections(Protocol):
    """Anything with findings and impression, such as `vesalius.cases.Report`."""

    @property
    def findings(self) -> str:
        """The findings section."""
        ...

    @property
    def impression(self) -> str:
        """The impression section."""
        ...


ReportLike = str | HasSections


@dataclass(frozen=True, slots=True)
class Mention:
    """One finding in one sentence.

    Attributes:
        finding: Id in the lexicon (`pleural_effusion`).
        status: `present`, `absent`, `uncertain`, `historical` or `hypothetical`.
        side: `left`, `right`, `bilateral`, or `None`.
        location: Normal form of the place (`lower lobe`), or `None`.
        severity: `minimal`, `mild`, `moderate`, `severe`, or `None`.
        change: `new`, `worse`, `better`, `stable`, `resolved`, or `None`.
        size_mm: Largest size in millimetres, or `None`.
        span: Character range of the words in the report. For a record, the report is findings and impression joined
            by a line break, as `vesalius.cases.Report.text` gives them.
        sentence: The sentence.
        section: `findings`, `impression` or `preamble`.
    """

    finding: str
    status: MentionStatus
    side: str | None
    location: str | None
    severity: str | None
    change: str | None
    size_mm: float | None
    span: tuple[int, int]
    sentence: str
    section: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "span": list(self.span)}


#: `(normal form, type)`; types are `anatomy`, `modifier`, `observation:present|absent|uncertain`.
Entity = tuple[str, str]
#: `(entity, located_at | modify | suggestive_of, entity)`.
Relation = tuple[Entity, str, Entity]


def extract(report: ReportLike, language: str | None = None, *, lexicon: Lexicon | None = None) -> tuple[Mention, ...]:
    """All mentions of findings in the findings and impression of a report.

    Args:
        report: Text with or without section headers, or a record with `findings` and `impression`.
        language: `"en"`, `"zh"` or `None`. Both vocabularies are always read, since reports mix them; the argument
            only guards against a language that is not supported.
        lexicon: The findings to look for; the shipped ones by default.

    Returns:
        Mentions in reading order. Severity, size and change are given only for findings that are not denied.

    Raises:
        UsageError: For a language other than English and Chinese.

    Examples:
        >>> [m] = extract("Small left pleural effusion, unchanged.")
        >>> m.finding, m.status, m.side, m.severity, m.change
        ('pleural_effusion', 'present', 'left', 'mild', 'stable')
        >>> [(m.finding, m.status, m.side) for m in extract("右侧胸腔少量积液，未见气胸。")]
        [('pleural_effusion', 'present', 'right'), ('pneumothorax', 'absent', None)]
    """
    return tuple(
        _mention(sentence, index, section)
        for section, sentence in _parsed(report, language, lexicon or default_lexicon())
        for index in range(len(sentence.named))
    )


def label_report(
    report: ReportLike, language: str | None = None, *, extended: bool = False, lexicon: Lexicon | None = None
) -> dict[str, int | None]:
    """Labels of a report by the aggregation rules of CheXpert (Irvin et al. 2019).

    A category is present (1) when any mention affirms it, else uncertain (-1) when any is uncertain, else absent (0)
    when any denies it, else `None` (not mentioned). What is past or only asked about is not a mention. `No Finding` is
    1 when no other category but `Support Devices` is 1 or -1, else `None`. Unlike CheXpert's, a report without
    any words gives `None` throughout.

    Args:
        report: As for `extract`.
        language: As for `extract`.
        extended: Give every finding of the lexicon by id instead of the 14 categories; a present or uncertain finding
            then counts for its parents too.
        lexicon: The findings to look for.

    Returns:
        Name -> 1, 0, -1 or `None`.

    Examples:
        >>> labels = label_report("No pneumothorax. Possible pneumonia. Mild cardiomegaly.")
        >>> labels["Pneumothorax"], labels["Pneumonia"], labels["Cardiomegaly"], labels["Edema"], labels["No Finding"]
        (0, -1, 1, None, None)
    """
    words = lexicon or default_lexicon()
    mentions = extract(report, language, lexicon=words)
    return labels_of(mentions, empty=not _has_words(report), extended=extended, lexicon=words)


def labels_of(
    mentions: tuple[Mention, ...], *, empty: bool = False, extended: bool = False, lexicon: Lexicon | None = None
) -> dict[str, int | None]:
    """Aggregate mentions that `extract` gave; see `label_report`.

    Args:
        mentions: All mentions of one report.
        empty: True when the report had no words, which gives `None` throughout.
        extended: As for `label_report`.
        lexicon: As for `label_report`.
    """
    words = lexicon or default_lexicon()
    values = {"present": 1, "uncertain": -1, "absent": 0}
    rank: dict[int | None, int] = {None: 0, 0: 1, -1: 2, 1: 3}
    names = list(words.findings) if extended else list(CHEXPERT)
    labels: dict[str, int | None] = dict.fromkeys(names)
    for mention in mentions:
        value = values.get(mention.status)
        if value is None:
            continue
        for name in _counts_for(words, mention.finding, value, extended):
            if rank[value] > rank[labels[name]]:
                labels[name] = value
    if not extended and not empty:
        others = [labels[name] for name in CHEXPERT if name not in {"No Finding", "Support Devices"}]
        labels["No Finding"] = None if any(value in {1, -1} for value in others) else 1
    return labels


def entities_and_relations(
    report: ReportLike, language: str | None = None, *, lexicon: Lexicon | None = None
) -> tuple[tuple[Entity, ...], tuple[Relation, ...]]:
    """Entities and relations in the manner of RadGraph (Jain et al. 2021), from the rules of this module.

    Entities are observations (present, absent, uncertain), anatomy, and modifiers (side, severity, change), all in the
    normal form of the lexicon, so that "air-space opacification" and "opacity" can be compared. What is past or only
    asked about is left out. Relations: an observation is `located_at` anatomy, a modifier `modify` an observation, one
    observation is `suggestive_of` the next.

    Args:
        report: As for `extract`.
        language: As for `extract`.
        lexicon: As for `extract`.

    Returns:
        Entities and relations in reading order, with repeats; a score may turn them into sets or counts.

    Examples:
        >>> entities, relations = entities_and_relations("Opacity in the right base may represent pneumonia.")
        >>> relations[1]
        (('lung_opacity', 'observation:present'), 'located_at', ('base', 'anatomy'))
        >>> relations[-1]
        (('lung_opacity', 'observation:present'), 'suggestive_of', ('pneumonia', 'observation:uncertain'))
    """
    entities: list[Entity] = []
    relations: list[Relation] = []
    for _, sentence in _parsed(report, language, lexicon or default_lexicon()):
        nodes = [_observation(named.finding, named.status) for named in sentence.named]
        entities.extend(node for node in nodes if node)
        for attribute in sentence.attributes:
            owner = sentence.owner(attribute)
            if owner is None or nodes[owner] is None or _inside(sentence, owner, attribute):
                continue
            entity = (attribute.value, "anatomy" if attribute.kind == "location" else "modifier")
            entities.append(entity)
            node = nodes[owner]
            if node is not None:
                link: Relation = (
                    (node, "located_at", entity) if attribute.kind == "location" else (entity, "modify", node)
                )
                relations.append(link)
        relations.extend(_suggestions(sentence, nodes))
    return tuple(entities), tuple(relations)


def _parsed(report: ReportLike, language: str | None, lexicon: Lexicon) -> Iterator[tuple[str, ParsedSentence]]:
    if language not in {None, "en", "zh"}:
        raise UsageError(
            "cannot read report", item=str(language), why="only English and Chinese are known", fix="pass 'en' or 'zh'"
        )
    for name, text, start in _ranges(report):
        for sentence in split_sentences(text):
            yield name, ParsedSentence(sentence.text, lexicon, start + sentence.start)


def _ranges(report: ReportLike) -> list[tuple[str, str, int]]:
    """Section name, text and place of each part that describes this visit."""
    if isinstance(report, str):
        return [(s.name, s.text, s.start) for s in described_ranges(report)]
    findings, impression = report.findings or "", report.impression or ""
    start = len(findings) + 1 if findings else 0
    return [part for part in (("findings", findings, 0), ("impression", impression, start)) if part[1]]


def _has_words(report: ReportLike) -> bool:
    return any(any(c.isalpha() for c in text) for _, text, _ in _ranges(report))


def _mention(sentence: ParsedSentence, index: int, section: str) -> Mention:
    named = sentence.named[index]
    denied = named.status == "absent"
    change = sentence.best(index, "change")
    return Mention(
        finding=named.finding,
        status=named.status,
        side=sentence.best(index, "side"),
        location=sentence.best(index, "location"),
        severity=None if denied else sentence.best(index, "severity"),
        change=change if not denied or change == "resolved" else None,
        size_mm=None if denied else sentence.size_of(index),
        span=(sentence.tokens[named.first].start, sentence.tokens[named.last - 1].end),
        sentence=sentence.text,
        section=section,
    )


def _counts_for(lexicon: Lexicon, finding: str, value: int, extended: bool) -> tuple[str, ...]:
    """Names of the labels that a mention counts for."""
    if not extended:
        category = lexicon.findings[finding].chexpert
        return (category,) if category else ()
    return (finding, *lexicon.ancestors(finding)) if value else (finding,)


def _observation(finding: str, status: MentionStatus) -> Entity | None:
    return (finding, f"observation:{status}") if status in {"present", "absent", "uncertain"} else None


def _inside(sentence: ParsedSentence, owner: int, attribute: Attribute) -> bool:
    named = sentence.named[owner]
    return named.first < attribute.last and attribute.first < named.last


def _suggestions(sentence: ParsedSentence, nodes: list[Entity | None]) -> list[Relation]:
    """`suggestive_of` between neighbouring observations with a suggesting phrase between them."""
    found: list[Relation] = []
    for match in _SUGGESTS.find(sentence.tokens) if len(nodes) > 1 else ():
        before = [i for i, n in enumerate(sentence.named) if n.last <= match.first]
        after = [i for i, n in enumerate(sentence.named) if n.first >= match.last]
        if before and after:
            source, target = nodes[before[-1]], nodes[after[0]]
            if source and target:
                found.append((source, "suggestive_of", target))
    return found
