"""Programs that ask the HTTP interface of a server in memory.

    program = Program(self.site, "alice")
    program.post("/to/bob", b"hello").status

Nothing waits here: what a request needs of the store is done before it is answered, and one
that waits for something (L{Program.open}) is answered when that has happened.
"""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any, Optional

from chat.limits.crowd import Crowd
from chat.web.api import OPERATIONS
from chat.web.api.openapi import describe
from chat.web.door import WebDoor
from chat.web.site import ChatSite
from tests.network import Client, Network, NetworkTestCase
from tests.talker import password
from tests.web import HERE, Response, knock, parse, request
from tests.wire import Wire

JSON = "application/json"


def basic(name: str, secret: str) -> str:
    """The header that shows a name and a password."""
    escaped = name.replace("%", "%25").replace(":", "%3A")
    return "Basic " + b64encode(f"{escaped}:{secret}".encode()).decode()


class Open:
    """A request that may not be answered yet."""

    def __init__(self, network: Network, wire: Wire) -> None:
        self._network = network
        self.wire = wire
        self._octets = b""

    def read(self) -> bytes:
        """All that was answered so far."""
        self._network.settle()
        self._octets += self.wire.read()
        return self._octets

    def read_all(self) -> None:
        """Read until nothing more comes."""
        size = -1
        while size != len(self._octets):
            size = len(self._octets)
            self.read()

    @property
    def answered(self) -> bool:
        """Whether there is an answer."""
        return bool(self.read())

    @property
    def response(self) -> Response:
        """The answer."""
        return parse(self.read())

    @property
    def json(self) -> Any:
        """The content of the answer."""
        return json.loads(self.response.body)

    def events(self) -> list[tuple[str, Any]]:
        """The events of a stream so far, each with its contents; comments are left out."""
        head, _, body = self.read().partition(b"\r\n\r\n")
        assert b"text/event-stream" in head, head
        found: list[tuple[str, Any]] = []
        for block in _unchunked(body).decode().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
            if fields:
                content = json.loads(fields["data"])
                if "id" in fields:
                    assert int(fields["id"]) == content["id"]
                found.append((fields["event"], content))
        return found

    @property
    def stream(self) -> str:
        """All of a stream so far, comments included."""
        return _unchunked(self.read().partition(b"\r\n\r\n")[2]).decode()

    def say_no_more(self) -> None:
        """Say that nothing more comes, as a client does that ends."""
        self.wire.protocol.readConnectionLost()
        self._network.settle()

    def hang_up(self) -> None:
        """Ask no more."""
        self.wire.lose()
        self._network.settle()


def _unchunked(octets: bytes) -> bytes:
    """What stands in the chunks of an answer that may go on."""
    found = b""
    while octets:
        size, _, octets = octets.partition(b"\r\n")
        found += octets[: int(size, 16)]
        octets = octets[int(size, 16) + 2 :]
    return found


def answers(method: str, path: str) -> set[int]:
    """With what the description says that a request can be answered; nothing where it says nothing."""
    parts = path.partition("?")[0].split("/")
    for template, methods in describe(OPERATIONS)["paths"].items():
        wanted = template.split("/")
        fits = len(wanted) == len(parts) and wanted[1] == parts[1]
        if fits and (operation := methods.get(method.lower())):
            return {int(status) for status in operation["responses"]}
    return set()


class Program:
    """Somebody who asks in the name of an account.

    @ivar authorization: what is shown; C{None}: nothing.
    """

    def __init__(self, network: Network, site: ChatSite, name: str, secret: Optional[str] = None) -> None:
        self._network = network
        self._site = site
        self.authorization: Optional[str] = basic(name, password(name) if secret is None else secret)

    def open(self, method: str, path: str, body: bytes = b"", /, **headers: str) -> Open:
        """Ask."""
        if self.authorization is not None:
            headers.setdefault("Authorization", self.authorization)
        wire = knock(self._site, HERE)
        wire.arrive(request(path, method, body, **headers))
        return Open(self._network, wire)

    def ask(self, method: str, path: str, body: bytes = b"", /, **headers: str) -> Response:
        """Ask, and be answered."""
        asked = self.open(method, path, body, **headers)
        response = asked.response
        asked.hang_up()
        if (described := answers(method, path)) and response.status not in described:
            raise AssertionError(f"{method} {path} is not said to be answered with {response.status}")
        return response

    def get(self, path: str, **headers: str) -> Any:
        """What is there."""
        response = self.ask("GET", path, **headers)
        if response.status != 200:
            raise AssertionError(response)
        return json.loads(response.body)

    def post(self, path: str, body: bytes, /, **headers: str) -> Response:
        """Say something as curl does."""
        headers.setdefault("Content_Type", "application/x-www-form-urlencoded")
        return self.ask("POST", path, body, **headers)

    def say(self, path: str, **fields: Any) -> Response:
        """Say something in JSON."""
        return self.ask("POST", path, json.dumps(fields).encode(), Content_Type=JSON)

    def send(self, recipient: str, body: str = "hello") -> int:
        """Send a message; its id."""
        response = self.post(f"/to/{recipient}", body.encode())
        if response.status != 202:
            raise AssertionError(response)
        return int(json.loads(response.body)["id"])

    def waiting(self, **query: object) -> list[int]:
        """The ids of what waits."""
        parameters = "&".join(f"{name}={value}" for name, value in query.items())
        return [message["id"] for message in self.get(f"/messages?{parameters}")["messages"]]


class ApiTestCase(NetworkTestCase):
    """A server with a web door, and two accounts: alice and bob."""

    def setUp(self) -> None:
        """Start it."""
        super().setUp()
        self.open()

    def open(self, crowd: Optional[Crowd] = None) -> None:
        """Open the door, and sign up who comes in there.

        @param crowd: counts the connections; without it there may be any number.
        """
        crowd = crowd or Crowd()
        self.door = WebDoor()
        self.network.doors["sockets"] = self.door.furnish(
            self.network.clock, self.network.converse, 60.0, crowd, {}
        )
        self.site = self.door.site(self.network.clock, crowd)
        self.alice, self.bob = self.program("alice"), self.program("bob")

    def program(self, name: str) -> Program:
        """A program of this account, which is made if there is none of that name."""
        self.person(name).hang_up()
        return Program(self.network, self.site, name)

    def person(self, name: str) -> Client:
        """A person who is logged in at the JSON door."""
        return self.network.user(name)

    def assertNothingUnderWay(self) -> None:
        """No request is being served, and nothing will happen later that one has left behind."""
        assert self.door._api is not None
        self.assertEqual(self.door._api.busy, 0)
        self.network.pass_time(2)
        self.assertEqual(self.network.planned(), [])

    def assertProblem(self, response: Response, status: int, code: str) -> str:
        """The request is refused so; what it is told."""
        self.assertEqual(response.headers["Content-Type"], "application/problem+json")
        members = json.loads(response.body)
        self.assertEqual((response.status, members["status"], members["code"]), (status, status, code))
        self.assertTrue(response.body.endswith(b"\n"))
        detail = members["detail"]
        assert isinstance(detail, str)
        return detail
