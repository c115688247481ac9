"""Whom the client trusts: certificates, the file of known servers, and TLS before the first word."""

from __future__ import annotations

import datetime
import io
import ipaddress
import os
import re
import shlex
import stat
import threading
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, Callable
from unittest import skipIf, skipUnless

import pexpect
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from filelock import FileLock
from OpenSSL import SSL
from twisted.internet import reactor as global_reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.error import ConnectionRefusedError, NoProtocol
from twisted.internet.interfaces import IAddress, IOpenSSLServerConnectionCreator, IProtocol, IProtocolFactory
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.test import iosim
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from chat.admin.main import main as chatctl
from chat.client import (
    ChangedServer,
    Client,
    Disconnected,
    KnownServers,
    KnownServersError,
    NotChat,
    NoTLS,
    PlaintextRefused,
    Stopped,
    Trust,
    UnknownServer,
    WrongServer,
    endpoint_from,
    known,
)
from chat.client.address import Host, host_from
from chat.client.connection import ConnectionFactory
from chat.client.console import EndOfInput
from chat.client.known import AUTHORITIES
from chat.client.once import Order, Sender, send_once
from chat.client.secure import SecureEndpoint
from chat.client.trust import Shown, claim
from chat.client.trusting import Trusting
from chat.messages import Login
from chat.tls.certificate import Identity
from chat.tls.context import context
from chat.tls.fingerprint import fingerprint, words
from chat.wire import Codec
from tests.terminals import put_away
from tests.test_client import ClientTests, Line, MemoryServer, MemorySession
from tests.test_line_client import TERMINALS, Daemon, LineTests, ScriptedConsole

reactor: Any = global_reactor

#: Whether the rights of files mean anything: not on Windows.
RIGHTS = os.name == "posix"

ONE, OTHER = b"one certificate", b"another one"
DOUBTS = ("it was signed by nobody but itself",)


def full(*arguments: object) -> None:
    """What happens to who writes to a full disk."""
    raise OSError(28, "No space left on device")


class KnownServersTests(SynchronousTestCase):
    """The file of known servers."""

    def setUp(self) -> None:
        """A file that is not there yet."""
        self.path = Path(self.mktemp()) / "chat" / "known_servers"
        self.known = KnownServers(self.path)

    def written(self, text: str) -> None:
        """The file holds this."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(text, "utf-8")

    def test_nothing_yet(self) -> None:
        """Without a file nothing is known, and asking makes none."""
        self.assertEqual((self.known.marks("a.example:5311"), list(self.known)), ([], []))
        self.assertFalse(self.path.parent.exists())

    def test_learned(self) -> None:
        """What was learned is there for the next program."""
        self.assertEqual(self.known.learn("a.example:5311", fingerprint(ONE)), [fingerprint(ONE)])
        self.known.learn("[2001:db8::1]:5311", AUTHORITIES)
        again = KnownServers(self.path)
        self.assertEqual(
            list(again), [("a.example:5311", fingerprint(ONE)), ("[2001:db8::1]:5311", AUTHORITIES)]
        )
        self.assertEqual(again.marks("a.example:5312"), [])

    def test_learned_meanwhile(self) -> None:
        """What another program has learned first stands."""
        self.known.learn("a.example:5311", fingerprint(ONE))
        self.assertEqual(self.known.learn("a.example:5311", fingerprint(OTHER)), [fingerprint(ONE)])

    @skipUnless(RIGHTS, "the rights of files mean nothing here")
    def test_rights(self) -> None:
        """Nobody else can read or change whom we trust."""
        self.known.learn("a.example:5311", fingerprint(ONE))
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(self.path.parent.stat().st_mode), 0o700)

    def test_comments(self) -> None:
        """What a person has written beside is kept, wherever it stands."""
        text = f"# mine\n\na.example:5311 {fingerprint(ONE)} the one in the cellar\n# end\n"
        self.written(text)
        self.known.learn("b.example:5311", fingerprint(ONE))
        self.assertEqual(self.path.read_text(), f"{text}b.example:5311 {fingerprint(ONE)}\n")
        self.known.replace("b.example:5311", fingerprint(OTHER))
        self.assertEqual(self.path.read_text(), f"{text}b.example:5311 {fingerprint(OTHER)}\n")
        self.assertTrue(self.known.remove("b.example:5311"))
        self.assertEqual(self.path.read_text(), text)
        self.assertFalse(self.known.remove("b.example:5311"))

    def test_written_by_hand(self) -> None:
        """Small letters and a fingerprint without colons are understood, and two lines for one server."""
        digits = fingerprint(ONE).replace("SHA256:", "").replace(":", "").lower()
        self.written(f"A.example:5311 {digits}\na.example:5311 {fingerprint(OTHER)}\n")
        self.assertEqual(self.known.marks("a.example:5311"), [fingerprint(ONE), fingerprint(OTHER)])

    def test_not_understood(self) -> None:
        """A damaged line does not make its server an unknown one: it is named, and nothing is known."""
        self.written(f"# mine\na.example:5311 {fingerprint(ONE)[:-3]}\n")
        error = self.assertRaises(KnownServersError, self.known.marks, "a.example:5311")
        self.assertIn(f"Line 2 of {self.path}", str(error))
        self.assertRaises(KnownServersError, self.known.learn, "a.example:5311", fingerprint(OTHER))

    def test_unreadable(self) -> None:
        """A file that cannot be read, or is no text, is not taken for an empty one."""
        self.path.mkdir(parents=True)
        self.assertIn(
            str(self.path), str(self.assertRaises(KnownServersError, self.known.marks, "a.example:5311"))
        )
        self.path.rmdir()
        self.path.write_bytes(b"\xff\xfe")
        self.assertIn("UTF-8", str(self.assertRaises(KnownServersError, self.known.marks, "a.example:5311")))

    def test_no_folder(self) -> None:
        """Where no file can be made, that is said."""
        blocked = Path(self.mktemp())
        blocked.write_text("")
        error = self.assertRaises(
            KnownServersError, KnownServers(blocked / "known").learn, "a.example:5311", AUTHORITIES
        )
        self.assertIn("cannot be written", str(error))

    def test_whole_or_not_at_all(self) -> None:
        """A change that fails half way leaves the file as it was, and nothing beside it."""
        self.known.learn("a.example:5311", fingerprint(ONE))
        before = self.path.read_bytes()
        self.patch(os, "replace", full)
        error = self.assertRaises(KnownServersError, self.known.remove, "a.example:5311")
        self.assertIn("No space left", str(error))
        self.assertEqual(self.path.read_bytes(), before)
        names = {each.name for each in self.path.parent.iterdir()}
        self.assertEqual(names - {"known_servers.lock"}, {"known_servers"})

    def test_many_at_once(self) -> None:
        """Programs that write at the same time lose nothing of each other's."""

        def learn(number: int) -> None:
            mine = KnownServers(self.path)
            for each in range(5):
                mine.learn(f"{number}.example:{each}", fingerprint(ONE))

        threads = [threading.Thread(target=learn, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(list(self.known)), 30)

    def test_locked(self) -> None:
        """A program that never lets go of the file is not waited for for ever."""
        self.patch(known, "_LOCK_SECONDS", 0.01)
        self.path.parent.mkdir(parents=True)
        with FileLock(f"{self.path}.lock"):
            error = self.assertRaises(KnownServersError, self.known.remove, "a.example:5311")
        self.assertIn("locked", str(error))

    @skipUnless(RIGHTS, "links need rights here")
    def test_link(self) -> None:
        """Where the file is a link, it stays one."""
        self.path.parent.mkdir(parents=True)
        real = (self.path.parent / "elsewhere").absolute()
        self.path.symlink_to(real)
        self.known.learn("a.example:5311", AUTHORITIES)
        self.assertTrue(self.path.is_symlink())
        self.assertIn("a.example", real.read_text())

    @skipIf(os.name == "nt", "another variable has the folder there")
    def test_place(self) -> None:
        """It is below XDG_CONFIG_HOME, if that is a path from the root, else below ~/.config."""
        for config, place in (
            ("/nowhere/mine", "/nowhere/mine/chat/known_servers"),
            ("relative", "/nowhere/me/.config/chat/known_servers"),
            ("", "/nowhere/me/.config/chat/known_servers"),
        ):
            self.patch(os, "environ", {"HOME": "/nowhere/me", "XDG_CONFIG_HOME": config})
            self.assertEqual(KnownServers().path, Path(place))

    def test_homeless(self) -> None:
        """A user without a home is told what to do."""
        self.patch(os, "environ", {})
        self.patch(os.path, "expanduser", lambda path: path)
        self.assertIn("set ", str(self.assertRaises(KnownServersError, KnownServers().marks, "a:1")))


class TrustTests(SynchronousTestCase):
    """Whether a certificate is the right one."""

    def setUp(self) -> None:
        """Nothing is known yet."""
        self.known = KnownServers(Path(self.mktemp()) / "known_servers")

    def decide(self, trust: Trust, certificate: bytes, doubts: tuple[str, ...] = DOUBTS) -> None:
        """The server at a.example shows this certificate."""
        trust.decide("a.example:5311", Shown(certificate, doubts))

    def test_unknown(self) -> None:
        """A certificate that nobody vouches for is refused, with its names and what to do, and not kept."""
        trust = Trust(self.known, learn=True)
        error = self.assertRaises(UnknownServer, self.decide, trust, ONE)
        for part in (fingerprint(ONE), words(ONE), *DOUBTS, f"chat trust a.example:5311 {fingerprint(ONE)}"):
            self.assertIn(part, str(error))
        self.assertFalse(self.known.path.exists())

    def test_accepted(self) -> None:
        """Once a person has accepted it, it is the only one that will do, in other programs as well."""
        trust = Trust(self.known, learn=True)
        trust.accept(self.assertRaises(UnknownServer, self.decide, trust, ONE))
        self.decide(trust, ONE)
        self.decide(Trust(self.known), ONE)
        error = self.assertRaises(ChangedServer, self.decide, Trust(self.known, accept_new=True), OTHER)
        for part in (
            fingerprint(ONE),
            fingerprint(OTHER),
            words(OTHER),
            f"chat trust a.example:5311 {fingerprint(OTHER)}",
        ):
            self.assertIn(part, str(error))

    def test_accepted_elsewhere(self) -> None:
        """Two programs whose users accept different servers at the same moment do not both go on."""
        trust = Trust(self.known, learn=True)
        error = self.assertRaises(UnknownServer, self.decide, trust, ONE)
        self.known.learn("a.example:5311", fingerprint(OTHER))
        self.assertRaises(ChangedServer, trust.accept, error)
        self.assertRaises(ChangedServer, self.decide, trust, ONE)

    def test_accept_new(self) -> None:
        """A program may be told to accept what it meets first, and that is all it accepts."""
        trust = Trust(self.known, accept_new=True, learn=True)
        self.decide(trust, ONE)
        self.assertRaises(ChangedServer, self.decide, trust, OTHER)
        self.assertEqual(self.known.marks("a.example:5311"), [fingerprint(ONE)])

    def test_accepted_first_elsewhere(self) -> None:
        """What another program has learned in the same moment counts, not what we meet."""
        trust = Trust(self.known, accept_new=True, learn=True)
        self.patch(self.known, "marks", lambda address: [])
        self.patch(self.known, "learn", lambda address, mark: [fingerprint(OTHER)])
        self.assertRaises(ChangedServer, self.decide, trust, ONE)

    def test_vouched_for(self) -> None:
        """What an authority vouches for is taken, and may be renewed; what none vouches for, no more."""
        trust = Trust(self.known, accept_new=True, learn=True)
        self.decide(trust, ONE, ())
        self.assertEqual(self.known.marks("a.example:5311"), [AUTHORITIES])
        self.decide(trust, OTHER, ())
        error = self.assertRaises(ChangedServer, self.decide, trust, ONE)
        self.assertIn("an authority vouches for", str(error))

    def test_known_before_authorities(self) -> None:
        """Nor does an authority help, where one certificate is known: anybody might have fooled it."""
        self.known.learn("a.example:5311", fingerprint(ONE))
        self.assertRaises(ChangedServer, self.decide, Trust(self.known), OTHER, ())
        self.decide(Trust(self.known), ONE, ())

    def test_named(self) -> None:
        """A certificate that was named is taken, by fingerprint or words, in place of what was known."""
        for name in (fingerprint(ONE), words(ONE)):
            self.known.replace("a.example:5311", fingerprint(OTHER))
            trust = Trust(self.known, expected=claim(name), learn=True)
            self.assertTrue(trust.demanded)
            error = self.assertRaises(WrongServer, self.decide, trust, OTHER, ())
            self.assertIn(name, str(error))
            self.assertEqual(self.known.marks("a.example:5311"), [fingerprint(OTHER)])
            self.decide(trust, ONE)
            self.assertEqual(self.known.marks("a.example:5311"), [fingerprint(ONE)])
            self.assertRaises(ChangedServer, self.decide, trust, OTHER)

    def test_named_and_vouched_for(self) -> None:
        """Who has named one certificate gets no other one after a reconnection, whoever vouches for it."""
        for name in (fingerprint(ONE), words(ONE)):
            for before in (fingerprint(OTHER), AUTHORITIES):
                self.known.replace("a.example:5311", before)
                trust = Trust(self.known, expected=name, learn=True)
                self.decide(trust, ONE, ())
                self.assertEqual(self.known.marks("a.example:5311"), [fingerprint(ONE)])
                self.assertRaises(ChangedServer, self.decide, trust, OTHER, ())
                self.decide(trust, ONE, ())

    def test_named_for_the_run(self) -> None:
        """That holds as long as the program runs, whatever the file says meanwhile."""
        trust = Trust(self.known, expected=fingerprint(ONE), learn=True)
        self.decide(trust, ONE, ())
        self.known.replace("a.example:5311", AUTHORITIES)
        self.assertRaises(ChangedServer, self.decide, trust, OTHER, ())

    def invited(self, name: str = fingerprint(ONE)) -> Trust:
        """What is trusted on an invitation with this pin."""
        return Trust(self.known, expected=name, replace=False, learn=True)

    def test_invited_against_what_is_known(self) -> None:
        """An invitation does not take the place of what is known: anybody may have written it."""
        for mark, doubts in ((fingerprint(OTHER), DOUBTS), (fingerprint(OTHER), ()), (AUTHORITIES, DOUBTS)):
            self.known.replace("a.example:5311", mark)
            trust = self.invited()
            for _ in range(2):
                error = self.assertRaises(ChangedServer, self.decide, trust, ONE, doubts)
                self.assertEqual(self.known.marks("a.example:5311"), [mark])
            for part in (
                "vouches for" if mark is AUTHORITIES else mark,
                fingerprint(ONE),
                words(ONE),
                "Nothing was sent",
                "An invitation names the new one, which proves nothing",
                f"chat trust a.example:5311 {fingerprint(ONE)}",
            ):
                self.assertIn(part, str(error))
            self.known.replace("a.example:5311", fingerprint(ONE))  # as that command does
            self.decide(trust, ONE, doubts)

    def test_invited_with_what_is_known(self) -> None:
        """One that fits what is known leaves that as it is, and binds as long as the program runs."""
        for mark, doubts in ((fingerprint(ONE), DOUBTS), (fingerprint(ONE), ()), (AUTHORITIES, ())):
            self.known.replace("a.example:5311", mark)
            trust = self.invited()
            self.decide(trust, ONE, doubts)
            self.assertEqual(self.known.marks("a.example:5311"), [mark])
            self.assertRaises(ChangedServer, self.decide, trust, OTHER, ())

    def test_invited_to_the_unknown(self) -> None:
        """The pin of an invitation is what is known of a server from then on, if nothing was."""
        for doubts in (DOUBTS, ()):
            self.known.remove("a.example:5311")
            trust = self.invited()
            self.assertRaises(WrongServer, self.decide, trust, OTHER, ())
            self.decide(trust, ONE, doubts)
            self.assertEqual(self.known.marks("a.example:5311"), [fingerprint(ONE)])

    def test_invited_with_a_damaged_file(self) -> None:
        """Where nobody can tell whether the server is known, an invitation does not help."""
        self.known.path.parent.mkdir(parents=True)
        self.known.path.write_text("a.example:5311 SHA256:00\n")
        self.assertRaises(KnownServersError, self.decide, self.invited(), ONE)

    def test_program(self) -> None:
        """A program's own trust writes nothing, but remembers as long as it runs."""
        for trust in (
            Trust(self.known, expected=fingerprint(ONE)),
            Trust(self.known, accept_new=True),
        ):
            self.decide(trust, ONE)
            self.assertRaises(ChangedServer, self.decide, trust, OTHER)
        self.assertFalse(self.known.path.exists())

    def test_not_writable(self) -> None:
        """Where nothing can be written, what somebody was sure of counts until the program ends."""
        self.known.path.parent.mkdir(parents=True)
        self.patch(self.known, "_write", full)
        trust = Trust(self.known, expected=fingerprint(ONE), learn=True)
        self.decide(trust, ONE)
        self.assertRaises(ChangedServer, self.decide, trust, OTHER)
        trust = Trust(self.known, learn=True)
        self.decide(trust, ONE, ())
        self.assertRaises(ChangedServer, self.decide, trust, OTHER)
        trust = Trust(self.known, learn=True)
        error = self.assertRaises(UnknownServer, self.decide, trust, ONE)
        self.assertRaises(KnownServersError, trust.accept, error)
        self.decide(trust, ONE)
        self.assertRaises(ChangedServer, self.decide, trust, OTHER)

    def test_not_written_not_accepted(self) -> None:
        """But what is new is not accepted then, or it would be new each time."""
        self.known.path.parent.mkdir(parents=True)
        self.patch(self.known, "_write", full)
        trust = Trust(self.known, accept_new=True, learn=True)
        self.assertRaises(KnownServersError, self.decide, trust, ONE)

    def test_named_again(self) -> None:
        """Naming what is known already changes nothing in the file."""
        self.known.learn("a.example:5311", fingerprint(ONE))
        self.patch(self.known, "_write", full)
        self.decide(Trust(self.known, expected=fingerprint(ONE), learn=True), ONE)

    def test_claims(self) -> None:
        """A name is taken however it is typed; anything else is refused with what it should be."""
        for text in (
            fingerprint(ONE),
            f" {fingerprint(ONE).lower()} ",
            fingerprint(ONE)[7:].replace(":", ""),
        ):
            self.assertEqual(claim(text), fingerprint(ONE))
        for text in (words(ONE), words(ONE).upper(), words(ONE).replace(" ", "-"), f"  {words(ONE)}  "):
            self.assertEqual(claim(text), words(ONE))
        for text in ("", "yes", "abandon ability", fingerprint(ONE)[:-1], "1 2 3 4 5 6 7 8"):
            self.assertIn("words", str(self.assertRaises(ValueError, claim, text)))


class HostTests(SynchronousTestCase):
    """Which servers are spoken to with TLS."""

    def setUp(self) -> None:
        """Nothing is known yet."""
        self.known = KnownServers(Path(self.mktemp()) / "known_servers")

    def secure(self, address: str, plaintext: bool = False, **more: Any) -> bool:
        """Whether it is TLS that is spoken at this address."""
        trust = Trust(self.known, **more)
        endpoint = endpoint_from(MemoryReactorClock(), address, trust=trust, plaintext=plaintext)
        return isinstance(endpoint, SecureEndpoint)

    def test_elsewhere(self) -> None:
        """A host that is not this machine is spoken to with TLS, unless it is said not to."""
        for address in ("a.example:5311", "a.example", "192.0.2.1:5311", "[2001:db8::1]:5311", "tls://a"):
            self.assertTrue(self.secure(address), address)
            self.assertFalse(self.secure(address, plaintext=True), address)

    def test_here(self) -> None:
        """This machine is spoken to without, unless it is said, or a certificate is named or known."""
        for address in ("localhost", "LOCALHOST.:5311", "127.0.0.1:5311", "127.3.2.1", "[::1]:5311"):
            self.assertFalse(self.secure(address), address)
            self.assertTrue(self.secure(f"tls://{address}"), address)
            self.assertTrue(self.secure(address, expected=fingerprint(ONE)), address)
        self.known.learn("localhost:5311", fingerprint(ONE))
        self.assertTrue(self.secure("localhost:5311"))
        self.assertFalse(self.secure("localhost:5312"))

    def test_never_back(self) -> None:
        """A server whose certificate is known is not spoken to without TLS, even if that is asked for."""
        self.known.learn("a.example:5311", AUTHORITIES)
        error = self.assertRaises(PlaintextRefused, self.secure, "A.Example.:5311", plaintext=True)
        self.assertIn("chat trust --remove a.example:5311", str(error))
        self.assertRaises(
            PlaintextRefused, Client, MemoryReactorClock(), "a.example", "a", "b", plaintext=True,
            trust=Trust(self.known),
        )  # fmt: skip

    def test_names(self) -> None:
        """One server has one name in the file, however it is written."""
        for address, name in (
            ("A.Example:05311", "a.example:5311"),
            ("a.example.", "a.example:5311"),
            ("[2001:DB8:0:0::1]:7", "[2001:db8::1]:7"),
            ("tls://192.0.2.1", "192.0.2.1:5311"),
        ):
            host = host_from(address)
            assert host is not None
            self.assertEqual(host.name, name)

    def test_ports(self) -> None:
        """Where no port is named, it is the usual one of the codec."""
        self.assertEqual(host_from("a.example"), Host("a.example", 5311))
        self.assertEqual(host_from("tls://a", Codec.DER), Host("a", 5312, True))
        self.assertEqual(host_from("localhost", "der"), Host("localhost", 5312))
        self.assertEqual(host_from("send"), None)
        self.assertEqual(host_from("unix:/x"), None)


# --- TLS in memory -----------------------------------------------------------------------------


class Authority:
    """Signs certificates."""

    def __init__(self, name: str = "The authority of a test") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        basic = x509.BasicConstraints(ca=True, path_length=None)
        self.certificate = (
            self._begin(self._name, self._key, 1)
            .add_extension(basic, critical=True)
            .sign(self._key, hashes.SHA256())
        )

    def identity(self, *hosts: str, days: int = 1, alone: bool = False) -> Identity:
        """A certificate for these hosts, and its key.

        @param days: for how long it is good; a negative number, since when it is not.
        @param alone: it signs itself.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        names = [_general(host) for host in hosts]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a server")])
        certificate = (
            self._begin(subject, key, days, issuer=subject if alone else self._name)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(key if alone else self._key, hashes.SHA256())
        )
        return Identity(certificate, (), key)

    def _begin(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, days: int, issuer: x509.Name | None = None
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.timezone.utc)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer or subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=10))
            .not_valid_after(now + datetime.timedelta(days=days))
        )


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


AUTHORITY = Authority()
#: The certificates that most tests need; they sign themselves.
FIRST, SECOND = AUTHORITY.identity("a.example", alone=True), AUTHORITY.identity("a.example", alone=True)


def der(identity: Identity) -> bytes:
    """The certificate's bytes."""
    return identity.certificate.public_bytes(Encoding.DER)


def vouching(file: Path) -> Callable[[], None]:
    """The system knows the L{AUTHORITY}, and no other, until what this returns is called."""
    file.write_bytes(AUTHORITY.certificate.public_bytes(Encoding.PEM))
    before = os.environ.get("SSL_CERT_FILE")
    os.environ["SSL_CERT_FILE"] = str(file.absolute())

    def back() -> None:
        del os.environ["SSL_CERT_FILE"]
        if before is not None:
            os.environ["SSL_CERT_FILE"] = before

    return back


@implementer(IOpenSSLServerConnectionCreator)
class ServerSide:
    """The server's side of TLS; like the server's own."""

    def __init__(self, identity: Identity, protocols: list[bytes], names: list[bytes | None]) -> None:
        self._context = context(identity, protocols)
        self._context.set_tlsext_servername_callback(
            lambda connection: names.append(connection.get_servername())
        )

    def serverConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        """See L{IOpenSSLServerConnectionCreator}."""
        return SSL.Connection(self._context, None)


class Plain(Protocol):
    """A server that speaks no TLS, as another door would, and notes what it hears."""

    def __init__(self, heard: list[bytes]) -> None:
        self._heard = heard

    def connectionMade(self) -> None:
        """Speak first."""
        assert self.transport is not None
        self.transport.write(b'{"type":"system","data":{"keyword":"version"}}\n')

    def dataReceived(self, data: bytes) -> None:
        """Note it."""
        self._heard.append(data)


class SecureLine(Line):
    """The way to a L{MemoryServer} with TLS; what is there instead of it can be said.

    @ivar identity: the certificate that is shown; C{None}: no TLS is spoken.
    @ivar protocols: what the server can agree upon by ALPN.
    @ivar mute: whether it never says a word.
    @ivar names: which servers were asked for by name.
    @ivar heard: what came to the one that speaks no TLS.
    """

    def __init__(self, server: MemoryServer, clock: Clock, codec: Codec = Codec.JSON) -> None:
        super().__init__(server, codec)
        self.identity: Identity | None = FIRST
        self.protocols = [b"chat/json", b"chat/der"]
        self.mute = False
        self.names: list[bytes | None] = []
        self.heard: list[bytes] = []
        self._clock = clock

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """See L{IStreamClientEndpoint.connect}."""
        self.attempts += 1
        protocol: Any = factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 5311))
        session: Any = Protocol() if self.mute else self._session()
        client = iosim.FakeTransport(protocol, isServer=False)
        server = iosim.FakeTransport(session, isServer=True)
        protocol.makeConnection(client)
        session.makeConnection(server)
        self.pumps.append(iosim.IOPump(protocol, session, client, server, False))
        return succeed(protocol)

    def _session(self) -> IProtocol:
        if self.identity is None:
            return Plain(self.heard)
        session = MemorySession(self.server, self.codec)

        class Sessions(Factory):
            def buildProtocol(self, addr: IAddress | None) -> Protocol:
                return session

        side = ServerSide(self.identity, self.protocols, self.names)
        tls = TLSMemoryBIOFactory(side, False, Sessions(), clock=self._clock).buildProtocol(
            IPv4Address("TCP", "192.0.2.2", 50000)
        )
        assert tls is not None
        return tls


class SecureCase(ClientTests):
    """What the tests with TLS in memory start from."""

    def setUp(self) -> None:
        """A server with a certificate that it has signed itself, and that nobody knows."""
        super().setUp()
        self.known = KnownServers(Path(self.mktemp()) / "known_servers")
        self.secure = SecureLine(self.server, self.clock, self.codec)
        self.lines.append(self.secure)

    def flush(self) -> None:
        """Carry all bytes to where they go, those too that TLS keeps back for a moment."""
        super().flush()
        while any(call.getTime() <= self.clock.seconds() for call in self.clock.getDelayedCalls()):
            self.clock.advance(0)
            super().flush()

    def endpoint(self, trust: Trust | None = None, host: str = "a.example") -> SecureEndpoint:
        """The way to the server, with TLS."""
        trust = Trust(self.known) if trust is None else trust
        return SecureEndpoint(
            self.clock, self.secure, host, lambda shown: trust.decide(f"{host}:5311", shown)
        )

    def enter(self, trust: Trust | None = None, host: str = "a.example", **more: Any) -> Deferred[Any]:
        """Start a client there."""
        started = self.client(line=self.endpoint(trust, host), **more).start()
        self.flush()
        return started

    def vouch(self) -> None:
        """From now on the system has an authority."""
        self.addCleanup(vouching(Path(self.mktemp())))


class SecureTests(SecureCase):
    """The client library, TLS and certificates."""

    def test_unknown(self) -> None:
        """To a server that is not known nothing is said, and the client stops."""
        error = self.failureResultOf(self.enter(), UnknownServer).value
        self.assertEqual(error.fingerprint, fingerprint(der(FIRST)))
        self.assertEqual(error.doubts, ("it was signed by nobody but itself",))
        self.assertEqual(self.server.heard, [])
        self.run_for(300)
        self.assertEqual((self.secure.attempts, len(self.stopped)), (1, 1))

    def test_known(self) -> None:
        """With a server that is known all is as without TLS."""
        self.known.learn("a.example:5311", fingerprint(der(FIRST)))
        client = self.client(line=self.endpoint())
        started = client.start()
        self.flush()
        self.assertEqual(self.successResultOf(started).username, "alice")
        sent = client.send("bob", "Dinner at eight?" * 4000)
        self.flush()
        self.assertEqual(self.successResultOf(sent).state, "waiting")
        closed = client.close()
        self.flush()
        self.successResultOf(closed)

    def test_expired(self) -> None:
        """A certificate that is known is the right one, even if it has expired."""
        self.secure.identity = AUTHORITY.identity("b.example", days=-1, alone=True)
        error = self.failureResultOf(self.enter(), UnknownServer).value
        self.assertIn("it has expired", error.doubts)
        self.assertIn("it is not for a.example", error.doubts)
        self.known.learn("a.example:5311", error.fingerprint)
        self.successResultOf(self.enter())

    def test_vouched_for(self) -> None:
        """A certificate for the host that an authority vouches for is the right one."""
        self.vouch()
        for host in ("a.example", "192.0.2.7", "2001:db8::7", "xn--bcher-kva.example"):
            self.secure.identity = AUTHORITY.identity(host)
            self.successResultOf(self.enter(host=host))
        self.successResultOf(self.enter(host="bücher.example"))
        name = b"xn--bcher-kva.example"
        self.assertEqual(self.secure.names, [b"a.example", None, None, name, name])

    def test_vouched_for_another(self) -> None:
        """Nor for another host, or when it has expired: then nobody vouches for it."""
        self.vouch()
        for identity, host, doubt in (
            (AUTHORITY.identity("b.example"), "a.example", "it is not for a.example"),
            (AUTHORITY.identity("192.0.2.8"), "192.0.2.7", "it is not for 192.0.2.7"),
            (AUTHORITY.identity(), "a.example", "it is not for a.example"),
            (AUTHORITY.identity("a.example", days=-1), "a.example", "it has expired"),
        ):
            self.secure.identity = identity
            error = self.failureResultOf(self.enter(host=host), UnknownServer).value
            self.assertEqual(error.doubts, (doubt,))

    def test_unknown_authority(self) -> None:
        """An authority that this machine does not know vouches for nothing."""
        self.secure.identity = AUTHORITY.identity("a.example")
        error = self.failureResultOf(self.enter(), UnknownServer).value
        self.assertEqual(error.doubts, ("it was signed by an authority that this machine does not know",))

    def test_changed_at_a_reconnect(self) -> None:
        """A server that comes back with another certificate is not logged in to, nor tried again."""
        self.successResultOf(self.enter(Trust(self.known, accept_new=True)))
        heard = len(self.server.heard)
        self.secure.identity = SECOND
        self.session().cut()
        self.run_for(5)
        self.assertEqual([type(error) for error in self.stopped], [ChangedServer])
        self.assertEqual(self.server.heard[heard:], [])
        attempts = self.secure.attempts
        self.run_for(300)
        self.assertEqual(self.secure.attempts, attempts)

    def test_no_tls(self) -> None:
        """A server that does not speak TLS is told nothing, and the client stops."""
        self.secure.identity = None
        error = self.failureResultOf(self.enter(), NoTLS).value
        self.assertIn("--plaintext", str(error))
        self.assertEqual(self.secure.heard[0][:2], b"\x16\x03")  # the beginning of TLS, and no more
        self.assertNotIn(b"alice", b"".join(self.secure.heard))

    def test_no_tls_any_more(self) -> None:
        """A server that was known to speak TLS, and once does not, may come to its senses."""
        self.successResultOf(self.enter(Trust(self.known, accept_new=True)))
        self.secure.identity = None
        self.session().cut()
        self.run_for(2)
        self.assertIsInstance(self.disconnected[-1][0], NotChat)
        self.assertNotIn(b"alice", b"".join(self.secure.heard))
        self.secure.identity = FIRST
        self.run_for(10)
        self.assertEqual(len(self.server.online("alice")), 1)

    def test_codec(self) -> None:
        """By ALPN the server learns the codec, and refuses one that it does not speak."""
        self.secure.protocols = [b"chat/der"] if self.codec is Codec.JSON else [b"chat/json"]
        started = self.enter(Trust(self.known, accept_new=True))
        self.assertIn("no application protocol", str(self.failureResultOf(started, NoTLS).value))
        self.secure.protocols = [f"chat/{self.codec.value}".encode()]
        self.successResultOf(self.enter(Trust(self.known, accept_new=True)))

    def test_silence(self) -> None:
        """A server that never answers the handshake is given up, and tried again."""
        self.secure.mute = True
        self.enter()
        self.run_for(61, 1)
        self.assertEqual(len(self.disconnected), 1)
        self.assertTrue(self.secure.pumps[0].clientIO.disconnected)

    def test_silence_later(self) -> None:
        """A server that falls silent after the handshake is not told that it waits for that."""
        self.server.mute = True
        self.enter(Trust(self.known, accept_new=True))
        self.run_for(61, 1)
        self.assertNotIn("TLS", str(self.disconnected[0][0]))

    def test_lost(self) -> None:
        """A connection that is lost in the handshake is no more than that."""
        self.secure.mute = True
        self.enter()
        self.secure.pumps[0].serverIO.loseConnection()
        self.run_for(0.5)
        self.assertIs(type(self.disconnected[0][0]), Disconnected)
        self.assertIn("before it was encrypted", str(self.disconnected[0][0]))

    def test_unreachable(self) -> None:
        """A server that is not there is not there with TLS either."""
        endpoint = SecureEndpoint(self.clock, self.line, "a.example", lambda shown: None)
        self.line.broken = True
        started = self.client(line=endpoint).start()
        self.assertNoResult(started)
        self.assertIn("refused", str(self.disconnected[0][0]))
        self.failureResultOf(endpoint.connect(Factory()), ConnectionRefusedError)

    def test_cancelled(self) -> None:
        """An attempt that is given up before there is a connection is given up."""
        connecting: Deferred[IProtocol] = Deferred()
        self.patch(self.line, "connect", lambda factory: connecting)
        endpoint = SecureEndpoint(self.clock, self.line, "a.example", lambda shown: None)
        client = self.client(line=endpoint)
        started = client.start()
        client.close()
        self.failureResultOf(started, Stopped)
        self.assertEqual(self.stopped, [None])
        self.assertTrue(connecting.called)

    def test_no_protocol(self) -> None:
        """A factory that wants no connection gets none."""

        class Unwilling(Factory):
            def buildProtocol(self, addr: IAddress | None) -> None:
                return None

        attempt = self.endpoint(Trust(self.known, accept_new=True)).connect(Unwilling())
        self.flush()
        self.failureResultOf(attempt, NoProtocol)

    def test_versions(self) -> None:
        """TLS 1.3 is spoken, with keys that are made anew."""
        made: list[Any] = []

        class Probe(Protocol):
            def connectionMade(self) -> None:
                handle = self.transport.getHandle()  # type: ignore[union-attr]
                made.append((handle.get_protocol_version_name(), self.transport.negotiatedProtocol))  # type: ignore[union-attr]

        factory: Any = ConnectionFactory(Probe, self.codec)  # type: ignore[arg-type]
        attempt = self.endpoint(Trust(self.known, accept_new=True)).connect(factory)
        self.flush()
        self.successResultOf(attempt)
        self.assertEqual(made, [("TLSv1.3", f"chat/{self.codec.value}".encode())])

    def test_send(self) -> None:
        """C{chat send} says why it did not send, and knows that it did not."""
        complaints: list[str] = []
        order = Order(recipient="bob", body="hello")
        sender = Sender(self.clock, self.endpoint(), self.codec, "alice", "wonderland")
        sending = send_once(sender, order, complaints.append)
        status = Deferred.fromCoroutine(sending)
        self.run_for(1)
        self.assertEqual(self.successResultOf(status), 1)
        self.assertIn("chat trust a.example:5311 SHA256:", complaints[0])
        self.assertEqual(self.server.heard, [])


class SecureDerTests(SecureTests):
    """The same in DER."""

    codec = Codec.DER


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
