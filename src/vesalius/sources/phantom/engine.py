"""The phantom itself: a pure function from an index to a case, and a stream of such cases from worker processes."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import replace
from typing import Any

from vesalius.cases import Case, CaseSet, Image, Label, Question, Region, Source, Status
from vesalius.errors import UsageError
from vesalius.sources.phantom import patients
from vesalius.sources.phantom.catalogue import STUDIES
from vesalius.sources.phantom.config import PhantomConfig
from vesalius.sources.phantom.dials import DEGRADATIONS, apply_device, degrade, plant, shortcut_here
from vesalius.sources.phantom.facts import Facts
from vesalius.sources.phantom.model import Brief, Part, Picture, Scalar
from vesalius.sources.phantom.questions import ask
from vesalius.sources.phantom.regions import make_regions
from vesalius.sources.phantom.reports import write_report
from vesalius.sources.phantom.seeding import stream
from vesalius.sources.phantom.studies import OWN_DEVICE, drawer

LICENCE = "CC0-1.0"


class Phantom:
    """A simulator of cases whose whole truth is known.

    Args:
        config: What to draw; keywords instead of it make a `PhantomConfig`.

    Example:
        >>> phantom = Phantom(studies={"chest_film": 1.0}, size=64)
        >>> phantom.case(3).id, phantom.case(3) == phantom.case(3)
        ('phantom-0-000003', True)
    """

    def __init__(self, config: PhantomConfig | None = None, **fields: Any) -> None:
        if config is not None and fields:
            raise UsageError("give the phantom a config or fields, not both", item=", ".join(fields))
        self.config = config if config is not None else PhantomConfig.from_dict(fields)

    def case(self, index: int) -> Case:
        """The case of an index; always the same for one configuration."""
        return make_case(self.config, index)

    def cases(self, n: int, workers: int = 0, *, start: int = 0) -> CaseSet:
        """`n` cases in order as a streaming `CaseSet`; nothing is drawn before it is iterated.

        Args:
            n: How many.
            workers: Processes that draw (0: this one); the cases are the same whatever the number.
            start: Index of the first.

        Raises:
            UsageError: A negative number.
        """
        if n < 0 or workers < 0 or start < 0:
            raise UsageError("a phantom cannot draw a negative number", item=f"n={n}, workers={workers}, start={start}")
        config = self.config

        def stream_cases() -> Iterator[Case]:
            if workers == 0:
                yield from (make_case(config, i) for i in range(start, start + n))
            else:
                yield from _in_workers(config, start, n, workers)

        return CaseSet(stream_cases, name=config.name)


def case_id(config: PhantomConfig, index: int) -> str:
    """The stable id of a case."""
    return f"{config.name}-{config.seed}-{index:06d}"


def make_case(config: PhantomConfig, index: int) -> Case:
    """Draw and annotate one case.

    Raises:
        UsageError: A negative index.
    """
    if index < 0:
        raise UsageError("a phantom's index starts at 0", item=str(index))
    first, visit = patients.locate(config, index)
    patient, explained = patients.make_patient(config, first)
    states = patients.course(config, patient, explained, visit)
    state = states[-1]
    study = STUDIES[patient.study]
    views = stream(config.seed, "view", index)
    u_lateral, k_view = views.random(), int(views.integers(len(config.views)))
    brief = Brief(
        seed=config.seed,
        index=index,
        patient=patient,
        findings=state.findings,
        size=config.size,
        size_3d=config.size_3d,
        frames=config.frames,
        contrast=patients.contrast(config, patient),
        noise=0.6 + 1.4 * config.difficulty,
        view=config.views[k_view] if study.name == "chest_film" else "",
        lateral=bool(u_lateral < config.lateral),
    )
    picture = drawer(study.name)(brief)
    picture = _drop_missing(config, index, picture)
    images, quality, marked = _finish(config, index, brief, picture)
    regions = make_regions(config, index, picture.parts, picture.findings)
    shortcut = config.shortcut
    if shortcut is not None:
        regions += tuple(
            Region(box, f"shortcut {shortcut.kind}", image=k, granularity="shortcut") for k, box in enumerate(marked)
        )
    gap = states[-1].days - states[-2].days if visit else None
    rng = stream(config.seed, "words", index)
    language = config.languages[int(rng.integers(len(config.languages)))]
    report = write_report(
        study.name, patient, picture.findings, state.resolved, gap, _views(images), language, rng
    )  # fmt: skip
    identity = case_id(config, index)
    questions: tuple[Question, ...] = ()
    if config.questions:
        facts = Facts(
            identity, study.name, patient, picture.findings, state.resolved, visit > 0,
            lambda name: patients.prevalence(config, patient, name), regions, quality, config.languages,
        )  # fmt: skip
        questions = ask(facts, stream(config.seed, "questions", index))
    return Case(
        id=identity,
        patient=f"{config.name}-{config.seed}-p{first:06d}",
        time=state.days,
        images=images,
        regions=regions,
        report=report,
        labels=_labels(config, index, study.name, picture, state),
        questions=questions,
        attributes=_attributes(config, brief, state, visit, quality, bool(marked)),
        prior=case_id(config, index - 1) if visit else "",
        source=Source(dataset="phantom", licence=LICENCE, id=f"{config.seed}/{index}"),
    )


def _views(images: tuple[Image, ...]) -> str:
    """The views of a study's images in words, each once."""
    return " and ".join(dict.fromkeys(i.view for i in images if i.view))


def _drop_missing(config: PhantomConfig, index: int, picture: Picture) -> Picture:
    """Leave out images at random; one always stays."""
    n = len(picture.images)
    if n < 2 or config.missing <= 0:
        return picture
    rng = stream(config.seed, "missing", index)
    stay = [i for i, u in enumerate(rng.random(n)) if u >= config.missing] or [int(rng.integers(n))]
    new = {old: k for k, old in enumerate(stay)}
    parts: list[Part] = [replace(p, image=new[p.image]) for p in picture.parts if p.image in new]
    if not parts:
        # Volumes of one grid share their masks: annotate the image that stayed.
        shapes = {old: picture.images[old].shape for old in stay}
        parts = [replace(p, image=new[stay[0]]) for p in picture.parts if p.mask.shape == shapes[stay[0]]]
    return replace(picture, images=tuple(picture.images[i] for i in stay), parts=tuple(parts))


def _finish(
    config: PhantomConfig, index: int, brief: Brief, picture: Picture
) -> tuple[tuple[Image, ...], tuple[str, int], list[Any]]:
    """Device tone, known degradation and shortcut on every image."""
    rng = stream(config.seed, "quality", index)
    bad, kind, grade = rng.random() < config.degraded, int(rng.integers(len(DEGRADATIONS))), int(rng.integers(1, 4))
    quality = (DEGRADATIONS[kind], grade) if bad else ("", 0)
    mark = False
    if config.shortcut is not None:
        present = brief.get(config.shortcut.finding) is not None
        mark = shortcut_here(config.shortcut, present, stream(config.seed, "shortcut", index).random())
    boxes = []
    images = []
    for k, image in enumerate(picture.images):
        array = image.pixels()
        colour = array.ndim - (2 if image.kind == "2d" else 3) == 1
        if brief.patient.study not in OWN_DEVICE and config.device_shift > 0:
            array = apply_device(array, brief.patient.device)
        if bad:
            array = degrade(array, quality[0], grade, stream(config.seed, "degrade", index, k), colour=colour)
        if mark and config.shortcut is not None:
            array, box = plant(array, config.shortcut.kind, colour=colour)
            boxes.append(box)
        images.append(image if array is image.array else image.with_array(array))
    return tuple(images), quality, boxes


def _labels(config: PhantomConfig, index: int, study: str, picture: Picture, state: patients.State) -> dict[str, Label]:
    found = {f.name: f for f in picture.findings}
    rng = stream(config.seed, "label noise", index)
    out: dict[str, Label] = {}
    for name in STUDIES[study].findings:
        truth = int(name in found)
        value = truth
        flip = rng.random() < config.label_noise
        if flip:
            value = 1 - truth
        elif truth and config.uncertain_labels and found[name].certainty == "possible":
            value = int(Status.UNCERTAIN)
        out[name] = Label(value, source="phantom")
        if config.label_noise > 0:
            out[f"true/{name}"] = Label(truth, source="phantom")
        if name in found and found[name].change:
            out[f"{name} change"] = Label(found[name].change, source="phantom")
        elif name in state.resolved:
            out[f"{name} change"] = Label("resolved", source="phantom")
        for reader in config.readers:
            wrong = stream(config.seed, "call", index, reader.name, name).random() > reader.skill
            out[f"{name}@{reader.name}"] = Label(1 - truth if wrong else truth, source=reader.name)
    for name, label in picture.labels.items():
        out.setdefault(name, label)
    out["study"] = Label(study, source="phantom")
    return out


def _attributes(
    config: PhantomConfig, brief: Brief, state: patients.State, visit: int, quality: tuple[str, int], marked: bool
) -> dict[str, Scalar]:
    p = brief.patient
    out: dict[str, Scalar] = {
        "age": round(p.age + state.days / 365.25, 1) if state.days else p.age,
        "sex": p.sex,
        "age_group": patients.age_group(p.age),
        "height_cm": round(p.height, 1),
        "site": p.site,
        "device": p.device.name,
        "visit": visit,
        "days": state.days,
        "treated": state.treated,
        "quality_kind": quality[0] or "none",
        "quality_grade": quality[1],
    }
    if config.shortcut is not None:
        out["shortcut"] = marked
    out |= {f"ehr_{k}": v for k, v in p.ehr.items()}
    out |= {f"prs_{k:03d}": v for k, v in enumerate(p.polygenic)}
    return out


#: The configuration of a worker process, set once when it starts.
_worker_config: PhantomConfig | None = None


def _start_worker(text: str) -> None:
    global _worker_config
    _worker_config = PhantomConfig.from_json(text)


def _draw_block(start: int, n: int) -> list[Case]:
    if _worker_config is None:
        raise UsageError("a phantom worker was not started")
    return [make_case(_worker_config, i) for i in range(start, start + n)]


def _in_workers(config: PhantomConfig, start: int, n: int, workers: int) -> Iterator[Case]:
    """Blocks of cases from a pool, in order, with a bounded number of them under way."""
    block = 4 if any(s in ("ct", "pet", "body_mr", "brain_mr", "oct_volume") for s in config.studies) else 16
    block = max(1, min(block, n // (2 * workers) or 1))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _start_worker, (config.to_json(),)) as pool:
        waiting: deque[Future[list[Case]]] = deque()
        blocks = iter(range(start, start + n, block))
        try:
            for first in blocks:
                waiting.append(pool.submit(_draw_block, first, min(block, start + n - first)))
                if len(waiting) >= 3 * workers:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
