"""The web door: requests and frames of WebSocket, spoiled in every way."""

from __future__ import annotations

import struct
from random import Random
from typing import Any

from tests.fuzz.mutation import MAKERS, cut, spoil
from tests.fuzz.targets import HEARD_BYTES, HEARD_MOST, STEPS, TIMES, Fault, SessionTarget
from tests.network import Network
from tests.web import UPGRADE, knock, open_site, request

#: What a request takes, until all of its answer is read: its headers and those of the answer, each an object.
REQUEST_BYTES = 8 * 1024
#: So many answers, the shortest ones, are made for somebody who reads none.
ANSWERS = 100
#: The files of the page, which any request may be answered by, are no larger than this together.
PAGE_BYTES = 256 * 1024
_CONTINUED, _TEXT, _CLOSE, _PING = 0, 1, 8, 9
#: How many bytes the shortest request, and the shortest frame, have.
SHORTEST = 6

_UPGRADE = request("/socket", **{name.replace("-", "_"): value for name, value in UPGRADE.items()})
_REQUESTS = (
    request("/"),
    request("/index.html", Accept_Encoding="gzip", If_None_Match='"x"'),
    request("/", "HEAD", Connection="close"),
    request("/nothing?x=y"),
    request("/health"),
    request("/messages?limit=2", Authorization="Bearer nothing"),
    request("/to/bob", "POST", b'{"body":"hi"}', Content_Type="application/json", Authorization="Basic YTpi"),
    request("/to/bob", "POST", Transfer_Encoding="chunked") + b"5\r\nhello\r\n0\r\n\r\n",
    request("/token", "POST", b"a=b", Expect="100-continue"),
    request("*", "OPTIONS"),
    _UPGRADE,
)
_SCRAPS = (
    b"\r\n",
    b"\r\n\r\n",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Upgrade: websocket\r\nConnection: Upgrade\r\n",
    b"Origin: null\r\n",
    b" HTTP/1.1\r\n",
    b" HTTP/1.0\r\n",
    b"GET /",
    b"\x81\x80\x00\x00\x00\x00",
    b"\x89\xfe\x00\x7f\x00\x00\x00\x00",
    b"\x81\xff\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00",
    b"0\r\n\r\n",
    b"ffffffff\r\n",
)


class WebTarget(SessionTarget):
    """A whole server: an input is what one connection says at the web door, in pieces."""

    def _start(self) -> Network:
        network = super()._start()
        open_site(network)
        return network

    def allowed(self, wire: bytes) -> int:
        """See L{Target.allowed}."""
        answered = min(wire.count(b"HTTP/"), ANSWERS) * REQUEST_BYTES
        return super().allowed(b"\x00" + wire) + TIMES * len(wire) + answered + PAGE_BYTES

    def make(self, random: Random) -> bytes:
        """Requests, or what becomes a WebSocket and then says something; some of it spoiled."""
        if random.random() < 0.5:
            parts = random.choices(_REQUESTS, k=random.choice((1, 1, 2, 5)))
            if random.random() < 0.05:
                parts *= random.choice((20, 200))
        else:
            parts = [_UPGRADE, *(_message(random) for _ in range(random.choice((1, 2, 5, 20))))]
        if random.random() < 0.8:
            at = random.randrange(len(parts))
            parts[at] = spoil(random, parts[at], _SCRAPS, _REQUESTS)
        return b"".join(parts)

    def run(self, wire: bytes) -> int:
        """See L{Target.run}."""
        if not wire:
            return 0
        self._count()
        random = Random(len(wire) * 256 + wire[-1])
        network = self._network
        site: Any = network.doors["web"]
        connection = knock(site)
        heard = 0
        for piece in cut(random, wire):
            connection.arrive(piece)
            if random.random() < 0.7 and heard < HEARD_MOST:
                network.clock.advance(0)
                heard += len(connection.read())
        network.clock.advance(random.choice((0, 0, 0, 1, 100)))
        connection.lose()
        network.clock.advance(0)
        self._complain()
        if site.channels or network.doors["sockets"].connections:
            raise Fault("a connection that was lost is still known")
        return 1 + STEPS * (len(wire) // SHORTEST + heard // HEARD_BYTES)


def _frame(random: Random, opcode: int, payload: bytes, whole: bool = True) -> bytes:
    """A frame of a client, now and then one that says something else than is true."""
    size = len(payload) if random.random() < 0.95 else random.choice((0, 125, 126, 65535, 65536, 1 << 62))
    short = size if size < 126 else 126 if size < 1 << 16 else 127
    head = bytes((whole << 7 | opcode, 0x80 | short))
    head += b"" if short < 126 else struct.pack("!H" if short == 126 else "!Q", size)
    key = random.randbytes(4)
    return head + key + bytes(octet ^ key[at % 4] for at, octet in enumerate(payload))


def _message(random: Random) -> bytes:
    """What a client says by WebSocket: a message in some fragments, a ping, a goodbye."""
    what = random.random()
    if what < 0.1:
        return _frame(random, _PING, random.randbytes(random.choice((0, 1, 125)))) * random.choice((1, 1, 99))
    if what < 0.15:
        return _frame(random, _CLOSE, struct.pack("!H", random.choice((1000, 1001, 1005, 3000, 9))))
    text = MAKERS["json"](random)
    frames, opcode = [], _TEXT
    while text and random.random() < 0.4:
        size = random.choice((0, 1, len(text) // 2))
        frames.append(_frame(random, opcode, text[:size], whole=False))
        text, opcode = text[size:], _CONTINUED
        if random.random() < 0.2:
            frames.append(_frame(random, _PING, b"?"))
    return b"".join([*frames, _frame(random, opcode, text)])
