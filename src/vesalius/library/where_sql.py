"""Filters as parameterised SQL over the tables of `schema`: names and values never become part of the statement."""

from __future__ import annotations

from vesalius.library.where import Compare, Condition, Constant, Field, Join, Known, Not

#: Text columns by field; aliases: `c` the case, `i` the image.
_COLUMNS = {
    ("case", "id"): "c.id",
    ("case", "patient"): "c.patient",
    ("case", "dataset"): "c.dataset",
    ("case", "split"): "c.split",
    ("case", "licence"): "c.licence",
    ("image", "modality"): "i.modality",
    ("image", "view"): "i.view",
    ("image", "kind"): "i.kind",
    ("image", "body_part"): "i.body_part",
}
_FACTS = {
    "label": "EXISTS (SELECT 1 FROM labels f WHERE f.case_pk = c.pk AND f.name = ? AND f.known",
    "attribute": "EXISTS (SELECT 1 FROM attributes f WHERE f.case_pk = c.pk AND f.name = ? AND f.known",
}

Params = list[str | float]
Sql = tuple[str, Params]


def to_sql(condition: Condition) -> Sql:
    """A boolean SQL expression (never NULL) over the aliases `c` and `i`, and its parameters in order."""
    if isinstance(condition, Join):
        if not condition.parts:
            return ("1" if condition.how == "and" else "0"), []
        texts, params = [], []
        for part in condition.parts:
            text, values = to_sql(part)
            texts.append(text)
            params += values
        return "(" + f" {condition.how.upper()} ".join(texts) + ")", params
    if isinstance(condition, Not):
        text, params = to_sql(condition.part)
        return f"(NOT {text})", params
    if isinstance(condition, Known):
        return _known(condition.field)
    return _compare(condition)


def fields(condition: Condition) -> list[Field]:
    """Every field that the filter names."""
    if isinstance(condition, Join):
        return [field for part in condition.parts for field in fields(part)]
    return fields(condition.part) if isinstance(condition, Not) else [condition.field]


def _known(field: Field) -> Sql:
    if field.space in _FACTS:
        return _FACTS[field.space] + ")", [field.name]
    if field.name == "time":
        return "(c.time <> '' OR c.time_number IS NOT NULL)", []
    return f"({_COLUMNS[field.space, field.name]} <> '')", []


def _compare(test: Compare) -> Sql:
    op, value, field = test.op.upper(), test.value, test.field
    if field.space in _FACTS:
        params: Params
        if value.number is not None and test.op != "like":
            inner, params = f"f.number {op} ?", [value.number]
        else:
            inner, params = _text("f.text", op, value)
        return f"{_FACTS[field.space]} AND {inner})", [field.name, *params]
    if field.name == "time":
        return _time(op, value)
    column = _COLUMNS[field.space, field.name]
    inner, params = _text(column, op, value)
    return f"({column} <> '' AND {inner})", params


def _text(column: str, op: str, value: Constant) -> Sql:
    if op == "LIKE":
        return f"{column} LIKE ?", [value.text]
    return f"{column} {op} ? COLLATE NOCASE", [value.text]


def _time(op: str, value: Constant) -> Sql:
    if value.number is not None:
        return f"(c.time_number IS NOT NULL AND c.time_number {op} ?)", [value.number]
    if op == "LIKE":
        return "(c.time <> '' AND c.time LIKE ?)", [value.text]
    # To the precision of the literal: `time <= 2020-01` takes in the whole month.
    return f"(c.time <> '' AND substr(c.time, 1, ?) {op} ?)", [len(value.text), value.text]
