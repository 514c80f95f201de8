"""Tokenisers of the lexical metrics, by name: a score means nothing without the name of its tokeniser."""

from __future__ import annotations

import re
from collections.abc import Callable

from vesalius.errors import UsageError

__all__ = ["TOKENIZERS", "Tokenize", "tokenizer"]

Tokenize = Callable[[str], list[str]]

_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uac00-\ud7af"
_WORDS = re.compile(rf"[{_CJK}]|\d+(?:[.,]\d+)*|[^\W\d_{_CJK}]+(?:'[^\W\d_]+)?")
_ASCII = re.compile(r"[a-z0-9]+")
_ENTITIES = (("&quot;", '"'), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&"))
_SYMBOLS = re.compile(r"([{-~\[-` -&(-+:-@/])")
_DOT_BEFORE, _DOT_AFTER = re.compile(r"([^0-9])([.,])"), re.compile(r"([.,])([^0-9])")
_DASH = re.compile(r"([0-9])(-)")


def _words(text: str) -> list[str]:
    return _WORDS.findall(text.casefold())


def _rouge(text: str) -> list[str]:
    return _ASCII.findall(text.lower())


def _13a(text: str) -> list[str]:
    line = text.replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    for entity, sign in _ENTITIES:
        line = line.replace(entity, sign)
    line = _SYMBOLS.sub(r" \1 ", f" {line} ")
    line = _DOT_BEFORE.sub(r"\1 \2 ", line)
    line = _DOT_AFTER.sub(r" \1 \2", line)
    return _DASH.sub(r"\1 \2 ", line).split()


TOKENIZERS: dict[str, Tokenize] = {"words": _words, "rouge": _rouge, "13a": _13a, "split": str.split}
"""Tokenisers by name.

- `words` (default): lower-case words and numbers of any script, Chinese and Japanese by character, no punctuation;
- `rouge`: lower-case runs of ASCII letters and digits, as rouge-score;
- `13a`: mteval-v13a, as sacrebleu, case kept;
- `split`: white space only, for text that is tokenised already, as pycocoevalcap takes it.
"""


def tokenizer(name: str | Tokenize) -> Tokenize:
    """A tokeniser by name; a function is returned as it is.

    Raises:
        UsageError: Unknown name.
    """
    if callable(name):
        return name
    if name not in TOKENIZERS:
        raise UsageError("unknown tokeniser", item=name, fix=f"use {', '.join(TOKENIZERS)} or a function")
    return TOKENIZERS[name]
