"""The server behind real proxies, set up with what docs/operations.rst says; each where it is installed."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
from base64 import b64encode
from http.client import HTTPResponse, HTTPSConnection
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from chat.conformance.wires import Address
from chat.wire import Codec
from tests.daemon import PATIENCE, ROOT, Caller, Daemon, free_port, password, trusting, until
from tests.tls import given

LOOPBACK = "tcp:0:interface=127.0.0.1"
#: An address of this machine from which somebody asks the proxy, so that it is told from the proxy's own.
ASKER = "127.0.0.9"
#: What one event takes, at most, to come through a proxy that does not gather them.
AT_ONCE = 30.0


def documented(name: str) -> str:
    """What docs/operations.rst says to write into the settings of a proxy."""
    text = (ROOT / "docs" / "operations.rst").read_text("utf-8")
    found = re.search(rf"^\.\. {name}\b.*?::\n\n(.*?)^\.\. ", text, re.M | re.S)
    assert found, name
    return re.sub("^    ", "", found[1], flags=re.M)


def installed(program: str) -> str:
    """Where a program is.

    @raise SkipTest: nowhere.
    """
    found = shutil.which(program, path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if found is None:
        raise SkipTest(f"{program} is not installed here")
    return found


class ProxyTestCase(SynchronousTestCase):
    """A daemon, and something before it.

    @ivar port: where whatever is before it listens.
    @ivar program: what that is.
    """

    def setUp(self) -> None:
        """Nothing is started yet."""
        self.daemon = Daemon(self)
        self.port = free_port()
        self.program = ""

    def door(self, kind: str) -> str:
        """The address of the daemon's only door of this kind."""
        ((_, place),) = [door for door in self.daemon.doors if door[0] == kind]
        return place.removeprefix("haproxy:")

    def run_proxy(self, *arguments: str, **settings: str) -> None:
        """Start the proxy with these files, and wait until it listens."""
        for file, text in settings.items():
            (self.daemon.folder / file).write_text(text)
        complaints = self.daemon.folder / "complaints"
        with complaints.open("wb") as stream:
            process = subprocess.Popen(
                [self.program, *arguments],
                cwd=self.daemon.folder,
                env={"HOME": str(self.daemon.folder), "PATH": "/usr/bin:/bin"},
                stdout=stream,
                stderr=stream,
            )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)

        def listens() -> bool:
            if process.poll() is not None:
                raise AssertionError(complaints.read_text())
            with socket.socket() as connection:
                return connection.connect_ex(("127.0.0.1", self.port)) == 0

        until(listens)

    # --- the page ---

    def connect(self) -> HTTPSConnection:
        """Somebody's connection to the proxy."""
        connection = HTTPSConnection(
            "localhost", self.port, context=trusting(), timeout=PATIENCE, source_address=(ASKER, 0)
        )
        self.addCleanup(connection.close)
        return connection

    def ask(self, method: str, path: str, who: str = "", body: str | None = None) -> tuple[int, str]:
        """The answer to a request."""
        connection = self.connect()
        connection.request(method, path, body, headers=self.shown(who) if who else {})
        answer = connection.getresponse()
        self.location = answer.getheader("Location", "")
        return answer.status, answer.read().decode("utf-8", "replace")

    def shown(self, who: str, secret: str | None = None) -> dict[str, str]:
        """What shows that it is this account."""
        pair = f"{who}:{secret or password(who)}"
        return {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}

    def user(self, name: str) -> Caller:
        """Somebody new who talks by the WebSocket below C{/chat}."""
        wire = Address("localhost", self.port, True, "/chat/socket").open(PATIENCE)
        self.addCleanup(wire.close)
        wire.settimeout(PATIENCE)
        caller = Caller(wire, Codec.JSON)  # type: ignore[arg-type]
        caller.expect("version", "username")
        caller.say_login(name)
        caller.expect("new-password", "created", "username")
        caller.say_login(name)
        caller.expect("password", "welcome")
        return caller

    def try_all(self) -> None:
        """The page, the WebSocket and HTTP are what they are without a proxy."""
        status, _ = self.ask("GET", "/chat")
        self.assertIn(status, (301, 302, 308))
        self.assertTrue(self.location.endswith("/chat/"), self.location)
        status, page = self.ask("GET", "/chat/")
        self.assertEqual(status, 200)
        named = re.findall(r'(?:src|href)="([^":#]+)"', page)
        self.assertGreater(len(named), 2)
        for each in named:
            self.assertEqual(self.ask("GET", f"/chat/{each}")[0], 200, each)

        alice, bob = self.user("alice"), self.user("bob")
        alice.send("bob", "by the page")
        alice.expect("accepted")
        (message,) = bob.expect("message")
        self.assertEqual(message["body"], "by the page")
        self.assertEqual(self.ask("GET", "/chat/messages", "alice")[0], 200)
        status, answer = self.ask("POST", "/chat/to/bob?wait=1s", "alice", "x" * 65_000)
        self.assertEqual((status, json.loads(answer).get("state")), (202, "waiting"), answer)
        self.assertEqual(self.ask("POST", "/chat/to/bob", "alice", "x" * 70_000)[0], 413)
        self.try_events(alice)

        for _ in range(2):
            connection = self.connect()
            connection.request("GET", "/chat/messages", headers=self.shown("alice", "a wrong password"))
            self.assertEqual(connection.getresponse().status, 401)
        status, metrics = self.ask("GET", "/chat/metrics")
        self.assertNotEqual(status, 200, metrics)
        self.daemon.stop()
        self.assertTrue(any(f"from {ASKER} refused" in line for line in self.daemon.log), self.daemon.log)

    def try_events(self, alice: Caller) -> None:
        """Each event comes when it happens, and not when many have gathered."""
        connection = self.connect()
        connection.request("GET", "/chat/events?for=90s", headers=self.shown("bob"))
        stream = connection.getresponse()
        self.assertEqual(stream.status, 200)
        for body in ("now", "and now"):
            began = time.monotonic()
            alice.send("bob", body)
            while body not in json.loads(self.event(stream)).get("body", ""):
                pass
            self.assertLess(time.monotonic() - began, AT_ONCE)

    def event(self, stream: HTTPResponse) -> str:
        """The contents of the next event."""
        while not (line := stream.readline()).startswith(b"data: "):
            self.assertNotEqual(line, b"", "the stream has ended")
        return str(line[6:], "utf-8")


class ReverseProxyTests(ProxyTestCase):
    """Before the web door: TLS, the page below a path, WebSocket, long answers."""

    def start(self, program: str) -> str:
        """Start the daemon, if there is this program to try it with; its address."""
        self.program = installed(program)
        self.daemon.start("--web", LOOPBACK, "--web-proxy", "127.0.0.1", "--registration", "open")
        self.pair = given(self.daemon.folder)
        return self.door("web")

    def test_nginx(self) -> None:
        """By nginx."""
        where = self.start("nginx")
        server = documented("nginx location").replace("127.0.0.1:5380", where)
        self.run_proxy("-p", ".", "-c", "nginx.conf", **{"nginx.conf": nginx(f"""
            http {{
                access_log off;
                {temporary()}
                {documented("nginx beside the server")}
                server {{
                    listen 127.0.0.1:{self.port} ssl;
                    ssl_certificate {self.pair.certificate};
                    ssl_certificate_key {self.pair.key};
                    {server}
                }}
            }}""")})  # fmt: skip
        self.try_all()

    def test_Caddy(self) -> None:
        """By Caddy."""
        where = self.start("caddy")
        site = documented("Caddy").replace("127.0.0.1:5380", where)
        site = site.replace(
            "example.org {", f"https://localhost:{self.port} {{\ntls {self.pair.certificate} {self.pair.key}"
        )
        top = "{\nadmin off\nauto_https disable_redirects\n}\n"
        self.run_proxy("run", "--config", "Caddyfile", "--adapter", "caddyfile", Caddyfile=top + site)
        self.try_all()


class ForwardingTests(ProxyTestCase):
    """Before a door for programs: bytes are passed on, behind a header that says whose they are."""

    def try_guess(self) -> None:
        """Who is refused is the one who came to the proxy."""
        connection = socket.create_connection(("127.0.0.1", self.port), PATIENCE, (ASKER, 0))
        self.addCleanup(connection.close)
        caller = Caller(connection, Codec.JSON)
        caller.expect("version", "username")
        caller.say_login("alice")
        caller.expect("password", "failed wrong-password", "username")
        self.daemon.stop(caller)
        self.assertTrue(any(f"from {ASKER} refused" in line for line in self.daemon.log), self.daemon.log)

    def start(self, program: str) -> str:
        """Start the daemon, if there is this program to try it with; its address."""
        self.program = installed(program)
        self.daemon.start("--json", f"haproxy:{LOOPBACK}")
        return self.door("json")

    def test_HAProxy(self) -> None:
        """By HAProxy."""
        settings = documented("HAProxy").replace("127.0.0.1:5321", self.start("haproxy"))
        settings = settings.replace("bind :5311", f"bind 127.0.0.1:{self.port}")
        self.run_proxy("-db", "-f", "haproxy.cfg", **{"haproxy.cfg": settings})
        self.try_guess()

    def test_nginx(self) -> None:
        """By nginx."""
        if not list(Path("/usr/lib/nginx/modules").glob("ngx_stream_module.so")):
            raise SkipTest("nginx has no module for streams here")
        settings = documented("nginx stream").replace("127.0.0.1:5321", self.start("nginx"))
        settings = settings.replace("listen 5311", f"listen 127.0.0.1:{self.port}")
        module = "load_module /usr/lib/nginx/modules/ngx_stream_module.so;"
        text = nginx(f"stream {{ {settings} }}", module)
        self.run_proxy("-p", ".", "-c", "nginx.conf", **{"nginx.conf": text})
        self.try_guess()


def nginx(settings: str, first: str = "") -> str:
    """Settings with which nginx runs in the foreground, in one process, and writes to its own folder only."""
    alone = "daemon off; master_process off; pid nginx.pid; error_log stderr;"
    return f"{first}\n{alone}\nevents {{ }}\n{settings}\n"


def temporary() -> str:
    """Where nginx keeps what is too long for its memory."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return " ".join(f"{kind}_temp_path {kind};" for kind in kinds)
