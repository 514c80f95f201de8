"""Worlds: a seed or a folder becomes cases to train, choose and test on, apart by patient."""
