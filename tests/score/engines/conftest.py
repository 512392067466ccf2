"""Bundles that engines are tried on."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.card import Bundle, load_bundle
from tests.score.engines.nvidia import gpu
from tests.synthetic import CT_RENDER, write_bundle

__all__ = ["gpu"]

SHIPPED = Path(__file__).parents[3] / "models" / "bundles"


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """One that scores by brightness, small and quick."""
    return load_bundle(write_bundle(tmp_path / "bundles" / "ct", "CT", CT_RENDER))


@pytest.fixture(scope="session")
def shipped() -> Bundle:
    """The CT bundle that ships."""
    return load_bundle(SHIPPED / "ct-md-iqa-compact")
