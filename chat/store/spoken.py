"""The words of a text, as the index tells them apart: FTS5 itself is asked. Runs in the database thread."""

from __future__ import annotations

from typing import Any, Iterable, Mapping, Sequence

from chat.spelling import apart
from chat.store.commit import Cursor

#: How words are told apart, and which accents make no difference. Never changed: it is how those of a message
#: are found again when they are to be removed.
TOKENIZER = "unicode61 remove_diacritics 2"
#: What the server itself writes into the index begins with it; in what people write, it is a space.
MARK = "\ue000"


def spread(text: str) -> str:
    """The text with all its words apart, as L{TOKENIZER} needs it; and nothing in it looks like a mark."""
    return text if text.isascii() else apart(text.replace(MARK, " "))


def prepare(connection: Any) -> None:
    """Give a connection room to look at a few texts in."""
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute(
        "CREATE VIRTUAL TABLE temp.looked_at USING fts5"
        f"(subject, body, correspondent, content='', columnsize=0, tokenize='{TOKENIZER}')"
    )
    connection.execute("CREATE VIRTUAL TABLE temp.spoken USING fts5vocab(temp, looked_at, instance)")


def words(cursor: Cursor, text: str) -> list[str]:
    """The words of a text, in their order."""
    cursor.execute("INSERT INTO temp.looked_at (rowid, subject) VALUES (1, ?)", (spread(text),))
    found = [word for (word,) in cursor.execute("SELECT term FROM temp.spoken ORDER BY offset")]
    _look_away(cursor)
    return found


def vocabularies(cursor: Cursor, texts: Mapping[int, str]) -> dict[int, set[str]]:
    """The different words of each of these texts."""
    found: dict[int, set[str]] = {number: set() for number in texts}
    if texts:
        cursor.executemany(
            "INSERT INTO temp.looked_at (rowid, subject) VALUES (?, ?)",
            [(number, spread(text)) for number, text in texts.items()],
        )
        for word, number in cursor.execute("SELECT term, doc FROM temp.spoken"):
            found[number].add(word)
        _look_away(cursor)
    return found


def matching(
    cursor: Cursor, texts: Sequence[tuple[int, str, str, str]], matches: Iterable[str]
) -> list[set[int]]:
    """For each query of FTS5, the numbers of the texts that it finds.

    @param texts: each has its number, and subject, body and correspondent, L{spread}.
    """
    cursor.executemany(
        "INSERT INTO temp.looked_at (rowid, subject, body, correspondent) VALUES (?, ?, ?, ?)", texts
    )
    found = []
    for match in matches:
        rows = cursor.execute("SELECT rowid FROM temp.looked_at WHERE looked_at MATCH ?", (match,))
        found.append({number for (number,) in rows})
    _look_away(cursor)
    return found


def _look_away(cursor: Cursor) -> None:
    cursor.execute("INSERT INTO temp.looked_at (looked_at) VALUES ('delete-all')")
