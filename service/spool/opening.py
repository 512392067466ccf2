"""The spool that the settings name."""

from __future__ import annotations

from service.config import Settings
from service.spool.face import Spool
from service.spool.folder import FolderSpool


def open_spool(settings: Settings) -> Spool:
    """Open it; nothing is read or written yet."""
    if not settings.spool_url:
        return FolderSpool(settings.spool)
    from service.spool.objects import ObjectSpool  # its library is an extra, and takes its time

    return ObjectSpool(settings.spool_url, settings.spool_endpoint)
