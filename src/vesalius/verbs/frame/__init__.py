"""What makes a file a verb: declared arguments, the function's decorator, the result, and the table of all of them.

Nothing here or at the top of a verb's file imports anything heavy: `vesalius --help` lists every verb.
"""

from __future__ import annotations

from vesalius.verbs.frame.arguments import Args, arg
from vesalius.verbs.frame.results import Result
from vesalius.verbs.frame.verb import verb

__all__ = ["Args", "Result", "arg", "verb"]
