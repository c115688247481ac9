"""Alice, Bob and Carol on the real store, for tests."""

from __future__ import annotations

from typing import Any, Optional

from twisted.trial.unittest import SynchronousTestCase

from chat.ledger import RECEIPT, Acceptance, Account, Draft
from chat.ports import Outcome
from tests.world import open_world


def draft(
    recipient: Optional[str],
    body: str = "hello",
    *,
    ref: str | None = None,
    subject: str | None = None,
    receipt: bool = False,
) -> Draft:
    """A message on its way; C{None} is a recipient that no account could be called."""
    return Draft(
        recipient=recipient,
        addressee="?" if recipient is None else recipient,
        subject=subject,
        body=body,
        ref=ref,
        options=RECEIPT if receipt else 0,
    )


class Asked:
    """What the store told, in the order in which it told it."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def done(self, result: object) -> None:
        """It was done."""
        self.told.append(result)

    def failed(self, error: Exception) -> None:
        """It was not."""
        self.told.append(error)


class StoreCase(SynchronousTestCase):
    """Alice, Bob and Carol on real files."""

    def setUp(self) -> None:
        """Sign them up."""
        self.world = open_world(self)
        self.store = self.world.store
        self.alice, self.bob, self.carol = self.world.sign_up("alice", "bob", "carol")

    def accept(self, sender: Account, *drafts: Draft) -> list[Outcome]:
        """What becomes of these drafts, sent together."""
        asked = Asked()
        self.store.accept(sender.id, drafts, asked.done, asked.failed)
        self.world.settle()
        (outcomes,) = asked.told
        if isinstance(outcomes, Exception):
            raise outcomes
        return list(outcomes)

    def ids(self, sender: Account, *drafts: Draft) -> list[int]:
        """The ids of these drafts, which are all accepted."""
        found = []
        for outcome in self.accept(sender, *drafts):
            assert isinstance(outcome, Acceptance), outcome
            found.append(outcome.id)
        return found

    def restarted(self, how: str) -> None:
        """Go on with the same files after a restart or a crash."""
        if how == "restart":
            self.world = self.world.reopen()
        else:
            self.world = self.world.crash(self.mktemp())
        self.addCleanup(self.world.close)
        self.store = self.world.store
