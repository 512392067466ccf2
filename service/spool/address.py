"""How an object store is named in the settings."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

_BUCKET_URL = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[\w.-]+)*/?")
_ENDPOINT_URL = re.compile(r"https?://([\w.-]+|\[[0-9a-fA-F:]+\])(:\d{1,5})?/?")
"""Neither has room for a user and a password, which belong into the environment."""


def check_address(url: str, endpoint: str, folder: Path | None) -> None:
    """Hold `spool_url`, `spool_endpoint` and `spool_folder` against each other.

    Raises ValueError, which repeats no value: somebody may have put a key into it.
    """
    if not url:
        if endpoint:
            raise ValueError("spool_endpoint is for spool_url, which is not given")
        return
    if folder is not None:
        raise ValueError("spool_folder and spool_url name two spools; take one of them out")
    if not _BUCKET_URL.fullmatch(url):
        raise ValueError(
            "spool_url names an object store as s3://bucket or s3://bucket/prefix; "
            "credentials go into the environment"
        )
    if endpoint and not _ENDPOINT_URL.fullmatch(endpoint):
        raise ValueError(
            "spool_endpoint is a URL like https://s3.example.org:9000; "
            "credentials go into the environment"
        )
    if find_spec("obstore") is None or find_spec("fsspec") is None:
        raise ValueError("spool_url needs libraries: pip install 'iqgate[s3]'")
