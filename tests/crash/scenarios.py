"""What happens on a server: scenarios that hold every kind of transaction at least once."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterator, Sequence
from unittest.mock import patch

from chat.admin.books import places
from chat.admin.snapshot import headers
from chat.errors import Code
from chat.messages import Message
from chat.store import folding, mailboxes, returns, stretches, volumes
from chat.store.layout import APPLICATION, NAMES, path, schema
from chat.store.passwords import make_hash as hash_password
from tests.crash.books import audited
from tests.crash.stage import Step
from tests.world import PASSWORD

#: More than a file system's block, so that a message takes several pages.
LONG = "a long body " * 700


@contextmanager
def small_portions() -> Iterator[None]:
    """What is done in portions is done in small ones, so that a few messages take several."""
    with (
        patch.object(mailboxes, "PAGE_MESSAGES", 3),
        patch.multiple(returns, TURNED_AT_ONCE=2, AGED_AT_ONCE=2),
        patch.object(folding, "FOLDED_AT_ONCE", 2),
        patch.object(stretches, "STRETCH", 3),
        patch.object(places, "STRETCH", 3),
        patch.multiple(volumes, VOLUME=6, BATCH_MESSAGES=3),
    ):
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

_PLAYS: dict[str, Sequence[Step]] = {
    # The files are made, opened for the first time, closed and opened again.
    "first-start": [
        lambda stage: stage.restart(),
        lambda stage: stage.sign_up("alice"),
        lambda stage: stage.restart(),
    ],
    "sign-up": [
        lambda stage: stage.sign_up("alice"),
        lambda stage: stage.check_password("alice"),
        lambda stage: stage.refuse_name("a1ice", Code.NAME_CONFUSABLE),
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
    # Given, used, and revoked in every way there is.
    "tokens": [
        ALICE_AND_BOB,
        lambda stage: stage.give_token("alice"),
        lambda stage: stage.give_token("bob"),
        lambda stage: stage.restart(),
        lambda stage: stage.use_token("alice"),
        lambda stage: stage.change_password("alice"),
        lambda stage: stage.refuse_token("alice"),
        lambda stage: stage.use_token("bob"),
        lambda stage: stage.give_token("alice"),
        lambda stage: stage.use_token("alice"),
        lambda stage: stage.revoke_tokens("alice"),
        lambda stage: stage.refuse_token("alice"),
        lambda stage: stage.delete_account("bob"),
        lambda stage: stage.refuse_token("bob"),
    ],
    # Codes that are good once: of an invitation, and for a forgotten password.
    "codes": [
        lambda stage: stage.sign_up_invited("alice"),
        lambda stage: stage.sign_up_invited("bob"),
        lambda stage: stage.renew_codes("alice"),
        lambda stage: stage.give_token("alice"),
        lambda stage: stage.recover("alice"),
        lambda stage: stage.refuse_code("alice"),
        lambda stage: stage.refuse_token("alice"),
        lambda stage: stage.restart(),
        lambda stage: stage.refuse_code("alice"),
        lambda stage: stage.check_password("alice"),
    ],
    "blocks": [
        ALICE_AND_BOB,
        lambda stage: stage.enter("bob"),
        accepted("bob", "alice", "a", 2),
        lambda stage: stage.block("alice", "bob"),
        lambda stage: stage.send("bob", *several("alice", "b", 2), answers=["returned", "returned"]),
        lambda stage: stage.send("alice", to("bob", "c1")),
        lambda stage: stage.restart(),
        lambda stage: stage.send(
            "bob", to("alice", "b3"), to("bob", "self"), answers=["returned", "waiting"]
        ),
        lambda stage: stage.block("alice", "bob", False),
        lambda stage: stage.send("bob", to("alice", "b4")),
        lambda stage: stage.block("alice", "bob"),
        lambda stage: stage.delete_account("alice"),
    ],
    # Messages enter the index, a few at a time, and leave it; a volume is full, and is written anew.
    "search": [
        ALICE_AND_BOB,
        accepted("alice", "bob", "a", 4),
        lambda stage: stage.search("bob", "hello"),
        accepted("bob", "alice", "b", 3),
        lambda stage: stage.index(),
        lambda stage: stage.remove("bob", "alice/a2", "bob/b2"),
        lambda stage: stage.renew(),
        lambda stage: stage.delete_account("bob"),
        lambda stage: stage.search("alice", "hello"),
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
    # What nobody collects turns round, twice: the senders are online, away, and gone.
    "expiry": [
        lambda stage: stage.sign_up("alice", "bob", "carol"),
        accepted("alice", "bob", "a", 5),
        lambda stage: stage.send(
            "bob", to("alice", "b1"), to("nobody", "b2"), answers=["waiting", "returned"]
        ),
        lambda stage: stage.send("carol", to("bob", "c1", LONG), to("carol", "self"), to("alice", "c2")),
        lambda stage: stage.confirm("bob", "alice/a2"),
        lambda stage: stage.delete_account("carol"),
        lambda stage: stage.enter("alice"),
        lambda stage: stage.tidy(expire=3),  # what was there before carol's
        accepted("alice", "bob", "n", 3),
        lambda stage: stage.send("alice", to("bob", "a1"), answers=["returned"]),
        lambda stage: stage.tidy(expire=2),
        lambda stage: stage.enter("bob"),
        lambda stage: stage.confirm("alice", "alice/a1", "alice/a3"),
        lambda stage: stage.tidy(expire=1),
    ],
    # Beyond the limit new mail turns round: alone, in batches and repeated; a higher limit lets it in.
    "mailbox-limit": [
        ALICE_AND_BOB,
        lambda stage: stage.restart(limit=3),
        accepted("alice", "bob", "a", 2),
        lambda stage: stage.enter("alice"),
        lambda stage: stage.send(
            "alice",
            *several("bob", "b", 3),
            to("alice", "self"),
            answers=["waiting", "returned", "returned", "waiting"],
        ),
        lambda stage: stage.send("alice", *several("bob", "b", 2), answers=["waiting", "returned"]),
        lambda stage: stage.confirm("bob", "alice/a1", "alice/a2"),
        lambda stage: stage.send(
            "alice", *several("bob", "c", 3), answers=["waiting", "waiting", "returned"]
        ),
        lambda stage: stage.restart(limit=5),
        lambda stage: stage.send(
            "alice", *several("bob", "d", 3), answers=["waiting", "waiting", "returned"]
        ),
        lambda stage: stage.tidy(expire=1),
        accepted("alice", "bob", "e", 2),
    ],
    # Of what is settled only runs of ids remain, with gaps that are filled later.
    "folding": [
        ALICE_AND_BOB,
        accepted("alice", "bob", "a", 9),
        lambda stage: stage.confirm("bob", *(f"alice/a{each}" for each in range(1, 8))),
        lambda stage: stage.remove("bob", "alice/a1", "alice/a2", "alice/a4", "alice/a7"),
        lambda stage: stage.remove("alice", "alice/a8"),
        lambda stage: stage.send("bob", to("nobody", "b1"), answers=["returned"]),
        lambda stage: stage.remove("bob", "bob/b1"),
        lambda stage: stage.tidy(fold=2),  # not the last one yet
        lambda stage: stage.restart(),
        lambda stage: stage.remove("bob", "alice/a3", "alice/a9"),
        lambda stage: stage.tidy(expire=1, fold=1),
        lambda stage: stage.tidy(fold=1),
        accepted("alice", "bob", "z", 2),
    ],
}
#: How the files of an earlier version become files of this one.
_UPGRADE: Sequence[Step] = [
    lambda stage: stage.sign_up("alice"),  # who finds that she has an account
    lambda stage: stage.send("alice", to("alice", "a1")),
    lambda stage: stage.enter("alice"),
]


def _earlier(directory: Path, killed: bool) -> None:
    """Make the files of a server of schema version 1, with one message of alice to herself.

    @param killed: whether it was killed, so that nothing is in its files but all in the logs beside them.
    """
    directory.mkdir()
    place = directory.with_name(f"{directory.name}-made")
    place.mkdir()
    with ExitStack() as stack:
        for name in NAMES:
            file = path(place, name)
            connection = stack.enter_context(closing(sqlite3.connect(file, isolation_level=None)))
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(
                f"BEGIN;{schema(name, 1)}INSERT INTO identity (dataset) VALUES ('the same');"
                f"PRAGMA application_id = {APPLICATION};PRAGMA user_version = 1;COMMIT;"
            )
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.executescript(f"BEGIN;{_EARLIER[name]};COMMIT;")
            if not killed:
                connection.close()
            for suffix in ("", "-wal") if killed else ("",):
                shutil.copy(f"{file}{suffix}", directory)
    shutil.rmtree(place)


_EARLIER = {
    "passwords": f"INSERT INTO passwords VALUES (1, '{hash_password(PASSWORD.encode(), 4)}')",
    "users": "INSERT INTO accounts (id, name, state, created) VALUES (1, 'alice', 0, 1)",
    "messages": (
        "INSERT INTO ledger (id, sender, recipient, position, time, state, receipt, body)"
        " VALUES (1, 1, 1, 1, 1, 0, 0, 'hello'); INSERT INTO mailboxes VALUES (1, 1, 0);"
        "UPDATE counters SET id = 1, position = 1"
    ),
}


def _backed_up(directory: Path) -> None:
    """As long as the files are as they were, nothing is lost; once one is not, there is a whole backup."""
    copies = [each for each in directory.glob("backup-*") if not each.name.endswith(".incomplete")]
    for copy in copies:
        audited(copy)
    first = dict.fromkeys(NAMES, 1)
    versions = [{name: head.version for name, head in headers(each).items()} for each in (directory, *copies)]
    assert first in versions, f"There is no copy of the files as they were: {versions}"


@dataclass(frozen=True)
class Scenario:
    """What happens, and to what.

    @ivar prepare: makes the directory that the first server finds; by default there is none.
    @ivar left: looks at what is left by a server that was stopped; raises if that is not as it should be.
    """

    steps: Sequence[Step]
    prepare: Callable[[Path], object] = bool
    left: Callable[[Path], object] = bool


SCENARIOS: dict[str, Scenario] = {
    **{name: Scenario(steps) for name, steps in _PLAYS.items()},
    "upgrade": Scenario(_UPGRADE, lambda directory: _earlier(directory, killed=False), _backed_up),
    "upgrade-killed": Scenario(_UPGRADE, lambda directory: _earlier(directory, killed=True), _backed_up),
}
