"""`read`: a file, a folder, an archive, a DICOMDIR or a written case set becomes a `CaseSet`; nothing bad ends it."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePath
from typing import Any

from vesalius.cases import Case, CaseSet
from vesalius.cases.caseset import CASES_FILE
from vesalius.errors import BadInputError, MissingError, UnsafeInputError, VesaliusError
from vesalius.io.dicom.header import Header, Segmentation
from vesalius.io.dicom.pseudonyms import as_key
from vesalius.io.formats.pairs import header_names, header_of
from vesalius.io.formats.sidecar import stem
from vesalius.io.formats.stream import open_regular
from vesalius.io.limits import DEFAULT, Limits
from vesalius.io.pool.messages import as_error, unpack_error
from vesalius.io.pool.shared import shared_pool
from vesalius.io.scanning import CHUNK, Found, Members, Task, scan
from vesalius.job import Job

#: What a run with `--out` writes beside its results, and the file that makes a folder a library.
RUN_FILE, LIBRARY_FILE = "run.json", "library.sqlite"


def read(
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    job: Job | None = None,
    *,
    limits: Limits | None = None,
    patient_key: str | bytes | None = None,
) -> CaseSet:
    """Read whatever is there as cases; pixels stay in their files until `image.pixels()` asks for them.

    DICOM files are grouped by series into volumes wherever they lie; one case is one volume, film or loop, and a
    4-D series is one case with one image for each volume. The masks of a DICOM SEG become regions of the image that it
    segments, where that is among the files. NIfTI, PNG, JPEG, TIFF, WebP, `.npy`, `.npz`, video and the
    members of zip and tar archives are one case each. A JSON file beside a picture adds to it (see `io.sidecar`).
    Formats are told by content, not by name. Files and folders whose name starts with a dot are passed over.

    Ids come from UIDs (DICOM) or content (everything else), so they stay the same wherever the files lie. `patient` is
    a keyed hash of PatientID. **Without `patient_key` the key is a public constant: the hash keeps a patient's cases
    together and does not make them anonymous.** Dates, ages and sex stay as they are; see
    `io.dicom.deid` to remove them.

    Args:
        source: A file, a folder, or several of them.
        job: Says how many `workers` look at files (0: this process does, for trusted files only), is told of each
            item that is left out, and may be cancelled.
        limits: Budgets for each file.
        patient_key: Secret key for pseudonyms.

    Returns:
        Cases in a fixed order (files by folder and name as they are met, then DICOM series by their first file). The
        set streams while it is read the first time and keeps the records; `refused` reads to the end by itself. A run
        that an error ended is forgotten: the next one starts over.

    Raises:
        MissingError: The source is not there.
        BadInputError: A written case set has a bad line (while iterating).
    """
    many = not isinstance(source, str | os.PathLike)
    paths = [Path(p) for p in source] if isinstance(source, Sequence) and many else [Path(source)]  # type: ignore[arg-type] # one path here
    for path in paths:
        if not os.path.lexists(path):
            raise MissingError("nothing to read", item=str(path), why="there is no such file or folder")
    if len(paths) == 1 and (paths[0] / CASES_FILE).is_file():
        return CaseSet.read(paths[0])
    if len(paths) == 1 and paths[0].name == CASES_FILE:
        return CaseSet.read(paths[0])
    root = None
    if len(paths) == 1:
        paths[0] = paths[0].resolve()
        root = paths[0] if paths[0].is_dir() else paths[0].parent
    else:
        paths = [p.resolve() for p in paths]
    scanner = _Scan(paths, root, job or Job(), limits or DEFAULT, as_key(patient_key))
    return _ReadSet(scanner, root, paths[0].name if len(paths) == 1 else "")


class _ReadSet(CaseSet):
    """Reads once, while it is first iterated; keeps what it read."""

    def __init__(self, scanner: _Scan, root: Path | None, name: str) -> None:
        self._scanner = scanner
        self._kept: list[Case] = []
        self._running: Iterator[Case] | None = None
        self._done = False
        self._turn = threading.RLock()  # two threads may read on, one at a time
        super().__init__(self._cases, root=root, name=name)

    def _cases(self) -> Iterator[Case]:
        n = 0
        while True:
            with self._turn:
                kept = self._kept
                if n == len(kept) and not self._read_next():
                    return
            yield kept[n]
            n += 1

    def _read_next(self) -> bool:
        """Read one more case; False at the end."""
        if self._done:
            return False
        try:
            if self._running is None:
                self._running = self._scanner.run()
            case = next(self._running, None)
        except BaseException:
            # What a broken run kept must not pass for the whole the next time.
            self._running, self._kept = None, []
            self._scanner.refused.clear()
            raise
        if case is None:
            self._done = True
            return False
        self._kept.append(case)
        return True

    @property
    def refused(self) -> list[tuple[str, str]]:
        """What was left out and why; reads to the end first."""
        for _ in self._cases():
            pass
        return self._scanner.refused

    @refused.setter
    def refused(self, value: list[tuple[str, str]]) -> None:
        self._scanner.refused = value


class _Scan:
    def __init__(self, paths: list[Path], root: Path | None, job: Job, limits: Limits, key: bytes) -> None:
        self._paths, self._root, self._job, self._limits, self._key = paths, root, job, limits, key
        self.refused: list[tuple[str, str]] = []

    def refuse(self, item: str, error: VesaliusError) -> None:
        why = f"{error.what}: {error.why}" if error.why else error.what
        self.refused.append((item, why))
        self._job.refuse(item, error)

    def run(self) -> Iterator[Case]:
        """Cases, other files first and DICOM series last, because a series may lie anywhere."""
        yield from self._all(_here if self._job.workers == 0 else shared_pool(self._job.workers, self._limits).map)

    def _all(self, run: Any) -> Iterator[Case]:
        """As `run`; `run(function, tasks)` gives `(index, result or error)`: a pool's `map`, or `_here`."""
        from vesalius.io.dicom.series import cases

        function = functools.partial(scan, limits=self._limits, key=self._key)
        headers: list[Header] = []
        segmentations: list[Segmentation] = []
        seen: dict[str, str] = {}
        yield from self._wave(functools.partial(run, function), headers, segmentations, seen)
        found = cases(headers, self._root, self._key, self._limits, self.refuse)
        if segmentations:
            from vesalius.io.dicom.seg_attach import attach

            found = attach(found, segmentations, run, self._key, self._limits, self.refuse)
        for case in found:
            if self._is_new(case, case.id, seen):
                self._say_faults(case)
                yield case

    def _say_faults(self, case: Case) -> None:
        """A gap, a tilt, a copy, an orientation that nobody knows: read as well as can be, and never in silence."""
        for image in case.images:
            for fault in image.meta.get("faults", ()):
                self._job.note(f"{image.uri or case.id}: {fault}")

    def _wave(
        self,
        run: Callable[[Iterable[Task]], Iterator[tuple[int, list[Found] | VesaliusError]]],
        headers: list[Header],
        segmentations: list[Segmentation],
        seen: dict[str, str],
    ) -> Iterator[Case]:
        """Look at all files, then at the members of the archives among them."""
        waiting: list[Task] = []
        for tasks in (self._tasks(), waiting):
            sent: dict[int, Task] = {}
            archives: list[Task] = []
            for index, result in run(_noted(tasks, sent)):
                self._job.check()
                task = sent.pop(index)
                if isinstance(result, VesaliusError):
                    self.refuse(task.item, result)
                    continue
                for found in result:
                    if isinstance(found, Header):
                        headers.append(found)
                    elif isinstance(found, Segmentation):
                        segmentations.append(found)
                    elif isinstance(found, Case):
                        if self._is_new(found, task.item, seen):
                            self._say_faults(found)
                            yield found
                    elif isinstance(found, Members):
                        archives += [
                            Task(task.path, task.item, task.root, at, at + CHUNK) for at in range(0, found.count, CHUNK)
                        ]
                        if not found.count:
                            self.refuse(task.item, BadInputError("archive is empty", item=task.item))
                    else:
                        error = unpack_error(found)
                        self.refuse(error.item, error)
            waiting += archives

    def _is_new(self, case: Case, item: str, seen: dict[str, str]) -> bool:
        first = seen.setdefault(case.id, item)
        if first is item:
            return True
        self.refuse(item, BadInputError("file is a copy", item=item, why=f"{first} has the same content"))
        return False

    def _tasks(self) -> Iterator[Task]:
        for path in self._paths:
            if path.is_dir():
                yield from self._walk(path)
            elif path.name.upper() == "DICOMDIR":
                yield from self._listed(path)
            else:
                path = header_of(path)
                item = path.name if self._root is not None else str(path)
                yield Task(path, item, self._root)

    def _walk(self, folder: Path) -> Iterator[Task]:
        def unreadable(error: OSError) -> None:
            item = PurePath(os.path.relpath(str(error.filename), folder)).as_posix()
            self.refuse(item, as_error(error, item, "cannot look into folder"))

        for where, folders, files in os.walk(folder, onerror=unreadable):
            here = Path(where)
            if here != folder and (kind := _written_by_us(files, here)):
                item = here.relative_to(folder).as_posix()
                self._job.note(f"{item}: passed over, it is {kind}; name it to read it")
                folders[:] = []
                continue
            for name in [n for n in folders if (here / n).is_symlink()]:
                item = (here / name).relative_to(folder).as_posix()
                self.refuse(
                    item, UnsafeInputError("a link to a folder is not followed", item=item, fix="read that folder")
                )
            folders[:] = sorted(
                n for n in folders if not n.startswith(".") and n != "__MACOSX" and not (here / n).is_symlink()
            )
            stems = {s for n in files if not n.endswith(".json") for s in (n, stem(n))}
            there = {n.lower() for n in files}
            for name in sorted(files):
                if name.startswith(".") or name.upper() == "DICOMDIR" or header_names(name) & there:
                    continue  # the voxels of a NIfTI pair come with its header
                if name == RUN_FILE and _is_run(here / name):
                    continue
                if name.endswith(".json") and name.removesuffix(".json") in stems:
                    continue  # it belongs to the picture beside it
                path = here / name
                inside = path.relative_to(folder).as_posix()
                item = inside if self._root is not None else str(path)
                if path.is_symlink() and (fault := _link_fault(path, folder, item)) is not None:
                    self.refuse(item, fault)
                    continue
                yield Task(path, item, self._root)

    def _listed(self, path: Path) -> Iterator[Task]:
        """Files that a DICOMDIR names, found among those that are there; no path is made from its text."""
        from vesalius.io.dicom.dicomdir import listed_files

        try:
            found, faults = listed_files(path, self._limits)
        except Exception as error:
            self.refuse(path.name, as_error(error, path.name, "cannot read DICOMDIR"))
            return
        for item, fault in faults:
            self.refuse(item, fault)
        for file in found:
            yield Task(file, file.relative_to(path.parent).as_posix() if self._root else str(file), self._root)


def _written_by_us(files: list[str], folder: Path) -> str:
    """What of ours a folder below the source is, or "": results are not inputs, or each run would read the last."""
    if LIBRARY_FILE in files:
        return "a library"
    if CASES_FILE in files:
        return "a case set"
    return "what a run wrote" if RUN_FILE in files and _is_run(folder / RUN_FILE) else ""


def _is_run(path: Path) -> bool:
    """Whether a file is a `run.json` of ours: its first keys are the schema and the verb."""
    try:
        with open_regular(path, path.name) as stream:
            return b'"verb"' in stream.read(200)
    except (OSError, VesaliusError):
        return False


def _link_fault(path: Path, folder: Path, item: str) -> VesaliusError | None:
    """Why a link is not followed: it leads out of the folder, nowhere, or round in circles."""
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):  # a circle is a RuntimeError before Python 3.13
        return BadInputError("a link leads nowhere", item=item)
    if target.is_relative_to(folder):
        return None
    return UnsafeInputError(
        "a link that leads out of the folder is not followed", item=item, fix="read the folder it leads to"
    )


def _noted(tasks: Iterable[Task], sent: dict[int, Task]) -> Iterator[Task]:
    for n, task in enumerate(tasks):
        sent[n] = task
        yield task


def _here(function: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[tuple[int, Any]]:
    for n, task in enumerate(tasks):
        try:
            yield n, function(task)
        except Exception as error:
            yield n, as_error(error, task.item)
