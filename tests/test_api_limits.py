"""HTTP for programs: what those who ask may have lie in the server's memory, and write into its log."""

from __future__ import annotations

import json

from twisted.logger import formatEvent
from twisted.trial.unittest import SynchronousTestCase

from chat import journal
from chat.health import gauges
from chat.journal import SILENCE, Event, Seldom
from chat.limits.crowd import LIGHT, Crowd
from chat.origin import LOCAL, Origin
from chat.web.api import mailbox
from chat.web.api.mailbox import ANSWER_BYTES
from tests.api import ApiTestCase, Open
from tests.logbook import LogBook

HEAVIEST = 500_000


class UnreadTests(ApiTestCase):
    """Answers that nobody reads."""

    def open(self, crowd: Crowd | None = None) -> None:
        """Let little lie here."""
        self.crowd = crowd or Crowd(heaviest=HEAVIEST)
        super().open(self.crowd)

    def setUp(self) -> None:
        """Four messages wait for bob, an answer of some 200,000 bytes."""
        super().setUp()
        for _ in range(4):
            self.alice.post("/to/bob", b"x" * 50_000)

    def asked(self, path: str = "/messages", method: str = "GET") -> Open:
        """A request whose answer is not read."""
        asked = self.bob.open(method, path)
        self.network.settle()
        return asked

    def test_weighed(self) -> None:
        """What is not read counts, until it is read."""
        asked = self.asked()
        self.assertGreater(self.crowd.weight, 200_000)
        self.assertLessEqual(self.crowd.weight, len(asked.wire.unread))
        self.assertEqual(asked.response.status, 200)
        self.assertEqual(self.crowd.weight, 0)

    def test_cut(self) -> None:
        """When all together is too much, the one with the most of it is cut; nobody else is."""
        heaviest, *others = [self.asked(), self.asked("/messages?limit=1"), self.asked("/messages?limit=3")]
        self.assertFalse(heaviest.wire.aborted)
        others.append(self.asked("/messages?limit=3"))
        self.assertTrue(heaviest.wire.aborted)
        self.assertEqual([each.wire.aborted for each in others], [False] * 3)
        self.assertLessEqual(self.crowd.weight, HEAVIEST)
        for each in others:
            self.assertEqual(each.response.status, 200)
        self.assertEqual(self.crowd.weight, 0)

    def test_too_much_at_once(self) -> None:
        """Who asks for more than may lie here at all is cut in the middle of it, and nothing goes wrong."""
        self.crowd._heaviest = 100_000
        self.assertTrue(self.asked().wire.aborted)
        self.assertEqual(self.crowd.weight, 0)
        self.network.pass_time(10)
        self.assertNothingUnderWay()

    def test_hung_up(self) -> None:
        """What lies there for who is gone does not count."""
        self.asked().hang_up()
        self.assertEqual(self.crowd.weight, 0)

    def test_behind(self) -> None:
        """The body of the next request does not make what is not read forgotten."""
        body = b"x" * (3 * LIGHT)
        asked = self.asked()
        before = self.crowd.weight
        head = f"POST /to/bob HTTP/1.1\r\nHost: x\r\nAuthorization: {self.bob.authorization}\r\n"
        asked.wire.arrive(f"{head}Content-Length: {len(body) + 1}\r\n\r\n".encode() + body)
        self.network.settle()
        self.assertEqual(self.crowd.weight, before)  # nor is it read before the client reads
        asked.read_all()
        self.assertEqual(self.crowd.weight, len(body))

    def test_errors(self) -> None:
        """A little is not counted."""
        self.assertEqual(self.asked("/nowhere").response.status, 404)
        asked = self.asked("/messages", "HEAD")
        self.assertEqual((self.crowd.weight, asked.response.body), (0, b""))


class AnswerTests(ApiTestCase):
    """How large an answer may become."""

    def test_escaped(self) -> None:
        """An answer is measured by what it has in JSON, where a byte may become six."""
        for _ in range(6):
            self.alice.post("/to/bob", b"\x01" * 60_000)
        response = self.bob.ask("GET", "/messages")
        self.assertLess(len(response.body), ANSWER_BYTES + 6 * 60_000 + 1000)
        answer = self.bob.get("/messages")
        self.assertEqual(([each["id"] for each in answer["messages"]], answer["more"]), ([1, 2, 3], True))
        self.assertEqual(self.bob.waiting(after=3), [4, 5, 6])

    def test_subjects(self) -> None:
        """So are the parts of it beside the bodies."""
        self.alice.say("/to/bob", body="", subject="\x01" * 256)
        asked = self.bob.ask("GET", "/messages")
        self.patch(mailbox, "ANSWER_BYTES", 1500)
        self.alice.say("/to/bob", body="", subject="x")
        self.assertGreater(len(asked.body), 1500)
        self.assertEqual(self.bob.waiting(), [1])


class SeldomTests(SynchronousTestCase):
    """L{Seldom}: what happens with each request is logged now and then."""

    def setUp(self) -> None:
        """Begin."""
        self.now = 0.0
        self.seldom = Seldom(lambda: self.now)
        self.book = LogBook(self)

    def tell(self, account: str = "alice", where: Origin = LOCAL, proof: str = "password") -> int:
        """Tell of a login; how many entries were made of it."""
        before = len(self.book.events)
        self.seldom.tell(Event.LOGGED_IN, where, account, proof=proof)
        return len(self.book.events) - before

    def test_once(self) -> None:
        """The first of its kind is logged, and after a time the next one; those between are not."""
        entries = []
        for self.now in (0, 1, SILENCE - 1, SILENCE, SILENCE + 1, 2 * SILENCE - 1, 2 * SILENCE):
            entries.append(self.tell())
        self.assertEqual(entries, [1, 0, 0, 1, 0, 0, 1])
        self.assertEqual(formatEvent(self.book.events[0]), "alice logged in from local with a password")

    def test_counted(self) -> None:
        """Each counts."""
        before = gauges.events["logged-in"]
        for _ in range(3):
            self.tell()
        self.assertEqual(gauges.events["logged-in"] - before, 3)

    def test_others(self) -> None:
        """Another account, place or proof is another matter; another address of the same place is not."""
        first, second, other = (
            Origin(host, f"2001:db8:{site}::/64")
            for host, site in (("2001:db8:1::1", 1), ("2001:db8:1:7::2", "1:7"), ("2001:db8:2::1", 2))
        )
        here = Origin("127.0.0.1", None)
        told = [("alice", where, "password") for where in (LOCAL, here, first, second, other)]
        told += [("bob", LOCAL, "password"), ("alice", LOCAL, "token")]
        self.assertEqual([self.tell(*each) for each in told], [1, 1, 1, 0, 1, 1, 1])
        self.assertEqual([self.tell(*each) for each in told], [0] * 7)

    def test_bounded(self) -> None:
        """It remembers so many, and forgets the oldest."""
        self.patch(journal, "REMEMBERED", 20)
        for number in range(21):
            self.tell(f"user{number}")
        self.assertEqual([self.tell(f"user{number}") for number in (1, 20)], [0, 0])
        self.assertEqual(self.tell("user0"), 1)
        self.assertEqual(len(self.seldom._told), 20)
        self.now = SILENCE
        self.tell()
        self.assertEqual(len(self.seldom._told), 1)


class LogTests(ApiTestCase):
    """What programs that ask often leave in the log."""

    def test_each_request(self) -> None:
        """There is an entry of the first login, and not of each request; each counts."""
        token = json.loads(self.bob.ask("POST", "/token").body)["token"]
        before = gauges.events["logged-in"]
        book = LogBook(self)
        for _ in range(3):
            self.alice.send("bob")
            self.bob.waiting()
            stream = self.bob.open("GET", "/events")
            self.assertTrue(stream.answered)
            stream.hang_up()
        self.bob.authorization = f"Bearer {token}"
        self.assertEqual([self.bob.waiting() for _ in range(2)], [[1, 2, 3]] * 2)
        self.assertEqual(
            [formatEvent(event) for event in book.events if event.get("event") == "logged-in"],
            [
                "alice logged in from 127.0.0.1 with a password",
                "bob logged in from 127.0.0.1 with a token",
            ],
        )
        self.assertEqual(gauges.events["logged-in"] - before, 11)

    def test_other_doors(self) -> None:
        """Who logs in to stay is logged each time."""
        book = LogBook(self)
        for _ in range(2):
            self.person("alice").hang_up()
        self.assertEqual([each["event"] for each in book.events if "event" in each], ["logged-in"] * 2)
