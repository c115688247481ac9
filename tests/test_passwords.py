"""Tests for L{chat.store.passwords}: what is kept of a password never leaves the store."""

from __future__ import annotations

import hashlib
import inspect
import os
import sys
import threading
from typing import Any, Awaitable, Callable

import bcrypt
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from chat import ports
from chat.errors import Code, Refusal
from chat.ports import Asker, Grant
from chat.store import Store, hashing, passwords, reception, tokens
from chat.store.hashing import HashingPool
from chat.store.passwords import Passwords
from chat.store.store import TOKEN_LIFE
from tests.world import PASSWORD, World, at_once, open_world

#: A password as the store is given it.
RIGHT = PASSWORD.encode()
TOKEN = b"a token of alice"


class Threads:
    """Hashing threads that finish when the test wants it; remembers what they were given."""

    def __init__(self) -> None:
        self.calls: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
        self.results: list[Deferred[Any]] = []
        self.held = False

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """Call it now, or when released."""
        self.calls.append((function, arguments))
        if not self.held:
            return at_once(function, *arguments)
        result: Deferred[Any] = Deferred()
        self.results.append(result)
        return result

    def release(self) -> None:
        """The oldest call that is held finishes."""
        function, arguments = self.calls[len(self.calls) - len(self.results)]
        at_once(function, *arguments).chainDeferred(self.results.pop(0))


class PasswordCase(SynchronousTestCase):
    """A password store in a small world."""

    def setUp(self) -> None:
        """One account that has a password, and one that has none."""
        self.threads = Threads()
        self.world = open_world(self, in_thread=self.threads)
        self.store = self.world.store.passwords
        self.world.result(self.store.set(1, RIGHT))
        del self.threads.calls[:]

    def verify(self, account: int | None, password: bytes) -> bool:
        """Whether the store takes it."""
        return self.world.result(self.store.verify(account, password))

    def issue(self, account: int, token: bytes) -> Grant | None:
        """Let this be a token."""
        return self.world.result(self.store.issue(account, token, self.world.now()))

    def bearer(self, token: bytes) -> Grant | None:
        """Whose token this is."""
        return self.world.result(self.store.bearer(token))

    def kept(self, account: int = 1) -> str:
        """What the file says of an account's password."""
        rows = self.world.sql("SELECT hash FROM passwords.passwords WHERE account = ?", account)
        assert len(rows) <= 1
        return str(rows[0][0]) if rows else ""


class VerifyTests(PasswordCase):
    """The right password, and any other."""

    def test_right(self) -> None:
        """The account's password is right, any other is wrong, and so is it for anybody else."""
        self.assertIs(self.verify(1, RIGHT), True)
        self.assertIs(self.verify(1, RIGHT + b" "), False)
        self.assertIs(self.verify(1, b""), False)
        self.assertIs(self.verify(2, RIGHT), False)
        self.assertIs(self.verify(None, RIGHT), False)

    def test_everyByteCounts(self) -> None:
        """bcrypt ends at 72 bytes and at a NUL; a password does not."""
        long = b"x" * 100
        for password, other in ((long + b"a", long + b"b"), (b"abc\0def", b"abc\0xyz"), (b"a\0", b"a")):
            self.world.result(self.store.set(2, password))
            self.assertTrue(self.verify(2, password))
            self.assertFalse(self.verify(2, other))

    def test_nobodysPassword(self) -> None:
        """What an unknown account is compared with is nobody's password, not even by name."""
        self.assertFalse(self.verify(None, b"nobody"))

    def test_replaced(self) -> None:
        """A new password takes the place of the old one."""
        self.world.result(self.store.set(1, b"another one"))
        self.assertTrue(self.verify(1, b"another one"))
        self.assertFalse(self.verify(1, RIGHT))

    def test_removed(self) -> None:
        """Nothing is left of a removed password."""
        self.world.result(self.store.remove(1))
        self.assertFalse(self.verify(1, RIGHT))
        self.assertEqual(self.kept(), "")

    def test_equalWork(self) -> None:
        """An unknown account costs one comparison at the same price, like a wrong password."""
        self.patch(bcrypt, "hashpw", self.fail)  # nothing is hashed beside
        work = []
        for account, password in ((1, b"wrong"), (2, RIGHT), (None, RIGHT), (None, b"")):
            del self.threads.calls[:]
            self.verify(account, password)
            ((function, (_, compared, rounds)),) = self.threads.calls
            work.append((function, len(compared), compared[:7]))
            self.assertEqual(rounds, 4)
        self.assertEqual(len(set(work)), 1)
        self.assertEqual(work[0][2], "$2b$04$")

    def test_salted(self) -> None:
        """The same password twice is kept in two ways, none of them readable."""
        self.world.result(self.store.set(2, RIGHT))
        self.assertNotEqual(self.kept(1), self.kept(2))
        self.assertTrue(self.kept(1).startswith("$2b$04$"))
        self.assertNotIn(PASSWORD, self.kept(1))


class TogetherTests(PasswordCase):
    """What a program costs that logs in many times at once."""

    def setUp(self) -> None:
        """Hashing takes a while."""
        super().setUp()
        self.threads.held = True
        self.asker = Asker("192.0.2.1", "alice")

    def ask(self, password: bytes, asker: Asker | None = None, account: int | None = 1) -> Deferred[bool]:
        """Begin to verify it."""
        asked = self.world.start(self.store.verify(account, password, asker or self.asker))
        self.world.settle()
        return asked

    def test_once(self) -> None:
        """The same password of the same account, asked for at one place at once, is hashed once for all."""
        for password, account, right in ((RIGHT, 1, True), (b"wrong", 1, False), (RIGHT, None, False)):
            asked = [self.ask(password, account=account) for _ in range(30)]
            self.assertEqual(len(self.threads.results), 1)
            self.threads.release()
            self.world.settle()
            self.assertEqual([self.successResultOf(each) for each in asked], [right] * 30)

    def test_apart(self) -> None:
        """Another password, name or place is another question, and so is the same one later."""
        others = (Asker("192.0.2.1", "bob"), Asker("192.0.2.2", "alice"))
        asked = [self.ask(RIGHT), self.ask(b"wrong"), *(self.ask(RIGHT, other) for other in others)]
        for _ in asked:
            self.threads.release()
            self.world.settle()
        self.assertEqual([self.successResultOf(each) for each in asked], [True, False, True, True])
        self.ask(RIGHT)
        self.assertEqual(len(self.threads.calls), 5)
        self.threads.release()

    def test_impatient(self) -> None:
        """Who asked first and does not wait for the answer takes it from nobody."""
        first, second = self.ask(RIGHT), self.ask(RIGHT)
        first.cancel()
        self.failureResultOf(first)
        self.threads.release()
        self.world.settle()
        self.assertIs(self.successResultOf(second), True)

    def test_full(self) -> None:
        """Where there is no room in the line, each is told so, and when to come back."""
        for number in range(reception.OTHERS):
            self.ask(RIGHT, Asker(f"198.51.100.{number}", "alice"))
        for _ in range(2):
            refusal = self.failureResultOf(self.ask(RIGHT), Refusal).value
            self.assertIs(refusal.code, Code.SLOW_DOWN)
        while self.threads.results:
            self.threads.release()
            self.world.settle()


class RehashTests(PasswordCase):
    """The cost of a hash follows the operator's wish."""

    def raised(self) -> World:
        """The same files, served at a higher cost."""
        world = self.world.reopen(rounds=5, in_thread=self.threads)
        self.addCleanup(world.close)
        self.world = world
        self.store = world.store.passwords
        return world

    def test_raised(self) -> None:
        """The first login after the cost was raised makes a new hash; the password stays."""
        self.raised()
        old = self.kept()
        self.assertFalse(self.verify(1, b"wrong"))
        self.assertEqual(self.kept(), old)
        self.assertTrue(self.verify(1, RIGHT))
        self.assertTrue(self.kept().startswith("$2b$05$"))
        new = self.kept()
        self.assertTrue(self.verify(1, RIGHT))
        self.assertEqual(self.kept(), new)

    def test_equalWork(self) -> None:
        """A hash that costs less than asked for tells nobody by its speed that there is an account."""
        world = self.world.reopen(rounds=6, in_thread=self.threads)
        self.addCleanup(world.close)
        costs: list[str] = []

        def note(function: Any) -> Any:
            def noting(password: bytes, salt: bytes) -> Any:
                costs.append(salt[:7].decode())
                return function(password, salt)

            return noting

        self.patch(bcrypt, "hashpw", note(bcrypt.hashpw))
        self.patch(bcrypt, "checkpw", note(bcrypt.checkpw))
        self.assertFalse(world.result(world.store.passwords.verify(1, b"wrong")))
        self.assertEqual(costs, ["$2b$04$", "$2b$04$", "$2b$05$"])  # 16 + 16 + 32 rounds
        del costs[:]
        self.assertFalse(world.result(world.store.passwords.verify(None, b"wrong")))
        self.assertEqual(costs, ["$2b$06$"])  # 64

    def test_lowered(self) -> None:
        """A hash that costs more than asked for is left as it is."""
        self.raised()
        self.world.result(self.store.set(1, RIGHT))
        old = self.kept()
        world = self.world.reopen(rounds=4)
        self.addCleanup(world.close)
        self.assertTrue(world.result(world.store.passwords.verify(1, RIGHT)))
        self.assertEqual(self.kept(), old)

    def test_changedMeanwhile(self) -> None:
        """A password that was changed while the old one was hashed anew stays changed."""
        self.raised()
        self.threads.held = True
        verified = self.world.start(self.store.verify(1, RIGHT))
        self.world.settle()
        self.threads.release()
        self.threads.held = False
        self.world.result(self.store.set(1, b"another one"))
        changed = self.kept()
        self.threads.release()
        self.world.settle()
        self.assertFalse(self.successResultOf(verified))
        self.assertEqual(self.kept(), changed)
        self.assertTrue(self.verify(1, b"another one"))

    def test_removedMeanwhile(self) -> None:
        """An account that went while its password was hashed anew gets none again."""
        self.raised()
        self.threads.held = True
        verified = self.world.start(self.store.verify(1, RIGHT))
        self.world.settle()
        self.threads.release()
        self.world.result(self.store.remove(1))
        self.threads.release()
        self.world.settle()
        self.assertFalse(self.successResultOf(verified))
        self.assertEqual(self.kept(), "")

    def test_noRoom(self) -> None:
        """A new hash for which there is no room does not keep anybody from logging in."""
        self.raised()
        old = self.kept()
        self.world.pool.room = 0
        self.assertTrue(self.verify(1, RIGHT))
        self.assertEqual(self.kept(), old)

    def test_busy(self) -> None:
        """A new hash for which there is no time does not either."""
        self.raised()
        old = self.kept()
        self.patch(reception, "THREADS", 1)
        self.threads.held = True
        askers = (Asker("192.0.2.1", "alice"), Asker("192.0.2.2", "alice"))
        verified = [self.world.start(self.store.verify(1, RIGHT, asker)) for asker in askers]
        self.world.settle()
        self.threads.release()
        self.world.settle()
        self.assertTrue(self.successResultOf(verified[0]))
        self.assertEqual(self.kept(), old)
        self.threads.release()
        self.world.settle()
        self.threads.release()
        self.world.settle()
        self.assertTrue(self.successResultOf(verified[1]))
        self.assertNotEqual(self.kept(), old)


class MeanwhileTests(PasswordCase):
    """To compare a password takes a while; what counts is the one that is in force when it is done."""

    NEW, OTHER = b"the new one", b"another one"

    def setUp(self) -> None:
        """Somebody shows the right password, and the comparing has begun."""
        super().setUp()
        self.threads.held = True

    def begin(self, asked: Awaitable[bool]) -> Deferred[bool]:
        """Ask for something that takes the password."""
        begun = self.world.start(asked)
        self.world.settle()
        return begun

    def replace(self, password: bytes) -> None:
        """Somebody else replaces it meanwhile; then what was begun goes on."""
        self.threads.held = False
        self.world.result(self.store.set(1, password))
        self.release()

    def release(self) -> None:
        """All hashes that were begun are there."""
        while self.threads.results:
            self.threads.release()
            self.world.settle()

    def test_verify(self) -> None:
        """A password that was replaced meanwhile is wrong; if it was by the same one, it is right."""
        verified = self.begin(self.store.verify(1, RIGHT))
        self.replace(self.NEW)
        self.assertIs(self.successResultOf(verified), False)
        self.threads.held = True
        verified = self.begin(self.store.verify(1, self.NEW))
        self.replace(self.NEW)
        self.assertIs(self.successResultOf(verified), True)

    def test_change(self) -> None:
        """Nor does whoever shows it replace the new one by a third, at whatever moment that came."""
        for hashes in (0, 1):
            changed = self.begin(self.store.change(1, RIGHT, self.OTHER))
            for _ in range(hashes):  # the old one was compared
                self.threads.release()
                self.world.settle()
            self.replace(self.NEW)
            self.assertIs(self.successResultOf(changed), False)
            self.assertTrue(self.verify(1, self.NEW))
            self.world.result(self.store.set(1, RIGHT))
            self.threads.held = True

    def test_changeOfTheSame(self) -> None:
        """Where the new one is the same again, it is replaced."""
        changed = self.begin(self.store.change(1, RIGHT, self.OTHER))
        self.threads.release()
        self.world.settle()
        self.replace(RIGHT)
        self.assertIs(self.successResultOf(changed), True)
        self.assertTrue(self.verify(1, self.OTHER))

    def test_renewCodes(self) -> None:
        """Nobody gets recovery codes for a password that was replaced meanwhile."""
        renewed = self.begin(self.store.renew_codes(1, RIGHT, [b"a code"]))
        self.replace(self.NEW)
        self.assertIs(self.successResultOf(renewed), False)
        self.assertFalse(self.world.result(self.store.recoverable(1, b"a code")))

    def test_lastMoment(self) -> None:
        """Nor where that is on its way to the disk when the codes are."""
        codes = self.store.renew_codes(1, RIGHT, [b"a code"])
        submit = self.world.store._commit.submit

        def behind(procedure: Any, *rest: Any) -> None:
            if procedure is passwords._RENEW_CODES:
                self.patch(self.world.store._commit, "submit", submit)
                self.world.start(self.store.set(1, self.NEW))
            submit(procedure, *rest)

        self.threads.held = False
        self.patch(self.world.store._commit, "submit", behind)
        self.assertIs(self.world.result(codes), False)
        self.assertTrue(self.verify(1, self.NEW))
        self.assertFalse(self.world.result(self.store.recoverable(1, b"a code")))


class SlowDownTests(PasswordCase):
    """Hashing is bounded; see L{tests.test_reception}."""

    def test_everyKind(self) -> None:
        """Whoever wants a hash stands in the line; nothing is written for those who are sent away."""
        self.patch(reception, "OTHERS_FROM_ONE_PLACE", 0)
        kept = self.kept()
        self.store = self.world.reopen(in_thread=self.threads).store.passwords
        asker = Asker("192.0.2.1", "alice")
        for late in (
            self.store.verify(1, RIGHT, asker),
            self.store.set(1, b"another one", asker=asker),
            self.store.recover(1, b"", RIGHT, asker),
        ):
            refusal = self.assertRaises(Refusal, self.world.result, late)
            self.assertEqual((refusal.code, refusal.seconds), (Code.SLOW_DOWN, 1))
        self.assertEqual(self.kept(), kept)
        self.assertTrue(self.world.result(self.store.verify(1, RIGHT, Asker("198.51.100.2", home=True))))

    def test_busy(self) -> None:
        """How many hashes there are to be computed can be asked."""
        self.threads.held = True
        for name in ("alice", "bob", "carol"):
            self.world.start(self.store.verify(1, RIGHT, Asker(None, name)))
        self.world.settle()
        self.assertEqual(self.store.busy, 3)
        while self.threads.results:
            self.threads.release()
        self.assertEqual(self.store.busy, 0)


class SecrecyTests(PasswordCase):
    """No method returns a hash."""

    def test_surface(self) -> None:
        """The password store has no other public names than those of its port, and how much it has to do."""
        self.assertEqual(public(Passwords) - {"busy"}, public(ports.PasswordStore))
        self.assertEqual(
            public(ports.PasswordStore),
            {"set", "verify", "change", "remove", "issue", "bearer", "revoke"}
            | {"recoverable", "recover", "renew_codes"},
        )
        self.assertEqual([name for name in vars(self.store) if not name.startswith("_")], [])

    def test_answers(self) -> None:
        """Its methods answer with nothing, with yes and no, or with numbers."""
        for call in (self.store.set(1, RIGHT), self.store.remove(2), self.store.revoke(1, None)):
            self.assertIs(self.world.result(call), None)
        self.assertIs(self.verify(1, RIGHT), True)
        for answer in (self.issue(1, TOKEN), self.bearer(TOKEN)):
            self.assertEqual({type(each) for each in answer or ()}, {int})

    def test_otherStores(self) -> None:
        """Nothing that the store of accounts and messages answers holds a hash."""
        self.world.result(self.store.remove(1))
        (alice,) = self.world.sign_up("alice")
        self.world.send(alice, "alice")
        store = self.world.store
        answers = [
            self.world.result(each)
            for each in (
                store.mailbox(alice.id),
                store.waiting(alice.id, 0),
                store.listing(alice.id, False, 0, 100),
                store.listing(alice.id, True, 0, 100),
                store.read(alice.id, [1]),
                store.remove(alice.id, [1]),
                store.find("alice"),
                store.reserved("alice"),
                store.unfinished(),
                store.leave(alice),
                store.turn_round(alice),
                store.free(alice),
            )
        ]
        self.assertEqual(len(answers), 12)
        self.assertTrue(self.kept(alice.id).startswith("$2b$"))
        self.assertNotIn("$2b$", repr(answers))

    def test_annotations(self) -> None:
        """No public method of any part of the store is declared to return text that could be a hash."""
        names_of_accounts = {"block"}
        for owner in (Store, Passwords):
            for name in public(owner) - names_of_accounts:
                public_name = getattr(owner, name)
                returned = str(inspect.signature(getattr(public_name, "fget", public_name)).return_annotation)
                self.assertNotIn("str", returned, name)


def public(owner: type) -> set[str]:
    """The public names of a class."""
    return {name for name in vars(owner) if not name.startswith("_")}


class TokenTests(PasswordCase):
    """What is kept of a token, and for how long."""

    def tokens(self) -> list[Any]:
        """Every row of the file."""
        return self.world.sql("SELECT id, account, digest, issued FROM passwords.tokens ORDER BY id")

    def test_digest(self) -> None:
        """Only the SHA-256 of a token is kept, as docs and schema say; no file holds the token."""
        grant = self.issue(1, TOKEN)
        now = self.world.now()
        # printf 'a token of alice' | sha256sum
        digest = bytes.fromhex("7aacedff677fe5845d9a6d2a7c4fdf9dfb689c74311ef00f5b7896cc5a268636")
        self.assertEqual(self.tokens(), [(1, 1, digest, now)])
        self.assertEqual(grant, Grant(1, 1, now + TOKEN_LIFE))
        for file in self.world.path.iterdir():
            self.assertNotIn(TOKEN, file.read_bytes(), file)

    def test_bearer(self) -> None:
        """A token is its account's; others are nobody's."""
        self.world.result(self.store.set(2, RIGHT))
        one, two = self.issue(1, TOKEN), self.issue(2, TOKEN + b"!")
        self.assertEqual((self.bearer(TOKEN), self.bearer(TOKEN + b"!")), (one, two))
        self.assertIs(self.bearer(b""), None)
        self.assertIs(self.bearer(hashlib.sha256(TOKEN).digest()), None)

    def test_bearerWritesNothing(self) -> None:
        """To use a token takes no room on the disk and no commit of the file."""
        self.issue(1, TOKEN)
        before = self.world.pool.changes
        self.world.pool.room = 0
        self.assertTrue(self.bearer(TOKEN))
        self.assertEqual(self.world.pool.changes, before)

    def test_noPassword(self) -> None:
        """Where there is no password nothing can stand for it."""
        self.assertIs(self.issue(2, TOKEN), None)
        self.assertEqual(self.tokens(), [])

    def test_withThePassword(self) -> None:
        """A new password, and its removal, end the account's tokens in the same transaction."""
        for change in (self.store.set(1, b"another one"), self.store.remove(1)):
            self.issue(1, TOKEN)
            self.world.pool.left = 1
            self.world.result(change)
            self.world.pool.left = None
            self.assertEqual(self.tokens(), [])

    def test_hashedAnew(self) -> None:
        """A password that only costs more from now on is the same password: its tokens stay."""
        self.issue(1, TOKEN)
        world = self.world.reopen(rounds=5)
        self.addCleanup(world.close)
        self.assertTrue(world.result(world.store.passwords.verify(1, RIGHT)))
        self.assertTrue(self.kept().startswith("$2b$05$"))
        self.assertTrue(world.result(world.store.passwords.bearer(TOKEN)))

    def test_numbers(self) -> None:
        """No number is ever given twice: a session that revokes its own cannot hit another's."""
        self.issue(1, TOKEN)
        self.world.result(self.store.revoke(1, None))
        self.issue(1, TOKEN)
        self.assertEqual([number for number, *_ in self.tokens()], [2])

    def test_cleared(self) -> None:
        """Tokens that have ended are cleared away, some with each that is issued, whosever they are."""
        self.world.result(self.store.set(2, RIGHT))
        self.patch(tokens, "CLEARED", 2)
        for number in range(3):
            self.issue(2, b"%d" % number)
        self.world.clock.advance(TOKEN_LIFE / 1000 - 1)
        self.issue(1, TOKEN)
        self.assertEqual(len(self.tokens()), 4)
        self.world.clock.advance(1)
        self.issue(1, TOKEN + b"2")
        self.assertEqual([number for number, *_ in self.tokens()], [3, 4, 5])
        self.issue(1, TOKEN + b"3")
        self.assertEqual([number for number, *_ in self.tokens()], [4, 5, 6])

    def test_life(self) -> None:
        """The life that the operator sets holds for the tokens that there are already."""
        self.issue(1, TOKEN)
        self.world.clock.advance(10)
        for life, there in ((10_001, True), (10_000, False), (TOKEN_LIFE, True)):
            self.patch(self.store, "_life", life)
            self.assertIs(self.bearer(TOKEN) is not None, there)


class ThreadTests(SynchronousTestCase):
    """The threads that hash step back behind all others."""

    def priorities(self) -> tuple[int, int]:
        """The priority of this thread, and that of a thread of the pool."""
        pool = HashingPool()
        found: list[int] = []
        pool.start()
        pool.callInThread(lambda: found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id())))
        pool.stop()
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id()), found[0]

    def test_nicer(self) -> None:
        """Where each thread has a priority of its own, theirs is lower, and nobody else's changes."""
        if sys.platform != "linux":
            raise SkipTest("Threads have no priority of their own here.")
        before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        ours, theirs = self.priorities()
        self.assertEqual((ours, theirs), (before, min(19, before + hashing.NICER)))

    def test_cores(self) -> None:
        """There are as many as this process may use cores, and one where nobody knows."""
        if hasattr(os, "sched_getaffinity"):
            self.assertEqual(hashing._cores(), len(os.sched_getaffinity(0)))
        self.patch(sys, "platform", "darwin")
        for cores, threads in ((8, 8), (None, 1)):
            self.patch(os, "cpu_count", lambda cores=cores: cores)
            self.assertEqual(hashing._cores(), threads)
        self.assertIn(hashing.THREADS, range(1, 5))

    def test_forbidden(self) -> None:
        """Where it is not allowed, they hash all the same."""

        def forbidden(*_: object) -> None:
            raise PermissionError

        self.patch(os, "setpriority", forbidden)
        ours, theirs = self.priorities()
        self.assertEqual(ours, theirs)

    def test_elsewhere(self) -> None:
        """On other systems nothing is tried: it would hold for the whole process."""
        self.patch(sys, "platform", "darwin")
        self.patch(os, "setpriority", self.fail)
        ours, theirs = self.priorities()
        self.assertEqual(ours, theirs)


class FormatTests(SynchronousTestCase):
    """What the file holds can be used by other programs."""

    def test_plainBcrypt(self) -> None:
        """It is bcrypt of base64(SHA-256(password)), as docs and schema say."""
        world = open_world(self)
        world.result(world.store.passwords.set(1, b"correct horse"))
        ((kept,),) = world.sql("SELECT hash FROM passwords.passwords")
        # printf 'correct horse' | openssl dgst -sha256 -binary | base64
        shortened = b"QQTTb42iwlQ0n4WDZ5Pr4CngyVcGOjTJHC6SAxh7VjE="
        self.assertTrue(bcrypt.checkpw(shortened, kept.encode()))
