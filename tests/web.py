"""The web door of a server in memory: requests as bytes, and a client that talks through the WebSocket."""

from __future__ import annotations

import json
from typing import Any, Mapping, NamedTuple, Sequence

from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IAddress
from twisted.web.resource import IResource
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import CloseConnection, Message, TextMessage

from chat.limits.crowd import Crowd
from chat.web.door import WebDoor
from chat.web.site import ChatSite
from tests.network import Client, Network
from tests.wire import Wire

HERE = IPv4Address("TCP", "127.0.0.1", 40000)
THERE = IPv4Address("TCP", "192.0.2.7", 40000)
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
#: The head of a request to become a WebSocket, from a page of the server itself.
UPGRADE = {
    "Host": "chat.example",
    "Origin": "http://chat.example",
    "Connection": "keep-alive, Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY.decode(),
}


class Response(NamedTuple):
    """What a request was answered with."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def problem(self) -> tuple[int, str]:
        """The status, and the code of what was wrong."""
        return self.status, json.loads(self.body)["code"]


def open_site(
    network: Network,
    *,
    origins: Sequence[str] = (),
    proxies: Sequence[str] = (),
    crowd: Crowd | None = None,
    rooms: Mapping[bytes, IResource] | None = None,
) -> ChatSite:
    """Open a web door to a server."""
    door = WebDoor(origins, proxies)
    crowd = crowd or Crowd()
    network.doors["sockets"] = door.furnish(network.clock, network.converse, 60.0, crowd, rooms or {})
    site = door.site(network.clock, crowd)
    network.doors["web"] = site  # type: ignore[assignment]
    return site


def knock(site: ChatSite, peer: IAddress = HERE, at: IAddress | None = None) -> Wire:
    """A connection to a web door, on which nothing was said.

    @param at: its address at the server; if it is not named, one that others can reach.
    """
    wire = Wire(site.buildProtocol(peer))
    wire.peerAddr = peer
    if at is not None:
        wire.hostAddr = at
    wire.protocol.makeConnection(wire)
    return wire


def request(path: str, method: str = "GET", body: bytes = b"", /, **headers: str) -> bytes:
    """The bytes of a request; underscores in the names of headers stand for hyphens."""
    named = {"Host": "chat.example", **{name.replace("_", "-"): value for name, value in headers.items()}}
    if body:
        named["Content-Length"] = str(len(body))
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items()), "", ""]
    return "\r\n".join(lines).encode() + body


def parse(octets: bytes) -> Response:
    """The one answer that these bytes are."""
    head, found, body = octets.partition(b"\r\n\r\n")
    if not found:
        raise AssertionError(f"no whole answer: {octets!r}")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return Response(int(first.split(" ")[1]), headers, body)


def ask(site: ChatSite, path: str, method: str = "GET", body: bytes = b"", **headers: str) -> Response:
    """What a request is answered with, on a connection of its own."""
    wire = knock(site)
    wire.arrive(request(path, method, body, **headers))
    response = parse(wire.read())
    wire.lose()
    return response


class Page(Client):
    """A client that talks through the WebSocket, each line in a message of its own.

    @ivar closes: the codes with which the server has said goodbye.
    @ivar response: what it was answered that wanted to connect.
    """

    def __init__(
        self, network: Network, peer: IAddress = HERE, at: IAddress | None = None, /, **headers: str
    ) -> None:
        super().__init__(network)  # for what it says and hears; its own connection is not used
        self.wire.lose()
        self.closes: list[int] = []
        self._whole = ""
        self._ws = Connection(ConnectionType.CLIENT)
        site: Any = network.doors["web"]
        self.wire = knock(site, peer, at)
        self.protocol = self.wire.protocol
        named = {**UPGRADE, **{name.replace("_", "-"): value for name, value in headers.items()}}
        lines = ["GET /socket HTTP/1.1", *(f"{name}: {value}" for name, value in named.items() if value)]
        self.wire.arrive("\r\n".join([*lines, "", ""]).encode())
        head, _, rest = self.wire.read().partition(b"\r\n\r\n")
        self.response = parse(head + b"\r\n\r\n" + rest)
        self._early = rest
        network.clients.append(self)

    def write(self, data: bytes) -> None:
        """Say these lines, each in a message of its own."""
        for line in data.splitlines(keepends=True):
            self.put(self._ws.send(TextMessage(line.decode())))

    def put(self, octets: bytes) -> None:
        """Send these bytes."""
        self.wire.arrive(bytes(octets))

    def say_event(self, event: Any) -> None:
        """Send this frame of WebSocket."""
        self.put(self._ws.send(event))

    def decode(self, data: bytes) -> list[dict[str, Any]]:
        """The frames that the messages in these bytes hold."""
        data, self._early = self._early + data, b""
        self._ws.receive_data(data)
        heard = []
        for event in self._ws.events():
            if isinstance(event, CloseConnection):
                self.closes.append(event.code)
            elif isinstance(event, Message):
                self._whole += event.data
                if event.message_finished:
                    heard += super().decode(self._whole.encode())
                    self._whole = ""
        return heard
