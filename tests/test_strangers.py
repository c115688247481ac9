"""Strangers: who is let in with an invitation or a recovery code."""

from __future__ import annotations

import sqlite3

from chat.accounts import Registration
from chat.admin.audit import audit
from chat.codes import INVITATION_GROUPS, RECOVERY_CODES, RECOVERY_GROUPS, digest, new_code
from chat.errors import Code, FatalError, Refusal
from chat.ledger import Account
from chat.limits.throttle import PLACE
from chat.messages import Created, Failed, NewPassword, Password, PasswordChanged, Username
from chat.origin import Origin
from chat.store import invitations, passwords, recoveries
from chat.store.together import Together
from tests.strangers_case import ANOTHER, HERE, THERE, StrangersCase
from tests.town import names
from tests.world import PASSWORD


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
