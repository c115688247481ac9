"""Tests for C{chatctl invite}, C{invites} and C{passwd}: an operator's work beside a running server."""

from __future__ import annotations

import getpass
import io
import os
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from chat.accounts import Registration
from chat.admin import beside
from chat.admin.audit import audit
from chat.codes import plain
from chat.errors import Code, Refusal
from chat.invitation import COMMAND, Invitation, parse
from chat.store.layout import APPLICATION, NAMES, path, schema
from chat.tls.certificate import load, make, own
from chat.tls.fingerprint import parse as parse_fingerprint
from tests.encrypted import EncryptedCase
from tests.town import called, names
from tests.world import BEGINNING, PASSWORD, World, open_world

ANOTHER = "another password"
ADDRESS = ("--address", "chat.example:5311")


class CommandCase(SynchronousTestCase):
    """A server that runs, and its operator."""

    def setUp(self) -> None:
        """Alice has an account; nobody else can have one without an invitation."""
        self.world: World = open_world(self)
        (self.alice,) = self.world.sign_up("alice")
        self.world.accounts.registration = Registration.INVITE
        self.patch(time, "time", lambda: self.world.clock.seconds())

    def called(self, command: str, *arguments: str) -> tuple[int, str, str]:
        """What a command says."""
        return called(command, "--data", str(self.world.path), *arguments)

    def refused(self, command: str, *arguments: str) -> str:
        """What a command that cannot be carried out says."""
        status, out, err = self.called(command, *arguments)
        self.assertEqual((status, out), (2, ""))
        self.assertTrue(err.startswith(("chatctl: ", "usage: ")), err)
        return err

    def refusal(self, awaitable: Any) -> Code:
        """With which code this is refused."""
        refusal: Refusal = self.assertRaises(Refusal, self.world.result, awaitable)
        return refusal.code


class InviteTests(CommandCase):
    """Making, listing and revoking invitations."""

    def invite(self, *arguments: str) -> Invitation:
        """A new invitation, from the one line that is printed."""
        status, out, err = self.called("invite", *arguments)
        self.assertEqual((status, out.count("\n")), (0, 1), err)
        self.assertTrue(out.startswith(COMMAND))
        return parse(out.rstrip("\n"))

    def sign_up(self, name: str, invitation: Invitation) -> None:
        """Somebody follows it."""
        accounts = self.world.accounts
        shown = self.world.result(accounts.invited(invitation.code))
        self.world.result(accounts.sign_up(name, PASSWORD, (), shown))

    def test_invited(self) -> None:
        """Whoever has the line can sign up, once, at the server that is running."""
        invitation = self.invite(*ADDRESS)
        self.assertEqual(invitation, Invitation("chat.example", 5311, invitation.code))
        self.sign_up("carol", invitation)
        self.assertEqual(self.refusal(self.world.accounts.invited(invitation.code)), Code.WRONG_INVITE)
        self.assertEqual(names(audit(self.world.path)), [])

    def test_words(self) -> None:
        """What else is to be known is not on standard output, and holds no code."""
        _, out, err = self.called("invite", *ADDRESS, "--days", "2", "--uses", "3")
        self.assertEqual(err, "chatctl: invitation 1, good for 3 accounts until 2026-11-24T21:07:00.000Z\n")
        self.assertNotIn(parse(out.strip()).code, err)

    def test_kept(self) -> None:
        """No file holds the code, and nor does the record of what operators did."""
        code = self.invite(*ADDRESS).code
        self.world.close()
        stored = b"".join(file.read_bytes() for file in self.world.path.iterdir() if file.is_file())
        self.assertIn(b"chatctl invite", stored)
        for secret in (code, code.replace("-", "")):
            self.assertNotIn(secret.encode(), stored)

    def test_ends(self) -> None:
        """After its days it is worth nothing."""
        invitation = self.invite(*ADDRESS, "--days", "1")
        self.world.clock.advance(24 * 60 * 60 - 1)
        self.world.result(self.world.accounts.invited(invitation.code))
        self.world.clock.advance(1)
        self.assertEqual(self.refusal(self.world.accounts.invited(invitation.code)), Code.WRONG_INVITE)

    def test_pin(self) -> None:
        """The fingerprint of the server's own certificate is in the line; not on loopback, which is said."""
        pair = own(self.world.path)
        make(pair, ["chat.example"], BEGINNING)
        called = load(pair, BEGINNING).fingerprint
        for host in ("chat.example", "[2001:db8::7]", "192.0.2.7"):
            self.assertEqual(parse_fingerprint(self.invite("--address", f"{host}:5311").pin or ""), called)
        for host in ("localhost", "[::1]", "127.0.0.2"):
            self.assertIs(self.invite("--address", f"{host}:5311").pin, None)
            self.assertIn(
                f"no fingerprint is in the line, since doors on loopback speak TLS only with --tls: if this"
                f" one does, --certificate {pair.certificate} puts it there",
                self.called("invite", "--address", f"{host}:5311")[2],
            )
        file = ("--certificate", str(pair.certificate))
        self.assertEqual(parse_fingerprint(self.invite("--address", "localhost:1", *file).pin or ""), called)

    def test_badCertificate(self) -> None:
        """What is no certificate is not pinned, and nothing is made."""
        for content, word in ((None, "cannot be read"), ("", "no certificate"), ("\xe9", "no certificate")):
            file = Path(self.mktemp())
            if content is not None:
                file.write_text(content, "utf-8")
            self.assertIn(word, self.refused("invite", *ADDRESS, "--certificate", str(file)))
        self.assertEqual(self.called("invites")[1], "0 invitations\n")

    def test_address(self) -> None:
        """Without an address it leads to this machine, and says so; one that cannot be is refused."""
        self.patch(beside, "PATIENCE", 1)
        with mock.patch("socket.getfqdn", return_value="here.example"):
            status, out, err = self.called("invite")
        self.assertEqual(
            (status, parse(out.strip()).host, parse(out.strip()).port), (0, "here.example", 5311)
        )
        self.assertIn("leads to here.example:5311; --address HOST:PORT names another place", err)
        with mock.patch("socket.getfqdn", return_value="here\x1b"):
            self.assertIn("--address", self.refused("invite"))
        for address in ("chat.example", "chat.example:", ":1", "h:0", "h:65536", "h:x", "h:" + "9" * 5000):
            self.assertIn("is not HOST:PORT", self.refused("invite", "--address", address))
        self.assertIn("--address", self.refused("invite", "--address", "a b:1"))

    def test_numbers(self) -> None:
        """Days and uses are numbers from 1 on."""
        for option in ("--days", "--uses"):
            for text in ("0", "-1", "1.5", "x", "36501", "9" * 5000, "\u0663"):
                self.assertIn(
                    "is no number from 1 to 36500", self.refused("invite", *ADDRESS, f"{option}={text}")
                )

    def test_list(self) -> None:
        """Each has a line with what it is good for, until a week after its end."""
        self.invite(*ADDRESS)
        self.invite(*ADDRESS, "--uses", "2", "--days", "9")
        used = self.invite(*ADDRESS)
        self.sign_up("carol", used)
        made = "made 2026-11-22T21:07:00.000Z"
        self.assertEqual(
            self.called("invites")[1].splitlines(),
            [
                f"1  {made}, good for 1 account until 2026-11-29T21:07:00.000Z",
                f"2  {made}, good for 2 accounts until 2026-12-01T21:07:00.000Z",
                f"3  {made}, used up",
                "3 invitations",
            ],
        )
        self.world.clock.advance(8 * 24 * 60 * 60)
        self.assertIn(f"1  {made}, ended 2026-11-29T21:07:00.000Z", self.called("invites")[1])
        self.world.clock.advance(7 * 24 * 60 * 60)
        self.assertEqual(self.called("invites")[1].count("\n"), 2)
        self.invite(*ADDRESS)
        self.assertRegex(self.called("invites")[1], "^2  .*\n4  .*\n2 invitations\n$")

    def test_noNumber(self) -> None:
        """An invitation has a number."""
        for text in ("0", "-1", "x", "9" * 19, "9" * 5000):
            self.assertIn("is no number from 1 on", self.refused("invites", f"--revoke={text}"))

    def test_revoke(self) -> None:
        """One that is revoked is worth nothing from that moment on."""
        invitation = self.invite(*ADDRESS)
        self.assertEqual(self.called("invites", "--revoke", "1"), (0, "invitation 1 is revoked\n", ""))
        self.assertEqual(self.called("invites", "--revoke", "1")[:2], (1, "invitation 1 does not exist\n"))
        self.assertEqual(self.refusal(self.world.accounts.invited(invitation.code)), Code.WRONG_INVITE)

    def test_stopped(self) -> None:
        """It need not run; the files are as they should be afterwards, and the server takes the code."""
        self.world.close()
        invitation = self.invite(*ADDRESS)
        self.assertEqual(names(audit(self.world.path)), [])
        modes = {file.stat().st_mode & 0o777 for file in self.world.path.glob("*.db*")}
        self.assertEqual(modes, {0o600})
        self.world = World(self.world.path, clock=self.world.clock, registration=Registration.INVITE)
        self.addCleanup(self.world.close)
        self.sign_up("carol", invitation)

    def test_unusable(self) -> None:
        """No data, files of an earlier version, files that cannot be written."""
        nowhere = ("--data", self.mktemp())
        self.assertEqual(called("invite", *nowhere, *ADDRESS)[0], 2)
        old = Path(self.mktemp())
        old.mkdir()
        for name in NAMES:
            connection = sqlite3.connect(path(old, name))
            connection.executescript(
                f"{schema(name, 1)}PRAGMA application_id = {APPLICATION}; PRAGMA user_version = 1;"
            )
            connection.close()
        status, _, err = called("invites", "--data", str(old))
        self.assertEqual(status, 2)
        self.assertIn("of an earlier version: start the server once", err)

    def test_busy(self) -> None:
        """Where somebody else writes and does not end, it is given up."""
        self.patch(beside, "PATIENCE", 0)
        holder = sqlite3.connect(path(self.world.path, "users"), isolation_level=None)
        self.addCleanup(holder.close)
        holder.execute("BEGIN IMMEDIATE")
        self.assertRegex(self.refused("invite", *ADDRESS), "Nothing was written .*locked.*; try again")

    def test_notWritable(self) -> None:
        """Where nothing can be written, that is said, with what to do."""
        with mock.patch("chat.store.invitations.make") as make:
            make.side_effect = sqlite3.OperationalError("attempt to write a readonly database")
            self.assertIn("as the user that the server runs as", self.refused("invite", *ADDRESS))


class PasswdTests(CommandCase):
    """A new password, or a way to one."""

    def passwd(self, *arguments: str, typed: str = "") -> tuple[int, str, str]:
        """The command, with this on its standard input."""
        self.patch(sys, "stdin", io.StringIO(typed))
        return self.called("passwd", *arguments)

    def works(self, password: str) -> bool:
        """Whether this is Alice's password now."""
        try:
            self.world.result(self.world.accounts.log_in("alice", password))
        except Refusal:
            return False
        return True

    def test_changed(self) -> None:
        """A line from standard input is the new password; tokens go, sessions get no new ones."""
        accounts = self.world.accounts
        admission = self.world.result(accounts.log_in("alice", PASSWORD))
        token = self.world.result(accounts.issue(admission)).value
        for end in ("\n", "\r\n", ""):
            status, out, err = self.passwd("Alice", typed=ANOTHER + end)
            self.assertEqual(
                (status, out, err),
                (0, "the password of 'alice' is changed; its tokens and recovery codes are void\n", ""),
            )
            self.assertEqual((self.works(PASSWORD), self.works(ANOTHER)), (False, True))
        self.assertEqual(self.refusal(accounts.resume("alice", token)), Code.WRONG_TOKEN)
        self.assertEqual(self.refusal(accounts.issue(admission)), Code.BAD_STATE)
        self.assertEqual(names(audit(self.world.path)), [])

    def test_terminal(self) -> None:
        """On a terminal it is asked twice, and not shown."""
        terminal = mock.Mock(isatty=lambda: True)
        for answers, status in (([ANOTHER, ANOTHER], 0), ([ANOTHER, PASSWORD], 2)):
            asked: list[str] = []

            def ask(prompt: str, asked: list[str] = asked, answers: list[str] = answers) -> str:
                asked.append(prompt)
                return answers[len(asked) - 1]

            self.patch(getpass, "getpass", ask)
            self.patch(sys, "stdin", terminal)
            self.assertEqual(self.called("passwd", "alice")[0], status)
            self.assertEqual(asked, ["New password for 'alice': ", "Again: "])
        self.assertTrue(self.works(ANOTHER))

    def test_nothingTyped(self) -> None:
        """Whoever ends the input, or types in another encoding, is told so, and nothing is shown of it."""
        terminal = mock.Mock(isatty=lambda: True)
        wrong = io.TextIOWrapper(io.BytesIO(b"caf\xe9 SECRET\n"), "utf-8")
        for stdin, answer, words in (
            (terminal, mock.Mock(side_effect=EOFError), "No password was typed; nothing was changed."),
            (wrong, None, "That is no text in the encoding of this terminal; nothing was changed."),
        ):
            self.patch(sys, "stdin", stdin)
            self.patch(getpass, "getpass", answer)
            self.assertEqual(self.refused("passwd", "alice"), f"chatctl: {words}\n")
        self.assertTrue(self.works(PASSWORD))

    def test_cost(self) -> None:
        """The hash costs as much as the one before."""
        self.passwd("alice", typed=ANOTHER)
        ((hashed,),) = self.world.sql("SELECT hash FROM passwords.passwords")
        self.assertTrue(hashed.startswith("$2b$04$"))

    def test_refused(self) -> None:
        """A password that cannot be one, nobody's account: nothing is changed, and no password is said."""
        for name, typed, word in (
            ("alice", "short", "8 to 1024 bytes"),
            ("alice", "", "Nothing was changed"),
            ("carol", ANOTHER, "no account"),
            ("", ANOTHER, "no account"),
        ):
            status, out, err = self.passwd(name, typed=typed)
            self.assertEqual((status, out), (2, ""))
            self.assertIn(word, err)
            self.assertNotIn(typed or "(nothing)", err)
        self.assertTrue(self.works(PASSWORD))

    def test_deletedMeanwhile(self) -> None:
        """Of an account that is deleted while its password is typed nothing is brought back."""
        with mock.patch("chat.admin.passwd._asked") as asked:
            asked.side_effect = lambda name: self.world.delete(self.alice) or ANOTHER.encode()  # type: ignore[func-returns-value]
            status, _, err = self.called("passwd", "alice")
        self.assertEqual((status, err), (2, "chatctl: The account 'alice' is just being deleted.\n"))
        self.assertEqual(names(audit(self.world.path)), [])

    def test_code(self) -> None:
        """With a code the owner chooses, once and in time; nothing else is changed."""
        codes = []
        for days in ("7", "1"):
            status, out, err = self.passwd("alice", "--code", "--days", days)
            self.assertEqual(status, 0)
            code = out.rstrip("\n")
            self.assertEqual(plain(code, 4), code)
            self.assertNotIn(code, err)
            codes.append(code)
        self.assertEqual(
            err, "chatctl: a recovery code for 'alice', good once until 2026-11-23T21:07:00.000Z\n"
        )
        self.assertTrue(self.works(PASSWORD))
        self.world.clock.advance(2 * 24 * 60 * 60)
        accounts = self.world.accounts
        self.assertEqual(self.refusal(accounts.recovering("alice", codes[1])), Code.WRONG_RECOVERY)
        recovering = self.world.result(accounts.recovering("alice", codes[0]))
        self.world.result(accounts.recover(recovering, ANOTHER))
        self.assertTrue(self.works(ANOTHER))
        self.assertEqual(self.refusal(accounts.recovering("alice", codes[0])), Code.WRONG_RECOVERY)

    def test_notAnArgument(self) -> None:
        """There is no way to give a password as an argument, where others could see it."""
        self.assertIn("unrecognized arguments", self.refused("passwd", "alice", ANOTHER))
        self.assertIn("unrecognized arguments", self.refused("passwd", "alice", "--password", ANOTHER))

    def test_damaged(self) -> None:
        """Files that cannot be read are named as such."""
        self.world.close()
        file = path(self.world.path, "passwords")
        with open(file, "r+b") as stream:
            stream.seek(4096)
            stream.write(b"\xa5" * (os.path.getsize(file) - 4096))
        status, _, err = self.passwd("alice", typed=ANOTHER)
        self.assertEqual(status, 2)
        self.assertIn("audit", err)


class EncryptedTests(EncryptedCase):
    """The same where passwords.db has a key."""

    def test_passwd(self) -> None:
        """With the key it works; without it nothing is changed, and it is said what is missing."""
        world = self.world()
        world.sign_up("alice")
        where = ("alice", "--data", str(self.path))
        self.patch(sys, "stdin", io.StringIO(f"{ANOTHER}\n"))
        status, _, err = called("passwd", *where)
        self.assertEqual(status, 2)
        self.assertIn("--password-key", err)
        status, out, _ = called("passwd", *where, "--password-key", str(self.key))
        self.assertEqual((status, out.split()[-1]), (0, "void"))
        world.result(world.accounts.log_in("alice", ANOTHER))
