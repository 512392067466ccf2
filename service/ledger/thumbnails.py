"""Thumbnails of a series' worst slices: which are kept, and which make room."""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, or_, select

from service.ledger.tables import ThumbnailRow

Pixels = tuple[int, int, bytes]
"""Rows, columns and pixels, grey or RGB."""


def keep(
    connection: Connection,
    frame_id: int,
    series_id: int,
    score: float,
    thumbnail: Pixels,
    kept: int,
) -> None:
    """Add a thumbnail if its slice is among the series' worst, and drop the best one too many.

    Whoever calls holds the turn of the series' scores.
    """
    better = connection.execute(
        select(ThumbnailRow.frame_id)
        .where(
            ThumbnailRow.series_id == series_id,
            or_(ThumbnailRow.score <= score, ThumbnailRow.frame_id == frame_id),
        )
        .limit(kept)
    ).all()
    if len(better) >= kept:
        return
    rows, columns, pixels = thumbnail
    connection.execute(delete(ThumbnailRow).where(ThumbnailRow.frame_id == frame_id))
    connection.execute(
        insert(ThumbnailRow).values(
            frame_id=frame_id,
            series_id=series_id,
            score=score,
            rows=rows,
            columns=columns,
            pixels=pixels,
        )
    )
    surplus = connection.execute(
        select(ThumbnailRow.frame_id)
        .where(ThumbnailRow.series_id == series_id)
        .order_by(ThumbnailRow.score, ThumbnailRow.frame_id)
        .offset(kept)
    ).scalars()
    connection.execute(delete(ThumbnailRow).where(ThumbnailRow.frame_id.in_(list(surplus))))
