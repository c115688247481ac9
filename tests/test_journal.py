"""What is logged of accounts."""

from __future__ import annotations

from twisted.logger import LogLevel, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from chat.accounts import Admission
from chat.errors import Code, Refusal
from chat.journal import NOBODY, Event, tell
from chat.origin import LOCAL, Origin
from tests.logbook import LogBook
from tests.network import NetworkTestCase

#: One value for each field that the words of an event name.
FIELDS: dict[str, str | int] = {
    "proof": "password",
    "code": "wrong-password",
    "number": 7,
    "which": "all tokens",
    "request": "delete-account",
    "count": 3,
    "size": 70_000,
}


class JournalTests(SynchronousTestCase):
    """L{tell}."""

    def setUp(self) -> None:
        """Collect what is logged."""
        self.events = LogBook(self).events

    def test_everyEvent(self) -> None:
        """Each event says the account, where it has one, and the address, in words and in fields."""
        for event in Event:
            tell(event, Origin("203.0.113.5", "203.0.113.5"), "alice", **FIELDS)
            logged = self.events.pop()
            text = formatEvent(logged)
            self.assertIn("203.0.113.5", text)
            self.assertEqual("alice" in text, event not in (Event.TURNED_AWAY, Event.CUT))
            self.assertNotIn("Unable to format", text)
            self.assertEqual((logged["account"], logged["address"]), ("alice", "203.0.113.5"))

    def test_level(self) -> None:
        """What went wrong can be told from what went well."""
        tell(Event.LOGGED_IN, LOCAL, "alice", proof="token")
        tell(Event.LOGIN_FAILED, LOCAL, "alice", code="wrong-password")
        self.assertEqual([event["log_level"] for event in self.events], [LogLevel.info, LogLevel.warn])
        self.assertEqual([event["event"] for event in self.events], ["logged-in", "login-failed"])

    def test_noAccount(self) -> None:
        """Where there is no such account, nothing that was typed is told."""
        tell(Event.LOGIN_FAILED, LOCAL, code="wrong-password")
        self.assertEqual(formatEvent(self.events[0]), f"login to {NOBODY} from local refused: wrong-password")

    def test_injection(self) -> None:
        """A name cannot look like another entry, whatever is in it."""
        tell(Event.SIGNED_UP, Origin("fe80::1%e\nx", None), "a\n{code}\x1b[2J\u202e\u2028bob was created")
        text = formatEvent(self.events[0])
        self.assertTrue(text.isascii() and text.isprintable(), ascii(text))
        self.assertIn(r"a\n{code}\x1b[2J\u202e\u2028bob", text)


class LoginTests(NetworkTestCase):
    """What a stranger's attempts leave in the log."""

    def test_slowedDown(self) -> None:
        """Whoever has to wait was logged when the attempts failed; to try on leaves no entry."""

        async def waits(*_: object) -> Admission:
            raise Refusal(Code.SLOW_DOWN, "Wait.", seconds=3)

        self.network.user("alice")
        log = LogBook(self)
        self.patch(self.network.accounts, "log_in", waits)
        client = self.network.connect()
        for _ in range(3):
            client.say_login("alice", "a guess")
            self.assertHears(client, "password", "failed slow-down", "username")
        self.assertEqual(log.events, [])
