"""`ground`: where in an image a phrase points, as boxes, pictures and figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from vesalius.errors import MissingError, UsageError
from vesalius.job import Job
from vesalius.verbs.frame import Result, arg, verb
from vesalius.verbs.frame.files import write_json
from vesalius.verbs.frame.results import named, table
from vesalius.verbs.frame.shared import FromCases, WithModel

if TYPE_CHECKING:
    from vesalius.cases import Case, Image
    from vesalius.models.protocols import Grounding


@dataclass(frozen=True)
class Ground(FromCases, WithModel):
    """What to find in which pictures."""

    phrase: tuple[str, ...] = arg("what to find", (), metavar="WORDS")
    threshold: float = arg(
        "below this score a phrase counts as not here; its box is still given", 0.5, metavar="P", low=0, high=1
    )
    every: bool = arg(
        "every instance of each phrase and their count, where the model can tell; scores are then those of instances, "
        "and what counts as one is set in the model",
        False, flag="--all",
    )  # fmt: skip
    index: int | None = arg("slice of a volume, frame of a video (default: the middle one)", None, metavar="N", low=0)
    evaluate: bool = arg("ask for the phrases of the cases' own boxes, and measure against them with intervals", False)


@dataclass(frozen=True)
class Phrase(Result):
    """One phrase's answer; boxes in pixels of the image, `[x0, y0, x1, y1)`, best first.

    `count` is the number of instances where every one was asked for and the model can tell, else None.
    """

    phrase: str
    here: bool
    boxes: tuple[tuple[float, ...], ...]
    scores: tuple[float, ...]
    count: int | None = None

    def lines(self) -> Iterator[str]:
        """One; with a count, one more for each instance."""
        if self.count is not None:
            yield f"  {self.phrase}: {self.count}"
            for corners, p in zip(self.boxes, self.scores, strict=True):
                yield f"    [{' '.join(f'{v:.0f}' for v in corners)}] score {p:.2f}"
            return
        if not self.boxes:
            yield f"  {self.phrase}: no box, only a heat map: the model has not learnt to place it"
            return
        box = " ".join(f"{v:.0f}" for v in self.boxes[0])
        score = f"{self.scores[0]:.2f}" if self.scores else "-"
        yield f"  {self.phrase}: [{box}] score {score}{'' if self.here else '  (not here)'}"


@dataclass(frozen=True)
class GroundedCase(Result):
    """The phrases of one case, and the file that the picture comes from."""

    id: str
    file: str
    shape: tuple[int, ...]
    phrases: tuple[Phrase, ...]
    picture: str | None = None

    def lines(self) -> Iterator[str]:
        """The case, then a line a phrase."""
        yield named(self)
        for phrase in self.phrases:
            yield from phrase.lines()


@dataclass(frozen=True)
class Grounded(Result):
    """Every case's phrases."""

    threshold: float
    cases: tuple[GroundedCase, ...]
    figures: Mapping[str, Any] | None = None
    trained_on: int | None = None

    def lines(self) -> Iterator[str]:
        """Case by case, then figures."""
        for case in self.cases:
            yield from case.lines()
        if self.figures is None:
            return
        yield "against the cases' own boxes:"
        if self.trained_on:
            yield (
                f"TRAINED ON: the model learned from {self.trained_on} of these cases (or from their patients): the "
                "figures say little of new patients"
            )
        rows = [
            (name, f["n"], f["patients"], *(f"{m['value']:.3f} [{m['low']:.3f}, {m['high']:.3f}]" for m in
             (f["mean_iou"], f["accuracy_50"])))
            for name, f in self.figures.items()
        ]  # fmt: skip
        yield from table(rows, ("what", "n", "patients", "mean IoU", "accuracy at IoU 0.5"))


@verb("ground", "ask", uses=("device", "workers", "seed", "online"), reads_only=True, long=True)
def ground(args: Ground, job: Job) -> Grounded:
    """Find where in an image a phrase points."""
    from functools import partial

    from vesalius.cases import Image
    from vesalius.io.decode import decode_cases
    from vesalius.models import load
    from vesalius.models.preprocess import display_view
    from vesalius.models.seen import known_patients
    from vesalius.render.grounding import draw_groundings, picture_name
    from vesalius.sources.opening import open_cases

    phrases = [p.strip() for p in args.phrase if p.strip()]
    if not phrases and not args.evaluate:
        raise UsageError("ground what?", fix='give --phrase "...", or --evaluate for the phrases of the cases')
    if args.every and args.evaluate:
        raise UsageError("--all and --evaluate do not go together", why="each phrase is measured by its best box")
    model: Any = args.model
    if isinstance(model, str):
        model = load(model, device=job.device, online=job.online, can="ground")
    if args.every and not hasattr(model, "ground_all"):
        raise MissingError(
            "the model cannot find every instance", item=model.name, why="it gives one box a phrase",
            fix="leave out --all, or train nano's head for it with `vesalius train nano-boxes --data FOLDER --out "
            "model/` and ask with --model dir:model/",
        )  # fmt: skip
    ask = model.ground_all if args.every else model.ground
    job.facts["model"] = {"name": model.name, "fingerprint": getattr(model, "fingerprint", "")}
    cases = open_cases(args.source, job, layout=args.layout, limit=args.limit)
    results: list[GroundedCase] = []
    pairs: list[_Pair] = []
    measured: list[Case] = []
    show = partial(display_view, index=args.index)
    for item in job.progress(decode_cases(cases, show, job, of=lambda c: c.images[:1]), what="grounding"):
        case, (picture,) = item.case, item.results
        truth = _truth(case, picture.shape[:2], _slice(case.images[0], args.index)) if args.evaluate else {}
        found = ask(Image(array=picture), [*phrases, *(w for w in truth if w not in phrases)])
        pairs += [replace(truth[g.phrase], boxes=[_corners(b) for b in g.boxes]) for g in found if g.phrase in truth]
        measured += [case] if truth else []
        name = None
        if args.out is not None:
            name = picture_name(case.id, len(results) + 1)
            draw_groundings(picture, found, args.threshold).save(args.out / name)
        results.append(_case(case, picture.shape[:2], found, args.threshold, name))
    figures = _figures(pairs, job.seed) if args.evaluate else None
    known = known_patients(model, measured, job)
    trained_on = sum(c.group in known for c in measured) if args.evaluate else None
    grounded = Grounded(args.threshold, tuple(results), figures, trained_on)
    if args.out is not None:
        write_json(args.out / "grounding.json", grounded.to_dict())
    return grounded


def _case(
    case: Case, shape: tuple[int, ...], found: list[Grounding], threshold: float, name: str | None
) -> GroundedCase:
    phrases = tuple(
        Phrase(
            g.phrase,
            bool(g.scores and (g.count is not None or g.scores[0] >= threshold)),
            tuple(tuple(round(v, 2) for v in _corners(box)) for box in g.boxes),
            tuple(round(s, 4) for s in g.scores),
            g.count,
        )
        for g in found
    )
    return GroundedCase(case.id, case.file, tuple(int(n) for n in shape), phrases, name)


@dataclass(frozen=True)
class _Pair:
    """One phrase with its true box and the predicted ones, in pixels."""

    name: str
    group: str
    truth: list[float]
    boxes: Sequence[tuple[float, ...]] = ()


def _truth(case: Case, size: tuple[int, ...], index: int | None) -> dict[str, _Pair]:
    """The case's own boxes, by the fullest phrase that names each alone."""
    from vesalius.training.grounding import targets_of

    height, width = size
    targets, _ = targets_of(case, size, index=index)
    return {
        t.words[0]: _Pair(
            t.name, case.group, [v * n for v, n in zip(t.box, (width, height, width, height), strict=True)]
        )
        for t in targets
    }


def _slice(image: Image, asked: int | None) -> int | None:
    """The slice that `display_view` shows; None of a picture."""
    if image.kind == "2d" or asked is not None:
        return None if image.kind == "2d" else asked
    return int((image.shape or image.pixels().shape)[0]) // 2


def _corners(box: Any) -> tuple[float, float, float, float]:
    return float(box.x0), float(box.y0), float(box.x1), float(box.y1)


def _figures(pairs: list[_Pair], seed: int) -> dict[str, Any]:
    """Mean IoU and accuracy at IoU 0.5, over all phrases and for each name, with intervals over patients."""
    import numpy as np

    from vesalius.metrics.detection.grounding import single_ious
    from vesalius.metrics.statistics.bootstrap import bootstrap_mean

    if not pairs:
        raise UsageError("nothing to measure against", why="no case has a box that a phrase names alone")
    iou = single_ious([p.boxes for p in pairs], [p.truth for p in pairs])

    def measured(at: Any) -> dict[str, Any]:
        groups = [pairs[i].group for i in at]
        out: dict[str, Any] = {"n": len(at), "patients": len(set(groups))}
        for name, values in (("mean_iou", iou[at]), ("accuracy_50", (iou[at] >= 0.5).astype(float))):
            found = bootstrap_mean(values, groups=groups, resamples=2000, seed=seed)
            out[name] = {"value": found.value, "low": found.low, "high": found.high}
        return out

    figures = {"all": measured(np.arange(len(pairs)))}
    for name in sorted({p.name for p in pairs}):
        figures[name] = measured(np.flatnonzero([p.name == name for p in pairs]))
    return figures
