"""Tests for whom a client trusts: a server that it meets for the first time."""

from __future__ import annotations

import io
import re
import shlex
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pexpect
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase, TestCase

from chat.admin.main import main as chatctl
from chat.client import (
    KnownServers,
    Trust,
)
from chat.client.address import Host
from chat.client.console import EndOfInput
from chat.client.known import AUTHORITIES
from chat.client.trusting import Trusting
from chat.messages import Login
from chat.tls.certificate import Identity
from chat.tls.fingerprint import fingerprint, words
from tests.line_case import TERMINALS, Daemon, LineTests, ScriptedConsole
from tests.secure_case import AUTHORITY, FIRST, SECOND, Plain, SecureCase, ServerSide, der, full, vouching
from tests.terminals import put_away

reactor: Any = global_reactor


class MeetingTests(SecureCase, LineTests):
    """A person at the console meets a server."""

    def meet(self, trusting: dict[str, Any] | None = None, **more: Any) -> Deferred[int]:
        """Start the line client with a server that has TLS."""
        trust = Trust(self.known, learn=True, **(trusting or {}))
        self.line = self.endpoint(trust)  # type: ignore[assignment]
        return self.begin(trust=trust, **more)

    QUESTION = "Is it the right one? (yes, no, or what it should be called) "

    def test_yes(self) -> None:
        """What the server is called is shown before anything is asked or sent; then it is known."""
        self.meet()
        shown = "\n".join(self.console.shown)
        for part in (
            "a.example:5311",
            fingerprint(der(FIRST)),
            words(der(FIRST)),
            "signed by nobody but itself",
        ):
            self.assertIn(part, shown)
        self.assertEqual((self.console.asked, self.server.sessions[-1].number), ([self.QUESTION], 0))
        self.assertEqual(self.server.heard, [])
        self.type("yes", "alice", "wonderland")
        self.assertIn("Welcome, alice.", self.console.shown[-1])
        self.assertEqual(self.known.marks("a.example:5311"), [fingerprint(der(FIRST))])
        self.type("/quit")
        self.console.asked.clear()
        self.meet(username="alice", password="wonderland")
        self.assertEqual(self.console.asked, [])
        self.assertIn("Welcome, alice.", self.console.shown[-1])

    def test_no(self) -> None:
        """Whoever says no, or leaves, has sent nothing, and it stays unknown."""
        for answer, status in (("no", 1), (EndOfInput(), 0)):
            ended = self.meet()
            self.type(answer)
            self.assertEqual(self.successResultOf(ended), status)
        self.assertEqual(self.complaints, ["Nothing was sent."])
        self.assertEqual((self.server.heard, list(self.known)), ([], []))

    def test_words(self) -> None:
        """The words, as they were told on the telephone, may be typed instead: they are compared."""
        self.meet()
        self.type("yes please", None, words(der(FIRST)).upper())
        self.assertEqual(self.console.asked, [self.QUESTION] * 3 + ["Username: "])
        self.assertEqual(self.known.marks("a.example:5311"), [fingerprint(der(FIRST))])

    def test_not_writable(self) -> None:
        """Where it cannot be written down, that is said, and it goes on."""
        self.meet()
        self.known.path.parent.mkdir(parents=True, exist_ok=True)
        self.patch(self.known, "_write", full)
        self.type("yes")
        self.assertIn("No space left", self.console.shown[-2])
        self.assertIn("asked again", self.console.shown[-2])
        self.assertEqual(self.console.asked[-1], "Username: ")

    def test_other_words(self) -> None:
        """Those of another certificate mean no."""
        ended = self.meet()
        self.type(fingerprint(der(SECOND)))
        self.assertEqual(self.successResultOf(ended), 1)
        self.assertEqual(list(self.known), [])

    def test_accepted_elsewhere_meanwhile(self) -> None:
        """While a person thinks, another program may have accepted another certificate."""
        ended = self.meet()
        self.known.learn("a.example:5311", fingerprint(der(SECOND)))
        self.type("yes")
        self.assertEqual(self.successResultOf(ended), 1)
        self.assertIn("HAS CHANGED", self.complaints[0])

    def test_changed(self) -> None:
        """A known server that shows another certificate is refused, with the way to accept it."""
        self.known.learn("a.example:5311", fingerprint(der(SECOND)))
        ended = self.meet()
        self.assertEqual(self.successResultOf(ended), 1)
        for part in (fingerprint(der(FIRST)), fingerprint(der(SECOND)), "chat trust a.example:5311 SHA256:"):
            self.assertIn(part, self.complaints[0])
        self.assertEqual((self.console.asked, self.server.heard), ([], []))

    def test_changed_before_the_password(self) -> None:
        """Nor is a password sent to a server that has changed while it was typed."""
        ended = self.meet(trusting={"accept_new": True})
        self.type("alice")
        self.secure.identity = SECOND
        self.type("wonderland")
        self.assertEqual(self.successResultOf(ended), 1)
        self.assertIn("HAS CHANGED", self.complaints[0])
        self.assertNotIn("password", [frame.field for frame in self.server.frames(Login)])

    def test_changed_in_the_conversation(self) -> None:
        """A server that comes back as another one ends the conversation, and the program."""
        ended = self.meet(trusting={"accept_new": True}, username="alice", password="wonderland")
        self.secure.identity = SECOND
        self.session().cut()
        self.run_for(0.5)
        self.type("/to bob Are you there?")
        self.run_for(5)
        self.assertEqual(self.successResultOf(ended), 1)
        shown = "\n".join(self.console.shown)
        self.assertIn("1 message is not known to be sent.", self.console.shown)
        self.assertIn("The conversation is over: THE CERTIFICATE OF a.example:5311 HAS CHANGED.", shown)
        self.assertIn(f"  chat trust a.example:5311 {fingerprint(der(SECOND))}", self.console.shown)

    def test_no_tls(self) -> None:
        """A server without TLS ends the program at once: waiting would not help."""
        self.secure.identity = None
        self.assertEqual(self.successResultOf(self.meet()), 5)
        self.assertIn("does not speak TLS", self.complaints[0])

    def test_unreadable(self) -> None:
        """With a list of known servers that is damaged, nothing is sent."""
        self.known.path.parent.mkdir(parents=True, exist_ok=True)
        self.known.path.write_text("a.example:5311 SHA256:\n")
        self.assertEqual(self.successResultOf(self.meet()), 1)
        self.assertIn("Line 1 of", self.complaints[0])

    # --- invitations ---

    def test_invited(self) -> None:
        """Who was invited chooses a name and a password, and is there; the server is that of the line."""
        self.server.invites = {"7q2m"}
        self.server.recovery_codes = ["f3x9-aaaa", "0k2m-bbbb"]
        self.meet(trusting={"expected": fingerprint(der(FIRST))}, invite="7q2m", sign_up=True)
        self.type("alice", "", "carol", "secret word", "secret word")
        self.assertIn(
            "This name is taken. If it is yours, type its password; Enter goes back.", self.console.shown
        )
        self.assertEqual(
            self.console.asked,
            ["Username: ", "(Password: )", "Username: ", "(New password: )", "(Again: )"],
        )
        self.assertEqual(self.server.accounts["carol"], "secret word")
        shown = "\n".join(self.console.shown)
        self.assertIn("  f3x9-aaaa\n  0k2m-bbbb\nWelcome, carol.", shown)
        self.assertIn("Write them down", shown)
        self.assertEqual(self.known.marks("a.example:5311"), [fingerprint(der(FIRST))])

    def test_invited_elsewhere(self) -> None:
        """A server that is not that of the invitation learns nothing of it."""
        self.server.invites = {"7q2m"}
        ended = self.meet(trusting={"expected": fingerprint(der(SECOND))}, invite="7q2m", sign_up=True)
        self.assertEqual(self.successResultOf(ended), 1)
        self.assertIn(fingerprint(der(SECOND)), self.complaints[0])
        self.assertEqual((self.server.heard, list(self.known)), ([], []))

    def test_invited_by_somebody_else(self) -> None:
        """A server that is known by another certificate is refused before it learns the code or a name."""
        self.server.invites = {"7q2m"}
        self.known.learn("a.example:5311", fingerprint(der(SECOND)))
        pin = {"expected": fingerprint(der(FIRST)), "replace": False}
        ended = self.meet(trusting=pin, invite="7q2m", sign_up=True)
        self.assertEqual(self.successResultOf(ended), 1)
        self.assertIn(f"chat trust a.example:5311 {fingerprint(der(FIRST))}", self.complaints[0])
        self.assertEqual(self.server.heard, [])
        self.assertEqual(self.known.marks("a.example:5311"), [fingerprint(der(SECOND))])

    def test_invitation_used_up(self) -> None:
        """A code that is not good ends the program: another name would not make it better."""
        self.server.invites = set()
        ended = self.meet(trusting={"accept_new": True}, invite="7q2m", sign_up=True)
        self.type("carol")
        self.assertEqual(self.successResultOf(ended), 1)
        self.assertIn("wrong-invite", self.complaints[0])

    # --- recovery ---

    def test_recovered(self) -> None:
        """Who has forgotten the password types a recovery code and a new one, and is there."""
        self.server.recoveries = {"f3x9": "alice"}
        self.meet(trusting={"accept_new": True}, recover=True)
        self.type("carol", "alice", "", "alice", "f3x9", "looking glass", "looking glass")
        self.assertIn("There is no account 'carol' on this server.", self.console.shown)
        self.assertEqual(
            self.console.asked,
            [
                *("Username: ", "Username: ", "(Recovery code: )", "Username: ", "(Recovery code: )"),
                *("(New password: )", "(Again: )"),
            ],
        )
        self.assertEqual(self.server.accounts["alice"], "looking glass")
        self.assertEqual(self.console.shown[-1], "The new password is in force.")
        self.type("/logout", "alice", "looking glass")
        self.assertEqual(self.console.asked[-1], "(Password: )")

    def test_wrong_recovery_code(self) -> None:
        """A code that is not good is refused, and another one may be typed."""
        self.server.recoveries = {"f3x9": "alice"}
        self.meet(trusting={"accept_new": True}, recover=True)
        self.type("alice", "0k2m", "looking glass", "looking glass")
        self.assertIn("Not this one. (wrong-recovery)", self.console.shown)
        self.type("alice", "f3x9", "looking glass", "looking glass")
        self.assertEqual(self.server.accounts["alice"], "looking glass")


class ScriptMeetingTests(SecureCase, LineTests):
    """A script meets a server."""

    interactive = False

    def meet(self, **trusting: Any) -> Deferred[int]:
        """Start the line client as a script does, with a server that has TLS."""
        trust = Trust(self.known, learn=True, **trusting)
        self.line = self.endpoint(trust)  # type: ignore[assignment]
        self.console.type(EndOfInput())
        return self.begin(trust=trust, username="alice", password="wonderland")

    def test_unknown(self) -> None:
        """Nobody can be asked: it is refused."""
        self.assertEqual(self.successResultOf(self.meet()), 1)
        self.assertIn("is not known yet", self.complaints[0])
        self.assertEqual((self.console.asked, self.server.heard), ([], []))

    def test_named(self) -> None:
        """A script that names the certificate is let in, there and nowhere else."""
        ended = self.meet(expected=words(der(FIRST)))
        self.run_for(6)
        self.assertEqual(self.successResultOf(ended), 0)
        self.known.remove("a.example:5311")
        self.assertEqual(self.successResultOf(self.meet(expected=words(der(SECOND)))), 1)

    def test_accept_new(self) -> None:
        """One that takes any takes any once."""
        ended = self.meet(accept_new=True)
        self.run_for(6)
        self.assertEqual(self.successResultOf(ended), 0)
        self.secure.identity = SECOND
        self.assertEqual(self.successResultOf(self.meet(accept_new=True)), 1)
        self.assertIn("HAS CHANGED", self.complaints[-1])


class TrustingTests(TestCase):
    """C{chat trust}, with a real port."""

    timeout = 300

    async def listen(self, identity: Identity | None) -> Host:
        """A server with this certificate, or without TLS; it notes what it hears."""
        self.heard: list[bytes] = []

        factory: Any = Factory.forProtocol(lambda: Plain(self.heard))
        if identity is not None:
            factory = TLSMemoryBIOFactory(ServerSide(identity, [b"chat/json"], []), False, factory)
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
        self.addCleanup(port.stopListening)
        return Host("localhost", port.getHost().port)

    def trusting(self, *typed: str | Exception, interactive: bool = True) -> Trusting:
        """The command, and somebody who types this."""
        self.console = ScriptedConsole(interactive)
        self.console.type(*typed)
        self.complaints: list[str] = []
        return Trusting(self.known, self.console, self.complaints.append)

    async def _accept(self) -> None:
        self.known = KnownServers(Path(self.mktemp()) / "known_servers")
        host = await self.listen(FIRST)
        name = fingerprint(der(FIRST))

        for typed, interactive in (("no", True), (EndOfInput(), True), ("yes", False)):
            self.assertEqual(
                await self.trusting(typed, interactive=interactive).accept(reactor, host, None), 1
            )
            self.assertEqual(
                self.complaints, [f"Nothing was changed. To accept it: chat trust {host.name} {name}"]
            )
        for part in (
            host.name,
            name,
            words(der(FIRST)),
            "signed by nobody but itself; it is not for localhost",
        ):
            self.assertIn(part, "\n".join(self.console.shown))
        self.assertEqual(await self.trusting().accept(reactor, host, words(der(SECOND))), 1)
        self.assertIn(words(der(SECOND)), self.complaints[0])
        self.assertEqual(list(self.known), [])

        self.assertEqual(await self.trusting("yes").accept(reactor, host, None), 0)
        self.assertEqual(self.known.marks(host.name), [name])
        self.assertEqual(await self.trusting().accept(reactor, host, None), 0)
        self.assertEqual(self.console.shown[-1], "It is the one that is known.")

        self.known.replace(host.name, fingerprint(der(SECOND)))
        trusting = self.trusting(interactive=False)
        self.assertEqual(await trusting.accept(reactor, host, name), 0)
        self.assertIn(f"Known until now: {fingerprint(der(SECOND))}", self.console.shown)
        self.assertEqual(self.known.marks(host.name), [name])
        self.assertEqual(self.heard, [])

        self.console.shown.clear()
        self.assertEqual((trusting.list(), self.console.shown), (0, [f"{host.name} {name}"]))
        self.assertEqual((trusting.remove(host), self.console.shown[-1]), (0, f"{host.name} is forgotten."))
        self.assertEqual((trusting.remove(host), self.complaints[-1]), (1, f"{host.name} was not known."))
        self.assertEqual(trusting.list(), 0)
        self.assertIn(str(self.known.path), self.console.shown[-1])

    def test_accept(self) -> Deferred[None]:
        """The certificate is shown, then asked or compared; nothing is said to the server."""
        return Deferred.fromCoroutine(self._accept())

    async def _vouched_for(self) -> None:
        self.addCleanup(vouching(Path(self.mktemp())))
        self.known = KnownServers(Path(self.mktemp()) / "known_servers")
        host = await self.listen(AUTHORITY.identity("localhost"))
        self.assertEqual(await self.trusting(interactive=False).accept(reactor, host, None), 0)
        self.assertEqual(self.known.marks(host.name), [AUTHORITIES])
        self.assertIn("An authority that this machine knows vouches for it.", self.console.shown)

    def test_vouched_for(self) -> Deferred[None]:
        """What an authority vouches for need not be asked, and may be renewed."""
        return Deferred.fromCoroutine(self._vouched_for())

    async def _not_there(self) -> None:
        self.known = KnownServers(Path(self.mktemp()) / "known_servers")
        host = await self.listen(None)
        self.assertEqual(await self.trusting().accept(reactor, host, None), 5)
        self.assertIn("does not speak TLS", self.complaints[0])
        nobody = Host("localhost", 1)
        self.assertEqual(await self.trusting().accept(reactor, nobody, None), 5)
        self.assertIn("cannot be reached", self.complaints[0])

    def test_not_there(self) -> Deferred[None]:
        """Where there is no server, or none with TLS, that is said."""
        return Deferred.fromCoroutine(self._not_there())


class WholeTests(SynchronousTestCase):
    """The programs, and a server that speaks TLS on this machine and asks for invitations."""

    def setUp(self) -> None:
        """Start it."""
        self.daemon = Daemon("--tls", "--registration", "invite")
        self.addCleanup(self.daemon.close)
        self.certificate = self.daemon.directory / "data" / "tls-certificate.pem"
        self.address = self.daemon.addresses["json"]

    def shown(self) -> bytes:
        """The certificate that the server has."""
        return x509.load_pem_x509_certificate(self.certificate.read_bytes()).public_bytes(Encoding.DER)

    def invitation(self) -> str:
        """A new one, as it is pasted."""
        out = io.StringIO()
        with redirect_stdout(out), redirect_stderr(io.StringIO()):
            data, pin = str(self.daemon.directory / "data"), str(self.certificate)
            status = chatctl(["invite", "--data", data, "--address", self.address, "--certificate", pin])
        self.assertEqual(status, 0)
        return shlex.split(out.getvalue())[2]

    def chat(self, *arguments: str, typed: str = "") -> tuple[int, str]:
        """Run the client as a script: exit status, and all that it said."""
        done = self.daemon.chat(*arguments, typed=typed.encode())
        return done.returncode, (done.stdout + done.stderr).decode()

    def meet(self) -> None:
        """At a terminal the server is shown, and what is typed is compared; then it is known."""
        terminal = self.daemon.terminal(f"tls://{self.address}", "--plain", *self.daemon.user("alice"))
        self.addCleanup(put_away, terminal)
        terminal.expect_exact(words(self.shown()))
        terminal.expect_exact("what it should be called) ")
        terminal.sendline(words(self.shown()))
        terminal.expect_exact("Wrong user name or password.")  # there is no such account yet
        terminal.expect(pexpect.EOF)
        known = KnownServers(self.daemon.directory / "config" / "chat" / "known_servers")
        self.assertEqual(known.marks(self.address), [fingerprint(self.shown())])

    def test_from_the_invitation_on(self) -> None:
        """Met, invited, recovered, changed, accepted: as docs/client.rst tells it."""
        if TERMINALS:
            self.meet()
        status, said = self.chat("join", self.invitation(), *self.daemon.user("alice"))
        self.assertEqual(status, 0, said)
        self.assertIn("Welcome, alice.", said)
        code = re.search(r"^  ([0-9a-z]{4}(?:-[0-9a-z]{4})+)$", said, re.MULTILINE)
        assert code is not None, said

        new = self.daemon.directory / "alice"
        new.write_text("a new password of alice\n")
        status, said = self.chat("recover", self.address, *self.daemon.user("alice"), typed=f"{code[1]}\n")
        self.assertEqual(status, 0, said)
        self.assertIn("The new password is in force.", said)

        before = fingerprint(self.shown())
        self.daemon.stop()
        self.certificate.unlink()
        self.certificate.with_name("tls-key.pem").unlink()
        self.daemon.start()
        after = fingerprint(self.shown())
        send = ("send", "alice", "--server", self.address, *self.daemon.user("alice"))
        status, said = self.chat(*send, typed="hello")
        self.assertEqual(status, 1, said)
        for part in ("HAS CHANGED", before, after, f"chat trust {self.address} {after}"):
            self.assertIn(part, said)
        status, said = self.chat("join", self.invitation(), *self.daemon.user("bob"))
        self.assertEqual(status, 1, said)
        for part in ("An invitation names", before, after, f"chat trust {self.address} {after}"):
            self.assertIn(part, said)
        self.assertEqual(self.chat("trust", self.address, *words(self.shown()).split())[0], 0)
        self.assertEqual(self.chat(*send, typed="hello"), (0, ""))
