"""Counters that are raised in the transaction that makes them true."""

from __future__ import annotations

from sqlalchemy import Connection, Executable, select
from sqlalchemy.dialects import postgresql, sqlite

from service.ledger.tables import TallyRow

LATENCY_BUCKETS_S = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0)


def _raising(insert: sqlite.Insert | postgresql.Insert) -> Executable:
    return insert.on_conflict_do_update(
        index_elements=["name", "labels"],
        set_={"value": TallyRow.value + insert.excluded.value},
    )


# built once: building a statement costs ten times what it takes to run it
_RAISE = {
    "sqlite": _raising(sqlite.insert(TallyRow)),
    "postgresql": _raising(postgresql.insert(TallyRow)),
}


def count(connection: Connection, name: str, *labels: str, by: float = 1) -> None:
    """Raise the counter `name` with these label values."""
    if not by:
        return
    connection.execute(
        _RAISE[connection.dialect.name],
        {"name": name, "labels": "\t".join(labels), "value": by},
    )


def observe(connection: Connection, name: str, seconds: float, *labels: str) -> None:
    """Add one observation to the histogram `name` (buckets cumulative, as Prometheus counts)."""
    for bound in LATENCY_BUCKETS_S:
        if seconds <= bound:
            count(connection, f"{name}_bucket", *labels, str(bound))
    count(connection, f"{name}_bucket", *labels, "+Inf")
    count(connection, f"{name}_sum", *labels, by=seconds)


def read(connection: Connection, name: str) -> dict[tuple[str, ...], float]:
    """All values of the counter `name`, by label values."""
    rows = connection.execute(select(TallyRow.labels, TallyRow.value).where(TallyRow.name == name))
    return {tuple(labels.split("\t")) if labels else (): value for labels, value in rows}
