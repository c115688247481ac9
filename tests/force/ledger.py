"""The files of a server that was ended: audited, and read for what the clients know of them."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Iterable

from chat.admin.audit import audit
from tests.force.books import Broken, Row
from tests.force.server import pages_of


def leave_copy(data: Path, copied: Path) -> None:
    """Keep the files as they are at this moment; no server may be using them."""
    copied.mkdir()
    for file in pages_of(data):
        shutil.copyfile(file, copied / file.name)


def audited(data: Path) -> None:
    """What C{chatctl audit} says of these files is: nothing.

    @raise Broken: it found something.
    """
    report = audit(data)
    with report.findings as findings:
        if report.number:
            raise Broken("".join(findings))


def rows(data: Path, after: int, also: Iterable[int]) -> list[Row]:
    """The messages behind this id, and these."""
    with closing(sqlite3.connect(data / "messages.db")) as connection:
        connection.execute("ATTACH ? AS users", (str(data / "users.db"),))
        found = connection.execute(
            "SELECT ledger.id, s.name, r.name, ref, ledger.state = 0 FROM ledger"
            " JOIN users.accounts s ON s.id = sender JOIN users.accounts r ON r.id = recipient"
            " WHERE ledger.id > ?1 OR ledger.id IN (SELECT value FROM json_each(?2))",
            (after, json.dumps(list(also))),
        )
        return [
            Row(id, sender, recipient, ref, bool(waiting)) for id, sender, recipient, ref, waiting in found
        ]
