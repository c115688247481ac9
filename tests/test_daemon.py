"""The real daemon, over real sockets, on real files."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Iterator

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.trial.unittest import SynchronousTestCase

from chat.wire import Codec
from tests.daemon import PATIENCE, STOPPED, TWIST, TWISTD, Caller, Daemon, execute, password, until
from tests.talker import keywords

LOOPBACK = "tcp:0:interface=127.0.0.1"
DOORS = ("--text", LOOPBACK, "--json", LOOPBACK, "--der", LOOPBACK)
#: C{twistd -n} of a server that stops for nobody's clock: it waits for clients as long as a test may take.
PATIENT = (
    sys.executable,
    "-c",
    f"import chat.protocol, chat.service; chat.protocol.LINGER = chat.service.GRACE = {PATIENCE};"
    " from twisted.scripts.twistd import run; run()",
    "-n",
)


def read_until(connection: socket.socket, words: bytes) -> bytes:
    """What a text door says, up to these words."""
    said = b""
    while words not in said:
        piece = connection.recv(4096)
        if not piece:
            raise AssertionError(f"{words!r} did not come after {said!r}")
        said += piece
    return said


class DaemonTestCase(SynchronousTestCase):
    """A test with a daemon, C{self.daemon}, that is not started yet."""

    def setUp(self) -> None:
        """Choose a folder."""
        self.daemon = Daemon(self)

    def tearDown(self) -> None:
        """Whatever happened, the server had no defect to tell of up to its end."""
        self.daemon.kill()
        self.assertEqual(self.daemon.traceback(), "")


class ConversationTests(DaemonTestCase):
    """People and programs talk to each other."""

    def test_threeDoors(self) -> None:
        """A text, a JSON and a DER client in one conversation; a stop that all are told of."""
        self.daemon.start(*DOORS)
        alice, bob = self.daemon.user("alice", "json"), self.daemon.user("bob", "der")
        carol = self.daemon.connect("text")
        read_until(carol, b"Username: ")
        carol.sendall(b"carol\n")
        for _ in range(2):
            carol.sendall(b"correct horse\n")
        read_until(carol, b"Username: ")
        carol.sendall(b"carol\ncorrect horse\n")
        carol.sendall(b"/to alice from text\n/to bob from text\n")
        (message,) = alice.expect("message")
        self.assertEqual((message["sender"], message["body"]), ("carol", "from text"))
        (message,) = bob.expect("message")
        self.assertEqual((message["sender"], message["body"]), ("carol", "from text"))
        alice.send("bob", "from JSON", ref="c1", receipt=True)
        alice.expect("accepted")
        (message,) = bob.expect("message")
        bob.received(message["id"])
        alice.expect("delivered")
        bob.send("carol", "from DER")
        bob.expect("accepted")
        read_until(carol, b"from DER")
        alice.send("nobody", "anybody?")
        alice.expect("accepted", "message")
        waiting = self.daemon.call("der")
        heard = self.daemon.stop(alice, bob, waiting)
        self.assertEqual([keywords(each) for each in heard], [["fatal shutting-down"]] * 3)
        self.assertEqual(sorted(path.name for path in self.daemon.folder.iterdir()), ["data"])

    def test_killed(self) -> None:
        """After C{kill -9} the accepted mail is there, nothing is doubled, and the UNIX socket works."""
        door = ("--json", "unix:socket")
        self.daemon.start(*door)
        self.daemon.user("bob").hang_up()
        alice = self.daemon.user("alice")
        for number in range(500):
            alice.send("bob", f"{number}", ref=f"{number}")
        accepted = [frame["ref"] for frame in alice.expect(*["accepted"] * 200)]
        self.daemon.kill()
        self.daemon.start(*door)
        alice = self.daemon.user("alice")
        for number in range(500):
            alice.send("bob", f"{number}", ref=f"{number}")
        again = alice.expect(*["accepted"] * 500)
        self.assertEqual([frame["id"] for frame in again], list(range(1, 501)))
        bob = self.daemon.call("json")
        bob.say_login("bob")
        (_, welcome) = bob.expect("password", "welcome")
        self.assertEqual(welcome["waiting"], 500)
        bodies = [frame["body"] for frame in bob.expect(*["message"] * 500)]
        self.assertEqual(bodies, [f"{number}" for number in range(500)])
        self.assertEqual(accepted, bodies[:200])
        bob.system("ping")
        bob.expect("pong")
        self.daemon.stop()
        self.assertFalse((self.daemon.folder / "socket").exists())

    def test_severalDoors(self) -> None:
        """Two doors of one kind lead to the same rooms."""
        self.daemon.start("--json", LOOPBACK, "--json", LOOPBACK)
        self.assertEqual([kind for kind, _ in self.daemon.doors], ["json", "json"])
        self.assertEqual(len({where for _, where in self.daemon.doors}), 2)
        alice = self.daemon.user("alice")
        bob = self.daemon.call("json", 1)
        bob.say_login("alice")
        bob.expect("password", "welcome")
        bob.send("alice", "hi")
        alice.expect("message")

    def test_everyInterface(self) -> None:
        """With a door on every interface nobody can sign up, unless the operator says so."""
        self.daemon.start("--json", "tcp:0")
        self.assertIn("0.0.0.0", self.daemon.doors[0][1])
        alice = self.daemon.call("json")
        alice.say_login("alice")
        alice.expect("password", "failed wrong-password", "username")
        self.daemon.stop()
        self.daemon.start("--json", "tcp:0", "--registration", "open")
        self.daemon.user("alice")


class TLSTests(DaemonTestCase):
    """A door with TLS."""

    def certificate(self) -> None:
        """A throw-away certificate in the folder of the daemon."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
        now = datetime.now(timezone.utc)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .sign(key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        (self.daemon.folder / "key.pem").write_bytes(
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        (self.daemon.folder / "cert.pem").write_bytes(certificate.public_bytes(pem))

    def test_openssl(self) -> None:
        """C{openssl s_client} has a whole conversation, last word included."""
        self.certificate()
        self.daemon.start("--json", "ssl:0:interface=127.0.0.1:privateKey=key.pem:certKey=cert.pem")
        caller = Caller(socket.socket(), Codec.JSON)
        caller.connection.close()
        lines = b"".join(
            [
                caller.encoded("login", field="username", value="alice"),
                caller.encoded("login", field="password", value=password("alice")),
                caller.encoded("login", field="username", value="alice"),
                caller.encoded("login", field="password", value=password("alice")),
                caller.encoded("message", recipient="alice", body="x" * 65536),
                caller.encoded("system", keyword="quit"),
            ]
        )
        client = subprocess.Popen(
            ["openssl", "s_client", "-quiet", "-connect", self.daemon.doors[0][1]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert client.stdin is not None and client.stdout is not None
        client.stdin.write(lines)
        client.stdin.flush()
        heard = keywords(caller.decode(client.stdout.read()))
        client.stdin.close()
        client.stdout.close()
        client.wait(PATIENCE)
        self.assertEqual(
            [word for word in heard if word != "message"],
            [
                "version",
                "username",
                "new-password",
                "created",
                "username",
                "password",
                "welcome",
                "accepted",
                "bye",
            ],
        )


class HostileTests(DaemonTestCase):
    """Clients that misbehave disturb nobody, and cost nothing when they are gone."""

    def talk(self, alice: Caller, bob: Caller) -> None:
        """Two who are served as if nobody else was there."""
        alice.send("bob", "hi", receipt=True)
        alice.expect("accepted")
        (message,) = bob.expect("message")
        bob.received(message["id"])
        alice.expect("delivered")

    def test_thousandSilent(self) -> None:
        """1,000 connections that never speak, while two others talk; then all descriptors come back."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        self.daemon.start(*DOORS)
        alice, bob = self.daemon.user("alice"), self.daemon.user("bob", "der")
        before = self.daemon.descriptors()
        silent = [self.daemon.connect(("text", "json", "der")[number % 3]) for number in range(1000)]
        for connection in silent:
            connection.recv(1000)  # each has its greeting
        until(lambda: self.daemon.descriptors() == before + 1000)
        for _ in range(20):
            self.talk(alice, bob)
        for connection in silent:
            connection.close()
        until(lambda: self.daemon.descriptors() == before)
        self.talk(alice, bob)

    def in_time(self, name: str, kind: str) -> Caller:
        """Somebody who has logged in; who is too slow tries again."""
        for _ in range(20):
            with contextlib.suppress(AssertionError, EOFError, ConnectionError):
                return self.daemon.user(name, kind)
        return self.daemon.user(name, kind)

    def test_loginTimeout(self) -> None:
        """Those who never log in are told so and hung up; those who did are not."""
        self.daemon.start(*DOORS, "--login-timeout", "0.5")
        alice, bob = self.in_time("alice", "json"), self.in_time("bob", "der")
        before = self.daemon.descriptors()
        silent = [self.daemon.call(kind) for kind in ("json", "der")]
        person = self.daemon.connect("text")
        for caller in silent:
            self.assertEqual(keywords(caller.rest()), ["fatal login-timeout"])
            caller.hang_up()
        while person.recv(1000):
            pass
        person.close()
        until(lambda: self.daemon.descriptors() <= before)
        self.talk(alice, bob)

    def hostile(self, caller: Caller, logged_in: bool) -> Iterator[bytes]:
        """What nobody should send."""
        limit = 512 * 1024 if logged_in else 4096
        yield b"x" * (limit + 1)
        yield b"\x00" * 10_000
        yield bytes(range(256)) * 40
        yield b"\xa0\x84\xff\xff\xff\xff"
        yield b"[" * 3000 + b"\n"
        yield b"\n" * 10_000 + b"}\n"
        yield b'{"type":"login","data":{"field":"username","value":"' + b"x" * limit + b'"}}\n'

    def test_bytes(self) -> None:
        """Frames over the limit, garbage and half frames, at every door, before and after the login."""
        self.daemon.start(*DOORS)
        alice, bob = self.daemon.user("alice"), self.daemon.user("bob", "der")
        before = self.daemon.descriptors()
        self.daemon.user("mallory").hang_up()
        for kind in ("json", "der", "text"):
            for logged_in in (False, True):
                if kind == "text" and logged_in:
                    continue
                for number in range(7):
                    connection = self.daemon.connect(kind)
                    caller = Caller(connection, Codec.DER if kind == "der" else Codec.JSON)
                    if logged_in:
                        caller.expect("version", "username")
                        caller.say_login("mallory")
                        caller.expect("password", "welcome")
                    garbage = list(self.hostile(caller, logged_in))[number]
                    try:
                        connection.sendall(garbage)
                        connection.shutdown(socket.SHUT_WR)
                        while connection.recv(1 << 16):
                            pass
                    except OSError:
                        pass  # it was hung up while it was sending
                    connection.close()
                half = self.daemon.connect(kind)
                half.sendall(b'{"type":"sys' if kind != "der" else b"\xa0\x10\x01")
                half.close()
        self.talk(alice, bob)
        until(lambda: self.daemon.descriptors() == before)

    def test_lastWord(self) -> None:
        """The last word reaches a client that is still sending."""
        self.daemon.start("--json", LOOPBACK)
        for _ in range(5):
            caller = self.daemon.call("json")
            caller.write(b"no JSON\n" + b"x" * 300_000)
            self.assertEqual(keywords(caller.rest()), ["fatal malformed-frame"])

    def test_clientEndsFirst(self) -> None:
        """A client that says all it has to say and ends its side, as C{nc -N} does, gets its answers."""
        self.daemon.start("--json", LOOPBACK)
        alice = self.daemon.user("alice")
        for number in range(100):
            alice.send("alice", f"{number}")
        alice.system("list", box="sent", limit=1)
        alice.connection.shutdown(socket.SHUT_WR)
        heard = [word for word in keywords(alice.rest()) if word != "message"]
        self.assertEqual(heard, ["accepted"] * 100 + ["listing", "bye"])

    def test_neverReads(self) -> None:
        """A recipient that does not read costs a bounded buffer; when it reads, all is there, in order."""
        self.daemon.start("--json", LOOPBACK)
        alice, bob = self.daemon.user("alice"), self.daemon.user("bob")
        for _ in range(5):
            self.talk(alice, bob)
        before = self.daemon.resident()
        count = 400
        for number in range(count):
            alice.send("bob", "x" * 60_000, subject=f"{number}")
            alice.expect("accepted")
        self.assertLess(self.daemon.resident() - before, 8 * 1024 * 1024)
        subjects = [frame["subject"] for frame in bob.expect(*["message"] * count)]
        self.assertEqual(subjects, [f"{number}" for number in range(count)])
        self.talk(alice, bob)

    def test_pipelinedBeforeLogin(self) -> None:
        """A large message sent together with the password arrives."""
        self.daemon.start("--json", LOOPBACK, "--der", LOOPBACK)
        self.daemon.user("alice").hang_up()
        for kind in ("json", "der"):
            alice = self.daemon.call(kind)
            alice.write(
                alice.encoded("login", field="username", value="alice")
                + alice.encoded("login", field="password", value=password("alice"))
                + alice.encoded("message", recipient="alice", body="\x01" * 65536)
            )
            alice.expect("password", "welcome", "accepted")
            (message,) = alice.expect("message")
            alice.received(message["id"])


class StartTests(DaemonTestCase):
    """A start that fails: one line, exit status 1, and nothing changed on disk."""

    def setUp(self) -> None:
        """A folder."""
        super().setUp()
        self.folder = self.daemon.folder
        self.runs = False

    def tree(self) -> dict[str, bytes]:
        """Every file in the folder but the lock, with its content; not what a server that runs writes to."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes() if path.is_file() else b""
            for path in self.folder.rglob("*")
            if path.name not in ("lock", "twistd.log") and not path.is_socket()
            if not (self.runs and path.name.endswith(("-wal", "-shm")))
        }

    def assertCannot(self, *words: str, program: tuple[str, ...] = (*TWISTD, "-n")) -> str:
        """The program ends with status 1 and says so in one line of standard error; returns it."""
        before = self.tree()
        ended = execute(*program, "chat", "--bcrypt-rounds", "4", *words, folder=self.folder)
        self.assertEqual(ended.returncode, 1, ended)
        for text in (ended.stdout, ended.stderr):
            self.assertNotIn("Traceback", text)
        lines = ended.stderr.splitlines()
        self.assertEqual(len(lines), 1, ended.stderr)
        self.assertEqual(self.tree(), before)
        return lines[0]

    def made(self) -> Path:
        """A data directory that was used before."""
        self.daemon.start("--json", LOOPBACK)
        self.daemon.stop()
        return self.folder / "data"

    def in_use(self) -> str:
        """An endpoint that somebody else has."""
        taken = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(taken.close)
        return f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"

    def test_portInUse(self) -> None:
        """A port in use: the line names the door and the option; a fresh directory is not left behind."""
        endpoint = self.in_use()
        line = self.assertCannot("--data", "new", "--json", "unix:socket", "--der", endpoint)
        self.assertIn(endpoint, line)
        self.assertIn("--der", line)
        self.assertEqual(os.listdir(self.folder), [])

    def test_portInUseTwist(self) -> None:
        """The same under C{twist}."""
        endpoint = self.in_use()
        self.assertIn(endpoint, self.assertCannot("--data", "new", "--json", endpoint, program=TWIST))
        self.assertEqual(os.listdir(self.folder), [])

    def test_daemonized(self) -> None:
        """The same in the background: C{twistd} says where to look, and the log has the line."""
        endpoint = self.in_use()
        ended = execute(*TWISTD, "chat", "--data", "new", "--json", endpoint, folder=self.folder)
        self.assertEqual((ended.returncode, ended.stdout), (1, ""))
        self.assertNotIn("Traceback", ended.stderr)
        self.assertIn("The json door cannot listen", ended.stderr)
        log = (self.folder / "twistd.log").read_text()
        self.assertNotIn("Traceback", log)
        self.assertIn(endpoint, log)
        self.assertEqual(os.listdir(self.folder), ["twistd.log"])

    def test_secondServer(self) -> None:
        """A second server on the same directory; the first one and its pid file are as they were."""
        self.daemon.start("--json", LOOPBACK)
        self.runs = True
        pid_file = self.folder / "twistd.pid"
        self.assertEqual(int(pid_file.read_text()), self.daemon.pid)
        options = ("--data", "data", "--json", LOOPBACK)
        for program in ((*TWISTD, "-n", "--pidfile", "other.pid"), TWIST):
            line = self.assertCannot(*options, program=program)
            self.assertIn("Another server is using the data directory data", line)
        ended = execute(*TWISTD, "--pidfile", "other.pid", "chat", *options, folder=self.folder)
        self.assertEqual(ended.returncode, 1)
        self.assertIn("Another server", ended.stderr)
        self.assertEqual(int(pid_file.read_text()), self.daemon.pid)
        self.assertFalse((self.folder / "other.pid").exists())
        self.daemon.user("alice")
        self.daemon.stop()
        self.assertFalse(pid_file.exists())

    def test_directory(self) -> None:
        """A directory that cannot be made, or is none."""
        (self.folder / "file").write_text("")
        self.assertIn("file/data", self.assertCannot("--data", "file/data", "--json", LOOPBACK))
        self.assertIn("file", self.assertCannot("--data", "file", "--json", LOOPBACK))

    def test_damagedAndNewer(self) -> None:
        """A damaged file, and one of a later version, are named and left as they are."""
        data = self.made()
        good = (data / "messages.db").read_bytes()
        (data / "messages.db").write_bytes(b"\xff" * len(good))
        self.assertIn("messages.db is damaged", self.assertCannot("--data", "data", "--json", LOOPBACK))
        (data / "messages.db").write_bytes(good)
        connection = sqlite3.connect(data / "users.db")
        connection.execute("PRAGMA user_version = 99")
        connection.close()
        self.assertIn("users.db", self.assertCannot("--data", "data", "--json", LOOPBACK))

    def test_endpoints(self) -> None:
        """An endpoint that is none is named, under C{twistd} and C{twist}."""
        for program, endpoint in (
            ((*TWISTD, "-n"), "foo:1"),
            ((*TWISTD, "-n"), "systemd:domain=INET:index=0"),
            (TWIST, "tcp:http"),
        ):
            line = self.assertCannot("--data", "new", "--json", endpoint, program=program)
            self.assertIn(f"--json {endpoint!r}", line)

    def test_usage(self) -> None:
        """A bad option is a usage error."""
        for options, part in (
            (("--registration", "maybe"), "--registration is open, invite or closed"),
            (("--bogus",), "--bogus"),
        ):
            ended = execute(*TWISTD, "-n", "chat", *options, folder=self.folder)
            self.assertNotEqual(ended.returncode, 0)
            self.assertIn(part, ended.stdout + ended.stderr)
            self.assertNotIn("Traceback", ended.stdout + ended.stderr)
            self.assertEqual(os.listdir(self.folder), [])

    def test_background(self) -> None:
        """C{twistd chat} goes to the background, serves, and leaves only data and log when it stops."""
        endpoint = "unix:socket"
        ended = execute(
            *TWISTD, "chat", "--bcrypt-rounds", "4", "--data", "data", "--json", endpoint, folder=self.folder
        )
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))
        pid = int((self.folder / "twistd.pid").read_text())
        self.addCleanup(_end, pid)
        self.daemon.doors = [("json", "unix:socket")]
        self.daemon.user("alice").hang_up()
        os.kill(pid, 15)
        until(lambda: not (self.folder / "twistd.pid").exists())
        self.assertEqual(sorted(os.listdir(self.folder)), ["data", "twistd.log"])
        log = (self.folder / "twistd.log").read_text()
        self.assertIn(STOPPED, log)
        self.assertNotIn("Traceback", log)

    def test_twist(self) -> None:
        """C{twist chat} serves as well."""
        self.daemon.start("--json", "unix:socket", program=(*TWIST, "--log-format", "text"))
        alice = self.daemon.user("alice")
        (heard,) = self.daemon.stop(alice)
        self.assertEqual(keywords(heard), ["fatal shutting-down"])

    def test_stoppedTwice(self) -> None:
        """Asked to stop once more while it stops, by whatever signal, it says that it does."""
        for again in (signal.SIGTERM, signal.SIGINT):
            self.daemon.start("--json", "unix:socket", program=PATIENT)
            alice = self.daemon.user("alice")
            os.kill(self.daemon.pid, signal.SIGTERM)
            self.assertEqual(keywords(alice.rest()), ["fatal shutting-down"])
            os.kill(self.daemon.pid, again)  # it waits until alice hangs up
            self.daemon.until_said("stopping already")
            alice.hang_up()
            self.daemon.ended()


def _end(pid: int) -> None:
    """End a process that may be gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 9)
