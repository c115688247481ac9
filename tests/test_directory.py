"""Tests for L{chat.directory}: who is online."""

from __future__ import annotations

from typing import Sequence

from twisted.trial.unittest import SynchronousTestCase

from chat.directory import Directory
from chat.errors import FatalError
from chat.ledger import Arrival
from chat.messages import Delivered


class Guest:
    """A session that is nothing but live or not."""

    def __init__(self, live: bool = False) -> None:
        self.live = live

    def push(self, arrivals: Sequence[Arrival]) -> None:
        """Nobody pushes here."""

    def more(self) -> None:
        """Nobody calls."""

    def notify(self, frame: Delivered) -> None:
        """Nobody notifies."""

    def expel(self, error: FatalError) -> None:
        """Nobody tells."""


class DirectoryTests(SynchronousTestCase):
    """The sessions of each account."""

    def setUp(self) -> None:
        """Nobody is online."""
        self.directory = Directory()

    def test_nobody(self) -> None:
        """An account without sessions has none, and none that is live."""
        self.assertEqual(self.directory.sessions(1), ())
        self.assertFalse(self.directory.live(1))

    def test_inOrder(self) -> None:
        """An account's sessions are known oldest first, and apart from those of others."""
        first, second, other = Guest(), Guest(), Guest()
        self.directory.add(1, first)
        self.directory.add(2, other)
        self.directory.add(1, second)
        self.assertEqual(self.directory.sessions(1), (first, second))
        self.assertEqual(self.directory.sessions(2), (other,))

    def test_discard(self) -> None:
        """Who leaves is not known any more; leaving twice, or without having come, is harmless."""
        first, second = Guest(), Guest()
        self.directory.discard(1, first)
        self.directory.add(1, first)
        self.directory.add(1, second)
        for _ in range(2):
            self.directory.discard(1, first)
            self.assertEqual(self.directory.sessions(1), (second,))
        self.directory.discard(2, second)
        self.directory.discard(1, second)
        self.assertEqual(self.directory.sessions(1), ())

    def test_snapshot(self) -> None:
        """Who goes through the sessions is not disturbed when one leaves meanwhile."""
        guests = [Guest(), Guest(), Guest()]
        for guest in guests:
            self.directory.add(1, guest)
        for session in self.directory.sessions(1):
            self.directory.discard(1, session)
        self.assertEqual(self.directory.sessions(1), ())

    def test_live(self) -> None:
        """An account is live when any of its sessions is."""
        quiet, loud = Guest(), Guest(live=True)
        self.directory.add(1, quiet)
        self.assertFalse(self.directory.live(1))
        self.directory.add(1, loud)
        self.assertTrue(self.directory.live(1))
        self.assertFalse(self.directory.live(2))
        loud.live = False
        self.assertFalse(self.directory.live(1))
