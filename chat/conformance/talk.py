"""One connection to the server under test: blocking, and never for longer than its patience.

What the server says is sorted as it comes: answers, deliveries and delivery notices may
be interleaved as it likes, but each kind has its order.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any, NamedTuple

from chat.conformance.codecs import Codec, Plain, Wrong
from chat.conformance.shapes import SHAPES, fault
from chat.conformance.wires import Address, Unlawful


class Failure(Exception):
    """The server did not do what the document says."""


class Said(NamedTuple):
    """What the server said: the keyword, C{message} for a message, and the data."""

    keyword: str
    data: Plain

    def __str__(self) -> str:
        text = f"{self.keyword} {self.data}"
        return text if len(text) <= 300 else f"{text[:297]}..."


class Connection:
    """A client that says exactly what it is told to.

    @ivar answers: what was said in answer and not asked for yet.
    @ivar deliveries: the messages delivered and not asked for yet.
    @ivar notices: the same for C{delivered}.
    @ivar heard: everything that was ever said, in order.
    @ivar name: who is logged in, if so.
    @ivar patience: how long it waits for what must come, in seconds.
    """

    def __init__(self, address: Address, codec: Codec, patience: float, quiet: float) -> None:
        """Connect.

        @param patience: how long to wait for what must come, in seconds.
        @param quiet: how long to wait for what must not come.
        @raise OSError: nobody listens there.
        """
        self._codec = codec
        self.patience = patience
        self._quiet = quiet
        self._buffer = bytearray()
        self._over = False
        self.answers: deque[Said] = deque()
        self.deliveries: deque[Plain] = deque()
        self.notices: deque[Plain] = deque()
        self.heard: list[Said] = []
        self.name = ""
        self._wire = address.open(patience)

    def close(self) -> None:
        """Hang up."""
        self._wire.close()

    # --- saying ---

    def write(self, *pieces: bytes) -> None:
        """Send these bytes; what a server that has hung up does not take is lost."""
        self._wire.settimeout(self.patience)
        try:
            for piece in pieces:
                self._wire.sendall(piece)
        except TimeoutError:
            raise Failure("the server reads no more") from None
        except OSError:
            self._over = True

    def encoded(self, kind: str, **data: Any) -> bytes:
        """The bytes of a frame."""
        return self._codec.encode({"type": kind, "data": data})

    def system(self, keyword: str, **data: Any) -> None:
        """Say a system frame."""
        self.write(self.encoded("system", keyword=keyword, **data))

    def login(self, field: str, value: str, **more: Any) -> None:
        """Say a login frame."""
        self.write(self.encoded("login", field=field, value=value, **more))

    def message(self, recipient: str, body: str, **more: Any) -> None:
        """Say a message."""
        self.write(self.encoded("message", recipient=recipient, body=body, **more))

    # --- hearing ---

    def _hear(self, patience: float) -> bool:
        """Sort one more frame in; whether one came in time.

        @raise Failure: it is none that a server may send.
        """
        until = time.monotonic() + patience
        while True:
            try:
                frame = self._codec.decode(self._buffer)
            except Wrong as error:
                raise Failure(f"the server sent {error}") from None
            if frame is not None:
                self._sort(_judged(frame))
                return True
            left = until - time.monotonic()
            if self._over or left <= 0:
                return False
            self._wire.settimeout(left)
            try:
                arrived = self._wire.recv(1 << 16)
            except TimeoutError:
                return False
            except Unlawful as error:
                raise Failure(str(error)) from None
            except OSError:
                arrived = b""
            self._over = not arrived
            self._buffer += arrived

    def _sort(self, said: Said) -> None:
        self.heard.append(said)
        if said.keyword == "message":
            self.deliveries.append(said.data)
        elif said.keyword == "delivered":
            self.notices.append(said.data)
        else:
            self.answers.append(said)

    def _await(self, queue: deque[Any], what: str) -> Any:
        while not queue:
            if not self._hear(self.patience):
                end = "hung up" if self._over else f"said nothing for {self.patience:g} s"
                seen = ", ".join(str(said) for said in self.heard[-3:]) or "nothing"
                raise Failure(f"awaited {what}, but the server {end}; before that it said: {seen}")
        return queue.popleft()

    def answer(self, keyword: str, **fields: Any) -> Plain:
        """The next answer, which must have this keyword and these fields; C{None}: the field is absent."""
        wanted = Said(keyword, {name: value for name, value in fields.items() if value is not None})
        said: Said = self._await(self.answers, str(wanted))
        match(said, keyword, **fields)
        return said.data

    def any_answer(self, awaited: str) -> Said:
        """The next answer, whatever it is."""
        said: Said = self._await(self.answers, awaited)
        return said

    def delivery(self, **fields: Any) -> Plain:
        """The next message delivered."""
        data: Plain = self._await(self.deliveries, f"message {_short(fields)}")
        match(Said("message", data), "message", **fields)
        return data

    def notice(self, **fields: Any) -> Plain:
        """The next C{delivered}."""
        data: Plain = self._await(self.notices, f"delivered {_short(fields)}")
        match(Said("delivered", data), "delivered", **fields)
        return data

    def refused(self, code: str, ref: str | None = None) -> Plain:
        """The next answer is C{failed} with this code and, of a message that had one, this C{ref}."""
        return self.answer("failed", code=code, ref=ref)

    def settle(self) -> None:
        """Everything said so far has had its effect, and nothing else is answered."""
        self.system("ping")
        self.answer("pong")
        while self._hear(self._quiet):
            pass
        if self.answers:
            raise Failure(f"nothing was asked, but the server said {self.answers[0]}")

    def undisturbed(self) -> None:
        """Nothing is delivered and no delivery told."""
        self.settle()
        if self.deliveries or self.notices:
            raise Failure(
                f"the server said {_short(self.deliveries[0] if self.deliveries else self.notices[0])}"
            )

    def fatal(self, code: str) -> None:
        """The next answer is C{fatal} with this code, and then the connection is closed."""
        self.answer("fatal", code=code)
        self.closed()

    def closed(self) -> None:
        """The server hangs up without another word."""
        while self._hear(self.patience):
            if self.answers:
                raise Failure(f"after its last word the server said {self.answers[0]}")
        if not self._over:
            raise Failure(f"the server did not hang up within {self.patience:g} s")


def match(said: Said, keyword: str, **fields: Any) -> None:
    """Fail unless this was said.

    @param fields: what the data must have; C{None} stands for an absent field.
    """
    got = said.data
    if said.keyword != keyword:
        raise Failure(f"awaited {keyword} {_short(fields)}, but the server said {said}")
    for name, value in fields.items():
        if got.get(name) != value or isinstance(got.get(name), bool) is not isinstance(value, bool):
            raise Failure(f"{keyword} should have {name} {_short(value)}, but the server said {said}")


def _judged(frame: Plain) -> Said:
    """A frame of the server as far as it can be judged alone."""
    kind, data = frame.get("type"), frame.get("data")
    if kind not in ("system", "message") or not isinstance(data, dict):
        raise Failure(f"the server sent {_short(frame)}, which has no type or no data that servers send")
    keyword = data.get("keyword") if kind == "system" else "message"
    if not isinstance(keyword, str) or keyword not in SHAPES:
        raise Failure(f"the server sent {_short(frame)}, whose keyword servers do not say")
    if wrong := fault(SHAPES[keyword], data):
        raise Failure(f"the server sent {_short(frame)}, which {wrong}")
    return Said(keyword, data)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:197]}..."
