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


class _Batch:
    """Messages shown together.

    @ivar fed: how many bytes had arrived before.
    @ivar marks: how many marks that the client has not answered yet are behind them.
    """

    __slots__ = ("fed", "ids", "marks")

    def __init__(self, fed: int, ids: list[int], marks: int) -> None:
        self.fed = fed
        self.ids = ids
        self.marks = marks


class Shown:
    """The messages shown on one connection that are not confirmed yet.

    @ivar lost: ids that the client did perhaps not show, and that are to be shown again.
    """

    def __init__(self, lines: TelnetLines) -> None:
        self._lines = lines
        self._batches: deque[_Batch] = deque()
        self._ids: list[int] = []
        self._deaf = False  # has let a mark go unanswered: it ends lines as telnet does, no more
        self.lost: list[int] = []

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
        return bytes((IAC, DO, TIMING_MARK)) if marked else b""

    def mark_answered(self) -> list[int]:
        """The client has answered the oldest mark: the ids that this confirms."""
        batches = self._batches
        if not any(batch.marks for batch in batches):
            return []
        ids: list[int] = []
        while not batches[0].marks:
            ids += batches.popleft().ids
        oldest = batches[0]
        ids += oldest.ids
        oldest.ids = []
        oldest.marks -= 1
        if not oldest.marks:
            batches.popleft()
        return ids

    def line_typed(self) -> list[int]:
        """A line has ended: the ids that this confirms."""
        if self._lines.spoke:
            return []
        ids: list[int] = []
        for batch in self._batches:
            if batch.fed < self._lines.position:
                ids += batch.ids
                batch.ids = []
                self._deaf = self._deaf or batch.marks > 0
        while self._batches and not self._batches[0].ids and not self._batches[0].marks:
            self._batches.popleft()
        return ids

    def flushed(self) -> None:
        """The client has thrown away what it was sent before this."""
        batches = self._batches
        for batch in batches:
            self.lost += batch.ids
        if batches:  # of all these, only the marks are still to be answered
            marks = sum([batch.marks for batch in batches])
            self._batches = deque([_Batch(batches[0].fed, [], marks)] if marks else [])
        self.lost += self._ids
        self._ids = []

    def take_lost(self, most: int) -> list[int]:
        """Up to so many of the lost ones; they count as not shown until they are added again."""
        taken, self.lost = self.lost[:most], self.lost[most:]
        return taken

    def forget(self) -> None:
        """The login is over: nothing is to be confirmed any more."""
        self.flushed()
        self.lost = []
