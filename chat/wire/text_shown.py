"""Which messages a text client has been shown, and which of them it has confirmed.

Telnet confirms by itself: after each batch the door asks for a TIMING-MARK (RFC
860), and the answer, be it a refusal, proves that what came before it has
arrived.  Any other client answers nothing, so the next line that arrives confirms
everything shown before it did.

A telnet client whose user interrupts it (Ctrl-C) throws away all that it is sent
until the server has answered its own request for a TIMING-MARK, and yet answers
those of the server.  What was on its way then is not confirmed but shown again.
"""

from __future__ import annotations

from collections import deque

from chat.wire.telnet import DO, IAC, TIMING_MARK, TelnetLines

#: So many batches are told apart; a client that confirms none of more than these confirms them together.
_MOST_BATCHES = 500


class _Batch:
    """Messages shown together.

    @ivar fed: how many bytes had arrived before.
    @ivar marked: whether a mark that the client has not answered yet is behind them.
    """

    __slots__ = ("fed", "ids", "marked")

    def __init__(self, fed: int, ids: list[int], marked: bool) -> None:
        self.fed = fed
        self.ids = ids
        self.marked = marked


class Shown:
    """The messages shown on one connection that are not confirmed yet.

    @ivar lost: ids that the client did perhaps not show, and that are to be shown again.
    """

    def __init__(self, lines: TelnetLines) -> None:
        self._lines = lines
        self._batches: deque[_Batch] = deque()
        self._ids: list[int] = []
        self._stale = 0  # so many marks before theirs are not answered yet, and confirm nothing
        self._deaf = False  # has let a mark go unanswered: it ends lines as telnet does, no more
        self.lost: deque[int] = deque()

    def add(self, number: int) -> None:
        """This message is being shown."""
        self._ids.append(number)

    def end_batch(self) -> bytes:
        """What to send behind the messages that were added, if anything."""
        if not self._ids and not self.lost:
            return b""
        lines = self._lines
        marked = bool(lines.telnet) and (lines.spoke or not self._deaf)
        self._batches.append(_Batch(lines.fed, self._ids, marked))
        self._ids = []
        if len(self._batches) > _MOST_BATCHES:
            self._merge()
        return bytes((IAC, DO, TIMING_MARK)) if marked else b""

    def _merge(self) -> None:
        """Let all that was shown be confirmed with the last of it: later than it could be, never sooner."""
        last = self._batches.pop()
        first = self._batches.popleft()
        self._stale += first.marked
        for batch in self._batches:
            first.ids += batch.ids
            self._stale += batch.marked
        first.ids += last.ids
        last.ids = first.ids
        self._batches = deque((last,))

    def mark_answered(self) -> list[int]:
        """The client has answered the oldest mark: the ids that this confirms."""
        batches = self._batches
        ids: list[int] = []
        if self._stale:
            self._stale -= 1
        elif any(batch.marked for batch in batches):
            marked = False
            while not marked:
                oldest = batches.popleft()
                ids += oldest.ids
                marked = oldest.marked
        return ids

    def line_typed(self) -> list[int]:
        """A line has ended: the ids that this confirms."""
        if self._lines.spoke:
            return []
        batches = self._batches
        ids: list[int] = []
        while batches and batches[0].fed < self._lines.position:
            oldest = batches.popleft()
            ids += oldest.ids
            self._stale += oldest.marked
        self._deaf = self._deaf or self._stale > 0
        return ids

    def flushed(self) -> None:
        """The client has thrown away what it was sent before this."""
        for batch in self._batches:
            self.lost += batch.ids
            self._stale += batch.marked
        self._batches.clear()
        self.lost += self._ids
        self._ids = []

    def take_lost(self, most: int) -> list[int]:
        """Up to so many of the lost ones; they count as not shown until they are added again."""
        return [self.lost.popleft() for _ in range(min(most, len(self.lost)))]

    def forget(self) -> None:
        """The login is over: nothing is to be confirmed any more."""
        self.flushed()
        self.lost.clear()
