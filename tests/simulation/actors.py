"""Programs that speak JSON or DER by hand, and say whatever a program could say."""

from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING, Any, Optional, Sequence

from chat.wire import Codec
from tests.simulation.claims import Send
from tests.simulation.conversation import Conversation
from tests.simulation.mail import NUMBER, Said
from tests.simulation.net import Link
from tests.simulation.plan import weighted
from tests.talker import Talker

if TYPE_CHECKING:
    from tests.simulation.world import World

#: No frame, in JSON and in DER: not UTF-8, not JSON, not DER.
GARBAGE = {
    "json": (b"\xff\xfe\n", b"{nonsense\n", b'{"type":\n', b"[[[[\n"),
    "der": (b"\xa0\x80\x00\x00", b"\x30\x81\x01\x00", b"\xa0\x85\x01\x00\x00\x00\x00"),
}
#: Well-formed, but not for a client to say.
NONSENSE: tuple[Said, ...] = (
    {"type": "system", "data": {"keyword": "pong"}},
    {
        "type": "system",
        "data": {"keyword": "accepted", "id": 1, "time": "2026-11-22T21:07:00.123Z", "state": "waiting"},
    },
    {"type": "login", "data": {"field": "username", "value": "mallory"}},
    {"type": "system", "data": {"keyword": "list", "box": "attic"}},
)


class Coder(Talker):
    """The frames of one direction of a link."""


def kind(frame: Said) -> str:
    """How L{Conversation} calls a frame that a client says."""
    if "keyword" in frame:
        return str(frame["keyword"])
    return "login" if "field" in frame else "message"


def brief(frame: Said) -> str:
    """A frame for the log; what is long is left out."""
    shown = {key: value for key, value in frame.items() if key not in ("reason", "messages", "server")}
    text = json.dumps(shown, sort_keys=True)
    return text if len(text) < 160 else text[:150] + "..."


class Actor:
    """One connection and whoever is behind it.

    @ivar name: whose account it is.
    """

    def __init__(self, world: World, link: Link, name: str, door: str) -> None:
        self.world = world
        self.link = link
        self.name = name
        self.conversation = Conversation(world.model, door)
        self.conversation.watch(link)
        link.client = self

    def arrived(self, data: bytes) -> None:
        """See L{tests.simulation.net.ClientSide.arrived}."""
        raise NotImplementedError

    def closed(self) -> None:
        """See L{tests.simulation.net.ClientSide.closed}."""

    def act(self, random: Random) -> None:
        """Do something."""
        raise NotImplementedError

    def leave(self, random: Random) -> None:
        """Hang up, in good order or not."""
        if random.random() < 0.5:
            self.link.leave()
        else:
            self.link.reset()

    # --- what to say ---

    def secret(self, random: Random) -> str:
        """A password: nearly always one that may be right."""
        possible = list(self.world.model.claims(self.name).passwords)
        if not possible or random.random() < 0.04:
            return random.choice([f"password of {self.name}", "a wrong password", "short"])
        return random.choice(possible)

    def token(self, random: Random) -> Optional[str]:
        """A token in place of the password, if that is to be tried: mostly one of the last that there are."""
        if not self.world.plan.tokens or random.random() < 0.4:
            return None
        values = list(self.world.model.claims(self.name).purse.tokens)
        others = [value for claims in self.world.model.names.values() for value in claims.purse.tokens]
        what = random.random()
        if values and what < 0.8:
            return random.choice(values[-3:])
        return random.choice(others) if others and what < 0.9 else "no token"

    def proof(self, random: Random) -> Said:
        """The frame that follows the name."""
        token = self.token(random)
        if token is not None:
            return {"field": "token", "value": token}
        return {"field": "password", "value": self.secret(random)}

    def some_ids(self, random: Random) -> list[int]:
        """Some of the messages shown here, all of them, none, or any others."""
        shown = list(self.conversation.shown)
        what = random.random()
        if what < 0.35:
            return shown
        if what < 0.8 and shown:
            return random.sample(shown, random.randint(1, len(shown)))
        last = len(self.world.books.rows)
        return [random.randint(0, last + 2) for _ in range(random.randint(0, 4))]

    def own_ids(self, random: Random) -> list[int]:
        """Some of the messages sent or received under this name."""
        sent = [send.id for send in self.world.model.sends.values() if send.sender == self.name and send.id]
        return random.sample(sent, min(len(sent), random.randint(1, 3))) + self.some_ids(random)[:2]


class Program(Actor):
    """A program that speaks JSON or DER.

    @cvar codec: which of them; C{None}: as the door is called.
    """

    codec: Optional[str] = None

    def __init__(self, world: World, link: Link, name: str, door: str) -> None:
        super().__init__(world, link, name, door)
        self._coder = Coder(Codec(self.codec or door))

    def put(self, wire: bytes) -> None:
        """Put these frames on the wire."""
        self.link.write(wire)

    def garbage(self, random: Random) -> bytes:
        """Bytes that are no frame of this door."""
        return random.choice(GARBAGE[self._coder.codec.value])

    def say_no_more(self) -> None:
        """Tell the server so, and listen."""
        self.link.half_close()

    def arrived(self, data: bytes) -> None:
        """See L{tests.simulation.net.ClientSide.arrived}."""
        for frame in self._coder.decode(data):
            self.world.log_frame(self.link, False, frame)
            self.conversation.hears(frame)

    def say(self, *frames: Said) -> None:
        """Put these on the wire, in one go."""
        wire = b""
        for frame in frames:
            self.world.log_frame(self.link, True, frame)
            self.conversation.says(kind(frame), frame)
            type_ = kind(frame) if kind(frame) in ("login", "message") else "system"
            encoded = self._coder.encoded(type_, **frame)
            # Said before the welcome, it may be more than may be said then.
            self.conversation.garbage |= len(encoded) > 4096 and self.conversation.at_login
            wire += encoded
        self.put(wire)

    def log_in(self, random: Random) -> list[Said]:
        """Name and password, as a program that knows both says them."""
        name = self.name.capitalize() if random.random() < 0.1 else self.name
        return [{"field": "username", "value": name}, self.proof(random)]

    def act(self, random: Random) -> None:
        """Say something that fits, or does not."""
        talk = self.conversation
        if talk.half_closed or talk.over:
            return
        if talk.logged_in:
            self._deed(random, weighted(random, self.world.plan.deeds))
        elif talk.asked:
            if random.random() < 0.1:
                self.say({"keyword": "ping"})
        elif talk.prompt == "username":
            frames = self.log_in(random)
            if random.random() < 0.5:
                frames = frames[:1]
            elif random.random() < 0.3:
                frames += self._messages(random)
            self.say(*frames)
        elif talk.prompt:
            self.say(self.proof(random))

    def _search(self, random: Random) -> Said:
        """For everything, or for the number that a message begins with."""
        found = [found for body in self.world.model.sends if (found := NUMBER.match(body))]
        query = random.choice(found)[1] if found and random.random() < 0.7 else "since:1970-01-02"
        return {"keyword": "search", "query": query, "limit": random.choice([3, 100])}

    def _deed(self, random: Random, deed: str) -> None:
        link, talk, world = self.link, self.conversation, self.world
        if deed == "send":
            self.say(*self._messages(random))
        elif deed == "received":
            ids = self.some_ids(random)
            self.say({"keyword": "received", "ids": ids})
            if random.random() < 0.2:
                self.say({"keyword": "read", "ids": ids[:3]})
        elif deed == "delete":
            self.say({"keyword": "delete", "ids": self.own_ids(random)})
        elif deed == "list":
            ask: Said = {"keyword": "list", "box": random.choice(["inbox", "sent"])}
            if random.random() < 0.5:
                ask |= {"after": random.randint(0, 9), "limit": random.randint(1, 9)}
            self.say(ask)
        elif deed == "search":
            self.say(self._search(random))
        elif deed == "read":
            self.say({"keyword": "read", "ids": self.own_ids(random)})
        elif deed in ("ping", "quit", "token"):
            self.say({"keyword": deed})
        elif deed == "logout":
            self.say({"keyword": deed, "all": True} if random.random() < 0.3 else {"keyword": deed})
        elif deed == "change-password":
            self.say(
                {
                    "keyword": deed,
                    "password": self.secret(random),
                    "new": f"secret {random.randint(0, 10**9)}",
                }
            )
        elif deed == "delete-account":
            self.say({"keyword": deed, "password": self.secret(random)}, *self._afterwards(random))
        elif deed == "half-close":
            world.log(f"#{link.number} will say no more")
            talk.half_closed = True
            self.say_no_more()
        elif deed == "nonsense":
            # A login frame is none where a login may be awaited by then.
            frame = NONSENSE[0] if talk.at_login else random.choice(NONSENSE)
            talk.says("nonsense", frame["data"])
            self.put(self._coder.encoded(frame["type"], **frame["data"]))
        elif deed == "garbage":
            world.log(f"#{link.number} > garbage")
            talk.garbage = True
            talk.says("garbage", {})
            link.write(self.garbage(random))
            # What follows is not looked at.
            talk.half_closed = True

    def _afterwards(self, random: Random) -> Sequence[Said]:
        return self._messages(random) if random.random() < 0.3 else ()

    def _messages(self, random: Random) -> list[Said]:
        return [message(self, random) for _ in range(random.choice([1, 1, 1, 2, 5]))]


def message(actor: Any, random: Random) -> Said:
    """A message: a new one, one that was sent before, or another one under a ref that was used."""
    world, name = actor.world, actor.name
    mine = [send for send in world.model.sends.values() if send.sender == name and send.ref is not None]
    what = random.random()
    if mine and what < 0.2:
        return frame_of(random.choice(mine[-8:]))
    plan = world.plan
    who = random.random()
    recipient = random.choice(plan.names)
    if who < 0.08:
        recipient = random.choice(["nobody", "Zed", "", "no name", "x" * 300, "y" * 5000])
    elif who < 0.13:
        recipient = recipient.upper()
    number = world.count()
    body = f"<{number}> " + "".join(random.choices("ab\n\\\x07é€", k=random.randint(0, plan.largest_body)))
    if random.random() < 0.01:
        body += "z" * 66_000
    frame: Said = {"recipient": recipient, "body": body}
    if random.random() < 0.3:
        frame["subject"] = f"about {number}" if random.random() < 0.9 else "s" * 257
    if random.random() < 0.5:
        frame["receipt"] = True
    if mine and what < 0.25:
        frame["ref"] = random.choice(mine[-8:]).ref
    elif what < 0.8:
        frame["ref"] = f"r{number}" if random.random() < 0.98 else "r" * 65 + str(number)
    return frame


def frame_of(send: Send) -> Said:
    """The frame that sends this once more."""
    frame: Said = {"recipient": send.recipient, "body": send.body}
    for field in ("subject", "ref"):
        if getattr(send, field) is not None:
            frame[field] = getattr(send, field)
    if send.receipt:
        frame["receipt"] = True
    return frame
