"""The WebSocket of the conformance checks: it sees what a server does wrong."""

from __future__ import annotations

import secrets
import socket
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chat.conformance.codecs import CODECS
from chat.conformance.talk import Connection, Failure
from chat.conformance.wires import Address, Unlawful, WebSocket

#: The example of RFC 6455, 1.3.
KEY = b"the sample nonce"
ACCEPTED = b"HTTP/1.1 101 Yes\r\nsec-websocket-ACCEPT: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
HERE = Address("::1", 5380, True, "/below/socket")


class WebSocketTests(SynchronousTestCase):
    """A server whose every byte is known beforehand."""

    def setUp(self) -> None:
        """The key, and the masks, are those of the RFC's example."""
        self.patch(secrets, "token_bytes", lambda size: KEY[:size])
        self.here, self.there = socket.socketpair()
        self.addCleanup(self.here.close)
        self.addCleanup(self.there.close)
        self.here.settimeout(10)

    def socket(self, *said: bytes) -> WebSocket:
        """A WebSocket whose server has said all this, and the head of its own request is read."""
        self.there.sendall(ACCEPTED + b"".join(said))
        made = WebSocket(self.here, HERE)
        made.settimeout(10)
        self.there.recv(1 << 16)
        return made

    def unlawful(self, *said: bytes) -> str:
        """What is wrong with these frames."""
        made = self.socket(*said)
        return str(self.assertRaises(Unlawful, made.recv, 1 << 16))

    def test_request(self) -> None:
        """It asks as a page of that server would."""
        self.there.sendall(ACCEPTED)
        WebSocket(self.here, HERE)
        head = self.there.recv(1 << 16).split(b"\r\n")
        self.assertEqual(head[0], b"GET /below/socket HTTP/1.1")
        for line in (
            b"Host: [::1]:5380",
            b"Origin: https://[::1]:5380",
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ):
            self.assertIn(line, head)

    def test_refused(self) -> None:
        """A server that does not become a WebSocket, or not for this key, is left."""
        for answer in (
            b"HTTP/1.1 403 Forbidden\r\n\r\n",
            ACCEPTED.replace(b"s3p", b"S3p"),
            b"HTTP/1.1 101 Yes\r\n\r\n",
            b"x" * 20_000,
        ):
            here, there = socket.socketpair()
            there.sendall(answer)
            there.shutdown(socket.SHUT_WR)
            self.assertRaises(Unlawful, WebSocket, here, HERE)
            here.close()
            there.close()

    def test_says(self) -> None:
        """Lines are a message, what is behind them begins another; all is masked."""
        made = self.socket()
        made.sendall(b"a\nb\nc")
        self.assertEqual(self.there.recv(99), b"\x81\x84the \x15b\x07*" + b"\x01\x81the \x17")
        made.sendall(b"d")
        self.assertEqual(self.there.recv(99), b"\x00\x81the \x10")
        made.sendall(b"\n")
        self.assertEqual(self.there.recv(99), b"\x80\x81the ~")

    def test_lengths(self) -> None:
        """Long messages say how long they are in more bytes, on both sides."""
        for size, head in ((125, b"\x7d"), (126, b"\x7e\0\x7e"), (65536, b"\x7f\0\0\0\0\0\x01\0\0")):
            made = self.socket(b"\x81" + head + b"x" * (size - 1) + b"\n")
            self.assertEqual(made.recv(1 << 16), b"x" * (size - 1) + b"\n")
            made.sendall(b"\0" * (size - 1) + b"\n")
            self.assertEqual(self.there.recv(len(head) + 1)[1], head[0] | 0x80)
            left = size + 4
            while left:
                left -= len(self.there.recv(left))

    def test_hears(self) -> None:
        """Messages come whole, however they were cut; pings are answered, a goodbye is the end."""
        made = self.socket(b"\x01\x01a\x89\x01p\x80\x02b\n", b"\x8a\x00\x88\x02\x03\xe8")
        self.assertEqual(made.recv(1 << 16), b"ab\n")
        self.assertEqual(made.recv(1 << 16), b"")
        self.assertEqual(self.there.recv(99), b"\x8a\x81the \x04" + b"\x88\x82the w\x80")
        self.assertEqual(made.recv(1 << 16), b"")

    def test_empty_fragments(self) -> None:
        """The first fragment of a message may be empty, and so may any other."""
        made = self.socket(b"\x01\x00\x00\x00\x80\x02a\n\x81\x02b\n")
        self.assertEqual(made.recv(1 << 16), b"a\n")
        self.assertEqual(made.recv(1 << 16), b"b\n")

    def test_end(self) -> None:
        """A server that is gone without a word is the end, too; one that is silent is waited for."""
        made = self.socket(b"\x81")
        made.settimeout(0.001)
        self.assertRaises(TimeoutError, made.recv, 1 << 16)
        self.there.close()
        self.assertEqual(made.recv(1 << 16), b"")
        made.close()

    def test_unlawful(self) -> None:
        """What a server must not send is told."""
        for said, words in (
            (b"\x81\x80abcd", "masked"),
            (b"\xc1\x01\n", "no known kind"),
            (b"\x82\x01\n", "kind 2"),
            (b"\x80\x01\n", "kind 0"),
            (b"\x01\x01a\x81\x01\n", "kind 1"),
            (b"\x01\x00\x81\x01\n", "kind 1"),
            (b"\x81\x01a", "does not end with its line"),
            (b"\x88\x01a", "goodbye"),
        ):
            here, there = socket.socketpair()
            self.here, self.there = here, there
            self.addCleanup(here.close)
            self.addCleanup(there.close)
            self.assertIn(words, self.unlawful(said))

    def test_failure(self) -> None:
        """For a check that is a fault of the server."""
        made: Any = self.socket(b"\x82\x01\n")
        self.patch(Address, "open", lambda address, patience: made)
        connection = Connection(HERE, CODECS["json"], 10, 0.1)
        failure = self.assertRaises(Failure, connection.answer, "version")
        self.assertIn("kind 2", str(failure))
