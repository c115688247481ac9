"""A program that asks over HTTP, one request after the other, and whether the answers are right."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Optional, Sequence
from urllib.parse import quote

from tests.simulation.actors import Actor, brief, message
from tests.simulation.books import ACTIVE, LEAVING, WAITING, Account, Violation, during
from tests.simulation.claims import Send
from tests.simulation.mail import Said, milliseconds, too_large
from tests.simulation.net import Link

if TYPE_CHECKING:
    from tests.simulation.world import World

#: What anything may be answered with while the server stops, or has no room, or its disk is broken.
TROUBLE = (500, 503)


@dataclass
class Request:
    """One request: what it was about, and when it was made.

    @ivar epoch: of the password that it shows, if that is the right one, see L{Claims}.
    """

    method: str
    path: str
    step: int
    epoch: Optional[int]
    send: Optional[Send] = None
    ids: tuple[int, ...] = ()


class Asker(Actor):
    """A program that speaks HTTP.

    @ivar shown: the ids that it was given and has not confirmed.
    """

    def __init__(self, world: World, link: Link, name: str) -> None:
        self.world = world
        self.link = link
        self.name = name
        self.shown: dict[int, None] = {}
        self._heard = b""
        self._asked: Optional[Request] = None
        link.client = self

    # --- asking ---

    def act(self, random: Random) -> None:
        """Ask for something, if nothing is asked."""
        if self._asked is not None or self.link.up.ended:
            return
        what = random.choices(["send", "receive", "confirm", "remove", "list"], [10, 5, 6, 1, 1])[0]
        if what == "send":
            self._send(random)
        elif what == "receive":
            path = random.choice(["/messages", "/messages?limit=2", "/messages?wait=5s", "/messages?wait=1m"])
            self._ask("GET", path, random)
        elif what == "confirm" and self.shown:
            self._confirm(random)
        elif what == "remove":
            id = random.choice([*self._sent(), *self.shown, 1])
            self.world.model.claims(self.name).deleted.add(id)
            self._ask("DELETE", f"/messages/{id}", random, ids=(id,))
        elif what == "list":
            self._ask("GET", random.choice(["/sent", "/inbox?limit=3"]), random)

    def _confirm(self, random: Random) -> None:
        ids = random.sample(list(self.shown), random.randint(1, len(self.shown)))
        self.world.model.claims(self.name).confirmed.update(ids)
        self._ask("POST", "/received", random, {"ids": ids}, ids=tuple(ids))

    def _sent(self) -> list[int]:
        return [send.id for send in self.world.model.sends.values() if send.sender == self.name and send.id]

    def _send(self, random: Random) -> None:
        frame = message(self, random)
        if random.random() < 0.8:
            frame.setdefault("ref", f"h{self.world.count()}")
        path = f"/to/{quote(frame['recipient'], safe='')}"
        path += random.choice(["", "", "?wait=1s", "?wait=20s"])
        content: Said = {
            field: frame[field] for field in ("body", "subject", "ref", "receipt") if field in frame
        }
        if "wait" in path:
            frame["receipt"] = True  # to wait is to ask for one
        send = self.world.model.says_message(self.name, frame)
        if send.receipt != bool(frame.get("receipt")):
            content["receipt"], path = (
                send.receipt,
                path.partition("?")[0],
            )  # the first time it was another one
        self._ask("POST", path, random, content, send)

    def _ask(
        self,
        method: str,
        path: str,
        random: Random,
        content: Optional[Said] = None,
        send: Optional[Send] = None,
        ids: tuple[int, ...] = (),
        headers: Sequence[str] = (),
    ) -> str:
        """Ask; the password that was shown."""
        claims = self.world.model.claims(self.name)
        secret = self.secret(random)
        epoch = claims.epoch if claims.certain and secret in claims.passwords else None
        self.world.log(f"#{self.link.number} > {method} {path[:80]} {brief(content or {})}")
        self._asked = Request(method, path, self.world.model.step, epoch, send, ids)
        body = b"" if content is None else json.dumps(content).encode()
        lines = [
            f"{method} {path} HTTP/1.1",
            "Host: chat.example",
            f"Authorization: Basic {b64encode(f'{self.name}:{secret}'.encode()).decode()}",
            *headers,
        ]
        if content is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        self.link.write("\r\n".join([*lines, "", ""]).encode() + body)
        return secret

    # --- being answered ---

    def arrived(self, data: bytes) -> None:
        """See L{tests.simulation.net.ClientSide.arrived}."""
        self._heard += data
        head, found, body = self._heard.partition(b"\r\n\r\n")
        if not found:
            return
        first, *lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        length = int(headers.get("Content-Length", "0"))
        if len(body) < length:
            return
        status = int(first.split(" ")[1])
        self._heard = body[length:]
        asked, self._asked = self._asked, None
        if status == 408 or asked is None:
            self._need(status == 408, asked, f"it is answered {status}, and nothing was asked")
            self.link.leave()
            return
        content = json.loads(body[:length]) if length else {}
        self.world.log(f"#{self.link.number} < {status} {brief(content)}")
        if status in TROUBLE or status == 401:
            self._in_vain(asked, status, content)
        elif asked.send is not None:
            self._sent_as(asked, asked.send, status, content)
        elif asked.path == "/received":
            self._need(status == 204, asked, f"a receipt is answered {status}")
            self._confirmed(asked)
        elif asked.method == "DELETE":
            self._removed(asked, status)
        elif asked.path.startswith("/messages"):
            self._need(status == 200, asked, f"it is answered {status}")
            self._received(asked, content)
        else:
            self._need(status == 200, asked, f"it is answered {status}")

    def _account(self, asked: Request) -> Optional[Account]:
        """Whose mailbox it was about; C{None}: that is not certain."""
        there = [
            each
            for each in self.world.books.named(self.name.lower())
            if set(during(each.history, asked.step)) & {ACTIVE, LEAVING}
        ]
        certain = len(there) == 1 and during(there[0].history, asked.step) == [ACTIVE]
        return there[0] if certain else None

    def _in_vain(self, asked: Request, status: int, content: Said) -> None:
        claims = self.world.model.claims(self.name)
        if content["code"] == "logged-out-elsewhere":
            self._need(claims.alone, asked, "nobody has logged out everywhere")
        elif status == 401:
            wrong = asked.epoch != claims.epoch or self._account(asked) is None
            self._need(wrong, asked, "the right password was refused")
        if asked.send is not None and content["code"] in ("storage-full", "wrong-password"):
            self._refused(asked.send)

    def _sent_as(self, asked: Request, send: Send, status: int, content: Said) -> None:
        books = self.world.books
        if status == 413:
            self._need(too_large(send), asked, "it was too large")
            self._refused(send)
        elif status == 422:
            self._need(bool(self.world.model.rivals(send)), asked, "its ref was told to be used")
            self._refused(send)
        else:
            self._need(status in (200, 202, 409), asked, f"it is answered {status}")
            row = books.rows.get(content["id"])
            if row is None:
                raise Violation(f"accepted {content['id']} was told over HTTP, but it is not on disk")
            self._need(row.id in send.ids, asked, f"what was accepted as {send.ids} is told as {row.id}")
            self._need(milliseconds(content["time"]) == row.time, asked, "another time is told")
            fates = [each.fate for each in during(row.history, asked.step)]
            self._need(content["state"] in fates, asked, f"{content['state']} is told; it was {fates}")
            lasting = {"waiting": 202, "delivered": 200}.get(content["state"], 409)
            self._need(status == lasting, asked, f"{content['state']} is told with {status}")

    def _refused(self, send: Send) -> None:
        send.refused += 1
        if send.overdrawn:
            raise Violation(f"message {send.id} was refused over HTTP, but it is in the ledger")

    def _confirmed(self, asked: Request) -> None:
        account = self._account(asked)
        for id in asked.ids:
            self.shown.pop(id, None)
            row = self.world.books.rows.get(id)
            if row is not None and account is not None:
                here = row.now.recipient == account.id and row.now.state == WAITING
                # What came back meanwhile waits anew.
                new = row.now.code is not None and row.history[-1][0] >= asked.step
                self._need(not here or new, asked, f"the receipt of {id} was told to be on disk, and is not")

    def _removed(self, asked: Request, status: int) -> None:
        (id,) = asked.ids
        row = self.world.books.rows.get(id)
        self._need(status in (204, 404), asked, f"it is answered {status}")
        if status == 204:
            gone = row is not None and row.last.state in (2, 3)
            self._need(gone, asked, f"message {id} was told to be removed, but it is not")
            self.shown.pop(id, None)

    def _received(self, asked: Request, content: Said) -> None:
        model, account = self.world.model, self._account(asked)
        ids = [each["id"] for each in content["messages"]]
        self._need(len(set(ids)) == len(ids), asked, f"messages come twice: {ids}")
        for each in content["messages"]:
            row = model.books.rows.get(each["id"])
            if row is None:
                raise Violation(f"message {each['id']} was given over HTTP, but it is not on disk")
            self._need(
                (each["body"], each.get("subject")) == (row.body, row.subject), asked, "it was altered"
            )
            self.shown[row.id] = None
            if account is None:
                continue
            was = during(row.history, asked.step)
            mine = any(standing.recipient == account.id for standing in was)
            self._need(mine, asked, f"message {row.id} was given to {self.name}: {row}")
            settled = model.settled.get((account.id, row.id))
            again = settled is not None and settled < asked.step
            self._need(not again, asked, f"message {row.id} came again, which was confirmed")
            model.shown.setdefault((account.id, row.id), model.step)
        if account is None or content["more"]:
            return
        for row in model.books.rows.values():
            was = during(row.history, asked.step)
            waits = all(each.recipient == account.id and each.state == WAITING for each in was)
            if waits and row.history[0][0] < asked.step:
                self._need(row.id in ids, asked, f"message {row.id} waits, and is not among {ids}")

    def _need(self, condition: bool, asked: Optional[Request], words: str) -> None:
        if not condition:
            what = f"{asked.method} {asked.path[:60]}" if asked else "nothing"
            raise Violation(f"{self.name} over HTTP, asking {what}: {words}")
