"""Published systems: each a short recipe over shared parts, with a claim check that can fail. Lists without torch.

What a face needs: `catalogue`, `working` and `find` (rows, nothing imported); `open_system` and `open_recipe`;
`frame.rerun` with `units`, `stale` and `check`; `frame.results` with `results_file` and `read_rows`; `frame.verdict`.
"""

from __future__ import annotations

from vesalius.systems.frame.catalogue import Entry, catalogue, find, open_recipe, open_system, working

__all__ = ["Entry", "catalogue", "find", "open_recipe", "open_system", "working"]
