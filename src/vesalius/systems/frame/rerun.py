"""Checking many systems: only what is stale, in processes of one thread each, a row written as soon as it is found."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import active_children, get_context
from pathlib import Path

from vesalius.errors import CancelledError, VesaliusError
from vesalius.job import Job
from vesalius.systems.frame.catalogue import find, open_system, working
from vesalius.systems.frame.claims import Claim
from vesalius.systems.frame.results import read_rows, store_results, write_rows
from vesalius.systems.frame.stamp import code_hash, input_hash
from vesalius.systems.frame.worlds.world import Kind

#: Seeds that are reported; recipes are developed on others, from 100 on.
SEEDS = (0, 1, 2)
KINDS: tuple[Kind, ...] = ("phantom", "real")


@dataclass(frozen=True)
class Unit:
    """The smallest thing that is checked: one system on one world with one seed.

    Args:
        system: Name of the system.
        world: Name of the world.
        kind: Its kind.
        seed: The seed.
        code: Hash of the code that its result hangs on.
        inputs: Hash of what is no code; "" where the real set is not there.
    """

    system: str
    world: str
    kind: Kind
    seed: int
    code: str
    inputs: str


def units(
    names: Sequence[str] = (),
    *,
    kinds: Sequence[Kind] = KINDS,
    seeds: Sequence[int] = SEEDS,
    folder: Path | None = None,
) -> list[Unit]:
    """What there is to check, the seeds of a world one after the other.

    Args:
        names: Systems, by name or number; all that work when empty.
        kinds: Kinds of worlds.
        seeds: Seeds.
        folder: Folder with the open data sets.
    """
    systems = [find(n).name for n in names] or [e.name for e in working()]
    return [
        Unit(name, world.name, world.kind, seed, code_hash(name), input_hash(name, world, folder))
        for name in systems for world in open_system(name).worlds if world.kind in kinds for seed in seeds
    ]  # fmt: skip


def stale(wanted: Sequence[Unit], store: Path | None) -> list[Unit]:
    """Those of which no row is stored, or a row that other code or other inputs made."""
    rows = read_rows(store) if store is not None and store.is_file() else []
    there = {(r.claim.system, r.claim.data, r.claim.seed): (r.code, r.inputs) for r in rows}
    return [u for u in wanted if there.get((u.system, u.world, u.seed)) != (u.code, u.inputs)]


def run_unit(unit: Unit, folder: Path | None = None, job: Job | None = None, scale: float = 1.0) -> tuple[Claim, ...]:
    """Check one unit; the job's seed is replaced by the unit's."""
    from vesalius.systems.frame.budget import placed
    from vesalius.systems.frame.trial import Trial

    made = placed(job)
    made.seed = unit.seed
    system = open_system(unit.system)
    return Trial(system, system.world(unit.world), made, folder, scale).claims()


def check(
    wanted: Sequence[Unit], *, folder: Path | None = None, store: Path | None = None, workers: int = 1,
    job: Job | None = None, scale: float = 1.0,
) -> Iterator[tuple[Unit, tuple[Claim, ...]]]:  # fmt: skip
    """Check units and give what each found as soon as it has; stored then, so that a killed run loses what it was in.

    A unit that cannot be run (its real set is not there) is refused by name and the others go on.

    Args:
        wanted: What to check (see `stale`).
        folder: Folder with the open data sets.
        store: Results file.
        workers: Processes, of one thread each; 1 runs in this one.
        job: Device, and who is told.
        scale: Share of the recipes' own cases and steps.

    Raises:
        CancelledError: Somebody stopped the job; what was given is stored.
    """
    told = job or Job()
    if store is not None and store.is_file():
        _forget_worlds(store, {u.system for u in wanted})
    for unit, found in (
        _one_by_one(wanted, folder, told, scale) if workers < 2 else _side_by_side(wanted, folder, told, scale, workers)
    ):
        if isinstance(found, VesaliusError):
            told.refuse(f"{unit.system} on {unit.world}, seed {unit.seed}", found)
            continue
        if store is not None:
            store_results(store, found, code=unit.code, inputs=unit.inputs)
        yield unit, found


def _forget_worlds(store: Path, systems: set[str]) -> None:
    """Drop rows of systems about worlds that they are no longer checked on."""
    rows = read_rows(store)
    worlds = {name: {w.name for w in open_system(name).worlds} for name in systems}
    kept = [r for r in rows if r.claim.data in worlds.get(r.claim.system, {r.claim.data})]
    if len(kept) < len(rows):
        write_rows(store, kept)


def _one_by_one(
    wanted: Sequence[Unit], folder: Path | None, job: Job, scale: float
) -> Iterator[tuple[Unit, tuple[Claim, ...] | VesaliusError]]:
    for unit in job.progress(wanted, len(wanted), "checks"):
        try:
            yield unit, run_unit(unit, folder, job, scale)
        except CancelledError:
            raise
        except VesaliusError as error:
            yield unit, error


def _side_by_side(
    wanted: Sequence[Unit], folder: Path | None, job: Job, scale: float, workers: int
) -> Iterator[tuple[Unit, tuple[Claim, ...] | VesaliusError]]:
    context = get_context("spawn")
    before = set(active_children())
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_single_thread)
    try:
        waiting = {pool.submit(_run, unit, folder, job.device, scale): unit for unit in wanted}
        for done in job.progress(as_completed(waiting), len(waiting), "checks"):
            found = done.result()
            for claim in found if isinstance(found, tuple) else ():
                job.note(str(claim))
            yield waiting[done], found
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        # A check takes minutes: whoever stops the job does not wait for the ones that are running.
        for child in set(active_children()) - before:
            child.terminate()


def _single_thread() -> None:
    """Two processes of one thread use two processors better than one process of two."""
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    import torch

    torch.set_num_threads(1)


def _run(unit: Unit, folder: Path | None, device: str, scale: float) -> tuple[Claim, ...] | VesaliusError:
    try:
        return run_unit(unit, folder, Job(device=device), scale)
    except VesaliusError as error:
        return error
