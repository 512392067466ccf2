"""Whether the gate can do its work: the ledger answers, and every role it needs is ready."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from service.errors import LedgerUnavailable
from service.ledger import reading
from service.ledger.database import Database
from service.ledger.reading import RoleReading

EXPECTED_ROLES = ("receive", "score", "deliver")


@dataclass(frozen=True)
class Readiness:
    """`reasons` say what is missing; none: ready."""

    reasons: tuple[str, ...]

    @property
    def ready(self) -> bool:
        return not self.reasons


def readiness(database: Database, now: float) -> Readiness:
    """Ask the ledger. One that does not answer is a reason like any other."""
    try:
        with database.read() as connection:
            return readiness_of(reading.roles(connection, now))
    except LedgerUnavailable as error:
        return Readiness((str(error),))


def readiness_of(
    processes: Sequence[RoleReading], expected: Sequence[str] = EXPECTED_ROLES
) -> Readiness:
    """What the expected roles lack; of several processes of a role one must be ready."""
    reasons = []
    for role in expected:
        fresh = [one for one in processes if one.role == role and one.fresh]
        if not fresh:
            reasons.append(f"{role}: no process was seen lately")
        elif not any(one.ready for one in fresh):
            reasons.append(f"{role}: not ready ({fresh[0].detail or 'no detail'})")
    return Readiness(tuple(reasons))
