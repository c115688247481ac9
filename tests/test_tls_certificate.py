"""Certificates: made where there are none, loaded, and refused with the file and the remedy."""

from __future__ import annotations

import os
import socket
import ssl
import stat
from datetime import timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding
from twisted.trial.unittest import SynchronousTestCase

from chat.errors import StartError
from chat.tls.certificate import Pair, exposed, load, make, own, read, unmake
from tests.network import START
from tests.tls import given, key_pem, signed, write

DAY = 24 * 3600


class CertificateTestCase(SynchronousTestCase):
    """A folder for files."""

    def setUp(self) -> None:
        """It is empty."""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def assertRefused(self, pair: Pair, *parts: str, now: float = START) -> None:
        """The pair cannot be loaded; the one line that says so has these parts."""
        error = self.assertRaises(StartError, load, pair, now)
        for part in parts:
            self.assertIn(part, str(error))
        self.assertNotIn("\n", str(error))
        self.assertNotIn("PRIVATE", str(error))


class ExposedTests(CertificateTestCase):
    """Who gets at a key."""

    def test_modes(self) -> None:
        """The server's own is for its owner alone; that of an operator may be read by a group of programs."""
        made = own(self.folder)
        make(made, (), START)
        for pair, kept, bad in (
            (made, (0o600, 0o400), (0o640, 0o620, 0o604)),
            (given(self.folder), (0o600, 0o640), (0o660, 0o604, 0o602)),
        ):
            for mode in kept:
                pair.key.chmod(mode)
                self.assertIsNone(exposed(pair), oct(mode))
            for mode in bad:
                pair.key.chmod(mode)
                self.assertEqual(exposed(pair), mode)


class MakeTests(CertificateTestCase):
    """The server's own certificate."""

    def make(self, *hosts: str) -> Pair:
        """It, for a server at these addresses."""
        pair = own(self.folder)
        make(pair, hosts, START)
        return pair

    def test_made(self) -> None:
        """A P-256 key and a certificate it has signed itself, good for ten years, for its owner alone."""
        before = os.umask(0)
        self.addCleanup(os.umask, before)
        pair = self.make()
        for file in (pair.certificate, pair.key):
            self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600)
        identity = load(pair, START)
        assert isinstance(identity.key, ec.EllipticCurvePrivateKey)
        self.assertEqual(identity.key.curve.name, "secp256r1")
        identity.certificate.verify_directly_issued_by(identity.certificate)
        self.assertEqual(identity.left(START).days, 3651)
        self.assertEqual(sorted(os.listdir(self.folder)), ["tls-certificate.pem", "tls-key.pem"])

    def test_names(self) -> None:
        """It names the machine, the addresses of the doors and those of loopback, each once."""
        self.patch(socket, "gethostname", lambda: "chat.example.org")
        identity = load(self.make("0.0.0.0", "192.0.2.7", "::", "2001:db8::7", "127.0.0.1", ""), START)
        names = identity.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual(names.get_values_for_type(x509.DNSName), ["chat.example.org", "localhost"])
        self.assertEqual(
            [str(address) for address in names.get_values_for_type(x509.IPAddress)],
            ["192.0.2.7", "2001:db8::7", "127.0.0.1", "::1"],
        )
        self.assertIn("CN=chat.example.org", identity.certificate.subject.rfc4514_string())

    def test_oddNames(self) -> None:
        """A machine may be called what no certificate can hold."""
        for name, subject in (("", "localhost"), ("münchen", "localhost"), ("a" * 100, "a" * 64)):
            self.patch(socket, "gethostname", lambda name=name: name)
            pair = self.make()
            self.assertEqual(load(pair, START).certificate.subject.rfc4514_string(), f"CN={subject}")
            unmake([pair.certificate, pair.key])

    def test_verified(self) -> None:
        """A client that trusts it has nothing to find fault with, however strict it is."""
        pair = own(self.folder)
        make(pair, [], float(int(os.stat(self.folder).st_mtime)))
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(pair.certificate, pair.key)
        client = ssl.create_default_context(cafile=str(pair.certificate))
        client.verify_flags |= ssl.VERIFY_X509_STRICT
        for name in ("localhost", "127.0.0.1"):
            a, b = ssl.MemoryBIO(), ssl.MemoryBIO()
            ends = [
                client.wrap_bio(a, b, server_hostname=name),
                server.wrap_bio(b, a, server_side=True),
            ]
            done: set[int] = set()
            for _ in range(4):
                for number, end in enumerate(ends):
                    try:
                        end.do_handshake()
                        done.add(number)
                    except ssl.SSLWantReadError:
                        pass
            self.assertEqual(done, {0, 1})

    def test_once(self) -> None:
        """What is there stays; what was made is told."""
        pair = own(self.folder)
        self.assertEqual(make(pair, [], START), [pair.key, pair.certificate])
        before = pair.certificate.read_bytes(), pair.key.read_bytes()
        self.assertEqual(make(pair, [], START), [])
        self.assertEqual((pair.certificate.read_bytes(), pair.key.read_bytes()), before)

    def test_keyKept(self) -> None:
        """Where the key is there, of whatever kind, the certificate is made for it."""
        pair = own(self.folder)
        for key in (ec.generate_private_key(ec.SECP384R1()), ed25519.Ed25519PrivateKey.generate()):
            pair.key.write_bytes(key_pem(key))
            self.assertEqual(make(pair, [], START), [pair.certificate])
            self.assertEqual(key_pem(load(pair, START).key), key_pem(key))
            pair.certificate.unlink()

    def test_keyGone(self) -> None:
        """A certificate without its key is not replaced behind the operator's back."""
        pair = self.make()
        pair.key.unlink()
        self.assertEqual(make(pair, [], START), [])
        self.assertRefused(pair, str(pair.key), "is not there", "restore", "remove both")

    def test_leftover(self) -> None:
        """What a start that was cut short has left is no hindrance, and never followed as a link."""
        elsewhere = self.folder / "elsewhere"
        (self.folder / "tls-key.new").symlink_to(elsewhere)
        load(self.make(), START)
        self.assertFalse(elsewhere.exists())
        self.assertFalse((self.folder / "tls-key.new").is_symlink())

    def test_neverHalf(self) -> None:
        """Where it cannot be written nothing is left, and the line names the file."""
        replace = os.replace

        def fails(source: Any, target: Any) -> None:
            if str(target).endswith("certificate.pem"):
                raise OSError(28, "No space left on device", str(target))
            replace(source, target)

        self.patch(os, "replace", fails)
        error = self.assertRaises(StartError, self.make)
        self.assertIn("tls-certificate.pem cannot be written (No space left on device)", str(error))
        self.assertEqual(os.listdir(self.folder), [])

    def test_unsynchronised(self) -> None:
        """A system that cannot synchronise a directory does without."""
        sync = os.fsync

        def fails(descriptor: int) -> None:
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise OSError(22, "Invalid argument")
            sync(descriptor)

        self.patch(os, "fsync", fails)
        load(self.make(), START)

    def test_secret(self) -> None:
        """Nothing that shows what was loaded shows the key."""
        self.assertNotIn("key=", repr(load(self.make(), START)))


class LoadTests(CertificateTestCase):
    """Certificates that an operator gives."""

    def test_chain(self) -> None:
        """The server's own certificate comes first, those that vouch for it behind."""
        authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        chain = [signed(key, issuer=authority), signed(authority)]
        identity = load(write(self.folder, *chain, key=key), START)
        self.assertEqual([identity.certificate, *identity.chain], chain)
        self.assertEqual(len(identity.words.split()), 8)
        self.assertTrue(identity.fingerprint.startswith("SHA256:"))

    def test_kinds(self) -> None:
        """RSA keys will do as well, and both may be in one file."""
        key = rsa.generate_private_key(65537, 2048)
        pair = write(self.folder, signed(key), key=key)
        pair.certificate.write_bytes(pair.key.read_bytes() + pair.certificate.read_bytes())
        self.assertEqual(key_pem(load(Pair(pair.certificate, pair.certificate), START).key), key_pem(key))

    def test_missing(self) -> None:
        """A file that is not there is named, with the options that name others."""
        pair = given(self.folder)
        pair.key.rename(self.folder / "aside")
        self.assertRefused(pair, f"TLS key {pair.key} is not there", "--key")
        self.assertRefused(
            Pair(self.folder / "none", pair.key), f"TLS certificate {self.folder / 'none'} is not"
        )

    def test_unreadable(self) -> None:
        """A file that cannot be read is named, with the reason."""
        pair = given(self.folder)
        self.assertRefused(Pair(self.folder, pair.key), "cannot be read (Is a directory)")

    def test_notPEM(self) -> None:
        """Files that hold something else."""
        pair = given(self.folder)
        der = read(pair).certificate.public_bytes(Encoding.DER)
        for content in (b"", b"hello", der, pair.key.read_bytes()):
            other = self.folder / "other"
            other.write_bytes(content)
            self.assertRefused(Pair(other, pair.key), f"{other} holds no certificate in PEM form")
        for content in (b"", b"hello", der, pair.certificate.read_bytes()):
            other.write_bytes(content)
            self.assertRefused(Pair(pair.certificate, other), f"{other} holds no private key in PEM form")

    def test_uselessKey(self) -> None:
        """A key of a kind that TLS has no use for."""
        pair = given(self.folder)
        pair.key.write_bytes(key_pem(dsa.generate_private_key(1024)))
        self.assertRefused(pair, "that TLS can use")

    def test_passphrase(self) -> None:
        """Nobody is there to type a passphrase; the line says how to take it off, not what it is."""
        pair = given(self.folder)
        key = read(pair).key
        pair.key.write_bytes(key_pem(key, BestAvailableEncryption(b"sesame")))
        self.assertRefused(pair, str(pair.key), "passphrase", "openssl pkey -in key.pem")

    def test_otherKey(self) -> None:
        """The key of another certificate."""
        pair = given(self.folder)
        pair.key.write_bytes(key_pem(ec.generate_private_key(ec.SECP256R1())))
        self.assertRefused(pair, f"{pair.key} is not the key of the first certificate in {pair.certificate}")

    def test_expired(self) -> None:
        """A certificate that has had its day, to the second."""
        pair = given(self.folder, 1)
        self.assertEqual(load(pair, int(START) + DAY - 1).left(int(START)), timedelta(days=1))
        self.assertRefused(pair, f"{pair.certificate} expired on 2026-11-23", now=int(START) + DAY)

    def test_stamp(self) -> None:
        """Changes when either file does, and says when one is out of reach."""
        pair = given(self.folder)
        first = pair.stamp()
        self.assertEqual(pair.stamp(), first)
        self.assertTrue(pair.readable())
        pair.key.write_bytes(pair.key.read_bytes() + b"\n")
        self.assertNotEqual(pair.stamp(), first)
        pair.key.unlink()
        self.assertIsNone(pair.stamp())
        self.assertIsNone(exposed(pair))
        self.assertFalse(pair.readable())
