"""Work on untrusted items in child processes that may crash, hang or run out of memory."""
