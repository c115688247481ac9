"""Looking for what a query finds. Runs in the database thread.

The index gives candidates, newest first; what it cannot tell (words in a row, whole
names, exact times) is looked up in the messages themselves.  Whatever
the index says, only what is in a box of the one who asks is found.
"""

from __future__ import annotations

import json
from heapq import merge
from itertools import groupby, islice
from time import perf_counter
from typing import Iterator, NamedTuple, Sequence

from chat.ledger import Account, Hit, Line
from chat.query import Person, Query, Role, Words
from chat.store import stretches, volumes
from chat.store.commit import Cursor
from chat.store.spoken import matching, spread, words
from chat.store.stretches import INBOX, SENT
from chat.store.users import Users
from chat.store.volumes import Marks, as_subject, parts

#: How many candidates are looked at together, at first and at most.
FEW, MANY = 32, 128
#: And no more than have so many characters.
TOGETHER = 64 * 1024
#: Of so many ids in a row, one half in a box is taken for a volume that is full of that box.
SAMPLE = 64

_ROWS = (
    "SELECT id, sender, recipient, time, state, code, addressee, subject, body FROM ledger"
    " WHERE id IN (SELECT value FROM json_each(?)) AND state < 2 ORDER BY id DESC"
)
_LARGEST = 2**63 - 1
#: Letters in lower case, digits, and for all else a space.
_WORDS_ONLY = bytes(ord(c.lower()) if c.isascii() and c.isalnum() else 32 for c in map(chr, range(256)))


class _Row(NamedTuple):
    """A message as the ledger has it."""

    id: int
    sender: int
    recipient: int
    time: int
    state: int
    code: str | None
    addressee: str | None
    subject: str | None
    body: str


class Wanted(NamedTuple):
    """What is looked for.

    @ivar boxes: in which of them: is it the one of what was sent?
    @ivar before: messages with an id below this one.
    @ivar most: how many are enough.
    @ivar seconds: for how long to look; then others have their turn.
    """

    account: Account
    query: Query
    boxes: Sequence[bool]
    before: int
    most: int
    seconds: float


class Portion(NamedTuple):
    """What was found in one turn.

    @ivar before: where to go on; C{None}: that was all, or enough.
    @ivar incomplete: that was all, but there are older messages that are not indexed yet.
    """

    hits: list[Hit]
    before: int | None
    incomplete: bool = False


def search(cursor: Cursor, users: Users, wanted: Wanted) -> Portion:
    """Look for a while, from the newest message to the oldest."""
    end = perf_counter() + wanted.seconds
    hits: list[Hit] = []
    question = _Question(cursor, users, wanted)
    before = wanted.before or _LARGEST
    for volume in question.volumes(cursor, before):
        full = question.full(cursor, volume, before)
        candidates = question.candidates(cursor, volume, before, full)
        size = FEW
        while chunk := list(islice(candidates, size)):
            rows = question.own(cursor, chunk)
            for some in _in_portions(rows):
                hits += question.answered(cursor, some)
                if len(hits) >= wanted.most:
                    return Portion(hits[: wanted.most], None)
                if perf_counter() > end and some[-1] is not rows[-1]:
                    return Portion(hits, some[-1].id)
            if perf_counter() > end:
                return Portion(hits, chunk[-1])
            if full and 2 * len(rows) < len(chunk):  # it was not, here
                full = frozenset()
                candidates = question.candidates(cursor, volume, chunk[-1], full)
            size = min(2 * size, MANY)
        if volume and perf_counter() > end:
            return Portion(hits, volume * volumes.VOLUME)
    return Portion(hits, None, _is_incomplete(cursor, wanted.account.id))


def _in_portions(rows: Sequence[_Row]) -> Iterator[Sequence[_Row]]:
    """The same, no more together than can be looked at in a short time."""
    some: list[_Row] = []
    size = 0
    for row in rows:
        if some and size + len(row.body) > TOGETHER:
            yield some
            some, size = [], 0
        some.append(row)
        size += len(row.body)
    if some:
        yield some


def _is_incomplete(cursor: Cursor, account: int) -> bool:
    """Whether this account has messages that were there before there was an index, and are not in it yet."""
    first = volumes.left(cursor).first
    found = cursor.execute(
        "SELECT 1 FROM stretches WHERE account = ? AND stretch <= ? LIMIT 1",
        (account, (first - 1) // stretches.STRETCH),
    )
    return first > 1 and found.fetchone() is not None


class _Question:
    """A query as it is put to the index, and to the messages themselves."""

    def __init__(self, cursor: Cursor, users: Users, wanted: Wanted) -> None:
        self._users = users
        self._account, self._query, self._boxes = wanted.account, wanted.query, wanted.boxes
        self._exact: list[_Exact] = []  # what only the messages themselves tell
        marks = Marks(wanted.account.id)
        spoken = [(each, words(cursor, each.text)) for each in wanted.query.words]
        self._marks = marks
        self._matches: dict[bool, str] = {}
        self._loose: dict[bool, str] = {}  # for a volume that is full of this box, where that is less work
        if all(row or each.negated for each, row in spoken):
            has_word = any(not each.negated for each, _ in spoken)
            for sent in wanted.boxes:
                narrowed = self._narrowed(marks, sent)
                if narrowed is not None:
                    # Marks that tell more than whose box it is tell that, too.
                    self._matches[sent] = _match(marks, sent, narrowed or [marks.box(sent)], spoken)
                    if has_word and not narrowed:
                        self._loose[sent] = _match(marks, sent, [], spoken)
        for each, row in spoken:
            if row and not _told_by_index(row):
                self._exact.append(_Exact(each, row))

    def _narrowed(self, marks: Marks, sent: bool) -> list[str] | None:
        """What all messages in this box that have to do with these people have; C{None}: there are none."""
        narrowed: list[str] = []
        for role, name in ((each.role, each.name) for each in self._query.people if not each.negated):
            own = name == self._account.name
            if role is Role.FROM and (sent or own):
                if not own:
                    return None
                narrowed.append(marks.sent)
            elif not own or sent or role is Role.WITH:
                narrowed += [marks.correspondent(sent, part) for part in parts(name)]
        return narrowed

    # --- what the index says ---

    def volumes(self, cursor: Cursor, before: int) -> list[int]:
        """The volumes in which there may be something, the newest first."""
        if not self._matches:
            return []
        return volumes.current(cursor, (before - 1) // volumes.VOLUME)

    def full(self, cursor: Cursor, volume: int, before: int) -> frozenset[bool]:
        """The boxes that half of this volume is in, and more, by what is in it next.

        There, to ask for words alone and to see whose each message is takes a fraction of the time that
        FTS5 needs to pass over all the messages that are in the box and do not have the words.
        """
        full = set()
        for sent in self._loose:
            ids = cursor.execute(
                f"SELECT rowid FROM words_{volume} WHERE words_{volume} MATCH ? AND rowid < ?"
                " ORDER BY rowid DESC LIMIT ?",
                (_quoted(self._marks.box(sent)), before, SAMPLE),
            ).fetchall()
            if len(ids) == SAMPLE and ids[0][0] - ids[-1][0] < 2 * SAMPLE:
                full.add(sent)
        return frozenset(full)

    def candidates(self, cursor: Cursor, volume: int, before: int, full: frozenset[bool]) -> Iterator[int]:
        """The ids of messages in a volume that may be what is looked for, the newest first.

        @param full: for which boxes everything that is in the volume may be it.
        """
        found = []
        for sent, match in self._matches.items():
            span = self._span(cursor, volume, sent)
            if span is not None:
                low, high = span
                found.append(
                    cursor.connection.execute(
                        f"SELECT rowid FROM words_{volume} WHERE words_{volume} MATCH ?"
                        " AND rowid BETWEEN ? AND ? ORDER BY rowid DESC",
                        (self._loose[sent] if sent in full else match, low, min(high, before - 1)),
                    )
                )
        if len(found) == 1:
            return (id for (id,) in found[0])
        return (id for (id,), _ in groupby(merge(*found, reverse=True)))

    def _span(self, cursor: Cursor, volume: int, sent: bool) -> tuple[int, int] | None:
        """The first and the last id in a volume that can be it, by what is known of its stretches."""
        low, high = cursor.execute(
            "SELECT min(stretch), max(stretch) FROM stretches JOIN moments USING (stretch)"
            " WHERE account = ? AND box = ? AND stretch BETWEEN ? AND ? AND latest >= ? AND earliest < ?",
            (
                self._account.id,
                SENT if sent else INBOX,
                volume * volumes.VOLUME // stretches.STRETCH,
                ((volume + 1) * volumes.VOLUME - 1) // stretches.STRETCH,
                self._since,
                self._until,
            ),
        ).fetchone()
        return None if low is None else (low * stretches.STRETCH, (high + 1) * stretches.STRETCH - 1)

    @property
    def _since(self) -> int:
        return self._query.since or 0

    @property
    def _until(self) -> int:
        return _LARGEST if self._query.until is None else self._query.until

    # --- what the messages say ---

    def own(self, cursor: Cursor, ids: Sequence[int]) -> list[_Row]:
        """Those of these messages that are in one of the boxes, the newest first."""
        account = self._account.id
        inbox, sent = False in self._boxes, True in self._boxes
        return [
            _Row(*row)
            for row in cursor.execute(_ROWS, (json.dumps(ids),))
            if (inbox and row[2] == account) or (sent and row[1] == account)
        ]

    def answered(self, cursor: Cursor, rows: Sequence[_Row]) -> list[Hit]:
        """Those of these messages that are it."""
        rows = [row for row in rows if self._since <= row.time < self._until]
        if self._exact and rows:
            rows = self._with_words(cursor, rows)
        return [hit for row in rows if (hit := self._hit(cursor, row)) is not None]

    def _hit(self, cursor: Cursor, row: _Row) -> Hit | None:
        own = self._is_own(row)
        names = self._users.name(cursor, row.sender), self._users.name(cursor, row.recipient)
        line = Line(row.id, *names, row.time, row.state, row.code, row.addressee, row.subject)
        if not all(_has_to_do(line, own, each) is not each.negated for each in self._query.people):
            return None
        return Hit(line, row.body, not own)

    def _is_own(self, row: _Row) -> bool:
        """Whether it is told as one in the own inbox, not as one that was sent."""
        return row.recipient == self._account.id and False in self._boxes

    def _with_words(self, cursor: Cursor, rows: Sequence[_Row]) -> list[_Row]:
        """Those with the words that the index cannot tell of."""
        ids: set[int] = set()
        texts: list[tuple[int, str, str, str]] = []
        for row in rows:
            subject, body, name = row.subject or "", row.body, row.addressee
            if name is None:
                name = self._users.name(cursor, row.sender if self._is_own(row) else row.recipient)
            if not (body.isascii() and subject.isascii() and name.isascii()):
                texts.append((row.id, spread(subject), spread(body), spread(name)))
            elif all(each.in_plain(subject, body, name) is not each.negated for each in self._exact):
                ids.add(row.id)
        if texts:
            spoken = {id for id, *_ in texts}
            matches = [each.match for each in self._exact]
            for each, found in zip(self._exact, matching(cursor, texts, matches)):
                spoken = spoken - found if each.negated else spoken & found
            ids |= spoken
        return [row for row in rows if row.id in ids]


class _Exact:
    """Words in a row: what the index cannot tell of.

    @ivar match: what those have that have them, where they are looked at.
    """

    def __init__(self, each: Words, words: Sequence[str]) -> None:
        self.negated = each.negated
        self._subject = each.subject
        match = f"{_quoted(' '.join(words))}{'*' * each.prefix}"
        self.match = f"subject : {match}" if each.subject else match
        # Of a text in ASCII, as most are, this tells the same, and sooner.
        self._row = f" {' '.join(words)}{'' if each.prefix else ' '}".encode()

    def in_plain(self, subject: str, *others: str) -> bool:
        """Whether they are in one of these texts, which are in ASCII."""
        texts = (subject,) if self._subject else (subject, *others)
        # Most of them are too short, which takes no time to see.
        return any(len(text) + 2 >= len(self._row) and self._row in _in_a_row(text) for text in texts)


def _in_a_row(text: str) -> bytes:
    """The words of a text in ASCII, with one space before each and one behind all.

    Words in a row are looked for in it, and not with a regular expression in the text itself: that takes the
    length of the one times that of the other where the text begins like the row again and again.
    """
    return b" %b " % b" ".join(text.encode().translate(_WORDS_ONLY).split())


def _match(
    marks: Marks, sent: bool, narrowed: Sequence[str], spoken: Sequence[tuple[Words, list[str]]]
) -> str:
    """What is asked of the index for one box."""
    wanted = [_quoted(each) for each in narrowed]
    unwanted = []
    for each, row in spoken:
        for number, word in enumerate(row, 1):
            star = "*" * (each.prefix and number == len(row))
            either = f"{_quoted(as_subject(word) if each.subject else word)}{star}"
            if not each.subject:
                either = f"({either} OR {_quoted(marks.correspondent(sent, word))}{star})"
            if not each.negated:
                wanted.append(either)
            elif _told_by_index(row):
                unwanted.append(either)
    match = " AND ".join(dict.fromkeys(wanted))  # what is asked twice takes twice the time
    return f"({match}) NOT ({' OR '.join(dict.fromkeys(unwanted))})" if unwanted else match


def _told_by_index(row: Sequence[str]) -> bool:
    """Whether the index alone tells which messages have these words in a row."""
    return len(row) == 1


def _quoted(word: str) -> str:
    return '"{}"'.format(word.replace('"', '""'))


def correspondent(line: Line, own: bool) -> str:
    """With whom a message was exchanged, as seen from the mailbox it is in, or from its sender."""
    if line.addressee is not None:
        return line.addressee
    return line.sender if own else line.recipient


def _has_to_do(line: Line, own: bool, person: Person) -> bool:
    """Whether a message is from or to this person, or either."""
    if person.role is Role.FROM:
        return line.sender == person.name
    if person.role is Role.TO:
        return (line.recipient if line.addressee is None else line.addressee) == person.name
    return correspondent(line, own) == person.name
