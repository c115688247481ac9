"""What one connection is told in streams of events, and whether that is right."""

from __future__ import annotations

from typing import Any, Optional

from tests.simulation.books import FOLDED, WAITING, Row, during
from tests.simulation.claims import prepared
from tests.simulation.conversation import Conversation
from tests.simulation.mail import Asked, Said
from tests.simulation.model import Model
from tests.simulation.plan import EVENTS


class Events(Conversation):
    """The judge of one connection on which streams of events are asked for, one after the other.

    @ivar told_why: the stream has said that, and why, it ends.
    """

    def __init__(self, model: Model, name: str) -> None:
        super().__init__(model, EVENTS)
        self.name = prepared(name)
        self.told_why = False
        self._after = 0
        self._since = 0

    def asks(self, secret: str, after: int) -> None:
        """Somebody asks for what is behind a message, and shows this password."""
        right = secret in self.model.claims(self.name).passwords
        self.asked.append(
            Asked("login", {"field": "password", "value": secret}, self.model.step, right=right)
        )
        self._after, self._since = after, self.model.step

    def refused(self) -> None:
        """No stream has begun."""
        self.asked.clear()

    def begins(self) -> None:
        """A stream has begun."""
        asked = self.asked.popleft()
        right = asked.right or asked.frame["value"] in self.model.claims(self.name).passwords
        self._need(right, "that was not the password")
        self.told_why = False
        self._enters(asked)

    def tells(self, event: str, id: Optional[int], content: Said) -> None:
        """The stream has said this."""
        self._need(not self.told_why, f"the stream went on after its end, with {event}")
        if event == "message":
            self._need(id == content["id"], f"message {content['id']} is numbered {id}")
            self._delivery(content)
            row = self.model.books.rows[content["id"]]
            self._need(not self._left_out(row), f"message {row.id} was shown; asked was behind {self._after}")
        elif event == "delivered":
            self._notice(content)
        else:
            self._need(event == "end", f"there is no event {event}")
            self.told_why = True
            self._fatal(content["code"])
            self.over = False  # the connection goes on

    def ends(self) -> None:
        """The stream is over."""
        self.logged_in = False
        self.account = None

    def at_rest(self) -> None:
        """See L{Conversation.at_rest}."""
        if self.over or self.link is None or not self.link.whole or self.link.stalled:
            return
        self._need(not self.asked, "no stream begins, and nothing is said of why")
        if not self.logged_in or self.account is None:
            return
        for row in self.model.books.rows.values():
            if row.now[:2] == (WAITING, self.account.id) and self._behind(row):
                self._need(row.id in self.shown, f"message {row.id} waits for {self.name} and was not shown")
        self._need(not self._owed, f"the deliveries of {sorted(self._owed)} were never told")

    # --- behind which message ---

    def _left_out(self, row: Row) -> bool:
        """Whether a message is certainly not behind the one that was named."""
        first = self._named()
        if first is None or row.id > first.id or self.account is None:
            return False
        came_back = any(each.code is not None for each in during(row.history, 0))
        known = all(
            each.recipient == self.account.id and each.code is None and each.state != FOLDED
            for each in during(first.history, self._since)
        )
        return known and not came_back

    def _behind(self, row: Row) -> bool:
        """Whether a message of this mailbox is certainly behind the one that was named."""
        first = self._named()
        if first is None:
            return not self._after
        if row.now.code is None and self._arrived(first)[1] is None:
            return row.id > first.id
        return self._arrived(row)[0] > self._arrived(first)[0]

    def _named(self) -> Optional[Row]:
        return self.model.books.rows.get(self._after)

    def _arrived(self, row: Row) -> tuple[int, Any]:
        """In which step a message came into this mailbox for the last time, and why."""
        assert self.account is not None
        mine = [(step, each.code) for step, each in row.history if each.recipient == self.account.id]
        if not mine:
            return 1 << 60, "it is in no mailbox of this account"
        code = mine[-1][1]
        return min(step for step, each in mine if each == code), code
