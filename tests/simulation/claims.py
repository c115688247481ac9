"""What clients have said: each message, and what each account has asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

from tests.simulation.tokens import Purse


@dataclass
class Send:
    """One message that somebody wants to send; repeating it under its ref makes no other one.

    That is, while the ledger knows it: once it is folded, repeating it makes a new one.

    @ivar said: how often it was put on the wire.
    @ivar refused: how often that was answered with a refusal.
    @ivar ids: its ids, as they were seen on disk.
    """

    sender: str
    recipient: str
    subject: Optional[str]
    body: str
    ref: Optional[str]
    receipt: bool
    said: int = 0
    refused: int = 0
    ids: list[int] = field(default_factory=list)

    @property
    def id(self) -> Optional[int]:
        """The last of its ids."""
        return self.ids[-1] if self.ids else None

    @property
    def overdrawn(self) -> bool:
        """Whether it was accepted more often than it was said and not refused."""
        return len(self.ids) > self.said - self.refused


@dataclass
class Claims:
    """What was asked for, in all its sessions, by whoever has this name.

    @ivar confirmed: ids that a client of this name may have confirmed.
    @ivar deleted: ids that it has asked to delete.
    @ivar leaving: it has asked to delete the account.
    @ivar alone: it has asked to log all its sessions out.
    @ivar passwords: each that may be the right one.
    @ivar epoch: grows whenever a password is set, so that two settings at once are known as such.
    @ivar purse: its tokens.
    @ivar pending: the settings that were not answered: which of several comes last is not known.
    @ivar certain: the one of L{passwords} is right, if the account is there.
    """

    confirmed: set[int] = field(default_factory=set)
    deleted: set[int] = field(default_factory=set)
    leaving: bool = False
    alone: bool = False
    passwords: dict[str, None] = field(default_factory=dict)
    epoch: int = 0
    pending: set[int] = field(default_factory=set)
    certain: bool = False
    purse: Purse = field(default_factory=Purse)

    def perhaps(self, password: str) -> int:
        """This may be the password from now on."""
        self.passwords[password] = None
        self.epoch += 1
        self.pending.add(self.epoch)
        self.certain = False
        return self.epoch

    def surely(self, password: str, epoch: int) -> None:
        """The setting of that epoch has succeeded."""
        self.pending.discard(epoch)
        if epoch == self.epoch and not self.pending:
            self.passwords = {password: None}
            self.certain = True


def prepared(name: str) -> str:
    """The form of a name in which it is compared; the simulation's names are ASCII."""
    return name.lower()
