"""The pool keeps order, survives whatever one item does, and names what happened."""

from __future__ import annotations

import ctypes
import functools
import math
import operator
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from vesalius.errors import BadInputError, MissingError, ResourceError, UsageError, VesaliusError
from vesalius.io import DecodePool, Limits


def test_results_come_in_order_whatever_the_items_cost():
    with DecodePool(2) as pool:
        waits = [0.05, 0.0, 0.02, 0.0, 0.0, 0.03] * 3
        assert [i for i, _ in pool.map(time.sleep, waits)] == list(range(len(waits)))
        numbers = list(range(5000))
        assert list(pool.map(math.sqrt, numbers)) == [(n, math.sqrt(n)) for n in numbers]


def test_arrays_travel_whole():
    a = np.random.default_rng(0).normal(size=(64, 65, 3)).astype(np.float32)
    with DecodePool(1) as pool:
        ((_, back),) = pool.map(functools.partial(np.multiply, 2), [a])
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, a * 2)


def test_items_are_taken_as_needed():
    taken = []

    def items():
        for n in range(100_000):
            taken.append(n)
            yield float(n)

    with DecodePool(1) as pool:
        results = pool.map(math.sqrt, items())
        assert next(results) == (0, 0.0)
        assert len(taken) < 1000
        results.close()
        assert next(pool.map(math.sqrt, [9.0])) == (0, 3.0), "a pool is usable after an abandoned map"


def test_a_hang_is_stopped_and_named():
    with DecodePool(1, Limits(seconds=0.5)) as pool:
        results = [r for _, r in pool.map(time.sleep, [0.0, 60.0, 0.0])]
    assert results[0] is None
    assert results[2] is None
    assert isinstance(results[1], ResourceError)
    assert "too long" in str(results[1])


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(("number", "kind"), [(signal.SIGSEGV, BadInputError), (signal.SIGKILL, ResourceError)])
def test_a_crash_costs_one_item(number, kind):
    with DecodePool(1) as pool:
        results = [r for _, r in pool.map(signal.raise_signal, [0, number, 0])]
    assert isinstance(results[1], kind)
    assert number.name in str(results[1])
    assert results[0] is None
    assert results[2] is None


def test_a_null_pointer_in_c_code_costs_one_item():
    with DecodePool(2) as pool:
        results = [r for _, r in pool.map(ctypes.string_at, [0, 0])]
    assert all(isinstance(r, VesaliusError) for r in results)


@pytest.mark.skipif(sys.platform != "linux", reason="address space limits are enforced on Linux")
def test_too_much_memory_is_an_error_with_advice():
    with DecodePool(1, Limits(memory_bytes=256 * 2**20)) as pool:
        results = [r for _, r in pool.map(bytearray, [2**33, 10])]
    assert isinstance(results[0], ResourceError)
    assert "memory" in str(results[0])
    assert results[1] == bytearray(10)


def test_exceptions_become_named_errors():
    with DecodePool(1) as pool:
        ((_, missing), (_, odd)) = list(pool.map(os.stat, ["/no/such/file"])) + list(pool.map(math.sqrt, [-1.0]))
    assert isinstance(missing, MissingError)
    assert "/no/such/file" in str(missing)
    assert isinstance(odd, BadInputError)
    assert "item 0" in str(odd)


def test_functions_that_cannot_travel_are_refused_at_once():
    with DecodePool(1) as pool, pytest.raises(UsageError, match="another process"):
        pool.map(lambda x: x, [1])


def test_items_that_cannot_travel_cost_themselves_alone():
    with DecodePool(1) as pool:
        list(pool.map(operator.truth, range(200)))  # batches grow while items are quick
        items = [1, lambda: 0, 0, threading.Lock(), 2] * 3
        results = [r for _, r in pool.map(operator.truth, items)]
    assert [isinstance(r, VesaliusError) for r in results] == [False, True, False, True, False] * 3
    assert results[0] is True
    assert "another process" in str(results[1])


def test_answers_that_are_code_are_not_unpickled():
    # A hijacked decoder could answer with a pickle that runs a command; only data comes through.
    with DecodePool(1) as pool:
        ((_, result),) = pool.map(operator.itemgetter(0), [(os.system,)])
    assert isinstance(result, VesaliusError)
    assert "not plain data" in str(result)


def test_a_closed_pool_says_so():
    pool = DecodePool(1)
    pool.close()
    with pytest.raises(UsageError, match="closed"):
        pool.map(math.sqrt, [1.0])
    with pytest.raises(UsageError, match="worker"):
        DecodePool(0)


def test_scripts_need_no_main_guard(tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(
        "import math\nfrom vesalius.io import DecodePool\n"
        "with DecodePool(2) as pool:\n    print(sum(r for _, r in pool.map(math.sqrt, [4.0, 9.0])))\n"
    )
    # A module beside the data must never be imported by the children.
    (tmp_path / "numpy.py").write_text("raise SystemExit('hijacked')")
    done = subprocess.run([sys.executable, "-P", str(script)], capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.stdout.strip() == "5.0", done.stderr


def test_importing_the_room_is_light():
    code = (
        "import sys, vesalius.io; heavy = {'pydicom', 'nibabel', 'PIL', 'torch', 'scipy', 'av'} & set(sys.modules);"
        "print(sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


def test_children_import_pydicom_without_what_it_downloads_with():
    loaded = "__import__('pydicom') and sorted({'requests', 'tqdm', 'pydicom'} & set(__import__('sys').modules))"
    with DecodePool(1) as pool:
        ((_, found), (_, asked)) = pool.map(eval, [loaded, "__import__('tqdm').__name__"])
    assert found == ["pydicom"]
    assert asked == "tqdm"  # whoever else asks finds it
