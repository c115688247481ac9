"""TLS with the real daemon: what others see on the wire, what openssl says of it, and new certificates."""

from __future__ import annotations

import os
import re
import selectors
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from chat.tls.fingerprint import fingerprint
from chat.wire import Codec
from tests.daemon import PATIENCE, Caller, Daemon, password, trusting, until
from tests.tls import given


class Eavesdropper:
    """Sits between a client and the server, and writes down every byte that goes by.

    @ivar port: where clients reach the server through it.
    """

    def __init__(self, test: SynchronousTestCase, host: str, port: int) -> None:
        """Wait for one client."""
        self.seen = bytearray()
        self._server = (host, port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        test.addCleanup(self._listening.close)

    def everything(self) -> bytes:
        """All that was said in either direction, once both sides have hung up."""
        self._thread.join(PATIENCE)
        return bytes(self.seen)

    def _listen(self) -> None:
        client, _ = self._listening.accept()
        with client, socket.create_connection(self._server, PATIENCE) as server:
            chosen = selectors.DefaultSelector()
            chosen.register(client, selectors.EVENT_READ, server)
            chosen.register(server, selectors.EVENT_READ, client)
            while chosen.get_map():
                for key, _ in chosen.select(PATIENCE):
                    assert isinstance(key.fileobj, socket.socket)
                    said = key.fileobj.recv(1 << 16)
                    if said:
                        self.seen += said
                        key.data.sendall(said)
                    else:
                        chosen.unregister(key.fileobj)
                        key.data.shutdown(socket.SHUT_WR)
            chosen.close()


class RealTestCase(SynchronousTestCase):
    """A daemon of its own."""

    def setUp(self) -> None:
        """It is not started yet."""
        self.daemon = Daemon(self)

    @property
    def address(self) -> tuple[str, int]:
        """Where its first door is, from this machine."""
        return "127.0.0.1", int(self.daemon.doors[0][1].rpartition(":")[2])


class WireTests(RealTestCase):
    """What somebody sees who reads everything on the wire."""

    #: What nobody else should see.
    SECRETS = (
        "alice-of-the-mill",
        password("alice-of-the-mill"),
        "a planted subject",
        "a planted body",
        "keyword",
    )

    def conversation(self, encrypted: bool) -> bytes:
        """A whole conversation, and what was to be seen of it on the wire."""
        name = self.SECRETS[0]
        wire = Eavesdropper(self, *self.address)
        connection = socket.create_connection(("127.0.0.1", wire.port), PATIENCE)
        self.addCleanup(connection.close)
        if encrypted:
            connection = trusting().wrap_socket(connection)
            self.addCleanup(connection.close)
        caller = Caller(connection, Codec.JSON)
        caller.expect("version", "username")
        caller.say_login(name)
        caller.expect("new-password", "created", "username")
        caller.say_login(name)
        caller.expect("password", "welcome")
        caller.send(name, self.SECRETS[3], subject=self.SECRETS[2])
        caller.expect("accepted", "message")
        caller.system("quit")
        caller.expect("bye")
        caller.rest()
        caller.hang_up()
        return wire.everything()

    def found(self, seen: bytes) -> list[str]:
        """Which of the secrets were to be seen."""
        self.assertGreater(len(seen), 1000)
        return [secret for secret in self.SECRETS if secret.encode() in seen]

    def test_encrypted(self) -> None:
        """At a door that others can reach, nothing of a conversation can be read."""
        self.daemon.start("--json", "tcp:0", "--registration", "open")
        self.assertEqual(self.found(self.conversation(encrypted=True)), [])

    def test_plaintext(self) -> None:
        """With C{--allow-plaintext} all of it can: this is how it looks when the other test fails."""
        self.daemon.start("--json", "tcp:0", "--registration", "open", "--allow-plaintext")
        self.assertEqual(self.found(self.conversation(encrypted=False)), list(self.SECRETS))
        self.assertIn(
            f"json door listening on 0.0.0.0:{self.address[1]}, plaintext", "\n".join(self.daemon.log)
        )


class OpenSSLTests(RealTestCase):
    """What C{openssl s_client} has to say."""

    def says(self, *options: str) -> str:
        """All that it says of a connection with these options."""
        done = subprocess.run(
            ["openssl", "s_client", "-connect", ":".join(map(str, self.address)), *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE,
        )
        return done.stdout.decode("utf-8", "replace")

    def test_agreed(self) -> None:
        """Keys by Diffie-Hellman for each connection, TLS 1.2 or later, ALPN; the log has the fingerprint."""
        self.daemon.start("--json", "tcp:0")
        said = self.says()
        self.assertIn("New, TLSv1.3", said)
        self.assertRegex(said, r"Server Temp Key: X25519|Negotiated TLS1.3 group: X25519")
        self.assertIn("No ALPN negotiated", said)
        said = self.says("-tls1_2", "-alpn", "chat/der")
        self.assertRegex(said, r"New, TLSv1\.2, Cipher is ECDHE-ECDSA-AES\d+-GCM")
        self.assertRegex(said, "(Server|Peer) Temp Key: (X25519|ECDH), ")
        self.assertIn("Compression: NONE", said)
        self.assertIn("ALPN protocol: chat/der", said)
        for refused, alert in (
            (["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], "alert protocol version"),
            (["-tls1_2", "-cipher", "kRSA"], "handshake failure"),
            (["-alpn", "h2,http/1.1"], "alert no application protocol"),
        ):
            self.assertIn(alert, self.says(*refused), refused)
        (known,) = re.findall(r"fingerprint (SHA256:\S+)", "\n".join(self.daemon.log))
        shown = subprocess.run(
            ["openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", "data/tls-certificate.pem"],
            cwd=self.daemon.folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        self.assertEqual(known, "SHA256:" + shown.stdout.strip().rpartition("=")[2])
        self.assertEqual(fingerprint(self.certificate()), known)
        self.assertEqual(self.daemon.traceback(), "")

    def certificate(self) -> bytes:
        """The certificate that the server shows."""
        connection = self.daemon.connect("json")
        shown = connection.getpeercert(True)  # type: ignore[attr-defined]
        connection.close()
        assert isinstance(shown, bytes)
        return shown

    def test_endpoint(self) -> None:
        """An C{ssl:} endpoint of Twisted's, whose certificate is its own affair, agrees by ALPN, too."""
        given(self.daemon.folder, 10, time.time())
        self.daemon.start("--json", "ssl:0:privateKey=key.pem:certKey=chain.pem")
        self.assertRegex(self.daemon.log[-2], "json door listening on 0.0.0.0:[0-9]+, TLS$")
        self.assertFalse((self.daemon.folder / "data/tls-key.pem").exists())
        self.assertIn("ALPN protocol: chat/text", self.says("-alpn", "chat/text"))
        self.assertIn("No ALPN negotiated", self.says("-alpn", "h2"))


class ReloadTests(RealTestCase):
    """A certificate that is renewed while people talk."""

    def test_hangup(self) -> None:
        """After C{kill -HUP} new connections are shown the new certificate; those that stand go on."""
        pair = given(self.daemon.folder, 10, time.time())
        options = (
            "--json",
            "tcp:0",
            "--registration",
            "open",
            "--certificate",
            "chain.pem",
            "--key",
            "key.pem",
        )
        self.daemon.start(*options)
        before = self.daemon.user("alice")
        aside = Path(self.daemon.folder / "aside")
        aside.mkdir()
        new = given(aside, 20, time.time())
        os.replace(new.certificate, pair.certificate)
        os.replace(new.key, pair.key)
        os.kill(self.daemon.pid, signal.SIGHUP)
        until(lambda: self.shown(self.daemon.connect("json")) != self.shown(before.connection))
        before.send("alice", "still here")
        before.expect("accepted", "message")
        after = self.daemon.user("alice")
        after.expect("message")
        self.daemon.stop(before, after)
        self.assertIn("There is a new TLS certificate", "\n".join(self.daemon.log))

    def shown(self, connection: socket.socket) -> bytes:
        """The certificate that the server has shown on this connection."""
        shown = connection.getpeercert(True)  # type: ignore[attr-defined]
        assert isinstance(shown, bytes)
        return shown
