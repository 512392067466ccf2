"""Thumbnails of a series' worst slices: which are kept, and which make room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select

from service.ledger.tables import ThumbnailRow

Pixels = tuple[int, int, bytes]
"""Rows, columns and pixels, grey or RGB."""


@dataclass(frozen=True)
class NewThumbnail:
    """Of a slice scored just now."""

    frame_id: int
    score: float
    pixels: Pixels


def keep(
    connection: Connection, series_id: int, arrived: Sequence[NewThumbnail], kept: int
) -> None:
    """Add those whose slices are among the series' `kept` worst, and drop what they displace; of
    equals the earlier stays.

    Whoever calls holds the turn of the series' scores.
    """
    new = {one.frame_id: one for one in arrived}
    here = {
        row.frame_id: row.score
        for row in connection.execute(
            select(ThumbnailRow.frame_id, ThumbnailRow.score).where(
                ThumbnailRow.series_id == series_id
            )
        )
    }
    ranked = sorted(
        [(score, False, frame) for frame, score in here.items() if frame not in new]
        + [(one.score, True, frame) for frame, one in new.items()]
    )
    worst = {frame for _, _, frame in ranked[:kept]}
    gone = [frame for frame in here if frame not in worst or frame in new]
    if gone:
        connection.execute(delete(ThumbnailRow).where(ThumbnailRow.frame_id.in_(gone)))
    added = [one for frame, one in new.items() if frame in worst]
    if added:
        connection.execute(
            insert(ThumbnailRow),
            [
                {
                    "frame_id": one.frame_id,
                    "series_id": series_id,
                    "score": one.score,
                    "rows": one.pixels[0],
                    "columns": one.pixels[1],
                    "pixels": one.pixels[2],
                }
                for one in added
            ],
        )
