"""Tests for C{chatctl export} and C{chatctl import}: a mailbox that was exported can be had again."""

from __future__ import annotations

import io
import json
import mailbox
import os
import sqlite3
import sys
import threading
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from chat.admin import exporting, importing
from chat.admin.audit import audit
from chat.admin.exporting import export
from chat.store.files import path
from tests.test_upgrade import first_version
from tests.town import called, listing, names
from tests.world import World


class MailboxCase(SynchronousTestCase):
    """A stopped server with a mailbox that has everything in it."""

    def setUp(self) -> None:
        """Alice has mail in every state, and so has bob."""
        world = World(self.mktemp())
        self.path = world.path
        self.alice, self.bob, carol = world.sign_up("alice", "bob", "carol")
        world.send(self.alice, "bob", "to bob, waiting", subject="a", ref="r1", receipt=True)
        collected = world.send(self.alice, "bob", "to bob, delivered", ref="r2").id
        removed = world.send(self.alice, "bob", "to bob, removed", ref="r3").id
        recalled = world.send(self.alice, "bob", "recalled").id
        back = world.send(self.alice, "nobody", "came back", subject="b", ref="r5").id
        world.send(self.alice, "nobody\u2028\x07", "came back, waiting")
        forgotten = world.send(self.alice, "nobody", "came back, removed").id
        world.send(self.bob, "alice", "from bob, waiting\r\n\x00\x1b[31m", ref="b1")
        read = world.send(self.bob, "alice", "from bob, delivered", subject="ü\n\u2028", receipt=True).id
        world.send(carol, "alice", "from carol")
        world.send(self.alice, "alice", "to myself")
        mine = world.send(self.alice, "alice", "to myself, removed").id
        world.send(carol, "bob", "none of alice's")
        world.send(self.alice, "carol", "to carol, who leaves")
        world.confirm(self.bob, collected, removed)
        world.confirm(self.alice, back, read)
        world.result(world.mailroom.remove(self.bob, [removed]))
        world.result(world.mailroom.remove(self.alice, [recalled, forgotten, mine]))
        world.delete(carol)
        self.clock = world.clock
        world.close()

    def exported(self, name: str = "alice", form: str = "jsonl", directory: Path | None = None) -> bytes:
        """The file."""
        with export(directory or self.path, name, form) as found:
            return found.read()

    def imported(
        self, content: bytes, name: str = "alice", directory: Path | None = None
    ) -> tuple[int, str, str]:
        """Exit status, output and errors of importing this."""
        file = Path(self.mktemp())
        file.write_bytes(content)
        done = called("import", "--data", str(directory or self.path), name, str(file))
        self.assertEqual(names(audit(directory or self.path, deep=True)), [])
        return done

    def opened(self) -> World:
        """The server runs."""
        world = World(self.path, clock=self.clock)
        self.addCleanup(world.close)
        return world

    def wipe(self) -> None:
        """Alice removes everything she has, and recalls what she can."""
        world = self.opened()
        everything = [id for (id,) in world.sql("SELECT id FROM ledger")]
        world.result(world.mailroom.remove(self.alice, everything))
        world.close()
        left = self.records(self.exported())
        self.assertEqual({each["state"] for each in left} - {"removed", "recalled", "delivered"}, set())

    @staticmethod
    def records(content: bytes) -> list[dict[str, Any]]:
        """The messages of an export."""
        return [json.loads(line) for line in content.splitlines()[1:]]


class ExportTests(MailboxCase):
    """What the owner of the mailbox may see, all of it, and nothing else."""

    def test_whole(self) -> None:
        """Both boxes, in the order of acceptance; nothing of other people's mail."""
        content = self.exported()
        self.assertEqual(json.loads(content.splitlines()[0]), {"chat-mailbox": 1, "account": "alice"})
        found = self.records(content)
        self.assertEqual(
            [(each["id"], each["state"], each.get("body")) for each in found],
            [
                (1, "waiting", "to bob, waiting"),
                (2, "delivered", "to bob, delivered"),
                (3, "delivered", None),  # that bob has removed it is his affair
                (4, "recalled", None),
                (5, "delivered", "came back"),
                (6, "waiting", "came back, waiting"),
                (7, "removed", None),
                (8, "waiting", "from bob, waiting\r\n\x00\x1b[31m"),
                (9, "delivered", "from bob, delivered"),
                (10, "waiting", "from carol"),
                (11, "waiting", "to myself"),
                (12, "removed", None),
                (14, "waiting", "to carol, who leaves"),
            ],
        )
        self.assertEqual(found[0]["receipt"], True)
        self.assertEqual(found[4]["returned"], {"code": "unknown-recipient", "recipient": "nobody"})
        self.assertEqual([each["ref"] for each in found if "ref" in each], ["r1", "r2", "r3", "r5"])
        self.assertNotIn("receipt", found[8])  # of bob's, who asked for it

    def test_running(self) -> None:
        """The server may run, and nothing of its files is changed."""
        stopped = self.exported()
        world = self.opened()
        before = listing(self.path)
        self.assertEqual(self.exported(), stopped)
        self.assertEqual(listing(self.path), before)
        world.send(self.alice, "bob", "later")
        self.assertIn(b"later", self.exported())

    def test_program(self) -> None:
        """To standard output, to a file for its owner alone, under any spelling of the name."""
        file = Path(self.mktemp())
        status, out, err = called("export", "--data", str(self.path), "Alice")
        self.assertEqual((status, err, out.encode()), (0, "", self.exported()))
        status, out, err = called("export", "--data", str(self.path), "alice", "-o", str(file))
        self.assertEqual((status, out, err), (0, "", ""))
        self.assertEqual(file.read_bytes(), self.exported())
        self.assertEqual(file.stat().st_mode & 0o777, 0o600)
        stream = io.BytesIO()
        self.patch(sys, "stdout", io.TextIOWrapper(stream, "ascii"))
        exporting._show(io.BytesIO(self.exported()))
        self.assertEqual(stream.getvalue(), self.exported())

    def test_refused(self) -> None:
        """Nobody of that name, no such data, no place for the file: one line each."""
        for arguments, words in (
            (["--data", str(self.path), "zed"], "no account called 'zed'"),
            (["--data", str(self.path), "carol"], "no account called 'carol'"),
            (["--data", str(self.path), ""], "no account called ''"),
            (["--data", self.mktemp(), "alice"], "does not exist"),
            (["--data", str(self.path), "alice", "-o", "/nowhere/at/all"], "cannot be written"),
        ):
            status, out, err = called("export", *arguments)
            self.assertEqual((status, out, err.count("\n")), (2, "", 1))
            self.assertIn(words, err)

    def test_special(self) -> None:
        """A pipe or a device is written to, and stays; a link is replaced, not what it leads to."""
        pipe = Path(self.mktemp())
        os.mkfifo(pipe)
        read: list[bytes] = []
        reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)
        reader.start()
        status, out, err = called("export", "--data", str(self.path), "alice", "-o", str(pipe))
        reader.join(5)
        self.assertEqual((status, out, err), (0, "", ""))
        self.assertTrue(pipe.is_fifo())
        self.assertEqual(read, [self.exported()])
        other, link = Path(self.mktemp()), Path(self.mktemp())
        other.write_text("precious")
        link.symlink_to(other.absolute())
        self.assertEqual(called("export", "--data", str(self.path), "alice", "-o", str(link))[0], 0)
        self.assertEqual((other.read_text(), link.read_bytes()), ("precious", self.exported()))

    def test_nothingBeside(self) -> None:
        """Of other files in the folder none goes, and none is left where it cannot be written."""
        folder = Path(self.mktemp())
        (folder / "mail").mkdir(parents=True)
        for name in ("mail.new", "other", "other.new"):
            (folder / name).write_text("precious")
        arguments = ("export", "--data", str(self.path), "alice", "-o")
        self.assertEqual(called(*arguments, str(folder / "mail"))[0], 2)
        self.assertEqual(called(*arguments, "")[0], 2)
        with mock.patch("os.replace", side_effect=OSError(28, "No space left on device")):
            self.assertEqual(called(*arguments, str(folder / "other"))[0], 2)
        self.assertEqual((folder / "other").read_text(), "precious")
        self.assertEqual(called(*arguments, str(folder / "other"))[0], 0)
        self.assertEqual((folder / "other").read_bytes(), self.exported())
        self.assertEqual(sorted(os.listdir(folder)), ["mail", "mail.new", "other", "other.new"])
        self.assertEqual((folder / "other.new").read_text(), "precious")

    def test_noRoom(self) -> None:
        """No room for what is read before it is written: nothing is wrong with the files."""
        with mock.patch.object(exporting, "_spool", side_effect=OSError(28, "No space left on device")):
            status, out, err = called("export", "--data", str(self.path), "alice")
        self.assertEqual((status, out, err.count("\n")), (2, "", 1))
        self.assertIn("(No space left on device): make room for temporary files, or name another", err)

    def test_damaged(self) -> None:
        """A message that cannot be is for the audit to tell of."""
        for change in ("time = -99999999999999", "state = 9"):
            connection = sqlite3.connect(path(self.path, "messages"))
            with connection:
                connection.execute(f"UPDATE ledger SET {change} WHERE id = 1")
            connection.close()
            status, out, err = called("export", "--data", str(self.path), "alice")
            self.assertEqual((status, out, err.count("\n")), (2, "", 1))
            self.assertIn('see what "chatctl audit" finds', err)

    def test_mbox(self) -> None:
        """Mail programs can read what has text."""
        file = Path(self.mktemp())
        file.write_bytes(self.exported(form="mbox"))
        box: Any = mailbox.mbox(file)
        self.addCleanup(box.close)
        self.assertEqual(len(box), len([each for each in self.records(self.exported()) if "body" in each]))
        first = box[0]
        self.assertEqual(first["Message-ID"], "<1@chat.invalid>")
        self.assertIn("alice@chat.invalid", first["From"])
        self.assertEqual(first["Subject"], "a")
        self.assertEqual(first.get_payload(decode=True), b"to bob, waiting\n")
        returned = [each for each in box if each["X-Chat-Returned"]]
        codes = ["unknown-recipient", "unknown-recipient", "account-deleted"]
        self.assertEqual([each["X-Chat-Returned"] for each in returned], codes)
        self.assertTrue(file.read_bytes().isascii())


class ImportTests(MailboxCase):
    """What was exported is there again, and the ledger stays lawful."""

    def test_roundTrip(self) -> None:
        """Export, wipe, import, export: the same bytes; and what waited is delivered."""
        before = self.exported()
        self.wipe()
        self.assertNotEqual(self.exported(), before)
        status, out, err = self.imported(before)
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(self.exported(), before)
        self.assertIn("(0 under a new id)", out)
        world = self.opened()
        self.assertEqual([letter.id for letter in world.waiting(self.alice)], [6, 8, 10, 11, 14])
        self.assertEqual([letter.id for letter in world.waiting(self.bob)], [1, 13])
        self.assertEqual(world.send(self.alice, "bob", "to bob, waiting", subject="a", ref="r1").id, 1)

    def test_repeated(self) -> None:
        """Importing what is there changes nothing, however often."""
        before = self.exported()
        for _ in range(2):
            status, out, _ = self.imported(before)
            self.assertEqual(status, 0)
            self.assertEqual(out, "0 messages imported (0 under a new id), 13 there already\n")
            self.assertEqual(self.exported(), before)

    def test_otherServer(self) -> None:
        """On a new server where both have signed up, both mailboxes come out the same, ids included."""
        files = {name: self.exported(name) for name in ("alice", "bob")}
        for order in (("alice", "bob"), ("bob", "alice")):
            world = World(self.mktemp())
            world.sign_up("zed", "bob", "alice")
            world.close()
            for name in order:
                self.assertEqual(self.imported(files[name], name, world.path)[0], 0)
            for name in order:
                self.assertEqual(self.exported(name, directory=world.path), files[name])
            world = World(world.path)
            self.addCleanup(world.close)
            zed = world.result(world.store.find("zed"))
            assert zed is not None
            self.assertEqual(world.send(zed, "alice").id, 15)
            self.assertEqual(world.sign_up("carol")[0].name, "carol")
            self.assertEqual(world.sql("SELECT first, last, skipped FROM folded"), [])

    def test_alone(self) -> None:
        """On a new server where nobody else is: the mailbox is there; what waited for others comes back."""
        content = self.exported()
        world = World(self.mktemp())
        world.sign_up("alice")
        world.close()
        self.assertEqual(self.imported(content, directory=world.path)[0], 0)
        found = {each["id"]: each for each in self.records(self.exported(directory=world.path))}
        self.assertEqual(found[1]["returned"], {"code": "unknown-recipient", "recipient": "bob"})
        self.assertEqual((found[1]["state"], found[1]["body"]), ("waiting", "to bob, waiting"))
        self.assertEqual(found[2]["state"], "delivered")
        self.assertNotIn("body", found[2])
        inbox = [each for each in self.records(content) if each["recipient"] == "alice"]
        self.assertEqual([found[each["id"]] for each in inbox], inbox)
        status, out, _ = called("audit", "--data", str(world.path))
        self.assertEqual(status, 0)
        self.assertIn("1 id left out by an import", out)
        self.assertIn("13 messages accepted", out)

    def test_takenIds(self) -> None:
        """Where other messages have the ids, new ones are given; a second time nothing is doubled."""
        content = self.exported()
        world = World(self.mktemp())
        zed, _ = world.sign_up("zed", "alice")
        world.clock.advance(5)
        for _ in range(9):
            world.send(zed, "alice", "mine")
        world.close()
        status, out, _ = self.imported(content, directory=world.path)
        self.assertEqual((status, out), (0, "13 messages imported (9 under a new id), 0 there already\n"))
        after = self.exported(directory=world.path)
        status, out, _ = self.imported(content, directory=world.path)
        self.assertEqual(out, "0 messages imported (0 under a new id), 13 there already\n")
        self.assertEqual(self.exported(directory=world.path), after)
        times = {each["time"] for each in self.records(content)}
        self.assertLess(times, {each["time"] for each in self.records(after)})

    def test_takenRef(self) -> None:
        """Where another message has the ref already, it keeps it: repeating that send stays harmless."""
        content = self.exported()
        world = World(self.mktemp())
        zed, alice = world.sign_up("zed", "alice")
        world.send(zed, "alice", "other")
        first = world.send(alice, "zed", "new", ref="r1").id
        world.close()
        self.assertEqual(self.imported(content, directory=world.path)[0], 0)
        world = World(world.path)
        self.addCleanup(world.close)
        alice = world.result(world.store.find("alice"))  # type: ignore[assignment]
        self.assertEqual(world.send(alice, "zed", "new", ref="r1").id, first)
        refs = world.sql("SELECT ref FROM ledger WHERE ref IS NOT NULL ORDER BY ref")
        self.assertEqual(refs, [("r1",), ("r2",), ("r3",), ("r5",)])

    def test_nobodyMeant(self) -> None:
        """What was sent to an empty name keeps its ref: elsewhere, too, repeating that send is harmless."""
        world = self.opened()
        world.send(self.alice, "", "to nobody at all", ref="r0")
        world.close()
        content = self.exported()
        other = World(self.mktemp())
        (alice,) = other.sign_up("alice")
        other.close()
        self.assertEqual(self.imported(content, directory=other.path)[0], 0)
        other = World(other.path)
        self.addCleanup(other.close)
        self.assertEqual(other.send(alice, "", "to nobody at all", ref="r0").id, 15)

    def test_folded(self) -> None:
        """What was folded meanwhile comes back under a new id: the ledger does not know the old one."""
        before = self.exported()
        self.wipe()
        world = self.opened()
        world.result(world.store.fold(world.now() + 1))
        world.close()
        status, out, _ = self.imported(before)
        self.assertEqual(status, 0)
        self.assertNotIn("(0 under a new id)", out)
        wanted = sorted(
            each["body"] for each in self.records(before) if each["recipient"] == "alice" and "body" in each
        )
        found = sorted(
            each["body"]
            for each in self.records(self.exported())
            if each["recipient"] == "alice" and "body" in each
        )
        self.assertEqual(found, wanted)

    def test_running(self) -> None:
        """While the server runs it is refused: that remembers what this would change."""
        before = self.exported()
        world = self.opened()
        status, out, err = self.imported(before)
        self.assertEqual((status, out), (2, ""))
        self.assertIn("A server is using", err)
        world.send(self.alice, "bob")

    def test_refused(self) -> None:
        """Whatever is wrong with the file is said with its line, no text is told, and nothing is changed."""
        before = self.exported()
        lines = before.splitlines(keepends=True)
        record = {"id": 99, "sender": "bob", "recipient": "alice", "time": "2026-11-22T21:07:00.123Z"}
        good = {**record, "state": "waiting", "body": "SECRET"}
        for wrong, words in (
            (b"", "is no mailbox"),
            (b"From bob\n", "is no mailbox"),
            (b'{"chat-mailbox":2,"account":"alice"}\n', "newer version"),
            (b'{"chat-mailbox":1,"account":"bob"}\n', "mailbox of 'bob', not of 'alice'"),
            (lines[0] + lines[1] + b"SECRET\n", "line 3"),
            (lines[0] + lines[1][:-9] + b"\n", "line 2"),
            (lines[0] + b"\xff\n", "line 2"),
            *(
                (b"".join(lines[:2]) + json.dumps({**good, **change}).encode() + b"\n", f"line 3: {why}")
                for change, why in (
                    ({"id": 0}, "Expected `int` >= 1"),
                    ({"id": 2**62}, "Expected `int` <="),
                    ({"id": "1"}, "Expected `int`"),
                    ({"extra": 1}, "Object contains unknown field"),
                    ({"state": "dead"}, "Invalid enum value"),
                    ({"time": "yesterday"}, "not an RFC 3339 time"),
                    ({"recipient": "carol"}, "neither from nor to"),
                    ({"sender": "B O B"}, "from nobody"),
                    ({"sender": "alice", "recipient": "B O B"}, "to nobody"),
                    ({"body": None}, "in a mailbox, but without"),
                    ({"state": "recalled"}, "from somebody else"),
                    ({"returned": {"code": "x", "recipient": "y"}}, "returned for a reason"),
                    ({"returned": {"code": "expired", "recipient": "y"}}, "returned, but not to"),
                    ({"sender": "alice", "recipient": "bob", "state": "removed"}, "removed, but not"),
                    ({"ref": "x"}, "only one of"),
                    ({"ref": "x" * 65, "digest": "AA=="}, "its ref"),
                    ({"ref": "x", "digest": "AA=="}, "from somebody else, but with a ref"),
                    ({"receipt": True}, "from somebody else, but with a ref"),
                    ({"subject": "x" * 257}, "its subject"),
                    ({"body": "x" * 65537}, "its body"),
                )
            ),
        ):
            status, out, err = self.imported(wrong)
            self.assertEqual((status, out, err.count("\n")), (2, "", 1), (words, out, err))
            self.assertIn(words, err)
            self.assertNotIn("SECRET", err)
            self.assertEqual(self.exported(), before)

    def test_noFile(self) -> None:
        """No such file, nobody of that name, data of the first version."""
        for arguments, words in (
            (["--data", str(self.path), "alice", "/nowhere"], "cannot be read"),
            (["--data", str(self.path), "zed", os.devnull], "no account called 'zed'"),
            (["--data", str(first_version(Path(self.mktemp()))), "alice", os.devnull], "earlier version"),
        ):
            status, out, err = called("import", *arguments)
            self.assertEqual((status, out, err.count("\n")), (2, "", 1), err)
            self.assertIn(words, err)

    def test_findings(self) -> None:
        """Where the audit finds something afterwards, whoever is to blame, nothing is imported."""
        before = self.exported()
        self.wipe()
        wiped = self.exported()
        connection = sqlite3.connect(path(self.path, "messages"))
        with connection:
            connection.execute("DELETE FROM ledger WHERE id = 13")
        connection.close()
        file = Path(self.mktemp())
        file.write_bytes(before)
        status, out, err = called("import", "--data", str(self.path), "alice", str(file))
        self.assertEqual((status, err), (1, ""))
        self.assertIn("message 13: missing", out)
        self.assertIn("nothing was imported", out)
        self.assertEqual(self.exported(), wiped)

    def test_noRoom(self) -> None:
        """No room: one line, nothing is imported."""
        before = self.exported()
        self.wipe()

        def full(*_: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        self.patch(importing, "judge", full)
        status, out, err = self.imported(before)
        self.assertEqual((status, out, err.count("\n")), (2, "", 1))
        self.assertNotEqual(self.exported(), before)
