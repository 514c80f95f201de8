"""What running the command line needs."""

from tests.command_line import mixed, pictures, run, run_json

__all__ = ["mixed", "pictures", "run", "run_json"]
