"""A small deterministic embedder whose preprocessing can be sent to worker processes, and cases to embed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from vesalius.cases import Case, Image, Question, Region, Report, Source
from vesalius.cases.geometry import Box

SIDE = 6


@dataclass(frozen=True)
class FakePreprocess:
    version: str = "p1"

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.version.encode()).hexdigest()

    def __call__(self, image: Image) -> np.ndarray:
        array = np.asarray(image.pixels(), np.float32)
        if image.kind == "2d":
            array = array[None]
        if array.ndim == 4:
            array = array.mean(axis=-1)
        rows = np.linspace(0, array.shape[1] - 1, SIDE).astype(int)
        columns = np.linspace(0, array.shape[2] - 1, SIDE).astype(int)
        return np.ascontiguousarray(array[:, None, rows][..., columns])


class FakeEmbedder:
    """Random projection of 36 samples; the mean over slices; unit length."""

    def __init__(self, name: str = "fake", dim: int = 16, version: str = "p1", weights: int = 0) -> None:
        self.name, self.dim, self.preprocess = name, dim, FakePreprocess(version)
        self.fingerprint = hashlib.sha256(f"{name}{dim}{version}{weights}".encode()).hexdigest()
        # Whole numbers, which float64 adds in any order without rounding: bits hang on neither batch nor kernel.
        self._matrix = np.round(1024 * np.random.default_rng(weights).normal(size=(SIDE * SIDE, dim)))
        self.embedded = 0

    def embed_views(self, views) -> np.ndarray:
        self.embedded += len(views)
        flat = np.stack([v.reshape(len(v), -1).mean(axis=0) for v in views])
        steps = np.round(64 * (flat - flat.mean(axis=1, keepdims=True)))
        return self._unit(steps @ self._matrix + self._matrix[0])  # the last, so that one colour has a direction too

    def embed(self, images) -> np.ndarray:
        return self.embed_views([self.preprocess(i) for i in images])

    def embed_text(self, texts) -> np.ndarray:
        seeds = [int.from_bytes(hashlib.sha256(t.encode()).digest()[:8], "big") for t in texts]
        return self._unit(np.stack([np.random.default_rng(s).normal(size=self.dim) for s in seeds]))

    @staticmethod
    def _unit(vectors: np.ndarray) -> np.ndarray:
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


SITES, MODALITIES = ("North", "south", "A/B"), ("CR", "CT", "US")


def make_case(n: int, *, images: int | None = None, patient: str | None = None, **changes) -> Case:
    """Case `c<n>`; everything about it follows from `n`."""
    rng = np.random.default_rng(n)
    held = []
    for i in range(images if images is not None else 1 + n % 2):
        kind = ("2d", "3d", "2d", "video")[(n + i) % 4]
        shape = {"2d": (12, 10), "3d": (3, 12, 10), "video": (4, 12, 10, 3)}[kind]
        pixels = rng.integers(0, 255, shape).astype(np.uint8 if kind == "video" else np.int16)
        held.append(Image(array=pixels, kind=kind, modality=MODALITIES[n % 3], view=("PA", "LATERAL")[i % 2]))
    labels = {"effusion": (1, 0, -1, None)[n % 4], "grade": n % 5, "modality": MODALITIES[n % 3]}
    if n % 2:
        labels["pleural thickening"] = 1
    attributes = {"age": 20 + n % 70, "sex": "FM"[n % 2]}
    if n % 3:
        attributes["site"] = SITES[n % 3]
    words = ("nodule in the left lung", "normal heart size", "small pleural effusion", "fracture of the rib")[n % 4]
    case = Case(
        id=f"c{n}",
        patient=(f"p{n // 3}" if n % 7 else "") if patient is None else patient,
        time=(f"202{n % 5}-0{1 + n % 9}-1{n % 10}", float(n), None)[n % 3],
        images=tuple(held),
        regions=(Region(Box(1, 1, 5, 5), label="lesion", phrase=f"opacity number {n}"),),
        report=Report(findings=words + ".", impression=f"Impression of study token{n}."),
        labels=labels,
        questions=(Question(text="Which side?", answer=("left", "right")[n % 2]),),
        attributes=attributes,
        source=Source(dataset=("alpha", "beta")[n % 2], split=("train", "test")[n % 5 == 0]),
    )
    return case.replace(**changes) if changes else case


def make_cases(n: int, start: int = 0) -> list[Case]:
    return [make_case(i) for i in range(start, start + n)]
