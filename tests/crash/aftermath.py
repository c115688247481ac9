"""What comes after: the next server, the same clients, and an end that must be the same."""

from __future__ import annotations

import copy
import random
import shutil
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Callable, Protocol

from chat.ledger import State
from chat.messages import Message
from chat.times import rfc3339
from tests.crash.books import Rows, audited, books, compare
from tests.crash.known import Known
from tests.crash.scenarios import Scenario
from tests.crash.stage import Pools, Stage
from tests.crash.storage import Calls, Plain, Snapshot, Snapshots, contents, leave_copy


@dataclass
class End:
    """How a scenario ends.

    @ivar books: what the files hold.
    @ivar received: what came to each account.
    """

    books: dict[str, Rows]
    received: dict[str, dict[int, Message]]


@dataclass
class Trial:
    """One scenario, stopped everywhere.

    @ivar points: how many storage calls there were, each counted before and after.
    @ivar runs: how often the scenario was continued from a snapshot.
    @ivar failures: what went wrong, and where.
    """

    points: int = 0
    runs: int = 0
    failures: list[str] = field(default_factory=list)


def play(
    directory: Path,
    known: Known,
    scenario: Scenario,
    pools: Pools,
    started: Callable[[Stage], None] | None = None,
) -> End:
    """Start a server and take the remaining steps, to the end.

    @param started: called when the server has started.
    """
    stage = Stage(directory, known, pools)
    if started is not None:
        started(stage)
    stage.play(scenario.steps)
    stage.end()
    audited(directory)
    # What came and then went counts for the one who saw it; whether they saw it in time does not.
    received = {
        name: {id: _unmarked(message) for id, message in sorted(messages.items()) if id not in known.gone}
        for name, messages in known.received.items()
    }
    return End(books(directory), received)


def _unmarked(message: Message) -> Message:
    return Message(
        id=message.id,
        sender=message.sender,
        recipient=message.recipient,
        time=message.time,
        subject=message.subject,
        body=message.body,
        returned=message.returned,
    )


def survive(snapshot: Snapshot, scenario: Scenario, expected: End, pools: Pools) -> None:
    """Go on from a snapshot; the end is the one expected.

    @raise Exception: it is not, or the server or a client is stuck.
    """
    before = contents(snapshot.directory)
    audited(snapshot.directory)
    scenario.left(snapshot.directory)
    assert contents(snapshot.directory) == before, "The audit has changed something."
    end = play(snapshot.directory, snapshot.known, scenario, pools, _kept)
    compare(expected.books, end.books)
    assert end.received == expected.received, f"{end.received} came, not {expected.received}"


def _kept(stage: Stage) -> None:
    """Whatever was answered is still so."""
    known = stage.known
    rows = stage.server.sql("SELECT id, ref, time, state, body IS NULL FROM ledger")
    ledger = {id: rest for id, *rest in rows}
    runs = stage.server.sql("SELECT first, last FROM folded")
    folded = {id for first, last in runs for id in range(first, last + 1)}
    assert not folded & ledger.keys(), "There is a message that is folded and not."
    for (sender, ref), (id, time) in known.accepted.items():
        if id in folded:
            continue
        found = ledger.get(id)
        assert found is not None, f"{sender}/{ref} was accepted as message {id}, and is lost"
        assert (found[0], rfc3339(found[1])) == (ref, time), f"message {id} should be {sender}/{ref}: {found}"
    for account, ids in known.confirmed.items():
        lost = {id for id in ids - folded if ledger[id][2] == State.WAITING}
        assert not lost, f"receipts of {account} for {lost} are lost"
    lost = {id for id in known.gone - folded if not ledger[id][3]}
    assert not lost, f"messages {lost} were removed, and are there again"


def crash_everywhere(
    name: str,
    scenario: Scenario,
    place: Path,
    *,
    seed: int = 0,
    again: float = 1.0,
    first: bool = False,
) -> Trial:
    """Play the scenario, and continue it from each moment at which it may be stopped.

    @param again: the share of the continuations that are stopped once more, anywhere (by C{seed}),
        and continued again.
    @param first: whether the first failure is enough.
    """
    trial = Trial()
    place.mkdir()
    known = Known()
    directory = place / name
    scenario.prepare(directory)
    snapshots = Snapshots(directory, known, place, name)
    expected = recorded(directory, known, scenario, snapshots.point)
    trial.points = snapshots.points
    chance = random.Random(f"{seed} {name}")
    for snapshot in snapshots.taken:
        second = Once(snapshot, chance, partial(leave_copy, snapshot.directory))
        continued(trial, snapshot, scenario, expected, chance.random() < again, second, Calls(second.point))
        if first and trial.failures:
            break
    shutil.rmtree(place)
    return trial


def recorded(directory: Path, known: Known, scenario: Scenario, point: Callable[[str], None]) -> End:
    """Play the scenario on storage that tells of each call."""
    calls = Calls(point)
    with calls.installed():
        return play(directory, known, scenario, calls)


def continued(
    trial: Trial,
    snapshot: Snapshot,
    scenario: Scenario,
    expected: End,
    again: bool,
    second: Once,
    storage: Storage,
) -> None:
    """Go on from a snapshot, and perhaps from one moment of that, too; note in the trial what comes of it.

    @param second: takes a snapshot of this.
    @param storage: tells C{second} of the moments.
    """
    if not again:
        _survived(trial, snapshot, scenario, expected, Plain())
        return
    with storage.installed():
        survived = _survived(trial, snapshot, scenario, expected, storage)
    if survived and second.taken is not None:
        _survived(trial, second.taken, scenario, expected, Plain())


def _survived(trial: Trial, snapshot: Snapshot, scenario: Scenario, expected: End, pools: Pools) -> bool:
    trial.runs += 1
    try:
        survive(snapshot, scenario, expected, pools)
    except Exception as error:
        trial.failures.append(f"{snapshot.where}: {type(error).__name__}: {error}")
        return False
    finally:
        shutil.rmtree(snapshot.directory, ignore_errors=True)
    return True


class Storage(Pools, Protocol):
    """Storage that tells of what is done to it."""

    def installed(self) -> AbstractContextManager[None]:
        """What makes the files goes through here, too."""


class Once:
    """One snapshot of a continuation, each of its moments as likely as any other.

    @ivar taken: the snapshot, once there was a moment.
    """

    def __init__(self, first: Snapshot, chance: random.Random, leave: Callable[[Path], None]) -> None:
        """Follow what comes after C{first}.

        @param leave: makes a directory what is left when it stops now.
        """
        self._first = first
        self._chance = chance
        self._leave = leave
        self._points = 0
        self.taken: Snapshot | None = None

    def point(self, what: str) -> None:
        """A moment."""
        self._points += 1
        if self._chance.randrange(self._points):
            return
        directory, known, where = self._first
        left = directory.with_name(f"{directory.name}-again")
        shutil.rmtree(left, ignore_errors=True)
        self._leave(left)
        where = f"{where}; then step {known.step}, point {self._points}, {what}"
        self.taken = Snapshot(left, copy.deepcopy(known), where)
