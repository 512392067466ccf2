"""The papers' tables, printed beside what a run measured."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from rich.table import Table

FIGURES = ("plcc", "srocc", "krocc", "overall")
HEADINGS = ("|PLCC|", "|SROCC|", "|KROCC|", "overall")


@dataclass(frozen=True)
class PaperTable:
    """A table as printed: rows of a method and those of FIGURES that the paper gives."""

    title: str
    rows: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Measured:
    """Agreement of a method's estimates with the scores; NaN where one of them does not vary.

    plcc_logistic: PLCC after the five-parameter logistic, where the paper's protocol has it;
    training: the training of the run whose network this is of, empty for several.
    """

    method: str
    n: int
    plcc: float
    srocc: float
    krocc: float
    rmse: float
    plcc_logistic: float | None = None
    training: str = ""

    @property
    def overall(self) -> float:
        return self.plcc + self.srocc + self.krocc


def paper_tables(procedure: str) -> tuple[PaperTable, ...]:
    """The tables of the paper that a procedure reproduces. Raises KeyError for an unknown one."""
    text = (files("trainer") / "reference.toml").read_text("utf-8")
    tables = tomllib.loads(text)[procedure]["tables"]
    return tuple(PaperTable(table["title"], tuple(table["rows"])) for table in tables)


def comparison(procedure: str, measured: Sequence[Measured]) -> list[Table]:
    """One table a paper's table, and one of what was measured, for a terminal."""
    drawn = []
    for paper in paper_tables(procedure):
        table = _table(f"Published. {paper.title}", HEADINGS)
        for row in paper.rows:
            table.add_row(row["method"], *(_figure(row.get(name)) for name in FIGURES))
        drawn.append(table)
    bent = any(one.plcc_logistic is not None for one in measured)
    extra = ("|PLCC| after logistic",) if bent else ()
    table = _table("Measured by this run", ("n", *HEADINGS, "RMSE", *extra))
    for one in measured:
        figures = (_figure(getattr(one, name)) for name in FIGURES)
        last = (_figure(one.plcc_logistic),) if bent else ()
        table.add_row(one.method, str(one.n), *figures, _figure(one.rmse), *last)
    drawn.append(table)
    return drawn


def _table(title: str, headings: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("method")
    for heading in headings:
        table.add_column(heading, justify="right")
    return table


def _figure(value: float | None) -> str:
    return "" if value is None else "–" if math.isnan(value) else f"{value:.4f}"
