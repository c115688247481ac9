"""Tests of L{chat.store.users.Users.meet}: many names looked up together are the same as each one alone."""

from __future__ import annotations

from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from chat.store import users
from chat.store.commit import Cursor
from chat.store.users import Users
from tests.world import open_world

#: In place of a cursor where everything has to be known already.
NOBODY = cast(Cursor, None)


class MeetTests(SynchronousTestCase):
    """Many names are looked up together."""

    def setUp(self) -> None:
        """Some accounts, one of them deleted, one that blocks another."""
        self.patch(users, "FEW", 2)
        self.world = open_world(self)
        self.names = [f"person{number}" for number in range(8)]
        self.accounts = accounts = self.world.sign_up(*self.names)
        self.world.delete(accounts[3])
        self.world.result(self.world.store.block(accounts[4].id, "person5", True))
        self.asked: list[list[str | None]] = []
        self.users = Users()

    def cursor(self) -> Any:
        """One of the connection."""
        return self.world.pool.connect().cursor()

    def meet(self, *names: str | None) -> None:
        """These are asked for next."""

        def told() -> list[str | None]:
            self.asked.append(list(names))
            return self.asked[-1]

        self.users.meet(self.cursor(), told)

    def test_together(self) -> None:
        """After many that were not known, the next ones are looked up at once, and are the same as alone."""
        alone = {name: Users().named(self.cursor(), name) for name in self.names}
        self.meet(*self.names)
        self.assertEqual(self.asked, [])
        for name in self.names[:3]:
            self.users.named(self.cursor(), name)
        self.meet(*self.names, None, "nobody")
        for name in self.names:
            if name != "person3":
                self.assertEqual(self.users.named(NOBODY, name), alone[name])
        deleted, blocking = self.users.named(self.cursor(), "person3"), self.users.named(NOBODY, "person4")
        assert deleted is not None and blocking is not None
        self.assertEqual((deleted, blocking.blocks), (alone["person3"], True))
        self.assertIsNone(self.users.named(self.cursor(), "nobody"))

    def test_fewAgain(self) -> None:
        """As soon as few are not known, nothing is looked up together any more."""
        for name in self.names[:3]:
            self.users.named(self.cursor(), name)
        self.meet(*self.names[3:])
        self.meet(*self.names[3:])
        self.assertEqual(len(self.asked), 2)
        self.meet(*self.names)
        self.meet(*self.names)
        self.assertEqual(len(self.asked), 2)

    def test_notTooMany(self) -> None:
        """No more are remembered than ever."""
        self.patch(users, "NAMES", 4)
        for name in self.names[:3]:
            self.users.named(self.cursor(), name)
        self.meet(*self.names[5:])
        for name in self.names[5:]:
            self.users.named(NOBODY, name)
        self.assertRaises(AttributeError, self.users.named, NOBODY, self.names[0])

    def test_othersComeAndGo(self) -> None:
        """Who joins, blocks or leaves is looked up anew, and nobody else is."""
        known = self.world.store._users
        self.world.send(self.accounts[0], "person1")
        for change, kept in (
            (lambda: self.world.sign_up("newcomer"), True),
            (lambda: self.world.result(self.world.store.block(self.accounts[2].id, "person5", True)), True),
            (lambda: self.world.delete(self.accounts[6]), True),
            (lambda: self.world.delete(self.accounts[5]), False),  # others had blocked this one
        ):
            known.named(self.cursor(), "newcomer")
            change()
            if kept:
                self.assertEqual(known.named(NOBODY, "person1"), Users().named(self.cursor(), "person1"))
            for name in (*self.names, "newcomer"):
                self.assertEqual(known.named(self.cursor(), name), Users().named(self.cursor(), name))
