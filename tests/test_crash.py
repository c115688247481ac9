"""Tests that a server can be killed before and after every storage call: nothing lost, doubled or stuck."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any, Callable

from chat.accounts import Accounts
from chat.deletion import Deletion
from chat.ledger import Account
from chat.ports import MessageStore, PasswordStore, UserStore
from chat.store import Store, files, folding, upgrade
from chat.store.books import Books
from chat.store.commit import GroupCommit
from chat.store.passwords import Passwords
from chat.store.retention import Shelf
from tests.crash.aftermath import Trial, crash_everywhere, play
from tests.crash.case import CrashCase, EveryScenario
from tests.crash.known import Known
from tests.crash.scenarios import SCENARIOS
from tests.crash.storage import Calls, Plain, statements

#: The share of the continuations that are killed a second time.
AGAIN = 0.1


class _Case(CrashCase):
    def crash(self, name: str, again: float = AGAIN, first: bool = False) -> Trial:
        """Stop a scenario everywhere."""
        return crash_everywhere(name, SCENARIOS[name], self.place / "crash", again=again, first=first)


class CrashTests(EveryScenario, _Case):
    """Killed at any moment, the next server and the same clients come to the same end."""

    def survives(self, name: str) -> None:
        """Stopped before and after every storage call."""
        trial = self.crash(name)
        self.assertGreater(trial.runs, 20)
        self.assertEqual([], trial.failures)


class CoverageTests(_Case):
    """The scenarios hold every kind of transaction."""

    def test_everyOperation(self) -> None:
        """Each operation of the stores is asked for in some scenario."""
        asked: set[str] = set()
        wanted: set[str] = set()
        for port, kind in (
            (MessageStore, Store),
            (UserStore, Store),
            (Shelf, Store),
            (PasswordStore, Passwords),
        ):
            for name, member in vars(port).items():
                if not name.startswith("_") and not isinstance(member, property):
                    wanted.add(f"{kind.__name__}.{name}")
                    self.patch(
                        kind, name, self._noting(getattr(kind, name), asked, f"{kind.__name__}.{name}")
                    )
        for name, scenario in SCENARIOS.items():
            scenario.prepare(self.place / name)
            play(self.place / name, Known(), scenario, Plain())
        self.crash("sign-up", again=0)  # only a crash leaves a sign-up that is to be undone
        self.assertEqual(wanted, asked)

    def _noting(self, function: Callable[..., Any], asked: set[str], name: str) -> Callable[..., Any]:
        def noting(*arguments: Any, **keywords: Any) -> Any:
            asked.add(name)
            return function(*arguments, **keywords)

        return noting

    def test_everyScenarioIsTried(self) -> None:
        """There is a test for each scenario."""
        tried = {name for name in dir(EveryScenario) if name.startswith("test_")}
        words = [name.split("-") for name in SCENARIOS]
        self.assertEqual({f"test_{first}{''.join(map(str.title, rest))}" for first, *rest in words}, tried)

    def test_everyCall(self) -> None:
        """Whatever a connection is asked is a call, by whichever of its methods, before and after."""
        points: list[str] = []
        calls = Calls(points.append)
        with calls.installed():
            connection = files.sqlite3.connect(":memory:", isolation_level=None)  # type: ignore[attr-defined]
            connection.execute("CREATE TABLE a (b)")
            connection.executemany("INSERT INTO a VALUES (?)", [(1,)])
            connection.executescript("BEGIN; DROP TABLE a;")
            cursor = connection.cursor()
            cursor.execute("SELECT 1")
            connection.rollback()
            with closing(sqlite3.connect(":memory:")) as target:
                connection.backup(target)
            connection.close()
        self.assertEqual(
            [
                f"{when} {call}"
                for call in (
                    "open",
                    "CREATE TABLE a (b)",
                    "many INSERT INTO a VALUES (?)",
                    "BEGIN;",
                    "DROP TABLE a;",
                    "SELECT 1",
                    "ROLLBACK",
                    "backup",
                    "close",
                )
                for when in ("before", "after")
            ],
            points,
        )

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

        def hasty(commit: GroupCommit, cursor: Any, group: list[Any]) -> list[object]:
            results = transact(commit, cursor, group)
            for place, (procedure, argument, done, failed) in enumerate(group):
                done(results[place])
                group[place] = procedure, argument, lambda result: None, failed
            return results

        self.patch(GroupCommit, "_transact", hasty)
        self._finds("was accepted as message", "accept")

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

        async def complete(deletion: Any, account: Account) -> None:
            await deletion._users.free(account)
            await deletion._passwords.remove(account.id)
            await deletion._mailroom.turn_round(account)

        self.patch(Deletion, "complete", complete)
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
        count = Books.count

        def forgetful(books: Books, account: int, waiting: int, offered: int = 0) -> None:
            count(books, account, waiting)

        self.patch(Books, "count", forgetful)
        self._finds("not marked so", "deliver")

    def test_upgradeInPieces(self) -> None:
        """An upgrade whose version is written in another transaction is found."""
        steps = {key: f"{script}COMMIT;BEGIN IMMEDIATE;" for key, script in upgrade.steps().items()}
        self.patch(files, "steps", lambda: steps)
        self._finds("it should not be there", "upgrade")

    def test_upgradeWithoutBackup(self) -> None:
        """An upgrade that keeps nothing is found."""
        self.patch(upgrade, "_keep", lambda directory, *_: directory)
        self._finds("no copy of the files as they were", "upgrade")

    def test_foldedInPieces(self) -> None:
        """A store that deletes what it folds, and notes it in another transaction, is found."""
        enter = folding._enter

        def late(cursor: Any, run: list[int]) -> None:
            cursor.execute("COMMIT")
            cursor.execute("BEGIN IMMEDIATE")
            enter(cursor, run)

        self.patch(folding, "_enter", late)
        self._finds("missing: it should be in the ledger", "folding")
