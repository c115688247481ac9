"""Tests for L{chat.accounts}: sign-up, login, passwords and tokens."""

from __future__ import annotations

import contextlib
from typing import Any, Callable

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from chat.accounts import Admission, Issued, Registration
from chat.errors import Code, FatalError, Refusal
from chat.ledger import Account, AccountState
from chat.store import tokens
from chat.store.passwords import Passwords
from chat.store.store import TOKEN_LIFE
from tests.world import PASSWORD, RESERVED, Onlooker, at_once, open_world


class AccountsCase(SynchronousTestCase):
    """The accounts of a small world."""

    def setUp(self) -> None:
        """Hash at once, unless a test holds it back."""
        self.hold = False
        self.held: list[Callable[[], None]] = []
        self.world = open_world(self, in_thread=self.in_thread)
        self.accounts = self.world.accounts

    def in_thread(self, function: Callable[..., Any], *arguments: object) -> Deferred[Any]:
        """The password threads."""
        if not self.hold:
            return at_once(function, *arguments)
        result: Deferred[Any] = Deferred()
        self.held.append(lambda: result.callback(function(*arguments)))
        return result

    def release(self) -> None:
        """The oldest hash that is held back is ready."""
        self.held.pop(0)()
        self.world.settle()

    def offer(self, name: str) -> bool:
        """Whether the name may be signed up."""
        return self.world.result(self.accounts.offer(name))

    def log_in(self, name: str, password: str = PASSWORD) -> Account:
        """The account, by its password."""
        return self.admit(name, password).account

    def admit(self, name: str, password: str = PASSWORD) -> Admission:
        """Somebody's admission, by the password."""
        return self.world.result(self.accounts.log_in(name, password))

    def resume(self, name: str, token: Issued | str) -> Admission:
        """Somebody's admission, by a token."""
        value = token if isinstance(token, str) else token.value
        return self.world.result(self.accounts.resume(name, value))

    def issue(self, admission: Admission) -> Issued:
        """A new token."""
        return self.world.result(self.accounts.issue(admission))

    def assertRefused(self, code: Code, call: Callable[..., object], *arguments: object) -> Refusal:
        """The call is refused with this code."""
        refusal: Refusal = self.assertRaises(Refusal, call, *arguments)
        self.assertEqual(refusal.code, code)
        self.assertNotIn(PASSWORD, refusal.reason)
        return refusal

    def states(self) -> dict[str, int]:
        """The state of each account in the file."""
        return dict(self.world.sql("SELECT name, state FROM users.accounts ORDER BY id"))

    def hashes(self) -> list[int]:
        """Which accounts have a password in the file."""
        return [id for (id,) in self.world.sql("SELECT account FROM passwords.passwords ORDER BY account")]


class SignUpTests(AccountsCase):
    """Who can sign up, and what can be in the way."""

    def test_offered(self) -> None:
        """A free name is offered while sign-up is open, a taken one is asked for its password."""
        self.assertTrue(self.offer("alice"))
        self.world.sign_up("alice")
        self.assertFalse(self.offer("alice"))

    def test_closed(self) -> None:
        """While sign-up is closed nothing is offered, and known, unknown and reserved names look alike."""
        alice, bob = self.world.sign_up("alice", "bob")
        self.world.delete(bob)
        self.accounts.registration = Registration.CLOSED
        self.assertEqual([self.offer(name) for name in ("alice", "bob", "carol")], [False] * 3)
        reasons = {
            self.assertRefused(Code.WRONG_PASSWORD, self.log_in, name, "wrong password").reason
            for name in ("alice", "bob", "carol")
        }
        self.assertEqual(len(reasons), 1)
        self.assertEqual(self.log_in("alice"), alice)

    def test_signUp(self) -> None:
        """After signing up one can log in, with that password only."""
        (alice,) = self.world.sign_up("alice")
        self.assertEqual(self.log_in("alice"), alice)
        self.assertRefused(Code.WRONG_PASSWORD, self.log_in, "alice", "another password")

    def test_badPassword(self) -> None:
        """A bad password makes no account."""
        self.assertRefused(Code.BAD_PASSWORD, self.world.result, self.accounts.sign_up("alice", "short"))
        self.assertEqual(self.states(), {})
        self.assertTrue(self.offer("alice"))

    def test_atTheSameTime(self) -> None:
        """Of two who sign up under one name at the same time one is told that it is taken."""
        self.hold = True
        first = self.world.start(self.accounts.sign_up("alice", PASSWORD))
        self.world.settle()
        self.assertTrue(self.offer("alice"))
        second = self.world.start(self.accounts.sign_up("alice", "another password"))
        self.world.settle()
        refusal = self.failureResultOf(second, Refusal).value
        self.assertEqual(refusal.code, Code.NAME_TAKEN)
        self.hold = False
        self.assertRefused(Code.WRONG_PASSWORD, self.log_in, "alice")
        self.release()
        self.assertEqual(self.log_in("alice"), self.successResultOf(first))

    def test_tooMany(self) -> None:
        """When the password could not be hashed there is no account, and the name stays free."""
        others = self.world.store.passwords._reception._others
        self.patch(others, "_most", 0)
        self.assertRefused(Code.SLOW_DOWN, self.world.result, self.accounts.sign_up("alice", PASSWORD))
        self.patch(others, "_most", 1)
        self.world.clock.advance(1)
        self.assertEqual((self.states(), self.hashes()), ({}, []))
        self.world.sign_up("alice")

    def test_dropped(self) -> None:
        """A sign-up whose answer nobody waits for any more just ends."""
        self.hold = True
        steps = self.accounts.sign_up("alice", PASSWORD)
        Deferred.fromCoroutine(steps)
        self.world.settle()
        self.assertEqual(len(self.held), 1)
        steps.close()
        self.assertEqual(self.states(), {"alice": AccountState.JOINING})

    def test_reserved(self) -> None:
        """The name of a deleted account is refused from the offer on, then free for somebody new."""
        (alice,) = self.world.sign_up("alice")
        self.world.delete(alice)
        self.assertIn("alice", self.assertRefused(Code.NAME_RESERVED, self.offer, "alice").reason)
        self.assertRefused(Code.NAME_RESERVED, self.world.result, self.accounts.sign_up("alice", PASSWORD))
        self.world.clock.advance(RESERVED / 1000)
        self.assertTrue(self.offer("alice"))
        (new,) = self.world.sign_up("alice")
        self.assertNotEqual(new.id, alice.id)


class LoginTests(AccountsCase):
    """The right password, and what can happen meanwhile."""

    def test_wrong(self) -> None:
        """A wrong password, one that cannot be one, and an unknown name are refused alike."""
        self.world.sign_up("alice")
        refusals = [
            self.assertRefused(Code.WRONG_PASSWORD, self.log_in, name, password)
            for name, password in (
                ("alice", "wrong password"),
                ("alice", ""),
                ("alice", "nul\0nul\0nul"),
                ("alice", "x" * 5000),
                ("bob", PASSWORD),
                ("bob", ""),
            )
        ]
        self.assertEqual(len({refusal.reason for refusal in refusals}), 1)

    def test_equalWork(self) -> None:
        """Each of them costs one hash."""
        self.world.sign_up("alice")
        for name, password in (("alice", "wrong"), ("alice", ""), ("bob", PASSWORD), ("bob", "\0")):
            self.hold = True
            attempt = self.world.start(self.accounts.log_in(name, password))
            self.world.settle()
            self.assertEqual(len(self.held), 1)
            self.release()
            self.failureResultOf(attempt, Refusal)

    def test_emptyPassword(self) -> None:
        """Not even an account whose password were nothing could be entered with one that cannot be."""
        (alice,) = self.world.sign_up("alice")
        self.world.result(self.world.store.passwords.set(alice.id, b""))
        self.assertRefused(Code.WRONG_PASSWORD, self.log_in, "alice", "\0")

    def test_goneMeanwhile(self) -> None:
        """An account that is deleted while its password is compared cannot be entered any more."""
        (alice,) = self.world.sign_up("alice")
        self.hold = True
        login = self.world.start(self.accounts.log_in("alice", PASSWORD))
        self.world.settle()
        self.hold = False
        self.world.result(self.world.store.leave(alice))
        self.release()
        self.assertEqual(self.failureResultOf(login, Refusal).value.code, Code.WRONG_PASSWORD)

    def test_joiningAccount(self) -> None:
        """An account whose sign-up is not complete cannot be entered."""
        alice = self.world.result(self.world.store.join("alice"))
        self.world.result(self.world.store.passwords.set(alice.id, PASSWORD.encode()))
        self.assertRefused(Code.WRONG_PASSWORD, self.log_in, "alice")

    def test_prepared(self) -> None:
        """A password typed on another keyboard is the same password."""
        alice = self.world.result(self.accounts.sign_up("alice", "\u00e4 password"))
        self.assertEqual(self.log_in("alice", "a\u0308\u00a0password"), alice)


class ChangePasswordTests(AccountsCase):
    """A new password for the old one."""

    def change(self, account: Account, password: str, new: str) -> None:
        """Change it."""
        self.world.result(self.accounts.change_password(account, password, new))

    def test_changed(self) -> None:
        """From here on the new password is right and the old one wrong."""
        (alice,) = self.world.sign_up("alice")
        self.change(alice, PASSWORD, "another password")
        self.assertEqual(self.log_in("alice", "another password"), alice)
        self.assertRefused(Code.WRONG_PASSWORD, self.log_in, "alice")

    def test_refused(self) -> None:
        """A wrong old password or a bad new one changes nothing."""
        (alice,) = self.world.sign_up("alice")
        self.assertRefused(Code.WRONG_PASSWORD, self.change, alice, "wrong", "another password")
        self.assertRefused(Code.BAD_PASSWORD, self.change, alice, PASSWORD, "short")
        self.log_in("alice")

    def test_recoveredMeanwhile(self) -> None:
        """Whoever knows the old password does not undo what its owner has changed, nor gets a token."""
        codes = self.accounts.new_recovery_codes()
        alice = self.world.result(self.accounts.sign_up("alice", PASSWORD, codes))
        self.hold = True
        changed = self.world.start(self.accounts.change_password(alice, PASSWORD, "a third password"))
        self.world.settle()
        self.release()
        self.hold = False
        recovering = self.world.result(self.accounts.recovering("alice", codes[0]))
        self.world.result(self.accounts.recover(recovering, "another password"))
        self.release()
        self.assertIs(self.failureResultOf(changed, Refusal).value.code, Code.WRONG_PASSWORD)
        self.assertEqual(self.log_in("alice", "another password"), alice)

    def test_notAsHashed(self) -> None:
        """A password that can be none is not the present one."""
        (alice,) = self.world.sign_up("alice")
        self.assertRefused(Code.WRONG_PASSWORD, self.change, alice, "bell\a and whistle", "another password")

    def test_goneMeanwhile(self) -> None:
        """Of an account that was deleted while its new password was hashed no password is kept."""
        (alice,) = self.world.sign_up("alice")
        self.hold = True
        changed = self.world.start(self.accounts.change_password(alice, PASSWORD, "another password"))
        self.world.settle()
        self.release()
        self.hold = False
        self.world.delete(alice)
        self.release()
        self.failureResultOf(changed, FatalError)
        self.assertEqual(self.hashes(), [])


class TokenTests(AccountsCase):
    """What stands for a password."""

    def setUp(self) -> None:
        """Two accounts, and a token of one."""
        super().setUp()
        self.alice, self.bob = self.world.sign_up("alice", "bob")
        self.token = self.issue(self.admit("alice"))

    def assertNotTaken(self, name: str, token: Issued | str) -> Refusal:
        """The token does not admit there."""
        return self.assertRefused(Code.WRONG_TOKEN, self.resume, name, token)

    def test_resumed(self) -> None:
        """A token admits to its account as often as it is shown, and says when it ends."""
        for _ in range(2):
            admission = self.resume("alice", self.token)
            self.assertEqual((admission.account, admission.token), (self.alice, self.token.number))
        self.assertEqual(self.token.expires, self.world.now() + TOKEN_LIFE)

    def test_random(self) -> None:
        """No two tokens are the same, and each has 256 bits in letters that need no quoting anywhere."""
        more = [self.issue(self.admit(name)) for name in ("alice", "alice", "bob")]
        self.assertEqual(len({token.value for token in (self.token, *more)}), 4)
        for token in more:
            self.assertRegex(token.value, r"^[A-Za-z0-9_-]{43}$")

    def test_notTaken(self) -> None:
        """Any other text, another's token and an unknown name are refused in the same words."""
        reasons = {
            self.assertNotTaken(name, token).reason
            for name, token in (
                ("alice", ""),
                ("alice", "x" * 43),
                ("alice", "x" * 4000),
                ("alice", "\ud800"),
                ("alice", self.token.value[:-1]),
                ("alice", self.token.value + "="),
                ("alice", PASSWORD),
                ("bob", self.token),
                ("nobody", self.token),
                ("nobody", "x"),
            )
        }
        self.assertEqual(len(reasons), 1)

    def test_equalWork(self) -> None:
        """Whether the name is known or not, and the token good or not, the same is asked of the store."""
        submit = self.world.store._commit.submit
        asked: list[object] = []

        def noted(procedure: Any, *more: Any) -> None:
            asked.append(procedure)
            submit(procedure, *more)

        self.patch(self.world.store._commit, "submit", noted)
        work = set()
        for name, token in (("alice", self.token), ("alice", "x"), ("bob", self.token), ("nobody", "x")):
            with contextlib.suppress(Refusal):
                self.resume(name, token)
            work.add(tuple(asked))
            del asked[:]
        self.assertEqual([len(steps) for steps in work], [2])

    def test_noHashing(self) -> None:
        """A login by token never waits for the threads that hash passwords."""
        self.hold = True
        self.resume("alice", self.token)
        self.assertNotTaken("alice", "x")
        self.assertEqual(self.held, [])

    def test_ends(self) -> None:
        """It ends at the moment that was told, used or not; then the password is asked for."""
        self.world.clock.advance(TOKEN_LIFE / 1000 - 0.001)
        self.resume("alice", self.token)
        self.world.clock.advance(0.001)
        self.assertNotTaken("alice", self.token)
        self.resume("alice", self.issue(self.admit("alice")))

    def test_afterRestart(self) -> None:
        """It outlives the server, also one that is killed."""
        world = self.world.crash(self.mktemp())
        self.addCleanup(world.close)
        admission = world.result(world.accounts.resume("alice", self.token.value))
        self.assertEqual((admission.account, admission.token), (self.alice, self.token.number))

    def test_bounded(self) -> None:
        """An account has a bounded number of tokens: the oldest make room; others' are not touched."""
        other = self.issue(self.admit("bob"))
        more = [self.issue(self.admit("alice")) for _ in range(tokens.MOST - 1)]
        self.resume("alice", self.token)
        more.append(self.issue(self.admit("alice")))
        self.assertNotTaken("alice", self.token)
        for token in more:
            self.resume("alice", token)
        self.resume("bob", other)

    def test_revoked(self) -> None:
        """Those revoked are worth nothing from there on; the account's others, and others', are."""
        second, other = self.issue(self.admit("alice")), self.issue(self.admit("bob"))
        self.world.result(self.accounts.revoke(self.alice, [self.token.number, other.number, 999]))
        self.assertNotTaken("alice", self.token)
        self.resume("alice", second)
        self.resume("bob", other)
        self.world.result(self.accounts.revoke(self.alice, []))
        self.resume("alice", second)

    def test_allRevoked(self) -> None:
        """After all are revoked, those who were admitted before get no new one; who comes in then does.

        The account's other sessions end; nobody else's do.
        """
        here, there = (Onlooker(self.world, self.alice).enter() for _ in range(2))
        other = Onlooker(self.world, self.bob).enter()
        before, bob = self.resume("alice", self.token), self.admit("bob")
        self.issue(before)
        self.world.result(self.accounts.revoke_all(self.alice, here))
        self.assertEqual((here.gone, there.gone, other.gone), (False, True, False))
        self.assertNotTaken("alice", self.token)
        self.assertRefused(Code.BAD_STATE, self.issue, before)
        self.resume("alice", self.issue(self.admit("alice")))
        self.issue(bob)

    def test_allRevokedMeanwhile(self) -> None:
        """Nobody comes in with a token that is revoked, together with all sessions, at the same moment."""
        here = Onlooker(self.world, self.alice).enter()
        resumed = self.world.start(self.accounts.resume("alice", self.token.value))
        self.world.result(self.accounts.revoke_all(self.alice, here))
        self.assertIs(self.failureResultOf(resumed, Refusal).value.code, Code.WRONG_TOKEN)

    def change(self, account: Account) -> Admission:
        """A new password."""
        changed = self.accounts.change_password(account, PASSWORD, "another password")
        return self.world.result(changed)

    def test_passwordChanged(self) -> None:
        """A new password revokes all tokens of the account, and no others."""
        other = self.issue(self.admit("bob"))
        self.change(self.alice)
        self.assertNotTaken("alice", self.token)
        self.resume("bob", other)

    def test_oldPassword(self) -> None:
        """Whoever was admitted with the old password, or by a token of that time, cannot make it last."""
        old = [self.admit("alice"), self.resume("alice", self.token)]
        changed = self.change(self.alice)
        for admission in old:
            self.assertIn("Log in again", self.assertRefused(Code.BAD_STATE, self.issue, admission).reason)
        self.resume("alice", self.issue(changed))
        self.resume("alice", self.issue(self.admit("alice", "another password")))

    def test_oldPasswordMeanwhile(self) -> None:
        """Not even who logs in with the old password at any moment while the new one is being hashed."""
        self.hold = True
        changing = self.world.start(self.accounts.change_password(self.alice, PASSWORD, "another password"))
        early = self.world.start(self.accounts.log_in("alice", PASSWORD))
        self.world.settle()
        self.release()  # the present password of the one who changes it
        self.world.settle()
        self.release()
        late = self.world.start(self.accounts.log_in("alice", PASSWORD))
        self.world.settle()
        admissions = [self.successResultOf(early), self.resume("alice", self.token)]
        issued = [self.issue(each) for each in admissions]  # the change revokes them
        self.release()  # the new password
        self.release()
        self.release()  # the one shown, compared again
        self.assertIs(self.failureResultOf(late, Refusal).value.code, Code.WRONG_PASSWORD)
        for admission in admissions:
            self.assertRefused(Code.BAD_STATE, self.issue, admission)
        for token in issued:
            self.assertNotTaken("alice", token)
        self.issue(self.successResultOf(changing))

    def test_issuedBehindTheChange(self) -> None:
        """Nor who asks for a token between the change and the moment in which it is known."""
        admission = self.admit("alice")
        self.hold = True
        changing = self.world.start(self.accounts.change_password(self.alice, PASSWORD, "another password"))
        self.world.settle()
        self.release()
        self.held.pop(0)()  # the new password is on its way to the disk
        issuing = self.world.start(self.accounts.issue(admission))
        self.world.settle()
        self.successResultOf(changing)
        self.assertIs(self.failureResultOf(issuing, Refusal).value.code, Code.BAD_STATE)
        self.assertEqual(self.world.sql("SELECT account FROM passwords.tokens"), [])

    def test_loggedOutMeanwhile(self) -> None:
        """Nobody comes in with the old password after it was changed and all sessions were ended."""
        here = Onlooker(self.world, self.alice).enter()
        self.hold = True
        late = self.world.start(self.accounts.log_in("alice", PASSWORD))
        self.world.settle()
        self.hold = False
        self.change(self.alice)
        self.world.result(self.accounts.revoke_all(self.alice, here))
        self.release()
        self.assertIs(self.failureResultOf(late, Refusal).value.code, Code.WRONG_PASSWORD)

    def test_notChanged(self) -> None:
        """A change for which there was no room revokes nothing: who was admitted before is given tokens."""
        before = self.admit("alice")
        self.world.pool.room = 0
        self.assertRefused(Code.STORAGE_FULL, self.change, self.alice)
        self.world.pool.room = None
        self.resume("alice", self.token)
        self.resume("alice", self.issue(before))

    def test_broken(self) -> None:
        """A change that went wrong, so that nobody knows whether it was made, counts as one."""
        before = self.admit("alice")
        self.patch(Passwords, "change", lambda *arguments: 1 // 0)
        self.assertRaises(ZeroDivisionError, self.change, self.alice)
        self.assertRefused(Code.BAD_STATE, self.issue, before)

    def test_deleted(self) -> None:
        """A deleted account leaves no token behind."""
        self.world.delete(self.alice)
        self.assertNotTaken("alice", self.token)
        self.assertEqual(self.world.sql("SELECT account FROM passwords.tokens"), [])

    def test_issuedWhileDeleted(self) -> None:
        """Nor does one whose session asks for a token while it is being deleted."""
        admission = self.admit("alice")
        self.world.result(self.world.store.leave(self.alice))
        issued = self.issue(admission)
        self.assertNotTaken("alice", issued)
        self.world.result(self.world.store.passwords.remove(self.alice.id))
        self.assertRaises(FatalError, self.issue, admission)
        self.assertEqual(self.world.sql("SELECT account FROM passwords.tokens"), [])

    def test_nextOfTheName(self) -> None:
        """The next owner of the name is not admitted to by the tokens of the one before."""
        self.world.delete(self.alice)
        self.world.clock.advance(RESERVED / 1000)
        self.world.sign_up("alice")
        self.assertNotTaken("alice", self.token)

    def test_noRoom(self) -> None:
        """Without room there is no token, and revoking is refused, not forgotten."""
        self.world.pool.room = 0
        self.assertRefused(Code.STORAGE_FULL, self.issue, self.admit("alice"))
        here, there = (Onlooker(self.world, self.alice).enter() for _ in range(2))
        for revoking in (
            self.accounts.revoke(self.alice, [self.token.number]),
            self.accounts.revoke_all(self.alice, here),
        ):
            self.assertRefused(Code.STORAGE_FULL, self.world.result, revoking)
        self.assertFalse(there.gone)
        self.resume("alice", self.token)
