"""The units for systemd: what they say, and that the server does what they rely on."""

from __future__ import annotations

import re
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from OpenSSL import SSL
from twisted.scripts._twistd_unix import ServerOptions
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from chat.errors import StartError
from chat.service import DEFAULT_DOORS
from chat.tls.certificate import load, make, own
from chat.tls.context import context
from chat.wire import Codec
from tests.daemon import PATIENCE, ROOT, TWISTD, Caller, Daemon
from tests.talker import keywords

UNITS = ROOT / "contrib" / "systemd"
#: As systemd does it: the sockets are number 3 and following, and the process is told so.
_LIKE_SYSTEMD = """\
import fcntl, os, sys
high = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 100) for number in sys.argv[1].split(",")]
for number, descriptor in enumerate(high, 3):
    os.dup2(descriptor, number)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(high)))
os.environ["LISTEN_FDNAMES"] = ":".join(["chat.socket"] * len(high))
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""

#: Without any one of these the server could do more than it needs to.
HARDENED = {
    "AmbientCapabilities": [""],
    "CapabilityBoundingSet": [""],
    "DynamicUser": ["yes"],
    "LockPersonality": ["yes"],
    "NoNewPrivileges": ["yes"],
    "PrivateDevices": ["yes"],
    "PrivateNetwork": ["yes"],
    "PrivateTmp": ["yes"],
    "PrivateUsers": ["yes"],
    "ProtectClock": ["yes"],
    "ProtectControlGroups": ["yes"],
    "ProtectHome": ["yes"],
    "ProtectHostname": ["yes"],
    "ProtectKernelLogs": ["yes"],
    "ProtectKernelModules": ["yes"],
    "ProtectKernelTunables": ["yes"],
    "ProtectProc": ["invisible"],
    "ProtectSystem": ["strict"],
    "RemoveIPC": ["yes"],
    "RestrictAddressFamilies": ["AF_UNIX AF_INET AF_INET6"],
    "RestrictNamespaces": ["yes"],
    "RestrictRealtime": ["yes"],
    "RestrictSUIDSGID": ["yes"],
    "StateDirectoryMode": ["0700"],
    "SystemCallArchitectures": ["native"],
    "SystemCallFilter": ["@system-service", "~@privileged @debug @mount @keyring"],
    "UMask": ["0077"],
}


def read(name: str) -> dict[str, dict[str, list[str]]]:
    """A unit: of each section each key with its values. What is no unit is an error (systemd.syntax)."""
    unit: dict[str, dict[str, list[str]]] = {}
    section: dict[str, list[str]] = {}
    text = (UNITS / name).read_text("ascii").replace("\\\n", " ")
    for line in text.splitlines():
        if not line or line.startswith(("#", ";")):
            continue
        if heading := re.fullmatch(r"\[(\w+)\]", line):
            section = unit.setdefault(heading[1], {})
        elif setting := re.fullmatch(r"([A-Z]\w+)=(.*)", line):
            section.setdefault(setting[1], []).append(setting[2].strip())
        else:
            raise ValueError(f"{name}: {line!r} is no line of a unit")
    return unit


class UnitsTests(SynchronousTestCase):
    """C{contrib/systemd/}."""

    def setUp(self) -> None:
        """Read them."""
        self.service, self.socket = read("chat.service"), read("chat.socket")

    def test_sections(self) -> None:
        """Each has the sections it must have, and the service needs the socket."""
        self.assertEqual(set(self.service), {"Unit", "Service", "Install"})
        self.assertEqual(set(self.socket), {"Unit", "Socket", "Install"})
        self.assertEqual(self.service["Unit"]["Requires"], ["chat.socket"])
        self.assertEqual(self.socket["Install"]["WantedBy"], ["sockets.target"])

    def test_command(self) -> None:
        """C{twistd} understands the command, and nothing in it is for the eyes of few."""
        (command,) = self.service["Service"]["ExecStart"]
        program, *words = shlex.split(command)
        self.assertEqual(Path(program).name, "twistd")
        options = ServerOptions()
        options.parseOptions(words)
        self.assertTrue(options["nodaemon"])
        self.assertEqual((options["pidfile"], options.subCommand), ("", "chat"))
        self.assertEqual(options.subOptions["data"], "%S/chat")
        self.assertEqual(self.service["Service"]["StateDirectory"], ["chat"])
        self.assertEqual(self.service["Service"]["ExecReload"], ["/bin/kill -HUP $MAINPID"])

    def test_doors(self) -> None:
        """The sockets are the doors that the server opens by itself, in the order the service names them."""
        ports = [
            (kind, re.sub(r"tcp:(\d+):interface=(.*)", r"\2:\1", endpoint))
            for kind, endpoint in DEFAULT_DOORS
        ]
        (command,) = self.service["Service"]["ExecStart"]
        named = re.findall(r"--(\w+) systemd:domain=INET:index=(\d)", command)
        streams = self.socket["Socket"]["ListenStream"]
        self.assertEqual([(kind, streams[int(index)]) for kind, index in named], ports)
        self.assertEqual(len(streams), len(named))

    def test_hardened(self) -> None:
        """No right is left that the server does not need."""
        found = {key: self.service["Service"].get(key) for key in HARDENED}
        self.assertEqual(found, HARDENED)

    def test_systemd(self) -> None:
        """Systemd has nothing to say against them, and calls the service safe."""
        analyze = shutil.which("systemd-analyze")
        known = analyze and subprocess.run([analyze, "--help"], capture_output=True, text=True).stdout
        if not analyze or "--offline" not in str(known):
            raise SkipTest("there is no systemd-analyze here, or an old one")
        folder = Path(self.mktemp())
        folder.mkdir()
        for name in ("chat.service", "chat.socket"):
            text = (UNITS / name).read_text("ascii").replace("/opt/chat/bin/twistd", "/bin/true")
            (folder / name).write_text(text)
        service, doors = folder / "chat.service", folder / "chat.socket"
        for words in (
            ("verify", str(service), str(doors)),
            ("security", "--offline=yes", "--threshold=15", str(service)),
        ):
            done = subprocess.run([analyze, *words], capture_output=True, text=True, timeout=PATIENCE)
            self.assertEqual(done.returncode, 0, done.stdout[-500:] + done.stderr)
            self.assertEqual(done.stderr, "")


class MemoryTests(SynchronousTestCase):
    """What the unit cannot forbid."""

    def test_writeAndExecute(self) -> None:
        """Where C{MemoryDenyWriteExecute} is set all the same, TLS says so in one line."""

        def forbidden(self: SSL.Context, callback: object) -> None:
            raise MemoryError("Cannot allocate write+execute memory for ffi.callback()")

        pair = own(Path(self.mktemp()))
        pair.certificate.parent.mkdir()
        make(pair, ["localhost"], 1_800_000_000.0)
        identity = load(pair, 1_800_000_000.0)
        context(identity, [b"chat/json"])
        self.patch(SSL.Context, "set_alpn_select_callback", forbidden)
        error = self.assertRaises(StartError, context, identity, [b"chat/json"])
        self.assertIn("leave out MemoryDenyWriteExecute in the unit", str(error))


class ActivationTests(SynchronousTestCase):
    """The server takes sockets that somebody else has opened."""

    def test_restart(self) -> None:
        """The doors of the units work; who knocks while the server is away is served when it is back."""
        doors = [socket.create_server(("127.0.0.1", 0), backlog=64) for _ in DEFAULT_DOORS]
        numbers = tuple(door.fileno() for door in doors)
        for door in doors:
            self.addCleanup(door.close)
        (command,) = read("chat.service")["Service"]["ExecStart"]
        options = shlex.split(command.partition("%S/chat")[2])
        program = (sys.executable, "-c", _LIKE_SYSTEMD, ",".join(map(str, numbers)), *TWISTD[1:], "-n")
        daemon = Daemon(self)

        def start() -> None:
            daemon.start(*options, program=program, inherited=numbers)

        start()
        ports = [f"127.0.0.1:{door.getsockname()[1]}" for door in doors]
        self.assertEqual(daemon.doors, list(zip([kind for kind, _ in DEFAULT_DOORS], ports)))
        self.assertIn("registration is open", daemon.log[-1])
        alice, bob = daemon.user("alice", "json"), daemon.user("bob", "der")
        alice.send("bob", "hi")
        alice.expect("accepted")
        bob.expect("message")
        (heard, _) = daemon.stop(alice, bob)
        self.assertEqual(keywords(heard), ["fatal shutting-down"])
        early = Caller(daemon.connect("json"), Codec.JSON)
        start()
        early.expect("version", "username")
        early.say_login("bob")
        early.expect("password", "welcome", "message")
        daemon.stop()
        self.assertEqual(daemon.traceback(), "")
