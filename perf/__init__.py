"""Speed beside the peers, in one run, as ratios: `python -m perf [list | NAME ...] [--json FILE]`."""
