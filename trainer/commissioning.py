"""`python -m trainer commission`: limits proposed from folders of one's own series.

The gate's own command scores and judges them (`iqgate assess`, ONNX Runtime), as a process of its
own: selection, drawing, statistic and policy are then those of service to the last bit, and the
trainer still imports nothing of it. What is made of the values is `models.proposal`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models import proposal_text
from models.proposal import Budget, JudgedSeries, proposals


@dataclass(frozen=True)
class Assessed:
    """Values of the series that were judged; of the others, series or file, and the reason."""

    values: tuple[JudgedSeries, ...]
    refused: tuple[tuple[str, str], ...]


def assess(folders: Sequence[Path], policy: Path, bundles: Path | None = None) -> Assessed:
    """Score and judge every series below the folders. bundles: by default those that ship.

    Raises ValueError with the gate's own words where it cannot run.
    """
    environment = {**os.environ, "IQGATE_POLICY": str(policy.absolute())}
    if bundles is not None:
        environment["IQGATE_SCORE__BUNDLES"] = str(bundles.absolute())
    command = [sys.executable, "-m", "service", "assess", "--json", "--commissioning"]
    done = subprocess.run(
        [*command, *map(str, folders)], env=environment, capture_output=True, text=True, check=False
    )
    # 1: some series could not be assessed, which is told of each of them
    if done.returncode not in (0, 1) or not done.stdout.strip():
        raise ValueError(f"iqgate assess: {done.stderr.strip() or 'gave no output'}")
    return read(json.loads(done.stdout))


def read(entries: Sequence[dict[str, Any]]) -> Assessed:
    """What `iqgate assess --json --commissioning` printed. Raises ValueError for other JSON."""
    values, refused = [], []
    for entry in entries:
        if "path" in entry or entry.get("verdict") == "not-assessed":
            refused.append((entry.get("path") or entry["series_instance_uid"], entry["reason"]))
            continue
        try:
            values += [JudgedSeries.from_table(table) for table in entry["commissioning"]]
        except KeyError as error:
            raise ValueError(
                f"no {error} in it; make the file with `iqgate assess --json --commissioning`"
            ) from error
    return Assessed(tuple(values), tuple(refused))


def page(assessed: Assessed, budget: Budget, policy: Path, without: Sequence[str] = ()) -> str:
    """Distributions, proposed limits and rules to copy; what could not be judged comes last.

    without: Series Instance UIDs that somebody looked at and found bad. Raises ValueError where
    the policy is not TOML.
    """
    proposed = proposals(assessed.values, budget, without)
    parts = [proposal_text.page(proposed, budget)]
    rules = proposal_text.rules(proposed, tomllib.loads(policy.read_text("utf-8")), budget)
    if rules:
        parts.append(f"For policy.toml, above the rules they come from:\n\n{rules}")
    if assessed.refused:
        lines = [f"  {name}: {reason}" for name, reason in assessed.refused]
        parts.append("\n".join(["Not assessed:", *lines]))
    return "\n\n".join(parts)


def packaged_policy() -> Path:
    """The policy that ships: inside the package when installed, beside it in a checkout."""
    here = Path(__file__).parents[1]
    installed = here / "service" / "conf" / "policy.toml"
    return installed if installed.exists() else here / "conf" / "policy.toml"
