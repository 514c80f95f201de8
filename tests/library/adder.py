"""Run as a program: add cases to a library, printing what was reported as done; the tests kill it."""

from __future__ import annotations

import sys
import time

from tests.library.fakes import FakeEmbedder, make_cases
from vesalius.job import Job
from vesalius.library import Library


class Slow(FakeEmbedder):
    def embed_views(self, views):
        time.sleep(0.003)
        return super().embed_views(views)


if __name__ == "__main__":
    folder, n = sys.argv[1], int(sys.argv[2])
    with Library.open(folder, Slow()) as lib:
        print("open", flush=True)
        lib.add(make_cases(n), Job(batch_size=5, on_progress=lambda p: print(p.done, flush=True)))
