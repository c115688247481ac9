"""C{chatctl deadletters}: messages that could neither be delivered nor returned, kept for the operator."""

from __future__ import annotations

import json
import sqlite3
from argparse import ArgumentParser, Namespace
from pathlib import Path

from chat.admin.command import CLEAN, FINDINGS, Unusable, add_data, counted, identifier, opening
from chat.admin.snapshot import snapshot, steadily
from chat.ledger import State
from chat.store.opener import PLAIN, Opener
from chat.times import rfc3339
from chat.wire.text_words import visible

NAME = "deadletters"
SUMMARY = "list messages whose sender and recipient are both gone"
RECORDED = True
DESCRIPTION = """\
Lists the dead letters: messages that came back when their sender was gone, too.
Each is one line: its id, when it was accepted, from whom, to whom, why it came
back, and when it became a dead letter. The server may run or not; nothing is
changed. No subject and no body is shown unless --show names the message.
"""


def configure(parser: ArgumentParser) -> None:
    """Declare the options."""
    add_data(parser)
    parser.add_argument("--show", metavar="ID", type=identifier, help="show this one, with subject and body")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="default: text")


def run(arguments: Namespace) -> int:
    """List them, or show one; status 1 if the one to be shown is none."""
    letters = dead(arguments.data, arguments.show, opening(arguments))
    if arguments.format == "json":
        for letter in letters:
            print(json.dumps(letter))
    else:
        for letter in letters:
            _print(letter)
        if arguments.show is None:
            print(counted(len(letters), "dead letter"))
    if arguments.show is not None and not letters:
        if arguments.format == "text":
            print(f"message {arguments.show} is no dead letter")
        return FINDINGS
    return CLEAN


def dead(directory: Path, id: int | None = None, opener: Opener = PLAIN) -> list[dict[str, object]]:
    """The dead letters in the order of acceptance; or the one of this id, with subject and body.

    @raise Unusable: the files cannot be read.
    """
    content = "" if id is None else ", m.subject, m.body"
    names = [
        "id",
        "time",
        "sender",
        "recipient",
        "code",
        "settled",
        *(["subject", "body"] if content else []),
    ]

    def read(_: object, shared: bool) -> list[dict[str, object]]:
        with snapshot(directory, shared, opener) as connection:
            connection.text_factory = str
            rows = connection.execute(
                f"SELECT m.id, m.time, s.name, m.addressee, m.code, m.settled{content} FROM ledger AS m"
                " LEFT JOIN users.accounts AS s ON s.id = m.sender"
                " WHERE m.state = ? AND (?2 IS NULL OR m.id = ?2) ORDER BY m.id",
                (State.DEAD, id),
            )
            return [dict(zip(names, row)) for row in rows]

    try:
        letters = steadily(directory, read, opener)
        for letter in letters:
            for moment in ("time", "settled"):
                letter[moment] = rfc3339(int(str(letter[moment])))
        return letters
    except (ValueError, sqlite3.Error) as error:
        raise Unusable(f'The files cannot be read ({error}): see what "chatctl audit" finds.') from None


def _print(letter: dict[str, object]) -> None:
    sender, recipient = visible(str(letter["sender"])), visible(str(letter["recipient"]))
    print(
        f"{letter['id']}  {letter['time']}  from {sender} to {recipient}:"
        f" {letter['code']}, dead since {letter['settled']}"
    )
    if "body" in letter:
        if letter["subject"] is not None:
            print(f"Subject: {visible(str(letter['subject']))}")
        print()
        for line in str(letter["body"]).split("\n"):
            print(visible(line))
