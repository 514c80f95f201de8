"""DICOM folders: our header scan and decode, isolated in child processes, against plain pydicom in this process."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from perf.timing import row

#: Slices of the folder and pixels of a side: a common CT.
SLICES, SIDE = 200, 256
REPEATS = 5


def _folder(where: str, compression: str = "", slices: int = SLICES) -> Path:
    import pydicom

    from vesalius.cases import Affine
    from vesalius.io import write

    rng = np.random.default_rng(0)
    yy, xx = np.mgrid[:SIDE, :SIDE]
    plane = 1000 * np.exp(-((yy - SIDE / 2) ** 2 + (xx - SIDE / 2) ** 2) / SIDE**2)
    array = (plane + rng.normal(0, 20, (slices, SIDE, SIDE))).astype(np.int16)
    for n, ds in enumerate(write.series(array, Affine.from_spacing((1.0, 0.7, 0.7)), uid_seed="perf")):
        if compression:
            ds.compress(getattr(pydicom.uid, compression), generate_instance_uid=False)
        ds.save_as(Path(where) / f"{n:04d}.dcm", enforce_file_format=True)
    return Path(where)


def scan() -> list[dict[str, Any]]:
    """Headers to sorted volumes. The peer reads the same headers with pydicom and does nothing with them."""
    from pydicom import dcmread

    from vesalius.io import read
    from vesalius.io.pool.shared import close_pools
    from vesalius.job import Job

    with tempfile.TemporaryDirectory() as where:
        folder = _folder(where)

        def ours() -> int:
            close_pools()
            return len(read(folder))

        def ours_here() -> int:
            return len(read(folder, Job(workers=0)))

        def peer() -> int:
            return sum(1 for p in sorted(folder.iterdir()) if dcmread(p, stop_before_pixels=True).Rows)

        options: dict[str, Any] = {"peer_name": "pydicom dcmread, one process", "n": SLICES, "repeats": REPEATS}
        return [
            # Starting a child costs a fixed 0.3 to 0.5 s (numpy, pydicom), which 200 files do not pay back.
            row("DICOM folder scan, isolated, start of the children included", ours, peer, goal=0.3, **options),
            row("DICOM folder scan, in this process", ours_here, peer, goal=0.5, **options),
        ]


def scan_running() -> list[dict[str, Any]]:
    """The isolated scan without the start of its children, as a long folder sees it."""
    import functools

    from pydicom import dcmread

    from vesalius.io import DecodePool
    from vesalius.io.limits import DEFAULT
    from vesalius.io.scanning import Task
    from vesalius.io.scanning import scan as scan_one

    with tempfile.TemporaryDirectory() as where, DecodePool() as pool:
        folder = _folder(where)
        paths = sorted(folder.iterdir())
        tasks = [Task(p, p.name, folder) for p in paths]
        function = functools.partial(scan_one, limits=DEFAULT, key=b"perf")

        def ours() -> int:
            return sum(1 for _ in pool.map(function, tasks))

        def peer() -> int:
            return sum(1 for p in paths if dcmread(p, stop_before_pixels=True).Rows)

        return [
            row(
                "DICOM header scan, isolated, children running",
                ours,
                peer,
                peer_name="pydicom dcmread, one process",
                goal=1.0,
                n=len(paths),
                repeats=REPEATS,
            )
        ]


def decode() -> list[dict[str, Any]]:
    """Files to modality values, arrays brought back from the children."""
    from pydicom import dcmread
    from pydicom.pixels.processing import apply_modality_lut

    from vesalius.cases import Image
    from vesalius.io import DecodePool, read_pixels

    rows = []
    for name, slices, goal in (("", SLICES, 0.7), ("JPEG2000Lossless", 40, 1.2), ("RLELossless", 40, 1.2)):
        with tempfile.TemporaryDirectory() as where, DecodePool() as pool:
            paths = sorted(_folder(where, name, slices).iterdir())
            images = [Image(uri=str(p)) for p in paths]

            def ours(pool: DecodePool = pool, images: list[Image] = images) -> int:
                return sum(a.size for _, a in pool.map(read_pixels, images) if isinstance(a, np.ndarray))

            def peer(paths: list[Path] = paths) -> int:
                total = 0
                for path in paths:
                    ds = dcmread(path)
                    total += apply_modality_lut(ds.pixel_array, ds).size
                return total

            rows.append(
                row(
                    f"DICOM decode {name or 'uncompressed'}, isolated",
                    ours,
                    peer,
                    peer_name="pydicom pixel_array and rescale, one process",
                    goal=goal,
                    n=len(paths),
                    repeats=REPEATS,
                )
            )
    return rows


TOPICS: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "dicom-scan": scan,
    "dicom-scan-running": scan_running,
    "dicom-decode": decode,
}
