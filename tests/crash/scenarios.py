"""What happens on a server: scenarios that hold every kind of transaction at least once."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Iterator, Sequence
from unittest.mock import patch

from chat.messages import Message
from chat.store import messages
from chat.store.layout import APPLICATION, NAMES, path, schema
from chat.store.passwords import _hash as hash_password
from tests.crash.stage import Step
from tests.world import PASSWORD

#: More than a file system's block, so that a message takes several pages.
LONG = "a long body " * 700


@contextmanager
def small_portions() -> Iterator[None]:
    """What is done in portions is done in small ones, so that a few messages take several."""
    with patch.multiple(messages, TURNED_AT_ONCE=2, PAGE_MESSAGES=3):
        yield


def to(recipient: str, ref: str, body: str = "hello", *, receipt: bool = False) -> Message:
    """A message with a ref."""
    return Message(recipient=recipient, ref=ref, subject=f"about {ref}", body=body, receipt=receipt)


def several(recipient: str, prefix: str, number: int, body: str = "hello") -> list[Message]:
    """Messages with the refs C{prefix1} to C{prefixN}."""
    return [to(recipient, f"{prefix}{each}", body) for each in range(1, number + 1)]


def accepted(sender: str, recipient: str, prefix: str, number: int, body: str = "hello") -> Step:
    """A step that sends so many messages together."""
    return lambda stage: stage.send(sender, *several(recipient, prefix, number, body))


ALICE_AND_BOB: Step = lambda stage: stage.sign_up("alice", "bob")  # noqa: E731

SCENARIOS: dict[str, Sequence[Step]] = {
    # The files are made, opened for the first time, closed and opened again.
    "first-start": [
        lambda stage: stage.restart(),
        lambda stage: stage.sign_up("alice"),
        lambda stage: stage.restart(),
    ],
    "sign-up": [
        lambda stage: stage.sign_up("alice"),
        lambda stage: stage.check_password("alice"),
        lambda stage: stage.sign_up("bob"),
        lambda stage: stage.send("bob", to("alice", "b1")),
    ],
    "passwords": [
        ALICE_AND_BOB,
        lambda stage: stage.change_password("alice"),
        lambda stage: stage.restart(rounds=5),
        lambda stage: stage.check_password("alice"),  # and hashed anew
        lambda stage: stage.check_password("bob"),
        lambda stage: stage.change_password("bob"),
    ],
    "accept": [
        ALICE_AND_BOB,
        accepted("alice", "bob", "a", 5),
        lambda stage: stage.send("alice", to("bob", "single")),
        lambda stage: stage.send("alice", to("bob", "long", LONG)),
        lambda stage: stage.send("alice", *several("bob", "a", 3), to("bob", "new"), to("alice", "self")),
        lambda stage: stage.send(
            "alice", to("bob", "a1", "other contents"), to("bob", "newer"), answers=["ref-reused", "waiting"]
        ),
        lambda stage: stage.send(
            "alice",
            to("nobody", "n1"),
            to("", "n2"),
            to("bob", "n3"),
            answers=["returned", "returned", "waiting"],
        ),
        lambda stage: stage.send_plain("alice", "bob", "without a ref", "waiting"),
        lambda stage: stage.send_plain("alice", "nobody", "without a ref to nobody", "returned"),
        lambda stage: stage.send("bob", *several("alice", "b", 2)),
    ],
    "deliver": [
        ALICE_AND_BOB,
        accepted("alice", "bob", "a", 8),
        lambda stage: stage.enter("bob"),  # three pages
        lambda stage: stage.confirm("bob", "alice/a1", "alice/a2"),
        lambda stage: stage.enter("alice"),
        lambda stage: stage.send(
            "alice", to("bob", "live", receipt=True), to("nobody", "back"), answers=["waiting", "returned"]
        ),
        lambda stage: stage.leave("bob"),
        lambda stage: stage.send("alice", to("bob", "later", LONG)),
        lambda stage: stage.enter("bob"),
        lambda stage: stage.confirm("bob", "alice/a3", "alice/live", "alice/later"),
        lambda stage: stage.confirm("bob", "alice/a3", "alice/a4"),
        lambda stage: stage.confirm("alice", "alice/back"),
    ],
    "remove": [
        ALICE_AND_BOB,
        accepted("alice", "bob", "a", 6),
        lambda stage: stage.confirm("bob", "alice/a1", "alice/a2"),
        lambda stage: stage.remove("bob", "alice/a1", "alice/a3"),  # delivered, waiting
        lambda stage: stage.list_and_read("bob"),
        lambda stage: stage.remove("alice", "alice/a4", missing=["alice/a2"]),  # recalled; too late
        lambda stage: stage.list_and_read("alice"),
        lambda stage: stage.send("alice", *several("bob", "a", 2), answers=["delivered", "delivered"]),
        lambda stage: stage.send("alice", to("bob", "a4"), answers=["recalled"]),
        lambda stage: stage.send("bob", to("bob", "b1"), to("nobody", "b2"), answers=["waiting", "returned"]),
        lambda stage: stage.remove("bob", "bob/b1", "bob/b2"),
        lambda stage: stage.enter("bob"),
    ],
    "delete-account": [
        lambda stage: stage.sign_up("alice", "bob", "carol"),
        accepted("alice", "bob", "a", 5),  # delivered content, in three portions
        lambda stage: stage.enter("bob", "alice"),
        lambda stage: stage.confirm("bob", *(f"alice/a{each}" for each in range(1, 6))),
        accepted("alice", "bob", "w", 3),  # waiting
        lambda stage: stage.send("carol", to("bob", "c1"), to("bob", "c2")),
        lambda stage: stage.send(  # returns that wait, and mail to oneself
            "bob",
            to("nobody", "b1"),
            to("bob", "b2"),
            to("alice", "b3"),
            answers=["returned", "waiting", "waiting"],
        ),
        lambda stage: stage.delete_account("bob"),
        lambda stage: stage.refuse_name("bob"),
        lambda stage: stage.send("alice", to("bob", "late"), answers=["returned"]),
        lambda stage: stage.send("carol", to("bob", "c1"), answers=["returned"]),
        lambda stage: stage.enter("carol"),
        lambda stage: stage.confirm("alice", "alice/w1", "bob/b3"),
        lambda stage: stage.delete_account("carol"),
        lambda stage: stage.sign_up("dave"),
    ],
    # Both sides of what waits go: the last ones are dead letters.
    "dead-letters": [
        ALICE_AND_BOB,
        accepted("alice", "bob", "a", 5),
        lambda stage: stage.delete_account("alice"),
        lambda stage: stage.delete_account("bob"),
        lambda stage: stage.sign_up("carol"),
    ],
    "restarts": [
        ALICE_AND_BOB,
        lambda stage: stage.enter("bob"),
        accepted("alice", "bob", "a", 3),
        lambda stage: stage.restart(),
        accepted("alice", "bob", "b", 3, LONG),
        lambda stage: stage.confirm("bob", "alice/a1", "alice/b1"),
        lambda stage: stage.restart(),
        lambda stage: stage.remove("bob", "alice/a1", "alice/a2"),
        lambda stage: stage.restart(),
        accepted("alice", "bob", "c", 2),
    ],
}


def earlier_version(directory: Path) -> None:
    """Make the files of a server of schema version 1, with one message of alice to herself."""
    directory.mkdir()
    for name in NAMES:
        with closing(sqlite3.connect(path(directory, name))) as connection:
            connection.executescript(
                f"BEGIN;{schema(name, 1)}INSERT INTO identity (dataset) VALUES ('the same');"
                f"PRAGMA application_id = {APPLICATION};PRAGMA user_version = 1;{_EARLIER[name]};COMMIT;"
            )


_EARLIER = {
    "passwords": f"INSERT INTO passwords VALUES (1, '{hash_password(PASSWORD.encode(), 4)}')",
    "users": "INSERT INTO accounts (id, name, state, created) VALUES (1, 'alice', 0, 1)",
    "messages": (
        "INSERT INTO ledger (id, sender, recipient, position, time, state, receipt, body)"
        " VALUES (1, 1, 1, 1, 1, 0, 0, 'hello'); INSERT INTO mailboxes VALUES (1, 1, 0);"
        "UPDATE counters SET id = 1, position = 1"
    ),
}
#: The files of an earlier version become files of this one.
UPGRADE: Sequence[Step] = [
    lambda stage: stage.sign_up("alice"),  # who finds that she has an account
    lambda stage: stage.send("alice", to("alice", "a1")),
    lambda stage: stage.enter("alice"),
]
