"""Shortcuts: does the model look where the disease is? Asked by removing parts of the image and measuring again.

Three questions. *Border*: can the model still tell the classes when it sees the outer frame alone? *Occlusion*: in
which cell of a grid does flattening cost the most discrimination, and is it outside the anatomy? *Masks*: the modes of
`masks`, each tested, with the two controls. And, from embeddings: can an attribute (sex, site, device) be read off, and
does the score depend on it once the label is known?
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vesalius.audit.finding import Finding, normal_p
from vesalius.audit.groups import groups_of
from vesalius.audit.masks import MODES, Mode, border_only, common_area, masked
from vesalius.audit.probe import cross_validated, fit_probe
from vesalius.cases.splits import kfold
from vesalius.errors import BadInputError
from vesalius.metrics.classification.scores import auroc
from vesalius.metrics.measure import Measure
from vesalius.metrics.statistics.inference import delong, delong_paired
from vesalius.metrics.statistics.intervals import normal_quantile

__all__ = [
    "attribute_probes",
    "border_audit",
    "brightness_finding",
    "mask_audit",
    "mask_matrix",
    "mask_scores",
    "occlusion_audit",
    "score_dependence",
]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Predict = Callable[[list[npt.NDArray[Any]]], npt.ArrayLike]


def border_audit(
    images: Sequence[npt.NDArray[Any]], y: npt.ArrayLike, predict: Predict, *, share: float = 0.12, level: float = 0.95
) -> tuple[Finding, ...]:
    """AUROC of the model on frames alone, against one half (a tag, a frame or a tube at the edge gives it away).

    Args:
        images: `(H, W[, C])`.
        y: Labels 0/1.
        predict: From images to the probability of the positive class.
        share: Width of the frame, of each side.
        level: Level of the interval.
    """
    score = np.asarray(predict([border_only(x, share) for x in images]), dtype=np.float64)
    return (_against_half("border", f"the outer {share:.0%} of the image alone", y, score, level, one_sided=True),)


def occlusion_audit(
    images: Sequence[npt.NDArray[Any]],
    y: npt.ArrayLike,
    predict: Predict,
    *,
    grid: int = 6,
    regions: Sequence[Bools | None] | None = None,
    level: float = 0.95,
    progress: Callable[[str], None] | None = None,
) -> tuple[tuple[Finding, ...], Floats]:
    """Flatten one cell of a grid at a time, in every image, and test the loss of AUROC (paired, DeLong).

    A cell is flattened to the median of the image. Loss of discrimination inside the anatomy is what should happen;
    only cells where no more than a twentieth of the images have a region (or, without regions, cells on the rim of the
    grid) can raise an alarm.

    Returns:
        One finding for each cell that may raise one, and the map of AUROC losses `(grid, grid)`.
    """
    clean = np.asarray(predict(list(images)), dtype=np.float64)
    before = auroc(y, clean)
    loss = np.zeros((grid, grid))
    findings = []
    cover = _coverage(regions, grid)
    for row in range(grid):
        if progress:
            progress(f"occlusion row {row + 1} of {grid}")
        for column in range(grid):
            flat = [_flatten(x, row, column, grid) for x in images]
            after = np.asarray(predict(flat), dtype=np.float64)
            loss[row, column] = before - auroc(y, after)
            if cover[row, column] > 0.05:
                continue
            p, lost = _paired_loss(y, clean, after, level)
            where = f"row {row + 1}, column {column + 1} of {grid}"
            findings.append(
                Finding(
                    "shortcuts",
                    f"occlusion:{row},{column}",
                    f"covering {where}, outside the anatomy, costs {loss[row, column]:.3f} of AUROC {before:.3f}",
                    lost,
                    0.0,
                    p,
                )
            )
    return tuple(findings), loss


def mask_audit(
    images: Sequence[npt.NDArray[Any]],
    regions: Sequence[Bools],
    y: npt.ArrayLike,
    predict: Predict,
    *,
    modes: Sequence[Mode] = MODES,
    spread: int = 0,
    fill: float = 0.0,
    level: float = 0.95,
) -> tuple[Finding, ...]:
    """AUROC of one trained model in each mode.

    Only `no-fixed` is tested against one half: there the region is gone and the hole is the same everywhere. The other
    modes are described, with their intervals, because their holes have shapes.
    """
    same = len({m.shape for m in regions}) == 1
    fixed = common_area([m for m in regions if m.any()]) if same else None
    findings = []
    for mode in modes:
        if "fixed" in mode and (fixed is None or fixed.all()):
            continue
        seen = [masked(x, m, mode, spread=spread, fill=fill, fixed=fixed) for x, m in zip(images, regions, strict=True)]
        score = np.asarray(predict(seen), dtype=np.float64)
        what = {
            "full": "the whole image",
            "no-roi": "the image without the region",
            "no-box": "the image without the region's box",
            "only-roi": "the region alone",
            "only-box": "the region's box alone",
            "outline": "the region's outline alone, all content gone",
            "no-fixed": "the image outside the area common to all regions",
            "only-fixed": "the area common to all regions",
        }[mode]
        findings.append(_against_half(f"mask:{mode}", what, y, score, level, one_sided=True, test=mode == "no-fixed"))
    return tuple(findings)


def mask_scores(
    images: Sequence[npt.NDArray[Any]],
    regions: Sequence[Bools],
    y: npt.ArrayLike,
    features: Callable[[list[npt.NDArray[Any]]], npt.ArrayLike],
    *,
    patients: Sequence[Any] | None = None,
    modes: Sequence[Mode] = ("full", "no-roi", "no-box", "only-roi", "only-box", "outline", "no-fixed"),
    folds: int = 5,
    ridge: float = 1.0,
    seed: int = 0,
) -> dict[tuple[Mode, Mode], npt.NDArray[np.float64]]:
    """Train in each mode, test in each mode: out-of-fold scores of a linear probe on frozen features, by patient.

    Args:
        images: `n` pictures.
        regions: The organ in each.
        y: `(n,)` labels 0/1.
        features: Turns pictures into `(n, d)`.
        patients: Patient of each picture; None: each its own.
        modes: What is removed. A mode with the common area is left out where that area is everything.
        folds: Folds.
        ridge: Strength of the probe's penalty.
        seed: Seed of the folds.

    Returns:
        `(n,)` scores for each pair of training mode and test mode.
    """
    labels = np.asarray(y, dtype=np.int64)
    fixed = common_area(list(regions))
    usable = [m for m in modes if "fixed" not in m or not fixed.all()]
    table = {
        m: np.asarray(
            features([masked(x, r, m, fixed=fixed) for x, r in zip(images, regions, strict=True)]), dtype=float
        )
        for m in usable
    }
    groups = [str(i) for i in range(len(labels))] if patients is None else [str(p) for p in patients]
    out = {(a, b): np.empty(len(labels)) for a in usable for b in usable}
    for train, test in kfold(groups, [int(v) for v in labels], folds, seed=seed):
        for a in usable:
            probe = fit_probe(table[a][train], labels[train], ridge)
            for b in usable:
                out[a, b][test] = probe.predict(table[b][test])
    return out


def mask_matrix(
    images: Sequence[npt.NDArray[Any]],
    regions: Sequence[Bools],
    y: npt.ArrayLike,
    features: Callable[[list[npt.NDArray[Any]]], npt.ArrayLike],
    **how: Any,
) -> dict[str, dict[str, float]]:
    """`matrix[train mode][test mode]`: the AUROC of `mask_scores`, which says what the arguments are."""
    out: dict[str, dict[str, float]] = {}
    for (a, b), scores in mask_scores(images, regions, y, features, **how).items():
        out.setdefault(a, {})[b] = auroc(np.asarray(y, dtype=np.int64), scores)
    return out


def attribute_probes(
    embeddings: npt.ArrayLike,
    attributes: Mapping[str, Sequence[Any]],
    *,
    patients: Sequence[Any] | None = None,
    folds: int = 5,
    least: int = 20,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[Finding, ...]:
    """Can each attribute be read off the embeddings? AUROC of a linear probe, folds by patient.

    Described, not tested: that an image shows a person's sex is no fault. The fault is when the score uses it, see
    `score_dependence`.

    Args:
        embeddings: `(n, d)`.
        attributes: Name to values; numbers are cut into bands, each value is probed against the others.
        patients: Patient of each case.
        folds: Folds.
        least: Fewest cases of a value.
        seed: Seed of the folds.
        level: Level of the intervals.
    """
    x = np.asarray(embeddings, dtype=np.float64)
    findings = []
    seen: set[bytes] = set()
    for g in groups_of(attributes):
        if g.rest.tobytes() in seen or min(int(g.member.sum()), int(g.rest.sum())) < least:
            continue
        seen.add(g.member.tobytes())
        known = [int(i) for i in np.flatnonzero(g.known)]
        target = g.member[known].astype(int)
        who = None if patients is None else [patients[i] for i in known]
        try:
            score = cross_validated(x[known], target, who, folds=folds, seed=seed)
        except BadInputError:
            continue
        findings.append(
            _against_half(f"attribute:{g.name}", f"{g.name} read off the embedding", target, score, level, test=False)
        )
    return tuple(findings)


def score_dependence(
    y: npt.ArrayLike,
    score: npt.ArrayLike,
    attributes: Mapping[str, Sequence[Any]],
    *,
    least: int = 10,
    level: float = 0.95,
) -> tuple[Finding, ...]:
    """Whether the score depends on the group once the label is known: equalised odds at every threshold at once.

    Within positives and within negatives, the chance that a member of the group outscores a non-member; both joined
    with weights by precision, tested by the stratified rank-sum test (van Elteren 1960). One half means no dependence.
    """
    labels, s = np.asarray(y).astype(bool), np.asarray(score, dtype=np.float64)
    findings = []
    seen: set[bytes] = set()
    for g in groups_of(attributes):
        if g.rest.tobytes() in seen:
            continue
        seen.add(g.member.tobytes())
        top = bottom = 0.0
        parts = {}
        used = 0
        for value in (True, False):
            a, b = s[g.member & (labels == value)], s[g.rest & (labels == value)]
            if min(len(a), len(b)) < least:
                continue
            area = auroc(np.r_[np.ones(len(a)), np.zeros(len(b))], np.r_[a, b])
            tied = _tie_factor(np.r_[a, b])
            v = (len(a) + len(b) + 1) / (12 * len(a) * len(b)) * tied
            if v <= 0:
                continue
            parts["positives" if value else "negatives"] = area
            used += len(a) + len(b)
            top, bottom = top + (area - 0.5) / v, bottom + 1 / v
        if bottom == 0:
            continue
        shift, error = top / bottom, 1 / math.sqrt(bottom)
        half = normal_quantile(level) * error
        findings.append(
            Finding(
                "subgroups",
                f"dependence:{g.name}",
                f"given the label, {g.name} scores {'higher' if shift > 0 else 'lower'} than the others "
                f"in {0.5 + abs(shift):.1%} of pairs",
                Measure(
                    0.5 + shift,
                    max(0.0, 0.5 + shift - half),
                    min(1.0, 0.5 + shift + half),
                    level,
                    "normal (null variance)",
                    used,
                ),
                0.5,
                normal_p(shift / error),
                details=parts,
            )
        )  # fmt: skip
    return tuple(findings)


def _against_half(
    name: str, what: str, y: npt.ArrayLike, score: Floats, level: float, *, one_sided: bool = False, test: bool = True
) -> Finding:
    """AUROC with interval; the p-value is that of the rank-sum test, whose null variance is exact under ties."""
    labels = np.asarray(y).astype(bool)
    m, n = int(labels.sum()), int((~labels).sum())
    area = auroc(labels, score)
    found = delong(labels, score, level) if min(m, n) >= 2 else Measure(area, level=level, n=m + n)
    variance = (m + n + 1) / (12 * m * n) * _tie_factor(score)
    z = (area - 0.5) / math.sqrt(variance) if variance > 0 else 0.0
    p = normal_p(z, two_sided=not one_sided) if test else None
    return Finding("shortcuts", name, f"from {what}: AUROC {area:.3f}", found, 0.5, p)


def _tie_factor(values: Floats) -> float:
    n = len(values)
    _, counts = np.unique(values, return_counts=True)
    c = counts.astype(np.float64)
    return 1.0 - float((c**3 - c).sum()) / (n**3 - n) if n > 1 else 0.0


def _paired_loss(y: npt.ArrayLike, clean: Floats, after: Floats, level: float) -> tuple[float, Measure]:
    """One-sided p-value of a loss of AUROC, and the loss."""
    bare = Measure(auroc(y, clean) - auroc(y, after), level=level, n=len(clean))
    if np.array_equal(clean, after):
        return 1.0, bare
    try:
        test = delong_paired(y, clean, after, level)
    except BadInputError:
        return 1.0, bare
    half = test.p / 2
    return (half if test.value > 0 else 1 - half), test


def _flatten(image: npt.NDArray[Any], row: int, column: int, grid: int) -> npt.NDArray[Any]:
    height, width = image.shape[:2]
    out = image.copy()
    y0, y1 = row * height // grid, (row + 1) * height // grid
    x0, x1 = column * width // grid, (column + 1) * width // grid
    out[y0:y1, x0:x1] = np.median(image.reshape(-1, *image.shape[2:]), axis=0)
    return out


def _coverage(regions: Sequence[Bools | None] | None, grid: int) -> Floats:
    """Share of images with a region in each cell; without regions, 1 inside the rim and 0 on it."""
    if regions is None or not any(r is not None and r.any() for r in regions):
        out = np.ones((grid, grid))
        out[[0, -1], :] = 0
        out[:, [0, -1]] = 0
        return out
    out = np.zeros((grid, grid))
    present = [r for r in regions if r is not None]
    for r in present:
        for row in range(grid):
            for column in range(grid):
                h, w = r.shape
                cell = r[row * h // grid : (row + 1) * h // grid, column * w // grid : (column + 1) * w // grid]
                out[row, column] += bool(cell.any())
    return out / max(len(present), 1)


def brightness_finding(y: npt.ArrayLike, score: npt.ArrayLike, level: float = 0.95) -> Finding:
    """AUROC of the model on images flattened to their own mean: what overall brightness alone gives away.

    Described, not tested: brightness may be a sign of disease as well as of a device.
    """
    found = _against_half(
        "brightness", "each image flattened to its mean", y, np.asarray(score, dtype=np.float64), level, test=False
    )
    return dataclasses.replace(found, section="blind", name="blind:brightness")
