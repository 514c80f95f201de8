"""Sections of reports: indication, comparison, technique, findings, impression, in English and Chinese."""

from __future__ import annotations

import re
from typing import NamedTuple

from vesalius.cases import Report
from vesalius.text.tokens import is_chinese

#: Section name -> headers, lower case. The longest header that fits wins.
HEADERS: dict[str, tuple[str, ...]] = {
    "findings": (
        "findings", "finding", "findings and impression", "findings/impression", "description", "observations",
        "report", "chest findings", "radiographic findings", "gross description", "microscopic description",
        "检查所见", "影像所见", "影像学所见", "影像表现", "放射学表现", "超声所见", "镜下所见", "所见", "表现", "描述",
    ),
    "impression": (
        "impression", "impressions", "conclusion", "conclusions", "opinion", "assessment", "summary", "interpretation",
        "diagnosis", "final diagnosis", "final impression", "recommendation", "recommendations",
        "impression and recommendation", "addendum", "wet read", "preliminary report",
        "provisional findings impression", "印象", "诊断意见", "影像诊断", "放射学诊断", "影像学诊断", "诊断印象",
        "检查结论", "结论", "诊断", "意见", "建议",
    ),
    "indication": (
        "indication", "indications", "history", "clinical history", "clinical information", "clinical indication",
        "clinical details", "reason for exam", "reason for examination", "reason for this examination",
        "reason for study", "patient history", "medical condition", "symptoms", "presenting complaint", "clinical data",
        "临床病史", "病史", "临床资料", "临床诊断", "检查目的", "主诉", "简要病史",
    ),
    "comparison": (
        "comparison", "comparisons", "compared to", "prior studies", "prior exams", "comparison study",
        "对比", "比较", "对比片", "前片对比", "对比检查",
    ),
    "technique": (
        "technique", "techniques", "procedure", "protocol", "exam", "examination", "study", "type of examination",
        "views", "procedure comments", "exam type", "method",
        "检查方法", "检查技术", "扫描方法", "检查项目", "检查部位", "检查名称", "方法",
    ),
    "other": ("notification", "final report", "dictated by", "signed by", "attending", "date", "dose", "报告医师",
        "审核医师"),
}  # fmt: skip
_SECTION_OF = {header: name for name, headers in HEADERS.items() for header in headers}
_ASCII = sorted((h for h in _SECTION_OF if h.isascii()), key=len, reverse=True)
_LATIN = "|".join(r"[ \t]+".join(map(re.escape, h.split())) for h in _ASCII)
_CAPITALS = "|".join(r"[ \t]+".join(map(re.escape, h.upper().split())) for h in _ASCII)
_HAN = "|".join(sorted((h for h in _SECTION_OF if not h.isascii()), key=len, reverse=True))
_HEADER = re.compile(
    rf"^[ \t#*]*+(?P<line>{_LATIN})\*{{0,2}}[ \t]*+(?:\([^)\n]{{0,40}}\)[ \t]*+)?(?::\*{{0,2}}|(?=[ \t]*$))"
    rf"|(?<=[\s.])(?P<inline>(?-i:{_CAPITALS})):"
    rf"|(?:^|(?<=[\s。；]))[【\[]?(?P<han>{_HAN})(?:[:：】\]]+|[ \t]*$)",
    re.IGNORECASE | re.MULTILINE,
)


class Section(NamedTuple):
    """One section: its name (a key of `HEADERS`, or `preamble`), its text and where that text lies."""

    name: str
    text: str
    start: int
    end: int


def find_sections(text: str) -> tuple[Section, ...]:
    """Cut a report at its headers.

    A header stands at the start of a line (any case, with a colon or alone on the line), or anywhere in capitals with
    a colon, or is a Chinese header with a colon or in brackets. Text before the first header is the `preamble`.

    Args:
        text: A whole report.

    Returns:
        Sections in order, with `text[s.start:s.end] == s.text`; empty ones are left out.
    """
    sections: list[Section] = []
    name, start = "preamble", 0
    for match in _HEADER.finditer(text):
        _append(sections, text, name, start, match.start())
        header = re.sub(r"\s+", " ", match.group("line") or match.group("inline") or match.group("han"))
        name, start = _SECTION_OF[header.lower()], match.end()
    _append(sections, text, name, start, len(text))
    return tuple(sections)


def _append(sections: list[Section], text: str, name: str, start: int, end: int) -> None:
    chunk = text[start:end]
    stripped = chunk.strip()
    if stripped:
        first = start + len(chunk) - len(chunk.lstrip())
        sections.append(Section(name, stripped, first, first + len(stripped)))


def parse_report(text: str) -> Report:
    r"""A report as a record.

    Where neither findings nor impression has a header, the text before the first header is the findings (many chest
    reports begin so); without any header the whole text is.

    Args:
        text: A whole report in English or Chinese.

    Returns:
        The sections, joined where a header occurs twice; `language` is `"zh"` or `"en"` by script.

    Examples:
        >>> report = parse_report("INDICATION: Cough.\nFINDINGS: Clear lungs. IMPRESSION: Normal chest.")
        >>> report.indication, report.findings, report.impression
        ('Cough.', 'Clear lungs.', 'Normal chest.')
        >>> parse_report("检查所见：双肺清晰。 印象：未见异常。").impression
        '未见异常。'
    """
    parts: dict[str, str] = {}
    for section in find_sections(text):
        parts[section.name] = f"{parts[section.name]}\n{section.text}" if section.name in parts else section.text
    findings = parts.get("findings", "")
    if not findings and not parts.get("impression"):
        findings = parts.get("preamble", "") or parts.get("other", "")
    return Report(
        findings=findings,
        impression=parts.get("impression", ""),
        indication=parts.get("indication", ""),
        comparison=parts.get("comparison", ""),
        technique=parts.get("technique", ""),
        language="zh" if is_chinese(text) else "en",
    )


def described_ranges(text: str) -> tuple[Section, ...]:
    """The parts of a report that describe this visit: findings and impression, else whatever has no header."""
    sections = find_sections(text)
    described = tuple(s for s in sections if s.name in {"findings", "impression"})
    return (
        described
        or tuple(s for s in sections if s.name == "preamble")
        or tuple(s for s in sections if s.name == "other")
    )
