"""A port of this host, taken before anything is promised on it."""

from __future__ import annotations

import socket

from service.errors import PortUnavailable


def bound(section: str, host: str, port: int) -> socket.socket:
    """A socket bound to the port, not listening yet; nobody else listens there then.

    section: of the configuration, that holds host and port. Raises PortUnavailable.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        made = socket.socket(family)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(address)
        except OSError:
            made.close()
            raise
    except OSError as error:
        raise PortUnavailable(section, host, port, error) from error
    return made
