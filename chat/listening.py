"""Endpoints: what an operator writes of one, and what is made of it."""

from __future__ import annotations

import re
import socket
from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.python.failure import Failure

from chat.proxied import described

#: How many connections may wait at a door for their turn.
WAITING_LINE = 4096


def endpoint(reactor: Any, kind: str, description: str) -> IStreamServerEndpoint:
    """The endpoint of this description.

    @raise ValueError: it is none, or it needs something that is not there.
    """
    try:
        return described(reactor, description, lambda inner: serverFromString(reactor, _private(inner)))
    except Exception as error:  # every kind of endpoint has its own ways to fail
        cause = f"{type(error).__name__}: {error}"
        raise ValueError(f"--{kind} {description!r} is no endpoint that can be used ({cause})") from error


def _private(description: str) -> str:
    """The same door; a UNIX socket is for its owner alone, unless the operator says which C{mode} it has."""
    kind, *parts = re.split(r"(?<!\\):", description)
    places = [part for part in parts if "=" not in part]
    if kind != "unix" or len(places) > 1 or any(part.startswith("mode=") for part in parts):
        return description
    return f"{description}:mode=600"


def cannot_listen(kind: str, description: str, failure: Failure | None) -> str:
    """Why the door cannot listen there, and what to do.

    @param failure: C{None}: it would listen later.
    """
    if failure is None:
        return (
            f"The {kind} door cannot listen on {description}: {description} is not ready at once,"
            f" and the server does not begin before all its doors are: name another endpoint with --{kind}."
        )
    cause: object = failure.value
    if isinstance(cause, CannotListenError):
        cause = cause.socketError
    return (
        f"The {kind} door cannot listen on {description} ({cause}):"
        f" stop what is using it, or name another endpoint with --{kind}."
    )


def let_wait(port: Any) -> None:
    """Let the clients of a server that was started anew come back all at once.

    Endpoints let 50 wait. Who comes when the line is full is not heard, and knocks again only
    after a second, then after three more, and so on.
    """
    listening = getattr(port, "socket", None)
    if isinstance(listening, socket.socket):
        listening.listen(WAITING_LINE)


def show(address: Any) -> str:
    """Where a door listens, as a person writes it."""
    if not hasattr(address, "host"):
        name = address.name
        return f"unix:{name.decode(errors='replace') if isinstance(name, bytes) else name}"
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{host}:{address.port}"
