"""Reading the configuration anew while a role runs (SIGHUP).

The policy and who may send change at once; what else changed in the file is named in the log and
waits for a restart. A file that is wrong is refused with its error, and what was read last stays.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

from pydantic import BaseModel

from service.config import Settings
from service.errors import ConfigError
from service.log import line

log = logging.getLogger("iqgate.reload")

Reread = Callable[[], Settings]
"""Reads the settings from where they came from at the start. Raises ConfigError."""

LIVE = frozenset(
    {"policy", "receive.addresses", "receive.calling_ae_titles", "receive.senders"},
)
"""Settings that take effect without a restart."""


def reread(current: Settings, source: Reread) -> Settings:
    """The current settings with what is `LIVE` as it stands in the source now; unchanged where
    the source is wrong, and that is logged."""
    try:
        fresh = source()
    except ConfigError as error:
        for fault in str(error).splitlines():
            log.error(line("reload-refused", why=fault, in_force="what was read before"))
        return current
    different = set(changes(current, fresh))
    restart = sorted(different - LIVE)
    log.info(line("reloaded", changed=",".join(sorted(different & LIVE)) or "nothing"))
    if restart:
        log.warning(line("restart-needed", settings=",".join(restart)))
    allowed = {name: getattr(fresh.receive, name) for name in _names("receive")}
    return current.model_copy(
        update={
            "policy": fresh.policy,
            "receive": current.receive.model_copy(update=allowed),
        }
    )


def changes(before: BaseModel, after: BaseModel, prefix: str = "") -> Iterator[str]:
    """Names of the settings that differ, with their sections: `receive.port`."""
    for name in type(before).model_fields:
        one: Any = getattr(before, name)
        other: Any = getattr(after, name)
        if isinstance(one, BaseModel):
            yield from changes(one, other, f"{prefix}{name}.")
        elif one != other:
            yield prefix + name


def _names(section: str) -> list[str]:
    return [name.split(".")[1] for name in LIVE if name.startswith(f"{section}.")]
