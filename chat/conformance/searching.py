"""Checks of search, and of listings from the newest message back."""

from __future__ import annotations

from typing import Any

from chat.conformance.check import Room, check, confirm, optional, same, send
from chat.conformance.talk import Connection

SEARCH = "Searching"


def _search(connection: Connection, query: str, **more: Any) -> dict[str, Any]:
    """The answer to a query.

    @raise NotThere: the server refuses the word as one that it does not know.
    """
    return optional(connection, "search", "found", "searches", query=query, **more)


def _found(connection: Connection, query: str, **more: Any) -> list[int]:
    """The ids that a query finds."""
    answer = _search(connection, query, **more)
    same("more", answer["more"], False)
    return [each["id"] for each in answer["messages"]]


@check(SEARCH)
def conditions(room: Room) -> None:
    """A query finds what all of its conditions hold for: words, rows, beginnings, subjects, people, days."""
    alice, bob = room.couple()
    disk = send(alice, bob.name, "The disk of J\u00fcrgen is full", subject="Trouble")
    fine = send(alice, bob.name, "the full disk is fine now")
    back = send(bob, alice.name, "thanks")
    for query, wanted in {
        "disk": [fine, disk],
        "DISK full": [fine, disk],
        '"full disk"': [fine],
        "jurgen": [disk],
        "dis* trou*": [disk],
        "disk -trouble": [fine],
        "subject:trouble": [disk],
        "subject:disk": [],
        f"with:{bob.name}": [back, fine, disk],
        f"from:{bob.name}": [back],
        f"to:{bob.name} fine": [fine],
        "since:2000-01-01 thanks": [back],
        "until:2000-01-01": [],
        "nobodywrotethis": [],
    }.items():
        same(f"what {query} finds", _found(alice, query), wanted)
    same("what a query finds in one box", _found(alice, "thanks", box="sent"), [])
    same("what a query finds in the other box", _found(alice, "thanks", box="inbox"), [back])


@check(SEARCH)
def entries(room: Room) -> None:
    """What is found is told as in a listing, with a piece of the body."""
    alice, bob = room.couple()
    id = send(alice, bob.name, "The disk is full", subject="Trouble")
    confirm(bob, id)
    for connection in (alice, bob):
        found = _search(connection, "disk")["messages"]
        same("how many are found", len(found), 1)
        got = found[0]
        fields = {
            name: got.get(name) for name in ("id", "sender", "recipient", "subject", "state", "excerpt")
        }
        wanted = {
            "id": id,
            "sender": alice.name,
            "recipient": bob.name,
            "subject": "Trouble",
            "state": "delivered",
            "excerpt": "The disk is full",
        }
        same("the entry", fields, wanted)


@check(SEARCH)
def privacy(room: Room) -> None:
    """Nobody finds what others wrote to each other, nor what was removed."""
    alice, bob = room.couple()
    carol = room.user()
    id = send(alice, bob.name, "a secret")
    send(carol, carol.name, "another secret")
    same("what the recipient finds", _found(bob, "a secret"), [id])
    bob.system("delete", ids=[id])
    bob.answer("deleted", ids=[id])
    for connection in (alice, bob):
        same("what is found of what was removed", _found(connection, "secret"), [])


@check(SEARCH)
def search_pages(room: Room) -> None:
    """What is found comes newest first, at most limit, and more tells of others before the last one."""
    alice = room.user()
    ids = [send(alice, alice.name, "page") for _ in range(5)][::-1]
    for before, limit, wanted, more in (
        (0, 5, ids, False),
        (0, 4, ids[:4], True),
        (ids[0], 2, ids[1:3], True),
        (ids[2], 2, ids[3:], False),
        (ids[4], 1, [], False),
        (2**63 - 1, 100, ids, False),
    ):
        answer = _search(alice, "page", before=before, limit=limit)
        same("the ids found", [each["id"] for each in answer["messages"]], wanted)
        same("more", answer["more"], more)
        for box in ("inbox", "sent"):
            alice.system("list", box=box, before=before, limit=limit)
            answer = alice.answer("listing", box=box)
            same("the ids listed", [each["id"] for each in answer["messages"]], wanted)
            same("more", answer["more"], more)


@check(SEARCH)
def wrong_queries(room: Room) -> None:
    """What cannot be read is refused, and the session goes on."""
    alice = room.user()
    _search(alice, "known")
    for query in ("", '"disk', "since:tomorrow", "!"):
        alice.system("search", query=query)
        alice.refused("bad-query")
    alice.system("search", query="x" * 1025)
    alice.refused("too-large")
    alice.system("search", query="x", box="drafts")
    alice.refused("bad-frame")
    alice.system("list", box="inbox", after=1, before=1)
    alice.refused("bad-frame")
    alice.settle()
