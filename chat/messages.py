"""The vocabulary: one frozen type for each frame that server and client exchange.

This is the only declaration of the frames.  The JSON codec, the DER codec and
the ASN.1 schema are all derived from it, so a field is added here and nowhere
else (and in C{chat/wire/chat.asn1}, the normative text, which tests hold against
these types).

On the wire a frame has a C{type} (C{system}, C{login} or C{message}) and
C{data}; a system frame's data carry a C{keyword}.  Here the Python type stands
for both: L{Ping} I{is} C{{"type": "system", "data": {"keyword": "ping"}}}.

The order of the classes in L{SYSTEM} and of the fields in each class is the
order of their ASN.1 tags: add at the end, never reorder.
"""

from __future__ import annotations

from typing import Annotated, Optional, Union

from msgspec import Meta, Struct

PROTOCOL_VERSION = 1

#: Limits of protocol.rst, all in bytes of UTF-8.
SUBJECT_BYTES = 256
BODY_BYTES = 64 * 1024
REF_BYTES = 64
RECIPIENT_BYTES = 4 * 1024
#: The largest frame a client may send, before and after it has logged in.
LOGIN_FRAME_BYTES = 4 * 1024
USER_FRAME_BYTES = 512 * 1024
#: The most ids one C{read} may name.
READ_IDS = 100
QUERY_BYTES = 1024

_LARGEST = 2**63 - 1

#: A number from 0 to 2**63 - 1: an id, a count, a protocol version, seconds.
Number = Annotated[int, Meta(ge=0, le=_LARGEST)]
#: A moment, RFC 3339 in UTC with milliseconds: C{2026-11-22T21:07:00.123Z}.
#: DER carries it as an INTEGER of milliseconds since 1970-01-01 UTC.
Time = Annotated[
    str,
    Meta(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z\Z",
        extra={"der": "milliseconds"},
    ),
]
#: How many entries a C{list} asks for, and a C{search}.
Limit = Annotated[int, Meta(ge=1, le=1000)]
FoundLimit = Annotated[int, Meta(ge=1, le=100)]


class Frame(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What every frame is. No frame can be part of a cycle, so none is tracked for collection."""


# --- login ---------------------------------------------------------------------------


class Login(Frame, frozen=True, kw_only=True):
    """One answer to a prompt; C{field} says which.

    C{username} or C{password}; before the name C{invite}; in place of the password C{token} or C{recovery}.
    C{codes}: if this makes an account, give me recovery codes for it.
    """

    field: str
    value: str
    codes: bool = False

    def __repr__(self) -> str:
        """Name the field only: the value may be a secret, and a repr may be logged."""
        return f"Login(field={self.field!r})"


# --- message -------------------------------------------------------------------------


class Returned(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Why a message came back: the code, whom it was meant for, and a sentence."""

    code: str
    recipient: str
    note: str


class Message(Frame, frozen=True, kw_only=True):
    """A message, in both directions.

    A client gives C{recipient} and C{body}, and may give C{subject}, C{ref} (its
    own identifier, which makes repeating the send harmless) and C{receipt} (tell
    me when it was delivered).  The server gives C{id}, C{sender} and C{time} with
    it; C{returned} when the message came back; C{again} when it may have been
    shown before without being confirmed; and C{state} in the answer to C{read}.
    C{automatic}: a program wrote it, and nobody asked for it; no program is to answer it.
    C{answers}: from a client only, the id of the message in its mailbox that this one answers.
    """

    id: Number = 0
    sender: str = ""
    recipient: str
    time: Time = ""
    subject: Optional[str] = None
    body: str
    ref: Optional[str] = None
    receipt: bool = False
    returned: Optional[Returned] = None
    again: bool = False
    state: str = ""
    automatic: bool = False
    answers: Number = 0


# --- system: the server's prompts and answers to them ---------------------------------


class System(Frame, frozen=True, kw_only=True, tag_field="keyword"):
    """What every system frame is: its Python type is its keyword."""


class Version(System, frozen=True, kw_only=True, tag="version"):
    """The server's first word: protocol version and the software's name and version."""

    protocol: Number
    server: str


class Username(System, frozen=True, kw_only=True, tag="username"):
    """Prompt: who are you?"""


class Password(System, frozen=True, kw_only=True, tag="password"):
    """Prompt: the password of the account just named."""


class NewPassword(System, frozen=True, kw_only=True, tag="new-password"):
    """Prompt: the name is free; choose the password of the account to be created."""


class Created(System, frozen=True, kw_only=True, tag="created"):
    """The account was created under this (prepared) name; a login follows.

    C{recovery}: codes with which a forgotten password can be replaced, told this once.
    """

    username: str
    recovery: list[str] = []

    def __repr__(self) -> str:
        """Leave the codes out: a repr may be logged."""
        return f"Created(username={self.username!r})"


class Welcome(System, frozen=True, kw_only=True, tag="welcome"):
    """Logged in, as this (prepared) name, with so many messages waiting."""

    username: str
    waiting: Number


class Failed(System, frozen=True, kw_only=True, tag="failed"):
    """A refusal; the session goes on.  C{seconds}: try again after so long."""

    code: str
    reason: str
    ref: Optional[str] = None
    seconds: Optional[Number] = None


class Fatal(System, frozen=True, kw_only=True, tag="fatal"):
    """The session cannot go on; the connection closes after this frame."""

    code: str
    reason: str


# --- system: messages and mailboxes ----------------------------------------------------


class Accepted(System, frozen=True, kw_only=True, tag="accepted"):
    """The message is on disk; C{state} is its fate so far."""

    ref: Optional[str] = None
    id: Number
    time: Time
    state: str


class Received(System, frozen=True, kw_only=True, tag="received"):
    """The recipient's client confirms: these messages need not come again."""

    ids: list[Number]


class Delivered(System, frozen=True, kw_only=True, tag="delivered"):
    """To the sender who asked for a receipt: the recipient has confirmed these."""

    ids: list[Number]
    time: Time


class Delete(System, frozen=True, kw_only=True, tag="delete"):
    """Remove from the own mailbox, or recall what I sent and still waits."""

    ids: list[Number]


class Deleted(System, frozen=True, kw_only=True, tag="deleted"):
    """What L{Delete} did, and the ids it could do nothing about."""

    ids: list[Number]
    missing: list[Number]


class List(System, frozen=True, kw_only=True, tag="list"):
    """Ask for the entries of a box (C{inbox} or C{sent}) with an id above C{after}, oldest first.

    With C{before}, instead: those with an id below it, newest first; 0 is above all ids.
    """

    box: str
    after: Number = 0
    limit: Limit = 100
    before: Optional[Number] = None


class Entry(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One line of a listing: a message without its body.

    C{excerpt}: only of what was searched for, the body around the first of the words.
    """

    id: Number
    sender: str
    recipient: str
    time: Time
    subject: Optional[str] = None
    state: str
    returned: Optional[Returned] = None
    excerpt: Optional[str] = None


class Listing(System, frozen=True, kw_only=True, tag="listing"):
    """The answer to L{List}; C{more} tells whether entries follow the last one."""

    box: str
    messages: list[Entry]
    more: bool


class Read(System, frozen=True, kw_only=True, tag="read"):
    """Ask for whole messages, at most L{READ_IDS} at once."""

    ids: list[Number]


class Messages(System, frozen=True, kw_only=True, tag="messages"):
    """The answer to L{Read}."""

    messages: list[Message]
    missing: list[Number]


# --- system: the account, and the connection --------------------------------------------


class DeleteAccount(System, frozen=True, kw_only=True, tag="delete-account"):
    """Delete my account; the password is asked again, here."""

    password: str

    def __repr__(self) -> str:
        """Leave the password out: a repr may be logged."""
        return "DeleteAccount()"


class AccountDeleted(System, frozen=True, kw_only=True, tag="account-deleted"):
    """The account is gone and its waiting messages are on their way back."""


class Ping(System, frozen=True, kw_only=True, tag="ping"):
    """Are you there?"""


class Pong(System, frozen=True, kw_only=True, tag="pong"):
    """Yes; everything asked before is answered."""


class Quit(System, frozen=True, kw_only=True, tag="quit"):
    """Answer what I asked, then close."""


class Bye(System, frozen=True, kw_only=True, tag="bye"):
    """Everything is answered; the connection closes."""


class ChangePassword(System, frozen=True, kw_only=True, tag="change-password"):
    """Replace my password; the present one is asked again, here."""

    password: str
    new: str

    def __repr__(self) -> str:
        """Leave both passwords out: a repr may be logged."""
        return "ChangePassword()"


class PasswordChanged(System, frozen=True, kw_only=True, tag="password-changed"):
    """The new password is in force."""


class Token(System, frozen=True, kw_only=True, tag="token"):
    """Give me a token, with which this account can log in without its password."""


class TokenIssued(System, frozen=True, kw_only=True, tag="token-issued"):
    """The token, told this once, and when it ends if it is not revoked before."""

    value: str
    expires: Time

    def __repr__(self) -> str:
        """Leave the token out: a repr may be logged."""
        return f"TokenIssued(expires={self.expires!r})"


class Logout(System, frozen=True, kw_only=True, tag="logout"):
    """End this login and revoke its tokens; C{all}: every token of the account."""

    all: bool = False


class LoggedOut(System, frozen=True, kw_only=True, tag="logged-out"):
    """The tokens are revoked; the session is before the login again."""


class Recovery(System, frozen=True, kw_only=True, tag="recovery"):
    """Give me new recovery codes in place of those I have; the password is asked again, here."""

    password: str

    def __repr__(self) -> str:
        """Leave the password out: a repr may be logged."""
        return "Recovery()"


class RecoveryCodes(System, frozen=True, kw_only=True, tag="recovery-codes"):
    """The codes, told this once; each of them replaces a forgotten password one time."""

    codes: list[str]

    def __repr__(self) -> str:
        """Leave the codes out: a repr may be logged."""
        return "RecoveryCodes()"


class Block(System, frozen=True, kw_only=True, tag="block"):
    """Take no more messages from this account: they go back to it."""

    username: str


class Unblock(System, frozen=True, kw_only=True, tag="unblock"):
    """Take messages from this account again."""

    username: str


class Blocks(System, frozen=True, kw_only=True, tag="blocks"):
    """Whom have I blocked?"""


class Blocked(System, frozen=True, kw_only=True, tag="blocked"):
    """The names of those whose messages this account does not take."""

    usernames: list[str]


class Search(System, frozen=True, kw_only=True, tag="search"):
    """Ask for what in the own mailbox, and of what one sent, a query (see L{chat.query}) finds.

    C{box}: only in this one; C{before}: only with an id below this one; 0 is above all ids.
    """

    query: str
    box: Optional[str] = None
    before: Number = 0
    limit: FoundLimit = 20

    def __repr__(self) -> str:
        """Leave the query out: it tells what is in the mailbox, and a repr may be logged."""
        return f"Search(box={self.box!r})"


class Found(System, frozen=True, kw_only=True, tag="found"):
    """The answer to L{Search}, newest first; C{more} tells whether others follow the last one.

    C{incomplete}: older messages were not looked through, since the index of them is still being made.
    """

    messages: list[Entry]
    more: bool
    incomplete: bool = False


#: Every system frame, in the order of their ASN.1 tags.
SYSTEM: tuple[type[System], ...] = (
    Version,
    Username,
    Password,
    NewPassword,
    Created,
    Welcome,
    Failed,
    Fatal,
    Accepted,
    Received,
    Delivered,
    Delete,
    Deleted,
    List,
    Listing,
    Read,
    Messages,
    DeleteAccount,
    AccountDeleted,
    Ping,
    Pong,
    Quit,
    Bye,
    ChangePassword,
    PasswordChanged,
    Token,
    TokenIssued,
    Logout,
    LoggedOut,
    Recovery,
    RecoveryCodes,
    Block,
    Unblock,
    Blocks,
    Blocked,
    Search,
    Found,
)


class Answer(Struct, frozen=True):
    """What a door has to say itself in answer to something it was sent.

    It takes its turn among the session's own answers: a refusal of bytes that
    were no frame (L{Failed}, L{Fatal}), or a text door's help page.
    """

    frame: Frame


#: What a door hands to a session.
Incoming = Union[Frame, Answer]


def keyword(frame: System | type[System]) -> str:
    """The keyword that stands for a system frame on the wire."""
    tag = frame.__struct_config__.tag
    assert isinstance(tag, str)
    return tag
