"""The real daemon: C{twistd -n chat} in a process of its own, and clients that call it.

    daemon = Daemon(self)
    daemon.start("--json", "tcp:0:interface=127.0.0.1")
    alice = daemon.call("json")
    alice.sign_up("alice")

Every wait ends: with what was waited for, or after L{PATIENCE} with an error.
"""

from __future__ import annotations

import os
import queue
import random
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, Callable

from twisted.trial.unittest import SynchronousTestCase

from chat.wire import Codec
from tests.talker import Said, Talker, keywords, password

ROOT = Path(__file__).resolve().parent.parent
#: How long anything may take, in seconds: far more than it does, also where much else is under way.
PATIENCE = 120.0
#: What the log says at the end of an orderly stop.
STOPPED = "everything accepted is on disk"

#: As the scripts C{twistd} and C{twist} do it, wherever they are installed.
TWISTD = (sys.executable, "-c", "from twisted.scripts.twistd import run; run()")
TWIST = (sys.executable, "-m", "twisted")


def environment() -> dict[str, str]:
    """In which C{chat} and its plugin are found, from wherever it is started."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


def free_port() -> int:
    """A port on loopback that nobody has, now or by accident later.

    Not one that the system gives to clients: somebody who calls such a port while no server
    listens there may be connected to himself, and then the server cannot have it.
    """
    while True:
        port = random.SystemRandom().randrange(15_000, 30_000)
        with socket.socket() as tried:
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def execute(*command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in this folder to its end."""
    return subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=PATIENCE
    )


class Daemon:
    """A server on a data directory, C{data} in a folder of its own; it can be stopped and started again."""

    def __init__(self, test: SynchronousTestCase) -> None:
        """Nothing is started yet; what is started will be gone when the test is over."""
        self._test = test
        self.folder = Path(test.mktemp()).resolve()
        self.folder.mkdir()
        self.log: list[str] = []
        self.doors: list[tuple[str, str]] = []
        self.encrypted: set[str] = set()
        self._connections: list[socket.socket] = []
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader: threading.Thread | None = None

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    def start(
        self, *options: str, program: tuple[str, ...] = (*TWISTD, "-n"), inherited: tuple[int, ...] = ()
    ) -> None:
        """Start it with these options and wait until it listens.

        @param inherited: file descriptors that the program gets, with the numbers they have here.
        """
        self.doors.clear()
        self.encrypted.clear()
        command = [*program, "chat", "--data", "data", "--bcrypt-rounds", "4", *options]
        self._process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            pass_fds=inherited,
        )
        self._test.addCleanup(self.kill)
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()
        while "registration is" not in self._next_line():
            if door := re.search(r"(\w+) door listening on (\S+?)(, TLS|, plaintext)?$", self.log[-1]):
                self.doors.append((door[1], door[2]))
                if door[3] == ", TLS":
                    self.encrypted.add(door[2])
        # It listens, but does it run? Until then a signal would end it where it stands.
        kind = self.doors[0][0]
        connection = self.connect(kind)
        if kind == "web":
            connection.sendall(b"HEAD / HTTP/1.0\r\n\r\n")
        connection.recv(1)
        connection.close()

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def _next_line(self) -> str:
        line = self._lines.get(timeout=PATIENCE)
        if line is None:
            raise AssertionError("The server ended:\n" + "\n".join(self.log))
        self.log.append(line)
        return line

    def _rest(self) -> None:
        while (line := self._lines.get(timeout=PATIENCE)) is not None:
            self.log.append(line)

    def stop(self, *callers: Caller) -> list[list[Said]]:
        """Ask it to stop, as C{kill} and C{systemctl stop} do, and wait until it has.

        @return: what each of these callers still heard.
        """
        self._signal(signal.SIGTERM)
        heard = [caller.rest() for caller in callers]
        for connection in self._connections:
            connection.close()
        self.ended()
        return heard

    def ended(self) -> None:
        """Wait until it has stopped as it should."""
        # twistd shuts everything down, and then ends by the signal that it was sent.
        status = self._end()
        if status not in (0, -signal.SIGTERM) or STOPPED not in "\n".join(self.log):
            raise AssertionError(f"exit status {status}:\n" + "\n".join(self.log))

    def until_said(self, words: str) -> None:
        """Wait until the log says this."""
        while words not in self._next_line():
            pass

    def kill(self) -> None:
        """End it where it stands; harmless when it is gone."""
        if self._reader is not None:
            self._signal(signal.SIGKILL)
            self._end()

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _end(self) -> int:
        process, reader = self._process, self._reader
        assert process is not None and process.stdout is not None and reader is not None
        status = process.wait(PATIENCE)
        self._rest()
        reader.join(PATIENCE)
        process.stdout.close()
        self._reader = None
        return status

    def traceback(self) -> str:
        """The log so far from the first traceback on, empty if there is none."""
        while not self._lines.empty() and (line := self._lines.get()) is not None:
            self.log.append(line)
        text = "\n".join(self.log)
        return text[text.index("Traceback") :] if "Traceback" in text else ""

    def descriptors(self) -> int:
        """How many file descriptors it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def resident(self) -> int:
        """How much memory it uses, in bytes."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    # --- clients ---

    def connect(self, kind: str, number: int = 0) -> socket.socket:
        """A connection to a door of this kind, the first or a later one; encrypted where it has to be."""
        address = [where for door, where in self.doors if door == kind][number]
        connection = self.reach(address)
        if address in self.encrypted:
            connection = trusting().wrap_socket(connection)
            self._connections.append(connection)
            self._test.addCleanup(connection.close)
        return connection

    def reach(self, address: str) -> socket.socket:
        """A bare connection to a door."""
        if address.startswith("unix:"):
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(PATIENCE)
            # The name may have 107 bytes, and is relative to the daemon's folder.
            connection.connect(os.path.relpath(self.folder / address[5:]))
        else:
            host, port = address.rsplit(":", 1)
            connection = socket.create_connection((host, int(port)), PATIENCE)
        self._connections.append(connection)
        self._test.addCleanup(connection.close)
        return connection

    def call(self, kind: str, number: int = 0) -> Caller:
        """A client that has heard the greeting."""
        caller = Caller(self.connect(kind, number), Codec(kind))
        caller.expect("version", "username")
        return caller

    def user(self, name: str, kind: str = "json") -> Caller:
        """A client that is logged in; the account is made if there is none."""
        caller = self.call(kind)
        caller.say_login(name)
        if keywords([caller.next()]) == ["new-password"]:
            caller.expect("created", "username")
            caller.say_login(name)
            caller.expect("password")
        caller.expect("welcome")
        return caller


def trusting() -> ssl.SSLContext:
    """What takes any certificate: who answers is known."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Caller(Talker):
    """A client on a real connection; what it waits for comes, or the test fails."""

    def __init__(self, connection: socket.socket, codec: Codec) -> None:
        super().__init__(codec)
        self.connection = connection
        self._heard: list[Said] = []

    def write(self, data: bytes) -> None:
        """Send these bytes."""
        self.connection.sendall(data)

    def next(self) -> Said:
        """The next frame.

        @raise EOFError: the server has hung up.
        """
        while not self._heard:
            data = self.connection.recv(1 << 16)
            if not data:
                raise EOFError("the server has hung up")
            self._heard += self.decode(data)
        return self._heard.pop(0)

    def expect(self, *words: str) -> list[Said]:
        """The next frames, which must be these, as L{keywords} writes them."""
        heard: list[Said] = []
        while len(heard) < len(words):
            heard.append(self.next())
            if keywords(heard) != list(words[: len(heard)]):
                raise AssertionError(f"heard {keywords(heard)} and not {words}: {heard[-1]}")
        return heard

    def rest(self) -> list[Said]:
        """Everything until the server hangs up."""
        heard: list[Said] = []
        try:
            while True:
                heard.append(self.next())
        except EOFError:
            return heard

    def hang_up(self) -> None:
        """Close the connection."""
        self.connection.close()


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that another process does and tells nobody of."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("it did not happen")
        time.sleep(0.01)


__all__ = [
    "PATIENCE",
    "ROOT",
    "TWIST",
    "TWISTD",
    "Caller",
    "Daemon",
    "execute",
    "free_port",
    "password",
    "trusting",
    "until",
]
