"""What arguments of the `iqgate` command may say. Raises argparse.ArgumentTypeError."""

from __future__ import annotations

import argparse


def share(text: str) -> float:
    """Of acquisitions."""
    number = float(text)
    if not 0 < number <= 0.5:
        raise argparse.ArgumentTypeError(f"{text}: a share lies above 0 and is at most 0.5")
    return number


def positive(text: str) -> float:
    number = float(text)
    if number <= 0:
        raise argparse.ArgumentTypeError(f"{text}: must be above 0")
    return number
