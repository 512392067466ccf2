"""Counters that are raised in the transaction that makes them true."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, select, text
from sqlalchemy.dialects import sqlite

from service.ledger.tables import TallyRow

LATENCY_BUCKETS_S = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0)


class Counts:
    """What one transaction adds to counters."""

    def __init__(self) -> None:
        self.added: dict[tuple[str, str], float] = {}

    def count(self, name: str, *labels: str, by: float = 1) -> None:
        """Raise the counter `name` with these label values."""
        if by:
            key = name, "\t".join(labels)
            self.added[key] = self.added.get(key, 0.0) + by

    def observe(self, name: str, seconds: float, *labels: str) -> None:
        """Add one observation to the histogram `name` (buckets cumulative, as Prometheus
        counts)."""
        for bound in LATENCY_BUCKETS_S:
            if seconds <= bound:
                self.count(f"{name}_bucket", *labels, str(bound))
        self.count(f"{name}_bucket", *labels, "+Inf")
        self.count(f"{name}_sum", *labels, by=seconds)


@contextmanager
def counting(connection: Connection) -> Iterator[Counts]:
    """Collect what is counted within the block, and write it at its end.

    Counters are the rows that every process writes. They come last in a transaction and in one
    order, so that nobody waits for them in a circle, or longer than a commit takes.
    """
    counts = Counts()
    yield counts
    added = sorted(counts.added.items())
    if not added:
        return
    if connection.dialect.name == "sqlite":
        connection.execute(
            _RAISE_ONE,
            [{"name": name, "labels": labels, "value": by} for (name, labels), by in added],
        )
    else:
        connection.execute(
            _RAISE_ALL,
            {
                "names": [name for (name, _), _ in added],
                "labels": [labels for (_, labels), _ in added],
                "amounts": [float(by) for _, by in added],
            },
        )


def count(connection: Connection, name: str, *labels: str, by: float = 1) -> None:
    """Raise one counter, in a transaction that raises no other."""
    with counting(connection) as counts:
        counts.count(name, *labels, by=by)


def read(connection: Connection, name: str) -> dict[tuple[str, ...], float]:
    """All values of the counter `name`, by label values."""
    rows = connection.execute(select(TallyRow.labels, TallyRow.value).where(TallyRow.name == name))
    return {tuple(labels.split("\t")) if labels else (): value for labels, value in rows}


# built once: building a statement costs ten times what it takes to run it
_INSERT = sqlite.insert(TallyRow)
_RAISE_ONE = _INSERT.on_conflict_do_update(
    index_elements=["name", "labels"],
    set_={"value": TallyRow.value + _INSERT.excluded.value},
)
_RAISE_ALL = text(
    "INSERT INTO tally (name, labels, value)"
    " SELECT * FROM unnest(CAST(:names AS text[]), CAST(:labels AS text[]),"
    " CAST(:amounts AS double precision[]))"
    " ON CONFLICT (name, labels) DO UPDATE SET value = tally.value + excluded.value"
)
"""All in one way to the server and back, in the order given."""
