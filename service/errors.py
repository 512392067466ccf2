"""Every error the gate raises on purpose.

::

    IqgateError
    ├── ConfigError             a setting, a policy or a bundle is wrong; the operator must act
    │   ├── EngineUnavailable   an engine cannot run here, or does not reproduce golden outputs
    │   └── PortUnavailable     a port cannot be listened on
    ├── EngineFailed            a device stopped answering; the process must start anew
    ├── StartupCalledOff        asked to end while engines were made ready
    ├── RetryableError          the same call may succeed later
    │   ├── PacsUnavailable     no association, or the peer is out of resources
    │   ├── LedgerUnavailable   the ledger is away: its server, its disk
    │   ├── SpoolUnavailable    the spool cannot be read now
    │   ├── FolderUnavailable   the reports folder cannot be written
    │   └── LeaseLost           another worker took the work over
    ├── DemoFailed              the demonstration's gate gave no verdict
    ├── SpoolMissing            the spool's disk is not there
    ├── BackupUnusable          a backup is not whole, or not sound
    ├── PacsRefused             the peer answered and will not take this object
    └── RejectedInput           this object will never be scored; the message is its reason
        ├── UnreadableObject    not DICOM, truncated, or nested beyond reason
        ├── DamagedFile         the spool gives back other bytes than were received
        ├── ObjectTooLarge      beyond a size limit, as stored or once inflated
        └── UndecodablePixels   no pixel data, absurd size, or a broken code stream

Library exceptions are translated once, at the edge where they arise.
"""

from __future__ import annotations

import errno
import os

_WAYS_OUT = {
    errno.EACCES: "; ports below 1024 need CAP_NET_BIND_SERVICE (docs/install.md#port-104)",
    errno.EADDRINUSE: "; another process listens there (`ss -ltnp` names it)",
    errno.EADDRNOTAVAIL: "; this host has no such address",
}


class IqgateError(Exception):
    """Base of every error raised on purpose."""


class ConfigError(IqgateError):
    """A setting, a policy or a bundle is wrong; the message names it and the way out."""


class EngineUnavailable(ConfigError):
    """An engine cannot run here: its library or its device is missing, the graph does not load, or
    the golden outputs are not reproduced. The message names the way out."""


class PortUnavailable(ConfigError):
    """A port cannot be listened on. `section` of the configuration holds its host and port."""

    def __init__(self, section: str, host: str, port: int, error: OSError) -> None:
        number = error.errno or 0
        # a resolver's numbers are negative, and what a socket says may hold its address again
        reason = os.strerror(number) if number > 0 else error.strerror
        way_out = _WAYS_OUT.get(number, "")
        super().__init__(f"{section}.port = {port} on {host}: {reason}{way_out}")


class EngineFailed(IqgateError):
    """A device stopped answering during inference. Its context is lost: the process must end and
    start anew."""


class StartupCalledOff(IqgateError):
    """The process was asked to end while its engines were made ready."""


class DemoFailed(IqgateError):
    """The demonstration's gate did not start, or gave no verdict in time."""


class SpoolMissing(IqgateError):
    """The spool is not where it should be, or empty where it should not be."""


class BackupUnusable(IqgateError):
    """A backup is not whole, or its ledger is not sound."""


class RetryableError(IqgateError):
    """The same call may succeed later."""


class PacsUnavailable(RetryableError):
    """No association could be made, or the peer is out of resources (0xA7xx)."""


class LedgerUnavailable(RetryableError):
    """The ledger is away: its server does not answer or does not take connections now, its disk is
    full, or others hold its lock for too long."""


class SpoolUnavailable(RetryableError):
    """The spool cannot be read now: a disk error, shared storage that does not answer."""


class FolderUnavailable(RetryableError):
    """The reports folder cannot be written."""


class LeaseLost(RetryableError):
    """The lease ran out and another worker took the work over; drop what was computed."""


class PacsRefused(IqgateError):
    """The peer answered and will not take this object (0xA9xx, 0xCxxx, no context accepted)."""


class RejectedInput(IqgateError):
    """This object will never be scored; the message is the reason people read."""


class UnreadableObject(RejectedInput):
    """Not DICOM, truncated, or nested beyond reason."""


class DamagedFile(RejectedInput):
    """The spool gives back other bytes than were received."""


class ObjectTooLarge(RejectedInput):
    """Beyond a size limit, as stored or once inflated."""


class UndecodablePixels(RejectedInput):
    """No pixel data, an absurd size, or a code stream that does not decode."""
