"""A server on which people have talked for some days, and on which it is always the same morning.

Its clock is set forward from message to message; otherwise it is a server like any other.
"""

from __future__ import annotations

import mmap
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from tests.daemon import Caller, Daemon

#: Now, in the pictures.
NOW = datetime(2026, 11, 23, 10, 21, tzinfo=timezone.utc)
DOORS = ("--web", "tcp:0:interface=127.0.0.1", "--json", "tcp:0:interface=127.0.0.1")
#: What a program is started by whose clock is that of the file: ahead of the real one by what is in there.
_CLOCK = (
    "import mmap, struct, time; real = time.time; file = open({file!r}, 'rb');"
    " ahead = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ);"
    " time.time = lambda: real() + struct.unpack_from('d', ahead)[0];"
)
SERVER = "from twisted.scripts.twistd import run; run()"
CLIENT = "from chat.client.main import main; main()"


class Said(NamedTuple):
    """Who wrote what to whom, and when.

    @ivar when: the day of the month, and the time.
    @ivar taken: whether the recipient has got it.
    """

    when: str
    sender: str
    recipient: str
    body: str
    subject: str = ""
    taken: bool = True


BEFORE = (
    Said("18 15:12", "frank", "alice", "Lunch on Thursday?"),
    Said("18 15:20", "alice", "frank", "Gladly. The usual place?"),
    Said("18 15:21", "frank", "alice", "Half past twelve, and I bring the photos."),
    Said("20 09:40", "erin", "alice", "The offer for the new disks is attached to ticket 4711.", "Disks"),
    Said("20 10:05", "alice", "erin", "Thank you, I have signed it."),
    Said("21 22:38", "backup", "alice", "atlas: 412 GB in 38 minutes, nothing skipped.", "backup"),
    Said("21 11:02", "bob", "alice", "The new switch is in the rack. Ports 9 to 12 are yours."),
    Said("21 11:09", "alice", "bob", "Thank you! Then I move the printers on Monday."),
    Said("22 16:45", "carol", "alice", "Have you heard the talk on store-and-forward?"),
    Said("22 17:20", "alice", "carol", "Not yet. Was it recorded?"),
    Said("22 17:31", "carol", "alice", "It was. I will send you the link when it is there."),
    Said("22 22:36", "backup", "alice", "atlas: 413 GB in 36 minutes, nothing skipped.", "backup"),
    Said("23 08:55", "alice", "dave", "Which floor do you need them on?", "Printers"),
    Said("23 09:58", "bob", "alice", "The lift is stuck again. Are you in the building?"),
    Said("23 09:59", "alice", "bob", "On the third floor. What do you need?"),
    Said("23 10:01", "bob", "alice", "The key of the server room, if you have it."),
    Said("23 10:02", "alice", "bob", "I have. Five minutes."),
    Said("23 10:04", "bob", "alice", "And a long patch cable, please: five metres, any colour.", "Rack 2"),
    Said("23 10:05", "alice", "bob", "There is a blue one in the drawer.\nI bring it down."),
    Said("23 10:12", "alice", "bob", "In case you are not there: both lie beside the door.", taken=False),
)
#: What comes while alice looks.
THEN = (
    Said(
        "23 10:16", "backup", "alice", "atlas: 413 GB in 41 minutes, 2 files skipped.", "backup", taken=False
    ),
    Said("23 10:19", "carol", "alice", "Here it is: https://talks.example/store-and-forward", taken=False),
    Said("23 10:20", "carol", "alice", "The part about receipts begins at 21:07.", taken=False),
)


class Stage:
    """In place of a test: as much of one as the server and the browser need; what is begun ends with it."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def addCleanup(self, function: Callable[..., object], *arguments: object) -> None:
        """Do this in the end."""
        self._stack.callback(function, *arguments)

    def mktemp(self) -> str:
        """A name of a folder that is not there."""
        return str(Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="pictures-"))) / "new")

    def assertEqual(self, found: object, expected: object) -> None:
        """Or it is an error."""
        if found != expected:
            raise AssertionError(f"{found!r} is not {expected!r}")


class Scene:
    """The server, and the people who talk there.

    @ivar daemon: the server.
    @ivar people: who is connected.
    """

    def __init__(self, stage: Any) -> None:
        """Start it; nothing was said."""
        self.daemon = Daemon(stage)
        file = self.daemon.folder / "clock"
        file.write_bytes(bytes(8))
        self._file = file
        with open(file, "r+b") as stream:
            self._ahead = mmap.mmap(stream.fileno(), 8)
        stage.addCleanup(self._ahead.close)
        self._set("18 15:00")
        self.daemon.start(*DOORS, program=(*self.program(SERVER), "-n"))
        self.people: dict[str, Caller] = {}

    def program(self, code: str) -> tuple[str, ...]:
        """The command that runs this code with the scene's clock."""
        return (sys.executable, "-c", _CLOCK.format(file=str(self._file)) + code)

    def join(self, *names: str) -> None:
        """These log in."""
        for name in names:
            self.people[name] = self.daemon.user(name)

    def leave(self, *names: str) -> None:
        """These hang up."""
        for name in names:
            self.people.pop(name).hang_up()

    def tell(self, story: Sequence[Said]) -> None:
        """Let this be said; who does not take what is said to them is not there any more."""
        for said in sorted(story, key=lambda each: each.when):
            self._set(said.when)
            sender, recipient = self.people[said.sender], self.people.get(said.recipient)
            if not said.taken and recipient is not None:
                self.leave(said.recipient)
            more = {"subject": said.subject} if said.subject else {}
            sender.send(said.recipient, said.body, ref=said.when, **more)
            sender.expect("accepted")
            if recipient is None and said.taken:
                take(sender)  # it came back
            elif recipient is not None and said.taken:
                take(recipient)
        self._set(f"{NOW:%d %H:%M}")

    def _set(self, when: str) -> None:
        """It is that time now, and goes on from there."""
        day, clock = when.split(" ")
        hour, minute = clock.split(":")
        moment = NOW.replace(day=int(day), hour=int(hour), minute=int(minute))
        struct.pack_into("d", self._ahead, 0, moment.timestamp() - time.time())


def take(recipient: Caller) -> None:
    """The next message is shown and confirmed, and that has arrived."""
    shown = recipient.next()
    recipient.received(shown["id"])
    recipient.system("ping")
    recipient.expect("pong")
