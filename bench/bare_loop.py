"""The bare loop: the least that a durable server in this language and framework costs.

A Twisted server without rules.  It takes anybody with any password, checks no name, no
limit and no state, and keeps only what makes the comparison fair: frames of the wire
contract in JSON, every accepted message committed to SQLite (WAL, synchronous=FULL)
before its sender is told, a repeated (sender, ref) stored once, receipts applied, and
what was not confirmed delivered at the next login.

It is a yardstick, not a server: C{run.py --compare} measures it beside the real one.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import sys
import time
from collections import defaultdict
from typing import Any

import msgspec
from twisted.enterprise import adbapi
from twisted.internet import epollreactor, protocol
from twisted.internet.main import installReactor
from twisted.python import log

SCHEMA = """
CREATE TABLE IF NOT EXISTS message (
    id INTEGER PRIMARY KEY, sender TEXT NOT NULL, ref TEXT, recipient TEXT NOT NULL,
    time INTEGER NOT NULL, subject TEXT, body TEXT NOT NULL, state INTEGER NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX IF NOT EXISTS repeated ON message (sender, ref);
CREATE INDEX IF NOT EXISTS waiting ON message (recipient, id) WHERE state = 0;
"""
INSERT = """
INSERT INTO message (id, sender, ref, recipient, time, subject, body) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (sender, ref) DO NOTHING
"""
CONFIRM = "UPDATE message SET state = 1 WHERE id = ? AND recipient = ?"
PAGE = """
SELECT id, sender, recipient, time, subject, body FROM message
WHERE recipient = ? AND state = 0 AND id > ? ORDER BY id LIMIT 500
"""


class Fields(msgspec.Struct, gc=False):
    """Whatever a frame holds."""

    keyword: str = ""
    field: str = ""
    value: str = ""
    recipient: str = ""
    subject: str | None = None
    body: str = ""
    ref: str | None = None
    ids: list[int] = []


class Incoming(msgspec.Struct, gc=False):
    """One frame from a client."""

    type: str
    data: Fields


class Delivery(msgspec.Struct, gc=False, omit_defaults=True):
    """A message on its way to its recipient."""

    id: int
    sender: str
    recipient: str
    time: str
    body: str
    subject: str | None = None


decode_lines = msgspec.json.Decoder(Incoming).decode_lines
encode = msgspec.json.Encoder().encode


def system(**fields: object) -> bytes:
    """A system frame."""
    return encode({"type": "system", "data": fields}) + b"\n"


def moment(milliseconds: int) -> str:
    """RFC 3339, UTC, milliseconds."""
    seconds, rest = divmod(milliseconds, 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:03d}Z"


class Store:
    """One connection, one thread: whatever comes while it is busy makes up the next commit."""

    def __init__(self, path: str) -> None:
        self._pool = adbapi.ConnectionPool(
            "sqlite3", path, check_same_thread=False, cp_min=1, cp_max=1, cp_openfun=self._open
        )
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(SCHEMA)
            newest = connection.execute("SELECT coalesce(max(id), 0) FROM message")
            (self._last,) = newest.fetchone()
        connection.close()
        self._busy = False
        self._sends: list[tuple[Connection, Fields]] = []
        self._receipts: list[tuple[int, str]] = []
        self._after: list[tuple[Connection, bytes]] = []
        self.online: dict[str, Connection] = {}

    @staticmethod
    def _open(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA synchronous = FULL")

    def add(
        self,
        sends: list[tuple[Connection, Fields]],
        receipts: list[tuple[int, str]],
        after: list[tuple[Connection, bytes]],
    ) -> None:
        """Take part in the next commit; C{after} is written once it is on disk."""
        self._sends += sends
        self._receipts += receipts
        self._after += after
        if not self._busy:
            self._commit()

    def _commit(self) -> None:
        self._busy = True
        sends, self._sends = self._sends, []
        receipts, self._receipts = self._receipts, []
        after, self._after = self._after, []
        now = int(time.time() * 1000)
        rows = [
            (number, peer.name, fields.ref, fields.recipient, now, fields.subject, fields.body)
            for number, (peer, fields) in enumerate(sends, self._last + 1)
        ]
        self._last += len(rows)
        done = self._pool.runInteraction(self._write, rows, receipts)
        done.addCallback(self._committed, sends, rows, moment(now), after)
        done.addErrback(log.err)

    @staticmethod
    def _write(cursor: Any, rows: list[tuple[Any, ...]], receipts: list[tuple[int, str]]) -> dict[int, int]:
        """Store the lot.

        @return: for each id that was not needed, since its ref was there, the first one.
        """
        if receipts:
            cursor.executemany(CONFIRM, receipts)
        repeated = {}
        if rows:
            cursor.executemany(INSERT, rows)
            if cursor.rowcount < len(rows):
                for row in rows:
                    find = "SELECT id FROM message WHERE sender = ? AND ref = ?"
                    first = cursor.execute(find, row[1:3]).fetchone()
                    if first is not None and first[0] != row[0]:
                        repeated[row[0]] = first[0]
        return repeated

    def _committed(
        self,
        repeated: dict[int, int],
        sends: list[tuple[Connection, Fields]],
        rows: list[tuple[Any, ...]],
        now: str,
        after: list[tuple[Connection, bytes]],
    ) -> None:
        """Answer the senders and write to the recipients, one write for each peer."""
        out: defaultdict[Connection, list[bytes]] = defaultdict(list)
        online = self.online
        answer = (
            b'{"type":"system","data":{"keyword":"accepted","ref":%b,"id":%d,"time":"'
            + now.encode()
            + b'","state":"waiting"}}\n'
        )
        for (peer, fields), row in zip(sends, rows):
            number = row[0]
            if number in repeated:
                out[peer].append(answer % (encode(fields.ref), repeated[number]))
                continue
            out[peer].append(answer % (encode(fields.ref), number))
            recipient = online.get(fields.recipient)
            if recipient is not None:
                delivery = Delivery(number, row[1], row[3], now, fields.body, fields.subject)
                out[recipient].append(b'{"type":"message","data":%b}\n' % encode(delivery))
        for peer, line in after:
            out[peer].append(line)
        for peer, lines in out.items():
            peer.transport.write(b"".join(lines))
        self._busy = False
        if self._sends or self._receipts or self._after:
            self._commit()

    def log_in(self, peer: Connection) -> None:
        """Greet and deliver what waits, page by page; from then on the peer is online."""
        count = "SELECT count(*) FROM message WHERE recipient = ? AND state = 0"

        def ask(shown: int) -> None:
            page = self._pool.runQuery(PAGE, (peer.name, shown))
            page.addCallback(deliver).addErrback(log.err)

        def welcome(rows: list[tuple[int]]) -> None:
            peer.transport.write(system(keyword="welcome", username=peer.name, waiting=rows[0][0]))
            ask(0)

        def deliver(rows: list[tuple[Any, ...]]) -> None:
            if not rows:
                self.online[peer.name] = peer
                return
            lines = [
                b'{"type":"message","data":%b}\n'
                % encode(Delivery(number, sender, recipient, moment(at), body, subject))
                for number, sender, recipient, at, subject, body in rows
            ]
            peer.transport.write(b"".join(lines))
            ask(rows[-1][0])

        self._pool.runQuery(count, (peer.name,)).addCallback(welcome).addErrback(log.err)


class Connection(protocol.Protocol):
    """One client."""

    transport: Any
    factory: Any

    def connectionMade(self) -> None:
        """Speak first."""
        self.name = ""
        self._rest = b""
        self.transport.setTcpNoDelay(True)
        self.transport.write(
            system(keyword="version", protocol=1, server="bare loop") + system(keyword="username")
        )

    def dataReceived(self, piece: bytes) -> None:
        """Take everything that is whole."""
        piece = self._rest + piece
        end = piece.rfind(b"\n") + 1
        self._rest = piece[end:]
        if not end:
            return
        sends = []
        receipts: list[tuple[int, str]] = []
        after = []
        for frame in decode_lines(piece[:end]):
            fields = frame.data
            if frame.type == "message":
                sends.append((self, fields))
            elif fields.keyword == "received":
                name = self.name
                receipts += [(number, name) for number in fields.ids]
            elif fields.keyword == "ping":
                after.append((self, system(keyword="pong")))
            elif fields.field == "username":
                self.name = fields.value
                self.transport.write(system(keyword="password"))
            elif fields.field == "password":
                self.factory.store.log_in(self)
        if sends or receipts or after:
            self.factory.store.add(sends, receipts, after)

    def connectionLost(self, reason: object = None) -> None:
        """Forget the client."""
        online = self.factory.store.online
        if online.get(self.name) is self:
            del online[self.name]


class Factory(protocol.Factory):
    """What the connections share."""

    noisy = False

    def __init__(self, store: Store) -> None:
        self.store = store

    def buildProtocol(self, addr: object) -> Connection:
        """Take anybody."""
        connection = Connection()
        connection.factory = self
        return connection


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description="The yardstick for the real server.")
    parser.add_argument("--data", required=True, help="a folder for messages.db")
    options = parser.parse_args()
    reactor: Any = epollreactor.EPollReactor()
    installReactor(reactor)
    log.startLogging(sys.stderr)
    store = Store(os.path.join(options.data, "messages.db"))
    port = reactor.listenTCP(0, Factory(store), backlog=128, interface="127.0.0.1")
    log.msg(f"json door listening on 127.0.0.1:{port.getHost().port}")
    reactor.run()


if __name__ == "__main__":
    main()
