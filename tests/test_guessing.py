"""Strangers: what guessing costs whom."""

from __future__ import annotations

import contextlib
from typing import Any, Callable, Sequence

import bcrypt
from twisted.internet.task import deferLater

from chat.accounts import Recovering, Registration
from chat.errors import Code, Refusal
from chat.ledger import Account
from chat.limits.evenness import Evenness
from chat.limits.throttle import ACCOUNT, PAIR, PLACE, Throttle
from chat.messages import Failed
from chat.origin import LOCAL, Origin
from chat.store.hashing import THREADS
from chat.store.reception import AT_HOME_FROM_ONE_PLACE, OTHERS, OTHERS_FROM_ONE_PLACE
from tests.strangers_case import ANOTHER, HERE, THERE, StrangersCase
from tests.world import PASSWORD


class GuessingTests(StrangersCase):
    """Slower and slower, and the same whether the name is known or not."""

    def guess(self, name: str, network: str | None = HERE, password: str = ANOTHER) -> Refusal:
        """A login that is refused."""
        refusal: Refusal = self.assertRaises(
            Refusal, lambda: self.world.result(self.accounts.log_in(name, password, network))
        )
        return refusal

    def setUp(self) -> None:
        """Alice has an account."""
        super().setUp()
        self.world.sign_up("alice")

    def test_sameForUnknown(self) -> None:
        """Known and unknown names are slowed down alike, to the second and to the letter."""
        said: dict[str, list[tuple[str, str, int | None]]] = {"alice": [], "carol": []}
        for _ in range(12):
            for name, answers in said.items():
                refusal = self.guess(name)
                answers.append((refusal.code.value, refusal.reason, refusal.seconds))
            self.world.clock.advance(1.5)
        self.assertEqual(said["alice"], said["carol"])
        self.assertIn(Code.SLOW_DOWN.value, [code for code, _, _ in said["alice"]])

    def test_beforeTheWork(self) -> None:
        """Who has to wait costs nothing: no password is hashed, nothing is looked up."""
        for _ in range(PAIR.free):
            self.guess("alice")
        self.patch(bcrypt, "checkpw", self.fail)
        self.patch(self.world.store, "find", self.fail)
        self.assertEqual(self.guess("alice").seconds, 1)

    def test_ownerElsewhere(self) -> None:
        """The owner, who comes from elsewhere, is let in while a stranger guesses; a right token anywhere."""
        admission = self.world.result(self.accounts.log_in("alice", PASSWORD, THERE))
        token = self.world.result(self.accounts.issue(admission))
        for _ in range(20):
            self.guess("alice")
        self.assertEqual(self.guess("alice", password=PASSWORD).code, Code.SLOW_DOWN)
        self.world.result(self.accounts.log_in("alice", PASSWORD, THERE))
        self.world.result(self.accounts.resume("alice", token.value, HERE))

    def test_knownByToken(self) -> None:
        """Whoever comes in with a token is known there from then on, whatever others guess elsewhere."""
        admission = self.world.result(self.accounts.log_in("alice", PASSWORD, THERE))
        token = self.world.result(self.accounts.issue(admission))
        self.world.result(self.accounts.resume("alice", token.value, HERE))
        for number in range(ACCOUNT.free + 5):
            with contextlib.suppress(Refusal):
                self.world.result(self.accounts.log_in("alice", ANOTHER, f"203.0.113.{number}"))
        self.guess("alice", HERE)
        self.world.result(self.accounts.log_in("alice", PASSWORD, HERE))

    def test_tokens(self) -> None:
        """Wrong tokens, and wrong recovery codes, count as wrong passwords do."""
        for call, code in (
            (self.accounts.resume, Code.WRONG_TOKEN),
            (self.accounts.recovering, Code.WRONG_RECOVERY),
        ):
            network = f"{HERE} {code}"
            for _ in range(PAIR.free):
                self.assertRefused(code, call, "carol", "wrong", network)
            self.assertRefused(Code.SLOW_DOWN, call, "carol", "wrong", network)
            self.assertEqual(self.guess("carol", network).code, Code.SLOW_DOWN)

    def test_invitations(self) -> None:
        """Wrong invitations are slowed down by the place; a good one is taken at once."""
        for _ in range(50):
            self.assertRefused(Code.WRONG_INVITE, self.accounts.invited, "wrong", HERE)
        self.assertRefused(Code.SLOW_DOWN, self.accounts.invited, "wrong", HERE)
        self.assertIsNotNone(self.world.result(self.accounts.invited(self.invite(), HERE)))

    def test_inside(self) -> None:
        """Wrong passwords of who is logged in are slowed down, and the login is not for them."""
        alice = Account(1, "alice")
        calls: Sequence[Callable[[], Any]] = (
            lambda: self.accounts.change_password(alice, "wrong", ANOTHER),
            lambda: self.accounts.renew_recovery_codes(alice, "wrong"),
        )
        for number in range(PAIR.free):
            self.assertRefused(Code.WRONG_PASSWORD, calls[number % 2])
        for call in calls:
            self.assertRefused(Code.SLOW_DOWN, call)
        self.world.result(self.accounts.log_in("alice", PASSWORD, HERE))
        self.world.clock.advance(1)
        self.world.result(self.accounts.change_password(alice, PASSWORD, ANOTHER))

    def test_busy(self) -> None:
        """That the server is too busy to check a password is no failure of who wanted to log in."""
        others = self.world.store.passwords._reception._others
        self.patch(others, "_most", 0)
        for _ in range(20):
            self.assertIn("at once", self.guess("alice").reason)
        self.world.clock.advance(1)
        self.world.result(self.accounts.log_in("alice", PASSWORD, HERE))

    def test_oneHashesMuch(self) -> None:
        """One place, or one account, that has passwords checked all the time keeps nobody else out."""
        alice = Account(1, "alice")
        self.hold = True
        for number in range(OTHERS_FROM_ONE_PLACE):
            self.world.start(self.accounts.log_in(f"name{number}", ANOTHER, HERE)).addErrback(lambda _: None)
            self.world.start(self.accounts.sign_up(f"other{number}", ANOTHER, network=THERE))
        self.world.settle()
        self.assertEqual(self.world.store.passwords.busy, 2 * OTHERS_FROM_ONE_PLACE)
        self.assertIn("at once", self.guess("alice", HERE).reason)
        self.assertRefused(Code.SLOW_DOWN, self.accounts.sign_up, "carol", PASSWORD, (), None, THERE)
        recovering = self.world.start(self.accounts.recover(Recovering(alice, b"", THERE), ANOTHER))
        invited = self.world.start(self.accounts.sign_up("dave", PASSWORD, (), b"", THERE))
        elsewhere = self.world.start(self.accounts.log_in("alice", PASSWORD, "203.0.113.1"))
        self.world.settle()
        self.hold = False
        while self.held:
            self.release()
        self.assertEqual(self.successResultOf(elsewhere).account, alice)
        # These had shown a code, so there was room for them; that it was wrong turned out behind it.
        for each, code in ((recovering, Code.WRONG_RECOVERY), (invited, Code.WRONG_INVITE)):
            self.assertEqual(self.failureResultOf(each, Refusal).value.code, code)

    def test_everybodyHashesMuch(self) -> None:
        """However many strangers ask: the owner is let in at home, and elsewhere at the moment told."""
        self.world.result(self.accounts.log_in("alice", PASSWORD, HERE))
        self.hold = True
        for number in range(OTHERS):
            stranger = self.accounts.log_in(f"name{number}", ANOTHER, f"203.0.113.{number}")
            self.world.start(stranger).addErrback(lambda _: None)
        self.world.settle()
        elsewhere = self.guess("alice", THERE)
        self.assertEqual((elsewhere.code, elsewhere.seconds), (Code.SLOW_DOWN, 1))
        for number in range(OTHERS_FROM_ONE_PLACE):  # of one IPv6 /48, whichever /64 they are of
            self.assertIn("at once", self.guess("alice", f"2001:db8:1:{number}::/64").reason)
        promised = self.world.store.passwords._reception._promises._to
        self.assertEqual(promised, {THERE: 1, "2001:db8:1::/48": 1})
        at_home = self.world.start(self.accounts.log_in("alice", PASSWORD, HERE))
        self.world.clock.advance(1)
        there = self.world.start(self.accounts.log_in("alice", PASSWORD, THERE))
        self.world.settle()
        for _ in range(2 * THREADS):
            self.release()
        self.successResultOf(at_home)
        self.assertNoResult(there)
        self.hold = False
        while self.held:
            self.release()
        self.successResultOf(there)

    def test_oneAccountHashesMuch(self) -> None:
        """So do all the sessions of one account."""
        alice = Account(1, "alice")
        self.accounts._throttle = Throttle(None)
        self.hold = True
        self.world.start(self.accounts.change_password(alice, PASSWORD, ANOTHER))
        guesses = [
            self.world.start(self.accounts.renew_recovery_codes(alice, f"guess {number}"))
            for number in range(AT_HOME_FROM_ONE_PLACE + OTHERS_FROM_ONE_PLACE - 1)
        ]
        self.world.settle()
        for _ in ("the old password is checked", "the new one is hashed"):
            self.assertRefused(Code.SLOW_DOWN, self.accounts.change_password, alice, "a guess", ANOTHER)
            self.release()
        while self.held:
            self.release()
        for guess in guesses:
            self.assertIs(self.failureResultOf(guess, Refusal).value.code, Code.WRONG_PASSWORD)

    def test_origin(self) -> None:
        """The place that counts is the network of the connection."""
        for _ in range(PAIR.free):
            talk = self.stranger(Origin("192.0.2.1", HERE))
            talk.kinds(("username", "alice"), ("password", ANOTHER))
        talk = self.stranger(Origin("192.0.2.1", HERE))
        talk.says("username", "alice")
        failed, _ = talk.says("password", PASSWORD)
        assert isinstance(failed, Failed)
        self.assertEqual((failed.code, failed.seconds), ("slow-down", 1))
        talk = self.stranger(Origin("198.51.100.2", THERE))
        self.assertEqual(talk.kinds(("username", "alice"), ("password", PASSWORD)), ["Password"])


class EvenTests(StrangersCase):
    """Where not everybody can sign up, refusals come at moments that do not tell what took how long."""

    def setUp(self) -> None:
        """Alice has an account, and time passes at every refusal."""
        super().setUp()
        self.world.sign_up("alice")
        self.accounts._evenness = Evenness(
            self.world.clock.seconds, lambda seconds: deferLater(self.world.clock, seconds)
        )

    def refused_after(self, name: str, field: str, work: float) -> float:
        """After how many seconds a wrong answer is refused whose check takes so many."""
        talk = self.stranger()
        if field != "invite":
            talk.says("username", name)
        self.hold = True
        begun = self.world.clock.seconds()
        refused = talk.start(field, "wrong")
        self.world.settle()
        self.world.clock.advance(work)
        while self.held:
            self.release()
        self.hold = False
        while not refused.called:
            self.world.clock.advance(0.001)
        self.assertIsInstance(self.successResultOf(refused)[0], Failed)
        return round(self.world.clock.seconds() - begun, 2)

    def test_steps(self) -> None:
        """Whatever the work takes, the refusal comes at the next even moment; for codes and tokens, too."""
        for name in ("alice", "carol"):
            for work, moment in ((0.001, 0.1), (0.06, 0.1), (0.099, 0.1), (0.15, 0.2), (0.31, 0.4)):
                self.assertEqual(self.refused_after(name, "password", work), moment)
                self.world.clock.advance(600)
            for field in ("token", "recovery", "invite"):
                self.assertEqual(self.refused_after(name, field, 0), 0.1)
                self.world.clock.advance(600)

    def test_slowDown(self) -> None:
        """Who is told to slow down is told so at an even moment, too: the name was looked up before."""
        for field in ("token", "recovery"):
            for _ in range(10):
                self.assertEqual(self.refused_after("alice", field, 0), 0.1)

    def test_open(self) -> None:
        """Where everybody can sign up, names are no secret, and nobody waits."""
        self.accounts.registration = Registration.OPEN
        self.assertEqual(self.refused_after("alice", "password", 0.05), 0.05)

    def test_right(self) -> None:
        """Who is let in is not kept waiting."""
        talk = self.stranger()
        talk.kinds(("username", "alice"), ("password", PASSWORD))
        self.assertIsNotNone(talk.admission)


class EqualWorkTests(StrangersCase):
    """Where not everybody can sign up, what is done for a name does not tell whether it has an account."""

    throttled = False

    def work(self, name: str, field: str, value: str, origin: Origin = LOCAL) -> list[object]:
        """What the database and the hashing threads are asked for by one attempt, and what is said."""
        done: list[object] = []
        submit = self.world.store._commit.submit

        def noted(procedure: Any, argument: Any, *rest: Any) -> None:
            done.append((procedure.perform, procedure.file))
            submit(procedure, argument, *rest)

        self.patch(self.world.store._commit, "submit", noted)
        check, make = bcrypt.checkpw, bcrypt.hashpw

        def checked(password: bytes, hashed: bytes) -> bool:
            done.append(("check", len(password), hashed[:7]))
            return check(password, hashed)

        def made(password: bytes, salt: bytes) -> bytes:
            done.append(("hash", len(password), salt[:7]))
            return make(password, salt)

        self.patch(bcrypt, "checkpw", checked)
        self.patch(bcrypt, "hashpw", made)
        talk = self.stranger(origin)
        done.append(talk.says("username", name))
        done.append(talk.says(field, value))
        self.patch(self.world.store._commit, "submit", submit)
        self.patch(bcrypt, "checkpw", check)
        self.patch(bcrypt, "hashpw", make)
        return done

    def test_alikeAtOnePlace(self) -> None:
        """The same for who was let in where all others wait by now, and for who was not, or is nobody."""
        self.world.sign_up("alice", "bob")
        self.accounts._throttle = Throttle(self.world.clock.seconds)
        self.accounts.registration = Registration.INVITE
        self.world.result(self.accounts.log_in("alice", PASSWORD, HERE))
        for number in range(PLACE.free):
            self.assertRefused(Code.WRONG_PASSWORD, self.accounts.log_in, f"name{number}", ANOTHER, HERE)
        for field in ("password", "token", "recovery"):
            attempts = [
                self.work(name, field, ANOTHER, Origin("192.0.2.1", HERE))
                for name in ("alice", "bob", "carol")
                for _ in range(PAIR.free + 1)
            ]
            each = len(attempts) // 3
            self.assertEqual(attempts[:each], attempts[each : 2 * each])
            self.assertEqual(attempts[:each], attempts[2 * each :])
            self.assertIn("slow-down", repr(attempts[0]))
        self.world.clock.advance(1)
        self.world.result(self.accounts.log_in("alice", PASSWORD, HERE))

    def test_equal(self) -> None:
        """An active, a deleted, an unknown and an unfinished account: the same steps in the same order."""
        _, bob = self.world.sign_up("alice", "bob")
        self.world.delete(bob)
        self.world.result(self.world.store.join("dave"))
        for registration in (Registration.INVITE, Registration.CLOSED):
            self.accounts.registration = registration
            for field, value in (
                ("password", ANOTHER),
                ("password", ""),
                ("password", "x" * 2000),
                ("token", "no token"),
                ("recovery", "no code"),
            ):
                work = [self.work(name, field, value) for name in ("alice", "bob", "carol", "dave")]
                self.assertEqual(work[1:], work[:1] * 3)
                self.assertGreater(len(work[0]), 2)
