"""A program that follows what happens, by server-sent events, and confirms what it is told."""

from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING, Optional

from tests.simulation.actors import brief
from tests.simulation.asking import Asker
from tests.simulation.books import Violation
from tests.simulation.events import Events
from tests.simulation.net import Link
from tests.simulation.plan import HTTP

if TYPE_CHECKING:
    from tests.simulation.world import World

_BEGUN = b"HTTP/1.1 200 "


class Chunks:
    """An answer in chunks (RFC 9112), which may come in pieces of any size.

    @ivar rest: what was not read yet; once it is over: what follows it.
    @ivar over: whether the last chunk has come.
    """

    def __init__(self) -> None:
        self.rest = b""
        self.over = False

    def take(self, data: bytes) -> bytes:
        """The content of what has arrived."""
        self.rest += data
        content = b""
        while not self.over:
            size, found, behind = self.rest.partition(b"\r\n")
            length = int(size, 16) if found else 0
            if not found or len(behind) < length + 2:
                break
            if behind[length : length + 2] != b"\r\n":
                raise Violation(f"a chunk of {length} bytes does not end there: {behind[:40]!r}")
            content += behind[:length]
            self.rest = behind[length + 2 :]
            self.over = length == 0
        return content


class Follower(Asker):
    """A program that has a stream of events open most of the time.

    It confirms by requests, while the stream is open on another connection.
    """

    def __init__(self, world: World, link: Link, name: str) -> None:
        super().__init__(world, link, name)
        self._judge = Events(world.model, name)
        self._judge.watch(link)
        self._stream: Optional[Chunks] = None
        self._text = b""
        self._last = 0
        self._bounded = False
        self._other: Optional[Asker] = None
        self._follow(world.random)

    @property
    def _asks_to_follow(self) -> bool:
        return self._asked is not None and self._asked.path.startswith("/events")

    def act(self, random: Random) -> None:
        """Ask for a stream, or confirm what was shown."""
        if self._stream is not None:
            self._confirm_elsewhere()
        elif self._asked is None and not self.link.up.ended:
            if self.shown and random.random() < 0.3:
                self._confirm(random)
            else:
                self._follow(random)

    def _confirm_elsewhere(self) -> None:
        """By another connection, which is asked whatever is asked over HTTP, receipts among it."""
        gone = self._other is None or not self._other.link.client_open
        if gone and self.shown and self.world.up and not self.world.healing:
            other = self.world.connect(self.name, HTTP)
            assert isinstance(other, Asker)
            other.shown = self.shown
            self._other = other

    def _follow(self, random: Random) -> None:
        path, headers, after = "/events", [], 0
        parameters = random.choice([[], [], [], ["for=1s"], ["for=20s"]])
        self._bounded = bool(parameters)
        how = random.random()
        if self._last and how < 0.4:
            after = self._last
            headers = [f"Last-Event-ID: {after}"]
        elif self._last and how < 0.5:
            after = self._last
            parameters = [*parameters, f"after={after}"]
        if parameters:
            path += "?" + "&".join(parameters)
        secret = self._ask("GET", path, random, headers=headers)
        self._judge.asks(secret, after)

    # --- being answered ---

    def arrived(self, data: bytes) -> None:
        """See L{tests.simulation.net.ClientSide.arrived}."""
        if self._stream is None:
            if not self._asks_to_follow:
                super().arrived(data)
                return
            head, found, behind = (self._heard + data).partition(b"\r\n\r\n")
            if not (found and head.startswith(_BEGUN)):
                super().arrived(data)
                if self._asked is None:
                    self._judge.refused()
                return
            self._begin(head)
            data = behind
        assert self._stream is not None
        *events, self._text = (self._text + self._stream.take(data)).split(b"\n\n")
        for event in events:
            self._event(event.decode())
        if self._stream.over:
            self._end(self._stream.rest)

    def _begin(self, head: bytes) -> None:
        asked, self._asked = self._asked, None
        self._need(b"Content-Type: text/event-stream" in head, asked, f"a stream begins with {head!r}")
        self.world.log(f"#{self.link.number} < a stream of events")
        self._heard, self._text = b"", b""
        self._stream = Chunks()
        self._judge.begins()

    def _event(self, text: str) -> None:
        fields: dict[str, str] = {}
        for line in text.split("\n"):
            name, found, value = line.partition(":")
            if name:
                self._need(bool(found) and name not in fields, None, f"an event has the line {line!r}")
                fields[name] = value.removeprefix(" ")
        if not fields:
            return  # a comment: the stream is alive
        self._need(set(fields) - {"id"} == {"event", "data"}, None, f"an event has the fields {list(fields)}")
        content = json.loads(fields["data"])
        self.world.log(f"#{self.link.number} < {fields['event']} {brief(content)}")
        id = int(fields["id"]) if "id" in fields else None
        self._judge.tells(fields["event"], id, content)
        if id is not None:
            self.shown[id] = None
            self._last = id

    def _end(self, rest: bytes) -> None:
        lawful = self._bounded or self._judge.told_why
        self._need(lawful and not (rest or self._text), None, f"the stream ends with {self._text + rest!r}")
        self.world.log(f"#{self.link.number} < the end of the stream")
        self._stream = None
        self._judge.ends()
