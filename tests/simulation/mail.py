"""What one connection tells of messages: accepted, delivered, listed, read, removed."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Optional

from tests.simulation.books import FOLDED, Account, Violation, during
from tests.simulation.claims import Send
from tests.simulation.model import Model
from tests.simulation.net import Link
from tests.simulation.tokens import Revocation

Said = dict[str, Any]

#: How each body begins: with a number of its own.
NUMBER = re.compile(r"<([0-9]+)> ")


@dataclass
class Asked:
    """One frame that has an answer, when it was said, and what it was about.

    @ivar epoch: of the password that it sets, see L{Claims}.
    @ivar moment: when it was said, see L{Model.moment}.
    @ivar revocation: what it does to tokens.
    @ivar right: it says a password that may have been right when it was said.
    """

    kind: str
    frame: Said
    step: int
    send: Optional[Send] = None
    epoch: int = 0
    right: bool = False
    moment: tuple[int, int] = (0, 0)
    revocation: Optional[Revocation] = None


class Mail:
    """The judge of what one connection is told of messages.

    @ivar prompt: what the server waits for, before the login.
    @ivar account: who is logged in; C{None} as well when that is not certain.
    @ivar name: who is, or wants to be, logged in.
    @ivar shown: the ids delivered in this login.
    @ivar over: the server has said its last word, or the connection is gone.
    """

    def __init__(self, model: Model, door: str) -> None:
        self.model = model
        self.door = door
        self.prompt = ""
        self.account: Optional[Account] = None
        self.name = ""
        self.logged_in = False
        self.shown: dict[int, None] = {}
        self.over = False
        self.link: Optional[Link] = None
        self.garbage = False
        self.half_closed = False
        self.stopping = False
        self.confirmed: set[int] = set()
        self.entered = 0  # the step in which the password was said
        self.asked: deque[Asked] = deque()
        self._greeted = False
        self.prompt_due = False  # the next frame must be one
        self._notices: set[int] = set()
        self._owed: set[int] = set()
        self._last_id = 0
        self._last_fresh = 0

    @property
    def at_login(self) -> bool:
        """Whether what is said now may be heard by a server that has nobody logged in here."""
        return not self.logged_in or any(each.kind in ("delete-account", "logout") for each in self.asked)

    def waits_for(self, send: Send) -> bool:
        """Whether this was sent here and is not answered yet."""
        return any(each.send is send for each in self.asked)

    def confirms(self, ids: list[int]) -> None:
        """The client confirms these."""
        self.model.claims(self.name).confirmed.update(ids)
        if self.logged_in:
            self.confirmed.update(id for id in ids if id in self.shown)

    def watch(self, link: Link) -> None:
        """This is the connection."""
        self.link = link
        link.on_leave = self.lost

    def lost(self) -> None:
        """The connection is gone."""
        self.over = True

    def _accepted(self, asked: Asked, frame: Said) -> None:
        send, id, model = asked.send, frame["id"], self.model
        assert send is not None
        row = model.books.rows.get(id)
        if row is None:
            raise Violation(f"accepted {id} was told, but it is not on disk")
        self._need(id in send.ids, f"what was accepted as {send.ids} is told as {id}")
        self._need(frame.get("ref") == send.ref or self.door == "text", f"accepted {id} names another ref")
        self._need(not too_large(send), f"accepted {id} is too large")
        if "time" in frame:
            self._need(milliseconds(frame["time"]) == row.time, f"accepted {id} tells another time")
        told = [each.fate for each in during(row.history, asked.step)]
        self._need(frame["state"] in told, f"accepted {id} tells {frame['state']}; it was {told}")
        if send.said == 1:
            self._need(id > self._last_fresh, f"accepted {id} comes after {self._last_fresh}")
            self._last_fresh = id

    def _deleted(self, asked: Asked, frame: Said) -> None:
        ids, missing = frame["ids"], frame["missing"]
        wanted = list(dict.fromkeys(asked.frame["ids"]))
        self._need(sorted([*ids, *missing]) == sorted(wanted), f"deleted names {ids}, {missing} for {wanted}")
        for id in ids:
            row = self.model.books.rows.get(id)
            if row is None or row.last.state not in (2, 3):
                raise Violation(f"message {id} was told to be deleted, but it is not")
        if self.account is None:
            return
        me = self.account.id
        for id in missing:
            row = self.model.books.rows.get(id)
            if row is not None and row.history[0][0] < asked.step:
                was = [each.deletable_by(me, row.sender) for each in during(row.history, asked.step)]
                self._need(not all(was), f"message {id} was there to be deleted, and is told to be missing")

    def _listing(self, asked: Asked, frame: Said) -> None:
        if self.account is None:
            return
        me, sent = self.account.id, asked.frame["box"] == "sent"
        after, limit = asked.frame.get("after", 0), asked.frame.get("limit", 100)
        ids = [each["id"] for each in frame["messages"]]
        self._need(ids == sorted(set(ids)) and len(ids) <= limit, f"a listing of {ids}")
        self._need(
            frame["more"] in (True, False) and (not frame["more"] or bool(ids)),
            "an empty listing before more",
        )
        for entry in frame["messages"]:
            row = self.model.books.rows.get(entry["id"])
            if row is None or entry["id"] <= after:
                raise Violation(f"listing of {entry['id']}, which is not there, or not after {after}")
            was = during(row.history, asked.step)
            if sent:
                self._need(row.sender == me, f"{entry['id']} is listed as sent")
                self._need(entry["state"] in [each.fate for each in was], f"{entry} is listed; it was {was}")
            else:
                states = [("waiting", "delivered")[each.state] for each in was if each.owned_by(me)]
                self._need(entry["state"] in states, f"{entry} is listed; it was {was}")
            self._need(
                entry["sender"] in (None, self.model.books.name(row.sender)), f"{entry} has another sender"
            )
        last = ids[-1] if frame["more"] else 1 << 60
        for row in self.model.books.rows.values():
            if after < row.id <= last and row.id not in ids and row.history[0][0] < asked.step:
                there = [
                    row.sender == me and each.state != FOLDED if sent else each.owned_by(me)
                    for each in during(row.history, asked.step)
                ]
                self._need(not all(there), f"message {row.id} is not in the listing of {asked.frame['box']}")

    def _found(self, asked: Asked, frame: Said) -> None:
        if self.account is None:
            return
        query, limit = asked.frame["query"], asked.frame["limit"]
        everything = ":" in query
        ids = [each["id"] for each in frame["messages"]]
        self._need(ids == sorted(set(ids), reverse=True) and len(ids) <= limit, f"{query} found {ids}")
        for id in ids:
            row = self.model.books.rows.get(id)
            if row is None:
                raise Violation(f"{query} found {id}, which is not there")
            self._need(any(self._findable(row, asked)), f"{query} found {id}, which is somebody else's")
            self._need(everything or _number(row.body) == query, f"{query} found {row}")
        if frame.get("incomplete"):
            return
        last = ids[-1] if frame["more"] else 0
        for row in self.model.books.rows.values():
            if row.id in ids or row.id < last or row.history[0][0] >= asked.step:
                continue
            if everything or _number(row.body) == query:
                self._need(not all(self._findable(row, asked)), f"{query} did not find {row}, but {ids}")

    def _findable(self, row: Any, asked: Asked) -> list[bool]:
        """Whether the client could find a message, at each moment since it has asked."""
        assert self.account is not None
        me = self.account.id
        was = during(row.history, asked.step)
        return [each.owned_by(me) or (row.sender == me and each.state < 2) for each in was]

    def _messages(self, asked: Asked, frame: Said) -> None:
        ids = [each["id"] for each in frame["messages"]]
        wanted = list(dict.fromkeys(asked.frame["ids"]))
        self._need(sorted([*ids, *frame["missing"]]) == sorted(wanted), f"read {wanted}, told {ids}")
        for message in frame["messages"]:
            row = self.model.books.rows.get(message["id"])
            content = (message["body"], message.get("subject")) if "body" in message else None
            if row is None or content not in (None, (row.body, row.subject)):
                raise Violation(f"message {message['id']} was read wrongly")
            if self.account is not None:
                me = self.account.id
                mine = [row.sender == me or each.owned_by(me) for each in during(row.history, asked.step)]
                self._need(any(mine), f"message {row.id} was read by somebody else")
        for id in frame["missing"]:
            row = self.model.books.rows.get(id)
            if row is not None and row.history[0][0] < asked.step and self.account is not None:
                me = self.account.id
                was = during(row.history, asked.step)
                there = [each.owned_by(me) or (row.sender == me and each.state < 2) for each in was]
                self._need(not all(there), f"message {id} was there to be read, and is told to be missing")

    def _delivery(self, frame: Said) -> None:
        id, model = frame["id"], self.model
        self._need(self.logged_in, f"message {id} was delivered before the welcome")
        row = model.books.rows.get(id)
        if row is None:
            raise Violation(f"message {id} was delivered, but it is not on disk")
        self._need(id not in self.shown, f"message {id} was delivered twice")
        self._content(frame, row)
        self.shown[id] = None
        if self.account is None:
            return
        me = self.account.id
        back = frame.get("returned")
        was = [
            each for _, each in row.history if each.recipient == me and (each.code is None) is (back is None)
        ]
        self._need(bool(was), f"message {id} was delivered to {self.name}: {row}")
        if back is None:
            self._need(id > self._last_id, f"message {id} was delivered after {self._last_id}")
            self._last_id = id
        elif "recipient" in back:
            told = (back["code"], back["recipient"])
            self._need(told == (was[-1].code, was[-1].addressee), f"message {id} came back with {told}")
        settled = model.settled.get((me, id))
        if settled is not None and settled < self.entered:
            raise Violation(f"message {id} came again to {self.name}, who had confirmed it")
        before = model.shown.setdefault((me, id), model.step)
        if before < self.entered and not model.disk.was_full:
            # On a full disk it cannot be noted; a crash then forgets that it was shown.
            self._need(frame.get("again") is True, f"message {id} was shown before, and does not say so")

    def _content(self, frame: Said, row: Any) -> None:
        books, id = self.model.books, row.id
        if frame["sender"] is not None:
            self._need(frame["sender"] == books.name(row.sender), f"message {id} is by {frame['sender']}")
        if "body" not in frame:
            return  # a text door, where it is shown in other words
        content = (frame["body"], frame.get("subject"), milliseconds(frame["time"]))
        self._need(content == (row.body, row.subject, row.time), f"message {id} was altered")
        self._need(frame["recipient"] == self.name, f"message {id} is for {frame['recipient']}")

    def _notice(self, frame: Said) -> None:
        self._need(self.logged_in, "a delivery was told before the welcome")
        for id in frame["ids"]:
            row = self.model.books.rows.get(id)
            if row is None or not row.receipt or row.last.state not in (1, 2) or row.last.code is not None:
                raise Violation(f"the delivery of message {id} was told, but: {row}")
            if self.account is not None:
                self._need(row.sender == self.account.id, f"the delivery of {id} was told to {self.name}")
            self._need(id not in self._notices, f"the delivery of {id} was told twice")
            self._notices.add(id)
            self._owed.discard(id)

    def owe_notice(self, sender: int, id: int) -> None:
        """A message was confirmed whose sender, if it is logged in here, is to be told."""
        if self.logged_in and not self.over and self.account is not None and self.account.id == sender:
            self._owed.add(id)
            self._owed -= self._notices

    def _need(self, condition: bool, words: str) -> None:
        if not condition:
            raise Violation(f"{self.name or 'somebody'} at the {self.door} door: {words}")


def _number(body: str | None) -> str:
    found = NUMBER.match(body or "")
    return "" if found is None else found[1]


def too_large(send: Send) -> bool:
    """Whether a limit of the protocol is exceeded."""
    return (
        len(send.body.encode()) > 64 * 1024
        or len((send.subject or "").encode()) > 256
        or len((send.ref or "").encode()) > 64
        or len(send.recipient.encode()) > 4096
    )


def milliseconds(time: str) -> int:
    """A time as the protocol writes it, since 1970-01-01 UTC."""
    moment = datetime.strptime(time, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
    return round(moment.timestamp() * 1000)
