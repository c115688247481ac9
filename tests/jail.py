"""A daemon that sits in a directory as a user who may do nothing else, and clients that talk to it there.

L{JailNetwork} is to a real daemon what L{tests.network.Network} is to a server in memory, as far as a
test needs nothing but clients: so the same tests can be made on both.  A client hears when the daemon
has nothing left to do; whether it has, Linux tells.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable

from chat.wire import Codec
from tests.daemon import PATIENCE, STOPPED, environment
from tests.network import SERVER
from tests.talker import Said, Talker, keywords

#: Who the daemon is; it has no name, and nothing else belongs to it.
UID, GID = 64123, 64124
#: Why the tests are not made elsewhere.
NOT_ROOT = (
    None if sys.platform == "linux" and os.geteuid() == 0 else "only root on Linux can put a daemon in a jail"
)
#: The time in every frame, so that tests can tell what a frame must be.
TIME, EXPIRES = "2026-11-22T21:07:00.123Z", "2026-12-22T21:07:00.123Z"

#: Has imported all that C{twistd chat} needs, and becomes one as often as it is asked to.
_NEST = """\
import json, os, sys
import chat.tap
import twisted.scripts._twistd_unix, twisted.scripts.twistd
assert "twisted.internet.reactor" not in sys.modules
for line in sys.stdin:
    folder, log, *words = json.loads(line)
    child = os.fork()
    if child == 0:
        os.chdir(folder)
        null = os.open(os.devnull, os.O_RDONLY)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(null, 0), os.dup2(output, 1), os.dup2(output, 2)
        sys.argv[1:] = words
        twisted.scripts.twistd.run()
        os._exit(1)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Nest:
    """Where daemons come from fast: each is a copy of a process that was made ready once."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _NEST],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def twistd(self, folder: Path, log: Path, *words: str) -> int:
        """The process id of a C{twistd} that was started in this folder."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([str(folder), str(log), *words]) + "\n")
        self._process.stdin.flush()
        return self._number()

    def status(self) -> int:
        """Wait until that one has ended; how it did."""
        return self._number()

    def _number(self) -> int:
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], PATIENCE)[0]:
            raise AssertionError("the daemon does not end")
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """No more daemons."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE)
        self._process.stdout.close()


class JailClient(Talker):
    """A client of a L{JailNetwork}."""

    def __init__(self, network: JailNetwork, codec: Codec | str, connection: socket.socket) -> None:
        super().__init__(codec)
        self._network = network
        self._heard: list[Said] = []
        self._connection = connection
        self.ended = False

    def write(self, data: bytes) -> None:
        """Send these bytes."""
        self._connection.settimeout(PATIENCE)
        self._connection.sendall(data)

    def hear(self) -> list[Said]:
        """Let everything under way be done, then tell what was said since this was last asked."""
        self._network.settle()
        heard, self._heard = self._heard, []
        return heard

    def read(self) -> bool:
        """Take what is there; whether anything was."""
        if self.ended:
            return False
        self._connection.setblocking(False)
        try:
            data = self._connection.recv(1 << 20)
        except BlockingIOError:
            return False
        if not data:
            self.hang_up()
        self._heard += [_timeless(frame) for frame in self.decode(data)]
        return True

    def hang_up(self) -> None:
        """Close the connection."""
        self.ended = True
        self._connection.close()


class JailNetwork:
    """A daemon in a jail, and the clients that are connected to it by UNIX sockets.

    @ivar jail: the directory it cannot leave; its data are there, too.
    """

    def __init__(self, nest: Nest, folder: Path, *options: str) -> None:
        """Start it and wait until it serves."""
        self._nest = nest
        self.jail = folder / "jail"
        self._log = folder / "log"
        self.clients: list[JailClient] = []
        self.jail.mkdir(mode=0o700, parents=True)
        os.chown(self.jail, UID, GID)
        jail = ("--chroot", "jail", "--uid", str(UID), "--gid", str(GID), "--pidfile", "jail/pid")
        doors = ("--json", "unix:json", "--der", "unix:der")
        chat = ("chat", "--data", ".", "--bcrypt-rounds", "4", "--registration", "open", *doors, *options)
        self.pid = nest.twistd(folder, self._log, "-n", *jail, *chat)
        self.running = True
        try:
            self._wait(lambda: (self.jail / "der").exists() or not self._there())
            self._wait(lambda: "registration is" in self.log() or not self._there())
            self.connect().hang_up()
        except BaseException as error:
            self._signal(signal.SIGKILL)
            self.running = False
            raise AssertionError(self.log()) from error

    def log(self) -> str:
        """What it has logged."""
        return self._log.read_text("utf-8") if self._log.exists() else ""

    def _there(self) -> bool:
        return os.path.exists(f"/proc/{self.pid}/cwd")

    def _signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def _wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        pause = 0.001
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"it did not happen:\n{self.log()}")
            time.sleep(pause)
            pause = min(0.02, 2 * pause)

    # --- clients ---

    def client(self, codec: Codec | str = Codec.JSON) -> JailClient:
        """A client that has heard nothing yet."""
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(PATIENCE)
        # The name may have 107 bytes.
        connection.connect(os.path.relpath(self.jail / Codec(codec).value))
        self.clients.append(JailClient(self, codec, connection))
        return self.clients[-1]

    def connect(self, codec: Codec | str = Codec.JSON) -> JailClient:
        """A client that has heard the greeting."""
        client = self.client(codec)
        client.hear()
        return client

    def user(self, name: str, codec: Codec | str = Codec.JSON) -> JailClient:
        """A client that is logged in, as a new user if there was none of that name."""
        client = self.connect(codec)
        client.say_login(name)
        if "welcome" not in keywords(client.hear()):
            client.log_in(name)
        return client

    # --- time ---

    def settle(self) -> None:
        """Wait until the daemon has nothing to do and every client has read all there is."""
        self._wait(self._settled)
        self.clients = [client for client in self.clients if not client.ended]

    def _settled(self) -> bool:
        before = self._at_rest()
        if before is None:
            return False
        time.sleep(0.001)
        # Each is asked: a short cut would leave the rest unread.
        read = [client.read() for client in self.clients]
        return not any(read) and before == self._at_rest()

    def _at_rest(self) -> list[str] | None:
        """How often each thread has begun to wait; C{None} while one of them does not."""
        counts = []
        folder = f"/proc/{self.pid}/task"
        for task in os.listdir(folder):
            try:
                with open(f"{folder}/{task}/status") as stream:
                    status = stream.read()
            except (FileNotFoundError, ProcessLookupError):
                return None
            if "\nState:\tS" not in status:
                return None
            counts.append(task + status[status.index("voluntary_ctxt_switches") :])
        return sorted(counts)

    def status(self) -> str:
        """What Linux says of the process."""
        return Path(f"/proc/{self.pid}/status").read_text()

    def hang_up(self) -> None:
        """Send the signal that means: load anew what may have changed."""
        self._signal(signal.SIGHUP)

    def close(self) -> None:
        """Stop it in order.

        @raise AssertionError: it did not stop so, or has a defect to tell of.
        """
        if not self.running:
            return
        self.running = False
        for client in self.clients:
            client.hang_up()
        self._signal(signal.SIGTERM)
        status, log = self._nest.status(), self.log()
        if status not in (0, -signal.SIGTERM) or STOPPED not in log or "Traceback" in log:
            raise AssertionError(f"exit status {status}:\n{log}")


def _timeless(frame: Said) -> Said:
    """The frame as it would be if time stood still and the server was that of the tests in memory."""
    for name, value in frame.items():
        if isinstance(value, list):
            frame[name] = [_timeless(each) if isinstance(each, dict) else each for each in value]
    fixed: dict[str, Any] = {"time": TIME, "expires": EXPIRES, "server": SERVER}
    # Recovery codes are made by chance.
    return {name: fixed.get(name, value) for name, value in frame.items() if name != "recovery"}
