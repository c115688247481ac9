"""Tests for L{chat.limits.throttle}: guessing gets slower, and it is the guesser who waits."""

from __future__ import annotations

from itertools import count

from twisted.trial.unittest import SynchronousTestCase

from chat.errors import Code, Refusal
from chat.limits import throttle
from chat.limits.throttle import ACCOUNT, FORGOTTEN, INSIDE, PAIR, PLACE, PLACES, Throttle

HERE = "192.0.2.1"
THERE = "198.51.100.2"
#: How many counts there may be in the tests of that.
FEW = 400


class ThrottleCase(SynchronousTestCase):
    """Guesses at a time that stands still until it is moved."""

    def setUp(self) -> None:
        """Nothing was tried yet."""
        self.now = 1000.0
        self.throttle = Throttle(lambda: self.now)
        self.words = map(str, count())  # no guess is made twice

    def guess(self, name: str = "alice", network: str | None = HERE, code: Code = Code.WRONG_PASSWORD) -> int:
        """An attempt that fails; the seconds to wait if it may not be made yet, else 0."""
        try:
            with self.throttle.attempt(name, network, next(self.words)):
                raise Refusal(code, "No.")
        except Refusal as refusal:
            if refusal.code is not Code.SLOW_DOWN:
                return 0
            assert refusal.seconds is not None
            return refusal.seconds

    def guesses(self, times: int, name: str = "alice", network: str | None = HERE) -> None:
        """So many wrong guesses, each as soon as it may be made."""
        for _ in range(times):
            if wait := self.guess(name, network):
                self.now += wait
                self.guess(name, network)

    def enter(self, name: str = "alice", network: str | None = HERE) -> int:
        """An attempt that succeeds; the seconds to wait if it may not be made yet, else 0."""
        try:
            with self.throttle.attempt(name, network, next(self.words)):
                return 0
        except Refusal as refusal:
            assert refusal.seconds is not None
            return refusal.seconds


class WaitTests(ThrottleCase):
    """How long whom."""

    def test_grows(self) -> None:
        """After five failures the next attempt waits 1, 2, 4 seconds and so on, up to five minutes."""
        waits = []
        for _ in range(16):
            waits.append(self.guess())
            if waits[-1]:
                self.now += waits[-1]
                self.assertEqual(self.guess(), 0)
        self.assertEqual(waits, [0] * 5 + [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300])

    def test_exact(self) -> None:
        """The seconds are those that are left, and then the attempt is made."""
        self.guesses(8)
        for moment, left in ((0, 8), (0.5, 8), (3, 5), (2.9, 2), (0.6, 1)):
            self.now += moment
            self.assertEqual(self.guess(), left)
        self.now += 1
        self.assertEqual(self.guess(), 0)

    def test_waitingIsFree(self) -> None:
        """What is tried in the time of waiting is not looked at, and makes the wait no longer."""
        self.guesses(7)
        for _ in range(100):
            self.assertEqual(self.guess(), 4)
        self.now += 4
        self.assertEqual(self.enter(), 0)

    def test_success(self) -> None:
        """The right password makes everything forgotten."""
        self.guesses(9)
        self.now += 16
        self.assertEqual(self.enter(), 0)
        self.assertEqual([self.guess() for _ in range(6)], [0, 0, 0, 0, 0, 1])

    def test_forgotten(self) -> None:
        """One failure is forgotten in ten minutes."""
        self.guesses(7)
        self.now += 4 + 3 * FORGOTTEN
        self.assertEqual([self.guess(), self.guess()], [0, 1])
        self.now += 30 * FORGOTTEN
        self.assertEqual([self.guess() for _ in range(6)], [0, 0, 0, 0, 0, 1])

    def test_longAttack(self) -> None:
        """After a guesser has tried for a day, his failures are still forgotten in a few hours."""
        self.guesses(300)
        self.now += 300 + (PAIR.free + throttle._WORST) * FORGOTTEN
        self.assertEqual([self.guess() for _ in range(6)], [0, 0, 0, 0, 0, 1])

    def test_atOnce(self) -> None:
        """Many attempts at the same moment are no way round: each counts from its beginning."""
        begun = 0
        attempts = [self.throttle.attempt("alice", HERE, next(self.words)) for _ in range(20)]
        for each in attempts:
            try:
                each.__enter__()
                begun += 1
            except Refusal as refusal:
                self.assertEqual((refusal.code, refusal.seconds), (Code.SLOW_DOWN, 1))
        self.assertEqual(begun, PAIR.free)

    def test_together(self) -> None:
        """The same guess, made many times while it is being checked, counts once, right or wrong."""
        wrong = Refusal(Code.WRONG_PASSWORD, "No.")
        for outcome in ((None, None, None), (Refusal, wrong, None)):
            attempts = [self.throttle.attempt("alice", HERE, "the same") for _ in range(20)]
            for each in attempts:
                each.__enter__()
            for each in attempts:
                each.__exit__(*outcome)
        self.assertEqual([self.guess() for _ in range(5)], [0, 0, 0, 0, 1])
        self.assertEqual(self.throttle._attempts, {})

    def test_togetherBroken(self) -> None:
        """A wrong guess counts, though one of those who made it together met something else."""
        for _ in range(PAIR.free):
            guess = next(self.words)
            told, broken = (self.throttle.attempt("alice", HERE, guess) for _ in range(2))
            told.__enter__()
            broken.__enter__()
            told.__exit__(Refusal, Refusal(Code.WRONG_PASSWORD, "No."), None)
            broken.__exit__(RuntimeError, RuntimeError(), None)
        self.assertEqual(self.guess(), 1)

    def test_noFailure(self) -> None:
        """What ends otherwise than by a wrong password, because the server is busy, say, does not count."""
        for _ in range(20):
            self.assertEqual(self.guess(code=Code.STORAGE_FULL), 0)
        for _ in range(20):
            with self.assertRaises(RuntimeError), self.throttle.attempt("alice", HERE, next(self.words)):
                raise RuntimeError
        self.assertEqual([self.guess() for _ in range(6)], [0, 0, 0, 0, 0, 1])

    def test_off(self) -> None:
        """Without a clock nobody waits, and nothing is kept."""
        self.throttle = Throttle(None)
        for _ in range(1000):
            self.assertEqual(self.guess(), 0)
            self.throttle.failed("alice", HERE)
            self.throttle.entered("alice", HERE)
        self.assertEqual((self.throttle._counts, self.throttle._known), ({}, {}))


class OwnerTests(ThrottleCase):
    """A stranger locks no owner out."""

    def test_elsewhere(self) -> None:
        """Who guesses from one place does not keep the owner waiting who comes from another."""
        self.guesses(15)
        self.assertEqual(self.guess(), 300)
        self.assertEqual(self.enter(network=THERE), 0)

    def test_otherAccounts(self) -> None:
        """Nor is who guesses at one account a hindrance to the others in his house."""
        self.guesses(15)
        self.assertEqual(self.enter("bob"), 0)

    def test_fromEverywhere(self) -> None:
        """Who guesses from many places makes those wait who were never seen, but not the owner at home."""
        self.enter()
        places = (f"203.0.113.{number}" for number in range(256))
        for place in places:
            self.guess(network=place)
        self.assertEqual([self.guess(network=THERE), self.guess(network=THERE)], [0, 1])
        self.assertEqual(self.enter(), 0)
        self.guesses(30, network=THERE)
        self.assertLessEqual(self.guess(network="203.0.113.99"), ACCOUNT.longest)

    def test_newPlace(self) -> None:
        """However many guess, the first attempt from a place is let pass: it may be the owner's."""
        for number in range(ACCOUNT.free + 20):
            self.guess(network=f"203.0.113.{number}")
        self.assertEqual(self.guess(network="203.0.113.1"), 1)
        self.assertEqual(self.enter(network=THERE), 0)
        self.assertEqual(self.enter(network=THERE), 0)

    def test_newPlaceOnce(self) -> None:
        """That is one guess for each place, until it is forgotten; and those of the place still count."""
        for number in range(ACCOUNT.free + 20):
            self.guess(network=f"203.0.113.{number}")
        self.now += ACCOUNT.longest
        self.assertEqual([self.guess(network=THERE), self.guess(network=HERE)], [0, 0])
        self.assertEqual([self.guess(network=THERE), self.guess(network=HERE)], [2, 2])
        for number in range(PLACE.free):
            self.guess(f"name{number}", "192.0.2.3")
        self.assertEqual(self.enter(network="192.0.2.3"), 1)

    def test_newPlacesOfOne(self) -> None:
        """Of the 65,536 networks that one site may have in IPv6 not each is a place that is new."""
        for number in range(ACCOUNT.free + 20):
            self.guess(network=f"203.0.113.{number}")
        tried = [not self.guess(network=f"2001:db8:1:{number:x}::/64") for number in range(50)]
        self.assertEqual(sum(tried), 1)
        self.assertEqual(self.guess(network="2001:db8:2:1::/64"), 0)

    def test_oneGuesserOfManyNames(self) -> None:
        """Who tries many names from one place waits; but not those who were let in from there before."""
        self.enter()
        for number in range(PLACE.free):
            self.assertEqual(self.guess(f"name{number}"), 0)
        self.assertEqual(self.guess("another"), 1)
        self.assertEqual(self.enter("bob"), 1)
        self.assertEqual(self.enter(), 0)
        self.assertEqual(self.enter("bob", THERE), 0)

    def test_noWayRound(self) -> None:
        """Having an account of one's own at a place makes guesses at others no cheaper."""
        for number in range(PLACE.free):
            self.assertEqual(self.enter("mallory"), 0)
            self.assertEqual(self.guess(f"name{number}"), 0)
        self.assertEqual(self.guess("another"), 1)

    def test_unguessable(self) -> None:
        """Wrong tokens and codes count, and are answered with the wait; what is right never asks for it."""
        for _ in range(PAIR.free):
            self.throttle.failed("alice", HERE)
        refusal = self.assertRaises(Refusal, self.throttle.failed, "alice", HERE)
        self.assertEqual((refusal.code, refusal.seconds), (Code.SLOW_DOWN, 1))
        self.assertEqual(self.enter(), 1)
        self.throttle.entered("alice", HERE)
        self.assertEqual(self.enter(), 1)

    def test_tokenMakesKnown(self) -> None:
        """Where a token was shown, the account is known."""
        self.throttle.entered("alice", HERE)
        for number in range(100):
            self.guess(f"name{number}")
        self.assertEqual(self.enter(), 0)

    def test_inside(self) -> None:
        """Who is logged in is counted apart: guesses at the login do not reach him, nor his at it."""
        self.guesses(15)
        self.guesses(15, network=None)
        self.assertEqual(self.enter(network=INSIDE), 0)
        self.guesses(7, network=INSIDE)
        self.assertEqual(self.guess(network=INSIDE), 4)
        self.assertEqual(self.enter(network=THERE), 0)

    def test_local(self) -> None:
        """Programs on the server's machine have no address: they are counted by the account only."""
        for number in range(500):
            self.assertEqual(self.guess(f"name{number}", None), 0)
        self.guesses(7, network=None)
        self.assertEqual(self.guess(network=None), 4)
        self.assertEqual(self.enter(), 0)

    def test_invitations(self) -> None:
        """Wrong invitations, which are of no name, are counted by the place."""
        for _ in range(PLACE.free):
            self.throttle.failed("", HERE)
        refusal = self.assertRaises(Refusal, self.throttle.failed, "", HERE)
        self.assertEqual((refusal.code, refusal.seconds), (Code.SLOW_DOWN, 1))
        self.throttle.failed("", THERE)
        self.throttle.failed("", None)


class AlikeTests(ThrottleCase):
    """Where names are a secret: a guesser does not see which of them are known at his own place."""

    def setUp(self) -> None:
        """Alice was let in there before, and Bob has no account or is never there."""
        super().setUp()
        self.enter()

    def told(self, name: str, right: bool = False, alike: bool = True) -> tuple[bool, int]:
        """Try a password there: whether it is checked at all, and the seconds that are told.

        0 seconds: it is told to be wrong. -1: in.
        """
        checked = False
        try:
            with self.throttle.attempt(name, HERE, next(self.words), alike=alike) as in_earnest:
                checked = True
                if not (right and in_earnest):
                    raise Refusal(Code.WRONG_PASSWORD, "No.")
        except Refusal as refusal:
            return checked, refusal.seconds or 0
        return checked, -1

    def test_place(self) -> None:
        """While the place has to wait, both are checked, and both are told the same if it was in vain."""
        for number in range(PLACE.free):
            self.guess(f"name{number}")
        for wait in (1, 1, 1, 1, 1):
            self.assertEqual([self.told("alice"), self.told("bob")], [(True, wait)] * 2)
        for wait in (1, 1):
            self.assertEqual([self.told("alice"), self.told("bob")], [(False, wait)] * 2)
        self.now += 1
        self.assertEqual(self.told("alice", right=True), (True, -1))
        self.assertEqual(self.told("bob"), (True, 0))

    def test_owner(self) -> None:
        """Who is known there and has the right password is let in all the same; who is not is not."""
        for number in range(PLACE.free):
            self.guess(f"name{number}")
        self.assertEqual(self.told("bob", right=True), (True, 1))
        self.assertEqual(self.told("alice", right=True), (True, -1))

    def test_account(self) -> None:
        """The same while an account is tried from everywhere."""
        self.throttle.entered("alice", HERE)
        for name in ("alice", "bob"):
            for number in range(ACCOUNT.free + 3):
                self.guess(name, f"203.0.113.{number}")
        tried = [[self.told(name) for name in ("alice", "bob")] for _ in range(8)]
        self.assertEqual([one for one, _ in tried], [other for _, other in tried])
        self.assertEqual(tried[0], [(True, 0)] * 2)
        self.assertGreater(tried[1][0][1], 0)

    def test_counted(self) -> None:
        """Guesses at either make the place wait as soon, and so do wrong tokens and codes."""
        for name in ("alice", "bob"):
            self.throttle = Throttle(lambda: self.now)
            self.enter()
            for number in range(PLACE.free - 2):
                self.guess(f"name{number}")
            self.assertEqual(self.told(name), (True, 0))
            self.throttle.failed(name, HERE, alike=True)
            self.assertRaises(Refusal, self.throttle.failed, name, HERE, alike=True)

    def test_broken(self) -> None:
        """What ends otherwise than by a wrong password is no failure of either."""
        for number in range(PLACE.free):
            self.guess(f"name{number}")
        for name in ("alice", "bob"):
            for _ in range(2 * PAIR.free):
                with (
                    self.assertRaises(RuntimeError),
                    self.throttle.attempt(name, HERE, next(self.words), alike=True),
                ):
                    raise RuntimeError
            self.assertEqual(self.told(name), (True, 1))

    def test_open(self) -> None:
        """Where names are none, who is not known is not even checked, and who is known is told the truth."""
        for number in range(PLACE.free):
            self.guess(f"name{number}")
        self.assertEqual(self.told("bob", alike=False), (False, 1))
        self.assertEqual([self.told("alice", alike=False) for _ in range(5)], [(True, 0)] * 5)
        self.guess("name", THERE)
        self.assertEqual(self.told("alice", alike=False), (False, 1))
        self.throttle.entered("carol", HERE)
        self.throttle.failed("carol", HERE)


class HomeTests(ThrottleCase):
    """At which places somebody was let in."""

    def test_home(self) -> None:
        """Those, and no others; a place without an address is none, nor is a session."""
        self.enter()
        self.enter(network=None)
        self.enter(network=INSIDE)
        homes = [self.throttle.is_home(each) for each in (HERE, THERE, None, INSIDE)]
        self.assertEqual(homes, [True, False, False, False])

    def test_forgotten(self) -> None:
        """A place is one as long as it is known of any account."""
        self.enter("alice")
        self.enter("alice")
        self.enter("bob")
        for number in range(PLACES):
            self.enter("alice", f"203.0.113.{number}")
        self.assertTrue(self.throttle.is_home(HERE))
        for number in range(PLACES):
            self.enter("bob", f"203.0.113.{number}")
        self.assertFalse(self.throttle.is_home(HERE))
        self.assertEqual(len(self.throttle._homes), PLACES)

    def test_bounded(self) -> None:
        """With the accounts that are forgotten their places are."""
        self.patch(throttle, "MOST", 2)
        for number in range(5):
            self.enter(f"name{number}", f"203.0.113.{number}")
        self.assertEqual(sorted(self.throttle._homes), ["203.0.113.3", "203.0.113.4"])


class NamesTests(ThrottleCase):
    """Whoever may sign up learns which names are free, but not of many."""

    def ask(self, free: bool, network: str | None = HERE) -> int:
        """Ask for a name; the seconds to wait, if it is not answered yet, else 0."""
        try:
            is_free = self.throttle.naming(network)
            if free:
                is_free()
        except Refusal as refusal:
            assert refusal.seconds is not None
            return refusal.seconds
        return 0

    def test_taken(self) -> None:
        """Names that are not free count; then every name waits, for otherwise the wait would tell."""
        self.assertEqual([self.ask(False) for _ in range(PLACE.free)], [0] * PLACE.free)
        self.assertEqual([self.ask(False), self.ask(True)], [1, 1])
        self.assertEqual(self.ask(False, THERE), 0)
        self.now += 1
        self.assertEqual([self.ask(True), self.ask(False)], [0, 1])
        self.now += 1
        self.assertEqual([self.ask(False), self.ask(True)], [0, 2])

    def test_free(self) -> None:
        """Those that are free do not, however many are asked for."""
        self.assertEqual([self.ask(True) for _ in range(3 * PLACE.free)], [0] * 3 * PLACE.free)

    def test_off(self) -> None:
        """Without a clock everybody may ask."""
        self.throttle = Throttle(None)
        self.assertEqual([self.ask(each) for each in (False, True)] * 100, [0] * 200)


class SignUpTests(ThrottleCase):
    """Nobody makes accounts by the thousand."""

    def sign_up(self, network: str | None = HERE) -> int:
        """Make an account; the seconds to wait, if that may not be done yet, else 0."""
        try:
            self.throttle.signs_up(network)
        except Refusal as refusal:
            assert refusal.seconds is not None
            self.assertIn(f"{refusal.seconds} seconds", refusal.reason)
            return refusal.seconds
        return 0

    def test_bucket(self) -> None:
        """From one place so many at once, then one each few seconds; the seconds told are exact."""
        self.assertEqual([self.sign_up() for _ in range(20)], [0] * 20)
        self.assertEqual([self.sign_up(), self.sign_up(), self.sign_up(THERE)], [10, 10, 0])
        self.now += 9.5
        self.assertEqual(self.sign_up(), 1)
        self.now += 1
        self.assertEqual([self.sign_up(), self.sign_up()], [0, 10])
        self.now += 1000
        self.assertEqual([self.sign_up() for _ in range(21)], [0] * 20 + [10])

    def test_exempt(self) -> None:
        """Programs on the server's machine, whose address tells nothing, make as many as they like."""
        self.assertEqual({self.sign_up(None) for _ in range(500)}, {0})
        self.throttle = Throttle(None)
        self.assertEqual({self.sign_up() for _ in range(500)}, {0})

    def test_bounded(self) -> None:
        """So many places are remembered; those give way that may do the most again."""
        self.patch(throttle, "MOST", FEW)
        for _ in range(20):
            self.sign_up()
        for number in range(2 * FEW):
            self.sign_up(f"2001:db8:{number:x}::/64")
            self.assertLessEqual(len(self.throttle._sign_ups), FEW)
        self.assertEqual(self.sign_up(), 10)


class BoundTests(ThrottleCase):
    """Memory has an end."""

    def setUp(self) -> None:
        """An early one."""
        super().setUp()
        self.patch(throttle, "MOST", FEW)

    def test_counts(self) -> None:
        """However many names are tried from however many places, so many counts are kept and no more."""
        for number in range(FEW):
            self.guess(f"name{number}", f"2001:db8:{number:x}::/64")
            self.assertLessEqual(len(self.throttle._counts), FEW)
        self.assertGreater(len(self.throttle._counts), FEW // 2)

    def test_leastDangerous(self) -> None:
        """What gives way is the least: who waits is not let off by a flood of other names."""
        self.guesses(9)
        for number in range(2 * FEW):
            self.guess(f"name{number}", f"2001:db8:{number:x}::/64")
        self.assertEqual(self.guess(), 16)

    def test_places(self) -> None:
        """Of each account the last places are known."""
        for number in range(PLACES + 1):
            self.enter(network=f"192.0.2.{number}")
        self.assertEqual(list(self.throttle._known["alice"]), [f"192.0.2.{n + 1}" for n in range(PLACES)])

    def test_known(self) -> None:
        """And so many accounts: those that were entered last."""
        self.enter("alice")
        self.enter("bob")
        self.enter("alice")
        for number in range(FEW - 1):
            self.enter(f"name{number}")
        self.assertEqual(len(self.throttle._known), FEW)
        self.assertIn("alice", self.throttle._known)
        self.assertNotIn("bob", self.throttle._known)
