"""C{messages.db}: how waiting messages go back to their senders. Runs in the database thread."""

from __future__ import annotations

from itertools import chain, islice
from typing import Any, Callable, Iterable, NamedTuple, Sequence

from chat.errors import Code
from chat.ledger import Account, State
from chat.store import stretches
from chat.store.books import Books
from chat.store.commit import Cursor
from chat.store.fates import DEAD, DELIVERED, REMOVED, RETURNED, WAITING
from chat.store.settlement import Settlement
from chat.store.stretches import INBOX, behind, look
from chat.store.users import Users

#: How many messages of a leaving account one transaction turns round.
TURNED_AT_ONCE = 1000
#: It turns no more once it has so many bytes: on a full disk it has only the reserve to write to.
TURNED_BYTES = 1024 * 1024
#: How many a message has; without the cast, its characters would be counted, and those behind a NUL left out.
_BYTES = "length(CAST(body AS BLOB))"
#: From how many stretches of the ledger one transaction takes messages away: each is looked through for what
#: is left there, which is most of the work where messages are few and far between.
LOOKED_THROUGH = 25
#: How many waiting messages one transaction looks at to find those that have waited for too long.
AGED_AT_ONCE = 500


class Aged(NamedTuple):
    """Which of the waiting messages are to be looked at, and since when one must have waited to expire.

    @ivar after: the mailbox and the position behind which to go on.
    """

    after: tuple[int, int]
    before: int


class Back(NamedTuple):
    """A waiting message that turns round.

    @ivar code: why it came back before, if it did.
    @ivar account: in whose mailbox it is, under the name C{addressee}.
    """

    id: int
    sender: int
    code: str | None
    account: int
    addressee: str


class Expiry(NamedTuple):
    """What a look at waiting messages has done.

    @ivar after: where the next one begins; C{None}: that was all.
    @ivar senders: to whose mailboxes messages came back.
    """

    after: tuple[int, int] | None
    senders: set[int]


class Returns:
    """Sends back what waits for an account that leaves, and what has waited for too long."""

    def __init__(self, users: Users, books: Books, settlement: Settlement, now: Callable[[], int]) -> None:
        """Send messages back, and keep the books.

        @param settlement: settles what else there is in the mailbox of an account that leaves.
        @param now: the time in milliseconds since 1970-01-01 UTC.
        """
        self._users = users
        self._books = books
        self._settlement = settlement
        self._now = now

    def turn_round(self, cursor: Cursor, account: Account) -> tuple[bool, set[int]]:
        """Return some of what waits for this leaving account; then, erase some of its mailbox.

        Whether anything is left, and whose mailboxes messages came back to.
        """
        now = self._now()
        found = cursor.execute(
            f"SELECT recipient, id, sender, code, {_BYTES} FROM ledger WHERE recipient = ? AND state = 0"
            " ORDER BY position LIMIT ?",
            (account.id, TURNED_AT_ONCE),
        )
        rows: Sequence[tuple[Any, ...]] = _portion(found)
        back = [Back(id, sender, code, account.id, account.name) for _, id, sender, code, _ in rows]
        senders = self._send_back(cursor, back, Code.ACCOUNT_DELETED, now)
        self._books.count(account.id, -len(rows))
        if rows:
            return True, senders
        # Now everything that is left in the mailbox is delivered: nothing to search for.
        delivered = chain.from_iterable(
            look(cursor, f"recipient, id, code, {_BYTES}", account.id, INBOX, stretch, 0)
            for stretch in behind(cursor, account.id, INBOX, 0, LOOKED_THROUGH)
        )
        erased = _portion(islice(delivered, TURNED_AT_ONCE))
        self._books.fates.turned(DELIVERED, REMOVED, [code for _, _, code, _ in erased].count(None))
        self._settlement.settle(cursor, State.REMOVED, now, [(id, account.id) for _, id, *_ in erased])
        return bool(erased), senders

    def expire(self, cursor: Cursor, aged: Aged) -> Expiry:
        """Look at some waiting messages; those that have waited for too long turn round to their senders.

        What came back already never does again, and what somebody sent to themselves is with its sender.
        """
        found = cursor.execute(
            "SELECT recipient, id, position, sender,"
            f" CASE WHEN code IS NULL AND sender <> recipient AND time < ? THEN {_BYTES} END"
            " FROM ledger WHERE state = 0 AND (recipient, position) > (?, ?)"
            " ORDER BY recipient, position LIMIT ?",
            (aged.before, *aged.after, AGED_AT_ONCE),
        )
        rows = _portion(found)
        more = len(rows) == AGED_AT_ONCE or found.fetchone() is not None
        back: list[Back] = []
        for recipient, id, _, sender, length in rows:
            if length is not None:
                back.append(Back(id, sender, None, recipient, self._users.name(cursor, recipient)))
                self._books.count(recipient, -1)
        senders = self._send_back(cursor, back, Code.EXPIRED, self._now())
        return Expiry((rows[-1][0], rows[-1][2]) if more else None, senders)

    def _send_back(self, cursor: Cursor, messages: Sequence[Back], why: Code, now: int) -> set[int]:
        """Return waiting messages to their senders; those who came back already, or have none, are dead.

        @return: the senders whose mailboxes they came back to.
        """
        returned: list[tuple[int, int, str, str, int]] = []
        dead: list[tuple[object, ...]] = []
        senders: set[int] = set()
        for id, sender, code, _, addressee in messages:
            if code is None and self._users.active(cursor, sender):
                self._books.position += 1
                returned.append((sender, self._books.position, why.value, addressee, id))
                senders.add(sender)
                self._books.count(sender, 1)
            else:
                self._books.fates.turned(WAITING if code is None else RETURNED, DEAD)
                dead.append((now, code or why.value, addressee, id))
        self._books.fates.turned(WAITING, RETURNED, len(returned))
        self._books.volumes.leave(cursor, [each.id for each in messages])
        cursor.executemany(
            "UPDATE ledger SET recipient = ?, position = ?, code = ?, addressee = ? WHERE id = ?", returned
        )
        cursor.executemany(
            "UPDATE ledger SET recipient = sender, state = 4, settled = ?, code = ?,"
            " addressee = coalesce(addressee, ?) WHERE id = ?",
            dead,
        )
        self._books.stretches.leave(
            cursor, INBOX, [each.account for each in messages], [each.id for each in messages]
        )
        self._books.stretches.note(cursor, INBOX, [row[0] for row in returned], [row[4] for row in returned])
        self._books.volumes.enter(cursor, [row[4] for row in returned])
        return senders


def _portion(rows: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Those at the front that one transaction may write anew.

    Each begins with the mailbox and the id.  The last column is the length; C{None}: it is only looked at.
    """
    portion: list[tuple[Any, ...]] = []
    size = 0
    places: set[tuple[int, int]] = set()
    for row in rows:
        portion.append(row)
        mailbox, id, *_, length = row
        if length is not None:
            size += length
            places.add((mailbox, id // stretches.STRETCH))
        if size >= TURNED_BYTES or len(places) == LOOKED_THROUGH:
            break
    return portion
