"""Tests for L{chat.ledger}: the states of a message, and what each side is told of them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chat.ledger import IN_MAILBOX, LAWFUL, State, fate, standing


class StateTests(SynchronousTestCase):
    """Each state, with and without a return."""

    #: (state, has it come back?) -> what the sender is told, what the owner of the mailbox is told.
    TOLD = {
        (State.WAITING, False): ("waiting", "waiting"),
        (State.WAITING, True): ("returned", "waiting"),
        (State.DELIVERED, False): ("delivered", "delivered"),
        (State.DELIVERED, True): ("returned", "delivered"),
        (State.REMOVED, False): ("delivered", None),
        (State.REMOVED, True): ("returned", None),
        (State.RECALLED, False): ("recalled", None),
        (State.DEAD, True): ("dead", None),
    }

    def test_lawful(self) -> None:
        """These pairs are lawful and no others: what came back is not recalled, what is dead came back."""
        self.assertEqual(frozenset(self.TOLD), LAWFUL)

    def test_fate(self) -> None:
        """What the sender is told; that a delivered message was removed is not the sender's to know."""
        for (state, back), (sender, _) in self.TOLD.items():
            self.assertEqual(fate(state, "account-deleted" if back else None), sender)

    def test_standing(self) -> None:
        """What the owner of the mailbox is told; only what is in the mailbox has a standing."""
        for (state, _), (_, owner) in self.TOLD.items():
            self.assertEqual(state in IN_MAILBOX, owner is not None)
            if owner is not None:
                self.assertEqual(standing(state), owner)

    def test_numbers(self) -> None:
        """The numbers in the file mean what the schema says, for good."""
        self.assertEqual(
            {state.name.lower(): state.value for state in State},
            {"waiting": 0, "delivered": 1, "removed": 2, "recalled": 3, "dead": 4},
        )
