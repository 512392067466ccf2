"""Results of frames, written at once: on PostgreSQL each statement is a way there and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, bindparam, text, update

from service.ledger import turns
from service.ledger.tables import FrameRow

_TYPES = {
    "state": "text",
    "stack": "text",
    "position_mm": "double precision",
    "score": "double precision",
    "spread": "double precision",
    "noise_hu": "double precision",
    "snr": "double precision",
    "level": "double precision",
    "drawn_at_level": "double precision",
    "bundle_digest": "text",
    "reason": "text",
    "scored_at": "double precision",
}
Result = Mapping[str, str | float | None]
"""Of one frame: its id as `frame`, and every column of `_TYPES`."""


def write(connection: Connection, results: Sequence[Result]) -> None:
    """Give frames their results, and end their leases."""
    if turns.shared(connection):
        connection.execute(
            _ALL, {name: [one[name] for one in results] for name in ("frame", *_TYPES)}
        )
    else:
        connection.execute(
            _ONE, [dict(one) for one in results], execution_options={"synchronize_session": False}
        )


_ONE = (
    update(FrameRow)
    .where(FrameRow.id == bindparam("frame"))
    .values(lease_token=None, lease_expires_at=None, **{name: bindparam(name) for name in _TYPES})
)
_ALL = text(
    f"UPDATE frame SET {', '.join(f'{name} = given.{name}' for name in _TYPES)},"
    " lease_token = NULL, lease_expires_at = NULL"
    " FROM unnest(CAST(:frame AS bigint[]), "
    f"{', '.join(f'CAST(:{name} AS {kind}[])' for name, kind in _TYPES.items())})"
    f" AS given (id, {', '.join(_TYPES)}) WHERE frame.id = given.id"
)
