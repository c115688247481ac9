"""The conformance checks of HTTP: our server passes all of them, and each of them can fail."""

from __future__ import annotations

import contextlib
import io
import socket
import threading

from twisted.trial.unittest import SynchronousTestCase

from chat.conformance.__main__ import fault, main
from chat.conformance.check import CHECKS, Server
from chat.conformance.wires import Address
from tests.test_conformance import Daemon

HTTP = [check for check in CHECKS.values() if check.codec == "http"]
#: What a liar says in place of what, and the checks that find it out.
LIES = {
    (b'"state": "waiting"', b'"state": "wanting"'): "http-sending",
    (b"ref-reused", b"ref-abused"): "http-same-key",
    (b"unknown-recipient", b"unheard-recipient"): "http-coming-back",
    (b"delivered", b"deliveree"): "http-waiting-for-the-fate",
    (b'"more": true', b'"more": null'): "http-receiving",
    (b'[{"id": ', b'[{"ix": '): "http-long-poll http-receiving http-boxes",
    (b"event: message", b"event: massage"): "http-events http-events-and-receipts",
    (b"recalled", b"reca11ed"): "http-boxes",
    (b"wrong-token", b"wrong-taken"): "http-tokens",
    (b"login-needed", b"login-wanted"): "http-strangers",
    (b"Basic realm", b"Magic realm"): "http-strangers",
    (b"foreign-origin", b"foreign-region"): "http-refusals",
    (b"Allow: POST", b"Allow: POET"): "http-refusals",
    (b'"3.1.0"', b'"3.0.0"'): "http-description",
    (b"HTTP/1.1 2", b"HTTP/1.1 3"): "http-tokens http-long-poll http-boxes",
    (b"problem+json", b"problem+text"): "http-coming-back http-refusals",
    (b"HTTP/1.1", b"HTTQ/1.1"): "http-sending",
    (b"}\n", b"} "): "http-sending http-refusals",
}


class Liar:
    """A door that passes everything on to a server, and its answers back, altered; but for the WebSocket."""

    def __init__(self, door: Address, lie: tuple[bytes, bytes]) -> None:
        self._door = door
        self._lie = lie
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = door._replace(port=self._listener.getsockname()[1])
        self._connections: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                here, _ = self._listener.accept()
                there = socket.create_connection((self._door.host, self._door.port))
                self._connections += [here, there]
                head = here.recv(1 << 16)
                there.sendall(head)
                lie = (b"", b"") if head.startswith(b"GET /socket") else self._lie
                for come, go, said in ((here, there, (b"", b"")), (there, here, lie)):
                    threading.Thread(target=self._pass_on, args=(come, go, said), daemon=True).start()

    @staticmethod
    def _pass_on(come: socket.socket, go: socket.socket, lie: tuple[bytes, bytes]) -> None:
        with contextlib.suppress(OSError):
            while data := come.recv(1 << 20):
                go.sendall(data.replace(*lie) if lie[0] else data)
            go.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Lie no more."""
        for each in (self._listener, *self._connections):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


class HttpTests(SynchronousTestCase):
    """With the real server."""

    def setUp(self) -> None:
        """Start it."""
        self.daemon = Daemon(self.mktemp())
        self.addCleanup(self.daemon.stop)
        self.server: Server = self.daemon.server("web")

    def test_passes(self) -> None:
        """Our server passes every check, and imports nothing once it listens: in a jail it could not."""
        address = self.server.address
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            status = main((f"http://{address.host}:{address.port}", "--patience", "30", "--quiet", "0.05"))
        self.assertEqual((status, out.getvalue().splitlines()[-1]), (0, f"{len(HTTP)} passed, 0 failed"))
        self.daemon.stop()
        self.assertNotIn("Traceback", self.daemon.log)
        _, serving, rest = self.daemon.log.partition("registration is")
        self.assertTrue(serving)
        self.assertEqual([line for line in rest.splitlines() if "import time:" in line], [])

    def test_lies(self) -> None:
        """Each check fails where the server answers otherwise, and each lie is found out."""
        blind = []
        for lie, checks in LIES.items():
            liar = Liar(self.server.address, lie)
            server = self.server._replace(address=liar.address, patience=1.5)
            blind += [f"{lie}: {each}" for each in checks.split() if not fault(CHECKS[each], server)]
            liar.close()
        self.assertEqual(blind, [])
        self.assertEqual(
            {name for checks in LIES.values() for name in checks.split()}, {c.name for c in HTTP}
        )
