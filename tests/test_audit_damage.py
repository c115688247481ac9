"""Tests for chatctl audit: whatever is wrong is found."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chat.admin import books, snapshot
from chat.admin.audit import audit
from chat.admin.books import ids
from chat.admin.books.terms import Findings
from chat.ledger import Account
from chat.store.files import NAMES, VERSIONS, path
from tests.town import (
    ALICE,
    BOB,
    CAROL,
    DEAD,
    DELIVERED,
    LAST,
    RECALLED,
    REMOVED,
    RETURNED,
    RETURNED_REMOVED,
    TURNED,
    WAITING,
    called,
    names,
    town,
)
from tests.world import World, open_world


class DamageTests(SynchronousTestCase):
    """Whatever is wrong is named, with its id and what it should be; and nothing else is."""

    def setUp(self) -> None:
        """A town of our own to damage."""
        self.path = Path(self.mktemp())
        shutil.copytree(town(), self.path)

    def sql(self, file: str, *statements: str) -> None:
        """Change one of the files with plain SQLite."""
        connection = sqlite3.connect(path(self.path, file), isolation_level=None)
        try:
            for statement in statements:
                connection.execute(statement)
        finally:
            connection.close()

    def assertFound(self, *expected: str) -> None:
        """These are the findings, and the exit status tells of them."""
        self.assertEqual(names(audit(self.path)), list(expected))
        status, out, err = called("audit", "--data", str(self.path))
        self.assertEqual((status, err), (1, ""))
        count = f"{len(expected)} finding{'s' if len(expected) > 1 else ''}"
        self.assertEqual(out.splitlines(), [*expected, count])

    def change(self, id: int, what: str) -> None:
        """Change the row of one message."""
        self.sql("messages", f"UPDATE ledger SET {what} WHERE id = {id}")

    # --- ids ---

    def test_rowsGone(self) -> None:
        """Any row that is gone is named: the first, one in the middle, the last, several."""
        for cut in ([REMOVED], [1, 2], [RECALLED, DEAD], [LAST], [1, TURNED, LAST], list(range(1, LAST + 1))):
            shutil.rmtree(self.path)
            shutil.copytree(town(), self.path)
            listed = ",".join(map(str, cut))
            self.sql("messages", f"DELETE FROM ledger WHERE id IN ({listed})", *RECOUNT)
            self.assertFound(
                *[f"message {id}: missing: it should be in the ledger, whatever became of it" for id in cut]
            )

    def test_longGap(self) -> None:
        """A gap too long to be listed is named by its ends."""
        self.patch(ids, "LONGEST_LIST", 2)
        self.sql("messages", "DELETE FROM ledger WHERE id IN (2, 3, 4, 6, 7)", *RECOUNT)
        self.assertFound(
            "messages 2 to 4: missing, 3 messages: they should be in the ledger, whatever became of them",
            "message 6: missing: it should be in the ledger, whatever became of it",
            "message 7: missing: it should be in the ledger, whatever became of it",
        )

    def test_idsNotGivenOut(self) -> None:
        """An id beyond the last one given out, and one before the first, cannot be."""
        self.change(REMOVED, "id = 100")
        self.change(RECALLED, "id = -1")
        self.assertFound(
            "message 3: missing: it should be in the ledger, whatever became of it",
            "message 4: missing: it should be in the ledger, whatever became of it",
            "message -1: this id was never given out: it should be 1 to 11",
            "message 100: this id was never given out: it should be 1 to 11",
        )

    def test_counterTooLow(self) -> None:
        """The counter has lost count."""
        self.sql("messages", "UPDATE counters SET id = 10")
        self.assertFound("message 11: this id was never given out: it should be 1 to 10")

    def test_noCounter(self) -> None:
        """The counters are gone."""
        self.sql("messages", "DELETE FROM counters")
        self.assertFound("messages.db: table counters has no rows: it should have one")

    def test_schemaNoText(self) -> None:
        """A schema that is damaged, and SQLite's complaint of it no text: that is a finding like others."""
        file = path(self.path, "messages")
        whole = file.read_bytes()
        self.assertEqual(whole.count(b"last     INTEGER NOT"), 1)
        file.write_bytes(whole.replace(b"last     INTEGER NOT", b"last     INTEGER \xffOT"))
        self.assertIn("messages.db: damaged: ", "\n".join(names(audit(self.path))))
        for command in ("audit", "check"):
            status, out, err = called(command, "--data", str(self.path))
            self.assertEqual((status, err), (1, ""))
            self.assertIn("malformed database schema (folded)", out)
        status, out, err = called("backup", "--data", str(self.path), self.mktemp())
        self.assertEqual((status, out, err.count("\n")), (2, "", 1))

    def test_noValue(self) -> None:
        """What a damaged page has in place of a number proves nothing, and hides nothing of the rest."""

        def compared(*_: object) -> Findings:
            """All is well."""
            values: tuple[Any, ...] = (None, 1)
            yield str(min(values))

        self.patch(books, "CHECKS", (compared, *books.CHECKS))
        self.change(DELIVERED, "state = 7")
        self.assertFound(
            "not proven: All is well. ('<' not supported between instances of 'int' and 'NoneType')",
            f"message {DELIVERED}: state 7 is none: it should be 0 to 4",
        )

    # --- states ---

    def test_noState(self) -> None:
        """A state that there is not."""
        self.change(DELIVERED, "state = 7")
        self.assertFound(f"message {DELIVERED}: state 7 is none: it should be 0 to 4")

    def test_waitingAgain(self) -> None:
        """A delivered message made to wait again: it was settled, and the count is one short."""
        self.change(DELIVERED, "state = 0, settled = 5")
        self.assertFound(
            f"message {DELIVERED}: waiting, but settled at 5: it should not be settled yet",
            f"mailbox of account {BOB}: says that 1 wait: it should say 2",
        )

    def test_deliveredUnsettled(self) -> None:
        """A waiting message made delivered by hand."""
        self.change(WAITING, "state = 1, settled = NULL")
        self.assertFound(
            f"message {WAITING}: delivered, but never settled: it should say when",
            f"mailbox of account {BOB}: says that 1 wait: it should say 0",
        )

    def test_contentGone(self) -> None:
        """The body of a message that should still have one is gone, in each such state."""
        for id, name in ((WAITING, "waiting"), (DELIVERED, "delivered"), (DEAD, "dead")):
            self.change(id, "body = NULL")
            self.assertFound(f"message {id}: {name}, but its body is gone: it should be there")
            self.change(id, "body = 'hello'")

    def test_contentThere(self) -> None:
        """Body or subject of a message that should have none is still there."""
        for what in ("body", "subject"):
            for id, name in ((REMOVED, "removed"), (RECALLED, "recalled")):
                self.change(id, f"{what} = 'secret'")
                self.assertFound(f"message {id}: {name}, but its content is there: it should be gone")
                self.change(id, f"{what} = NULL")

    def test_unlawfulPair(self) -> None:
        """Recalled, but returned; dead, but not returned."""
        self.change(RECALLED, "code = 'unknown-recipient', addressee = 'x', recipient = sender")
        self.change(DEAD, "code = NULL, addressee = NULL")
        self.assertFound(
            f"message {RECALLED}: recalled, but has the code 'unknown-recipient': that is no lawful pair",
            f"message {DEAD}: dead, but has no code: that is no lawful pair",
        )

    def test_unknownCode(self) -> None:
        """A code that the server has no note for; what is printed of it does no harm to a terminal."""
        self.change(RETURNED, "code = 'x' || char(27)")
        self.assertFound(
            f"message {RETURNED}: code 'x\\x1b' is not known:"
            " it should be one of"
            " ('account-deleted', 'blocked', 'expired', 'mailbox-full', 'unknown-recipient')"
        )

    def test_codeAndAddressee(self) -> None:
        """Code and addressee come together."""
        self.change(RETURNED, "addressee = NULL")
        self.change(DELIVERED, "addressee = 'x'")
        self.assertFound(
            f"message {DELIVERED}: has an addressee, but no code: it should have both",
            f"message {RETURNED}: has a code, but no addressee: it should have both",
        )

    def test_returnedToAnother(self) -> None:
        """A message that came back is with its sender."""
        self.change(RETURNED_REMOVED, f"recipient = {BOB}")
        self.assertFound(
            f"message {RETURNED_REMOVED}: came back ('unknown-recipient'), but to account {BOB}:"
            f" it should be with its sender, account {ALICE}"
        )

    def test_deadWithoutNeed(self) -> None:
        """A message is dead only if its sender is gone."""
        self.change(DEAD, f"sender = {ALICE}, recipient = {ALICE}")
        self.sql("messages", *RECOUNT)
        self.assertFound(
            f"message {DEAD}: dead, but its sender, account {ALICE}, exists: it should wait there"
        )

    def test_refAndDigest(self) -> None:
        """A digest has its ref, and where the content has gone a ref has its digest."""
        self.change(REMOVED, "ref = NULL")
        self.change(RETURNED_REMOVED, "digest = NULL")
        self.assertFound(
            f"message {REMOVED}: has a digest, but no ref: it should have both or none",
            f"message {RETURNED_REMOVED}: has a ref, but no digest: what its content was should be known",
        )

    def test_digestTooEarly(self) -> None:
        """Older versions made the digest at once: beside the content it is no harm."""
        self.change(DELIVERED, "digest = x'00'")
        self.assertEqual(names(audit(self.path)), [])

    def test_options(self) -> None:
        """A receipt is wanted or not, and a program wrote it or not."""
        self.change(DELIVERED, "options = 4")
        self.assertFound(f"message {DELIVERED}: options 4 are none: they should be 0 to 3")

    def test_noMoment(self) -> None:
        """Times that no client could be told: a message with one could not be delivered."""
        self.change(DELIVERED, "time = -1, settled = 253402300800000")
        self.assertFound(
            f"message {DELIVERED}: accepted at -1: that is no moment from 1970 to 9999",
            f"message {DELIVERED}: settled at 253402300800000: that is no moment from 1970 to 9999",
        )

    # --- positions ---

    def test_samePosition(self) -> None:
        """Two messages at one position are both named."""
        self.change(DELIVERED, "position = 1")
        self.assertFound(
            *[
                f"message {id}: another one is at position 1, too: it should be alone there"
                for id in (WAITING, DELIVERED)
            ]
        )

    def test_positionNotGivenOut(self) -> None:
        """A position is one that was given out; the counter has not lost count."""
        self.change(WAITING, "position = 0")
        self.change(REMOVED, "position = 99")
        self.assertFound(
            f"message {WAITING}: position 0 was never given out: it should be 1 to 12",
            f"message {REMOVED}: position 99 was never given out: it should be 1 to 12",
        )

    # --- accounts of messages ---

    def test_unknownSender(self) -> None:
        """A sender is somebody who exists, or existed."""
        self.change(WAITING, "sender = 77")
        self.sql("messages", *RECOUNT)
        self.assertFound(f"message {WAITING}: sender, account 77, does not exist: it should be in users.db")

    def test_waitingForNobody(self) -> None:
        """Nothing is in the mailbox of an account that does not exist, or no more."""
        self.change(WAITING, "recipient = 77")
        self.change(DELIVERED, f"recipient = {CAROL}")
        self.sql("messages", *RECOUNT)
        self.assertFound(
            f"message {WAITING}: waiting in the mailbox of account 77, which does not exist:"
            " it should be with its sender, or dead",
            f"message {DELIVERED}: delivered in the mailbox of account {CAROL}, which is deleted:"
            " it should be with its sender, or dead",
            "mailbox of account 77: there is no such account: it should be in users.db",
        )

    def test_unknownRecipient(self) -> None:
        """A message that has left all mailboxes still belongs to somebody who existed."""
        self.change(RECALLED, "recipient = 77")
        self.assertFound(
            f"message {RECALLED}: recipient, account 77, does not exist: it should be in users.db"
        )

    def test_accountGone(self) -> None:
        """The row of an account is gone: whatever belongs to it is named."""
        self.sql("users", f"DELETE FROM accounts WHERE id = {BOB}")
        gone = "does not exist: it should be in users.db"
        boxed = "which does not exist: it should be with its sender, or dead"
        self.assertFound(
            f"message {WAITING}: waiting in the mailbox of account {BOB}, {boxed}",
            f"message {DELIVERED}: delivered in the mailbox of account {BOB}, {boxed}",
            f"message {REMOVED}: recipient, account {BOB}, {gone}",
            f"message {RECALLED}: recipient, account {BOB}, {gone}",
            f"message {LAST}: sender, account {BOB}, {gone}",
            f"mailbox of account {BOB}: there is no such account: it should be in users.db",
            f"password of account {BOB}: belongs to an account that does not exist: it should be gone",
        )

    # --- mailboxes ---

    def test_falseCounts(self) -> None:
        """A count that is too high, one that is too low, one that is gone."""
        self.sql("messages", f"UPDATE mailboxes SET waiting = 9 WHERE account = {ALICE}")
        self.assertFound(f"mailbox of account {ALICE}: says that 9 wait: it should say 4")
        self.sql("messages", f"UPDATE mailboxes SET waiting = 0 WHERE account = {ALICE}")
        self.assertFound(f"mailbox of account {ALICE}: says that 0 wait: it should say 4")
        self.sql("messages", f"DELETE FROM mailboxes WHERE account = {ALICE}")
        self.assertFound(f"mailbox of account {ALICE}: says that 0 wait: it should say 4")

    def test_countOfNothing(self) -> None:
        """A count for somebody for whom nothing waits."""
        self.sql("messages", f"UPDATE mailboxes SET waiting = 2 WHERE account = {CAROL}")
        self.assertFound(f"mailbox of account {CAROL}: says that 2 wait: it should say 0")

    def test_offered(self) -> None:
        """Nothing can have been shown that was not there."""
        self.sql("messages", f"UPDATE mailboxes SET offered = 13 WHERE account = {ALICE}")
        self.assertFound(f"mailbox of account {ALICE}: offered up to position 13: it should be 0 to 12")

    # --- stretches ---

    def test_noteMissing(self) -> None:
        """A note is gone: a listing would not find what is there."""
        self.sql("messages", "DELETE FROM stretches WHERE account = 1 AND box = 0")
        due = "messages 0 to 1023: some are there, but that is not noted: it should be in stretches"
        self.assertFound(f"inbox of account {ALICE}: {due}")
        self.sql("messages", "DELETE FROM stretches WHERE account = 2 AND box = 1")
        self.assertFound(f"inbox of account {ALICE}: {due}", f"sent of account {BOB}: {due}")

    def test_noteTooMany(self) -> None:
        """Notes of boxes that have nothing there: a listing would say that more follows."""
        self.sql("messages", f"INSERT INTO stretches VALUES ({ALICE}, 0, 1), ({CAROL}, 1, 0)")
        stale = "noted in stretches, but none is there: it should not be noted"
        self.assertFound(
            f"sent of account {CAROL}: messages 0 to 1023: {stale}",
            f"inbox of account {ALICE}: messages 1024 to 2047: {stale}",
        )

    def test_noteOfNoBox(self) -> None:
        """A note for a box that there is not, and one for an account that there is not."""
        self.sql("messages", f"INSERT INTO stretches VALUES ({ALICE}, 7, 0), (99, 0, 0)")
        stale = "noted in stretches, but none is there: it should not be noted"
        self.assertFound(
            f"box 7 of account {ALICE}: messages 0 to 1023: {stale}",
            f"inbox of account 99: messages 0 to 1023: {stale}",
        )

    def test_noteElsewhere(self) -> None:
        """A message far from where it is noted: both are named, each with its ids."""
        self.change(LAST, "id = 5000")
        self.sql(
            "messages",
            "UPDATE counters SET id = 5000",
            "INSERT INTO folded VALUES (11, 4999, 0, 0, 0, 4989)",
        )
        at = "messages 4096 to 5119: some are there, but that is not noted: it should be in stretches"
        self.assertFound(
            f"sent of account {BOB}: messages 0 to 1023:"
            " noted in stretches, but none is there: it should not be noted",
            f"inbox of account {ALICE}: {at}",
            f"sent of account {BOB}: {at}",
        )

    # --- accounts ---

    def test_passwordGone(self) -> None:
        """An account without a password."""
        self.sql("passwords", f"DELETE FROM passwords WHERE account = {BOB}")
        self.assertFound(f"account {BOB}: has no password: it should have one in passwords.db")

    def test_passwordOfNobody(self) -> None:
        """A password without an account."""
        self.sql("passwords", f"INSERT INTO passwords VALUES (99, 'x'), ({CAROL}, 'x')")
        self.assertFound(
            f"password of account {CAROL}: belongs to a deleted account: it should be gone",
            "password of account 99: belongs to an account that does not exist: it should be gone",
        )

    def test_tokenOfNobody(self) -> None:
        """A token that stands for no password."""
        self.sql(
            "passwords",
            f"INSERT INTO tokens (account, digest, issued) VALUES ({ALICE}, x'01', 1), ({CAROL}, x'02', 1)",
        )
        self.assertFound(f"token 2: of account {CAROL}, which has no password: it should be gone")

    def test_codesOfNobody(self) -> None:
        """Recovery codes, and the note of a reset, of an account that has no password."""
        self.sql(
            "passwords",
            f"INSERT INTO recoveries VALUES ({ALICE}, x'01', NULL), ({CAROL}, x'02', NULL),"
            f" ({CAROL}, x'03', 5)",
            f"INSERT INTO resets VALUES ({ALICE}, 1), ({CAROL}, 1)",
        )
        self.assertFound(
            f"account {CAROL}: has recovery codes, but no password: they should be gone",
            f"account {CAROL}: has a reset, but no password: they should be gone",
        )

    def test_invitations(self) -> None:
        """An invitation that was used too often."""
        self.sql(
            "users",
            "INSERT INTO invitations (digest, made, expires, uses)"
            " VALUES (x'01', 1, 2, 0), (x'02', 1, 2, -1)",
        )
        self.assertFound("invitation 2: good for -1 accounts: it should be 0 or more")

    def test_accountStates(self) -> None:
        """A state that there is not, and a date that does not belong to the state."""
        self.sql(
            "users",
            f"UPDATE accounts SET freed = 5 WHERE id = {ALICE}",
            f"UPDATE accounts SET freed = NULL WHERE id = {CAROL}",
            "INSERT INTO accounts VALUES (5, 'erin', 9, 1, NULL), (-5, 'frank', 3, 1, NULL)",
        )
        self.assertFound(
            "account -5: this id was never given out: it should be 1 or more",
            f"account {ALICE}: active, but freed at 5: it should not be freed",
            f"account {CAROL}: deleted, but not freed: it should say when",
            "account 5: state 9 is none: it should be 0 to 3",
        )

    def test_sameName(self) -> None:
        """Two accounts of one name, which the index would have prevented."""
        self.sql("users", "DROP INDEX accounts_name", f"UPDATE accounts SET name = 'bob' WHERE id = {ALICE}")
        self.assertFound(
            "users.db: index accounts_name is missing: it should be there",
            f"account {ALICE}: another one is called bob, too: it should be alone with its name",
            f"account {BOB}: another one is called bob, too: it should be alone with its name",
        )

    def test_accountIdsGivenTwice(self) -> None:
        """SQLite's own count of accounts has gone back, so an id could be given twice."""
        self.sql("users", "UPDATE sqlite_sequence SET seq = 3")
        self.assertFound("account 4: the last id given out is said to be 3: it should be 4 or more")

    # --- files ---

    def test_mixedFiles(self) -> None:
        """A file of another server."""
        other = open_world(self)
        other.close()
        shutil.copy(path(other.path, "passwords"), self.path)
        findings = names(audit(self.path))
        self.assertEqual(
            findings,
            [
                "messages.db, users.db, passwords.db: the datasets differ:"
                " the three files should be from the same server and the same backup",
                f"account {ALICE}: has no password: it should have one in passwords.db",
                f"account {BOB}: has no password: it should have one in passwords.db",
            ],
        )

    def test_noIdentity(self) -> None:
        """A file that does not say what it belongs to."""
        self.sql("users", "DELETE FROM identity")
        self.assertFound("users.db: table identity has no rows: it should have one")

    def test_labels(self) -> None:
        """A file that says it is something else, or of a version that there is not."""
        self.sql("users", "PRAGMA application_id = 5")
        self.sql("passwords", "PRAGMA user_version = 0")
        self.assertFound(
            f"passwords.db: schema version 0 is none: it should be {VERSIONS['passwords']}",
            "users.db: application id 0x5 is not that of a chat server: it should be 0x63686174",
        )

    def test_schema(self) -> None:
        """A table that was altered, and one that should not be there."""
        self.sql("messages", "ALTER TABLE mailboxes ADD COLUMN x INTEGER", "CREATE TABLE y (z)")
        self.assertFound(
            "messages.db: table mailboxes was altered: it should be as the server made it",
            "messages.db: table y is unknown: it should not be there",
        )

    def test_tableGone(self) -> None:
        """A table is gone: what cannot be proven without it is said, and the rest is looked at."""
        self.sql("messages", "DROP TABLE mailboxes", "DELETE FROM ledger WHERE id = 2")
        self.assertFound(
            "messages.db: table mailboxes is missing: it should be there",
            "message 2: missing: it should be in the ledger, whatever became of it",
            "not proven: The counts of the mailboxes are true, and each belongs to somebody."
            " (no such table: mailboxes)",
        )

    def test_doubledRef(self) -> None:
        """A ref that was accepted twice, which the index would have prevented."""
        self.sql("messages", "DROP INDEX ledger_ref")
        self.change(REMOVED, "ref = 'c2'")
        findings = names(audit(self.path))
        self.assertEqual(findings[0], "messages.db: index ledger_ref is missing: it should be there")
        self.assertEqual(
            findings[1],
            f"message {REMOVED}: has the same sender, account {ALICE}, and the same ref as"
            f" message {DELIVERED}: it should not have been accepted again",
        )

    def test_indexIncomplete(self) -> None:
        """A waiting message that its index does not have would never be delivered: it is named."""
        self.sql(
            "messages",
            "PRAGMA writable_schema = ON",
            "CREATE TEMP TABLE kept AS SELECT * FROM sqlite_schema WHERE name = 'ledger_waiting'",
            "DELETE FROM sqlite_schema WHERE name = 'ledger_waiting'",
            "PRAGMA writable_schema = RESET",
            f"UPDATE ledger SET state = 0, settled = NULL WHERE id = {DELIVERED}",
            "PRAGMA writable_schema = ON",
            "INSERT INTO sqlite_schema SELECT * FROM kept",
            "PRAGMA writable_schema = RESET",
        )
        self.assertFound(
            "messages.db: index ledger_waiting has 5 entries: it should have 6;"
            " stop the server and rebuild it with sqlite3 (REINDEX ledger_waiting)",
            f"message {DELIVERED}: is not in index ledger_waiting: it should be",
        )
        deep = names(audit(self.path, deep=True))
        self.assertIn(f"messages.db: damaged: row {DELIVERED} missing from index ledger_waiting", deep)

    def test_truncated(self) -> None:
        """A file whose end is cut off."""
        for name in NAMES:
            file = path(self.path, name)
            whole = file.read_bytes()
            file.write_bytes(whole[: len(whole) // 2])
            status, out, err = called("audit", "--data", str(self.path))
            self.assertEqual((status, err), (1, ""))
            self.assertIn(f"{name}.db: damaged: ", out)
            file.write_bytes(whole)
        self.assertEqual(names(audit(self.path)), [])

    def test_pageDestroyed(self) -> None:
        """A page of junk anywhere in any file is found, and the file is named; at the latest by --deep."""
        for name in NAMES:
            file = path(self.path, name)
            whole = file.read_bytes()
            for start in range(0, len(whole), 4096):
                skipped = 100 if start == 0 else 0  # the header itself has tests of its own
                junk = b"\xa5" * (4096 - skipped)
                file.write_bytes(whole[: start + skipped] + junk + whole[start + 4096 :])
                status, out, err = called("audit", "--deep", "--data", str(self.path))
                self.assertEqual((status, err), (1, ""), (name, start))
                self.assertIn(f"{name}.db: damaged: ", out, (name, start))
                self.assertNotIn("Traceback", out)
            file.write_bytes(whole)

    def test_running(self) -> None:
        """Damage is found while the server runs, too."""
        world = World(self.path)
        self.addCleanup(world.close)
        world.send(Account(ALICE, "alice"), "bob")
        self.sql("messages", f"DELETE FROM ledger WHERE id = {REMOVED}")
        self.assertTrue(snapshot.in_use(self.path))
        self.assertFound(f"message {REMOVED}: missing: it should be in the ledger, whatever became of it")

    def test_nothingSecret(self) -> None:
        """No subject, no body and no hash is in what is printed, however damaged the rows are."""
        self.sql(
            "messages",
            "UPDATE ledger SET subject = 'SECRET', body = 'SECRET', state = 3, code = 'x', recipient = 99",
        )
        self.sql("passwords", "UPDATE passwords SET account = account + 90, hash = 'SECRET'")
        status, out, err = called("audit", "--deep", "--data", str(self.path))
        self.assertEqual(status, 1)
        self.assertGreater(len(out.splitlines()), LAST)
        self.assertNotIn("SECRET", out + err)


#: Makes the counts of the mailboxes true again.
RECOUNT = (
    "DELETE FROM stretches",
    "INSERT INTO stretches SELECT DISTINCT recipient, 0, id / 1024 FROM ledger WHERE state < 2",
    "INSERT INTO stretches SELECT DISTINCT sender, 1, id / 1024 FROM ledger",
    "INSERT OR IGNORE INTO mailboxes SELECT DISTINCT recipient, 0, 0 FROM ledger WHERE state = 0",
    "UPDATE mailboxes SET waiting ="
    " (SELECT count(*) FROM ledger WHERE state = 0 AND recipient = mailboxes.account)",
)
