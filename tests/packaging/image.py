"""What the Dockerfile says, stage by stage."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from dockerfile_parse import DockerfileParser

ROOT = Path(__file__).parents[2]


@dataclass
class Stage:
    """One stage: what it is built from, and its instructions as (name, value) in order."""

    name: str
    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def values(self, instruction: str) -> list[str]:
        return [value for name, value in self.steps if name == instruction]

    def last_json(self, instruction: str) -> list[str]:
        """The value of the last such instruction, in its exec form."""
        return [str(one) for one in json.loads(self.values(instruction)[-1])]


def read_dockerfile() -> tuple[dict[str, str], list[Stage]]:
    """ARGs before the first stage with their defaults, and the stages in order."""
    parser = DockerfileParser(path=str(ROOT / "Dockerfile"), build_args={})
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    for step in parser.structure:
        name, value = step["instruction"], step["value"]
        if name == "FROM":
            base, _, alias = value.partition(" AS ")
            stages.append(Stage(alias.strip(), base.strip()))
        elif name == "ARG" and not stages:
            key, _, default = value.partition("=")
            arguments[key] = default
        elif name != "COMMENT":
            stages[-1].steps.append((name, value))
    return arguments, stages


def copied(stage: Stage) -> list[str]:
    """What a stage takes from the build context, relative to the repository."""
    taken = []
    for value in stage.values("COPY"):
        if not value.startswith("--from="):
            taken += value.split()[:-1]
    return taken
