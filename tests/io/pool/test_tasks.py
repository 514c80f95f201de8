"""When one more child is worth its start."""

from __future__ import annotations

import os
import threading
import time

import pytest

from vesalius.io import DecodePool
from vesalius.io.pool.tasks import Tasks


def taker(tasks: Tasks[int]) -> list[int]:
    """A thread that takes one piece of work without having a process."""
    got: list[int] = []
    thread = threading.Thread(target=lambda: got.append(tasks.take(False)), daemon=True)
    thread.start()
    time.sleep(0.1)
    return got


def test_the_first_starts_at_once_and_the_others_wait_for_it():
    tasks: Tasks[int] = Tasks()
    for n in range(5):
        tasks.put(n)
    first, second = taker(tasks), taker(tasks)
    assert (first, second) == ([0], [])
    tasks.started(0.08)  # ready, and there is work that it does not take up
    time.sleep(0.5)
    assert second == [1]
    tasks.close()


def test_no_other_starts_while_the_first_keeps_up():
    tasks: Tasks[int] = Tasks()
    tasks.put(0)
    assert tasks.take(False) == 0
    tasks.started(0.05)
    other = taker(tasks)
    for n in range(1, 6):
        tasks.put(n)
        assert tasks.take(True) == n
        with pytest.raises(TimeoutError):
            tasks.take(True, 0.06)
    assert other == []
    tasks.close()


def test_one_sent_home_makes_room_for_a_first():
    tasks: Tasks[int] = Tasks()
    tasks.put(0)
    assert tasks.take(False) == 0
    tasks.started(0.1)
    tasks.ended(True)
    tasks.put(1)
    assert taker(tasks) == [1]


def test_few_quick_items_start_one_child():
    with DecodePool(4) as pool:
        assert len(list(pool.map(os.path.basename, ["a/b"] * 20))) == 20
        assert sum(hand._process is not None for hand in pool._hands) == 1


def test_long_work_starts_all_children():
    with DecodePool(3) as pool:
        list(pool.map(time.sleep, [0.4] * 24))
        assert sum(hand._process is not None for hand in pool._hands) == 3
