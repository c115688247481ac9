"""Strangers: who is let in with an invitation or a recovery code, and what guessing costs whom."""

from __future__ import annotations

import contextlib
import sqlite3
from contextlib import closing
from typing import Any, Callable, Sequence

import bcrypt
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

from chat.accounts import Accounts, Admission, Recovering, Registration
from chat.admin.audit import audit
from chat.codes import INVITATION_GROUPS, RECOVERY_CODES, RECOVERY_GROUPS, digest, new_code
from chat.errors import Code, FatalError, Refusal
from chat.ledger import Account
from chat.limits.evenness import Evenness
from chat.limits.throttle import ACCOUNT, PAIR, PLACE, Throttle
from chat.login import Introduction
from chat.messages import Created, Failed, Frame, Login, NewPassword, Password, PasswordChanged, Username
from chat.origin import LOCAL, Origin
from chat.store import invitations, passwords, recoveries
from chat.store.hashing import THREADS
from chat.store.layout import path
from chat.store.reception import AT_HOME_FROM_ONE_PLACE, OTHERS, OTHERS_FROM_ONE_PLACE
from chat.store.together import Together
from tests.test_audit import names
from tests.world import PASSWORD, World, at_once, open_world

HERE = "192.0.2.1"
THERE = "198.51.100.2"
ANOTHER = "another password"


class StrangersCase(SynchronousTestCase):
    """The accounts of a small world that guesses are slowed down in."""

    registration = Registration.INVITE
    throttled = True

    def setUp(self) -> None:
        """Nobody is there yet."""
        self.held: list[Callable[[], None]] = []
        self.hold = False
        self.world: World = open_world(
            self,
            registration=self.registration,
            throttle=Throttle(lambda: self.world.clock.seconds()) if self.throttled else None,
            in_thread=self.in_thread,
        )
        self.accounts: Accounts = self.world.accounts

    def in_thread(self, function: Callable[..., Any], *arguments: object) -> Deferred[Any]:
        """Hash at once, or when it is released."""
        if not self.hold:
            return at_once(function, *arguments)
        result: Deferred[Any] = Deferred()
        self.held.append(lambda: result.callback(function(*arguments)))
        return result

    def release(self) -> None:
        """The oldest hash that is held back is ready."""
        self.held.pop(0)()
        self.world.settle()

    def invite(self, uses: int = 1, seconds: int = 60) -> str:
        """A new code, made by another program."""
        code, now = new_code(INVITATION_GROUPS), self.world.now()
        with self.elsewhere("users") as connection:
            cursor = connection.cursor()
            invitations.make(cursor, digest(code, INVITATION_GROUPS), now, now + seconds * 1000, uses)
        return code

    def elsewhere(self, name: str) -> Any:
        """Another program's connection to a file."""
        connection = sqlite3.connect(":memory:", isolation_level=None)
        connection.execute(f"ATTACH ? AS {name}", (str(path(self.world.path, name)),))
        return closing(connection)

    def uses(self) -> list[int]:
        """For how many accounts each invitation is good."""
        return [uses for (uses,) in self.world.sql("SELECT uses FROM users.invitations ORDER BY id")]

    def stranger(self, origin: Origin = LOCAL) -> Talk:
        """Somebody who has just connected."""
        return Talk(self.world, origin)

    def assertRefused(self, code: Code, call: Callable[..., Any], *arguments: Any) -> Refusal:
        """The call is refused with this code."""
        refusal: Refusal = self.assertRaises(Refusal, lambda: self.world.result(call(*arguments)))
        self.assertEqual(refusal.code, code)
        return refusal


class Talk:
    """The login part of one conversation."""

    def __init__(self, world: World, origin: Origin) -> None:
        self._world = world
        self.introduction = Introduction(world.accounts, origin)
        self.admission: Admission | None = None

    def start(self, field: str, value: str) -> Deferred[Any]:
        """Answer the prompt; what comes of it may take its time."""
        return self._world.start(self.introduction.take(Login(field=field, value=value)))

    def says(self, field: str, value: str, codes: bool = False) -> list[Frame]:
        """What is said to this answer to the prompt; nothing, if it was a login that is complete."""
        outcome = self._world.result(self.introduction.take(Login(field=field, value=value, codes=codes)))
        if isinstance(outcome, Admission):
            self.admission = outcome
            return []
        return outcome

    def kinds(self, *answers: tuple[str, str]) -> list[str]:
        """The same in words, for some answers in turn: codes of refusals, and names of other frames."""
        said = [frame for answer in answers for frame in self.says(*answer)]
        return [frame.code if isinstance(frame, Failed) else type(frame).__name__ for frame in said]


class InvitationTests(StrangersCase):
    """Signing up where not everybody can."""

    def test_signUp(self) -> None:
        """With a good code a free name is offered, and the account uses it up."""
        code = self.invite()
        talk = self.stranger()
        self.assertEqual(talk.says("invite", code), [Username()])
        self.assertEqual(talk.says("username", "Carol"), [NewPassword()])
        self.assertEqual(self.uses(), [1])
        created, prompt = talk.says("password", PASSWORD)
        assert isinstance(created, Created)
        self.assertEqual((created.username, prompt), ("carol", Username()))
        self.assertEqual(self.uses(), [0])
        self.assertEqual(talk.says("username", "carol"), [Password()])
        self.assertEqual(talk.says("password", PASSWORD), [])
        assert talk.admission is not None

    def test_asTyped(self) -> None:
        """Somebody may type it in capitals, without hyphens."""
        code = self.invite().upper().replace("-", "")
        self.assertEqual(self.stranger().kinds(("invite", code)), ["Username"])

    def test_without(self) -> None:
        """Without an invitation every name is asked for its password, and nobody gets in."""
        self.world.sign_up("alice")
        for name in ("alice", "carol"):
            kinds = self.stranger().kinds(("username", name), ("password", ANOTHER))
            self.assertEqual(kinds, ["Password", "wrong-password", "Username"])

    def test_wrong(self) -> None:
        """A code that was never given, has ended, is used up or revoked is refused, in the same words."""
        ended, used, revoked = self.invite(seconds=0), self.invite(uses=0), self.invite()
        with self.elsewhere("users") as connection:
            self.assertTrue(invitations.revoke(connection.cursor(), 3))
            self.assertFalse(invitations.revoke(connection.cursor(), 3))
        reasons = set()
        for code in (ended, used, revoked, new_code(INVITATION_GROUPS), "", "x", "\ud800"):
            talk = self.stranger()
            failed, prompt = talk.says("invite", code)
            assert isinstance(failed, Failed)
            self.assertEqual((failed.code, prompt), ("wrong-invite", Username()))
            reasons.add(failed.reason)
            self.assertEqual(talk.says("username", "carol"), [Password()])
        self.assertEqual(len(reasons), 1)

    def test_ends(self) -> None:
        """One that ends while somebody signs up with it is not good any more."""
        code = self.invite(seconds=10)
        talk = self.stranger()
        self.assertEqual(talk.kinds(("invite", code), ("username", "carol")), ["Username", "NewPassword"])
        self.world.clock.advance(10)
        self.assertEqual(talk.kinds(("password", PASSWORD)), ["wrong-invite", "Username"])
        self.assertEqual(self.world.sql("SELECT * FROM users.accounts"), [])
        self.assertEqual(self.world.sql("SELECT * FROM passwords.passwords"), [])
        self.assertEqual(self.world.sql("SELECT * FROM passwords.recoveries"), [])

    def test_race(self) -> None:
        """Of two who sign up with one code at the same time one is let in; of the other nothing is left."""
        code = self.invite()
        talks = [self.stranger() for _ in range(2)]
        for talk, name in zip(talks, ("carol", "dave")):
            self.assertEqual(talk.kinds(("invite", code), ("username", name)), ["Username", "NewPassword"])
        self.hold = True
        first, second = (talk.start("password", PASSWORD) for talk in talks)
        self.world.settle()
        self.release()
        self.release()
        created, _ = self.successResultOf(first)
        failed, _ = self.successResultOf(second)
        self.assertIsInstance(created, Created)
        self.assertEqual(failed.code, "wrong-invite")
        self.assertEqual(self.uses(), [0])
        self.assertEqual(self.world.sql("SELECT name, state FROM users.accounts"), [("carol", 0)])
        self.assertEqual(len(self.world.sql("SELECT * FROM passwords.passwords")), 1)

    def test_failedSignUp(self) -> None:
        """A sign-up that fails for another reason uses nothing up; the code still counts here."""
        self.world.sign_up("alice")
        code = self.invite()
        talk = self.stranger()
        kinds = talk.kinds(
            ("invite", code),
            ("username", "alice"),
            ("password", ANOTHER),
            ("username", "carol"),
            ("password", "x"),
        )
        self.assertEqual(
            kinds,
            ["Username", "Password", "wrong-password", "Username", "NewPassword", "bad-password", "Username"],
        )
        self.assertEqual(self.uses(), [1])
        self.assertEqual(talk.kinds(("username", "carol"), ("password", PASSWORD))[1], "Created")

    def test_severalUses(self) -> None:
        """One that is good for two accounts makes two, each of whose owners shows it."""
        code = self.invite(uses=2)
        talk = self.stranger()
        for name in ("carol", "dave"):
            self.assertEqual(talk.kinds(("username", name), ("password", PASSWORD))[1], "wrong-password")
            talk.says("invite", code)
            self.assertEqual(talk.kinds(("username", name), ("password", PASSWORD))[1], "Created")
        self.assertEqual(talk.kinds(("invite", code)), ["wrong-invite", "Username"])

    def test_probing(self) -> None:
        """An invitation that is not used up does not tell of name after name whether it is free."""
        self.world.sign_up("alice", "bob-with-a-long-name")
        code = self.invite()
        answers = []
        for number in range(PLACE.free + 2):
            talk = self.stranger(Origin(HERE, HERE))
            asked = ("alice", "bob-with-a-1ong-name", "x\u0430")[number % 3]  # taken, looks so, mixes scripts
            answers.append(talk.kinds(("invite", code), ("username", asked))[1])
        self.assertEqual(set(answers[:3]), {"Password", "name-confusable"})
        self.assertEqual(answers.count("slow-down"), 2)
        talk = self.stranger(Origin(HERE, HERE))
        self.assertEqual(talk.kinds(("invite", code), ("username", "carol"))[1:], ["slow-down", "Username"])
        talk = self.stranger(Origin(THERE, THERE))
        self.assertEqual(talk.kinds(("invite", code), ("username", "carol"))[1:], ["NewPassword"])

    def test_notAfterLogin(self) -> None:
        """Who shows an invitation and logs in is asked for a password like anybody after logging out."""
        self.world.sign_up("alice")
        talk = self.stranger()
        talk.kinds(("invite", self.invite()), ("username", "alice"), ("password", PASSWORD))
        self.assertEqual(talk.kinds(("username", "carol")), ["Password"])

    def test_crash(self) -> None:
        """Wherever the server dies meanwhile, there is an account and the code is used up, or neither."""
        outcomes = set()
        for left in range(12):
            code = self.invite()
            talk = self.stranger()
            talk.kinds(("invite", code), ("username", f"name{left}"))
            self.world.pool.left = left
            talk.start("password", PASSWORD)
            self.world.settle()
            self.world = self.world.crash(self.mktemp(), registration=Registration.INVITE)
            self.addCleanup(self.world.close)
            self.accounts = self.world.accounts
            self.world.result(self.accounts.finish())
            there = self.world.result(self.world.store.find(f"name{left}")) is not None
            self.assertEqual(self.uses()[-1], 0 if there else 1)
            outcomes.add(there)
            if not there:
                talk = self.stranger()
                kinds = talk.kinds(("invite", code), ("username", f"name{left}"), ("password", PASSWORD))
                self.assertEqual(kinds, ["Username", "NewPassword", "Created", "Username"])
        self.assertEqual(outcomes, {False, True})
        self.assertEqual(names(audit(self.world.path)), [])


class OpenTests(StrangersCase):
    """Where everybody can sign up."""

    registration = Registration.OPEN

    def test_ignored(self) -> None:
        """An invitation is taken, good or not, and neither looked at nor used up."""
        code = self.invite()
        for number, shown in enumerate((code, "no code")):
            talk = self.stranger()
            self.assertEqual(talk.kinds(("invite", shown)), ["Username"])
            kinds = talk.kinds(("username", f"name{number}"), ("password", PASSWORD))
            self.assertEqual(kinds, ["NewPassword", "Created", "Username"])
        self.assertEqual(self.uses(), [1])

    def test_manyFromOnePlace(self) -> None:
        """Who makes account after account is slowed down by the place, and hashes nothing meanwhile."""
        for network, refused in ((HERE, 1), (THERE, 0), (None, 0)):
            said = []
            for number in range(21 if network == HERE else 2):
                talk = self.stranger(Origin("", network))
                name = f"name{number}-{network or ''}".replace(".", "-")
                said += talk.kinds(("username", name), ("password", PASSWORD))
            self.assertEqual(said.count("slow-down"), refused)
        self.assertEqual(len(self.world.sql("SELECT * FROM users.accounts")), 24)


class ClosedTests(StrangersCase):
    """Where nobody can sign up."""

    registration = Registration.CLOSED

    def test_noneIsGood(self) -> None:
        """No invitation helps, and the answer does not tell whether it would elsewhere."""
        good, bad = (self.stranger().says("invite", code) for code in (self.invite(), "no code"))
        self.assertEqual(good, bad)
        assert isinstance(good[0], Failed)
        self.assertEqual(good[0].code, "wrong-invite")


class RecoveryTests(StrangersCase):
    """Who has forgotten the password, and has written down the codes."""

    def setUp(self) -> None:
        """Alice and her codes."""
        super().setUp()
        talk = self.stranger()
        created = talk.kinds(("invite", self.invite()), ("username", "alice"))
        frame = talk.says("password", PASSWORD, codes=True)[0]
        assert created == ["Username", "NewPassword"] and isinstance(frame, Created)
        self.codes = frame.recovery
        self.alice = Account(1, "alice")

    def recover(self, code: str, new: str = ANOTHER, name: str = "alice") -> list[str]:
        """Choose another password with this code."""
        return self.stranger().kinds(("username", name), ("recovery", code), ("password", new))

    def log_in(self, password: str) -> bool:
        """Whether this is Alice's password."""
        try:
            self.world.result(self.accounts.log_in("alice", password))
        except Refusal as refusal:
            self.assertEqual(refusal.code, Code.WRONG_PASSWORD)
            return False
        return True

    def test_kept(self) -> None:
        """Eight codes are told once; of each its digest is kept, and in no file itself."""
        self.assertEqual(len(set(self.codes)), RECOVERY_CODES)
        rows = self.world.sql("SELECT account, digest, expires FROM passwords.recoveries")
        self.assertEqual(
            sorted(rows), sorted((1, digest(code, RECOVERY_GROUPS), None) for code in self.codes)
        )
        self.world.close()
        stored = b"".join(file.read_bytes() for file in self.world.path.glob("*.db*"))
        for code in self.codes:
            for secret in (code, code.replace("-", "")):
                self.assertNotIn(secret.encode(), stored)

    def test_recover(self) -> None:
        """A code lets its owner choose a new password; it is good once, and the others still are."""
        self.assertEqual(
            self.recover(self.codes[0]), ["Password", "NewPassword", "PasswordChanged", "Username"]
        )
        self.assertEqual((self.log_in(PASSWORD), self.log_in(ANOTHER)), (False, True))
        talk = self.stranger()
        kinds = talk.kinds(("username", "alice"), ("recovery", self.codes[0]))
        self.assertEqual(kinds, ["Password", "wrong-recovery", "Username"])
        self.assertEqual(self.recover(self.codes[7].upper(), PASSWORD)[2], "PasswordChanged")
        self.assertTrue(self.log_in(PASSWORD))

    def test_thenLogin(self) -> None:
        """After that one logs in on the same connection; nobody was let in by the code itself."""
        talk = self.stranger()
        talk.kinds(("username", "alice"), ("recovery", self.codes[0]))
        self.assertEqual(talk.says("password", ANOTHER), [PasswordChanged(), Username()])
        self.assertIs(talk.admission, None)
        talk.kinds(("username", "alice"), ("password", ANOTHER))
        self.assertIsNotNone(talk.admission)

    def test_wrong(self) -> None:
        """Wrong codes, other accounts' and unknown names are refused in the same words."""
        self.accounts.registration = Registration.OPEN
        self.world.sign_up("bob")
        self.accounts.registration = Registration.INVITE
        said = set()
        for name, code in (
            ("alice", new_code(RECOVERY_GROUPS)),
            ("alice", ""),
            ("bob", self.codes[0]),
            ("carol", self.codes[0]),
        ):
            talk = self.stranger()
            self.assertEqual(talk.says("username", name), [Password()])
            failed, prompt = talk.says("recovery", code)
            assert isinstance(failed, Failed)
            said.add((failed.code, failed.reason))
            self.assertEqual(prompt, Username())
        self.assertEqual([code for code, _ in said], ["wrong-recovery"])

    def test_badPassword(self) -> None:
        """A password that cannot be chosen is refused, and the code is still good."""
        self.assertEqual(self.recover(self.codes[0], "short")[2:], ["bad-password", "Username"])
        self.assertTrue(self.log_in(PASSWORD))
        self.assertEqual(self.recover(self.codes[0])[2], "PasswordChanged")

    def test_anotherAnswer(self) -> None:
        """Who has shown a good code and says something else instead of a password has to show it again."""
        talk = self.stranger()
        talk.kinds(("username", "alice"), ("recovery", self.codes[0]))
        self.assertEqual(talk.kinds(("token", "no token")), ["wrong-token", "Username"])
        self.assertEqual(talk.kinds(("username", "alice")), ["Password"])

    def test_race(self) -> None:
        """Of two who use one code at the same time, one has chosen the password."""
        talks = [self.stranger(), self.stranger()]
        for talk in talks:
            talk.kinds(("username", "alice"), ("recovery", self.codes[0]))
        self.hold = True
        first = talks[0].start("password", "the first password")
        second = talks[1].start("password", "the second password")
        self.world.settle()
        self.release()
        self.release()
        self.assertEqual(self.successResultOf(first), [PasswordChanged(), Username()])
        self.assertEqual(self.successResultOf(second)[0].code, "wrong-recovery")
        self.hold = False
        self.assertTrue(self.log_in("the first password"))

    def test_tokens(self) -> None:
        """The tokens are revoked, and whoever was logged in before is given no other."""
        before = self.world.result(self.accounts.log_in("alice", PASSWORD))
        token = self.world.result(self.accounts.issue(before))
        self.recover(self.codes[0])
        self.assertRefused(Code.WRONG_TOKEN, self.accounts.resume, "alice", token.value)
        self.assertRefused(Code.BAD_STATE, self.accounts.issue, before)
        after = self.world.result(self.accounts.log_in("alice", ANOTHER))
        self.world.result(self.accounts.issue(after))

    def test_renewed(self) -> None:
        """Who is logged in and says the password gets new codes in place of the old ones."""
        self.assertRefused(Code.WRONG_PASSWORD, self.accounts.renew_recovery_codes, self.alice, ANOTHER)
        codes = self.world.result(self.accounts.renew_recovery_codes(self.alice, PASSWORD))
        self.assertEqual(len(set(codes) | set(self.codes)), 2 * RECOVERY_CODES)
        old = self.stranger().kinds(("username", "alice"), ("recovery", self.codes[1]))
        self.assertEqual(old, ["Password", "wrong-recovery", "Username"])
        self.assertEqual(self.recover(codes[1])[2], "PasswordChanged")

    def test_renewedWhileDeleted(self) -> None:
        """Who asks for codes while another session deletes the account is told that it is gone."""
        self.hold = True
        renewed = self.world.start(self.accounts.renew_recovery_codes(self.alice, PASSWORD))
        self.world.settle()
        self.hold = False
        self.world.store.passwords._together = Together()  # or the deletion would wait for the same check
        self.world.delete(self.alice)
        self.release()
        self.assertEqual(self.failureResultOf(renewed, FatalError).value.code, Code.ACCOUNT_GONE)

    def test_deleted(self) -> None:
        """With the account its codes are gone; one that was shown before is worth nothing."""
        talk = self.stranger()
        talk.kinds(("username", "alice"), ("recovery", self.codes[0]))
        self.world.delete(self.alice)
        self.assertEqual(talk.kinds(("password", ANOTHER)), ["wrong-recovery", "Username"])
        self.assertEqual(self.world.sql("SELECT * FROM passwords.recoveries"), [])
        self.assertEqual(self.world.sql("SELECT * FROM passwords.passwords"), [])

    def test_crash(self) -> None:
        """Wherever the server dies meanwhile, the code is used up and the password new, or neither."""
        outcomes = set()
        for left in range(5):
            talk = self.stranger()
            talk.kinds(("username", "alice"), ("recovery", self.codes[left]))
            self.world.pool.left = left
            talk.start("password", f"{ANOTHER} {left}")
            self.world.settle()
            self.world = self.world.crash(self.mktemp(), registration=Registration.INVITE)
            self.addCleanup(self.world.close)
            self.accounts = self.world.accounts
            new = self.log_in(f"{ANOTHER} {left}")
            kept = self.world.sql("SELECT digest FROM passwords.recoveries")
            self.assertEqual((digest(self.codes[left], RECOVERY_GROUPS),) in kept, not new)
            outcomes.add(new)
        self.assertEqual(outcomes, {False, True})

    def test_changedPassword(self) -> None:
        """A change of the password leaves the codes as they are."""
        self.world.result(self.accounts.change_password(self.alice, PASSWORD, ANOTHER))
        self.assertEqual(self.recover(self.codes[0], PASSWORD)[2], "PasswordChanged")


class OperatorTests(StrangersCase):
    """What another program does to passwords.db while the server runs."""

    registration = Registration.OPEN

    def reset(self, at: int) -> None:
        """The operator replaces Alice's password."""
        hashed = passwords.make_hash(ANOTHER.encode(), 4)
        with self.elsewhere("passwords") as connection:
            self.assertTrue(passwords.reset(connection.cursor(), 1, hashed, at))

    def test_reset(self) -> None:
        """The new password is in force at once; tokens are revoked, and none is given on the old one."""
        self.world.sign_up("alice")
        before = self.world.result(self.accounts.log_in("alice", PASSWORD))
        token = self.world.result(self.accounts.issue(before))
        resumed = self.world.result(self.accounts.resume("alice", token.value))
        self.world.clock.advance(1)
        self.reset(self.world.now())
        self.assertRefused(Code.WRONG_TOKEN, self.accounts.resume, "alice", token.value)
        for admission in (before, resumed):
            self.assertRefused(Code.BAD_STATE, self.accounts.issue, admission)
        self.world.clock.advance(1)
        after = self.world.result(self.accounts.log_in("alice", ANOTHER))
        self.world.result(self.accounts.issue(after))
        again = self.world.result(self.accounts.change_password(Account(1, "alice"), ANOTHER, PASSWORD))
        self.world.result(self.accounts.issue(again))

    def test_resetCodes(self) -> None:
        """Nor are the recovery codes good any more: who knows one had the password, perhaps."""
        (alice,) = self.world.sign_up("alice")
        (code, *_) = self.world.result(self.accounts.renew_recovery_codes(alice, PASSWORD))
        self.world.result(self.accounts.recovering("alice", code))
        self.reset(self.world.now())
        self.assertRefused(Code.WRONG_RECOVERY, self.accounts.recovering, "alice", code)
        self.assertEqual(self.world.sql("SELECT * FROM passwords.recoveries"), [])

    def test_codes(self) -> None:
        """A code of the operator's ends."""
        (alice,) = self.world.sign_up("alice")
        code, now = new_code(RECOVERY_GROUPS), self.world.now()
        with self.elsewhere("passwords") as connection:
            cursor = connection.cursor()
            shown = digest(code, RECOVERY_GROUPS)
            self.assertTrue(recoveries.add(cursor, alice.id, shown, now + 1000))
            self.assertFalse(recoveries.add(cursor, 99, shown, now + 1000))
            self.assertFalse(passwords.reset(cursor, 99, "", now))
        recovering = self.world.result(self.accounts.recovering("alice", code))
        self.world.clock.advance(1)
        self.assertRefused(Code.WRONG_RECOVERY, self.accounts.recovering, "alice", code)
        self.assertRefused(Code.WRONG_RECOVERY, self.accounts.recover, recovering, ANOTHER)

    def test_meanwhile(self) -> None:
        """What another program writes between the reading and the writing of a transaction is no harm."""
        code = new_code(INVITATION_GROUPS)
        begin = self.world.store._commit._begin
        written: list[int] = []

        def outrun(cursor: sqlite3.Cursor) -> None:
            begin(cursor)
            if not written:
                with self.elsewhere("users") as connection:
                    written.append(
                        invitations.make(connection.cursor(), digest(code, INVITATION_GROUPS), 1, 2, 1)
                    )

        self.world.store._commit._begin = outrun
        account = self.world.result(self.world.store.join("alice"))
        self.assertEqual((account.name, len(written)), ("alice", 1))
        self.assertEqual(self.world.sql("SELECT name FROM users.accounts"), [("alice",)])
        self.assertEqual(self.flushLoggedErrors(), [])


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
