"""Steps that others set going: what goes wrong in one ends its own session, and does not reach them."""

from __future__ import annotations

from functools import wraps
from typing import Callable, Concatenate, ParamSpec, Protocol, TypeVar

from chat.ports import Peer


class Alone(Protocol):
    """Whose steps they are."""

    _peer: Peer


_P = ParamSpec("_P")
_One = TypeVar("_One", bound=Alone)


def alone(step: Callable[Concatenate[_One, _P], None]) -> Callable[Concatenate[_One, _P], None]:
    """Let an error in this step end the session as it does where the session's own connection has asked."""

    @wraps(step)
    def guarded(one: _One, /, *args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            step(one, *args, **kwargs)
        except Exception as error:
            one._peer.run(_raise(error))

    return guarded


async def _raise(error: Exception) -> None:
    raise error
