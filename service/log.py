"""Logs: an event name plus identifiers, one line each, on standard error.

UIDs and ids may appear; patient identity never does, so library loggers that quote values stay
at warning and pydicom's warnings, which quote them too, are silenced.
"""

from __future__ import annotations

import logging
import sys
import traceback
import warnings
from typing import Any

from service.errors import IqgateError


class _Formatter(logging.Formatter):
    """Tracebacks without their messages, which may quote header values; ours never do."""

    def formatException(self, ei: Any) -> str:  # noqa: N802 the name is logging's
        kind, error, trace = ei
        said = f": {error}" if isinstance(error, (IqgateError, OSError)) else ""
        return "".join(traceback.format_tb(trace)) + f"{kind.__name__}{said}"


def configure(level: int = logging.INFO) -> None:
    """Set up logging for one process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for name in ("pynetdicom", "pydicom", "highdicom", "alembic", "uvicorn"):
        logging.getLogger(name).setLevel(logging.CRITICAL if name == "pydicom" else logging.WARNING)
    # a connection that is lost is told by `ledger.database`, once; the pool tells each, at length
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module=r"pydicom|highdicom|pynetdicom")


def line(event: str, **fields: Any) -> str:
    """`event key=value …`; values with spaces are quoted."""
    return " ".join([event, *(f"{key}={_shown(value)}" for key, value in fields.items())])


def _shown(value: Any) -> str:
    shown = str(value)
    return repr(shown) if " " in shown or not shown else shown
