"""Hostile clients: each attack of docs/security.rst that is not tested elsewhere.

In memory where what counts is what the server does; against the real daemon where what
counts is what it costs the others.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import socket
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from bench import load
from bench.attacks import ATTACKS, SECRET, Seen, attacked, defended, table
from chat.course import RECEIPTS_AT_ONCE
from tests.daemon import PATIENCE, until
from tests.network import NetworkTestCase
from tests.strategies import ALWAYS
from tests.talker import keywords


class ReceiptTests(NetworkTestCase):
    """Floods of receipts."""

    def test_turns(self) -> None:
        """Whoever confirms a quarter of a million messages at once lets others have their turn."""
        mallory, alice = self.network.user("mallory"), self.network.user("alice")
        for _ in range(3):
            alice.send("mallory", "x")
        mallory.hear()
        alice.hear()
        self.network.disk.seconds = 1.0
        mallory.write(
            mallory.encoded("system", keyword="received", ids=[*range(4, 4 + 40 * RECEIPTS_AT_ONCE), 1])
        )
        mallory.system("list", box="inbox")
        self.network.settle()
        alice.send("alice", "hi")
        for _ in range(3):
            self.network.pass_time(1.0)
        self.assertEqual(keywords(alice.hear()), ["accepted", "message"])
        self.assertEqual(keywords(mallory.hear()), [])
        self.network.disk.seconds = 0.0
        for _ in range(3):
            self.network.pass_time(1.0)
        (listing,) = mallory.hear()
        self.assertEqual(
            [entry["state"] for entry in listing["messages"]], ["delivered", "waiting", "waiting"]
        )

    def test_hangsUp(self) -> None:
        """Receipts that were said count, though their client is gone before they are on disk."""
        mallory, alice = self.network.user("mallory"), self.network.user("alice")
        alice.send("mallory", "x")
        mallory.hear()
        self.network.disk.seconds = 1.0
        mallory.write(
            mallory.encoded("system", keyword="received", ids=[*range(2, 2 + 3 * RECEIPTS_AT_ONCE), 1])
        )
        mallory.hang_up()
        self.network.disk.seconds = 0.0
        for _ in range(3):
            self.network.pass_time(1.0)
        alice.hear()
        alice.system("list", box="sent")
        (listing,) = alice.hear()
        self.assertEqual(listing["messages"][0]["state"], "delivered")


class StringTests(NetworkTestCase):
    """SQL, and whatever else means something to somebody, in every string."""

    #: What has broken programs that put strings together.
    STRINGS = (
        "'; DROP TABLE ledger; --",
        "\"'`;--",
        "' OR '1'='1",
        "x' UNION SELECT hash FROM passwords.passwords --",
        "?1",
        ":name $name @name",
        "%s %(name)s {0} {name!r}",
        "\\' \\x00 \\u0000",
        "NULL",
        "%",
        "_",
        "*",
        "1e400",
        "$(reboot) `reboot` | reboot",
        "../../etc/passwd",
        '"}},{"type":"system","data":{"keyword":"fatal"',
        "\x00",
        "\r\n",
    )

    def tables(self) -> list[tuple[str, str]]:
        """The schema as it is."""
        return [
            (name, sql)
            for alias in ("main", "users", "passwords")
            for name, sql in self.network.disk.connect().execute(
                f"SELECT name, sql FROM {alias}.sqlite_schema"
            )
        ]

    def test_everyField(self) -> None:
        """They arrive, are found and come back as they were sent, and mean nothing on the way."""
        before = self.tables()
        numbers = itertools.count()

        @settings(ALWAYS, max_examples=60)
        @given(*[st.one_of(st.sampled_from(self.STRINGS), st.text(max_size=40)) for _ in range(4)])
        def check(recipient: str, subject: str, body: str, ref: str) -> None:
            ref = f"{next(numbers)}{ref[:12]}"
            alice = self.network.user("alice", "json")
            bob = self.network.user("bob", "der")
            said = {"subject": subject, "body": body}
            alice.send("bob", body, subject=subject, ref=ref)
            alice.send(recipient, body, subject=subject)
            heard = alice.hear()
            self.assertEqual(keywords(heard[:2]), ["accepted", "accepted"])
            first, second = heard[0]["id"], heard[1]["id"]
            arrived = {frame["id"]: frame for frame in bob.hear() + heard[2:] if "keyword" not in frame}
            for number in (first, second):
                if heard[1]["state"] == "returned" or number == first:
                    self.assertEqual({name: arrived[number][name] for name in said}, said)
            alice.system("read", ids=[first, second])
            bob.system("read", ids=[first])
            for client in (alice, bob):
                for frame in client.hear()[0]["messages"]:
                    self.assertEqual({name: frame[name] for name in said}, said)
            alice.send("bob", body, subject=subject, ref=ref)
            self.assertEqual(alice.hear()[0]["id"], first)
            alice.hang_up()
            bob.hang_up()

        check()
        self.assertEqual(self.tables(), before)

    def test_login(self) -> None:
        """A name, a password, a token and a code open nothing."""
        self.network.user("alice").hang_up()
        before = self.tables()
        client = self.network.connect()
        for string in self.STRINGS:
            stranger = self.network.connect()
            stranger.answer("invite", string)
            stranger.answer("username", string)
            self.assertIn(stranger.hear()[-1]["keyword"], ("username", "new-password"))
            stranger.hang_up()
            for field in ("password", "token", "recovery"):
                client.answer("username", "alice")
                client.answer(field, string)
                heard = keywords(client.hear())
                self.assertEqual(heard[-2:], [f"failed wrong-{field}", "username"], string)
        self.assertEqual(self.tables(), before)
        self.network.user("alice")


class FiguresTests(SynchronousTestCase):
    """The figures of docs/security.rst."""

    PAGE = Path(__file__).parent.parent / "docs" / "security.rst"

    def test_table(self) -> None:
        """A line for each attack: how often it was tried, the others' times without and with it, memory."""
        seen = [Seen("pings", 12345, (1.0, 2.04), (3.0, 40.0), 3 << 20)]
        head, line = table(seen).splitlines()[1], table(seen).splitlines()[3]
        self.assertEqual(head.split()[0], "attack")
        self.assertEqual(line.split(), ["pings", "12,345", "1.0", "3.0", "2.0", "40.0", "3"])

    def test_everyAttack(self) -> None:
        """The page has the figures of every attack there is."""
        page = self.PAGE.read_text("utf-8")
        missing = [name for name in ATTACKS if not re.search(rf"^{name}  +[\d,]+  ", page, re.MULTILINE)]
        self.assertEqual(missing, [])


class DaemonTests(SynchronousTestCase):
    """The real server, attacked in every way at the same time."""

    #: How much memory the server may use then, in MiB: what it needs at rest, and what docs/security.rst
    #: says of each connection.
    MOST = 256

    def welcome(self, port: int) -> bool:
        """Whether there is room for somebody more."""
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
            connection.shutdown(socket.SHUT_WR)
            heard = b""
            with contextlib.suppress(ConnectionError):
                while octets := connection.recv(1000):
                    heard += octets
        return b'"username"' in heard and b'"fatal"' not in heard

    def test_allAtOnce(self) -> None:
        """Honest users are served all the while, memory stays bounded, and nothing surprises the server."""
        folder = Path(self.mktemp()).resolve()
        with defended(folder, rounds=4, places=300) as (server, doors):
            honest = load.Crowd(server.target, 2)
            with attacked("+".join(ATTACKS), doors, 0.05) as tried:
                result = honest.steady(20, 3.0)
            self.assertGreater(tried[0], 100)
            self.assertEqual(len(result.latencies), 60)
            self.assertLess(load.resident_bytes(server.pid, "VmHWM") / 2**20, self.MOST)
            # When it is over everything is as before; also for newcomers.
            until(lambda: self.welcome(doors.json))
            honest.check()
            honest.close()
            load.sign_up(server.target, 1)
        log = (folder / "data.log").read_text()
        self.assertNotIn("Traceback", log)
        self.assertNotIn(SECRET, log)
        self.assertNotIn(load.PASSWORD, log)
        self.assertIn("connections turned away so far", log)
