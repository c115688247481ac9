"""Tests that a server can be killed before and after every storage call: nothing lost, doubled or stuck."""

from __future__ import annotations

from typing import Any, Callable, Sequence

from twisted.trial.unittest import SynchronousTestCase

from chat.accounts import Accounts
from chat.ledger import Account
from chat.ports import MessageStore, PasswordStore, UserStore
from chat.store import Store
from chat.store.commit import GroupCommit
from chat.store.messages import Messages
from chat.store.passwords import Passwords
from tests.crash.aftermath import Trial, crash_everywhere, play
from tests.crash.known import Known
from tests.crash.place import scratch
from tests.crash.scenarios import SCENARIOS, UPGRADE, earlier_version, small_portions
from tests.crash.storage import Plain, statements

#: The share of the continuations that are killed a second time.
AGAIN = 0.1


class _Case(SynchronousTestCase):
    def setUp(self) -> None:
        """A directory for the files, and small portions."""
        self.place = self._entered(scratch())
        self._entered(small_portions())

    def _entered(self, context: Any) -> Any:
        entered = context.__enter__()
        self.addCleanup(context.__exit__, None, None, None)
        return entered

    def crash(self, name: str, again: float = AGAIN, first: bool = False) -> Trial:
        """Stop a scenario everywhere."""
        return crash_everywhere(name, SCENARIOS[name], self.place / "crash", again=again, first=first)


class CrashTests(_Case):
    """Killed at any moment, the next server and the same clients come to the same end."""

    def _survives(self, name: str) -> None:
        trial = self.crash(name)
        self.assertGreater(trial.runs, 30)
        self.assertEqual([], trial.failures)

    def test_firstStart(self) -> None:
        """While the files are made, opened, closed and opened again."""
        self._survives("first-start")

    def test_signUp(self) -> None:
        """While people sign up: an account that exists has a password."""
        self._survives("sign-up")

    def test_passwords(self) -> None:
        """While passwords are changed, and hashed anew because the cost was raised."""
        self._survives("passwords")

    def test_accept(self) -> None:
        """While messages are accepted: alone and in batches, repeated, to oneself, to nobody."""
        self._survives("accept")

    def test_deliver(self) -> None:
        """While messages are shown, live and page by page, and confirmed."""
        self._survives("deliver")

    def test_remove(self) -> None:
        """While messages are removed and recalled."""
        self._survives("remove")

    def test_deleteAccount(self) -> None:
        """While accounts are deleted in several portions, with mail of every kind in them."""
        self._survives("delete-account")

    def test_deadLetters(self) -> None:
        """While both sides of what waits delete their accounts."""
        self._survives("dead-letters")

    def test_restarts(self) -> None:
        """While a server stops in order and starts again."""
        self._survives("restarts")

    def test_anUpgrade(self) -> None:
        """While files of an earlier version are copied and upgraded."""
        trial = crash_everywhere(
            "upgrade", UPGRADE, self.place / "crash", prepare=earlier_version, again=AGAIN
        )
        self.assertGreater(trial.runs, 20)
        self.assertEqual([], trial.failures)


class CoverageTests(_Case):
    """The scenarios hold every kind of transaction."""

    def test_everyOperation(self) -> None:
        """Each operation of the stores is asked for in some scenario."""
        asked: set[str] = set()
        wanted: set[str] = set()
        for port, kind in ((MessageStore, Store), (UserStore, Store), (PasswordStore, Passwords)):
            for name in vars(port):
                if not name.startswith("_"):
                    wanted.add(f"{kind.__name__}.{name}")
                    self.patch(
                        kind, name, self._noting(getattr(kind, name), asked, f"{kind.__name__}.{name}")
                    )
        for name, steps in SCENARIOS.items():
            play(self.place / name, Known(), steps, Plain())
        self.crash("sign-up", again=0)  # only a crash leaves a sign-up that is to be undone
        self.assertEqual(wanted, asked)

    def _noting(self, function: Callable[..., Any], asked: set[str], name: str) -> Callable[..., Any]:
        def noting(*arguments: Any, **keywords: Any) -> Any:
            asked.add(name)
            return function(*arguments, **keywords)

        return noting

    def test_everyScenarioIsTried(self) -> None:
        """There is a test for each scenario."""
        tried = {name for name in dir(CrashTests) if name.startswith("test_")} - {"test_anUpgrade"}
        words = [name.split("-") for name in SCENARIOS]
        self.assertEqual({f"test_{first}{''.join(map(str.title, rest))}" for first, *rest in words}, tried)

    def test_statements(self) -> None:
        """The scripts that make the files are taken apart into their statements."""
        script = (
            "BEGIN;CREATE TABLE a (b TEXT /* c; */ DEFAULT ';'); -- d;\nINSERT INTO a VALUES ('e');COMMIT;"
        )
        self.assertEqual(
            ["BEGIN;", "CREATE TABLE a (b TEXT /* c; */ DEFAULT ';');", "-- d;\nINSERT INTO a VALUES ('e');"],
            [statement.strip() for statement in statements(script)][:3],
        )


class FaultyServerTests(_Case):
    """These tests find what they are there to find."""

    def _finds(self, words: str, name: str) -> None:
        try:
            failures = self.crash(name, again=0, first=True).failures
        except AssertionError as error:  # even where nothing was stopped
            failures = [str(error)]
        self.assertTrue(any(words in failure for failure in failures), f"{words}: {failures[:3]}")

    def test_answerBeforeCommit(self) -> None:
        """A server that answers and then commits is found."""
        transact = GroupCommit._transact

        def hasty(commit: GroupCommit, cursor: Any, group: Sequence[Any]) -> list[object]:
            results = transact(commit, cursor, group)  # type: ignore[arg-type]
            for operation, result in zip(group, results):
                operation.done(result)
                operation.done = lambda result: None
            return results

        self.patch(GroupCommit, "_transact", hasty)
        self._finds("", "accept")

    def test_accountBeforePassword(self) -> None:
        """A sign-up that makes the account before its password is found."""

        async def sign_up(accounts: Any, name: str, password: str) -> Account:
            account: Account = await accounts._users.join(name)
            await accounts._users.activate(account)
            await accounts._passwords.set(account.id, password.encode())
            return account

        self.patch(Accounts, "sign_up", sign_up)
        self._finds("has no password", "sign-up")

    def test_freedBeforeReturned(self) -> None:
        """A deletion that frees the account before its mail has turned round is found."""

        async def finish(accounts: Any, account: Account) -> None:
            await accounts._users.free(account)
            await accounts._passwords.remove(account.id)
            await accounts._mailroom.turn_round(account)

        self.patch(Accounts, "_finish", finish)
        self._finds("in the mailbox of account", "delete-account")

    def test_unfinishedDeletion(self) -> None:
        """A start that does not finish the deletions that were cut short is found."""

        async def finish(accounts: Any) -> None:
            _, joining = await accounts._users.unfinished()
            for account in joining:
                await accounts._abandon(account)

        self.patch(Accounts, "finish", finish)
        self._finds("were answered", "delete-account")

    def test_forgottenShowing(self) -> None:
        """A store that does not note what was shown is found."""
        count = Messages._count

        def forgetful(messages: Messages, account: int, waiting: int, offered: int = 0) -> None:
            count(messages, account, waiting)

        self.patch(Messages, "_count", forgetful)
        self._finds("not marked so", "deliver")
