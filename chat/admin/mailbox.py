"""One account's mailbox as a file: JSON lines, to be imported again, or an mbox to be read elsewhere."""

from __future__ import annotations

import heapq
import mailbox
import sqlite3
import tempfile
import time
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import default
from email.utils import formatdate
from pathlib import Path
from typing import IO, Annotated, Iterator, Literal, Optional
from urllib.parse import quote

import msgspec
from msgspec import Meta, Struct

from chat.admin.command import Unusable
from chat.ledger import AUTOMATIC, RECEIPT, AccountState, State
from chat.letters import NOTES
from chat.messages import BODY_BYTES, RECIPIENT_BYTES, REF_BYTES, SUBJECT_BYTES
from chat.prepared import address
from chat.store.digest import contents_digest
from chat.times import milliseconds, rfc3339

FORMAT = 1
_CODES = {code.value for code in NOTES}
#: Larger ids are in no file that this program has written.
LARGEST_ID = 2**53


class Heading(Struct, frozen=True, rename={"format": "chat-mailbox"}):
    """The first line: whose mailbox it is."""

    format: int
    account: str


class Back(Struct, frozen=True):
    """Why a message came back, and whom it was meant for."""

    code: str
    recipient: str


class Record(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One message, in the mailbox or sent: as much of it as its owner may see.

    @ivar state: in the mailbox C{waiting} or C{delivered}; of what was sent its fate; C{removed} only of
        what came back, or was sent to oneself, and was removed.
    @ivar receipt: only of what the account itself sent, like C{ref} and C{digest}.
    """

    id: Annotated[int, Meta(ge=1, le=LARGEST_ID)]
    sender: str
    recipient: str
    time: str
    state: Literal["waiting", "delivered", "removed", "recalled"]
    returned: Optional[Back] = None
    receipt: bool = False
    automatic: bool = False
    ref: Optional[str] = None
    digest: Optional[bytes] = None
    subject: Optional[str] = None
    body: Optional[str] = None


_COLUMNS = (
    "SELECT m.id, s.name, r.name, m.time, m.state, m.code, m.addressee, m.options, m.ref, m.digest,"
    " m.subject, m.body, m.sender = ?1, m.recipient = ?1 FROM ledger AS m"
    " JOIN users.accounts AS s ON s.id = m.sender JOIN users.accounts AS r ON r.id = m.recipient "
)


def account(connection: sqlite3.Connection, name: str) -> tuple[int, str]:
    """The id and the prepared name of the account that is called so.

    @raise Unusable: there is none.
    """
    row = connection.execute(
        "SELECT id, name FROM users.accounts WHERE name = ? AND state = ?",
        (address(name), AccountState.ACTIVE),
    ).fetchone()
    if row is None:
        raise Unusable(f"There is no account called {name!a}: check the spelling.")
    id, prepared = row
    return int(id), str(prepared)


def records(connection: sqlite3.Connection, account: int) -> Iterator[Record]:
    """What is in the mailbox, and what was sent, in the order of acceptance."""
    sent = connection.execute(_COLUMNS + "WHERE m.sender = ?1 ORDER BY m.id", (account,))
    received = connection.execute(
        _COLUMNS + "WHERE m.recipient = ?1 AND m.state < 2 AND m.sender <> ?1 ORDER BY m.id", (account,)
    )
    for row in heapq.merge(sent, received, key=lambda row: row[0]):
        (
            id,
            sender,
            recipient,
            accepted,
            state,
            code,
            addressee,
            options,
            ref,
            digest,
            subject,
            body,
            *whose,
        ) = row
        mine, own = whose
        if state == State.REMOVED and not own:
            state = State.DELIVERED  # what its recipient does with it is not for the sender to see
        yield Record(
            id=id,
            sender=sender,
            recipient=recipient,
            time=rfc3339(accepted),
            state=State(state).name.lower(),  # type: ignore[arg-type]
            returned=None if code is None else Back(code, addressee),
            receipt=bool(options & RECEIPT and mine),
            automatic=bool(options & AUTOMATIC),
            ref=ref if mine else None,
            digest=_digest(digest, recipient if addressee is None else addressee, subject, body)
            if mine and ref is not None
            else None,
            subject=subject,
            body=body,
        )


def _digest(kept: bytes | None, addressee: str, subject: str | None, body: str) -> bytes:
    """What tells a repeated ref from a reused one; while the content is there, it is not kept."""
    return contents_digest(addressee, subject, body) if kept is None else kept


def write_lines(found: Iterator[Record], name: str, out: IO[bytes]) -> None:
    """As JSON lines: the heading, then a message a line."""
    out.write(msgspec.json.encode(Heading(FORMAT, name)) + b"\n")
    for record in found:
        out.write(msgspec.json.encode(record) + b"\n")


def read_lines(lines: IO[bytes], where: str, name: str) -> Iterator[Record]:
    """The messages of such a file.

    @param where: what the file is called.
    @param name: whose mailbox it has to be.
    @raise Unusable: it is none, with the number of the line.
    """
    try:
        heading = msgspec.json.decode(lines.readline(), type=Heading)
    except (msgspec.MsgspecError, UnicodeError):
        raise Unusable(f'{where} is no mailbox that "chatctl export" has written as JSON lines.') from None
    if heading.format != FORMAT:
        raise Unusable(f"{where} was written by a newer version: use the chatctl of that version.")
    if heading.account != name:
        raise Unusable(f"{where} is the mailbox of {heading.account!a}, not of {name!a}.")
    decoder = msgspec.json.Decoder(Record)
    for number, line in enumerate(lines, 2):
        try:
            record = decoder.decode(line)
            _check(record, name)
        except (msgspec.MsgspecError, ValueError) as error:
            raise Unusable(f"{where}, line {number}: {error}. Nothing was imported.") from None
        yield record


def _check(record: Record, name: str) -> None:
    """@raise ValueError: the record cannot be one of this mailbox."""
    milliseconds(record.time)
    boxed = record.recipient == name and record.state in ("waiting", "delivered")
    back = record.returned
    for wrong, why in (
        (name not in (record.sender, record.recipient), "neither from nor to this account"),
        (address(record.sender) != record.sender, "from nobody that an account could be called"),
        (address(record.recipient) != record.recipient, "to nobody that an account could be called"),
        (record.body is None and (boxed or record.state == "waiting"), "in a mailbox, but without its body"),
        (record.sender != name and not boxed, "from somebody else, but not in the mailbox"),
        (back and back.code not in _CODES, "returned for a reason that is not known"),
        (back and record.sender != record.recipient, "returned, but not to its sender"),
        (back and record.state == "recalled", "returned, but recalled"),
        (record.state == "removed" and record.recipient != name, "removed, but not from this mailbox"),
        ((record.ref is None) != (record.digest is None), "only one of ref and digest"),
        (_size(record.ref) > REF_BYTES, "its ref is too long"),
        (_size(record.subject) > SUBJECT_BYTES, "its subject is too long"),
        (_size(record.body) > BODY_BYTES, "its body is too long"),
        (
            _size(back.recipient if back else None) > RECIPIENT_BYTES,
            "the one it was meant for has too long a name",
        ),
        (
            record.sender != name and (record.ref is not None or record.receipt),
            "from somebody else, but with a ref or a receipt, which are its sender's",
        ),
    ):
        if wrong:
            raise ValueError(why)


def _size(text: str | None) -> int:
    return len((text or "").encode())


def write_mbox(found: Iterator[Record], out: IO[bytes]) -> None:
    """As an mbox, of those messages whose text is there; for other programs to read."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mbox"
        box = mailbox.mbox(file)
        for record in found:
            if record.body is not None:
                box.add(_letter(record))
        box.close()
        with open(file, "rb") as stream:
            while block := stream.read(1024 * 1024):
                out.write(block)


def _letter(record: Record) -> mailbox.mboxMessage:
    letter = EmailMessage(default.clone(cte_type="7bit"))
    seconds = milliseconds(record.time) / 1000
    letter["From"] = _address(record.sender)
    letter["To"] = _address(record.recipient)
    letter["Date"] = formatdate(seconds)
    # A header is one line; everything else of the message is unaltered in the other format only.
    letter["Subject"] = "".join(each if each.isprintable() else " " for each in record.subject or "")
    letter["Message-ID"] = f"<{record.id}@chat.invalid>"
    letter["X-Chat-State"] = record.state
    if record.automatic:
        letter["Auto-Submitted"] = "auto-generated"  # RFC 3834
    if record.returned is not None:
        letter["X-Chat-Returned"] = record.returned.code
        letter["X-Chat-Meant-For"] = quote(record.returned.recipient[:200])
    letter.set_content(record.body)
    message = mailbox.mboxMessage(letter)
    message.set_from("chat", time.gmtime(seconds))
    return message


def _address(name: str) -> Address:
    # A name may have letters that the part before the @ may not.
    return Address(display_name=name, username=quote(name, safe=""), domain="chat.invalid")
