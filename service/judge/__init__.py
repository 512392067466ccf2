"""Scores and policy in, verdict out. Pure: no I/O, no clock, no randomness."""
