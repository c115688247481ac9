"""Tests of L{chat.store.searches}: whose search looks when."""

from __future__ import annotations

import re
from time import process_time
from typing import Any, Sequence

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from chat import mailroom
from chat.errors import Code, Refusal
from chat.ledger import Draft
from chat.messages import Search
from chat.query import Query, Words, excerpt, wanted
from chat.store import searches, searching, store
from chat.store.searches import AGAIN, LONG, MOST, SHORT, Searches
from chat.store.searching import TOGETHER, _Exact
from tests.strategies import ALWAYS
from tests.world import open_world


class TurnTests(SynchronousTestCase):
    """Looks that take as long as a test wants."""

    def setUp(self) -> None:
        """Nobody searches.

        C{self.looks}: whose looks were begun, in their order; C{self.under_way}: those that are not over.
        """
        self.others = False
        self.serving: Deferred[None] = Deferred()
        self.searches = Searches(lambda: self.others, self.serve)
        self.looks: list[int] = []
        self.under_way: list[Deferred[int]] = []
        self.results: list[object] = []

    def search(self, account: int, looks: int) -> None:
        """Begin a search that takes so many looks."""

        def look() -> Deferred[int]:
            self.looks.append(account)
            self.under_way.append(Deferred())
            return self.under_way[-1]

        async def steps() -> int:
            with self.searches.one(account):
                return sum([await self.searches.look(account, look) for _ in range(looks)])

        Deferred.fromCoroutine(steps()).addBoth(self.results.append)

    def serve(self) -> Deferred[None]:
        """What else was asked is to be done."""
        self.serving = Deferred()
        return self.serving

    def served(self, result: Any) -> None:
        """It is done."""
        self.serving.callback(result)

    def over(self) -> None:
        """The look under way is over."""
        (look,) = self.under_way
        self.under_way.clear()
        look.callback(1)

    def test_alone(self) -> None:
        """As long as nothing else is asked, one look follows the other."""
        self.search(1, 3)
        for _ in range(3):
            self.over()
        self.assertEqual((self.looks, self.results), ([1, 1, 1], [3]))

    def test_others(self) -> None:
        """What else is asked during a look is done before the next one, which is shorter then."""
        self.search(1, 3)
        self.patch(searches, "LASTS", 3)
        self.assertEqual(self.searches.seconds, LONG)
        self.others = True
        self.over()
        self.search(2, 1)
        self.assertEqual((self.looks, self.searches.seconds), ([1], SHORT))
        self.others = False
        self.served(None)
        self.assertEqual(len(self.looks), 2)
        self.over()
        self.over()
        self.assertEqual(self.searches.seconds, SHORT)
        self.over()
        self.assertEqual((sorted(self.looks), self.searches.seconds), ([1, 1, 1, 2], LONG))
        self.assertEqual(sorted(self.results), [1, 3])

    def test_notServed(self) -> None:
        """However that ends, the searches go on."""
        self.search(1, 2)
        self.others = True
        self.over()
        self.served(Failure(ValueError("no")))
        self.over()
        self.assertEqual((self.looks, self.results), ([1, 1], [2]))

    def test_byAccount(self) -> None:
        """However many searches somebody has, those of others come in between."""
        for _ in range(5):
            self.search(1, 4)
        self.search(2, 3)
        self.search(3, 3)
        while self.under_way:
            self.over()
        self.assertEqual(self.looks[:10], [1, 2, 3, 1, 2, 3, 1, 2, 3, 1])
        self.assertEqual((self.looks.count(1), len(self.results)), (20, 7))

    def test_most(self) -> None:
        """Nobody has more than so many under way, and is told; when they are over, that is forgotten."""
        for _ in range(MOST + 1):
            self.search(1, 1)
        self.search(2, 1)
        (failure,) = self.results
        refusal = failure.value  # type: ignore[attr-defined]
        self.assertIsInstance(refusal, Refusal)
        self.assertEqual((refusal.code, refusal.seconds), (Code.SLOW_DOWN, AGAIN))
        self.results.clear()
        while self.under_way:
            self.over()
        self.assertEqual(self.results, [1] * (MOST + 1))
        self.search(1, 1)
        self.over()
        self.assertEqual(len(self.results), MOST + 2)
        self.assertEqual(self.searches._under_way, {})

    def test_failure(self) -> None:
        """A look that fails takes nobody else's turn."""
        self.search(1, 2)
        self.search(2, 1)
        look = self.under_way.pop()
        look.errback(ValueError("broken"))
        self.over()
        self.assertEqual((self.looks, self.results[1]), ([1, 2], 1))
        self.search(3, 1)
        self.over()
        self.assertEqual(self.results[2], 1)


class ExactTests(SynchronousTestCase):
    """Words in a row, looked for in texts in ASCII."""

    def found(self, words: Sequence[str], text: str, prefix: bool = False) -> bool:
        """Whether they are there."""
        exact = _Exact(Words(" ".join(words), prefix=prefix), list(words))
        return exact.in_plain("", text)

    def test_any(self) -> None:
        """They are if they are words of the text, one behind the other; the last one may be a beginning."""

        @ALWAYS
        @given(st.lists(st.text("ab1", min_size=1, max_size=2), min_size=1, max_size=3), st.text("aAb1_. \n"))
        def look(words: list[str], text: str) -> None:
            there = re.findall("[a-z0-9]+", text.lower())
            rows = [there[at : at + len(words)] for at in range(len(there))]
            self.assertEqual(self.found(words, text), words in rows)
            last = len(words[-1])
            cut = [[*row[:-1], row[-1][:last]] for row in rows if len(row) == len(words)]
            self.assertEqual(self.found(words, text, prefix=True), words in cut)

        look()

    def test_hostile(self) -> None:
        """A long row is found as soon as a short one in a text that begins like it again and again."""

        def seconds(count: int) -> float:
            words = [*["a"] * count, "b"]
            body = f"{'a ' * 32_000}b"
            query = Query(words=(Words(" ".join(words)),))
            exact = _Exact(query.words[0], words)
            taken = []
            for _ in range(3):
                start = process_time()
                self.assertTrue(exact.in_plain("", body))
                self.assertTrue(excerpt(body, wanted(query)).startswith("... a"))
                taken.append(process_time() - start)
            return min(taken)

        self.assertLess(seconds(500), 10 * seconds(5))


class CommitTests(SynchronousTestCase):
    """A search on a real store, beside messages."""

    def test_long(self) -> None:
        """Of long messages few are looked at together, and others have their turn between them if need be."""
        world = open_world(self)
        alice, bob = world.sign_up("alice", "bob")
        for number in range(5):
            world.send(alice, "bob", f"{number} of the {'x ' * (TOGETHER // 4)}")
        looks: list[int] = []

        def noting(cursor: Any, users: Any, wanted: searching.Wanted) -> searching.Portion:
            portion = searching.search(cursor, users, wanted)
            looks.append(len(portion.hits))
            return portion

        self.patch(store, "search", noting)
        for seconds, expected in ((0.0, [1] * 5), (1000.0, [5])):
            self.patch(searches, "LONG", seconds)
            self.patch(searches, "SHORT", seconds)
            looks.clear()
            found = world.result(world.mailroom.search(bob, Search(query='"of the"')))
            self.assertEqual([entry.id for entry in found.messages], [5, 4, 3, 2, 1])
            self.assertEqual([each for each in looks if each], expected)

    def test_longExcerpts(self) -> None:
        """Where what is found is very long, the beginning of it is shown."""
        self.patch(mailroom, "LOOKED_THROUGH", 3000)
        world = open_world(self)
        alice, bob = world.sign_up("alice", "bob")
        for _ in range(3):
            world.send(alice, "bob", f"{'x ' * 600}disk")
        found = world.result(world.mailroom.search(bob, Search(query="disk")))
        self.assertEqual(["disk" in str(entry.excerpt) for entry in found.messages], [True, True, False])

    def test_inBetween(self) -> None:
        """What is sent while a search looks is on disk before it looks again."""
        self.patch(searches, "LONG", 0.0)
        self.patch(searches, "SHORT", 0.0)
        self.patch(searching, "FEW", 1)
        world = open_world(self)
        alice, bob = world.sign_up("alice", "bob")
        for _ in range(5):
            world.send(alice, "bob", "the word of old")
        events: list[str] = []

        def failed(error: Exception) -> None:
            raise error

        def noting(cursor: Any, users: Any, wanted: searching.Wanted) -> searching.Portion:
            events.append("look")
            draft = Draft("bob", "bob", None, "new", None, 0)
            world.store.accept(alice.id, [draft], lambda _: events.append("accepted"), failed)
            return searching.search(cursor, users, wanted)

        self.patch(store, "search", noting)
        found = world.result(world.mailroom.search(bob, Search(query='"of the"')))
        self.assertEqual(found.messages, [])
        self.assertGreater(len(events), 8)
        self.assertEqual(events, ["look", "accepted"] * (len(events) // 2))
