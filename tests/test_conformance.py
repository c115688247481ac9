"""The conformance checks: our server passes all of them, and each of them can fail.

The server is the real daemon.  To see a check fail, a liar stands between it and the
server and alters what the server says.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any, Callable, Optional

from twisted.trial.unittest import SynchronousTestCase

from chat.conformance.__main__ import chosen, fault, main, make
from chat.conformance.check import CHECKS, Room, Server, sign_up
from chat.conformance.codecs import CODECS, Codec, Plain
from chat.conformance.wires import Address, parse_address
from chat.invitation import parse
from tests.daemon import PATIENCE, trusting
from tests.town import called

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "protocol.rst"
HTTP_PAGE = ROOT / "docs" / "http.rst"
LOOPBACK = "tcp:0:interface=127.0.0.1"


class Daemon:
    """The real server, with files of its own."""

    def __init__(self, data: str, *options: str) -> None:
        command = [sys.executable, "-X", "importtime", "-m", "twisted", "--log-format=text"]
        command += ["chat", "--data", data]
        command += [
            "--bcrypt-rounds",
            "4",
            "--json",
            LOOPBACK,
            "--der",
            LOOPBACK,
            "--web",
            LOOPBACK,
            *options,
        ]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self.log = ""
        self.doors: dict[str, Address] = {}
        assert self.process.stdout is not None
        while len(self.doors) < 3:
            line = self.process.stdout.readline()
            self.log += line
            if not line:
                raise AssertionError(f"The server did not start:\n{self.log}")
            if found := re.search(r"(json|der|web) door listening on 127\.0\.0\.1:(\d+)(, TLS)?", line):
                path = "/socket" if found[1] == "web" else ""
                self.doors[found[1]] = Address("127.0.0.1", int(found[2]), bool(found[3]), path)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.log += self.process.stdout.read()

    def stop(self) -> None:
        """End it."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE)
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def server(self, codec: str, **more: Any) -> Server:
        """What the checks have to know of it."""
        settings = {"patience": PATIENCE, "quiet": 0.05, **more}
        return Server(address=self.doors[codec], codec=CODECS.get(codec, CODECS["json"]), **settings)


class Verdict:
    """What the checks have printed."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def bad(self) -> list[str]:
        """The lines of checks that failed."""
        return [line for line in self.lines if line.startswith("FAIL")]

    def skipped(self) -> set[str]:
        """The names of checks that were not made."""
        return {line.split()[1].rstrip(":") for line in self.lines if line.startswith("skip")}


class ServerTests(SynchronousTestCase):
    """Our own server keeps the document."""

    def start(self, *options: str) -> Daemon:
        """A server for one test."""
        daemon = Daemon(self.mktemp(), *options)
        self.addCleanup(daemon.stop)
        return daemon

    def passes(self, server: Server, *names: str) -> Verdict:
        """Make the checks, none of which may fail."""
        verdict = Verdict()
        fine = make(chosen(names), server, verdict.lines.append)
        self.assertEqual(verdict.bad(), [])
        self.assertTrue(fine)
        return verdict

    def assertSound(self, daemon: Daemon) -> None:
        """It has no defect to tell of, and imported nothing once it listened: in a jail it could not."""
        daemon.stop()
        self.assertNotIn("Traceback", daemon.log)
        start, serving, rest = daemon.log.partition("registration is")
        self.assertTrue(serving)
        self.assertIn("import time:", start)
        self.assertEqual([line for line in rest.splitlines() if "import time:" in line], [])

    def test_json(self) -> None:
        """Every check of the JSON door passes, that of the last word included."""
        daemon = self.start()
        verdict = self.passes(daemon.server("json", process=daemon.process.pid))
        others = {name for name, check in CHECKS.items() if check.codec in ("der", "http")}
        self.assertEqual(verdict.skipped(), others | NOT_OPEN | {"login-timeout"})
        self.assertRegex(verdict.lines[-1], r"^\d+ passed, 0 failed, \d+ skipped$")
        self.assertSound(daemon)

    def test_der(self) -> None:
        """Every check of the DER door passes."""
        daemon = self.start()
        verdict = self.passes(daemon.server("der", process=daemon.process.pid))
        others = {name for name, check in CHECKS.items() if check.codec in ("json", "http")}
        self.assertEqual(verdict.skipped(), others | NOT_OPEN | {"login-timeout"})
        self.assertSound(daemon)

    def test_login_timeout(self) -> None:
        """The check of the time that a login may take passes, where no other check has to be as quick."""
        daemon = self.start("--login-timeout", "2")
        for codec in ("json", "web"):
            self.passes(daemon.server(codec, login_timeout=2.0), "login-timeout")
        liar = Liar(daemon.doors["json"], CODECS["json"], setting("fatal", code="bad-luck"))
        server = daemon.server("json", login_timeout=2.0)._replace(address=liar.address)
        self.assertIn("bad-luck", str(fault(CHECKS["login-timeout"], server)))
        liar.close()
        self.assertSound(daemon)

    def test_web(self) -> None:
        """Every check of the JSON door passes by the WebSocket, through TLS, as at other doors with TLS."""
        daemon = self.start("--tls")
        self.passes(daemon.server("json"), "greeting", "malformed-frames")
        self.passes(daemon.server("der"), "greeting", "malformed-values")
        door = daemon.doors["web"]
        # What /metrics needs is imported when it is first asked for; in a jail, before that begins.
        for path in ("/", "/nothing", "/messages", "/to/nobody", "/health", "/openapi.json"):
            web = HTTPSConnection(door.host, door.port, timeout=PATIENCE, context=trusting())
            web.request("GET", path)
            self.assertLess(web.getresponse().status, 500, path)
            web.close()
        verdict = self.passes(daemon.server("web", process=daemon.process.pid))
        others = {name for name, check in CHECKS.items() if check.codec in ("der", "http")}
        self.assertEqual(verdict.skipped(), others | NOT_OPEN | {"login-timeout"})
        self.assertSound(daemon)

    def test_closed(self) -> None:
        """Where not everybody can sign up, known and unknown names are told the same; guests enter."""
        data = self.mktemp()
        before = Daemon(data)
        self.addCleanup(before.stop)
        room = Room(before.server("json"))
        self.addCleanup(room.close)
        known = room.fresh()
        sign_up(room.stranger(), known)
        before.stop()
        closed = Daemon(data, "--registration", "invite")
        self.addCleanup(closed.stop)
        _, line, _ = called("invite", "--data", data, "--address", "127.0.0.1:5311")
        code = parse(line.rstrip()).code
        server = closed.server("json", closed=True, known=known.name, invitation=code)
        verdict = self.passes(server)
        self.assertEqual(verdict.lines[-1], f"3 passed, 0 failed, {len(CHECKS) - 3} skipped")
        self.assertIsNot(fault(CHECKS["invited"], server), None)  # it was good for one account


#: The checks that need a server where not everybody can sign up.
NOT_OPEN = {"closed-sign-up", "closed-recovery", "invited"}


# --- liars ---------------------------------------------------------------------------

#: What the liar says where the server has said this frame.
Lie = Callable[[Plain], list[Plain]]


class Liar:
    """A door that passes everything on to a server, and its answers back, altered."""

    def __init__(self, door: Address, codec: Codec, lie: Lie) -> None:
        self._door = door
        self._codec = codec
        self._lie = lie
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._start(self._listen)

    @property
    def address(self) -> Address:
        """Where it listens."""
        return Address("127.0.0.1", self._listener.getsockname()[1])

    def _start(self, run: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=run, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _listen(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._door[:2])
            self._open += [client, server]
            self._start(self._pass, client, server, lambda arrived: arrived)
            self._start(self._pass, server, client, self._altered(bytearray()))

    def _altered(self, buffer: bytearray) -> Callable[[bytes], bytes]:
        def alter(arrived: bytes) -> bytes:
            buffer.extend(arrived)
            said = b""
            while (frame := self._codec.decode(buffer)) is not None:
                said += b"".join([self._codec.encode(each) for each in self._lie(frame)])
            return said

        return alter

    def _pass(self, source: socket.socket, target: socket.socket, alter: Callable[[bytes], bytes]) -> None:
        try:
            while arrived := source.recv(1 << 16):
                target.sendall(alter(arrived))
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self) -> None:
        """Hang up."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._open:
            close_anyway(each)
        for thread in self._threads:
            thread.join(PATIENCE)


def close_anyway(open_socket: socket.socket) -> None:
    """Close a socket whose other end may be gone."""
    with contextlib.suppress(OSError):
        open_socket.shutdown(socket.SHUT_RDWR)
    open_socket.close()


def about(*keywords: str) -> Callable[[Callable[[Plain], Any]], Lie]:
    """A lie about frames with these keywords, C{message} for a message; all others pass.

    The function changes the data in place, or returns the frames that are said instead.
    """

    def choose(change: Callable[[Plain], Any]) -> Lie:
        def lie(frame: Plain) -> list[Plain]:
            if frame["data"].get("keyword", "message") not in keywords:
                return [frame]
            instead: Optional[list[Plain]] = change(frame["data"])
            return [frame] if instead is None else instead

        return lie

    return choose


def setting(keyword: str, **fields: Any) -> Lie:
    """These fields are always such; C{None}: they are absent."""

    @about(keyword)
    def lie(data: Plain) -> None:
        data.update(fields)
        for name in [name for name in fields if fields[name] is None]:
            del data[name]

    return lie


def silence(keyword: str) -> Lie:
    """This is never said."""
    return about(keyword)(lambda data: [])


def twice(keyword: str) -> Lie:
    """This is always said twice."""

    def lie(frame: Plain) -> list[Plain]:
        return [frame] * (1 + (frame["data"].get("keyword", "message") == keyword))

    return lie


def numbered() -> Lie:
    """Each message accepted gets an id and a time of its own, whatever the server gave."""
    ids = iter(range(1 << 40, 1 << 41))

    @about("accepted")
    def lie(data: Plain) -> None:
        data["id"] = next(ids)

    return lie


def swapped() -> Lie:
    """Of two messages, the second comes first."""
    kept: list[Plain] = []

    @about("message")
    def lie(data: Plain) -> list[Plain]:
        kept.append({"type": "message", "data": data})
        if len(kept) < 2:
            return []
        said, kept[:] = kept[::-1], []
        return said

    return lie


@about("welcome")
def miscounted(data: Plain) -> None:
    """One more waits than there are."""
    data["waiting"] += 1


@about("message")
def cut(data: Plain) -> None:
    """A body is cut."""
    data["body"] = data["body"][:-1]


@about("message", "messages", "listing")
def cleaned(data: Plain) -> None:
    """Control characters are taken out of bodies."""
    for one in data.get("messages", [data]):
        if "body" in one:
            one["body"] = "".join(c for c in one["body"] if c.isprintable())


@about("message", "messages", "listing")
def no_subject(data: Plain) -> None:
    """An empty subject is none."""
    for one in data.get("messages", [data]):
        if one.get("subject") == "":
            del one["subject"]


@about("message", "messages", "listing")
def no_reason(data: Plain) -> None:
    """What came back does not say why."""
    for one in data.get("messages", [data]):
        one.pop("returned", None)


@about("listing")
def reversed_listing(data: Plain) -> None:
    """A listing descends."""
    data["messages"].reverse()


@about("listing", "messages")
def always_waiting(data: Plain) -> None:
    """Everything is listed as waiting."""
    for one in data["messages"]:
        one["state"] = "waiting"


@about("listing")
def one_more(data: Plain) -> None:
    """A listing repeats its last entry."""
    data["messages"] += data["messages"][-1:]


@about("deleted")
def all_deleted(data: Plain) -> None:
    """Whatever is to be deleted is said to be."""
    data["ids"] += data["missing"]
    data["missing"] = []


@about("messages")
def nothing_missing(data: Plain) -> None:
    """What there is not is passed over in silence."""
    data["missing"] = []


@about("message")
def told_at_once(data: Plain) -> list[Plain]:
    """A message is told delivered when it is sent on."""
    told = {"keyword": "delivered", "ids": [data["id"]], "time": data["time"]}
    return [{"type": "message", "data": data}, {"type": "system", "data": told}]


@about("welcome")
def early(data: Plain) -> list[Plain]:
    """A message before the welcome."""
    message = {"id": 1, "sender": "x", "recipient": "x", "time": "2026-11-22T21:07:00.123Z", "body": ""}
    return [{"type": "message", "data": message}, {"type": "system", "data": data}]


@about("welcome", "created")
def shouted(data: Plain) -> None:
    """Names are not prepared."""
    data["username"] = data["username"].upper()


@about("fatal", "bye")
def talkative(data: Plain) -> list[Plain]:
    """There is another word after the last one."""
    return [{"type": "system", "data": data}, {"type": "system", "data": {"keyword": "pong"}}]


@about("token-issued")
def worthless(data: Plain) -> None:
    """A token that the server does not take."""
    data["value"] = data["value"][::-1]


@about("failed")
def lenient(data: Plain) -> Optional[list[Plain]]:
    """Every token is taken."""
    if data["code"] != "wrong-token":
        return None
    return [{"type": "system", "data": {"keyword": "welcome", "username": "x", "waiting": 0}}]


@about("created", "recovery-codes")
def worthless_codes(data: Plain) -> None:
    """Recovery codes that the server does not take."""
    for field in ("recovery", "codes"):
        if field in data:
            data[field] = [code[::-1] for code in data[field]]


@about("token-issued")
def without_tokens(data: Plain) -> list[Plain]:
    """Tokens are not known."""
    return [{"type": "system", "data": {"keyword": "failed", "code": "bad-frame", "reason": "What?"}}]


@about("found")
def without_search(data: Plain) -> list[Plain]:
    """Nor is search."""
    return [{"type": "system", "data": {"keyword": "failed", "code": "bad-frame", "reason": "What?"}}]


@about("message")
def never_automatic(data: Plain) -> None:
    """What came back is not marked as automatic."""
    if "returned" in data:
        data.pop("automatic", None)


def later(code: str) -> Lie:
    """A reserved name is taken for a new one, and refused with this code once there is a password, too."""
    awaited = False

    @about("failed", "username")
    def lie(data: Plain) -> Optional[list[Plain]]:
        nonlocal awaited
        if data.get("code") == "name-reserved":
            awaited = True
            return [{"type": "system", "data": {"keyword": "new-password"}}]
        if not awaited:
            return None
        if data["keyword"] == "username":  # what was asked behind the refusal
            return []
        awaited = False
        data["code"] = code
        return None

    return lie


#: Lies, and the checks that see through them; together these are all the checks.
LIES: dict[str, tuple[Callable[[], Lie], str]] = {
    "another version": (lambda: setting("version", protocol=2), "greeting"),
    "two prompts": (
        lambda: twice("username"),
        "signing-up sign-up-at-once longest-name needless-invitation",
    ),
    "shouted": (lambda: shouted, "prepared-names logging-in"),
    "early": (lambda: early, "waiting-mail"),
    "miscounted": (lambda: miscounted, "logging-in waiting-mail reading-confirms-nothing"),
    "wrong code": (
        lambda: setting("failed", code="bad-luck"),
        "wrong-password bad-names bad-passwords long-passwords prepared-passwords prompt-after-refusal"
        " login-after-login frames-of-servers bad-frames unknown-box changing-password deleting-account"
        " reserved-name guessing wrong-recovery-codes answers-to-programs wrong-queries",
    ),
    "no ref refused": (
        lambda: setting("failed", ref=None),
        "message-before-login ref-of-bad-frame reused-ref subject-limit",
    ),
    "wrong last word": (
        lambda: setting("fatal", code="bad-luck"),
        "login-frame-limit user-frame-limit answers-before-fatal malformed-before-login malformed-frames"
        " endless-line account-gone",
    ),
    "talkative": (lambda: talkative, "quitting account-gone"),
    "two pongs": (lambda: twice("pong"), "line-ends ping"),
    "an old time": (lambda: setting("accepted", time="2026-11-22 21:07:00"), "limit-after-welcome accepted"),
    "no ref accepted": (
        lambda: setting("accepted", ref=None),
        "login-at-once any-split last-duplicate many-under-way ref-of-each-sender",
    ),
    "always a ref": (lambda: setting("accepted", ref="r"), "ids-grow without-ref"),
    "one id": (lambda: setting("accepted", id=7), "ids-grow many-under-way ref-of-each-sender"),
    "ids of their own": (numbered, "inbox-and-sent repeated-ref hanging-up"),
    "always accepted as waiting": (
        lambda: setting("accepted", state="waiting"),
        "order-of-answers state-now ref-after-removal unknown-recipient impossible-recipients"
        " mail-of-deleted-account",
    ),
    "another sender": (
        lambda: setting("message", sender="eve"),
        "prepared-names accepted comes-again sender-gone",
    ),
    "cleaned": (lambda: cleaned, "any-json lines-of-the-server body-limit unaltered"),
    "cut": (lambda: cut, "unknown-fields null-is-absent body-limit"),
    "no subject": (lambda: no_subject, "empty-subject"),
    "no reason": (lambda: no_reason, "recipient-limit returns-are-durable returned-in-boxes"),
    "a copy": (lambda: twice("message"), "without-ref order-of-acceptance repeated-ref once-in-a-session"),
    "swapped": (swapped, "order-of-acceptance"),
    "told at once": (lambda: told_at_once, "repeated-ref-in-one-go ref-limit once-in-a-session hanging-up"),
    "never told": (
        lambda: silence("delivered"),
        "several-sessions to-oneself ignored-receipts receipt deleting-confirms",
    ),
    "always waiting": (lambda: always_waiting, "confirmed-never-again no-receipt sender-away states"),
    "no more pages": (lambda: setting("listing", more=False), "pages default-page"),
    "reversed listing": (lambda: reversed_listing, "recalling pages"),
    "one entry more": (lambda: one_more, "repeated-ref inbox-and-sent"),
    "all deleted": (lambda: all_deleted, "bad-numbers deleting not-mine-to-delete"),
    "nothing missing": (lambda: nothing_missing, "reading read-limit"),
    "a worthless token": (lambda: worthless, "resuming token-at-once"),
    "worthless codes": (lambda: worthless_codes, "recovering recovering-badly new-recovery-codes"),
    "nobody blocked": (lambda: setting("blocked", usernames=[]), "blocking unblocking"),
    "somebody blocked": (lambda: setting("blocked", usernames=["x"]), "blocking-nobody"),
    "never automatic": (lambda: never_automatic, "automatic-messages"),
    "everything found": (lambda: setting("found", more=True), "conditions search-pages privacy"),
    "nothing found": (lambda: setting("found", messages=[]), "conditions entries search-pages"),
    "any token": (lambda: lenient, "wrong-tokens logging-out tokens-and-passwords"),
}
#: The same for the checks that only the DER door has.
DER_LIES = {
    "never told": "octets",
    "cut": "fields-of-later-versions",
    "ids of their own": "default-values",
    "wrong code": "bad-values",
    "all deleted": "number-range",
    "no ref refused": "ref-of-bad-value",
    "talkative": "malformed-values deep-values announced-length",
}


class LiarTests(SynchronousTestCase):
    """Each check can fail: a server that does otherwise is found out."""

    def assertFoundOut(self, codec: str, lies: dict[str, str], *options: str) -> None:
        """Each lie makes the checks fail that are named with it."""
        daemon = Daemon(self.mktemp(), *options)
        self.addCleanup(daemon.stop)
        blind = []
        for name, checks in lies.items():
            liar = Liar(daemon.doors[codec], CODECS[codec], LIES[name][0]())
            server = daemon.server(codec, patience=0.7)._replace(address=liar.address)
            blind += [f"{name}: {each}" for each in checks.split() if not fault(CHECKS[each], server)]
            liar.close()
        self.assertEqual(blind, [])

    def test_json(self) -> None:
        """Altered answers fail the checks of the JSON door."""
        self.assertFoundOut("json", {name: checks for name, (_, checks) in LIES.items()})

    def test_der(self) -> None:
        """Altered answers fail the checks of the DER door."""
        self.assertFoundOut("der", DER_LIES)

    def test_special_servers(self) -> None:
        """So do those that need a server of a special kind."""
        data = self.mktemp()
        daemon = Daemon(data, "--registration", "closed")
        self.addCleanup(daemon.stop)
        liar = Liar(daemon.doors["json"], CODECS["json"], setting("failed", code="bad-luck"))
        server = daemon.server("json", patience=3.0, invitation="none")._replace(address=liar.address)
        for check in NOT_OPEN:
            self.assertIn("bad-luck", str(fault(CHECKS[check], server)), check)
        liar.close()
        open_door = Daemon(self.mktemp())
        self.addCleanup(open_door.stop)
        liar = Liar(open_door.doors["json"], CODECS["json"], setting("fatal", code="bad-luck"))
        server = open_door.server("json", process=open_door.process.pid)._replace(address=liar.address)
        self.assertIn("bad-luck", str(fault(CHECKS["shutting-down"], server)))
        liar.close()

    def test_without_tokens(self) -> None:
        """The checks of tokens are skipped where there are none, and it is said why."""
        daemon = Daemon(self.mktemp())
        self.addCleanup(daemon.stop)
        liar = Liar(daemon.doors["json"], CODECS["json"], without_tokens)
        self.addCleanup(liar.close)
        server = daemon.server("json")._replace(address=liar.address)
        checks = [check for check in CHECKS.values() if check.section == "Tokens"]
        verdict = Verdict()
        self.assertTrue(make(checks, server, verdict.lines.append))
        why = "the server does not know tokens, which are optional"
        self.assertEqual(verdict.lines[:-1], [f"skip {check.name}: {why}" for check in checks])
        self.assertEqual(verdict.lines[-1], f"0 passed, 0 failed, {len(checks)} skipped")

    def test_reserved_only_at_the_end(self) -> None:
        """A server may say that a name is reserved when it hears the password, as it does of others."""
        daemon = Daemon(self.mktemp())
        self.addCleanup(daemon.stop)
        for code in ("name-reserved", "bad-luck"):
            liar = Liar(daemon.doors["json"], CODECS["json"], later(code))
            self.addCleanup(liar.close)
            server = daemon.server("json")._replace(address=liar.address)
            self.assertEqual(fault(CHECKS["reserved-name"], server) is None, code == "name-reserved")

    def test_without_search(self) -> None:
        """So are the checks of search."""
        daemon = Daemon(self.mktemp())
        self.addCleanup(daemon.stop)
        liar = Liar(daemon.doors["json"], CODECS["json"], without_search)
        self.addCleanup(liar.close)
        server = daemon.server("json")._replace(address=liar.address)
        checks = [check for check in CHECKS.values() if check.section == "Searching"]
        verdict = Verdict()
        self.assertTrue(make(checks, server, verdict.lines.append))
        self.assertEqual(len(verdict.skipped()), len(checks))

    def test_every_check(self) -> None:
        """No check is left out above."""
        special = {*NOT_OPEN, "login-timeout", "shutting-down"}
        seen = {check for _, checks in LIES.values() for check in checks.split()} | special
        seen |= {check for checks in DER_LIES.values() for check in checks.split()}
        # Those of HTTP have a liar of their own: tests/test_api_conformance.py.
        self.assertEqual(seen, {name for name, check in CHECKS.items() if check.codec != "http"})


class SpokenTests(SynchronousTestCase):
    """What the command is told and what it says."""

    def run_it(self, *arguments: str) -> tuple[int, str, str]:
        """The exit status, and what is printed on either stream."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main(arguments)
        return status, out.getvalue(), err.getvalue()

    def test_list(self) -> None:
        """--list tells each check's name, what it holds and where that is written."""
        status, out, _ = self.run_it("--list")
        self.assertEqual(status, 0)
        self.assertEqual(len(out.splitlines()), len(CHECKS))
        self.assertIn("greeting (Before the welcome): The server speaks first: version, ", out)

    def test_sections(self) -> None:
        """Every section that a check names is in the document, and no check lacks its sentence."""
        lines = [line for page in (PAGE, HTTP_PAGE) for line in page.read_text("utf-8").splitlines()]
        titles = {a for a, b in itertools.pairwise(lines) if b and set(b) in ({"-"}, {"~"}, {"="})}
        for check in CHECKS.values():
            self.assertIn(check.section, titles, check.name)
            self.assertTrue(check.sentence.endswith("."), check.name)

    def test_wrong_usage(self) -> None:
        """No address, no such address, no such check, no such option: exit status 2, and why."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            usages = [
                ((), "HOST:PORT"),
                (("localhost",), "HOST:PORT"),
                (("localhost:http",), "HOST:PORT"),
                (("localhost:70000",), "HOST:PORT"),
                (("http://localhost:70000/socket",), "HOST:PORT"),
                (("ws://localhost/socket",), "HOST:PORT"),
                (("ws://localhost:5380/socket", "--codec", "der"), "The web speaks JSON"),
                ((f"127.0.0.1:{port}", "no-such-check"), "no check no-such-check"),
                ((f"127.0.0.1:{port}", "--codec", "xml"), "xml"),
                (
                    (f"127.0.0.1:{port}", "--patience", "never"),
                    "not a number of seconds over 0 and up to 3600: 'never'",
                ),
                ((f"127.0.0.1:{port}", "--quiet", "0"), "not a number of seconds over 0 and up to 3600: '0'"),
                ((f"127.0.0.1:{port}", "--terminate", "0"), "not the number of a process: '0'"),
                ((f"127.0.0.1:{port}", "--terminate", "-1"), "not the number of a process: '-1'"),
                ((f"127.0.0.1:{port}", "--terminate", "x"), "not the number of a process: 'x'"),
                ((f"http://127.0.0.1:{port}", "ping", "greeting"), "none of these checks is of HTTP"),
            ]
            for arguments, why in usages:
                status, out, err = self.run_it(*arguments)
                self.assertEqual((status, out), (2, ""), arguments)
                self.assertIn(why, err)
        with socket.socket() as taken:  # and nobody listens there
            taken.bind(("127.0.0.1", 0))
            status, out, err = self.run_it(f"127.0.0.1:{taken.getsockname()[1]}")
        self.assertEqual((status, out), (2, ""))
        self.assertIn("nobody answers", err)

    def test_addresses(self) -> None:
        """Names, IPv4 and IPv6 addresses are understood, and the ways to get there."""
        for text, expected in (
            ("chat.example:5311", Address("chat.example", 5311)),
            ("[::1]:5311", Address("::1", 5311)),
            ("tls:[::1]:5311", Address("::1", 5311, True)),
            ("ws://chat.example:5380/socket", Address("chat.example", 5380, False, "/socket")),
            ("wss://[::1]:443/below/socket", Address("::1", 443, True, "/below/socket")),
            ("ws://[::1]:80", Address("::1", 80, False, "/")),
            ("http://[::1]:80", Address("::1", 80, False, "/socket", True)),
            ("https://chat.example:443/below/", Address("chat.example", 443, True, "/below/socket", True)),
        ):
            self.assertEqual(parse_address(text), expected)

    def test_silent_server(self) -> None:
        """A server that says nothing fails in time, with a line that tells what was awaited."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = f"127.0.0.1:{listener.getsockname()[1]}"
            status, out, _ = self.run_it(address, "--patience", "0.1", "greeting")
        self.assertEqual(status, 1)
        failed, summary = out.splitlines()
        self.assertTrue(failed.startswith("FAIL greeting: The server speaks first"), failed)
        self.assertIn("awaited version {'protocol': 1}, but the server said nothing for 0.1 s", failed)
        self.assertEqual(summary, "0 passed, 1 failed")

    def test_garbage(self) -> None:
        """What is no frame, or none that servers say, fails; nothing is printed that steers a terminal."""
        for said, why in (
            (b"\x1b[2Jhello\n", "not JSON"),
            (b'{"type":"system","data":{"keyword":"version"},"type":"system"}\n', "duplicate keys"),
            (b"[]\n", "no JSON object"),
            (b'{"type":"system","data":{"keyword":"version","protocol":1,"server":"\\ud800"}}\n', "not JSON"),
            (b'{"type":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n", "not JSON"),
            (b'{"type":"login","data":{}}\n', "no type or no data"),
            (b'{"type":"system","data":{"keyword":"ping"}}\n', "keyword servers do not say"),
            (b'{"type":"system","data":{"keyword":"version","protocol":1}}\n', "lacks server"),
            (b'{"type":"system","data":{"keyword":"version","protocol":1.0,"server":"x"}}\n', "is no number"),
            (b'{"type":"system","data":{"keyword":"fatal","code":"x","reason":"\\u001b[2J"}}\n', "x1b[2J"),
            (b"", "hung up"),
        ):
            with socket.create_server(("127.0.0.1", 0)) as listener:
                thread = threading.Thread(target=_say, args=(listener, said))
                thread.start()
                address = f"127.0.0.1:{listener.getsockname()[1]}"
                status, out, _ = self.run_it(address, "--patience", f"{PATIENCE}", "greeting")
                thread.join()
            self.assertEqual(status, 1, said)
            self.assertIn(why, out)
            self.assertNotIn("\x1b", out)


def _say(listener: socket.socket, said: bytes) -> None:
    """Say this to the second who calls; the first only looks whether anybody is there."""
    listener.settimeout(PATIENCE)
    for _ in range(2):
        client, _ = listener.accept()
        with client, contextlib.suppress(OSError):
            client.sendall(said)
