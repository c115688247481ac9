"""The web door, put together."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Callable, Mapping, Optional, Sequence

from twisted.web.resource import IResource

from chat.errors import tls_needed
from chat.limits.crowd import Crowd
from chat.ports import Peer
from chat.protocol import ChatFactory
from chat.session import Session
from chat.web.answers import whole
from chat.web.api import Api
from chat.web.origins import Origins
from chat.web.proxies import Proxies
from chat.web.site import ChatSite
from chat.web.socket import Socket
from chat.web.tree import Root
from chat.wire import Codec
from chat.wire.translator import FrameTranslator

#: What a client can ask for by ALPN where this door speaks TLS.
PROTOCOLS = (b"http/1.1",)
#: The answer to plaintext where this door speaks TLS.
PLAINTEXT = whole(
    HTTPStatus.BAD_REQUEST, tls_needed().code.value, "This door speaks TLS only: ask for https."
)


class WebDoor:
    """The page, the WebSocket, and what programs ask for."""

    def __init__(self, origins: Sequence[str] = (), proxies: Sequence[str] = ()) -> None:
        """Read all that may be out of reach later.

        @param origins: see L{Origins}.
        @param proxies: see L{Proxies}.
        @raise ValueError: one of these cannot be used.
        """
        self._origins = Origins(origins)
        self._proxies = Proxies(proxies)
        self._root = Root()
        self._api: Optional[Api] = None

    def furnish(
        self,
        reactor: Any,
        converse: Callable[[Peer], Session],
        login_timeout: float,
        crowd: Crowd,
        rooms: Mapping[bytes, IResource],
    ) -> ChatFactory:
        """Put into it what needs a server that runs; what those talk to who come in by the WebSocket.

        @param rooms: what else is below the page, by the first part of the path.
        """
        sockets = ChatFactory(
            reactor, lambda: FrameTranslator(Codec.JSON), converse, login_timeout, crowd=crowd
        )
        self._api = Api(reactor, converse)
        self._root.put({**rooms, **self._api.resources, b"socket": Socket(sockets)})
        return sockets

    def site(self, reactor: Any, crowd: Crowd) -> ChatSite:
        """What serves those who come in at one endpoint."""
        return ChatSite(reactor, self._root, crowd, self._origins, self._proxies)

    def shut_down(self) -> None:
        """The server stops: tell those whose requests wait for something."""
        if self._api is not None:
            self._api.shut_down()
