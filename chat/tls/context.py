"""How the server speaks TLS: which versions, which ciphers, what may be agreed upon with it."""

from __future__ import annotations

from typing import Callable, Collection

from OpenSSL import SSL

from chat.errors import StartError
from chat.tls.certificate import Identity

#: For TLS 1.2: keys negotiated anew for each connection by Diffie-Hellman on elliptic curves, so that who
#: gets hold of the server's key cannot read what was recorded before; and authenticated encryption. TLS 1.3
#: has nothing else.
CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:!PSK"


def context(identity: Identity, protocols: Collection[bytes]) -> SSL.Context:
    """What TLS connections of the server are made of.

    @param protocols: what a client may ask for by ALPN (RFC 7301). One that asks for others only is refused:
        it believes to be somewhere else. One that asks for nothing is welcome.
    @raise chat.errors.StartError: OpenSSL does not take the certificate or the key, or cannot work here.
    """
    made = SSL.Context(SSL.TLS_SERVER_METHOD)
    made.set_min_proto_version(SSL.TLS1_2_VERSION)
    made.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_CIPHER_SERVER_PREFERENCE)
    made.set_mode(SSL.MODE_RELEASE_BUFFERS)
    made.set_cipher_list(CIPHERS)
    try:
        made.set_alpn_select_callback(_first_of(protocols))
    except MemoryError:
        # pyOpenSSL makes the code of its callbacks as it runs.
        raise StartError(
            "TLS needs memory that can be written and executed, which is forbidden here:"
            " leave out MemoryDenyWriteExecute in the unit, or what else forbids it."
        ) from None
    try:
        made.use_privatekey(identity.key)
        made.use_certificate(identity.certificate)
        for each in identity.chain:
            made.add_extra_chain_cert(each)
        made.check_privatekey()
    except SSL.Error as error:
        reasons = ", ".join(reason for _, _, reason in error.args[0])
        raise StartError(
            f"OpenSSL does not take the TLS certificate {identity.fingerprint} ({reasons}):"
            " make one with a key of a kind and length that is still thought safe (ECDSA P-256, or RSA with"
            " 2048 bits or more)."
        ) from None
    return made


def _first_of(protocols: Collection[bytes]) -> Callable[[SSL.Connection, list[bytes]], bytes]:
    def choose(connection: SSL.Connection, offered: list[bytes]) -> bytes:
        for each in offered:
            if each in protocols:
                return each
        # In the shape of OpenSSL's own errors: it ends the handshake with no_application_protocol.
        raise SSL.Error([("chat", "ALPN", "no application protocol in common")])

    return choose
