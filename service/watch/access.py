"""Who may see patient identity: whoever gives the token, in a header or once in a form.

The form is answered with a cookie that holds no secret of its own: an expiry time and its
keyed digest, under a key that dies with the process. The token never stands in a URL.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable

from starlette.requests import HTTPConnection
from starlette.responses import Response

COOKIE = "iqgate_identity"
LASTS_S = 8 * 3600
"""A working day; then the token is asked for again."""


class Access:
    """Checks tokens and cookies. An empty token lets nobody in."""

    def __init__(self, token: str, clock: Callable[[], float]) -> None:
        self._token = token.encode()
        self._clock = clock
        self._key = secrets.token_bytes(32)

    @property
    def possible(self) -> bool:
        """Whether a token is configured at all."""
        return bool(self._token)

    def right(self, token: str) -> bool:
        """Whether this is the token, compared in constant time."""
        return self.possible and hmac.compare_digest(token.encode(), self._token)

    def granted(self, connection: HTTPConnection) -> bool:
        """Whether this request may see patient identity."""
        scheme, _, given = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.right(given.strip()):
            return True
        expires_at, _, mark = connection.cookies.get(COOKIE, "").partition(".")
        if not self.possible or not expires_at.isdecimal() or len(expires_at) > 12:
            return False
        expected = self._mark(expires_at)
        return hmac.compare_digest(mark.encode(), expected.encode()) and (
            self._clock() < int(expires_at)
        )

    def grant(self, response: Response, *, secure: bool) -> None:
        """Set the cookie. `secure`: the request came by HTTPS, and so shall the cookie."""
        expires_at = str(int(self._clock()) + LASTS_S)
        response.set_cookie(
            COOKIE,
            f"{expires_at}.{self._mark(expires_at)}",
            max_age=LASTS_S,
            httponly=True,
            samesite="strict",
            secure=secure,
        )

    def withdraw(self, response: Response) -> None:
        response.delete_cookie(COOKIE, httponly=True, samesite="strict")

    def _mark(self, expires_at: str) -> str:
        return hmac.new(self._key, expires_at.encode(), hashlib.sha256).hexdigest()
