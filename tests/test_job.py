"""The job: progress, refusals, cancelling."""

from __future__ import annotations

import pytest

from vesalius.errors import BadInputError, CancelledError, ExitCode
from vesalius.job import Job, Progress, Refusal


def test_items_pass_and_the_end_is_told():
    told: list[Progress] = []
    job = Job(on_progress=told.append)
    assert list(job.progress(range(3), 3, "reading")) == [0, 1, 2]
    assert told[-1] == Progress("reading", 3, 3)


def test_an_unknown_total_is_known_at_the_end():
    told: list[Progress] = []
    list(Job(on_progress=told.append).progress(iter("ab"), what="reading"))
    assert told[-1] == Progress("reading", 2, 2)


def test_a_refusal_is_kept_and_told_without_its_name_twice():
    told: list[Refusal] = []
    job = Job(on_refused=told.append)
    job.refuse("a.dcm", BadInputError("cannot read image", item="a.dcm", why="it is cut off"))
    assert job.refused == told == [Refusal("a.dcm", "cannot read image: it is cut off.")]


def test_a_cancelled_job_stops_between_two_items():
    job = Job()
    rest = job.progress(range(9))
    assert next(rest) == 0
    job.cancel()
    with pytest.raises(CancelledError) as error:
        next(rest)
    assert error.value.exit_code == ExitCode.INTERRUPTED
