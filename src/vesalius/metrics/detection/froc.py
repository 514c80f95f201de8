"""Free-response ROC: sensitivity to lesions against false alarms per image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vesalius.errors import BadInputError, UsageError
from vesalius.metrics.checks import finite
from vesalius.metrics.detection.boxes import as_boxes, iou_matrix
from vesalius.metrics.registry import metric

__all__ = ["FrocCurve", "FrocImage", "froc", "froc_curve"]

Floats = NDArray[np.float64]
DEFAULT_RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True)
class FrocImage:
    """Which marks of an image hit which of its lesions.

    Attributes:
        hit: Whether a mark hits a lesion, shape `(marks, lesions)`.
        score: Confidence of each mark, shape `(marks,)`.
    """

    hit: NDArray[np.bool_]
    score: Floats

    @classmethod
    def from_boxes(
        cls,
        marks: ArrayLike,
        score: ArrayLike,
        lesions: ArrayLike,
        rule: Literal["iou", "centre"] = "iou",
        threshold: float = 0.5,
    ) -> FrocImage:
        """Judge boxes by IoU with the lesion, or by whether the centre of the mark lies in it.

        Args:
            marks: Boxes, shape `(n, 4)`.
            score: Confidence of each, shape `(n,)`.
            lesions: True boxes, shape `(m, 4)`.
            rule: `iou` or `centre`.
            threshold: Least IoU.

        Returns:
            The judged image.

        Raises:
            BadInputError: Unusable boxes or scores.
            UsageError: Unknown rule.
        """
        found, true = as_boxes(marks, "marks"), as_boxes(lesions, "lesions")
        if rule == "iou":
            hit: NDArray[np.bool_] = np.asarray(iou_matrix(found, true) >= threshold)
        elif rule == "centre":
            centre = (found[:, None, :2] + found[:, None, 2:]) / 2
            hit = np.asarray(((centre >= true[None, :, :2]) & (centre < true[None, :, 2:])).all(axis=2))
        else:
            raise UsageError("unknown rule", item=str(rule), fix="use iou or centre")
        return cls(hit, _score(score, len(found)))

    @classmethod
    def from_points(cls, marks: ArrayLike, score: ArrayLike, lesions: ArrayLike, radius: ArrayLike) -> FrocImage:
        """Judge points by distance to the lesion's centre, in 2-d or 3-d.

        Args:
            marks: Points, shape `(n, d)`.
            score: Confidence of each, shape `(n,)`.
            lesions: Centres, shape `(m, d)`.
            radius: Largest distance of a hit, one number or one a lesion, in the unit of the points.

        Returns:
            The judged image.

        Raises:
            BadInputError: Shapes do not fit, or NaN.
        """
        found, true = np.asarray(marks, dtype=np.float64), np.asarray(lesions, dtype=np.float64)
        if not found.size or not true.size:
            n, m = len(found), len(true)
            return cls(np.zeros((n, m), dtype=bool), _score(score, n))
        found, true = finite(found, "marks", ndim=2), finite(true, "lesions", ndim=2)
        if found.shape[1] != true.shape[1]:
            raise BadInputError("points differ in dimension", why=f"{found.shape[1]} and {true.shape[1]}")
        distance = np.linalg.norm(found[:, None] - true[None], axis=2)
        return cls(
            distance <= np.broadcast_to(np.asarray(radius, dtype=np.float64), (len(true),)), _score(score, len(found))
        )


def _score(score: ArrayLike, n: int) -> Floats:
    values = finite(score, "score")
    if len(values) != n:
        raise BadInputError("inputs differ in length", why=f"{len(values)} scores for {n} marks")
    return values


@dataclass(frozen=True)
class FrocCurve:
    """Sensitivity against false positives per image.

    Attributes:
        fppi: False positives per image, ascending, from 0.
        sensitivity: Share of lesions found.
        threshold: Rule `score >= threshold` of each point; the first is infinite.
        lesions: Lesions.
        images: Images.
    """

    fppi: Floats
    sensitivity: Floats
    threshold: Floats
    lesions: int
    images: int

    def at(self, rates: Sequence[float]) -> Floats:
        """Sensitivity at most at these false-positive rates, no interpolation: a rule that exists.

        Args:
            rates: False positives per image.

        Returns:
            Largest sensitivity of a point with no more than that rate.
        """
        places = np.searchsorted(self.fppi, np.asarray(rates, dtype=np.float64) + 1e-12, side="right") - 1
        return np.asarray(self.sensitivity[places])


def froc_curve(images: Sequence[FrocImage]) -> FrocCurve:
    """FROC curve over a set of images.

    A lesion is found by the first mark on it; further marks on lesions count neither way (as in the LUNA16
    evaluation). One mark may find several lesions that it hits.

    Args:
        images: Judged images; those without lesions count through their false alarms.

    Returns:
        The curve, one point per distinct score.

    Raises:
        BadInputError: No image or no lesion.
    """
    lesions = sum(image.hit.shape[1] for image in images)
    if not lesions:
        raise BadInputError("FROC is undefined", why=f"there is no lesion in {len(images)} images")
    first: list[Floats] = []
    false: list[Floats] = []
    for image in images:
        if image.hit.size:
            best = np.where(image.hit, image.score[:, None], -np.inf).max(axis=0)
            first.append(best[np.isfinite(best)])
        false.append(image.score[~image.hit.any(axis=1)] if image.hit.shape[1] else image.score)
    found, alarms = np.sort(np.concatenate([*first, np.zeros(0)])), np.sort(np.concatenate(false))
    thresholds = np.unique(np.concatenate([found, alarms]))[::-1]
    hits = len(found) - np.searchsorted(found, thresholds, side="left")
    wrong = len(alarms) - np.searchsorted(alarms, thresholds, side="left")
    return FrocCurve(
        np.concatenate([[0.0], wrong / len(images)]),
        np.concatenate([[0.0], hits / lesions]),
        np.concatenate([[np.inf], thresholds]),
        lesions,
        len(images),
    )


@metric(
    "froc",
    definition="Mean of the lesion sensitivities at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false positives per image, "
    "each the best "
    "rule with no more false alarms than that (no interpolation); the competition performance metric of LUNA16.",
    source="van Ginneken et al., Med Image Anal 2010; Setio et al., Med Image Anal 2017",
    edge_cases="No lesion is an error; images without lesions count through false alarms; further marks on a found "
    "lesion count neither way; equal scores are taken together.",
)
def froc(images: Sequence[FrocImage], rates: Sequence[float] = DEFAULT_RATES) -> float:
    """Mean sensitivity at fixed rates of false positives per image; see `froc_curve`."""
    return float(froc_curve(images).at(rates).mean())
