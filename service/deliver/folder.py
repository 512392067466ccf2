"""Reports as files, for a site without a PACS to send to."""

from __future__ import annotations

import os
from pathlib import Path

from service.errors import FolderUnavailable


def put(folder: Path, sop_instance_uid: str, part10: bytes) -> Path:
    """Write `<SOP Instance UID>.dcm`, whole or not at all. Raises FolderUnavailable."""
    final = folder / f"{sop_instance_uid}.dcm"
    incoming = folder / f".{sop_instance_uid}.incoming"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with incoming.open("wb") as file:
            file.write(part10)
            file.flush()
            os.fsync(file.fileno())
        incoming.rename(final)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise FolderUnavailable(f"{folder} cannot be written: {error.strerror}") from error
    return final
