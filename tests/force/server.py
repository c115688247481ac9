"""The real daemon as a process that clients find at the same addresses, however often it is ended."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from tests.daemon import TWISTD, environment, free_port

#: What a start may take, in seconds.
START_SECONDS = 60.0
#: What an orderly stop may take: the server waits at most 5 s for clients that do not read, and
#: closes what is then still open.
STOP_SECONDS = 30.0


class Server:
    """A data directory in C{folder}, and one daemon after another on it.

    @ivar ports: the port of each door.
    @ivar starts: how often it was started.
    """

    def __init__(self, reactor: Any, folder: Path, *options: str) -> None:
        """Choose the ports; nothing runs yet."""
        self._reactor = reactor
        self.folder = folder
        self.data = folder / "data"
        self.ports = {kind: free_port() for kind in ("json", "der")}
        self.starts = 0
        self._options = options
        self._life: Life | None = None

    def address(self, kind: str) -> str:
        """Where the door of this kind is."""
        return f"127.0.0.1:{self.ports[kind]}"

    def start(self) -> Life:
        """Start it."""
        self.starts += 1
        environ = environment()
        # Hundreds of starts: compile once, and have no start measured.
        del environ["PYTHONDONTWRITEBYTECODE"]
        environ["PYTHONPYCACHEPREFIX"] = str(self.folder / "bytecode")
        environ.pop("COVERAGE_PROCESS_START", None)
        command = [
            *TWISTD,
            "-n",
            "--pidfile=",
            "chat",
            "--data",
            "data",
            "--bcrypt-rounds",
            "4",
            *self._options,
        ]
        for kind, port in self.ports.items():
            command += [f"--{kind}", f"tcp:{port}:interface=127.0.0.1"]
        self._life = life = Life(self._reactor)
        self._reactor.spawnProcess(life, command[0], command, environ, str(self.folder))
        return life


class Life(ProcessProtocol):
    """One process of the server, from its start to its end.

    @ivar log: what it has said.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.log: list[str] = []
        self._rest = b""
        self._listening = False
        self._over = False
        self._listens: list[Deferred[bool]] = []
        self._ends: list[Deferred[None]] = []

    # --- what is asked of it ---

    def listening(self) -> Deferred[bool]:
        """Fires when all doors are open; with C{False} if it ended before."""
        fires: Deferred[bool] = Deferred()
        if self._listening or self._over:
            fires.callback(self._listening)
        else:
            self._listens.append(fires)
            fires.addTimeout(START_SECONDS, self._reactor)
        return fires

    def end(self, signal: str) -> Deferred[None]:
        """End it with this signal; fires when the process is gone."""
        fires: Deferred[None] = Deferred()
        if self._over:
            fires.callback(None)
            return fires
        self._ends.append(fires)
        fires.addTimeout(STOP_SECONDS, self._reactor)
        assert self.transport is not None
        self.transport.signalProcess(signal)
        return fires

    @property
    def is_listening(self) -> bool:
        """Whether all doors were opened."""
        return self._listening

    @property
    def over(self) -> bool:
        """Whether the process is gone."""
        return self._over

    @property
    def faults(self) -> list[str]:
        """The lines of the log that tell of a fault in the server."""
        return [line for line in self.log if "Traceback" in line or "cannot start" in line or "Error" in line]

    # --- see ProcessProtocol ---

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """A piece of the log."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        self.log += [line.decode("utf-8", "replace") for line in lines]
        if not self._listening and any(b"registration is" in line for line in lines):
            self._listening = True
            self._tell(True)

    def processEnded(self, reason: Failure) -> None:
        """The process is gone, and its log is complete."""
        self._over = True
        self._tell(False)
        ends, self._ends = self._ends, []
        for fires in ends:
            fires.callback(None)

    def _tell(self, listening: bool) -> None:
        listens, self._listens = self._listens, []
        for fires in listens:
            fires.callback(listening)


def pages_of(folder: Path) -> list[Path]:
    """The database files there, with what lies beside them."""
    return sorted(Path(entry.path) for entry in os.scandir(folder) if ".db" in entry.name)
