"""Scoring gives way: the process's own value, and its session's where the kernel ranks those."""

import os
import subprocess
import sys

import pytest

from service.score.priority import AUTOGROUP

TOLD = """
import os
from service.score.priority import AUTOGROUP, give_way
give_way({niceness})
print(os.nice(0), AUTOGROUP.read_text().split()[-1] if AUTOGROUP.exists() else os.nice(0))
"""


@pytest.mark.parametrize("niceness", [0, 5])
def test_the_process_and_its_session_are_ranked_lower(niceness):
    own = os.nice(0)
    told = subprocess.run(
        [sys.executable, "-c", TOLD.format(niceness=niceness)],
        check=True,
        capture_output=True,
        text=True,
        start_new_session=True,  # as the supervisor starts roles
    )
    process, session = map(int, told.stdout.split())
    assert process == min(own + niceness, 19)
    if niceness and AUTOGROUP.exists():
        assert session == process
