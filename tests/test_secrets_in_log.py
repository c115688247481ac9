"""The log of a whole conversation, at every level, searched for what was secret in it."""

from __future__ import annotations

import base64
import json
import re
import urllib.parse
from contextlib import contextmanager
from typing import Any, Iterator

from twisted.internet import defer
from twisted.logger import LogLevel

from chat.accounts import Accounts, Registration
from chat.codes import INVITATION_GROUPS, digest, new_code
from chat.protocol import ChatProtocol
from chat.session import Session
from chat.store import invitations
from chat.store.intake import Intake
from chat.store.mailboxes import Mailboxes
from chat.store.passwords import Passwords
from tests.logbook import LogBook
from tests.network import Client, NetworkTestCase
from tests.talker import Said, keywords
from tests.wire import Wire

#: What is planted, and must not be found. Each is too odd to be in a log by chance.
PASSWORD = "pw-Qx7\u00e9\n-secret".replace("\n", "")
NEW_PASSWORD = "pw-Zk9\u00fc-secret"
WRONG = "pw-Wr0ng-secret"
AS_NAME = "pw-typed-as-name-secret"
SUBJECT = "subject-\u00df\x1b-secret"
BODY = "body-\u20ac\n\u202e-secret"
REF = "ref-secret"


def disguises(secret: str) -> set[str]:
    """What a secret may look like in a log: as it is, escaped, in base64 at any offset, in hex."""
    octets = secret.encode()
    found = {
        secret,
        secret.strip(),
        json.dumps(secret)[1:-1],
        repr(secret)[1:-1],
        ascii(secret)[1:-1],
        repr(octets)[2:-1],
        octets.hex(),
        octets.hex(" "),
        octets.hex().upper(),
        urllib.parse.quote(secret),
    }
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for offset in range(3):
            # Whatever stands before it: the characters that only the secret decides.
            encoded = encode(b"x" * offset + octets).decode().rstrip("=")
            found.add(encoded[offset + (offset > 0) : -2])
    return found


class SecretsTests(NetworkTestCase):
    """Every way to say something secret, with errors provoked on the way."""

    def setUp(self) -> None:
        """A server whose every word is kept."""
        self.log = LogBook(self)
        self.armed = True
        self.start()
        self.secrets = {PASSWORD, NEW_PASSWORD, WRONG, AS_NAME, SUBJECT, BODY, REF}

    def assertSilent(self, *, written: bool = False) -> None:
        """Nothing secret is in the log, in whatever form.

        @param written: look only at what is written to a log file.
        """
        log = self.log.text if written else self.log.whole
        for failure in self.flushLoggedErrors():
            log += failure.getTraceback() + repr(failure.value)
        for secret in self.secrets:
            for disguise in disguises(secret):
                at = log.find(disguise)
                self.assertEqual(at, -1, f"{disguise!r}: {log[max(0, at - 300) : at + 100]}")

    def names_(self) -> list[str]:
        """What the journal has, in order."""
        return [event["event"] for event in self.log.events if "event" in event]

    def hear(self, client: Client, *expected: str) -> list[Said]:
        """Hear this, and keep as secrets what was told in confidence."""
        heard = self.assertHears(client, *expected)
        for frame in heard:
            self.secrets.update(frame.get("recovery", ()))
            self.secrets.update(frame.get("codes", ()))
            if frame.get("keyword") == "token-issued":
                self.secrets.add(frame["value"])
        return heard

    def sign_up(self, client: Client, name: str, secret: str) -> list[str]:
        """Make an account; its recovery codes."""
        client.answer("username", name)
        client.answer("password", secret, codes=True)
        heard = self.hear(client, "new-password", "created", "username")
        return list(heard[1]["recovery"])

    def converse(self, codec: str) -> None:
        """All there is to say."""
        bob = self.network.user("bob", codec)
        client = self.network.connect(codec)
        client.answer("username", AS_NAME)
        client.answer("password", WRONG[:3])  # too short
        self.hear(client, "new-password", "failed bad-password", "username")
        codes = self.sign_up(client, "alice", PASSWORD)
        client.say_login("alice", WRONG)
        self.hear(client, "password", "failed wrong-password", "username")
        client.say_login("alice", PASSWORD)
        self.hear(client, "password", "welcome")
        client.system("token")
        (token,) = self.hear(client, "token-issued")
        client.send("bob", BODY, subject=SUBJECT, ref=REF, receipt=True)
        client.send("nobody", BODY, subject=SUBJECT)
        self.hear(client, "accepted", "accepted", "message")
        (message,) = self.hear(bob, "message")
        bob.received(message["id"])
        bob.system("read", ids=[message["id"]])
        bob.system("list", box="inbox")
        self.hear(bob, "messages", "listing")
        self.hear(client, "delivered")
        client.send("bob", BODY + "!", ref=REF)
        client.send("bob", BODY * 10_000, subject=SUBJECT)
        self.hear(client, "failed ref-reused", "failed too-large")
        client.system("change-password", password=WRONG, new=NEW_PASSWORD)
        client.system("change-password", password=PASSWORD, new=NEW_PASSWORD)
        client.system("recovery", password=WRONG)
        client.system("recovery", password=NEW_PASSWORD)
        heard = self.hear(
            client,
            *("failed wrong-password", "password-changed", "failed wrong-password", "recovery-codes"),
        )
        client.system("logout", all=True)
        self.hear(client, "logged-out", "username")
        for field, value, code in (
            ("token", token["value"], "wrong-token"),
            ("recovery", codes[0], "wrong-recovery"),
        ):
            client.answer("username", "alice")
            client.answer(field, value)
            self.hear(client, "password", f"failed {code}", "username")
        client.answer("username", "alice")
        client.answer("recovery", heard[-1]["codes"][0])
        client.answer("password", PASSWORD)
        self.hear(client, "password", "new-password", "password-changed", "username")
        client.say_login("alice", PASSWORD)
        client.system("delete-account", password=WRONG)
        client.system("delete-account", password=PASSWORD)
        self.hear(
            client,
            *("password", "welcome", "message"),
            *("failed wrong-password", "account-deleted", "username"),
        )

    def test_conversation(self) -> None:
        """The log tells who did what, from where; and nothing else."""
        for codec in ("json", "der"):
            with self.subTest(codec):
                self.start()
                del self.log.events[:]
                self.converse(codec)
                self.assertEqual(
                    self.names_(),
                    [
                        *("signed-up", "logged-in"),  # bob
                        *("signed-up", "login-failed", "logged-in", "token-issued"),
                        *("refused", "password-changed", "refused", "codes-made", "tokens-revoked"),
                        *("login-failed", "login-failed", "recovered", "logged-in"),
                        *("refused", "deleted"),
                    ],
                )
                for event in self.log.events:
                    self.assertEqual(event["address"], "local")
                    self.assertIn(event["account"], ("alice", "bob"))
                self.assertSilent()

    def test_unknownNames(self) -> None:
        """Of a login to no account it is told that it failed; the name may be a password, and is not."""
        self.start(registration=Registration.CLOSED)
        client = self.network.connect()
        client.say_login(AS_NAME, WRONG)
        self.hear(client, "password", "failed wrong-password", "username")
        self.assertEqual(self.names_(), ["login-failed"])
        self.assertSilent()

    def test_invitation(self) -> None:
        """Invitations that are good, and those that are not."""
        self.start(registration=Registration.INVITE)
        good, bad = new_code(INVITATION_GROUPS), new_code(INVITATION_GROUPS)
        self.secrets |= {good, bad, good.lower(), bad.replace("-", "")}
        moment = self.network.now()

        def make(cursor: Any) -> int:
            return invitations.make(cursor, digest(good, INVITATION_GROUPS), moment, moment + 1000, 1)

        self.successResultOf(self.network.disk.runInteraction(make))
        client = self.network.connect()
        client.answer("invite", bad)
        self.hear(client, "failed wrong-invite", "username")
        client.answer("invite", good)
        self.hear(client, "username")
        self.sign_up(client, "alice", PASSWORD)
        self.assertEqual(self.names_(), ["login-failed", "signed-up"])
        self.assertSilent()

    def test_text(self) -> None:
        """The same at the text door, where everything is typed."""
        protocol = self.network.doors["text"].buildProtocol(None)
        wire = Wire(protocol)
        protocol.makeConnection(wire)
        seen = b""
        for line in (
            *("alice", PASSWORD, PASSWORD, "alice", WRONG, "alice", PASSWORD),
            *(
                "/token",
                f"/to bob {BODY}".replace("\n", ""),
                f"/{AS_NAME}",
                "/passwd",
                WRONG,
                NEW_PASSWORD,
                NEW_PASSWORD,
            ),
            *(
                "/passwd",
                PASSWORD,
                NEW_PASSWORD,
                NEW_PASSWORD,
                "/delete-account",
                WRONG,
                "/delete-account",
                NEW_PASSWORD,
            ),
        ):
            wire.arrive(line.encode() + b"\n")
            self.network.settle()
            seen += wire.read()
        self.secrets.update(re.findall(r"until .*: (\S{20,})", seen.decode()))
        self.secrets.update(re.findall(r"\b[a-z0-9]{4}(?:-[a-z0-9]{4}){3}\b", seen.decode()))
        self.assertEqual(len(self.secrets), 7 + 1 + 8)
        self.assertIn("deleted", self.names_())
        self.assertSilent()

    def test_broken(self) -> None:
        """Errors, wherever they happen: the log has the traceback, and not what was being said."""
        for owner, name in (
            (Session, "_user"),
            (Session, "_accept"),
            (Accounts, "change_password"),
            (Accounts, "issue"),
            (Session, "_enter"),
            (ChatProtocol, "send"),
            (Intake, "accept"),
            (Mailboxes, "read"),
            (Passwords, "verify"),
            (Passwords, "set"),
            (Passwords, "issue"),
        ):
            with self.subTest(f"{owner.__name__}.{name}"):
                with self.breaks(owner, name) as broken:
                    self.armed = False  # the store keeps some of these functions when it is made
                    self.start()
                    self.network.user("bob")
                    del self.log.events[:]
                    self.armed = True
                    clients = [self.network.connect() for _ in range(5)]
                    clients[0].say_login("alice", PASSWORD)
                    clients[0].say_login("alice", PASSWORD)
                    clients[1].say_login("bob", WRONG)
                    for client in clients[2:]:
                        client.say_login("bob")
                        client.send("bob", BODY, subject=SUBJECT, ref=REF)
                        client.system("read", ids=[1])
                        client.system("change-password", password="password of bob", new=NEW_PASSWORD)
                        client.system("token")
                        for frame in client.hear():
                            if frame.get("keyword") == "token-issued":
                                self.secrets.add(frame["value"])
                self.assertGreater(len(broken), 0, name)
                levels = {event["log_level"] for event in self.log.events}
                self.assertIn(LogLevel.critical, levels)
                self.assertSilent()

    def test_debugging(self) -> None:
        """Twisted's debugging keeps what every variable held, but the log file has none of it."""
        defer.setDebugging(True)
        self.addCleanup(defer.setDebugging, False)
        for owner, name in ((Passwords, "verify"), (Accounts, "change_password"), (Session, "_accept")):
            client = self.network.user("bob")
            with self.breaks(owner, name):
                client.system("change-password", password=PASSWORD, new=NEW_PASSWORD)
                client.send("bob", BODY, subject=SUBJECT, ref=REF)
                client.hear()
            self.assertSilent(written=True)

    @contextmanager
    def breaks(self, owner: Any, name: str) -> Iterator[list[object]]:
        """Meanwhile two of three calls of this function fail; the list tells how often."""
        function = getattr(owner, name)
        calls: list[object] = []
        failed: list[object] = []

        def broken(*arguments: Any, **more: Any) -> Any:
            calls.extend([None] * self.armed)
            if self.armed and len(calls) % 3:
                failed.append(None)
                raise ZeroDivisionError("on purpose")
            return function(*arguments, **more)

        patched = self.patch(owner, name, broken)
        yield failed
        patched.restore()


class SearchTests(NetworkTestCase):
    """The search finds what it looks for."""

    def test_found(self) -> None:
        """In each of the forms in which a secret may be there."""
        for secret in (PASSWORD, BODY, SUBJECT):
            octets = secret.encode()
            for log in (
                f"x{secret}y",
                json.dumps({"value": secret}),
                repr({"value": secret}),
                repr(b"junk" + octets),
                (b"ab" + octets + b"cd").hex(),
                *(base64.b64encode(b"z" * before + octets + b"tail").decode() for before in range(6)),
                *(base64.urlsafe_b64encode(b"z" * before + octets).decode() for before in range(6)),
            ):
                self.assertTrue(any(disguise in log for disguise in disguises(secret)), (secret, log))
        self.assertFalse(any(len(disguise) < 8 for disguise in disguises(REF)))

    def test_keywords(self) -> None:
        """What the conversation of these tests says is understood, so that nothing is skipped."""
        client = self.network.user("alice")
        client.system("recovery", password="password of alice")
        self.assertEqual(keywords(client.hear()), ["recovery-codes"])
