"""What a person has written, on disk until the server has accepted it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

from filelock import FileLock, Timeout
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from chat.client import places
from chat.client.state import State, StateError
from chat.errors import BadFrame, FatalError
from chat.messages import Message
from chat.wire import Codec, deserialize, serialize
from chat.wire.text_words import visible

#: What was accepted is forgotten so much later at most, or together with the next change. Were the
#: program killed before, it would be sent again under the same ref, which the server knows.
_FORGET_SECONDS = 1.0

_INSERT = "INSERT INTO outbox (ref, owner, server, account, frame) VALUES (?, ?, ?, ?, ?)"

_KEPT = "SELECT frame FROM outbox WHERE server = ? AND account = ? AND ref = ?"

_DELETE = "DELETE FROM outbox WHERE server = ? AND account = ? AND ref = ?"


class RefTaken(StateError):
    """Another message is kept under the same C{ref}."""

    def __init__(self, ref: str) -> None:
        super().__init__(
            f"the ref {visible(ref)} belongs to another message, which is not sent yet; see chat outbox"
        )


class Spool:
    """The outbox of one account at one server.

    Each running client sends what it has kept itself, and when it begins, what was kept by
    clients that do not run any more; so two that run at the same time do not send each
    other's.  A client is known to run because it holds a lock, which ends with it however
    it ends.  What is kept in one turn of the reactor goes to disk together.

    @ivar unreadable: the numbers of what is no message, after L{left_behind}.
    """

    def __init__(self, clock: IReactorTime, state: State, server: str, account: str) -> None:
        self._clock = clock
        self._state = state
        self._server = server
        self._account = account
        self._owner = token_hex(8)
        self.unreadable: list[int] = []
        self._lock: FileLock | None = None
        self._kept: list[tuple[str, bytes, Deferred[None]]] = []
        self._done: list[str] = []
        self._flush: IDelayedCall | None = None

    def keep(self, ref: str, message: Message) -> Deferred[None]:
        """Keep a message, which has this C{ref} of its own.

        The same once more is kept once.

        @return: fires when it is on disk; fails with L{StateError} when it cannot be, with
            L{RefTaken} because of another one.
        @raise ValueError: the text cannot be written in UTF-8.
        """
        written: Deferred[None] = Deferred()
        self._kept.append((ref, serialize(message, Codec.JSON), written))
        self._flush_in(0.0)
        return written

    def forget(self, ref: str) -> None:
        """A message need not be sent any more."""
        self._done.append(ref)
        self._flush_in(_FORGET_SECONDS)

    def left_behind(self) -> list[Message]:
        """Take over what clients have left that do not run any more, in the order in which it was written.

        @raise StateError: it cannot be read.
        """
        for path in self._state.folder.glob("client-*.lock"):
            self._take_over(path.stem.removeprefix("client-"))
        query = "SELECT DISTINCT owner FROM outbox WHERE server = ? AND account = ?"
        for (owner,) in self._state.rows(query, self._server, self._account):
            self._take_over(owner)
        query = "SELECT number, frame FROM outbox WHERE owner = ? ORDER BY number"
        read = [(number, _message(frame)) for number, frame in self._state.rows(query, self._owner)]
        self.unreadable = [number for number, message in read if message is None]
        return [message for _, message in read if message is not None]

    def clear(self) -> None:
        """The account is gone: nothing of it can be sent any more.

        @raise StateError: it cannot be written.
        """
        with self._state.change() as connection:
            connection.execute(
                "DELETE FROM outbox WHERE server = ? AND account = ?", (self._server, self._account)
            )

    def close(self) -> None:
        """Write what is to be written, and leave the rest to the next client."""
        self._write()
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()
            with suppress(OSError):
                self._lock_path(self._owner).unlink()

    def _take_over(self, owner: str) -> None:
        """Make our own what this client has kept for our account, if it does not run any more."""
        if owner == self._owner or not self._runs_no_more(owner):
            return
        with self._state.change() as connection:
            connection.execute(
                "UPDATE outbox SET owner = ? WHERE owner = ? AND server = ? AND account = ?",
                (self._hold(), owner, self._server, self._account),
            )

    def _hold(self) -> str:
        """Our name, in which we may keep something from now on."""
        if self._lock is None:
            places.private(self._state.folder)
            lock = FileLock(self._lock_path(self._owner), timeout=0, mode=0o600)
            lock.acquire()
            self._lock = lock
        return self._owner

    def _runs_no_more(self, owner: str) -> bool:
        path = self._lock_path(owner)
        try:
            with FileLock(path, timeout=0, mode=0o600):
                pass
        except Timeout:
            return False
        except (OSError, NotImplementedError) as error:  # the latter: no locks on this file system
            raise StateError(f"{path} cannot be used: {error}") from None
        with suppress(OSError):
            path.unlink()
        return True

    def _lock_path(self, owner: str) -> Path:
        return self._state.folder / f"client-{owner}.lock"

    def _flush_in(self, seconds: float) -> None:
        at = self._clock.seconds() + seconds
        if self._flush is None:
            self._flush = self._clock.callLater(seconds, self._write)
        elif self._flush.getTime() > at:
            self._flush.reset(seconds)

    def _write(self) -> None:
        """Make what was kept and forgotten last."""
        if self._flush is not None and self._flush.active():
            self._flush.cancel()
        self._flush = None
        kept, self._kept = self._kept, []
        done, self._done = self._done, []
        if not kept and not done:
            return
        taken: list[str] = []
        try:
            with self._state.change() as connection:
                place = (self._hold(), self._server, self._account)
                for ref, frame, _ in kept:
                    there = connection.execute(_KEPT, (self._server, self._account, ref)).fetchone()
                    if there is None:
                        connection.execute(_INSERT, (ref, *place, frame))
                    elif not _same(there[0], frame):
                        taken.append(ref)
                connection.executemany(_DELETE, [(self._server, self._account, ref) for ref in done])
        except StateError as error:
            self._done = done + self._done  # forgotten together with the next change
            for _, _, written in kept:
                written.errback(error)
        else:
            for ref, _, written in kept:
                written.errback(RefTaken(ref)) if ref in taken else written.callback(None)


def waiting(state: State) -> Iterator[tuple[int, str, str, Message | None]]:
    """Everything in the outbox of a profile: number, server, account, message; in the order it was written.

    The message is C{None} where there is something that is none, because another program has
    written it, for example.

    @raise StateError: it cannot be read.
    """
    query = "SELECT number, server, account, frame FROM outbox ORDER BY number"
    for number, server, account, frame in state.rows(query):
        yield number, server, account, _message(frame)


def no_message(number: int) -> str:
    """What to do about something in the outbox that is no message."""
    return f"Number {number} in the outbox is no message. To throw it away: chat outbox --drop {number}"


def drop(state: State, number: int) -> bool:
    """Throw a message away; whether it was there.

    @raise StateError: it cannot be written.
    """
    with state.change() as connection, suppress(OverflowError):  # a number that none can have
        return connection.execute("DELETE FROM outbox WHERE number = ?", (number,)).rowcount > 0
    return False


def _message(frame: object) -> Message | None:
    """The message that is kept, if it is one."""
    with suppress(BadFrame, FatalError):
        if isinstance(frame, bytes) and isinstance(message := deserialize(frame, Codec.JSON), Message):
            return message
    return None


def same(one: Message, other: Message) -> bool:
    """Whether they say the same to the same person."""
    return (one.recipient, one.subject, one.body) == (other.recipient, other.subject, other.body)


def _same(kept: object, frame: bytes) -> bool:
    one, other = _message(kept), _message(frame)
    return one is not None and other is not None and same(one, other)
