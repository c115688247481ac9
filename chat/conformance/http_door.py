"""Checks of HTTP for programs, with the standard library's own client."""

from __future__ import annotations

import http.client
import json
import ssl
from base64 import b64encode
from functools import wraps
from typing import Any, Callable, NamedTuple, Optional
from urllib.parse import quote

from chat.conformance.check import Account, Room, check, holds, log_in, same, send
from chat.conformance.talk import Connection, Failure

DOOR = "HTTP for programs"


class Response(NamedTuple):
    """What a request was answered with."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def content(self, status: int) -> Any:
        """The JSON in it, if it has this status; what is refused must say why, as RFC 9457 has it."""
        same("the status", self.status, status)
        refused = status >= 400
        kind = "application/problem+json" if refused else "application/json"
        same("the Content-Type", self.headers.get_content_type(), kind)
        try:
            content = json.loads(self.body)
        except ValueError:
            raise Failure(f"the body is no JSON: {self.body[:100]!r}") from None
        holds("the body does not end its line", self.body.endswith(b"\n"))
        if refused:
            same("the status in the body", content.get("status"), status)
            holds("the body has no detail", bool(content.get("detail")))
        return content

    def code(self, status: int) -> str:
        """Why it was refused with this status."""
        return str(self.content(status)["code"])

    def nothing(self) -> None:
        """It is done, and there is nothing to say."""
        same("the status", self.status, 204)
        same("the body", self.body, b"")


class Asked:
    """A request that may not be answered yet."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._connection = connection

    def response(self) -> Response:
        """The answer."""
        try:
            answer = self._connection.getresponse()
            return Response(answer.status, answer.headers, answer.read())
        except TimeoutError:
            raise Failure("the request is not answered") from None
        except http.client.HTTPException as error:
            raise Failure(f"the answer is not HTTP: {error!r}") from None
        finally:
            self._connection.close()

    def event(self) -> tuple[str, Any]:
        """The next event of a stream: its name, and what it says."""
        fields: dict[bytes, bytes] = {}
        while True:
            line = self._line()
            if line == b"\n" and b"data" in fields:
                return fields[b"event"].decode(), json.loads(fields[b"data"])
            name, _, value = line.rstrip(b"\n").partition(b": ")
            if name:  # what begins with a colon says nothing
                fields[name] = value

    def _line(self) -> bytes:
        try:
            if self._stream is None:
                self._stream = self._connection.getresponse()
                same("the status", self._stream.status, 200)
                same("the kind", self._stream.headers.get_content_type(), "text/event-stream")
            line = self._stream.readline()
        except TimeoutError:
            raise Failure("the stream does not tell what happens") from None
        holds("the stream has ended", line.endswith(b"\n"))
        return line

    _stream: Optional[http.client.HTTPResponse] = None


class Program:
    """Somebody who asks in the name of an account.

    @ivar authorization: what is shown; empty: nothing.
    """

    def __init__(self, room: Room, account: Account) -> None:
        self._room = room
        self.name = account.name
        shown = f"{quote(account.name)}:{account.password}"
        self.authorization = "Basic " + b64encode(shown.encode()).decode()

    def begin(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Asked:
        """Ask, and do not wait for the answer."""
        address, patience = self._room.server.address, self._room.server.patience
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.authorization:
            named.setdefault("Authorization", self.authorization)
        connection: http.client.HTTPConnection
        if address.tls:
            trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            trusting.check_hostname = False
            trusting.verify_mode = ssl.CERT_NONE
            connection = http.client.HTTPSConnection(
                address.host, address.port, timeout=patience, context=trusting
            )
        else:
            connection = http.client.HTTPConnection(address.host, address.port, timeout=patience)
        self._room.closes(connection.close)
        below = address.path.rpartition("/")[0]
        connection.request(method, below + path, body, named)
        return Asked(connection)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Response:
        """Ask."""
        return self.begin(method, path, body, **headers).response()

    def get(self, path: str) -> Any:
        """What is there."""
        return self.ask("GET", path).content(200)

    def say(self, path: str, content: object) -> Response:
        """Say something in JSON."""
        return self.ask("POST", path, json.dumps(content).encode(), Content_Type="application/json")

    def waiting(self, query: str = "") -> list[int]:
        """The ids of what waits."""
        return [message["id"] for message in self.get(f"/messages{query}")["messages"]]


def _program(room: Room) -> Program:
    return Program(room, room.account())


def _pair(room: Room) -> tuple[Program, Connection]:
    """A program, and somebody else who is logged in as ever."""
    return _program(room), room.user()


def _check(run: Callable[[Room], None]) -> Callable[[Room], None]:
    """Make a function a check; what the server's JSON lacks, or has in another form, fails it."""

    @wraps(run)
    def judged(room: Room) -> None:
        try:
            run(room)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise Failure(f"an answer has not the form that is described ({error!r})") from None

    return check(DOOR, codec="http")(judged)


@_check
def http_sending(room: Room) -> None:
    """A body is a message, whatever curl calls it, and JSON is one with more to it."""
    alice, bob = _pair(room)
    form = "application/x-www-form-urlencoded"
    response = alice.ask("POST", f"/to/{bob.name}", b"a=b&c%20+d", Content_Type=form, Subject="UTF-8''%C3%BC")
    accepted = response.content(202)
    same("the state", accepted["state"], "waiting")
    bob.delivery(id=accepted["id"], time=accepted["time"], sender=alice.name, subject="ü", body="a=b&c%20+d")
    accepted = alice.say(f"/to/{bob.name}", {"body": "ü\0", "subject": "s", "automatic": True}).content(202)
    bob.delivery(id=accepted["id"], subject="s", body="ü\0", automatic=True)


@_check
def http_same_key(room: Room) -> None:
    """The same key is the same message, and never a second one; with other contents it is refused."""
    alice, bob = _pair(room)
    first = alice.ask("POST", f"/to/{bob.name}", b"hello", Idempotency_Key="k")
    second = alice.ask("POST", f"/to/{bob.name}", b"hello", Idempotency_Key='"k"')
    third = alice.say(f"/to/{bob.name}", {"body": "hello", "ref": "k"})
    same("the second answer", second.content(202), first.content(202))
    same("the third answer", third.content(202), first.content(202))
    same("the code", alice.ask("POST", f"/to/{bob.name}", b"x", Idempotency_Key="k").code(422), "ref-reused")
    bob.delivery(id=first.content(202)["id"])
    bob.undisturbed()


@_check
def http_coming_back(room: Room) -> None:
    """A message to nobody comes back, with the reason, and lies in its sender's mailbox."""
    alice, stranger = _program(room), room.fresh().name
    for query in ("", "?wait=30s"):
        problem = alice.ask("POST", f"/to/{stranger}{query}", b"hello").content(409)
        same("the code and the state", (problem["code"], problem["state"]), ("unknown-recipient", "returned"))
        message = alice.get("/messages")["messages"][-1]
        same("the message", (message["id"], message["returned"]["recipient"]), (problem["id"], stranger))


@_check
def http_waiting_for_the_fate(room: Room) -> None:
    """Who waits is told when the recipient confirms, and when nobody does in time."""
    alice, bob = _pair(room)
    late = alice.ask("POST", f"/to/{bob.name}?wait=1s", b"hello").content(202)
    same("the state", late["state"], "waiting")
    bob.delivery(id=late["id"])
    asked = alice.begin("POST", f"/to/{bob.name}?wait=60s", b"hello")
    message = bob.delivery()
    bob.system("received", ids=[message["id"]])
    fate = asked.response().content(200)
    same("the fate", (fate["id"], fate["state"]), (message["id"], "delivered"))


@_check
def http_receiving(room: Room) -> None:
    """What waits comes again until it is confirmed; to ask for what is behind it confirms nothing."""
    alice, bob = room.user(), _program(room)
    ids = [send(alice, bob.name, receipt=True) for _ in range(3)]
    page = bob.get("/messages?limit=2")
    same("what waits", ([each["id"] for each in page["messages"]], page["more"]), (ids[:2], True))
    same("what is behind it", bob.waiting(f"?after={ids[1]}"), ids[2:])
    same("what waits still", bob.waiting(), ids)
    bob.say("/received", {"ids": ids[:2]}).nothing()
    alice.notice(ids=ids[:2])
    same("what waits then", bob.waiting(), ids[2:])


@_check
def http_long_poll(room: Room) -> None:
    """Who waits for a message is answered when it comes."""
    alice, bob = room.user(), _program(room)
    asked = bob.begin("GET", "/messages?wait=60s")
    id = send(alice, bob.name)
    (message,) = asked.response().content(200)["messages"]
    same("the message", message["id"], id)


@_check
def http_events(room: Room) -> None:
    """A stream tells of messages as they come, and of deliveries; it confirms nothing."""
    alice, bob = room.user(), _program(room)
    first = send(alice, bob.name)
    asked = bob.begin("GET", "/events")
    name, message = asked.event()
    same("the event", (name, message["id"]), ("message", first))
    second = send(alice, bob.name)
    name, message = asked.event()
    same("the event", (name, message["id"]), ("message", second))
    sent = bob.ask("POST", f"/to/{alice.name}?receipt=true", b"hello").content(202)["id"]
    alice.delivery(id=sent)
    alice.system("received", ids=[sent])
    name, notice = asked.event()
    same("the event", (name, notice["ids"]), ("delivered", [sent]))
    same("what waits", bob.waiting(), [first, second])
    _, message = bob.begin("GET", "/events", Last_Event_ID=str(first)).event()
    same("what is behind the first one", message["id"], second)


@_check
def http_events_and_receipts(room: Room) -> None:
    """What was confirmed while a stream was open comes in no other one; its sender is told at once."""
    alice, bob = room.user(), _program(room)
    following = bob.begin("GET", "/events")
    first = send(alice, bob.name, receipt=True)
    name, message = following.event()
    same("the event", (name, message["id"]), ("message", first))
    bob.say("/received", {"ids": [first]}).nothing()
    alice.notice(ids=[first])
    second = send(alice, bob.name)
    name, message = following.event()
    same("the event", (name, message["id"]), ("message", second))
    same("what another stream begins with", bob.begin("GET", "/events").event()[1]["id"], second)


@_check
def http_boxes(room: Room) -> None:
    """One message can be read, listed, found, removed, and taken back while it waits."""
    alice, bob = _pair(room)
    ids = [alice.ask("POST", f"/to/{bob.name}", b"hello").content(202)["id"] for _ in range(2)]
    same("the message", alice.get(f"/messages/{ids[0]}")["body"], "hello")
    listed = alice.get("/sent?before=0")["messages"]
    same("what was sent", [each["id"] for each in listed], ids[::-1])
    alice.ask("DELETE", f"/messages/{ids[0]}").nothing()
    same("the code", alice.ask("DELETE", f"/messages/{ids[0]}").code(404), "not-found")
    same("its state", alice.get("/sent?limit=1")["messages"][0]["state"], "recalled")
    found = alice.get("/search?q=hello")["messages"]
    same("what is found", [each["id"] for each in found], ids[1:])
    same("the mailbox", alice.get("/inbox")["messages"], [])


@_check
def http_tokens(room: Room) -> None:
    """A token stands for name and password until it is revoked."""
    alice = _program(room)
    issued = alice.ask("POST", "/token").content(201)
    alice.authorization = f"Bearer {issued['token']}"
    same("what waits", alice.waiting(), [])
    alice.ask("DELETE", "/token").nothing()
    same("the code", alice.ask("GET", "/messages").code(401), "wrong-token")


@_check
def http_strangers(room: Room) -> None:
    """Who shows nothing, or something wrong, is not let in, and nobody signs up by a mistake."""
    account = room.account()
    wrong, nobody = Program(room, account._replace(password="guessed it")), Program(room, room.fresh())
    silent = _program(room)
    silent.authorization = ""
    for who, code in ((wrong, "wrong-password"), (nobody, "wrong-password"), (silent, "login-needed")):
        response = who.ask("GET", "/messages")
        same("the code", response.code(401), code)
        holds("it is not said how to log in", "Basic" in str(response.headers["WWW-Authenticate"]))
    same("the code", nobody.ask("GET", "/messages").code(401), "wrong-password")
    connection = room.stranger()
    log_in(connection, account)


@_check
def http_refusals(room: Room) -> None:
    """What is not understood is refused by its kind, and nothing is sent by it."""
    alice, bob = _pair(room)
    path = f"/to/{bob.name}"
    foreign = alice.ask("POST", path, b"x", Origin="https://elsewhere.example")
    same("the code", foreign.code(403), "foreign-origin")
    same("the code", alice.ask("POST", path, b"x" * 65537).code(413), "too-large")
    same("the code", alice.ask("POST", path, b"\xff").code(400), "bad-body")
    same("the code", alice.ask("POST", f"{path}?wait=1h", b"x").code(400), "bad-parameter")
    same("the code", alice.say(path, {"body": "x", "boby": "y"}).code(400), "bad-body")
    image = alice.ask("POST", path, b"x", Content_Type="image/png")
    same("the code", image.code(415), "unsupported-media-type")
    method = alice.ask("PUT", path, b"x")
    same("the code", method.code(405), "method-not-allowed")
    same("what is allowed", method.headers["Allow"], "POST")
    same("the code", alice.ask("GET", "/to").code(404), "not-found")
    bob.undisturbed()


@_check
def http_description(room: Room) -> None:
    """The description is for everybody, and tells of what there is."""
    nobody = Program(room, room.fresh())
    nobody.authorization = ""
    description = nobody.get("/openapi.json")
    same("the form", str(description["openapi"])[:4], "3.1.")
    for path, method in (
        ("/to/{name}", "post"),
        ("/messages", "get"),
        ("/received", "post"),
        ("/events", "get"),
    ):
        holds(f"{method} {path} is not described", method in description["paths"].get(path, {}))
