"""What somebody searches for: the words of a query, and where in a text they are.

The query is the same at every door: words, all of which must occur; C{"a phrase"};
C{wor*}; C{from:NAME}, C{to:NAME}, C{with:NAME}; C{subject:WORD};
C{since:2026-11-01}, C{until:2026-11-22}; and C{-word} for what must not occur.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from datetime import datetime, timedelta, timezone
from enum import Enum
from itertools import accumulate
from typing import NamedTuple, Optional, Sequence
from unicodedata import category, normalize

from msgspec import Struct

from chat.errors import Code, Refusal
from chat.messages import QUERY_BYTES
from chat.spelling import WORD_EACH, folded, pieces

#: The most conditions that one query has.
MOST_TERMS = 16
#: So many characters of a body are in an excerpt, and so many of them before what was found.
EXCERPT = 120
BEFORE = 40
#: Before the asterisk of a prefix there must be so many letters or digits.
SHORTEST_PREFIX = 2

_ACCENTS = re.compile("[\u0300-\u036f\u3099\u309a]+")

#: A word, as the index tells them apart.
_WORD = re.compile(r"[^\W_]+")

_HINT = 'For example: invoice from:alice since:2026-11-01 "as we said" -draft'


class Role(str, Enum):
    """How somebody may have to do with a message."""

    FROM = "from"
    TO = "to"
    WITH = "with"


class Words(Struct, frozen=True):
    """One word, or several in a row.

    @ivar prefix: it is the beginning of a word.
    @ivar subject: in the subject, and nowhere else.
    @ivar negated: it must not occur.
    """

    text: str
    prefix: bool = False
    subject: bool = False
    negated: bool = False


class Person(Struct, frozen=True):
    """The name of somebody the message is from, or to, or either."""

    role: Role
    name: str
    negated: bool = False


class Query(Struct, frozen=True):
    """All of it must be true of a message.

    @ivar since: accepted at this moment or later, in milliseconds since 1970-01-01 UTC.
    @ivar until: accepted before this moment.
    """

    words: tuple[Words, ...] = ()
    people: tuple[Person, ...] = ()
    since: Optional[int] = None
    until: Optional[int] = None


#: A minus or not; a field or not; then something in quotation marks (one of which is written as two in it),
#: or what is no space.
_TERM = re.compile(
    r'(-?)(?:(from|to|with|subject|since|until):)?(?:"((?:[^"]|"")*)("?)|(\S*))', re.IGNORECASE
)
_DAY = re.compile(r"(\d{4})-(\d\d)-(\d\d)\Z", re.ASCII)
_ROLES = frozenset(role.value for role in Role)


def about(role: Role, name: str) -> str:
    """The query for messages that have to do with somebody, whatever the name is."""
    plain = not name.startswith('"') and not any(map(str.isspace, name))
    return f"{role.value}:{name}" if plain else '{}:"{}"'.format(role.value, name.replace('"', '""'))


def parse(text: str) -> Query:
    """What the query means.

    @raise Refusal: C{too-large}; C{bad-query}, with a sentence that says what to write instead.
    """
    if len(text) > QUERY_BYTES or len(text.encode()) > QUERY_BYTES:
        raise Refusal(Code.TOO_LARGE, f"A query has at most {QUERY_BYTES} bytes of UTF-8.")
    words: list[Words] = []
    people: list[Person] = []
    times: dict[str, int] = {}
    at = 0
    count = 0
    while True:
        at += len(text[at:]) - len(text[at:].lstrip())
        if at == len(text):
            break
        if count == MOST_TERMS:
            raise _bad(f"A query has at most {MOST_TERMS} conditions.")
        count += 1
        match = _TERM.match(text, at)
        assert match is not None  # it matches anything
        at = match.end()
        minus, field, quoted, end, bare = match.groups()
        if quoted is not None and not end:
            raise _bad("A quotation mark is not closed: each one needs another one at the end of the phrase.")
        field = (field or "").lower()
        value = bare if quoted is None else quoted.replace('""', '"').strip()
        if field in _ROLES:
            people.append(Person(Role(field), _name(field, value), bool(minus)))
        elif field in ("since", "until"):
            if minus:
                raise _bad(f"{field}: cannot be negated; use since: for later messages, until: for earlier.")
            moment = _moment(field, value)
            narrower = max if field == "since" else min  # where there are several, all of them hold
            times[field] = narrower(moment, times.get(field, moment))
        else:
            words.append(_words(value, quoted is None, field == "subject", bool(minus)))
    if not (words or people or times):
        raise _bad("There is nothing to search for: write a word or more.")
    return Query(tuple(words), tuple(people), times.get("since"), times.get("until"))


def _name(field: str, value: str) -> str:
    if not value:
        raise _bad(f"Write a name directly behind {field}: without a space between them.")
    return value


def _moment(field: str, value: str) -> int:
    """The beginning of the day, for C{until} that of the next one."""
    match = _DAY.match(value)
    try:
        if match is None:
            raise ValueError
        year, month, day = map(int, match.groups())
        moment = datetime(year, month, day, tzinfo=timezone.utc) + timedelta(days=field == "until")
    except (ValueError, OverflowError):
        raise _bad(f"Behind {field}: stands a day, year first: {field}:2026-11-22.") from None
    return int((moment - datetime(1970, 1, 1, tzinfo=timezone.utc)).total_seconds()) * 1000


def _words(value: str, bare: bool, subject: bool, negated: bool) -> Words:
    prefix = bare and value.endswith("*")
    letters = sum(1 for character in folded(value) if _in_word(character))
    if not letters:
        raise _bad("Only words can be searched for: each condition needs a letter or a digit.")
    if prefix and letters < SHORTEST_PREFIX:
        raise _bad(f"Before * there must be at least {SHORTEST_PREFIX} letters or digits.")
    return Words(value.rstrip("*") if prefix else value, prefix, subject, negated)


def _in_word(character: str) -> bool:
    """Whether words are made of it."""
    return category(character)[0] in "LN"


def _bad(reason: str) -> Refusal:
    return Refusal(Code.BAD_QUERY, f"{reason} {_HINT}")


class Sought(NamedTuple):
    """Words that are to occur, in the form in which they are compared: one, or several in a row.

    @ivar row: with a space between them, and around them where they are to be whole words.
    @ivar spaced: whether there are spaces; where words are written without any, there are none.
    """

    row: str
    spaced: bool


def excerpt(body: str, wanted: Sequence[Sought]) -> str:
    """The body around the first of the words searched for, or its beginning: plain text on one line.

    @param wanted: see L{wanted}.
    """
    start = max(0, _found(body, wanted) - BEFORE)
    if start:  # not in the middle of a word, if there is a better place near
        space = body.find(" ", start - 1, start + BEFORE // 2)
        start = space + 1 if space >= 0 else start
    text = " ".join(body[start : start + EXCERPT].split())
    return f"{'... ' if start else ''}{text}{' ...' if start + EXCERPT < len(body) else ''}"


def _found(body: str, wanted: Sequence[Sought]) -> int:
    """Where in a text the first of the words begins; 0 if none is there."""
    if not wanted:
        return 0
    if body.isascii():
        return _first(body.lower(), wanted)
    whole = [(piece, _without_accents(form)) for piece, form in pieces(body)]
    at = _first("".join([form for _, form in whole]), wanted)
    before = 0
    for piece, form in whole:
        if at < len(form):
            # Of the beginnings of this piece, the longest one that ends before what was found.
            ends = range(len(piece))
            return before + bisect_right(ends, at, key=lambda end: _length(piece[:end])) - 1
        at -= len(form)
        before += len(piece)
    return 0  # there are only accents


def _first(form: str, wanted: Sequence[Sought]) -> int:
    """Where in a text in this form the first of the words begins; 0 if none is there.

    Not by regular expressions: with what begins like the words again and again, these take the length of
    the one times that of the other.
    """
    starts, words = [], []
    for found in _WORD.finditer(form):
        starts.append(found.start())
        words.append(found[0])
    spaced = f" {' '.join(words)} "
    joined = ""
    places = []
    for sought in wanted:
        if sought.spaced:
            at = spaced.find(sought.row)
            if at >= 0:
                places.append(starts[spaced.count(" ", 0, at)])
            continue
        joined = joined or "".join(words)
        at = joined.find(sought.row)
        if at >= 0:
            ends = list(accumulate(map(len, words)))
            word = bisect_right(ends, at)
            places.append(starts[word] + at - (ends[word] - len(words[word])))
    return min(places, default=0)


def _length(text: str) -> int:
    """That of its form."""
    return len(_without_accents(folded(text)))


def wanted(query: Query) -> list[Sought]:
    """The words that are to occur in a body, whatever their case and their accents."""
    found = []
    for each in query.words:
        words = _WORD.findall(_without_accents(folded(each.text).lower()))
        if each.subject or each.negated or not words:
            continue
        spaced = WORD_EACH.search("".join(words)) is None
        row = f" {' '.join(words)}{'' if each.prefix else ' '}" if spaced else "".join(words)
        found.append(Sought(row, spaced))
    return found


def _without_accents(form: str) -> str:
    """The same for one that looks for words whatever their accents; the index leaves out fewer of them."""
    return _ACCENTS.sub("", normalize("NFD", form))
