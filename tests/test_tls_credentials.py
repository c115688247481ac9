"""Certificates that change while the server runs: taken when they are good, refused with a word when not."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from chat.errors import StartError
from chat.tls import credentials, fingerprint
from chat.tls.certificate import Pair
from chat.tls.credentials import LOOK, Credentials
from tests.daemon import trusting
from tests.network import START, Network
from tests.tls import TLSClient, given, signed, write

PROTOCOLS = (b"chat/json",)


def broken(*arguments: object) -> None:
    """What nobody has foreseen."""
    raise ZeroDivisionError


class CredentialsTestCase(SynchronousTestCase):
    """A certificate in files, and a clock."""

    def setUp(self) -> None:
        """The files are there."""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.clock = Clock()
        self.clock.advance(START)
        self.pair = given(self.folder)

    def credentials(self, pair: Pair | None = None) -> Credentials:
        """What the server makes of them."""
        return Credentials(pair or self.pair, self.clock.seconds)

    def renew(self, days: float = 200) -> None:
        """Another certificate takes the place of the first."""
        given(self.folder, days)
        self.touch(1)

    def touch(self, seconds: float) -> None:
        """The files were written later, however coarse the file system's clock is."""
        for file in (self.pair.certificate, self.pair.key):
            os.utime(file, (START + seconds, START + seconds))


class ReloadTests(CredentialsTestCase):
    """New files for old."""

    def setUp(self) -> None:
        """A server has loaded the first ones and looks after them."""
        super().setUp()
        self.touch(0)
        self.shown = self.credentials()
        self.shown.watch(self.clock)
        self.addCleanup(self.shown.stop)
        self.first = self.shown.fingerprint

    def logged(self, action: Any, *arguments: Any) -> tuple[list[str], list[str]]:
        """What is logged meanwhile: in passing, and as an error."""
        with capturedLogs() as events:
            action(*arguments)
        lines = [(event["log_level"], formatEvent(event)) for event in events]
        errors = [line for level, line in lines if level >= LogLevel.error]
        return [line for _, line in lines if line not in errors], errors

    def test_changed(self) -> None:
        """Within a minute new files are taken, and the log says by what the certificate is known."""
        self.renew()
        self.assertEqual(self.logged(self.clock.advance, LOOK - 1), ([], []))
        said, errors = self.logged(self.clock.advance, 1)
        self.assertNotEqual(self.shown.fingerprint, self.first)
        self.assertEqual(errors, [])
        self.assertEqual(said[0], f"There is a new TLS certificate; it was {self.first}")
        self.assertIn(f"fingerprint {self.shown.fingerprint}", said)
        self.assertIn(f"in words: {self.shown.words}", said)

    def test_unchanged(self) -> None:
        """Nothing is said as long as nothing changes."""
        self.assertEqual(self.logged(self.clock.pump, [LOOK] * 5), ([], []))

    def test_asked(self) -> None:
        """Asked to, it reads them at once, and says so though they are the same."""
        said, _ = self.logged(self.shown.reload)
        self.assertEqual(said, ["The TLS certificate was read again; it is the same."])
        self.renew()
        self.shown.reload()
        self.assertNotEqual(self.shown.fingerprint, self.first)
        self.assertEqual(self.logged(self.clock.advance, LOOK), ([], []))

    def test_bad(self) -> None:
        """What cannot be used is said once, and the old one stays until there is a good one."""
        self.pair.key.write_bytes(b"half a k")
        said, (error,) = self.logged(self.clock.advance, LOOK)
        self.assertIn(f"{self.pair.key} holds no private key", error)
        self.assertTrue(error.endswith(f"Until then the one with {self.first} stays."), error)
        self.assertEqual((said, self.shown.fingerprint), ([], self.first))
        self.assertEqual(self.logged(self.clock.advance, LOOK), ([], []))
        self.renew()
        self.clock.advance(LOOK)
        self.assertNotEqual(self.shown.fingerprint, self.first)

    def test_oneByOne(self) -> None:
        """Files are replaced one after the other: the certificate of a key yet to come waits for it."""
        aside = self.folder / "aside"
        aside.mkdir()
        new = given(aside)
        os.replace(new.certificate, self.pair.certificate)
        _, errors = self.logged(self.clock.advance, LOOK)
        self.assertEqual(len(errors), 1)
        os.replace(new.key, self.pair.key)
        self.clock.advance(LOOK)
        self.assertNotEqual(self.shown.fingerprint, self.first)

    def test_expired(self) -> None:
        """One that has expired is no better than the one there is."""
        self.renew(-1)
        _, (error,) = self.logged(self.clock.advance, LOOK)
        self.assertIn("expired on", error)
        self.assertEqual(self.shown.fingerprint, self.first)

    def test_gone(self) -> None:
        """Files that disappear are missed once."""
        self.pair.certificate.unlink()
        _, (error,) = self.logged(self.clock.advance, LOOK)
        self.assertIn("is not there", error)
        self.assertEqual(self.logged(self.clock.advance, LOOK), ([], []))

    def test_unforeseen(self) -> None:
        """Whatever goes wrong in looking or loading is logged, the old one stays, and the next look comes."""
        for place in ("load", "context", "exposed"):
            self.renew()
            self.touch(len(place))
            before, contexts = vars(self.shown).copy(), self.shown._contexts.copy()
            patch = self.patch(credentials, place, broken)
            self.clock.advance(LOOK)
            patch.restore()
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
            for name in ("_identity", "fingerprint", "words", "expires"):
                self.assertIs(getattr(self.shown, name), before[name])
            self.assertEqual(self.shown._contexts, contexts)
            self.renew()
            self.touch(2 * len(place))
            self.clock.advance(LOOK)
            self.assertNotEqual(self.shown.fingerprint, before["fingerprint"])
        patch = self.patch(Pair, "stamp", broken)
        self.clock.pump([LOOK] * 2)
        patch.restore()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        before = vars(self.shown).copy()
        self.renew()
        self.clock.advance(LOOK)
        self.assertNotEqual(self.shown.fingerprint, before["fingerprint"])

    def test_stopped(self) -> None:
        """Once the server stops nobody looks any more, however often it is told."""
        self.shown.stop()
        self.shown.stop()
        Credentials(self.shown.pair, self.clock.seconds).stop()  # one that was never looked after
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_connections(self) -> None:
        """A connection keeps what it has begun with; the next one is shown the new certificate."""
        network = Network(Path(self.mktemp()))
        self.addCleanup(network.close)
        door = TLSMemoryBIOFactory(
            self.shown.speaking(PROTOCOLS), False, network.doors["json"], network.clock
        )
        before = TLSClient(door)
        self.renew()
        self.clock.advance(LOOK)
        after = TLSClient(door)
        network.clock.advance(0)
        for client, expected in ((before, self.first), (after, self.shown.fingerprint)):
            self.assertIn(b"username", client.hear())
            certificate = client.tls.getpeercert(True)
            assert certificate is not None
            self.assertEqual(fingerprint.fingerprint(certificate), expected)
            client.say(b'{"type":"login","data":{"field":"username","value":"alice"}}\n')
            network.settle()
            self.assertIn(b"new-password", client.hear())
            client.wire.lose()


class LoadTests(CredentialsTestCase):
    """What is loaded at the start."""

    def test_interface(self) -> None:
        """Twisted can make connections with it."""
        verifyObject(IOpenSSLServerConnectionCreator, self.credentials().speaking(PROTOCOLS))

    def test_perDoor(self) -> None:
        """Each door agrees upon what is spoken there and nothing else, before a renewal and after it."""
        network = Network(Path(self.mktemp()))
        self.addCleanup(network.close)
        shown = self.credentials()
        self.touch(0)
        doors = {
            name: TLSMemoryBIOFactory(shown.speaking([name.encode()]), False, network.doors["json"])
            for name in ("chat/json", "http/1.1")
        }
        for _ in range(2):
            for name, door in doors.items():
                for offered in doors:
                    self.assertEqual(TLSClient(door, [offered]).done, offered == name)
            first = shown.fingerprint
            self.renew()
            shown.reload()
            self.assertNotEqual(shown.fingerprint, first)

    def test_refused(self) -> None:
        """What cannot be used ends the start."""
        self.pair.key.unlink()
        self.assertRaises(StartError, self.credentials)

    def test_weak(self) -> None:
        """What OpenSSL thinks too weak ends the start as well; the line says what would be strong enough."""
        key = rsa.generate_private_key(65537, 1024)
        pair = write(self.folder, signed(key), key=key)
        error = self.assertRaises(StartError, self.credentials, pair)
        self.assertIn("too small", str(error))
        self.assertIn("ECDSA P-256", str(error))
        self.assertNotIn("\n", str(error))

    def test_chain(self) -> None:
        """Clients are sent the certificates that vouch for the server's own, behind that."""
        authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        chain = signed(key, issuer=authority), signed(authority)
        network = Network(Path(self.mktemp()))
        self.addCleanup(network.close)
        credentials = self.credentials(write(self.folder, *chain, key=key))
        door = TLSMemoryBIOFactory(
            credentials.speaking(PROTOCOLS), False, network.doors["json"], network.clock
        )
        context = trusting()
        context.maximum_version = ssl.TLSVersion.TLSv1_2  # which shows certificates to everybody
        client = TLSClient(door, context=context)
        self.assertTrue(client.done)
        places = [bytes(client.received).find(each.public_bytes(Encoding.DER)) for each in chain]
        self.assertGreater(places[0], 0)
        self.assertGreater(places[1], places[0])
        client.wire.lose()

    def test_soon(self) -> None:
        """One that expires within thirty days is worth a warning."""
        for days, expected in (
            (29.5, ["This TLS certificate expires in 29 days: renew it in time"]),
            (31, []),
        ):
            shown = self.credentials(given(self.folder, days))
            with capturedLogs() as events:
                shown.announce()
            self.assertEqual(
                [formatEvent(event) for event in events if event["log_level"] is LogLevel.warn], expected
            )

    def test_exposed(self) -> None:
        """A key that everybody can read is worth a warning."""
        self.pair.key.chmod(0o644)
        with capturedLogs() as events:
            self.credentials().announce()
        self.assertIn("key.pem has mode 0644, others get at the key", formatEvent(events[-1]))

    def test_outOfReach(self) -> None:
        """Files that the server can no longer read are named at the start, once, and looked at in vain."""
        shown = self.credentials()
        self.pair.key.rename(self.folder / "outside")
        with capturedLogs() as events:
            shown.watch(self.clock)
            self.clock.pump([LOOK] * 3)
        self.addCleanup(shown.stop)
        (line,) = [formatEvent(event) for event in events]
        self.assertIn(f"{self.pair.certificate} and {self.pair.key} cannot be read any more", line)
