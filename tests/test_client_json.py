"""What a program does with the client: one JSON object a line, in and out."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as some
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from chat.client import ClientError
from chat.client.commands import from_program
from chat.client.console import EndOfInput
from chat.client.fates import Fate
from chat.client.teller import JsonTeller
from chat.messages import (
    Frame,
    Message,
    Returned,
)
from tests.line_case import LineTests, ScriptedConsole
from tests.memory_server import TIME
from tests.strategies import ALWAYS


class JsonTests(LineTests):
    """C{--json}: for programs."""

    interactive = False

    def begin(self, **more: Any) -> Deferred[int]:
        """Start the client as C{--json} does."""
        self.teller = JsonTeller(self.console)
        return super().begin(teller=self.teller, programs=True, **more)

    def alice(self, **more: Any) -> Deferred[int]:
        """Log in."""
        return self.begin(username="alice", password="wonderland", **more)

    def events(self) -> list[dict[str, Any]]:
        """What was told."""
        return [json.loads(line) for line in self.console.shown]

    def event(self, kind: str) -> dict[str, Any]:
        """The last event of this kind."""
        return [each for each in self.events() if each["event"] == kind][-1]

    def test_conversation(self) -> None:
        """What comes, what is accepted and what becomes of it is one object each."""
        self.server.accept("bob", Message(recipient="alice", body="über", subject="hi"))
        self.alice()
        self.assertEqual(
            self.event("connected"), {"event": "connected", "username": "alice", "waiting": 1, "again": False}
        )
        self.assertEqual(
            self.event("message"),
            {
                "event": "message",
                "id": 1,
                "sender": "bob",
                "recipient": "alice",
                "time": TIME,
                "subject": "hi",
                "body": "über",
            },
        )
        self.assertTrue(all(line.isascii() for line in self.console.shown))
        self.type('{"recipient": "bob", "body": "hello", "ref": "r1", "receipt": true}')
        self.assertEqual(
            self.event("accepted"),
            {"event": "accepted", "ref": "r1", "id": 2, "time": TIME, "state": "waiting", "recipient": "bob"},
        )
        self.bob()
        self.assertEqual(
            self.event("fate"),
            {"event": "fate", "id": 2, "recipient": "bob", "state": "delivered", "time": TIME},
        )

    def test_typed(self) -> None:
        """A program may type what a person types, too."""
        status = self.alice()
        self.type("/to bob hello", "/nonsense", "/sent")
        self.assertEqual(self.event("accepted")["recipient"], "bob")
        self.assertIn("/nonsense", self.event("note")["text"])
        self.assertEqual(self.event("listing")["messages"][0]["id"], 1)
        self.type(EndOfInput())
        self.assertEqual(self.successResultOf(status), 0)

    def test_requests(self) -> None:
        """A request is answered by the frame of the protocol."""
        self.alice()
        self.type(
            '{"keyword": "ping"}', '{"keyword": "read", "ids": [7]}', '{"keyword": "delete", "ids": [7]}'
        )
        self.assertEqual(self.event("pong"), {"event": "pong"})
        self.assertEqual(self.event("messages"), {"event": "messages", "messages": [], "missing": [7]})
        self.assertEqual(self.event("deleted"), {"event": "deleted", "ids": [], "missing": [7]})
        self.type('{"keyword": "quit"}')

    def test_refusals(self) -> None:
        """What cannot be done is an event with its reason, and the conversation goes on."""
        self.alice()
        self.type('{"keyword": "change-password", "password": "wrong", "new": "x"}')
        self.assertEqual(self.event("failed")["code"], "wrong-password")
        for line, word in (
            ('{"recipient": "bob"', "not JSON"),
            ('{"recipient": "bob"}', "body"),
            ('{"keyword": "nonsense"}', "keyword"),
            ('{"keyword": "welcome", "username": "x", "waiting": 0}', "asks for nothing"),
            ('{"a":' * 100_000, "not JSON"),
            ('{"recipient": "bob", "body": "\\ud800"}', "JSON"),
        ):
            self.type(line)
            self.assertIn(word, self.event("failed")["reason"])
        self.type('{"recipient": "bob", "body": "%s", "ref": "big"}' % ("x" * 600_000))
        failed = self.event("failed")
        self.assertEqual((failed["code"], failed["recipient"], failed["ref"]), ("too-large", "bob", "big"))

    def test_same_ref_twice(self) -> None:
        """While a message is on its way, the same is not sent again; another one is refused its ref."""
        held = [True]
        self.server.answers.append(lambda session, frame: isinstance(frame, Message) and held[0])
        self.alice()
        self.type(*['{"recipient": "bob", "body": "x", "ref": "r"}'] * 2)
        self.type('{"recipient": "bob", "body": "y", "ref": "r"}')
        failed = self.event("failed")
        self.assertIn("another message", failed["reason"])
        self.assertEqual([failed[name] for name in ("code", "ref", "recipient")], ["ref-reused", "r", "bob"])
        self.assertEqual(len(self.server.frames(Message)), 1)
        held[0] = False
        self.session().cut()
        self.run_for(3)
        self.assertEqual(self.event("accepted")["ref"], "r")
        self.type('{"recipient": "bob", "body": "x", "ref": "r"}')  # the server answers it as before
        self.assertEqual(self.event("accepted")["id"], 1)
        self.assertEqual(len(self.server.ledger), 1)

    def test_lost(self) -> None:
        """A lost connection, a new one, and the end are told."""
        status = self.alice()
        self.session().cut()
        self.run_for(3)
        self.assertGreater(self.event("disconnected")["seconds"], 0)
        self.assertTrue(self.event("connected")["again"])
        self.session().end("account-gone")
        self.flush()
        self.assertEqual(self.event("over")["code"], "account-gone")
        self.assertEqual(self.successResultOf(status), 1)

    def test_over(self) -> None:
        """Why the program ends is the last event, told once, and told on the standard error, too."""
        self.server.answers.append(lambda session, frame: isinstance(frame, Message))
        self.alice()
        self.type("/to bob hello")
        self.session().end("account-gone")
        self.flush()
        self.assertEqual(self.complaints, ["It is over. (account-gone)"])
        self.teller.over(ClientError(self.complaints[0]))  # as the program does
        events = [json.loads(line)["event"] for line in self.console.shown]
        self.assertEqual((events[-1], events.count("over")), ("over", 1))

    def test_came_back(self) -> None:
        """A fate has its reason."""
        teller = JsonTeller(ScriptedConsole(False))
        console = teller._console
        assert isinstance(console, ScriptedConsole)
        teller.fate(Fate(1, "returned", Returned(code="expired", recipient="bob", note="Late.")), "bob")
        self.assertEqual(json.loads(console.shown[0])["returned"]["code"], "expired")


class ProgramTests(SynchronousTestCase):
    """What a program may ask for."""

    def test_deep(self) -> None:
        """However deep a line goes, it is a request, or there is a reason why not."""
        line = '{"recipient": %s%s}'
        shallow, deep = 1, 200_000
        while deep - shallow > 1:
            depth = (shallow + deep) // 2
            try:
                json.loads(line % ("[" * depth, "]" * depth))
            except RecursionError:
                deep = depth
            else:
                shallow = depth
        for depth in range(deep - 20, deep):  # what can just be read cannot be written with more around it
            self.assertRaises(ValueError, from_program, line % ("[" * depth, "]" * depth))

    @ALWAYS
    @given(some.text() | some.recursive(some.none() | some.text(), some.lists).map(json.dumps))
    def test_anything(self, text: str) -> None:
        """Whatever stands in the line, it is a request, or there is a reason why not."""
        try:
            self.assertIsInstance(from_program("{" + text), Frame)
        except ValueError as error:
            self.assertTrue(str(error))
