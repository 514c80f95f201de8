"""The verbs, each written once: arguments, function, result. Every face (command line, Python, HTTP) follows from it.

A verb is one file here, or a folder of files for the actions of one (`data import`, `data stats` ...). It declares its
arguments as a dataclass, its function with `@verb`, and its result; nothing else has to know of it. See `verbs.frame`.
"""
