"""Training losses: pure functions, each with its formula and source."""
