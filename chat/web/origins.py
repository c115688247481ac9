"""Which pages a browser may let talk to this server.

A browser lets any page connect anywhere, but says whose page it is (C{Origin}).  What comes from
the page of another server is refused: it would talk with what the browser knows of this one.
Programs other than browsers say nothing of the kind, and need not.

Whoever has a name can let it lead anywhere, to the address 127.0.0.1 of who reads the page, too (DNS
rebinding), and then the page is its own server's by all that the browser says.  So where only
this machine can ask, it has to ask by a name that is nobody else's.
"""

from __future__ import annotations

import ipaddress
from typing import Sequence
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}
_ANOTHER = (
    "The page of another server may not do this (see --web-origin). Programs are to send no Origin header."
)
_NAME = (
    "A browser has to ask for this server as localhost, or by a loopback address. If it has another name,"
    " the operator has to say so: a reverse proxy is named with --web-proxy ADDRESS, or its page with"
    " --web-origin https://NAME."
)


class Origins:
    """The pages that may talk to this server, besides its own.

    @ivar named: whether the operator has named any.
    """

    def __init__(self, allowed: Sequence[str] = ()) -> None:
        """Allow these.

        @param allowed: as browsers write them, C{https://chat.example}.
        @raise ValueError: one of these is no such thing.
        """
        try:
            self._allowed = frozenset(map(_origin, allowed))
        except ValueError as error:
            raise ValueError(f"--web-origin takes an origin such as https://chat.example: {error}") from None
        self._names = frozenset(name for _, name, _ in self._allowed)
        self.named = bool(self._allowed)

    def foreign(self, origin: bytes | None, host: bytes | None, alone: bool) -> str | None:
        """Why a browser's request with these headers is refused: another server's page makes it; or nothing.

        @param origin: C{None}: the browser does not say whose page it is.
        @param alone: whether this machine alone can ask here, as far as is known.
        """
        if origin is not None:
            try:
                scheme, name, port = _origin(origin.decode("ascii"))
                if (scheme, name, port) in self._allowed:
                    return None
                # Which of the two it is cannot be told behind a proxy that speaks TLS for us.
                own = urlsplit(f"//{(host or b'').decode('ascii')}")
                if not own.hostname or (own.hostname, own.port or _PORTS[scheme]) != (name, port):
                    return _ANOTHER
            except ValueError:
                return _ANOTHER
        return _NAME if alone and not (is_loopback(host) or _name(host) in self._names) else None


def is_loopback(host: bytes | None) -> bool:
    """Whether a server was asked for (C{Host}) by a name that leads everybody to their own machine."""
    name = _name(host)
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _name(host: bytes | None) -> str:
    try:
        return urlsplit(f"//{(host or b'').decode('ascii')}").hostname or ""
    except ValueError:
        return ""


def _origin(text: str) -> tuple[str, str, int]:
    parts = urlsplit(text)
    if parts.scheme not in _PORTS or not parts.hostname or parts.path or parts.query or parts.fragment:
        raise ValueError(f"{text!r} is none")
    return parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme]
