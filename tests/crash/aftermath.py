"""What comes after: the next server, the same clients, and an end that must be the same."""

from __future__ import annotations

import copy
import random
import shutil
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Sequence

from chat.admin.command import Unusable
from chat.ledger import State
from chat.messages import Message, rfc3339
from tests.crash.books import Rows, audited, books, compare
from tests.crash.known import Known
from tests.crash.stage import Pools, Stage, Step
from tests.crash.storage import Calls, Plain, Snapshot, Snapshots, leave_copy


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
    steps: Sequence[Step],
    pools: Pools,
    started: Callable[[Stage], None] | None = None,
) -> End:
    """Start a server and take the remaining steps, to the end.

    @param started: called when the server has started.
    """
    stage = Stage(directory, known, pools)
    if started is not None:
        started(stage)
    stage.play(steps)
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


def survive(snapshot: Snapshot, steps: Sequence[Step], expected: End, pools: Pools | None = None) -> None:
    """Go on from a snapshot; the end is the one expected.

    @raise Exception: it is not, or the server or a client is stuck.
    """
    with suppress(Unusable):  # a page torn by a power cut may have to wait for SQLite to mend it
        audited(snapshot.directory)
    end = play(snapshot.directory, snapshot.known, steps, pools or Plain(), _kept)
    compare(expected.books, end.books)
    assert end.received == expected.received, f"{end.received} came, not {expected.received}"


def _kept(stage: Stage) -> None:
    """Whatever was answered is still so."""
    known = stage.known
    rows = stage.server.sql("SELECT id, ref, time, state, body IS NULL FROM ledger")
    ledger = {id: rest for id, *rest in rows}
    for (sender, ref), (id, time) in known.accepted.items():
        found = ledger.get(id)
        assert found is not None, f"{sender}/{ref} was accepted as message {id}, and is lost"
        assert (found[0], rfc3339(found[1])) == (ref, time), f"message {id} should be {sender}/{ref}: {found}"
    for account, ids in known.confirmed.items():
        lost = {id for id in ids if ledger[id][2] == State.WAITING}
        assert not lost, f"receipts of {account} for {lost} are lost"
    lost = {id for id in known.gone if not ledger[id][3]}
    assert not lost, f"messages {lost} were removed, and are there again"


def crash_everywhere(
    name: str,
    steps: Sequence[Step],
    place: Path,
    *,
    prepare: Callable[[Path], None] | None = None,
    seed: int = 0,
    again: float = 1.0,
    first: bool = False,
) -> Trial:
    """Play the scenario, and continue it from each moment at which it may be stopped.

    @param prepare: makes the directory that the server finds; by default there is none.
    @param again: the share of the continuations that are stopped once more, anywhere (by C{seed}),
        and continued again.
    @param first: whether the first failure is enough.
    """
    trial = Trial()
    place.mkdir()
    known = Known()
    directory = place / name
    if prepare is not None:
        prepare(directory)
    snapshots = Snapshots(directory, known, place, name)
    expected = recorded(directory, known, steps, snapshots.point)
    trial.points = snapshots.points
    chance = random.Random(f"{seed} {name}")
    for snapshot in snapshots.taken:
        second = _Once(snapshot, chance) if chance.random() < again else None
        failed = _continue(trial, snapshot, steps, expected, second)
        if second is not None and second.taken is not None and not failed:
            _continue(trial, second.taken, steps, expected, None)
        if first and trial.failures:
            break
    shutil.rmtree(place)
    return trial


def recorded(directory: Path, known: Known, steps: Sequence[Step], point: Callable[[str], None]) -> End:
    """Play the scenario on storage that tells of each call."""
    calls = Calls(point)
    with calls.installed():
        return play(directory, known, steps, calls)


def _continue(
    trial: Trial, snapshot: Snapshot, steps: Sequence[Step], expected: End, second: _Once | None
) -> bool:
    trial.runs += 1
    try:
        with ExitStack() as stack:
            pools: Pools = Plain()
            if second is not None:
                calls = Calls(second.point)
                stack.enter_context(calls.installed())
                pools = calls
            survive(snapshot, steps, expected, pools)
    except Exception as error:
        trial.failures.append(f"{snapshot.where}: {type(error).__name__}: {error}")
        return True
    finally:
        shutil.rmtree(snapshot.directory, ignore_errors=True)
    return False


class _Once:
    """One snapshot of a continuation, each of its moments as likely as any other."""

    def __init__(self, snapshot: Snapshot, chance: random.Random) -> None:
        self._first = snapshot
        self._chance = chance
        self._points = 0
        self.taken: Snapshot | None = None

    def point(self, what: str) -> None:
        """A moment."""
        self._points += 1
        if self._chance.randrange(self._points):
            return
        directory, known, where = self._first
        copied = directory.with_name(f"{directory.name}-again")
        shutil.rmtree(copied, ignore_errors=True)
        leave_copy(directory, copied)
        where = f"{where}; then step {known.step}, point {self._points}, {what}"
        self.taken = Snapshot(copied, copy.deepcopy(known), where)
