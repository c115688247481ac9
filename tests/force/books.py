"""What the clients know: what each sent, what it was told, and what came to whom.

The clients write it; what contradicts the promise is noticed at once.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import NamedTuple

#: A recipient that nobody is: what is sent there comes back.
NOBODY = "nobody"


class Broken(AssertionError):
    """The server has broken its promise."""


class Sent(NamedTuple):
    """A message that a client sends, however often: its contents never change."""

    sender: str
    ref: str
    recipient: str
    body: str

    @property
    def home(self) -> str:
        """To whom it comes in the end."""
        return self.sender if self.recipient == NOBODY else self.recipient


class Row(NamedTuple):
    """A message as the ledger has it."""

    id: int
    sender: str
    recipient: str
    ref: str
    waiting: bool


@dataclass
class Figures:
    """What was done and found.

    @ivar ended: how often the server was ended.
    @ivar starting: how often it was not listening yet.
    @ivar orderly: how often it had time to say that everything accepted is on disk.
    @ivar repeated: how many sends were written again under the same ref.
    @ivar again: how many deliveries came again, for want of a receipt.
    @ivar audits: how often the files were audited, and found clean.
    @ivar lost: accepted messages that are nowhere.
    @ivar doubled: messages that were accepted or given to an application twice.
    """

    ended: int = 0
    starting: int = 0
    orderly: int = 0
    messages: int = 0
    accepted: int = 0
    repeated: int = 0
    delivered: int = 0
    again: int = 0
    audits: int = 0
    lost: int = 0
    doubled: int = 0
    seconds: float = 0.0


@dataclass
class Books:
    """What all clients know together.

    @ivar sent: by sender and ref.
    @ivar told: by sender and ref, the id and the time that C{accepted} gave.
    @ivar owner: by id, sender and ref.
    @ivar arrived: by account, how often each id came.
    """

    chance: random.Random
    sent: dict[tuple[str, str], Sent] = field(default_factory=dict)
    told: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)
    owner: dict[int, tuple[str, str]] = field(default_factory=dict)
    arrived: dict[str, dict[int, int]] = field(default_factory=dict)
    figures: Figures = field(default_factory=Figures)
    broken: list[Broken] = field(default_factory=list)
    _unseen: dict[tuple[str, str], Sent] = field(default_factory=dict)

    def fail(self, reason: str) -> None:
        """The promise is broken; whoever runs this finds it in C{broken}."""
        self.broken.append(Broken(reason))

    def compose(self, sender: str) -> Sent:
        """A new message of this sender to anybody: mostly short, now and then long."""
        ref = f"{sender}-{len(self.sent) + 1}"
        recipient = NOBODY if self.chance.random() < 0.03 else self.chance.choice(list(self.arrived))
        longest = self.chance.choices((100, 2_000, 20_000), (95, 4, 1))[0]
        # Every body tells which message it is.
        sent = Sent(sender, ref, recipient, f"{ref} " + 'é\x01"\n' * self.chance.randrange(longest // 5))
        self.sent[sender, ref] = sent
        self._unseen[sender, ref] = sent
        return sent

    def accepted(self, sender: str, ref: str, id: int, time: str) -> None:
        """The sender was told so."""
        before = self.told.setdefault((sender, ref), (id, time))
        if before != (id, time):
            self.figures.doubled += 1
            self.fail(f"{ref} was accepted as {before}, and then as {(id, time)}")
        self._own(id, sender, ref)

    def arrives(self, name: str, id: int, sender: str, body: str, returned: bool) -> int:
        """This message came to this account; how often by now."""
        ref = body.partition(" ")[0]
        sent = self.sent.get((sender, ref))
        if sent is None or (sent.body, sent.home, sent.recipient == NOBODY) != (body, name, returned):
            self.fail(f"message {id}, {ref} from {sender}, came to {name}: nobody sent that")
            return 1
        self._own(id, sender, ref)
        self._unseen.pop((sender, ref), None)
        times = self.arrived[name]
        times[id] = times.get(id, 0) + 1
        if times[id] == 1:
            self.figures.delivered += 1
        else:
            self.figures.again += 1
        return times[id]

    def twice(self, name: str, id: int) -> None:
        """This message came a second time to somebody to whom it must not."""
        self.figures.doubled += 1
        self.fail(f"message {id} came to {name} twice")

    def _own(self, id: int, sender: str, ref: str) -> None:
        """An id is one message, and a message has one id."""
        owner = self.owner.setdefault(id, (sender, ref))
        if owner != (sender, ref):
            self.fail(f"message {id} is {owner[1]} and {ref}")
        told = self.told.get((sender, ref))
        if told is not None and told[0] != id:
            self.figures.doubled += 1
            self.fail(f"{ref} was accepted as {told[0]} and came as {id}")

    def missing(self) -> list[str]:
        """What was sent and has not come to anybody."""
        return [ref for _, ref in self._unseen]

    def account_for(self, rows: list[Row], accepted: list[int]) -> None:
        """The ledger, read after these ids were told to be accepted, has each of them, as it was sent.

        What does not wait any more has come.
        """
        there = {row.id for row in rows}
        for id in accepted:
            if id not in there:
                self.figures.lost += 1
                self.fail(f"message {id}, {self.owner[id][1]}, was accepted and is not in the ledger")
        for row in rows:
            sent = self.sent.get((row.sender, row.ref))
            if sent is None or sent.home != row.recipient:
                self.fail(f"the ledger has {row}, which nobody sent")
                continue
            self._own(row.id, row.sender, row.ref)
            if not row.waiting and row.id not in self.arrived[row.recipient]:
                self.figures.lost += 1
                self.fail(f"message {row.id}, {row.ref}, is delivered in the ledger, but never came")
