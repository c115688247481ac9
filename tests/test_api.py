"""HTTP for programs: who is let in, what is sent, and what becomes of it."""

from __future__ import annotations

import json
from typing import Any, Callable

from chat.messages import BODY_BYTES, USER_FRAME_BYTES, Frame, List, Message
from chat.web.api.asked import Asked
from chat.web.api.conversation import Conversation
from chat.web.api.desk import Desk
from chat.web.api.events import Stream
from chat.web.api.sending import LOOK
from chat.web.origins import Origins
from chat.web.site import Request
from tests.api import ApiTestCase, Open, basic
from tests.talker import keywords, password
from tests.web import HERE, knock, parse, request
from tests.wire import Wire


class SendingTests(ApiTestCase):
    """C{POST /to/NAME}."""

    def test_as_curl_does(self) -> None:
        """What C{curl -d} sends is the message, letter for letter, though curl calls it a form."""
        response = self.alice.post("/to/bob", b"disk=full & 100%25+1")
        self.assertEqual(response.status, 202)
        self.assertEqual(
            json.loads(response.body), {"id": 1, "time": "2026-11-22T21:07:00.123Z", "state": "waiting"}
        )
        (message,) = self.bob.get("/messages")["messages"]
        self.assertEqual(
            message,
            {
                "id": 1,
                "sender": "alice",
                "recipient": "bob",
                "time": "2026-11-22T21:07:00.123Z",
                "body": "disk=full & 100%25+1",
            },
        )

    def test_kinds_of_body(self) -> None:
        """Plain text and JSON are understood, in UTF-8 under any of its names."""
        for kind in ("text/plain", "text/plain; charset=UTF8", 'Text/Plain;charset="us-ascii"'):
            self.assertEqual(
                self.alice.post("/to/bob", "grüße".encode(), Content_Type=kind).status, 202, kind
            )
        answer = self.alice.say("/to/bob", body="grüße", subject="hi", ref="c1", automatic=True)
        self.assertEqual(answer.status, 202)
        messages = self.bob.get("/messages")["messages"]
        self.assertEqual([message["body"] for message in messages], ["grüße"] * 4)
        self.assertEqual((messages[3]["subject"], messages[3]["automatic"]), ("hi", True))

    def test_kind_left_out(self) -> None:
        """A body of no kind is text."""
        response = self.alice.ask("POST", "/to/bob", b"hello")
        self.assertEqual(response.status, 202)

    def test_other_bodies(self) -> None:
        """What is not understood is refused before anything is done, with what would be."""
        for kind in (
            "application/octet-stream",
            "multipart/form-data; boundary=x",
            "text/plain; charset=latin-1",
        ):
            detail = self.assertProblem(
                self.alice.post("/to/bob", b"hello", Content_Type=kind), 415, "unsupported-media-type"
            )
            self.assertIn("Send text/plain or application/json, in UTF-8.", detail)
        packed = self.alice.post("/to/bob", b"hello", Content_Encoding="gzip")
        self.assertProblem(packed, 415, "unsupported-media-type")
        self.assertIn("byte 2", self.assertProblem(self.alice.post("/to/bob", b"ab\xff"), 400, "bad-body"))
        for octets in (
            b"{",
            b"[1]",
            b'{"body":1}',
            b'{"body":"x","subjet":"y"}',
            b'{"body":"\\ud800"}',
            b"\xff",
            b'{"body":"\xff"}',
        ):
            self.assertProblem(
                self.alice.post("/to/bob", octets, Content_Type="application/json"), 400, "bad-body"
            )
        unknown = self.alice.say("/to/bob", body="x", **{"y" * 100_000: 1})
        self.assertIn("unknown field `yyy", self.assertProblem(unknown, 400, "bad-body"))
        self.assertLess(len(unknown.body), 1000)
        self.assertEqual(self.bob.waiting(), [])

    def test_no_body(self) -> None:
        """Without a body there is nothing to send; an empty one is a message like any other."""
        self.assertProblem(self.alice.ask("POST", "/to/bob"), 411, "length-required")
        self.assertEqual(self.alice.ask("POST", "/to/bob", Content_Length="0").status, 202)
        self.assertEqual(self.bob.get("/messages")["messages"][0]["body"], "")

    def test_too_large(self) -> None:
        """A message that is too long is refused, not cut; so is a request that is longer than any may be."""
        self.assertIn(
            str(BODY_BYTES),
            self.assertProblem(self.alice.post("/to/bob", b"x" * (BODY_BYTES + 1)), 413, "too-large"),
        )
        response = self.alice.ask("POST", "/to/bob", b"x" * (USER_FRAME_BYTES + 1))
        self.assertProblem(response, 413, "too-large")
        self.assertProblem(self.alice.post("/to/bob", b"x", Idempotency_Key="k" * 65), 413, "too-large")
        self.assertEqual(self.alice.post("/to/bob", b"x" * BODY_BYTES).status, 202)

    def test_subject(self) -> None:
        """The subject is a header: in UTF-8, or spelt in ASCII."""
        for subject in ("Grüße", "UTF-8''Gr%C3%BC%C3%9Fe", "utf-8'de'Gr%c3%bc%c3%9fe"):
            self.assertEqual(self.alice.post("/to/bob", b"hello", Subject=subject).status, 202)
        subjects = [message["subject"] for message in self.bob.get("/messages")["messages"]]
        self.assertEqual(subjects, ["Grüße"] * 3)

    def test_bad_headers(self) -> None:
        """A header that is no UTF-8, or there twice, is refused by its name."""
        detail = self.assertProblem(
            self.alice.post("/to/bob", b"hello", Subject="UTF-8''%e9"), 400, "bad-header"
        )
        self.assertIn("The header Subject is not UTF-8", detail)
        twice = self.alice.post("/to/bob", b"hello", Subject="one\r\nSubject: two")
        self.assertIn("The header Subject is there twice", self.assertProblem(twice, 400, "bad-header"))

    def test_given_twice(self) -> None:
        """What is said in the body and in a header must be the same."""
        for name, field in (("Subject", "subject"), ("Idempotency-Key", "ref")):
            body = json.dumps({"body": "hello", field: "one"}).encode()
            headers = {"Content_Type": "application/json", name: "two"}
            response = self.alice.ask("POST", "/to/bob", body, **headers)
            self.assertProblem(response, 422, "given-twice")
            headers[name] = "one"
            self.assertEqual(self.alice.ask("POST", "/to/bob", body, **headers).status, 202)

    def test_same_key(self) -> None:
        """The same key is the same message, however it is quoted; with other contents it is refused."""
        first = self.alice.post("/to/bob", b"hello", Idempotency_Key="k1")
        self.network.pass_time(5)
        again = self.alice.post("/to/bob", b"hello", Idempotency_Key='"k1"')
        self.assertEqual((first.status, first.body), (again.status, again.body))
        self.assertEqual(self.alice.say("/to/bob", body="hello", ref="k1").body, first.body)
        self.assertProblem(self.alice.post("/to/bob", b"other", Idempotency_Key="k1"), 422, "ref-reused")
        self.assertEqual(self.bob.waiting(), [1])

    def test_empty_key(self) -> None:
        """A key that was forgotten makes no two messages one."""
        for key in ("", '""'):
            response = self.alice.post("/to/bob", b"hello", Idempotency_Key=key)
            self.assertIn("empty", self.assertProblem(response, 400, "bad-header"))
        response = self.alice.say("/to/bob", body="hello", ref="")
        self.assertIn("empty", self.assertProblem(response, 400, "bad-body"))
        self.assertEqual(self.bob.waiting(), [])

    def test_repeated_when_delivered(self) -> None:
        """Who repeats a message is told what has become of it."""
        self.alice.post("/to/bob", b"hello", Idempotency_Key="k1")
        self.bob.say("/received", ids=[1])
        again = self.alice.post("/to/bob", b"hello", Idempotency_Key="k1")
        self.assertEqual((again.status, json.loads(again.body)["state"]), (200, "delivered"))

    def test_repeated_when_recalled(self) -> None:
        """A message that was taken back is not sent anew by repeating it, and that is said."""
        self.alice.post("/to/bob", b"hello", Idempotency_Key="k1")
        self.alice.ask("DELETE", "/messages/1")
        again = self.alice.post("/to/bob", b"hello", Idempotency_Key="k1")
        self.assertIn("it was recalled", self.assertProblem(again, 409, "recalled"))
        self.assertEqual(self.bob.waiting(), [])

    def test_unknown_recipient(self) -> None:
        """A message to nobody comes back: it says why, and lies in the sender's mailbox."""
        for name in ("bobo", "", "a%20b", "x" * 300, "%E2%82%AC"):
            response = self.alice.post(f"/to/{name}", b"hello")
            detail = self.assertProblem(response, 409, "unknown-recipient")
            self.assertIn("There is no account of that name", detail)
        problem = json.loads(response.body)
        self.assertEqual((problem["id"], problem["state"]), (5, "returned"))
        messages = self.alice.get("/messages")["messages"]
        self.assertEqual([message["returned"]["recipient"] for message in messages][4], "€")

    def test_programs_that_answer_each_other(self) -> None:
        """A program that answers what a program wrote unasked is refused, if it says what it answers."""
        self.alice.say("/to/bob", body="I am away", automatic=True)
        answer = self.bob.say("/to/alice", body="I am away, too", automatic=True, answers=1)
        self.assertProblem(answer, 422, "automatic-loop")
        self.assertEqual(self.bob.say("/to/alice", body="I see", answers=1.0).status, 202)

    def test_blocked(self) -> None:
        """The rules of the core hold here too: what a blocked sender sends comes back."""
        bob = self.person("bob")
        bob.system("block", username="alice")
        bob.hear()
        self.assertProblem(self.alice.post("/to/bob", b"hello"), 409, "blocked")

    def test_name_prepared(self) -> None:
        """A name is the same however it is written."""
        self.assertEqual(self.alice.post("/to/B%4Fb", b"hello").status, 202)
        self.assertEqual(self.bob.waiting(), [1])

    def test_path_not_utf8(self) -> None:
        """A path that is no text is refused."""
        self.assertIn("not UTF-8", self.assertProblem(self.alice.post("/to/%ff", b"x"), 400, "bad-parameter"))


class FateTests(ApiTestCase):
    """C{POST /to/NAME?wait=30s}: what becomes of the message."""

    def test_delivered(self) -> None:
        """The answer comes when the recipient confirms."""
        asked = self.alice.open("POST", "/to/bob?wait=30s", b"hello")
        self.assertFalse(asked.answered)
        self.network.pass_time(1)
        self.assertFalse(asked.answered)
        self.bob.say("/received", ids=[1])
        self.assertEqual((asked.response.status, asked.json["state"]), (200, "delivered"))

    def test_still_waiting(self) -> None:
        """When the time is over and nobody has confirmed, it waits still."""
        asked = self.alice.open("POST", "/to/bob?wait=30s", b"hello")
        self.assertFalse(asked.answered)
        self.network.pass_time(29.9)
        self.assertFalse(asked.answered)
        self.network.pass_time(0.2)
        self.assertEqual((asked.response.status, asked.json["state"]), (202, "waiting"))

    def test_comes_back(self) -> None:
        """When it comes back meanwhile, that is told with the reason."""
        bob = self.person("bob")
        asked = self.alice.open("POST", "/to/bob?wait=2m", b"hello")
        self.assertFalse(asked.answered)
        bob.system("delete-account", password=password("bob"))
        bob.hear()
        self.network.pass_time(LOOK)
        self.assertProblem(asked.response, 409, "account-deleted")

    def test_recalled(self) -> None:
        """When the sender takes it back meanwhile, whoever waits is told."""
        asked = self.alice.open("POST", "/to/bob?wait=30s", b"hello")
        self.assertFalse(asked.answered)
        self.assertEqual(self.alice.ask("DELETE", "/messages/1").status, 204)
        self.network.pass_time(LOOK)
        self.assertProblem(asked.response, 409, "recalled")

    def test_another_delivered(self) -> None:
        """The delivery of another message is not taken for that of this one."""
        self.alice.post("/to/bob?receipt=true", b"first")
        asked = self.alice.open("POST", "/to/bob?wait=30s", b"second")
        self.assertFalse(asked.answered)
        self.bob.say("/received", ids=[1])
        self.network.pass_time(LOOK)
        self.assertFalse(asked.answered)

    def test_repeated_without_receipt(self) -> None:
        """Who waits for a message that was first sent without a receipt is told of its delivery, too."""
        self.alice.post("/to/bob", b"hello", Idempotency_Key="k1")
        asked = self.alice.open("POST", "/to/bob?wait=30s", b"hello", Idempotency_Key="k1")
        self.assertFalse(asked.answered)
        self.bob.say("/received", ids=[1])
        self.assertFalse(asked.answered)
        self.network.pass_time(LOOK)
        self.assertEqual(asked.response.status, 200)

    def test_hang_up(self) -> None:
        """Who hangs up while waiting has sent the message all the same, and leaves nothing behind."""
        asked = self.alice.open("POST", "/to/bob?wait=30s", b"hello")
        self.assertFalse(asked.answered)
        asked.hang_up()
        self.network.pass_time(60)
        self.assertEqual(self.bob.waiting(), [1])
        self.assertNothingUnderWay()

    def test_bounds(self) -> None:
        """A time to wait that is none, or too long, is refused with the bounds."""
        for wait in ("301s", "6m", "1h", "-1", "", "1.5s", "030s", "1e2", "%D9%A3s"):
            response = self.alice.post(f"/to/bob?wait={wait}", b"x")
            detail = self.assertProblem(response, 400, "bad-parameter")
            self.assertEqual(detail, "The parameter wait is a time from 0s to 300s, as 30s or 2m.")
        self.assertEqual(self.alice.post("/to/bob?wait=0", b"x").status, 202)


class ElsewhereTests(ApiTestCase):
    """What is asked at the wrong place, in the wrong way, or by the wrong page."""

    def test_other_methods(self) -> None:
        """A method that an address does not take is refused with those that it takes."""
        for path, methods in {
            "/to/bob": "POST",
            "/messages": "GET, HEAD",
            "/messages/1": "DELETE, GET, HEAD",
            "/token": "DELETE, POST",
        }.items():
            response = self.alice.ask("PATCH", path)
            self.assertIn(methods, self.assertProblem(response, 405, "method-not-allowed"))
            self.assertEqual(response.headers["Allow"], methods)

    def test_no_such_address(self) -> None:
        """Where nothing is, that is said."""
        for path in ("/to", "/to/bob/there", "/messages/1/2", "/token/1"):
            self.assertProblem(self.alice.post(path, b"x"), 404, "not-found")

    def test_parameters(self) -> None:
        """A parameter that is unknown, there twice or no text is refused by its name."""
        for query, named in {
            "wiat=30s": "There is no parameter 'wiat' here; there are: wait, receipt, automatic.",
            "receipt=true&receipt=true": "The parameter receipt is there twice. Give it once.",
            "receipt=yes": "The parameter receipt is true or false.",
            "wait=": "The parameter wait is a time from 0s",
            "%ff=1": "not UTF-8",
            "receipt=%ff": "not UTF-8",
        }.items():
            detail = self.assertProblem(self.alice.post(f"/to/bob?{query}", b"x"), 400, "bad-parameter")
            self.assertIn(named, detail)
        limit = self.alice.ask("GET", "/messages?limit=0")
        self.assertIn("a whole number from 1 to 1000", self.assertProblem(limit, 400, "bad-parameter"))
        unknown = self.alice.ask("DELETE", "/messages/1?wait=3")
        self.assertIn("there are: none", self.assertProblem(unknown, 400, "bad-parameter"))

    def test_foreign_page(self) -> None:
        """A page of another site cannot have a browser change anything with what that knows."""
        foreign = {"Origin": "https://evil.example"}
        self.assertProblem(self.alice.post("/to/bob", b"x", **foreign), 403, "foreign-origin")
        self.assertProblem(self.alice.ask("DELETE", "/messages/1", **foreign), 403, "foreign-origin")
        self.assertEqual(self.bob.waiting(), [])
        self.assertEqual(self.alice.post("/to/bob", b"x", Origin="http://chat.example").status, 202)

    def test_another_name(self) -> None:
        """Nor does a page see anything whose name leads to this machine, but is not this machine's."""
        wire = knock(self.site, HERE, HERE)
        named = {
            "Host": "evil.example",
            "Sec_Fetch_Site": "same-origin",
            "Authorization": basic("alice", "x"),
        }
        wire.arrive(request("/messages", **named))
        self.assertEqual(parse(wire.read()).problem, (403, "foreign-origin"))
        self.assertEqual(self.alice.ask("GET", "/messages", Origin="https://evil.example").status, 200)
        self.site.origins = Origins(["https://evil.example"])  # it is a name that the operator has given
        wire = knock(self.site, HERE, HERE)
        wire.arrive(request("/messages", **named))
        self.network.settle()
        self.assertEqual(parse(wire.read()).problem, (401, "wrong-password"))

    def test_head(self) -> None:
        """HEAD is GET without the content."""
        self.alice.send("bob")
        for path in ("/messages", "/openapi.json", "/events"):
            response = self.bob.ask("HEAD", path)
            self.assertEqual((response.status, response.body), (200, b""))
        self.assertEqual(self.bob.ask("HEAD", "/events").headers["Content-Type"], "text/event-stream")


class EndTests(ApiTestCase):
    """A server, or an account, that ends while somebody waits."""

    def accepted(self, asked: Open) -> None:
        """The request is answered by the id of the one message that there is."""
        fate = {"id": 1, "time": "2026-11-22T21:07:00.123Z", "state": "waiting"}
        self.assertEqual((asked.response.status, asked.json), (202, fate))
        alice = self.person("alice")
        alice.system("list", box="sent")
        self.assertEqual([each["id"] for each in alice.hear()[-1]["messages"]], [1])

    def test_shut_down(self) -> None:
        """Who waits when the server stops is told so at once."""
        polled = self.alice.open("GET", "/messages?wait=30s")
        self.assertFalse(polled.answered)
        self.door.shut_down()
        self.assertProblem(polled.response, 503, "shutting-down")

    def test_accepted_before(self) -> None:
        """A message that was accepted when the server stops is not to be sent again: its id is told."""
        asked = self.alice.open("POST", "/to/bob?wait=30s", b"hello")
        self.assertFalse(asked.answered)
        self.door.shut_down()
        self.accepted(asked)

    def before(self, kind: type[Frame], step: Callable[[], object]) -> None:
        """Take this step before a frame of this kind is asked."""
        ask = Conversation.ask

        async def asking(conversation: Conversation, frame: Frame) -> Frame:
            if isinstance(frame, kind):
                step()
            return await ask(conversation, frame)

        self.patch(Conversation, "ask", asking)

    def under_way(self, path: str) -> None:
        """The server stops while the message is on its way to disk; the answer says that it got there."""
        self.before(Message, lambda: setattr(self.network.disk, "seconds", 1))
        asked = self.alice.open("POST", path, b"hello")
        self.assertFalse(asked.answered)
        self.door.shut_down()
        self.assertFalse(asked.answered)
        self.network.disk.seconds = 0
        self.network.pass_time(1)
        self.accepted(asked)

    def test_under_way(self) -> None:
        """What is under way when the server stops is answered first."""
        self.under_way("/to/bob")

    def test_under_way_and_waiting(self) -> None:
        """So it is if its fate was to be waited for."""
        self.under_way("/to/bob?wait=30s")

    def test_repeated_at_the_end(self) -> None:
        """Of a message that came back the id is told, even where the server stops before it tells why."""
        self.alice.post("/to/bobo", b"hello", Idempotency_Key="k1")
        asked = self.alice.open("POST", "/to/bobo", b"hello", Idempotency_Key="k1")
        self.before(List, self.door.shut_down)
        self.assertProblem(asked.response, 409, "returned")
        self.assertEqual(asked.json["id"], 1)

    def test_half_closed(self) -> None:
        """Who says nothing more while a message is waited for has gone; nobody is there for it any more."""
        polled = self.alice.open("GET", "/messages?wait=30s")
        self.assertFalse(polled.answered)
        self.assertEqual(len(self.network.directory.sessions(1)), 1)
        polled.say_no_more()
        self.assertEqual(self.network.directory.sessions(1), ())
        self.assertNothingUnderWay()

    def test_account_deleted(self) -> None:
        """Who waits for an account that is deleted meanwhile is told so."""
        alice = self.person("alice")
        polled = self.alice.open("GET", "/messages?wait=30s")
        self.assertFalse(polled.answered)
        alice.system("delete-account", password=password("alice"))
        self.assertIn("account-deleted", keywords(alice.hear()))
        self.assertProblem(polled.response, 401, "account-gone")

    def test_thrown_away(self) -> None:
        """A request that is thrown away in the middle wakes nobody, least of all itself."""
        channel: Any = self.site.buildProtocol(HERE)
        channel.makeConnection(Wire(channel))
        asked = Asked(Request(channel), ("bob",), {})
        asked.request.site = self.site
        asked.request.requestHeaders.setRawHeaders("Authorization", [str(self.alice.authorization)])
        desk = Desk(self.network.clock, self.network.converse)

        async def serve() -> None:
            async with desk.conversation(asked):
                raise AssertionError("it is never let in")

        woken: list[object] = []
        steps = serve()
        answer: Any = steps.send(None)  # what it waits for
        answer.addBoth(woken.append)
        steps.close()  # as the garbage collector does, which may do it anywhere
        self.network.settle()
        self.assertEqual((woken, desk.busy), ([], 0))

    def test_broken_here(self) -> None:
        """An error at this door is told as one, too, and the connection is good for the next request."""
        self.patch(Desk, "conversation", None)
        self.assertProblem(self.alice.post("/to/bob", b"hello"), 500, "internal-error")
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)

    def test_broken_in_the_middle(self) -> None:
        """An error in the middle of an answer ends the connection: nothing must look whole that is not."""
        stream = self.alice.open("GET", "/events")
        self.assertEqual(stream.events(), [])
        self.patch(Stream, "beat", None)
        self.network.pass_time(15)
        self.assertTrue(stream.wire.aborted)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        self.assertNothingUnderWay()

    def test_broken(self) -> None:
        """An error in the server is told as one, and logged."""
        self.network.mailroom.accept = None  # type: ignore[assignment, method-assign]
        self.assertProblem(self.alice.post("/to/bob", b"hello"), 500, "internal-error")
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
