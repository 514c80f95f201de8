"""A set of cases: a folder that people can read (`cases.jsonl` + `images/`), streamed, filtered, merged, split."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from vesalius.cases.image import Image
from vesalius.cases.record import SCHEMA_VERSION, Case
from vesalius.cases.splits import Split, Stratum, split
from vesalius.errors import BadInputError, MissingError, UsageError

CASES_FILE = "cases.jsonl"
#: One line of cases.jsonl; a longer one is refused before it is parsed.
MAX_LINE = 64 * 2**20


class CaseSet(Iterable[Case]):
    """Cases in order, from memory or streamed from a folder each time they are iterated.

    Args:
        cases: A sequence of cases, or a function that gives a fresh iterator over them.
        root: Folder that relative image uris start from.
        name: Name for messages and manifests.

    Example:
        >>> from vesalius.cases import Case, CaseSet
        >>> s = CaseSet([Case("a", labels={"effusion": 1}), Case("b", labels={"effusion": 0})])
        >>> len(s), s.filter(lambda c: c.label("effusion") == 1).ids()
        (2, ['a'])
    """

    def __init__(
        self, cases: Iterable[Case] | Callable[[], Iterator[Case]], *, root: Path | None = None, name: str = ""
    ) -> None:
        self._source: Callable[[], Iterator[Case]]
        self._list: list[Case] | None = None
        if callable(cases):
            self._source = cases
        else:
            kept = list(cases)
            self._list = kept
            self._source = lambda: iter(kept)
        self.root, self.name = root, name
        #: What the reader that made this set refused: (item, why), see `io`.
        self.refused: list[tuple[str, str]] = []

    def __iter__(self) -> Iterator[Case]:
        return self._source()

    def __len__(self) -> int:
        return len(self.load()._list or [])

    def __getitem__(self, key: int | str) -> Case:
        """The n-th case, or the case with this id."""
        cases = self.load()._list or []
        if isinstance(key, int):
            return cases[key]
        for case in cases:
            if case.id == key:
                return case
        raise KeyError(key)

    def __repr__(self) -> str:
        size = "streamed" if self._list is None else f"{len(self._list)} cases"
        return f"<CaseSet {self.name or self.root or ''} ({size})>"

    def load(self) -> CaseSet:
        """Hold all records (not the pixels) in memory; done by itself when a length or an index is asked for."""
        if self._list is None:
            self._list = list(self._source())
            kept = self._list
            self._source = lambda: iter(kept)
        return self

    def ids(self) -> list[str]:
        """Ids in order."""
        return [case.id for case in self]

    def filter(self, keep: Callable[[Case], bool]) -> CaseSet:
        """The cases for which `keep` is true, streamed."""
        source = self._source
        return self._like(lambda: (case for case in source() if keep(case)))

    def map(self, change: Callable[[Case], Case]) -> CaseSet:
        """Every case changed by a function, streamed."""
        source = self._source
        return self._like(lambda: (change(case) for case in source()))

    def limit(self, n: int | None) -> CaseSet:
        """The first `n` cases (all when None)."""
        if n is None:
            return self
        source = self._source
        return self._like(lambda: islice(source(), n))

    def split(
        self,
        fractions: Mapping[str, float],
        *,
        seed: int = 0,
        stratify: str | Callable[[Case], Stratum] | None = None,
    ) -> dict[str, CaseSet]:
        """Parts by patient (see `vesalius.cases.split`), each a CaseSet."""
        result: Split = split(self, fractions, seed=seed, stratify=stratify)
        where = result.part_of()
        return {n: self.filter(lambda case, n=n: where[case.id] == n) for n in result.parts}  # type: ignore[misc] # mypy cannot type a lambda's default

    def stats(self) -> dict[str, Any]:
        """Counts: cases, patients, images by modality and kind, labels by value, reports, regions, questions."""
        n = Counter[str]()
        modality, kind = Counter[str](), Counter[str]()
        labels: dict[str, Counter[str]] = {}
        groups: set[str] = set()
        for case in self:
            groups.add(case.group)
            n.update(cases=1, images=len(case.images), regions=len(case.regions), questions=len(case.questions))
            n["reports"] += case.report is not None
            n["with_prior"] += bool(case.prior)
            for image in case.images:
                modality[image.modality or "?"] += 1
                kind[image.kind] += 1
            for name, label in case.labels.items():
                labels.setdefault(name, Counter())[str(label.value)] += 1
        return {
            **{k: n[k] for k in ("cases", "images", "regions", "questions", "reports", "with_prior")},
            "patients": len(groups),
            "modality": dict(modality.most_common()),
            "kind": dict(kind.most_common()),
            "labels": {
                k: dict(v.most_common(12)) | ({"...": sum(v.values())} if len(v) > 12 else {})
                for k, v in sorted(labels.items())
            },
        }

    def content_hash(self) -> str:
        """SHA-256 over the cases' own hashes, in order (records, not pixels)."""
        h = hashlib.sha256()
        for case in self:
            h.update(case.content_hash().encode())
        return h.hexdigest()

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> CaseSet:
        """Open a folder written by `write` (or a `cases.jsonl` itself); cases stream, nothing is loaded yet.

        Raises:
            MissingError: There is no `cases.jsonl`.
            BadInputError: While iterating: a line is not a case (named by file and line).
        """
        path = Path(folder)
        file = path if path.suffix == ".jsonl" else path / CASES_FILE
        if not file.is_file():
            raise MissingError(
                "not a case set",
                item=str(path),
                why=f"there is no {CASES_FILE}",
                fix="make one with `vesalius data import`",
            )
        return cls(lambda: _stream(file), root=file.parent, name=file.parent.name)

    def write(self, folder: str | os.PathLike[str], *, copy_images: bool = True) -> CaseSet:
        """Write `cases.jsonl` and, with `copy_images`, every image's stored values under `images/` as `.npy`.

        The list of cases is written last and moved into place whole, so a killed write leaves no half set.

        Args:
            folder: Made if it is not there; must not hold a case set yet.
            copy_images: When False, images keep pointing at their files by absolute path.

        Returns:
            The written set, opened.

        Raises:
            UsageError: The folder holds a case set already, or an image in memory would be lost.
            BadInputError: Two cases have one id, or a case has no JSON form (a NaN, say); it is named.
        """
        path = Path(folder)
        file = path / CASES_FILE
        if file.exists():
            raise UsageError(
                "will not overwrite a case set", item=str(path), fix="choose another folder or remove this one"
            )
        path.mkdir(parents=True, exist_ok=True)
        part = path / (CASES_FILE + ".part")
        seen: set[str] = set()
        with part.open("w", encoding="utf-8") as out:
            for case in self:
                if case.id in seen:
                    raise BadInputError("two cases have one id", item=case.id)
                seen.add(case.id)
                images = tuple(_stored(image, case.id, n, path, copy_images) for n, image in enumerate(case.images))
                out.write(_line(case.replace(images=images)))
            out.flush()
            os.fsync(out.fileno())
        part.replace(file)
        return CaseSet.read(path)

    def _like(self, source: Callable[[], Iterator[Case]]) -> CaseSet:
        return CaseSet(source, root=self.root, name=self.name)


def _stored(image: Image, case_id: str, n: int, folder: Path, copy: bool) -> Image:
    if not copy:
        if image.path is None:
            raise UsageError(
                "an image is only in memory and would be lost", item=case_id, fix="write with copy_images=True"
            )
        if image.array is not None and not _is_file_of(image):
            raise UsageError(
                "an image was changed in memory and would be lost",
                item=f"{case_id}: {image.path}",
                fix="write with copy_images=True",
            )
        return Image.from_dict({**image.to_dict(), "uri": str(image.path.absolute())})
    array = image.pixels()
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    data = buffer.getvalue()
    # The name comes from the case's hash, never from the id itself: an id may hold `/` or `..`.
    name = f"images/{hashlib.sha256(case_id.encode()).hexdigest()[:24]}-{n}.npy"
    target = folder / name
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(data)
    fields = {**image.to_dict(), "uri": name, "shape": array.shape, "sha256": hashlib.sha256(data).hexdigest()}
    fields.pop("frame", None)
    return Image.from_dict(fields, root=folder)


def _is_file_of(image: Image) -> bool:
    """Whether the values in memory are those of the file."""
    stored = Image.from_dict(image.to_dict(), root=image.root).pixels()
    return image.array is not None and np.array_equal(stored, image.array)


def _line(case: Case) -> str:
    """One line of cases.jsonl."""
    record = {"schema": SCHEMA_VERSION, **case.to_dict()}
    try:
        text = json.dumps(record, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise BadInputError("cannot write case", item=ascii(case.id)[1:-1], why=str(error)) from error
    return text + "\n"


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")


def _stream(file: Path) -> Iterator[Case]:
    with file.open("rb") as lines:
        number = 0
        while raw := lines.readline(MAX_LINE + 1):
            number += 1
            if len(raw) > MAX_LINE:
                raise BadInputError(
                    "cannot read case", item=f"{file}:{number}", why=f"the line is over {MAX_LINE} bytes"
                )
            if not raw.strip():
                continue
            try:
                data = json.loads(raw.decode("utf-8-sig" if number == 1 else "utf-8"), parse_constant=_refuse_constant)
            except (ValueError, RecursionError) as error:
                raise BadInputError(
                    "cannot read case",
                    item=f"{file}:{number}",
                    why=f"the line is not JSON ({error})",
                    fix="if the file was cut off while it was written, import the data again",
                ) from error
            if not isinstance(data, dict):
                raise BadInputError("cannot read case", item=f"{file}:{number}", why="the line is not an object")
            version = data.pop("schema", SCHEMA_VERSION)
            if version != SCHEMA_VERSION:
                raise BadInputError(
                    "cannot read case",
                    item=f"{file}:{number}",
                    why=f"schema {version}, this version reads {SCHEMA_VERSION}",
                )
            yield Case.from_dict(data, root=file.parent)
