"""Tests for L{chat.limits.echoes}: programs that answer each other come to an end."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chat.limits import echoes
from chat.limits.echoes import SECONDS_EACH, TURNS, Echoes


class EchoesTests(SynchronousTestCase):
    """How often programs may answer each other."""

    def setUp(self) -> None:
        """Nobody has said anything, and the time stands still."""
        self.now = 1000.0
        self.echoes = Echoes(lambda: self.now)

    def talk(self, times: int, one: str = "alice", other: str = "bob") -> list[int]:
        """Programs answer each other in turns; what each is told."""
        pairs = [(one, other), (other, one)]
        return [self.echoes.program(*pairs[number % 2]) for number in range(times)]

    def test_ends(self) -> None:
        """So many turns, then none; the seconds told are exact, and the next turn is as far away again."""
        self.assertEqual(self.talk(TURNS), [0] * TURNS)
        self.assertEqual(self.echoes.program("alice", "bob"), SECONDS_EACH)
        self.now += SECONDS_EACH - 0.001
        self.assertEqual(self.echoes.program("alice", "bob"), 1)
        self.now += 0.001
        self.assertEqual(self.echoes.program("alice", "bob"), 0)
        self.assertEqual(self.echoes.program("bob", "alice"), SECONDS_EACH)

    def test_slowly(self) -> None:
        """Programs that ask each other now and then are never told to wait."""
        for _ in range(10 * TURNS):
            self.now += 2 * SECONDS_EACH
            self.assertEqual(self.talk(2), [0, 0])

    def test_telling(self) -> None:
        """Who only tells takes one turn, however much it is, and so does a whole answer to it."""
        self.assertEqual([self.echoes.program("alice", "bob") for _ in range(1000)], [0] * 1000)
        self.assertEqual([self.echoes.program("bob", "alice") for _ in range(1000)], [0] * 1000)
        self.assertEqual(self.talk(TURNS - 2), [0] * (TURNS - 2))
        self.assertGreater(self.talk(1)[0], 0)

    def test_person(self) -> None:
        """A person who writes to the other, either way, makes the turns forgotten; to a third one, not."""
        for pair in (("alice", "bob"), ("bob", "alice")):
            self.talk(TURNS)
            self.echoes.person("alice", "carol")
            self.assertGreater(self.talk(1)[0], 0)
            self.echoes.person(*pair)
            self.assertEqual(self.talk(1), [0])
            self.echoes.person(*pair)

    def test_oneself(self) -> None:
        """A program that writes to its own account could be answering itself: each is a turn."""
        self.assertEqual([self.echoes.program("alice", "alice") for _ in range(TURNS + 1)], [0] * TURNS + [3])

    def test_others(self) -> None:
        """Each two are counted apart."""
        self.talk(TURNS)
        self.assertEqual(self.talk(TURNS, "alice", "carol"), [0] * TURNS)

    def test_bounded(self) -> None:
        """So many pairs are remembered: those who said something last."""
        self.patch(echoes, "MOST", 10)
        pair = ["alice", "bob"]
        for number in range(TURNS):
            self.assertEqual(self.echoes.program(*pair), 0)
            self.echoes.program("dave", f"name{number}")
            pair.reverse()
        self.assertGreater(self.talk(1)[0], 0)
        self.echoes.person("alice", "bob")
        self.talk(TURNS)
        for number in range(9):
            self.echoes.program("alice", f"name{number}")
        self.assertGreater(self.talk(1)[0], 0)
        for number in range(10):
            self.echoes.program("carol", f"name{number}")
        self.assertEqual(len(self.echoes.pairs), 10)
        self.assertEqual(self.talk(1), [0])
