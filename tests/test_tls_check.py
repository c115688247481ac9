"""C{chatctl check} and TLS: the certificate, its key, and doors that speak it."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from twisted.trial.unittest import SynchronousTestCase

from chat.admin import doors
from chat.admin.certificates import looked_over
from chat.admin.doors import answers
from chat.admin.grade import Grade, Line
from chat.store.files import DataDirectory, schemas
from chat.tls.certificate import Pair, make, own, read
from tests.daemon import PATIENCE
from tests.network import START
from tests.test_check import called
from tests.tls import given, key_pem


class CertificateTests(SynchronousTestCase):
    """What is said of a certificate."""

    def setUp(self) -> None:
        """A folder for it."""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def said(self, pair: Pair, grade: Grade, now: float = START) -> list[str]:
        """What is said of it with this grade."""
        return [line.text for line in looked_over(pair, now)[0] if line.grade is grade]

    def test_own(self) -> None:
        """The server's own: for whom, by what it is known, until when, and that nobody else has the key."""
        pair = own(self.folder)
        make(pair, ["192.0.2.7"], START)
        identity = read(pair)
        lines, fingerprint = looked_over(pair, START)
        self.assertEqual(fingerprint, identity.fingerprint)
        self.assertEqual({line.grade for line in lines}, {Grade.OK})
        self.assertIn("localhost, 192.0.2.7, 127.0.0.1", lines[0].text)
        self.assertEqual(
            [line.text for line in lines[1:]],
            [
                f"fingerprint {identity.fingerprint}",
                f"in words: {identity.words}",
                f"{pair.certificate} is good until 2036-11-21",
                f"{pair.key} is kept from others",
            ],
        )

    def test_none(self) -> None:
        """Nothing is said where none was needed yet; a key alone waits for its certificate."""
        pair = own(self.folder)
        self.assertEqual(looked_over(pair, START), ([], None))
        pair.key.write_bytes(key_pem(ec.generate_private_key(ec.SECP256R1())))
        self.assertEqual(
            self.said(pair, Grade.OK),
            ["tls-key.pem is there: the next start that needs it makes a certificate"],
        )

    def test_lifetime(self) -> None:
        """Thirty days before it expires there is a warning, after that an error."""
        for days, grade, words in (
            (31, Grade.OK, "is good until 2026-12-23"),
            (29.5, Grade.WARNING, "expires on 2026-12-22, in 29 days: renew it in time"),
            (-1, Grade.ERROR, "expired on 2026-11-21: renew it"),
        ):
            lines = self.said(given(self.folder, days), grade)
            self.assertTrue(any(words in line for line in lines), lines)
        pair = given(self.folder)
        (line,) = [each for each in self.said(pair, Grade.WARNING, START - 401 * 86400) if "clock" in each]
        self.assertIn("is good from 2025-10-18 on only", line)

    def test_names(self) -> None:
        """One without names is for nobody in particular."""
        self.assertIn("for nobody in particular", self.said(given(self.folder), Grade.OK)[0])

    def test_key(self) -> None:
        """A key that others can read is worth a warning; a group may share one, but not the server's own."""
        pair = given(self.folder)
        made = Pair(pair.certificate, pair.key, made=True)
        for mode, judged in ((0o600, (True, True)), (0o640, (True, False)), (0o644, (False, False))):
            pair.key.chmod(mode)
            found = tuple(not self.said(each, Grade.WARNING) for each in (pair, made))
            self.assertEqual(found, judged, oct(mode))
        self.assertIn("has mode 0644, others get at the key", self.said(pair, Grade.WARNING)[0])

    def test_unusable(self) -> None:
        """What would end a start is an error, in the same words."""
        pair = given(self.folder)
        pair.key.write_bytes(b"")
        (line,) = self.said(pair, Grade.ERROR)
        self.assertIn(f"{pair.key} holds no private key", line)
        self.assertIsNone(looked_over(pair, START)[1])


class DoorTests(SynchronousTestCase):
    """A door with TLS."""

    def serve(self, pair: Pair, said: bytes | None = b'{"type"') -> tuple[str, int]:
        """A server with this certificate, which says this once it has shaken hands; where it is.

        @param said: C{None}: nothing before it is asked, and then HTTP.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        listening = socket.create_server(("127.0.0.1", 0))

        def run() -> None:
            connection, _ = listening.accept()
            # First it is asked in plain words, as at a door with HTTP.
            with connection, contextlib.suppress(ssl.SSLError):
                context.wrap_socket(connection, server_side=True)
            connection, _ = listening.accept()
            with context.wrap_socket(connection, server_side=True) as encrypted:
                if said is None:
                    encrypted.sendall(b"HTTP/1.1 200 OK" if encrypted.recv(1024) else b"")
                elif said:
                    encrypted.sendall(said)
                    with contextlib.suppress(OSError):  # until the visitor has heard it
                        encrypted.recv(1024)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self.addCleanup(listening.close)
        self.addCleanup(thread.join, PATIENCE)
        host, port = listening.getsockname()
        return host, port

    def setUp(self) -> None:
        """A data directory with a certificate, and little patience."""
        self.patch(doors, "HESITATION", 0.05)
        self.patch(doors, "PATIENCE", PATIENCE)
        self.data = Path(self.mktemp())
        directory = DataDirectory(self.data, schemas())
        directory.open()
        directory.close()
        make(own(self.data), [], time.time())

    def test_answers(self) -> None:
        """It answers over TLS, with the certificate that is in the data directory."""
        host, port = self.serve(own(self.data))
        status, said, _ = called("check", "--data", str(self.data), "--door", f"{host}:{port}")
        self.assertEqual(status, 0)
        self.assertEqual(said[-1], f"ok       door {host}:{port} answers, in JSON over TLS")
        self.assertIn(f"ok       fingerprint {read(own(self.data)).fingerprint}", said)

    def test_given(self) -> None:
        """What an operator has given is looked at in place of the server's own, and must be what is shown."""
        folder = Path(self.mktemp())
        folder.mkdir()
        pair = given(folder, now=time.time())
        both = folder / "both.pem"
        both.write_bytes(pair.key.read_bytes() + pair.certificate.read_bytes())
        os.chmod(both, 0o600)
        host, port = self.serve(own(self.data))
        arguments = [
            "check",
            "--data",
            str(self.data),
            "--door",
            f"{host}:{port}",
            "--certificate",
            str(both),
        ]
        _, said, _ = called(*arguments)
        self.assertIn(f"ok       fingerprint {read(pair).fingerprint}", said)
        shown = read(own(self.data)).fingerprint
        self.assertEqual(
            said[-1],
            f"warning  door {host}:{port} shows another certificate, {shown}: is it this server's?",
        )

    def test_unknown(self) -> None:
        """Where it is not known which one should be shown, any will do."""
        (line,) = answers(self.serve(own(self.data), b"chat"))
        self.assertTrue(line.text.endswith("answers, in text over TLS"), line)

    def test_web(self) -> None:
        """The door of a web page is asked, over TLS, too."""
        (line,) = answers(self.serve(own(self.data), None))
        self.assertEqual(line.grade, Grade.OK)
        self.assertTrue(line.text.endswith("answers, in HTTP over TLS"), line)

    def test_hangsUp(self) -> None:
        """A server that shakes hands and says nothing does not work."""
        (line,) = answers(self.serve(own(self.data), b""))
        self.assertEqual(line.grade, Grade.ERROR)

    def test_neither(self) -> None:
        """What speaks neither first nor TLS is another program."""
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)

        def run() -> None:
            for _ in range(2):
                connection, _ = listening.accept()
                with connection:
                    connection.recv(1024)
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self.addCleanup(thread.join, PATIENCE)
        host, port = listening.getsockname()
        (line,) = answers((host, port))
        self.assertEqual(
            line,
            Line(
                Grade.WARNING,
                f"door {host}:{port} says nothing within {PATIENCE:g} seconds that a chat server would:"
                " is it another program, or a door for a proxy?",
            ),
        )
