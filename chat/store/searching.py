"""Looking for what a query finds. Runs in the database thread.

The index gives candidates, newest first; what it cannot tell (words in a row, words of
the subject, whole names, exact times) is looked up in the messages themselves.  Whatever
the index says, only what is in a box of the one who asks is found.
"""

from __future__ import annotations

import json
import re
from heapq import merge
from itertools import groupby, islice
from time import perf_counter
from typing import Any, Iterator, NamedTuple, Sequence

from chat.ledger import Account, Hit, Line
from chat.query import Person, Query, Role, Words
from chat.store import stretches, volumes
from chat.store.commit import Cursor
from chat.store.stretches import INBOX, SENT
from chat.store.users import Users
from chat.store.volumes import TOKENIZER, Marks, parts, spread

#: For so many seconds one transaction looks; then others have their turn.
LOOKING = 0.015
#: How many candidates are looked at together, at first and at most.
FEW, MANY = 32, 512

_ROWS = (
    "SELECT id, sender, recipient, time, state, code, addressee, subject, body FROM ledger"
    " WHERE id IN (SELECT value FROM json_each(?)) AND state < 2 ORDER BY id DESC"
)
_LARGEST = 2**63 - 1


class Wanted(NamedTuple):
    """What is looked for.

    @ivar boxes: in which of them: is it the one of what was sent?
    @ivar before: messages with an id below this one.
    @ivar most: how many are enough.
    """

    account: Account
    query: Query
    boxes: Sequence[bool]
    before: int
    most: int


class Portion(NamedTuple):
    """What was found in one turn.

    @ivar before: where to go on; C{None}: that was all, or enough.
    @ivar incomplete: that was all, but there are older messages that are not indexed yet.
    """

    hits: list[Hit]
    before: int | None
    incomplete: bool = False


def prepare(connection: Any) -> None:
    """Let a connection search: give it room to look at a few messages in."""
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute(
        "CREATE VIRTUAL TABLE temp.looked_at USING fts5"
        f"(subject, body, correspondent, content='', columnsize=0, tokenize='{TOKENIZER}')"
    )
    connection.execute("CREATE VIRTUAL TABLE temp.spoken USING fts5vocab(temp, looked_at, instance)")


def search(cursor: Cursor, users: Users, wanted: Wanted) -> Portion:
    """Look for a while, from the newest message to the oldest."""
    end = perf_counter() + LOOKING
    hits: list[Hit] = []
    question = _Question(cursor, users, wanted)
    before = wanted.before or _LARGEST
    for volume in question.volumes(cursor, before):
        candidates = question.candidates(cursor, volume, before)
        size = FEW
        while chunk := list(islice(candidates, size)):
            hits += question.answered(cursor, chunk)
            if len(hits) >= wanted.most:
                return Portion(hits[: wanted.most], None)
            if perf_counter() > end:
                return Portion(hits, chunk[-1])
            size = min(2 * size, MANY)
        if volume and perf_counter() > end:
            return Portion(hits, volume * volumes.VOLUME)
    return Portion(hits, None, _is_incomplete(cursor, wanted.account.id))


def _is_incomplete(cursor: Cursor, account: int) -> bool:
    """Whether this account has messages that were there before there was an index, and are not in it yet."""
    (first,) = cursor.execute("SELECT first FROM indexed").fetchone()
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
        spoken = [(each, _words(cursor, each.text)) for each in wanted.query.words]
        self._matches: dict[bool, str] = {}
        if all(words or each.negated for each, words in spoken):
            for sent in wanted.boxes:
                narrowed = self._narrowed(marks, sent)
                if narrowed is not None:
                    self._matches[sent] = _match(marks, sent, narrowed, spoken)
        for each, words in spoken:
            if words and not _told_by_index(each, words):
                self._exact.append(_Exact(each, words))

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
        found = cursor.execute(
            "SELECT number FROM volumes WHERE number <= ? ORDER BY number DESC",
            ((before - 1) // volumes.VOLUME,),
        )
        return [number for (number,) in found]

    def candidates(self, cursor: Cursor, volume: int, before: int) -> Iterator[int]:
        """The ids of messages in a volume that may be what is looked for, the newest first."""
        found = []
        for sent, match in self._matches.items():
            span = self._span(cursor, volume, sent)
            if span is not None:
                low, high = span
                found.append(
                    cursor.connection.execute(
                        f"SELECT rowid FROM words_{volume} WHERE words_{volume} MATCH ?"
                        " AND rowid BETWEEN ? AND ? ORDER BY rowid DESC",
                        (match, low, min(high, before - 1)),
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

    def answered(self, cursor: Cursor, ids: Sequence[int]) -> list[Hit]:
        """Those of these messages that are it, the newest first."""
        rows = cursor.execute(_ROWS, (json.dumps(ids),)).fetchall()
        hits = [hit for row in rows if (hit := self._hit(cursor, row)) is not None]
        return self._with_words(cursor, hits) if self._exact and hits else hits

    def _hit(self, cursor: Cursor, row: Sequence[Any]) -> Hit | None:
        id, sender, recipient, time, state, code, addressee, subject, body = row
        own = recipient == self._account.id and False in self._boxes
        if not own and not (sender == self._account.id and True in self._boxes):
            return None
        if not self._since <= time < self._until:
            return None
        names = self._users.name(cursor, sender), self._users.name(cursor, recipient)
        line = Line(id, *names, time, state, code, addressee, subject)
        if not all(_has_to_do(line, own, each) is not each.negated for each in self._query.people):
            return None
        return Hit(line, body, not own)

    def _with_words(self, cursor: Cursor, hits: list[Hit]) -> list[Hit]:
        """Those with the words that the index cannot tell of."""
        ids: set[int] = set()
        texts: list[tuple[int, str, str, str]] = []
        for line, body, sent in hits:
            subject, name = line.subject or "", correspondent(line, not sent)
            if not (body.isascii() and subject.isascii() and name.isascii()):
                texts.append((line.id, spread(subject), spread(body), spread(name)))
            elif all(each.in_plain(subject, body, name) is not each.negated for each in self._exact):
                ids.add(line.id)
        if texts:
            ids |= self._spoken(cursor, texts)
        return [hit for hit in hits if hit.line.id in ids]

    def _spoken(self, cursor: Cursor, texts: Sequence[tuple[int, str, str, str]]) -> set[int]:
        """The ids of those of these texts that have them, of whatever characters they are."""
        cursor.executemany(
            "INSERT INTO temp.looked_at (rowid, subject, body, correspondent) VALUES (?, ?, ?, ?)", texts
        )
        ids = {id for id, *_ in texts}
        for each in self._exact:
            found = cursor.execute("SELECT rowid FROM temp.looked_at WHERE looked_at MATCH ?", (each.match,))
            matching = {id for (id,) in found}
            ids = ids - matching if each.negated else ids & matching
        _look_away(cursor)
        return ids


class _Exact:
    """Words in a row, or in the subject: what the index cannot tell of.

    @ivar match: what those have that have them, where they are looked at.
    """

    def __init__(self, each: Words, words: Sequence[str]) -> None:
        self.negated = each.negated
        self._subject = each.subject
        match = f"{_quoted(' '.join(words))}{'*' * each.prefix}"
        self.match = f"subject : {match}" if each.subject else match
        # Of a text in ASCII, as most are, this tells the same, and sooner.
        row = "[^0-9a-z]+".join(map(re.escape, words))
        self._pattern = re.compile(f"(?<![0-9a-z]){row}{'' if each.prefix else '(?![0-9a-z])'}")

    def in_plain(self, subject: str, *others: str) -> bool:
        """Whether they are in one of these texts, which are in ASCII."""
        texts = (subject,) if self._subject else (subject, *others)
        return any(self._pattern.search(text.lower()) for text in texts)


def _match(
    marks: Marks, sent: bool, narrowed: Sequence[str], spoken: Sequence[tuple[Words, list[str]]]
) -> str:
    """What is asked of the index for one box."""
    # Marks that tell more than whose box it is tell that, too.
    wanted = [_quoted(each) for each in narrowed or [marks.box(sent)]]
    unwanted = []
    for each, words in spoken:
        for number, word in enumerate(words, 1):
            star = "*" * (each.prefix and number == len(words))
            either = f"{_quoted(word)}{star}"
            if not each.subject:
                either = f"({either} OR {_quoted(marks.correspondent(sent, word))}{star})"
            if not each.negated:
                wanted.append(either)
            elif _told_by_index(each, words):
                unwanted.append(either)
    match = " AND ".join(wanted)
    return f"({match}) NOT ({' OR '.join(unwanted)})" if unwanted else match


def _told_by_index(each: Words, words: Sequence[str]) -> bool:
    """Whether the index alone tells which messages have this."""
    return len(words) == 1 and not each.subject


def _quoted(word: str) -> str:
    return '"{}"'.format(word.replace('"', '""'))


def _words(cursor: Cursor, text: str) -> list[str]:
    """The words of a text as the index has them."""
    cursor.execute("INSERT INTO temp.looked_at (rowid, subject) VALUES (1, ?)", (spread(text),))
    words = [word for (word,) in cursor.execute("SELECT term FROM temp.spoken ORDER BY offset")]
    _look_away(cursor)
    return words


def _look_away(cursor: Cursor) -> None:
    cursor.execute("INSERT INTO temp.looked_at (looked_at) VALUES ('delete-all')")


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
