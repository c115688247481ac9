"""What the clients of a server know: all that survives of a conversation when the server dies."""

from __future__ import annotations

from dataclasses import dataclass, field

from chat.messages import Message


@dataclass
class Known:
    """What was answered so far, and how far the scenario has come.

    @ivar step: the step under way.
    @ivar rounds: the cost of password hashes that the operator has chosen.
    @ivar limit: how many messages may wait in a mailbox, as the operator has chosen; 0: any number.
    @ivar accepted: (sender, ref) -> the id and the time that the sender was told.
    @ivar shown: account -> the ids that one of its sessions was shown.
    @ivar received: account -> each message that came, as it came first.
    @ivar confirmed: account -> the ids whose receipt is known to be on disk.
    @ivar gone: the ids that were removed or recalled, as those who did it were told.
    @ivar names: the accounts that were made.
    @ivar passwords: account -> the password in force, where it was changed.
    @ivar tokens: account -> the last token that it was given.
    @ivar codes: account -> its recovery codes that it has not used.
    @ivar online: who is logged in, in the order of the logins.
    @ivar leaving: who asked for the deletion of their account.
    @ivar faults: what should not have been shown; raised when the step is over.
    """

    step: int = 0
    rounds: int = 4
    limit: int = 0
    accepted: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)
    shown: dict[str, set[int]] = field(default_factory=dict)
    received: dict[str, dict[int, Message]] = field(default_factory=dict)
    confirmed: dict[str, set[int]] = field(default_factory=dict)
    gone: set[int] = field(default_factory=set)
    names: list[str] = field(default_factory=list)
    passwords: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    codes: dict[str, list[str]] = field(default_factory=dict)
    online: list[str] = field(default_factory=list)
    leaving: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)

    def hear_accepted(self, sender: str, ref: str, id: int, time: str) -> None:
        """The server said C{accepted}: the same as ever."""
        before = self.accepted.setdefault((sender, ref), (id, time))
        if before != (id, time):
            self.faults.append(f"{sender}/{ref} was accepted as {before}, and now as {(id, time)}.")

    def see(self, account: str, message: Message, session: set[int]) -> None:
        """A session of C{account}, which was shown C{session} before, is shown a message."""
        id = message.id
        # Not raised: this is called from the server, which would take it for its own.
        if id in session:
            self.faults.append(f"Message {id} was shown twice to one session of {account}.")
        if id in self.confirmed.get(account, ()):
            self.faults.append(f"Message {id} was confirmed by {account} and came again.")
        if id in self.gone:
            self.faults.append(f"Message {id} was removed or recalled and came to {account}.")
        if id in self.shown.get(account, ()) and not message.again:
            self.faults.append(f"Message {id} came to {account} again, but not marked so.")
        session.add(id)
        self.shown.setdefault(account, set()).add(id)
        self.received.setdefault(account, {}).setdefault(id, message)

    def confirm(self, account: str, ids: set[int]) -> None:
        """The server answered what was asked after these receipts: they are on disk."""
        self.confirmed.setdefault(account, set()).update(ids)
