"""The mailroom, with people who are there or not, for tests."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chat.errors import Code
from chat.ledger import Account
from chat.letters import NOTES
from chat.messages import (
    Deleted,
    Listing,
    Messages,
    Returned,
)
from chat.times import rfc3339
from tests.world import BEGINNING, Onlooker, open_world

#: The time at which the world begins, as the wire has it.
NOW = rfc3339(BEGINNING * 1000)


class MailroomCase(SynchronousTestCase):
    """Alice, Bob and Carol write to each other."""

    def setUp(self) -> None:
        """Sign them up."""
        self.world = open_world(self)
        self.mailroom = self.world.mailroom
        self.alice, self.bob, self.carol = self.world.sign_up("alice", "bob", "carol")

    def online(self, account: Account) -> Onlooker:
        """A session of the account that reads everything."""
        return Onlooker(self.world, account).enter()

    def read(self, account: Account, *ids: int) -> Messages:
        """Whole messages."""
        return self.world.result(self.mailroom.read(account, ids))

    def remove(self, account: Account, *ids: int) -> Deleted:
        """Remove or recall."""
        return self.world.result(self.mailroom.remove(account, ids))

    def listing(self, account: Account, box: str, after: int = 0, limit: int = 100) -> Listing:
        """A part of a box."""
        return self.world.result(self.mailroom.listing(account, box, after, limit))

    def states(self, account: Account, box: str) -> dict[int, str]:
        """The state of each message in a box."""
        return {entry.id: entry.state for entry in self.listing(account, box).messages}

    def returned(self, recipient: str, code: Code) -> Returned:
        """What a message says that came back."""
        return Returned(code=code.value, recipient=recipient, note=NOTES[code])
