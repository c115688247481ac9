"""What one session is shown of its mailbox: every waiting message once, in order.

A feed is I{live} when it has shown everything: what is committed now goes out
from memory.  When the client does not read as fast as mail arrives, the feed
lets it lie in the store and reads it from there, in pages, when the connection
has drained: a reader that never reads costs the server one page.
"""

from __future__ import annotations

from typing import Sequence

from chat.ledger import Account, Arrival
from chat.mailroom import Mailroom
from chat.ports import Peer


class Feed:
    """One session's view of its mailbox."""

    __slots__ = (
        "_account",
        "_mailroom",
        "_more",
        "_offered",
        "_peer",
        "_position",
        "_reading",
        "_stopped",
        "live",
    )

    def __init__(
        self, account: Account, mailroom: Mailroom, peer: Peer, offered: int, position: int = 0
    ) -> None:
        """Show C{peer} what waits for C{account}.

        @param offered: messages up to this position may have been shown before.
        @param position: what is up to here is not to be shown.
        """
        self._account = account
        self._mailroom = mailroom
        self._peer = peer
        self._offered = offered
        self._position = position  # everything up to here was shown
        self._more = True  # the store has, or may have, messages behind that position
        self._reading = False
        self._stopped = False
        self.live = False

    @property
    def shows_next(self) -> bool:
        """Whether it shows what is being committed now as soon as it hears of it: without reading
        it from the store, which would count it as offered.

        A feed that waits for its peer only is not live, but may be by then.
        """
        return not (self._more or self._reading or self._stopped)

    def push(self, arrivals: Sequence[Arrival]) -> None:
        """These have just been committed to the mailbox."""
        if not self.live:
            self._more = True
            return
        self._show(arrivals)
        if self._peer.paused:
            self.live = False

    def more(self) -> None:
        """Something came into the mailbox that is to be read from the store."""
        self.live = False
        self._more = True
        self.drained()

    def drained(self) -> None:
        """The peer can take more."""
        if self.live or self._reading or self._stopped or self._peer.paused:
            return
        if self._more:
            self._reading = True
            self._peer.run(self._read())
        else:
            self.live = True

    def stop(self) -> None:
        """The session has ended or left the account: nothing more is shown."""
        self.live = False
        self._stopped = True

    async def _read(self) -> None:
        while self._more and not self._peer.paused:
            self._more = False
            page, more = await self._mailroom.waiting(self._account, self._position, self._offered)
            if self._stopped:  # while the store was reading: the peer may be somebody else by now
                return
            if more:
                self._more = True
            self._show(page)
        self._reading = False
        self.drained()

    def _show(self, arrivals: Sequence[Arrival]) -> None:
        shown = self._position
        if arrivals and arrivals[-1][0] > shown:
            self._position = arrivals[-1][0]
            self._peer.send([message for position, message in arrivals if position > shown])
