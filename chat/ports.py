"""What the rules ask of the world around them, as interfaces.

C{mailroom}, C{accounts} and C{session} name these and nothing concrete; today
SQLite and memory stand behind them, one machine; that is the seam for more.

An C{Awaitable} here is a Deferred or a coroutine.  A store answers in the order
in which it was asked, each answer only once what it tells is on disk; it fails
with L{chat.errors.Refusal} (C{storage-full}) when there is no room.  Only receipts
do not: they wait for room, while others go on.
"""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Coroutine, NamedTuple, Protocol, Sequence, Union

from chat.errors import Refusal
from chat.ledger import Acceptance, Account, Confirmation, Discovery, Draft, Letter, Line, Mailbox, Removal
from chat.messages import Frame
from chat.origin import Origin
from chat.query import Query

#: What became of one draft: accepted, refused, or (C{None}) its sender's account is gone.
Outcome = Union[Acceptance, Refusal, None]


class MessageStore(Protocol):
    """The ledger."""

    @property
    def waits_for_room(self) -> bool:
        """Whether anything that is not given up for lack of room (see L{confirm}) waits for some."""

    def accept(
        self,
        sender: int,
        drafts: Sequence[Draft],
        done: Callable[[Sequence[Outcome]], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """Accept these messages of one sender in their order; calls back once, after the commit."""

    def confirm(
        self,
        account: int,
        ids: Sequence[int],
        done: Callable[[Sequence[Confirmation]], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """Make waiting messages in the mailbox of C{account} delivered; others are passed over.

        For lack of room they are not given up, but tried again until there is some.
        """

    def mailbox(self, account: int) -> Awaitable[Mailbox]:
        """What a login needs to know."""

    def waiting(self, account: int, after: int) -> Awaitable[tuple[list[Letter], bool]]:
        """The next page of waiting messages behind a position, and whether more follow."""

    def position(self, account: int, id: int) -> Awaitable[int]:
        """Where in the account's mailbox this message is or was; 0: never, for all that is known."""

    def listing(self, account: int, sent: bool, after: int, limit: int) -> Awaitable[tuple[list[Line], bool]]:
        """Entries of the inbox or of the sent box in ascending order of id, and whether more follow."""

    def latest(self, account: int, sent: bool, before: int, limit: int) -> Awaitable[tuple[list[Line], bool]]:
        """The same in descending order, those with an id below C{before}; 0 is above all ids."""

    def search(
        self,
        account: Account,
        query: Query,
        boxes: Sequence[bool],
        before: int,
        limit: int,
        awaited: Callable[[], bool],
    ) -> Awaitable[Discovery]:
        """What a query finds in these boxes (is it the one of what was sent?), newest first.

        What was on disk when it was asked is found, unless the answer says that it is incomplete.

        @param query: the names in it are prepared.
        @param before: see L{latest}.
        @param awaited: whether anybody still waits for the answer; if not, it need not be found.
        """

    def read(self, account: int, ids: Sequence[int]) -> Awaitable[list[Letter]]:
        """Those of these messages that are in the account's mailbox, or sent by it, and have content."""

    def remove(self, account: int, ids: Sequence[int]) -> Awaitable[Removal]:
        """Remove from the account's mailbox, or recall what it sent and still waits."""

    def turn_round(self, account: Account) -> Awaitable[tuple[bool, set[int]]]:
        """Return some of the messages that wait for a leaving account; erase some of its mailbox.

        Whether anything is left to do, and to whose mailboxes messages came back.
        Repeating it is harmless.
        """


class UserStore(Protocol):
    """Who has an account."""

    def find(self, name: str) -> Awaitable[Account | None]:
        """The active account of this prepared name."""

    def reserved(self, name: str) -> Awaitable[bool]:
        """Whether the name belonged to a deleted account not long ago, or still to a leaving one."""

    def join(self, name: str) -> Awaitable[Account]:
        """Begin an account: the name is taken, but nobody sees it yet.

        @raise chat.errors.Refusal: C{name-taken}, C{name-reserved}, C{name-confusable}.
        """

    def alike(self, name: str) -> Awaitable[bool]:
        """Whether a name that looks like this one, but is another, is taken or reserved."""

    def compare_names(self) -> Awaitable[bool]:
        """Find out what each name looks like, where that is not known; whether it was of all."""

    def invited(self, invitation: bytes) -> Awaitable[bool]:
        """Whether somebody can sign up with the invitation of this digest."""

    def activate(self, account: Account, invitation: bytes | None = None) -> Awaitable[bool]:
        """The joining account exists from now on.

        @param invitation: the digest of the one that it takes, which is used up with it.
        @return: False: that was not good any more, and the account is still joining.
        """

    def abandon(self, account: Account) -> Awaitable[None]:
        """The joining account is not to be."""

    def block(self, account: int, name: str | None, blocked: bool) -> Awaitable[list[str]]:
        """Return what the account of this prepared name sends, or do not any more; the names of all such.

        C{None} for the name changes nothing.

        @raise chat.errors.Refusal: C{unknown-recipient}, C{too-large}, C{bad-frame} (one's own).
        @raise chat.errors.FatalError: C{account-gone}.
        """

    def leave(self, account: Account) -> Awaitable[bool]:
        """Mark the account as leaving: from here on it does not exist for anyone. False: it already was."""

    def free(self, account: Account) -> Awaitable[None]:
        """The deletion is complete; the reservation of the name begins."""

    def unfinished(self) -> Awaitable[tuple[list[Account], list[Account]]]:
        """The accounts that were leaving, and those that were joining, when the server stopped."""


class Grant(NamedTuple):
    """A token as others may know it.

    @ivar number: tells it from all others there ever were, and is no secret.
    @ivar expires: in milliseconds since 1970-01-01 UTC.
    """

    number: int
    account: int
    expires: int


class Asker(NamedTuple):
    """Who wants a password to be hashed, as far as that is known before.

    @ivar place: where that is asked; C{None}: that tells nothing of who asks.
    @ivar name: the name that was given, whether there is such an account or not.
    @ivar home: whether somebody was let in from there before, or something was shown that no stranger has.
    """

    place: str | None = None
    name: str = ""
    home: bool = False


#: Nothing is known.
ANYBODY = Asker()


class PasswordStore(Protocol):
    """Passwords, and the tokens that stand for them; what it keeps of either never leaves it."""

    def set(
        self,
        account: int,
        password: bytes,
        codes: Sequence[bytes] | None = None,
        asker: Asker = ANYBODY,
    ) -> Awaitable[None]:
        """Make this the account's password, and revoke all its tokens.

        @param codes: the digests of its recovery codes from now on; C{None}: those it has.
        @raise chat.errors.Refusal: C{slow-down}, see L{verify}.
        """

    def verify(self, account: int | None, password: bytes, asker: Asker = ANYBODY) -> Awaitable[bool]:
        """Whether this is the account's password, also once it is compared; for no account, the same work
        for the answer no.

        @raise chat.errors.Refusal: C{slow-down}, too many ask at once, at all or from there; who asks
            again after the seconds that it tells is let in.
        """

    def change(self, account: int, password: bytes, new: bytes, asker: Asker = ANYBODY) -> Awaitable[bool]:
        """Replace the account's password by a new one, and revoke all its tokens.

        @return: False: C{password} is not the account's, or not any more by then; nothing was changed.
        @raise chat.errors.Refusal: C{slow-down}, see L{verify}.
        """

    def remove(self, account: int) -> Awaitable[None]:
        """Forget the account's password, its tokens and its recovery codes."""

    def recoverable(self, account: int | None, code: bytes) -> Awaitable[bool]:
        """Whether the recovery code of this digest lets somebody choose a new password for the account.

        For no account, the same work for the answer no. Writes nothing.
        """

    def recover(self, account: int, code: bytes, password: bytes, asker: Asker = ANYBODY) -> Awaitable[bool]:
        """Use up a recovery code: make this the account's password, and revoke all its tokens.

        @raise chat.errors.Refusal: C{slow-down}, see L{verify}.
        @return: False: it was not good any more, and nothing was changed.
        """

    def renew_codes(
        self, account: int, password: bytes, codes: Sequence[bytes], asker: Asker = ANYBODY
    ) -> Awaitable[bool]:
        """Let these be the digests of the account's recovery codes.

        @return: False: C{password} is not the account's, or not any more by then; nothing was changed.
        @raise chat.errors.Refusal: C{slow-down}, see L{verify}.
        """

    def issue(self, account: int, token: bytes, admitted: int) -> Awaitable[Grant | None]:
        """Let this stand for the account's password for a time; C{None}: the account has none.

        An account has a bounded number of tokens: the oldest make room.

        @param admitted: when its owner has proven who he is, in milliseconds since 1970-01-01 UTC.
        @raise chat.errors.Refusal: C{bad-state}, the operator has replaced the password since then.
        """

    def bearer(self, token: bytes) -> Awaitable[Grant | None]:
        """Whose token this is, if it is one that is in force. Writes nothing."""

    def revoke(self, account: int, numbers: Sequence[int] | None) -> Awaitable[None]:
        """Revoke these tokens of the account; C{None}: all of them."""


class Peer(Protocol):
    """The other side of a session: its connection."""

    @property
    def origin(self) -> Origin:
        """Where it comes from."""

    @property
    def paused(self) -> bool:
        """Whether it has more to read already than it reads."""

    def send(self, frames: Sequence[Frame]) -> None:
        """Say these frames."""

    def keep(self, size: int) -> None:
        """So many bytes are kept for it, which it is too busy to be told."""

    def close(self) -> None:
        """Hang up once everything said was sent."""

    def resume(self) -> None:
        """The session can take more frames."""

    def wait(self, seconds: float) -> Awaitable[object]:
        """Until so much time has passed."""

    def run(self, steps: Coroutine[Any, Any, None]) -> None:
        """Carry out an asynchronous step of the session; a failure of it ends this session alone."""
