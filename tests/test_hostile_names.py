"""Names that look alike: nobody signs up under one that is taken for another's."""

# ruff: noqa: RUF001 -- the letters that look like others are what this is about

from __future__ import annotations

import sqlite3
from contextlib import closing

from chat.accounts import Registration
from chat.errors import Code, Refusal
from chat.store import skeletons
from chat.store.layout import path
from tests.network import NetworkTestCase
from tests.talker import Said
from tests.test_users import UsersCase
from tests.world import RESERVED

#: The same, to the eye: in Latin letters, and all in Cyrillic ones.
LATIN = "scope"
CYRILLIC = "ѕсоре"


class StoreTests(UsersCase):
    """What the store lets join."""

    def alike(self, name: str) -> bool:
        """Whether the name looks like somebody's."""
        return self.world.result(self.store.alike(name))

    def assertConfusable(self, name: str) -> None:
        """Nobody can join under this name, and whose it looks like is not told."""
        refusal = self.assertRaises(Refusal, self.world.result, self.store.join(name))
        self.assertEqual(refusal.code, Code.NAME_CONFUSABLE)
        for each in (LATIN, CYRILLIC):
            self.assertNotIn(each, refusal.reason)

    def test_taken(self) -> None:
        """A name that looks like an account's is refused, also while that one is only joining."""
        self.assertFalse(self.alike(CYRILLIC))
        self.world.result(self.store.join(LATIN))
        self.assertTrue(self.alike(CYRILLIC))
        self.assertConfusable(CYRILLIC)

    def test_itself(self) -> None:
        """A name does not look like itself: that it is taken is another matter."""
        self.join(LATIN)
        self.assertFalse(self.alike(LATIN))
        self.assertJoinRefused(LATIN, Code.NAME_TAKEN)

    def test_reserved(self) -> None:
        """A name is kept from its likes as long as it is reserved, and no longer."""
        self.leave(self.join(LATIN))
        self.assertConfusable(CYRILLIC)
        self.world.clock.advance(RESERVED / 1000)
        self.assertFalse(self.alike(CYRILLIC))
        self.join(CYRILLIC)
        self.assertConfusable(LATIN)

    def test_abandoned(self) -> None:
        """Of a sign-up that came to nothing, nothing stays."""
        account = self.world.result(self.store.join(LATIN))
        self.world.result(self.store.abandon(account))
        self.join(CYRILLIC)

    def test_notAbandoned(self) -> None:
        """An account that exists is not abandoned, and keeps its likes away."""
        self.world.result(self.store.abandon(self.join(LATIN)))
        self.assertConfusable(CYRILLIC)

    def test_compared(self) -> None:
        """What names look like is found out where it is missing, or is of another version of Unicode."""
        for name in (LATIN, "alice", "modem"):
            self.join(name)
        self.assertTrue(self.world.result(self.store.compare_names()))
        with closing(sqlite3.connect(path(self.world.path, "users"), isolation_level=None)) as connection:
            connection.execute("DELETE FROM skeletons WHERE account = 1")
            connection.execute("UPDATE skeletons SET skeleton = 'older' WHERE account = 3")
        self.assertFalse(self.alike(CYRILLIC))
        self.assertFalse(self.world.result(self.store.compare_names()))
        self.assertConfusable(CYRILLIC)
        self.assertConfusable("modern")
        self.assertTrue(self.world.result(self.store.compare_names()))

    def test_byIndex(self) -> None:
        """Looking for likes costs the same however many accounts there are."""
        self.join(LATIN)
        plans: list[str] = []

        def look(cursor: sqlite3.Cursor) -> list[int]:
            execute = cursor.execute

            class Explained:
                """Tells how a statement is carried out."""

                def execute(self, statement: str, values: tuple[object, ...]) -> sqlite3.Cursor:
                    """Note the plan, then do it."""
                    plans.extend(row[3] for row in execute(f"EXPLAIN QUERY PLAN {statement}", values))
                    return execute(statement, values)

            return skeletons.alike(Explained(), CYRILLIC)  # type: ignore[arg-type]

        self.assertEqual(len(self.world.result(self.world.pool.runInteraction(look))), 1)
        self.assertEqual([plan for plan in plans if plan.startswith("SCAN")], [])


class SignUpTests(NetworkTestCase):
    """What a stranger is told."""

    def tried(self, name: str) -> list[Said]:
        """What is heard when somebody wants this name."""
        client = self.network.connect()
        client.answer("username", name)
        return client.hear()

    def assertRefused(self, name: str) -> str:
        """The name is refused before a password is asked for; returns the reason."""
        first, *rest = self.tried(name)
        self.assertEqual(
            (first["code"], [each["keyword"] for each in rest]), ("name-confusable", ["username"])
        )
        return str(first["reason"])

    def test_alike(self) -> None:
        """A name that looks like somebody's is refused, whoever that is."""
        self.network.user(LATIN)
        self.assertNotIn(LATIN, self.assertRefused(CYRILLIC))
        self.network.user("paypal")
        self.assertRefused("paypa1")

    def test_mixed(self) -> None:
        """A name in letters of several scripts is refused, whoever there is."""
        self.assertIn("scripts", self.assertRefused("pаypal"))
        self.assertIn("scripts", self.assertRefused("राम3७"))

    def test_same(self) -> None:
        """Who has such a name already goes on logging in."""
        self.network.user(LATIN)
        self.network.store._users.forget()
        self.assertEqual(self.tried("SCOPE")[0]["keyword"], "password")

    def test_atOnce(self) -> None:
        """Of two who want names that look alike at the same time, one is refused."""
        one, other = self.network.connect(), self.network.connect()
        one.say_login(LATIN)
        other.say_login(CYRILLIC)
        heard = [frame.get("code", frame["keyword"]) for frame in one.hear() + other.hear()]
        self.assertEqual((heard.count("created"), heard.count("name-confusable")), (1, 1))

    def test_closed(self) -> None:
        """Where nobody can sign up, such a name is asked for its password like any other."""
        self.start(registration=Registration.CLOSED)
        for name in (CYRILLIC, "pаypal"):
            self.assertEqual(self.tried(name)[0]["keyword"], "password")
