"""A house to keep."""

import pytest

from tests.keep.house import House


@pytest.fixture
def house(database, tmp_path, medium):
    return House(database, tmp_path, medium)
