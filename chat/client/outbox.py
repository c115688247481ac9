"""What was given to the client to send and is not known to be accepted."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from chat.client.connection import Connection
from chat.client.errors import Ended, OutboxFull, Refused, too_large
from chat.errors import Code
from chat.messages import Accepted, Failed, Frame, Message
from chat.wire import Codec, serialize

#: A message at which the server has failed so often is given up.
_MOST_CRASHES = 3


class Parcel:
    """One message on its way: its bytes, always the same, and who waits for it.

    @ivar posted: it was written to the present connection.
    @ivar crashes: how many conversations the server ended with C{internal-error} while
        only this one was unanswered.
    """

    __slots__ = ("accepted", "crashes", "posted", "ref", "wire")

    def __init__(self, ref: str, wire: bytes) -> None:
        self.ref = ref
        self.wire = wire
        self.accepted: Deferred[Accepted] = Deferred()
        self.posted = False
        self.crashes = 0


class Outbox:
    """Sends what it is given in order, and again over each new connection until accepted.

    It is bounded in number and bytes.  After C{slow-down} it writes nothing for as long
    as the server said.  After C{internal-error} it writes one message at a time until
    those that were under way are answered, so that the one at which the server fails is
    found, and does not block the others for ever.
    """

    def __init__(
        self, clock: IReactorTime, codec: Codec, most: int = 10_000, most_bytes: int = 64 * 1024 * 1024
    ) -> None:
        self._clock = clock
        self._codec = codec
        self._most = most
        self._most_bytes = most_bytes
        self._parcels: dict[str, Parcel] = {}
        self._bytes = 0
        self._connection: Connection | None = None
        self._hold: IDelayedCall | None = None
        self._careful = False
        self._suspects: set[str] = set()

    def __len__(self) -> int:
        return len(self._parcels)

    def send(self, message: Message) -> Deferred[Accepted]:
        """Keep a message, which has a C{ref}, until it is answered, and write it as soon as that can be.

        @return: fires with the answer, or fails with L{Refused}.  When cancelled, the
            message is not written any more.
        @raise OutboxFull: there is no room; nothing was kept.
        @raise ValueError: a message with the same C{ref} is on its way, or the text cannot be
            written in UTF-8.
        """
        ref, wire = message.ref or "", serialize(message, self._codec)
        if (refusal := too_large(wire)) is not None:
            return fail(refusal)
        if ref in self._parcels:
            raise ValueError("a message with this ref is on its way already")
        if len(self._parcels) >= self._most or self._bytes + len(wire) > self._most_bytes:
            raise OutboxFull(
                f"{len(self._parcels)} messages ({self._bytes} bytes) wait to be accepted; "
                f"at most {self._most} messages and {self._most_bytes} bytes may."
            )
        parcel = Parcel(ref, wire)
        parcel.accepted = Deferred(lambda _: self._remove(parcel))
        self._parcels[ref] = parcel
        self._bytes += len(wire)
        self._post(self._parcels.values() if self._careful else (parcel,))
        return parcel.accepted

    def connected(self, connection: Connection) -> None:
        """Write everything to this connection, and from now on what comes."""
        self._connection = connection
        self._post(self._parcels.values())

    def disconnected(self, error: Exception) -> None:
        """The connection that was used is no more, for this reason."""
        self._connection = None
        self._unhold()
        posted = [parcel for parcel in self._parcels.values() if parcel.posted]
        for parcel in posted:
            parcel.posted = False
        if isinstance(error, Ended) and error.code == Code.INTERNAL_ERROR:
            self._careful = True
            self._suspects.update(parcel.ref for parcel in posted)
            if len(posted) == 1:
                posted[0].crashes += 1
                if posted[0].crashes >= _MOST_CRASHES:
                    self._remove(posted[0])
                    posted[0].accepted.errback(error)

    def close(self, error: Exception) -> None:
        """Give everything up."""
        self._connection = None
        self._unhold()
        for parcel in list(self._parcels.values()):
            self._remove(parcel)
            parcel.accepted.errback(error)

    def _remove(self, parcel: Parcel) -> None:
        if self._parcels.pop(parcel.ref, None) is not None:
            self._bytes -= len(parcel.wire)
            self._suspects.discard(parcel.ref)

    def _post(self, parcels: Iterable[Parcel]) -> None:
        """Write those of these that are not on their way, as far as that may be now."""
        if self._connection is None or self._hold is not None:
            return
        unposted = [parcel for parcel in parcels if not parcel.posted]
        if self._careful:
            busy = any(parcel.posted for parcel in self._parcels.values())
            unposted = [] if busy else unposted[:1]
        for parcel in unposted:
            parcel.posted = True
        if unposted:
            questions = [(parcel.wire, self._answered(parcel)) for parcel in unposted]
            self._connection.post(questions, Accepted)

    def _answered(self, parcel: Parcel) -> Callable[[Frame | Exception], None]:
        def answered(answer: Frame | Exception) -> None:
            if isinstance(answer, Exception):
                return  # it will be repeated over the next connection
            if isinstance(answer, Failed) and answer.code == Code.SLOW_DOWN:
                parcel.posted = False
                self._slow_down(answer.seconds or 1)
                return
            wanted = self._parcels.get(parcel.ref) is parcel
            if wanted:
                self._remove(parcel)
            if self._careful:
                self._careful = bool(self._suspects)
                self._post(self._parcels.values())
            if not wanted:  # cancelled
                return
            if isinstance(answer, Accepted):
                parcel.accepted.callback(answer)
            elif isinstance(answer, Failed):
                parcel.accepted.errback(Refused.by(answer))

        return answered

    def _slow_down(self, seconds: float) -> None:
        """Write nothing more for so long."""
        if self._hold is None:
            self._hold = self._clock.callLater(seconds, self._go_on)
        elif self._hold.getTime() < self._clock.seconds() + seconds:
            self._hold.reset(seconds)

    def _go_on(self) -> None:
        self._hold = None
        self._post(self._parcels.values())

    def _unhold(self) -> None:
        if self._hold is not None:
            self._hold.cancel()
            self._hold = None
