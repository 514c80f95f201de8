"""Intervals, resampling and tests that every metric shares."""
