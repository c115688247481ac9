"""The rules of accept, deliver, receipt, return, recall and remove.

Nobody is told C{accepted} before the commit is on disk; nothing leaves a mailbox
before its receipt.
"""

from __future__ import annotations

from functools import partial
from math import ceil
from operator import attrgetter
from typing import Callable, Iterable, Optional, Sequence

from msgspec.structs import replace

from chat.directory import Directory, Resident
from chat.drafts import Prepared, draft, too_fast
from chat.errors import Code, Refusal, echoing
from chat.ledger import (
    AUTOMATIC,
    Acceptance,
    Account,
    Arrival,
    Confirmation,
    Draft,
    Mailbox,
    fate,
)
from chat.letters import delivery, entry, reading, return_of
from chat.limits.allowance import UNLIMITED, Allowance
from chat.limits.echoes import Echoes
from chat.limits.turns import Turns
from chat.messages import (
    READ_IDS,
    Accepted,
    Deleted,
    Delivered,
    Fatal,
    Found,
    Frame,
    Listing,
    Message,
    Messages,
    Search,
)
from chat.ports import MessageStore, Outcome
from chat.prepared import address
from chat.query import Person, Query, excerpt, parse
from chat.query import wanted as wanted_words
from chat.refusals import failed, gone
from chat.times import rfc3339

#: The most messages removed in one commit: their content is overwritten, and on a full disk
#: there is no room to write more than so much at once.
REMOVED_AT_ONCE = 100
#: The most ids in one operation of the store, so that others have their turn in between.
CONFIRMED_AT_ONCE = 2000

#: In so many characters of what a search finds it is looked where the words are: others wait meanwhile.
LOOKED_THROUGH = 512 * 1024
#: So many receipts are as much work as a message.
RECEIPTS_A_MESSAGE = 8

_is_automatic = attrgetter("automatic")


class Mailroom:
    """Between the sessions and the ledger.

    @ivar under_way: how many messages are on their way into the ledger.
    """

    def __init__(
        self,
        store: MessageStore,
        directory: Directory,
        now: Callable[[], int],
        allowance: Allowance | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """Serve the sessions of C{directory} from C{store}.

        @param now: the time in milliseconds since 1970-01-01 UTC.
        @param allowance: how much each account may send; without it, anything.
        @param clock: a time in seconds that only grows; without it, C{now} is taken to do so.
        """
        clock = clock or (lambda: now() / 1000)
        self._turns = Turns(clock, lambda: store.waits_for_room)
        self._echoes = Echoes(clock)
        self._allowance = allowance or Allowance(lambda: 0.0, UNLIMITED, UNLIMITED)
        self._store = store
        self._directory = directory
        self._now = now
        self.under_way = 0

    # --- who is here ---

    def enter(self, account: Account, session: Resident) -> None:
        """This session has logged in."""
        self._directory.add(account.id, session)

    def leave(self, account: Account, session: Resident) -> None:
        """This session has ended or left the account."""
        self._directory.discard(account.id, session)

    # --- accept ---

    def accept(
        self,
        sender: Account,
        messages: Sequence[Message],
        answer: Callable[[list[Frame]], None],
        broken: Callable[[Exception], None],
    ) -> float:
        """Accept these messages, or say for each why not, in their order.

        C{answer} is called when every accepted one would survive a power cut, before anybody
        is shown them; if they go in pieces, with the answers to some of them at a time, in their
        order.  C{broken} is called instead when the store failed in a way that is nobody's fault here.

        @return: for how many seconds the sender, who has sent too much, is not to be heard.
        """
        sizes = [len(body) if (body := each.body).isascii() else len(body.encode()) for each in messages]
        grant = self._allowance.take(sender.id, sizes)
        prepared = list(map(draft, messages))
        for number in range(grant.admitted, len(messages)):
            checked = prepared[number]
            if isinstance(checked, Draft):
                prepared[number] = too_fast(checked.ref, grant.seconds)
        if self._echoes.pairs or any(map(_is_automatic, messages)):
            prepared = list(map(partial(self._not_echoing, sender), messages, prepared))
        drafts = [each for each in prepared if isinstance(each, Draft)]
        piece = self._turns.piece(sender.id, len(drafts))
        if piece >= len(drafts):
            self._enter(sender, prepared, drafts, answer, broken)
        else:
            self._enter_in_turns(sender, prepared, piece, answer, broken)
        return grant.wait

    def waits(self, account: Account) -> bool:
        """Whether something that the account has sent waits for its turn to be accepted."""
        return self._turns.waits(account.id)

    def _not_echoing(self, sender: Account, message: Message, checked: Prepared) -> Prepared:
        """The draft, unless it is one more of those with which programs answer each other."""
        if isinstance(checked, Refusal) or checked.recipient is None:
            return checked
        if not message.automatic:
            self._echoes.person(sender.name, checked.recipient)
            return checked
        seconds = self._echoes.program(sender.name, checked.recipient)
        return echoing(checked.ref, seconds) if seconds else checked

    def _enter(
        self,
        sender: Account,
        prepared: Sequence[Prepared],
        drafts: Sequence[Draft],
        answer: Callable[[list[Frame]], None],
        broken: Callable[[Exception], None],
    ) -> None:
        """Let these drafts, which are those of C{prepared}, go into the ledger when it is their turn."""
        if not drafts:
            answer([failed(each) for each in prepared if isinstance(each, Refusal)])
            return
        self.under_way += len(drafts)
        accepted = partial(self._accepted, sender, prepared, answer)
        not_accepted = partial(self._not_accepted, sender, prepared, answer, broken)
        go = partial(self._store.accept, sender.id, drafts, accepted, not_accepted)
        self._turns.enter(sender.id, len(drafts), go)

    def _enter_in_turns(
        self,
        sender: Account,
        prepared: Sequence[Prepared],
        piece: int,
        answer: Callable[[list[Frame]], None],
        broken: Callable[[Exception], None],
    ) -> None:
        """The same, not more than C{piece} at a time."""
        pieces = [prepared[at : at + piece] for at in range(0, len(prepared), piece)]
        together = _Together(answer, broken)
        for number, some in enumerate(pieces):
            drafts = [each for each in some if isinstance(each, Draft)]
            self._enter(sender, some, drafts, partial(together.answer, number), together.broken)
        together.begin()

    def _not_accepted(
        self,
        sender: Account,
        prepared: Sequence[Prepared],
        answer: Callable[[list[Frame]], None],
        broken: Callable[[Exception], None],
        error: Exception,
    ) -> None:
        """Nothing was accepted: say so to each, with its ref, so that its sender keeps it."""
        count = len([each for each in prepared if isinstance(each, Draft)])
        self.under_way -= count
        self._turns.leave(sender.id, count)
        if not isinstance(error, Refusal):
            broken(error)
            return
        refused = [
            each if isinstance(each, Refusal) else Refusal(error.code, error.reason, ref=each.ref)
            for each in prepared
        ]
        answer([failed(each) for each in refused])

    def _accepted(
        self,
        sender: Account,
        prepared: Sequence[Prepared],
        answer: Callable[[list[Frame]], None],
        outcomes: Sequence[Outcome],
    ) -> None:
        self.under_way -= len(outcomes)
        self._turns.leave(sender.id, len(outcomes))
        remaining = iter(outcomes)
        answers: list[Frame] = []
        arrivals: dict[int, Optional[list[Arrival]]] = {}  # None: nobody is there
        for each in prepared:
            if isinstance(each, Refusal):
                answers.append(failed(each))
                continue
            outcome = next(remaining)
            if isinstance(outcome, Acceptance):
                id, code = outcome.id, outcome.code
                time = rfc3339(outcome.time)
                answers.append(Accepted(ref=each.ref, id=id, time=time, state=fate(outcome.state, code)))
                if outcome.fresh:
                    mailbox = outcome.mailbox
                    try:
                        arrived = arrivals[mailbox]
                    except KeyError:
                        # Whoever comes from now on finds it in the ledger.
                        arrived = arrivals[mailbox] = [] if self._directory.sessions(mailbox) else None
                    if arrived is not None:
                        message = Message(
                            id=id,
                            sender=sender.name,
                            recipient=each.addressee if code is None else sender.name,
                            time=time,
                            subject=each.subject,
                            body=each.body,
                            returned=None if code is None else return_of(code, each.addressee),
                            automatic=each.options >= AUTOMATIC,
                        )
                        arrived.append((outcome.position, message))
            elif outcome is None:
                answers.append(gone())
                break
            else:
                answers.append(failed(outcome))
        answer(answers)
        for account, messages in arrivals.items():
            if messages:
                for session in self._directory.sessions(account):
                    session.push(messages)

    # --- receipts ---

    def confirm(
        self,
        account: Account,
        ids: Sequence[int],
        done: Callable[[], None],
        broken: Callable[[Exception], None],
    ) -> None:
        """The recipient has these; what is not theirs, or settled already, is passed over.

        C{done} is called once, when it is on disk; C{broken} as in L{accept}.
        """
        weight = _weight(ids)
        # Nobody waits for the answer to a receipt.
        piece = self._turns.piece(account.id, weight, heard=False)
        most = CONFIRMED_AT_ONCE if piece >= weight else piece * RECEIPTS_A_MESSAGE
        if len(ids) <= most:
            self._confirm(account, ids, done, broken)
            return
        pieces = [ids[at : at + most] for at in range(0, len(ids), most)]
        # Not when the last one is done: one that finds no room waits, and those behind it do not.
        done = _after(len(pieces), done)
        for each in pieces:
            self._confirm(account, each, done, broken)

    def _confirm(
        self,
        account: Account,
        ids: Sequence[int],
        done: Callable[[], None],
        broken: Callable[[Exception], None],
    ) -> None:
        """Let these be confirmed when it is their turn."""
        weight = _weight(ids)
        confirmed = partial(self._confirmed, account, weight, done)
        not_confirmed = partial(self._not_confirmed, account, weight, broken)
        self._turns.enter(
            account.id, weight, partial(self._store.confirm, account.id, ids, confirmed, not_confirmed)
        )

    def _confirmed(
        self,
        account: Account,
        weight: int,
        done: Callable[[], None],
        confirmations: Sequence[Confirmation],
    ) -> None:
        self._turns.leave(account.id, weight)
        if confirmations:
            self._tell_senders(confirmations)
        done()

    def _not_confirmed(
        self, account: Account, weight: int, broken: Callable[[Exception], None], error: Exception
    ) -> None:
        self._turns.leave(account.id, weight)
        broken(error)

    def _tell_senders(self, confirmations: Sequence[Confirmation]) -> None:
        """Tell the senders who asked for it and are here."""
        by_sender: dict[int, list[int]] = {}
        for id, sender in confirmations:
            by_sender.setdefault(sender, []).append(id)
        time = rfc3339(self._now())
        for sender, ids in by_sender.items():
            for session in self._directory.sessions(sender):
                session.notify(Delivered(ids=ids, time=time))

    # --- mailboxes ---

    async def mailbox(self, account: Account) -> Mailbox:
        """How many messages wait, and up to which position they may have been shown."""
        return await self._store.mailbox(account.id)

    async def position(self, account: Account, id: int) -> int:
        """Where in the account's mailbox this message is or was; 0: never, for all that is known."""
        return await self._store.position(account.id, id)

    async def waiting(self, account: Account, after: int, offered: int) -> tuple[list[Arrival], bool]:
        """A page of waiting messages behind a position, oldest first, and whether more follow.

        @param offered: messages up to this position may have been shown before.
        """
        letters, more = await self._store.waiting(account.id, after)
        return [(letter.position, delivery(letter, letter.position <= offered)) for letter in letters], more

    async def listing(
        self, account: Account, box: str, after: int, limit: int, before: Optional[int] = None
    ) -> Listing:
        """Entries of a box behind an id, oldest first; or before one, newest first (0 is above all ids).

        @raise chat.errors.Refusal: C{bad-frame}, there is no such box, or both ends are given.
        """
        sent = _is_sent(box)
        if before is None:
            lines, more = await self._store.listing(account.id, sent, after, limit)
        elif after:
            reason = "A listing has after, for oldest first, or before, for newest first; not both."
            raise Refusal(Code.BAD_FRAME, reason)
        else:
            lines, more = await self._store.latest(account.id, sent, before, limit)
        return Listing(box=box, messages=[entry(line, sent) for line in lines], more=more)

    async def search(
        self, account: Account, wanted: Search, awaited: Callable[[], bool] = lambda: True
    ) -> Found:
        """What a query finds in the own mailbox, and of what the account has sent.

        @param awaited: see L{MessageStore.search}.
        @raise chat.errors.Refusal: C{bad-query}; C{bad-frame}, there is no such box.
        """
        boxes = (False, True) if wanted.box is None else (_is_sent(wanted.box),)
        query = _addressed(parse(wanted.query))
        found = await self._store.search(account, query, boxes, wanted.before, wanted.limit, awaited)
        words = wanted_words(query)
        entries = []
        left = LOOKED_THROUGH
        for hit in found.hits:
            left -= len(hit.body)
            piece = excerpt(hit.body, words if left >= 0 else ())
            entries.append(entry(hit.line, hit.sent, piece or None))
        return Found(messages=entries, more=found.more, incomplete=found.incomplete)

    async def read(self, account: Account, ids: Sequence[int]) -> Messages:
        """Whole messages of the account's mailbox, or sent by it and not yet removed.

        @raise chat.errors.Refusal: C{too-large}, more than L{READ_IDS} ids.
        """
        if len(ids) > READ_IDS:
            raise Refusal(Code.TOO_LARGE, f"At most {READ_IDS} ids can be read at once.")
        found = {letter.id: letter for letter in await self._store.read(account.id, ids)}
        wanted = dict.fromkeys(ids)
        return Messages(
            messages=[reading(found[id]) for id in wanted if id in found],
            missing=[id for id in wanted if id not in found],
        )

    async def remove(self, account: Account, ids: Sequence[int]) -> Deleted:
        """Remove from the own mailbox (confirming first what waits), or recall."""
        deleted = Deleted(ids=[], missing=[])
        wanted = list(dict.fromkeys(ids))
        for start in range(0, len(wanted), REMOVED_AT_ONCE):
            removal = await self._store.remove(account.id, wanted[start : start + REMOVED_AT_ONCE])
            self._tell_senders(removal.confirmations)
            deleted.ids.extend(removal.ids)
            deleted.missing.extend(removal.missing)
        return deleted

    async def turn_round(self, account: Account) -> None:
        """Return every message that waits for this leaving account, and erase its mailbox."""
        left = True
        while left:
            left, senders = await self._store.turn_round(account)
            self.returned(senders)

    def returned(self, senders: Iterable[int]) -> None:
        """Messages came back to the mailboxes of these accounts: show them to those who are here."""
        for sender in senders:
            for session in self._directory.sessions(sender):
                session.more()


class _Together:
    """The answers to the pieces of a batch, to be given in the order of the messages."""

    def __init__(self, answer: Callable[[list[Frame]], None], broken: Callable[[Exception], None]) -> None:
        self._early: dict[int, list[Frame]] = {}  # the answers to pieces behind one that has none yet
        self._next = 0
        self._begun = False
        self._answer = answer
        self._broken = broken

    def begin(self) -> None:
        """All pieces are on their way, so whoever sends more at an answer does not overtake any of them."""
        self._begun = True
        self._tell()

    def answer(self, number: int, answers: list[Frame]) -> None:
        """These are the answers to that piece."""
        self._early[number] = answers
        if self._begun:
            self._tell()

    def _tell(self) -> None:
        while (some := self._early.pop(self._next, None)) is not None:
            self._next += 1
            self._answer(some)
            if isinstance(some[-1], Fatal):
                self._answer = lambda frames: None  # the account is gone: that is said once

    def broken(self, error: Exception) -> None:
        """One piece failed in a way that is nobody's fault here; what is not answered yet never is."""
        broken, self._broken = self._broken, lambda error: None
        broken(error)


def _weight(ids: Sequence[int]) -> int:
    """As how many messages these receipts count."""
    return max(1, ceil(len(ids) / RECEIPTS_A_MESSAGE))


def _after(times: int, done: Callable[[], None]) -> Callable[[], None]:
    """To be called so many times; the last time calls C{done}."""
    left = times

    def one() -> None:
        nonlocal left
        left -= 1
        if not left:
            done()

    return one


def _is_sent(box: str) -> bool:
    """Whether the box of this name is the one of what was sent."""
    if box not in ("inbox", "sent"):
        raise Refusal(Code.BAD_FRAME, "There is no such box; the boxes are inbox and sent.")
    return box == "sent"


def _addressed(query: Query) -> Query:
    """The same query with names as accounts have them; one that no account could have stays as it is."""
    people = [Person(each.role, address(each.name) or each.name, each.negated) for each in query.people]
    return replace(query, people=tuple(people))
