"""Messages to be searched for, for tests."""

from __future__ import annotations

import sqlite3
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chat.admin.audit import audit
from chat.admin.books import places
from chat.ledger import Account
from chat.messages import Entry, Found, Search
from chat.store import stretches, volumes
from tests.town import names
from tests.world import open_world

#: The day on which the world begins, and those around it.
DAY, BEFORE, AFTER = "2026-11-22", "2026-11-21", "2026-11-23"


class SearchCase(SynchronousTestCase):
    """Alice, Bob and Carol, in a ledger of which each sixteen ids are a volume and each four a stretch."""

    def setUp(self) -> None:
        """Sign them up."""
        self.patch(stretches, "STRETCH", 4)
        self.patch(volumes, "VOLUME", 16)
        self.patch(places, "STRETCH", 4)
        self.world = open_world(self)
        self.people = self.alice, self.bob, self.carol = self.world.sign_up("alice", "bob", "carol")

    def send(self, sender: Account, recipient: str, body: str = "hello", **fields: Any) -> int:
        """The id of a message."""
        return self.world.send(sender, recipient, body, **fields).id

    def remove(self, account: Account, *ids: int) -> None:
        """Remove these from the mailbox of the account, or recall them."""
        self.assertEqual(self.world.result(self.world.mailroom.remove(account, ids)).missing, [])

    def found(self, account: Account, query: str, **fields: Any) -> Found:
        """What the account finds."""
        return self.world.result(self.world.mailroom.search(account, Search(query=query, **fields)))

    def assertFinds(self, account: Account, query: str, *ids: int, **fields: Any) -> list[Entry]:
        """The account finds these, in this order, and that was all."""
        found = self.found(account, query, **fields)
        self.assertEqual([each.id for each in found.messages], list(ids), query)
        self.assertEqual((found.more, found.incomplete), (False, False), query)
        return found.messages

    def assertClean(self) -> None:
        """The audit finds nothing: the index is what it should be."""
        self.assertEqual(names(audit(self.world.path)), [])

    def indexed(self) -> tuple[int, int]:
        """The first and the last id of the index."""
        ((first, last),) = self.world.sql("SELECT first, last FROM indexed")
        return first, last

    def words(self) -> list[str]:
        """Every word that is in the index."""
        return sorted({term for volume in self.volumes() for term, _ in self.held(volume)})

    def volumes(self) -> list[int]:
        """The volumes that count."""
        found = self.world.sql("SELECT number FROM volumes WHERE NOT outdated ORDER BY number")
        return [number for (number,) in found]

    def held(self, volume: int) -> list[tuple[str, int]]:
        """The words of a volume, with the ids of the messages that have them."""
        connection = sqlite3.connect(self.world.path / "messages.db")
        connection.execute(f"CREATE VIRTUAL TABLE temp.v USING fts5vocab(main, words_{volume}, instance)")
        rows = connection.execute("SELECT term, doc FROM temp.v").fetchall()
        connection.close()
        return rows
