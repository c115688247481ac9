"""The daemon in a jail: C{twistd --chroot DIR --uid UID --gid GID chat}, as root starts it.

What is said is what L{tests.test_conversation} says to a server in memory.
"""

from __future__ import annotations

import atexit
import inspect
import os
import re
import signal
import socket
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any, Mapping, cast

from tests import test_conversation
from tests.daemon import PATIENCE, STOPPED, environment, trusting, until
from tests.jail import GID, NOT_ROOT, UID, JailNetwork, Nest
from tests.network import Network, NetworkTestCase

#: What a test can do with a server in memory only: stop time, slow the disk, look into the rooms.
_INSIDE = re.compile(r"network\.(?!connect|user|settle|client)\w+|\.wire\b|\.reads\b|\.clings\b|Network\(")


@lru_cache
def nest() -> Nest:
    """Where all daemons of these tests come from."""
    made = Nest()
    atexit.register(made.close)
    return made


def owners(folder: Path) -> set[tuple[int, int]]:
    """Whose a folder is, and all that is in it: user and group."""
    return {(found.st_uid, found.st_gid) for found in map(Path.lstat, (folder, *folder.rglob("*")))}


def free(port: int) -> bool:
    """Whether nobody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def in_memory_only(name: str, members: Mapping[str, Any]) -> bool:
    """Whether the test of this name, or what it calls, needs more of its server than that it is there."""
    source = inspect.getsource(members[name])
    called = set(re.findall(r"self\.(\w+)\(", source)) & set(members) - {name}
    return _INSIDE.search(source) is not None or any(in_memory_only(each, members) for each in called)


class JailTestCase(NetworkTestCase):
    """A test with a daemon in a jail, C{self.network}; when it is over the daemon has stopped in order."""

    skip = NOT_ROOT
    jailed: JailNetwork

    def start(self, *options: str, **settings: Any) -> None:
        """Start a daemon that was never used, with these options."""
        self.jailed = JailNetwork(nest(), Path(self.mktemp()).resolve(), *options)
        self.addCleanup(self.jailed.close)
        self.network = cast(Network, self.jailed)

    def clean(self) -> None:
        """Stop the daemon; every message is accounted for, and all that is there belongs to the user."""
        self.jailed.close()
        audit = subprocess.run(
            [sys.executable, "-m", "chat.admin.main", "audit", "--data", str(self.jailed.jail)],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        self.assertEqual(audit.returncode, 0, audit.stdout + audit.stderr)
        left = sorted(path.name for path in self.jailed.jail.iterdir())
        self.assertEqual(left, ["lock", "messages.db", "passwords.db", "users.db"])
        self.assertEqual(owners(self.jailed.jail), {(UID, GID)})


class WordForWordTests(JailTestCase, test_conversation.WordForWordTests):
    """The lines of protocol.md, as they are written there."""

    def test_conversation(self) -> None:
        """The conversation; then a reload, which disturbs nobody, and a stop that leaves all in order."""
        super().test_conversation()
        self.jailed.hang_up()
        self.jailed.settle()
        self.jailed.user("carol").send("carol", "still here")
        self.clean()


def in_jail(tests: type[test_conversation.JSONTests]) -> type[JailTestCase]:
    """The same tests, made in a jail, as far as they can be."""
    made = {
        name: member
        for name, member in vars(tests).items()
        if not (name.startswith("test_") and in_memory_only(name, vars(tests)))
    }
    return type(tests.__name__, (JailTestCase,), {**made, "__module__": __name__})


JSONTests = in_jail(test_conversation.JSONTests)


class MetricsTests(JailTestCase):
    """What is imported only when somebody asks for it."""

    def setUp(self) -> None:
        """There is a web door."""
        self.start("--web", "unix:web")

    def test_asked(self) -> None:
        """The numbers are told in the jail, too: what writes them down was imported before."""
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(PATIENCE)
            asking.connect(os.path.relpath(self.jailed.jail / "web"))
            asking.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = b"".join(iter(lambda: asking.recv(65536), b""))
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), answer[:200])
        self.assertIn(b"\nchat_healthy 1.0\n", answer)
        self.clean()


class RightsTests(JailTestCase):
    """What the daemon can do there, and what it says when it cannot start."""

    def setUp(self) -> None:
        """Nothing is started yet."""
        self.folder = Path(self.mktemp()).resolve()
        self.jail = self.folder / "jail"
        self.jail.mkdir(mode=0o700, parents=True)
        os.chown(self.jail, UID, GID)

    def twistd(self, *words: str) -> tuple[int, list[str]]:
        """The exit status of C{twistd} with these words, and what it said and logged."""
        log = self.folder / "log"
        nest().twistd(self.folder, log, *words)
        status = nest().status()
        said = log.read_text("utf-8")
        self.assertNotIn("Traceback", said)
        log.unlink()
        return status, said.splitlines()

    def cannot(self, *words: str, data: str = ".") -> str:
        """The line in which C{twistd} with these words says why it does not start."""
        status, said = self.twistd("-n", *words, "chat", "--data", data, "--json", "unix:json")
        self.assertEqual(status, 1, said)
        (line,) = [line for line in said if line.startswith("chat: ")]
        return line.removeprefix("chat: ")

    def test_background(self) -> None:
        """In the background: a port of root's, TLS, no way back to root; the pid file goes with it."""
        port = next(port for port in range(1023, 600, -1) if free(port))
        who = ("--chroot", "jail", "--uid", str(UID), "--gid", str(GID), "--logfile", "twistd.log")
        door = ("--json", f"tcp:{port}:interface=127.0.0.1", "--tls")
        status, said = self.twistd(*who, "chat", "--data", ".", *door)
        self.assertEqual((status, said), (0, []))
        pid_file = self.jail / "twistd.pid"
        pid = int(pid_file.read_text())
        try:
            self.assertEqual(os.readlink(f"/proc/{pid}/root"), str(self.jail))
            self.assertEqual(os.readlink(f"/proc/{pid}/cwd"), str(self.jail))
            known = dict(re.findall(r"^(\w+):\t(.*?)\s*$", Path(f"/proc/{pid}/status").read_text(), re.M))
            self.assertEqual(known["Uid"], "\t".join([str(UID)] * 4))
            self.assertEqual(known["Gid"], "\t".join([str(GID)] * 4))
            self.assertEqual(known["Groups"], str(GID))
            for kind in ("CapInh", "CapPrm", "CapEff"):
                self.assertEqual(int(known[kind], 16), 0, kind)
            self.assertGreets(port)
            os.kill(pid, signal.SIGHUP)
            self.assertGreets(port)
            os.kill(pid, signal.SIGTERM)
            until(lambda: not pid_file.exists())
        except BaseException:
            os.kill(pid, signal.SIGKILL)
            raise
        log = (self.folder / "twistd.log").read_text("utf-8")
        self.assertIn(f"the server is user {UID}, group {GID}, in {self.jail}, and nobody else", log)
        self.assertIn(STOPPED, log)
        self.assertNotIn("Traceback", log)
        self.assertEqual(owners(self.jail), {(UID, GID)})

    def assertGreets(self, port: int) -> None:
        """A server behind TLS greets whoever comes to this port."""
        with trusting().wrap_socket(socket.create_connection(("127.0.0.1", port), PATIENCE)) as connection:
            self.assertIn(b'"version"', connection.recv(1000))

    def test_withoutJail(self) -> None:
        """C{--uid} and C{--gid} alone: the user's rights, in the folder the server was started in."""
        data = self.folder / "data"
        data.mkdir(mode=0o700)
        line = self.cannot("--pidfile=", "--uid", str(UID), "--gid", str(GID), data="data")
        self.assertIn(f"User {UID} cannot write in data: chown -R {UID}:{GID} data, or", line)
        self.assertEqual(list(data.iterdir()), [])

    def test_notTheirs(self) -> None:
        """A directory that is not the user's is named as the operator knows it, with the remedy."""
        who = ("--chroot", "jail", "--uid", str(UID), "--gid", str(GID))
        os.chown(self.jail, 0, 0)
        line = self.cannot(*who)
        self.assertIn(f"User {UID} cannot write in {self.jail}: chown -R {UID}:{GID} {self.jail}, or", line)
        self.jail.chmod(0o755)
        line = self.cannot(*who, data="mail")
        self.assertIn(f"User {UID} cannot write in {self.jail}: chown {UID}:{GID} {self.jail}, or", line)
        (self.jail / "mail").mkdir(mode=0o700)
        line = self.cannot(*who, data="/mail")
        self.assertIn(f"cannot write in {self.jail}/mail: chown -R {UID}:{GID} {self.jail}/mail", line)
        os.chown(self.jail / "mail", UID, GID)
        line = self.cannot(*who, data="/mail")
        self.assertIn(f"The pid file {self.jail}/twistd.pid cannot be written", line)
        self.assertEqual(list((self.jail / "mail").iterdir()), [])

    def test_usage(self) -> None:
        """What cannot be meant is said before anything is done."""
        uid, gid = ("--uid", str(UID)), ("--gid", str(GID))
        for words, part in (
            (("--chroot", "nowhere", *uid, *gid), "--chroot nowhere is no directory"),
            (("--chroot", "jail"), "name another user with --uid"),
            (("--chroot", "jail", "--uid", "0"), "name another user with --uid"),
            (uid, f"user {UID} has no name here: name its group, too, with --gid"),
            ((*uid, *gid, "--euid"), "--euid keeps root's rights within reach"),
            (("--chroot", "jail", *uid, *gid, "--pidfile", "pid"), f"pid is outside of --chroot {self.jail}"),
        ):
            self.assertIn(part, self.cannot(*words))
        self.assertEqual(list(self.jail.iterdir()), [])
