"""Corruptions: MedMNIST-C and faults of acquisition, deterministic for each (seed, image, corruption, severity)."""

from vesalius.corruptions.suite import (
    FOLDS,
    SEVERITIES,
    augment,
    corrupt,
    corrupt_batch,
    datasets,
    parameters,
    registry,
)

__all__ = ["FOLDS", "SEVERITIES", "augment", "corrupt", "corrupt_batch", "datasets", "parameters", "registry"]
