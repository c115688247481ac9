"""For the tests of TLS: certificates of every kind, and a client that needs no network."""

from __future__ import annotations

import ssl
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Optional, Sequence

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from chat.tls.certificate import Pair
from tests.daemon import trusting
from tests.network import START
from tests.wire import Wire


def key_pem(key: Any, encryption: Any = None) -> bytes:
    """A private key as it is in a file."""
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption()))


def signed(key: Any, days: float = 100, issuer: Any = None, now: float = START) -> x509.Certificate:
    """A certificate for this key that is good for so many days, signed by this issuer's key or its own."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    moment = datetime.fromtimestamp(now, timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - timedelta(days=400))
        .not_valid_after(moment + timedelta(days=days))
        .sign(issuer or key, SHA256())
    )


def write(folder: Path, *certificates: x509.Certificate, key: Any) -> Pair:
    """These certificates and this key, in files of this folder."""
    pair = Pair(folder / "chain.pem", folder / "key.pem")
    pair.certificate.write_bytes(b"".join(each.public_bytes(Encoding.PEM) for each in certificates))
    pair.key.write_bytes(key_pem(key))
    pair.key.chmod(0o600)
    return pair


def given(folder: Path, days: float = 100, now: float = START) -> Pair:
    """A certificate of an operator, who keeps it in this folder."""
    key = ec.generate_private_key(ec.SECP256R1())
    return write(folder, signed(key, days, now=now), key=key)


class TLSClient:
    """A client that speaks TLS over a wire in memory.

    @ivar error: what ended its handshake, if something did.
    @ivar received: what has come over the wire, as it came.
    @ivar closed: whether the server has said that nothing more comes.
    """

    def __init__(
        self,
        factory: Any,
        protocols: Sequence[str] = (),
        context: Optional[ssl.SSLContext] = None,
        silent: bool = False,
    ) -> None:
        """Connect, and shake hands unless C{silent}."""
        self.wire = Wire(factory.buildProtocol(None))
        context = context or trusting()
        if protocols:
            context.set_alpn_protocols(list(protocols))
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")
        self.error: Optional[ssl.SSLError] = None
        self.received = bytearray()
        self.closed = False
        self.done = False
        self.wire.protocol.makeConnection(self.wire)
        if not silent:
            self.shake_hands()

    def shake_hands(self) -> None:
        """Do all of the handshake that can be done."""
        while not self.done and self.error is None:
            try:
                self.tls.do_handshake()
                self.done = True
            except ssl.SSLWantReadError:
                if not self._exchange():
                    return
            except ssl.SSLError as error:
                self.error = error
            self._exchange()

    def say(self, data: bytes) -> None:
        """Send this."""
        self.tls.write(data)
        self._exchange()

    def hear(self) -> bytes:
        """All that the server has said by now."""
        self._exchange()
        heard = b""
        try:
            while chunk := self.tls.read(1 << 16):
                heard += chunk
            self.closed = True
        except ssl.SSLZeroReturnError:
            self.closed = True
        except ssl.SSLWantReadError:
            pass
        return heard

    def _exchange(self) -> bool:
        """Carry what waits on either side; whether the server said something."""
        if data := self._outgoing.read():
            self.wire.arrive(data)
        said = self.wire.read()
        if said:
            self.received += said
            self._incoming.write(said)
        return bool(said)
