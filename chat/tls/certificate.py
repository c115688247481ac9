"""A server's certificate and its key: made where there are none, loaded, and looked over.

Everything here is for start-up, for an operator's tool, or for the moment in which files have
changed: it reads and writes small files at once.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Iterable, Optional, Union

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from chat.errors import StartError
from chat.tls import fingerprint

#: How the files of a certificate that the server has made are called.
OWN_CERTIFICATE, OWN_KEY = "tls-certificate.pem", "tls-key.pem"
#: For how long such a certificate is good. Clients know it by its fingerprint; a shorter time would only
#: have them ask their users about a new one.
LIFETIME = timedelta(days=3652)
#: The clock of a client may be slow.
_BEFORE = timedelta(days=1)
#: The longest common name that X.520 allows.
_LONGEST_NAME = 64

#: The kinds of keys that TLS signs with.
Key = Union[ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey, ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey]
_KINDS = (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey, ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey)

#: What tells whether a file has changed: when, how big, and which one it is.
Stamp = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class Pair:
    """Where a certificate (with its chain) and its key are, as PEM.

    @ivar made: whether they are the server's own, which it makes by itself.
    """

    certificate: Path
    key: Path
    made: bool = False

    def stamp(self) -> Optional[Stamp]:
        """Changes when a file does; C{None} while one is out of reach."""
        try:
            found = [file.stat() for file in (self.certificate, self.key)]
        except OSError:
            return None
        return tuple((each.st_mtime_ns, each.st_size, each.st_ino) for each in found)

    def readable(self) -> bool:
        """Whether this process may read both now."""
        try:
            for file in (self.certificate, self.key):
                file.open("rb").close()
        except OSError:
            return False
        return True


def exposed(pair: Pair) -> Optional[int]:
    """The mode of the key's file, if more people get at it than should; C{None}: it is well kept.

    An operator may share a key among the programs of a group; the server's own is nobody else's.
    """
    try:
        mode = stat.S_IMODE(pair.key.stat().st_mode)
    except OSError:
        return None  # then it is worth another word
    return mode if mode & (0o077 if pair.made else 0o027) else None


def own(directory: Path) -> Pair:
    """Where the certificate that the server makes in this data directory is."""
    return Pair(directory / OWN_CERTIFICATE, directory / OWN_KEY, made=True)


@dataclass(frozen=True)
class Identity:
    """A certificate with the key that proves it.

    @ivar certificate: the server's own.
    @ivar chain: those that vouch for it, if it came with any.
    """

    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    key: Key = field(repr=False)

    @property
    def fingerprint(self) -> str:
        """See L{chat.tls.fingerprint.fingerprint}."""
        return fingerprint.fingerprint(self.certificate.public_bytes(Encoding.DER))

    @property
    def words(self) -> str:
        """See L{chat.tls.fingerprint.words}."""
        return fingerprint.words(self.certificate.public_bytes(Encoding.DER))

    @property
    def expires(self) -> datetime:
        """The last moment at which the certificate is good."""
        return self.certificate.not_valid_after_utc

    def left(self, now: float) -> timedelta:
        """For how long it is good yet; negative once it is not."""
        return self.expires - datetime.fromtimestamp(now, timezone.utc)


def load(pair: Pair, now: float) -> Identity:
    """The certificate and the key that are in these files.

    @param now: the time, in seconds since 1970.
    @raise chat.errors.StartError: what is wrong with which of the files, and what to do.
    """
    identity = read(pair)
    if identity.left(now) <= timedelta():
        raise StartError(
            f"The TLS certificate {pair.certificate} expired on {day(identity.expires)}: {_remedy(pair)}."
        )
    return identity


def read(pair: Pair) -> Identity:
    """L{load}, whether or not the certificate has expired."""
    chain = _certificates(pair)
    key = _key(pair)
    if _public(key.public_key()) != _public(chain[0].public_key()):
        raise StartError(
            f"The TLS key {pair.key} is not the key of the first certificate in {pair.certificate}:"
            f" {_remedy(pair)}."
        )
    return Identity(chain[0], tuple(chain[1:]), key)


def make(pair: Pair, hosts: Iterable[str], now: float) -> list[Path]:
    """Make what is missing of these files: a key, and a certificate that it signs itself.

    A file has its name only once it is whole and on disk, the key first; nobody but its owner can
    ever read it.

    @param hosts: addresses at which clients reach the server; what it calls itself comes of its own.
    @param now: the time, in seconds since 1970.
    @return: the files that were made.
    @raise chat.errors.StartError: they cannot be written, or there is a certificate without its key.
    """
    made: list[Path] = []
    try:
        if not pair.key.exists() and not pair.certificate.exists():
            key = ec.generate_private_key(ec.SECP256R1())
            _write(pair.key, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            made.append(pair.key)
        if not pair.certificate.exists():
            certificate = _signed(_key(pair), _names(hosts), datetime.fromtimestamp(now, timezone.utc))
            _write(pair.certificate, certificate.public_bytes(Encoding.PEM))
            made.append(pair.certificate)
    except OSError as error:
        unmake(made)
        raise StartError(
            f"{error.filename} cannot be written ({error.strerror}): make room, or give this user the"
            " right to write there."
        ) from None
    return made


def unmake(files: Iterable[Path]) -> None:
    """Take back what L{make} has made."""
    for file in files:
        with suppress(OSError):
            file.unlink()


def day(moment: datetime) -> str:
    """A date as people read it."""
    return moment.strftime("%Y-%m-%d")


def _remedy(pair: Pair) -> str:
    if pair.made:
        return (
            f"restore {pair.certificate.name} and {pair.key.name} from a copy, or remove both and the server"
            " makes new ones, which its clients' users must accept"
        )
    return "put others in their place, or name others with --certificate and --key"


def _certificates(pair: Pair) -> list[x509.Certificate]:
    pem = _bytes(pair.certificate, "certificate", pair)
    try:
        return x509.load_pem_x509_certificates(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise StartError(
            f"The TLS certificate {pair.certificate} holds no certificate in PEM form: {_remedy(pair)}."
        ) from None


def _key(pair: Pair) -> Key:
    pem = _bytes(pair.key, "key", pair)
    try:
        key = load_pem_private_key(pem, None)
    except TypeError:
        raise StartError(
            f"The TLS key {pair.key} is locked with a passphrase, which nobody could type at a start:"
            f" write it without one (openssl pkey -in {pair.key.name} -out NEW), readable for its owner only."
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, _KINDS):
        raise StartError(
            f"The TLS key {pair.key} holds no private key in PEM form that TLS can use: {_remedy(pair)}."
        )
    return key


def _bytes(file: Path, what: str, pair: Pair) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise StartError(f"The TLS {what} {file} is not there: {_remedy(pair)}.") from None
    except OSError as error:
        raise StartError(
            f"The TLS {what} {file} cannot be read ({error.strerror}): give this user the right to."
        ) from None


def _public(key: object) -> bytes:
    encoded: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    return encoded


def _names(hosts: Iterable[str]) -> list[str]:
    """What the server may be called: by itself, from here, and from elsewhere."""
    asked = [socket.gethostname(), "localhost", *hosts, "127.0.0.1", "::1"]
    return list(dict.fromkeys(name for name in asked if _can_be_called(name)))


def _can_be_called(name: str) -> bool:
    """Whether a certificate can hold it, and a client could use it."""
    try:
        return not ipaddress.ip_address(name).is_unspecified
    except ValueError:
        return name.isascii() and name.isprintable() and 0 < len(name) <= 253


def _signed(key: Key, names: list[str], now: datetime) -> x509.Certificate:
    """A certificate for this key and these names, signed with the key itself."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:_LONGEST_NAME])])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    digest = None if isinstance(key, (ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey)) else SHA256()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BEFORE)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False
        )
        .sign(key, digest)
    )


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write(file: Path, content: bytes) -> None:
    """A new file with this content, for its owner only; there whole or not at all."""
    new = file.with_suffix(".new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with open(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(descriptor)
        os.replace(new, file)
    except BaseException:
        unmake([new])
        raise
    with suppress(OSError):  # not every system can synchronise a directory
        directory = os.open(file.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
