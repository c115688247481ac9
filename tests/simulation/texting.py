"""People at the text door, with telnet or with nc."""

from __future__ import annotations

import re
from random import Random
from typing import TYPE_CHECKING, Optional

from chat.wire.telnet import DO, DONT, ECHO, IAC, TIMING_MARK, WILL, WONT
from tests.simulation import shown
from tests.simulation.actors import Actor
from tests.simulation.books import Violation
from tests.simulation.mail import Said
from tests.simulation.net import Link
from tests.simulation.plan import weighted

if TYPE_CHECKING:
    from tests.simulation.world import World

_HEAD = re.compile(rb"^Message (\d+)(?: \(again\))? (?:from|to .* came back)", re.MULTILINE)


class Person(Actor):
    """Somebody who types lines, and reads them."""

    def __init__(self, world: World, link: Link, name: str, kind: str) -> None:
        super().__init__(world, link, name, "text")
        self._telnet = kind == "telnet"
        self._end = b"\r\n" if self._telnet else b"\n"
        self._binary = world.random.random() < 0.5
        self._raw = b""
        self._line = bytearray()
        self._parts: Optional[list[Said]] = None  # of an answer of several lines
        self._reading = 0  # the id whose body is being read
        self._correspondent = ""
        self._receipts = True
        self._chosen: Optional[str] = None  # a new password that was typed once
        self._token: Optional[str] = None  # to be shown when the password is asked for
        self._commanded = False  # a telnet command was sent
        self._proven = False  # and has arrived
        link.on_write = self._written

    # --- what comes ---

    def _written(self, data: bytes) -> None:
        """The server says this: the next line that arrives there confirms what it shows."""
        self._proven = self._proven or (self._commanded and not self.link.up.flight)
        if not self._proven or not self.conversation.logged_in:
            ids = [int(each) for each in _HEAD.findall(data)]
            self.world.model.claims(self.conversation.name).confirmed.update(ids)

    def arrived(self, data: bytes) -> None:
        """See L{tests.simulation.net.ClientSide.arrived}."""
        self._raw += data
        while self._raw:
            at = self._raw.find(IAC)
            if at < 0:
                self._text(self._raw)
                self._raw = b""
            elif at > 0:
                self._text(self._raw[:at])
                self._raw = self._raw[at:]
            elif len(self._raw) < 3:
                return
            else:
                code, option = self._raw[1:3]
                self._raw = self._raw[3:]
                self._command(code, option)

    def _command(self, code: int, option: int) -> None:
        if not self._telnet:
            raise Violation("nc was sent an octet that is no text")
        if (code, option) == (DO, TIMING_MARK):
            self.conversation.confirms(list(self.conversation.shown))
            self._reply(WONT, option)
        elif option == ECHO:
            self._reply(DO if code == WILL else DONT, option)
        elif code == DO:
            self._reply(WILL if self._binary else WONT, option)
            if self._binary:
                self._end = b"\n"

    def _reply(self, code: int, option: int) -> None:
        self._commanded = True
        self.link.write(bytes((IAC, code, option)))

    def _text(self, data: bytes) -> None:
        self._line += data
        while (at := self._line.find(b"\n")) >= 0:
            line = bytes(self._line[:at]).rstrip(b"\r")
            del self._line[: at + 1]
            self._whole_line(self._prompts(line.decode()))
        try:
            rest = self._line.decode()
        except UnicodeDecodeError:
            return
        if rest in shown.PROMPTS:
            self._prompts(rest)
            self._line.clear()

    def _prompts(self, line: str) -> str:
        """What is left of a line without the prompts that it begins with."""
        while True:
            prompt = next((each for each in shown.PROMPTS if line.startswith(each)), None)
            if prompt is None:
                return line
            line = line[len(prompt) :]
            self._prompted(shown.PROMPTS[prompt])

    def _prompted(self, keyword: str) -> None:
        talk = self.conversation
        if not keyword or talk.logged_in:
            return
        asked = talk.asked[0] if talk.asked else None
        name_asked = asked is not None and asked.frame.get("field") == "username"
        if keyword == "username" and not talk.prompt_due:
            return  # repeated, because something came between
        if keyword != "username" and (talk.prompt_due or not name_asked):
            return
        self.world.log(f"#{self.link.number} < {keyword}:")
        self._chosen = None
        talk.hears({"keyword": keyword})

    def _whole_line(self, line: str) -> None:
        try:
            frame = shown.frame(line)
        except ValueError:
            raise Violation(f"a person is shown a line that means nothing: {line!r}") from None
        if frame is None:
            return
        keyword = frame.get("keyword", "message")
        if keyword == "body":
            self._body(frame["line"])
            return
        self.world.log_frame(self.link, False, frame)
        self._reading = frame["id"] if keyword in ("message", "shown") else 0
        if keyword in shown.PARTS:
            if self._parts is None:
                raise Violation(f"a person is shown what was not asked for: {line!r}")
            self._parts.append(frame)
            return
        asked = self.conversation.asked[0] if self.conversation.asked else None
        parted = self._parts is not None and asked is not None and asked.kind in _PARTED
        if keyword == "pong" and parted:
            assert asked is not None and self._parts is not None
            self.conversation.hears(shown.whole(asked.kind, asked.frame, self._parts))
            self._parts = None
        elif keyword == "failed" and parted:
            self._parts = None
        self.conversation.hears(frame)

    def _body(self, line: str) -> None:
        if self._reading:
            row = self.world.books.rows.get(self._reading)
            if row is None or row.body is None or not row.body.startswith(line.split(">")[0]):
                raise Violation(f"message {self._reading} is shown with another body")
            self._reading = 0

    # --- what is typed ---

    def type(self, *lines: str) -> None:
        """Type these."""
        if not self._telnet:
            self.conversation.confirms(list(self.conversation.shown))
        self.link.write(b"".join(line.encode() + self._end for line in lines))

    def says(self, kind: str, frame: Said) -> None:
        """What is typed next means this."""
        self.world.log_frame(self.link, True, {"typed": kind, **frame})
        self.conversation.says(kind, frame)

    def act(self, random: Random) -> None:
        """Type something."""
        talk = self.conversation
        leaving = any(each.kind in ("delete-account", "logout") for each in talk.asked)
        if talk.half_closed or talk.over or self._parts is not None or leaving:
            return
        if talk.logged_in:
            self._deed(random, weighted(random, self.world.plan.deeds))
        elif talk.asked or talk.prompt_due:
            return
        elif talk.prompt == "username":
            self._token = self.token(random)
            self.says("login", {"field": "username", "value": self.name})
            self.type(self.name if self._token is None else f"/token {self.name}")
        elif talk.prompt == "password" and self._token is not None:
            self.says("login", {"field": "token", "value": self._token})
            self.type(self._token)
        elif talk.prompt == "password":
            self._password(self.secret(random))
        elif talk.prompt == "new-password":
            self._new_password(random)

    def _password(self, secret: str) -> None:
        self.says("login", {"field": "password", "value": secret})
        self.type(secret)

    def _new_password(self, random: Random) -> None:
        if self._chosen is None:
            self._chosen = self.secret(random)
            self.type(self._chosen)
        elif random.random() < 0.2:
            self._chosen = None
            self.type("something else entirely")
        else:
            self.says("login", {"field": "password", "value": self._chosen})
            self.type(self._chosen)
            self._chosen = None

    def _deed(self, random: Random, deed: str) -> None:
        if deed in ("send", "nonsense", "garbage"):
            self._send(random)
        elif deed == "received":
            self.type("")
        elif deed == "delete":
            ids = self.own_ids(random)
            if ids:
                self._parted("delete", {"ids": ids}, f"/delete {' '.join(map(str, ids))}")
        elif deed == "read":
            ids = self.own_ids(random)
            if ids:
                self._parted("read", {"ids": ids}, f"/read {', '.join(map(str, ids))}")
        elif deed == "list":
            box, after = random.choice(["inbox", "sent"]), random.choice([0, 0, random.randint(1, 9)])
            self._parted("list", {"box": box, "after": after}, f"/{box} {after}" if after else f"/{box}")
        elif deed in ("ping", "quit", "token"):
            self.says(deed, {})
            self.type(f"/{deed}")
        elif deed == "logout":
            everywhere = random.random() < 0.3
            self.says(deed, {"all": everywhere})
            self.type("/logout all" if everywhere else "/logout")
        elif deed == "change-password":
            old, new = self.secret(random), f"secret {random.randint(0, 10**9)}"
            self.says("change-password", {"password": old, "new": new})
            self.type("/passwd", old, new, new)
        elif deed == "delete-account":
            secret = self.secret(random)
            self.says("delete-account", {"password": secret})
            self.type("/delete-account", secret)
        elif deed == "half-close":
            self.world.log(f"#{self.link.number} will say no more")
            self.conversation.half_closed = True
            self.link.half_close()

    def _parted(self, kind: str, frame: Said, line: str) -> None:
        """Ask for what is answered in several lines; a ping behind it tells where they end."""
        self._parts = []
        self.says(kind, frame)
        self.says("ping", {})
        self.type(line, "/ping")

    def _send(self, random: Random) -> None:
        number = self.world.count()
        recipient = random.choice([*self.world.plan.names, "nobody"])
        body = f"<{number}> " + random.choice(["é€", "a\tb", "two words", "\\ back", "x" * 200])
        frame: Said = {"recipient": recipient, "body": body, "receipt": self._receipts}
        lines = [f"/to {recipient} {body}"]
        how = random.random()
        if how < 0.3:
            frame |= {"subject": f"about {number}", "body": f"{body}\n.\n.. \nend"}
            lines = [f"/write {recipient}", f"about {number}", body, "..", "... ", "end", "."]
        elif how < 0.6 and self._correspondent:
            frame["recipient"] = recipient = self._correspondent
            lines = [body]
        elif how < 0.65:
            self._receipts = frame["receipt"] = not self._receipts
            lines.insert(0, f"/receipts {'on' if self._receipts else 'off'}")
        self._correspondent = recipient
        self.says("message", frame)
        self.type(*lines)


_PARTED = ("delete", "list", "read")
