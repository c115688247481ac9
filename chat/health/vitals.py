"""How the server does: the numbers there are, read when somebody asks, and what is wrong, in words.

Nothing is counted here.  What can be read at once is read; where the messages are is asked of
the database, which also tells whether it answers at all.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Awaitable, Callable, NamedTuple, Protocol, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chat.directory import Directory
from chat.health.gauges import Census, Disk, Gauges
from chat.health.rounds import Task
from chat.limits.crowd import Crowd
from chat.mailroom import Mailroom

#: Within so many seconds the database is expected to answer.
PATIENCE = 5.0


class Watched(Protocol):
    """What is asked of the store."""

    @property
    def gauges(self) -> Gauges:
        """See L{chat.store.store.Store.gauges}."""

    def census(self) -> Awaitable[Census | None]:
        """See L{chat.store.store.Store.census}."""


class Doorway(NamedTuple):
    """An open door.

    @ivar kind: how it is talked there.
    @ivar address: where it listens, as the log says it.
    @ivar way: C{tls}, C{plaintext}, or C{local} where nobody else could overhear it.
    @ivar connections: how many there are.
    """

    kind: str
    address: str
    way: str
    connections: int


class Reading(NamedTuple):
    """What the database said.

    @ivar answered: whether it said anything, and in time; an error is no answer.
    @ivar census: where the messages are; C{None}: it is not known (yet).
    """

    answered: bool
    census: Census | None


class Problem(NamedTuple):
    """Something that is wrong.

    @ivar part: of what: a word for programs.
    @ivar words: a sentence for people: what it is, and what to do.
    @ivar grave: whether somebody has to look at it now; if not, the server does without something.
    """

    part: str
    words: str
    grave: bool = True


class Vitals:
    """What can be known of a server that runs."""

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        store: Watched,
        *,
        mailroom: Mailroom,
        directory: Directory,
        crowd: Crowd,
        doors: Callable[[], Sequence[Doorway]],
        disk: Callable[[], Disk],
        tasks: Callable[[], Sequence[Task]],
        expires: Callable[[], datetime | None],
    ) -> None:
        """Know of these.

        @param doors: tells the doors.
        @param disk: tells the room on the disk.
        @param tasks: tells what is done from time to time.
        @param expires: until when the certificate is good; C{None}: there is none.
        """
        self._clock = clock
        self.store = store
        self.mailroom = mailroom
        self.directory = directory
        self.crowd = crowd
        self.doors = doors
        self.disk = disk
        self.tasks = tasks
        self.expires = expires
        self.since = clock.seconds()
        self._asking = False
        self._waiting: list[Deferred[Reading]] = []

    def read(self) -> Deferred[Reading]:
        """Ask the database; fires with what it said, after L{PATIENCE} at the latest."""
        reading: Deferred[Reading] = Deferred()
        self._waiting.append(reading)
        if not self._asking:  # not twice at a time, however many want to know
            self._asking = True
            Deferred.fromCoroutine(self._ask())
        return reading.addTimeout(PATIENCE, self._clock, lambda *_: Reading(False, None))

    async def _ask(self) -> None:
        try:
            reading = Reading(True, await self.store.census())
        except Exception:
            self._log.failure("Where the messages are cannot be told")
            reading = Reading(False, None)
        self._asking = False
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(reading)  # to those whose time is over it makes no difference

    def problems(self, reading: Reading) -> list[Problem]:
        """What is wrong, the worst first."""
        found = []
        if not reading.answered:
            why = (
                f"The database does not answer within {PATIENCE:g} seconds, or only with an error:"
                " look at the disk and at the log."
            )
            found.append(Problem("database", why))
        census = reading.census
        if census is not None and census.unaccounted:
            why = (
                f"{census.unaccounted} of {census.accepted} messages are unaccounted for: run chatctl audit."
            )
            found.append(Problem("messages", why))
        for task in self.tasks():
            if task.late:
                every = f"it should be done every {task.period:g} seconds"
                since = "never" if task.succeeded is None else f"not since {_moment(task.succeeded)}"
                found.append(Problem(task.name, f"{task.name}: {since} done; {every}: look at the log."))
        expires = self.expires()
        if expires is not None and expires.timestamp() <= self._clock.seconds():
            why = f"The TLS certificate expired on {_moment(expires.timestamp())}: renew it."
            found.append(Problem("certificate", why))
        disk = self.disk()
        if disk.free <= disk.reserve:
            why = f"{disk.free} bytes are free on the disk, {disk.reserve} are kept in reserve"
            why = f"{why}: no new messages are accepted; make room."
            found.append(Problem("disk", why, grave=False))
        return found


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
