"""What a person is told, in words: frames to lines of text.

What comes from others is shown with everything that could steer a terminal or
deceive its reader made visible, and the lines of a body are marked, so that
nobody can send something that looks like a prompt or like another message.
Every line can be understood alone, as a screen reader speaks it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Iterable, Union

from msgspec import Struct

from chat.messages import (
    LOGIN_FRAME_BYTES,
    Blocked,
    Deleted,
    Entry,
    Failed,
    Found,
    Frame,
    Listing,
    Message,
    TokenIssued,
)

#: C0, DEL and C1 controls; line and paragraph separators; all characters that are
#: invisible or change the order of what follows (Default_Ignorable_Code_Point, but
#: not the variation selectors, which emoji and names need); surrogates.
_UNSAFE = (
    (0x0, 0x1F),
    (0x5C, 0x5C),
    (0x7F, 0x9F),
    (0xAD, 0xAD),
    (0x34F, 0x34F),
    (0x61C, 0x61C),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x200B, 0x200F),
    (0x2028, 0x202E),
    (0x2060, 0x206F),
    (0x3164, 0x3164),
    (0xD800, 0xDFFF),
    (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFFB),
    (0x13430, 0x1345F),
    (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A),
    (0xE0000, 0xE00FF),
    (0xE01F0, 0xE0FFF),
)


def _spelled(code: int) -> str:
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


#: Ranges with more characters than this are spelled one by one, as they come: a table with those, too, would
#: have six thousand entries, a megabyte, for what nearly nobody sends.
_WIDE = 0x80
#: What is shown instead of all others, for L{str.translate}.
_SPELLED = {
    code: _spelled(code) for first, last in _UNSAFE if last - first < _WIDE for code in range(first, last + 1)
}
_SPELLED |= {ord("\\"): "\\\\", ord("\t"): "\\t", ord("\n"): "\\n", ord("\r"): "\\r"}
#: The same for a text whose line ends are kept.
_SPELLED_IN_LINES = {code: spelled for code, spelled in _SPELLED.items() if code != ord("\n")}

#: So many characters of a name or a command are repeated to the one who typed it.
_LONGEST = 100


def _any_of(ranges: Iterable[tuple[int, int]]) -> re.Pattern[str]:
    """A pattern for any of these characters."""
    characters = "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges)
    return re.compile(f"[{characters}]")


#: Any of them, and any that must be spelled out in a text whose line ends are kept.
_STEERS = _any_of(_UNSAFE)
_STEERS_IN_LINES = _any_of(((0x0, 0x9), (0xB, 0x1F), *_UNSAFE[1:]))
#: Any of those that are in no table.
_TABLELESS = _any_of((first, last) for first, last in _UNSAFE if last - first >= _WIDE)
#: Any that JSON does not escape by itself.
_STEERS_IN_JSON = _any_of(_UNSAFE[2:])
#: The characters of ASCII that stand for themselves, on one line and on several.
_PLAIN = bytes(code for code in range(0x80) if code not in _SPELLED)
_PLAIN_IN_LINES = _PLAIN + b"\n"

_FATES = {
    "waiting": "waiting",
    "delivered": "delivered",
    "returned": "returned to its sender",
    "recalled": "recalled",
    "dead": "returned, but its sender is gone",
}

HELP = (
    "Commands, one a line:",
    "  /to NAME          write to NAME from now on",
    "  /to NAME TEXT     send TEXT to NAME, and write to NAME from now on",
    "  TEXT              send TEXT to the one you last wrote to",
    "  //TEXT            the same, for a text that begins with a slash: /TEXT",
    "  /reply TEXT       send TEXT to the sender of the last message shown",
    "  /write NAME       send a message with a subject and several lines",
    "  /inbox [AFTER]    list your mailbox, from the start or after message AFTER",
    "  /inbox last       list it from the newest message back",
    "  /sent [AFTER]     list what you sent, and what became of it; also /sent last",
    "  /history NAME     what you and NAME wrote to each other, the newest first",
    "  /search WORDS     find messages; /help search tells how",
    "  /read N [N...]    show messages again",
    "  /delete N [N...]  remove messages; of those you sent, recall what still waits",
    "  /status N         what became of message N, which you sent",
    "  /receipts on|off  tell me, or do not, when what I send is delivered",
    "  /passwd           change your password",
    "  /recovery         get new recovery codes, for when you forget your password",
    "  /token            get a token that can be used in place of your password",
    "  /logout [all]     log out and revoke this login's tokens, or all of yours",
    "  /block NAME       send back what NAME writes to you from now on",
    "  /unblock NAME     take it again",
    "  /blocks           list whom you have blocked",
    "  /delete-account   delete your account",
    "  /ping             ask whether the server is there",
    "  /quit             leave; what comes meanwhile waits for you",
    r"In what others wrote, \x1b and the like stand for control characters.",
    r"A backslash that others wrote is shown as \\.",
)

SEARCH_HELP = (
    "/search (or /find) looks through your mailbox and what you sent, newest first:",
    "  /search WORD WORD...      messages with all of these words, in any order",
    '  /search "A PHRASE"        with these words in a row',
    "  /search BEGINNING*        with a word that begins like this",
    "  /search from:NAME         from NAME; to:NAME and with:NAME likewise",
    "  /search subject:WORD      with this word in the subject",
    "  /search since:2026-11-01  from this day on; until:2026-11-22: up to this day",
    "  /search WORD -WORD        with the first, but without the second word",
    "  /search <N WORDS          only messages older than message N",
    "All of this can be combined. Case and accents make no difference.",
)


class Asked(Struct, frozen=True, gc=False):
    """What a request was about, so that its answer can be put in words.

    @ivar recipient: of a message.
    @ivar after: of a listing, the id it began after.
    @ivar status: of C{/status}, the id it named.
    @ivar lost: whether messages are read because the client did not show them.
    @ivar query: what was searched for.
    @ivar before: of a listing from the newest message back, the id it began before; 0: with the newest.
    """

    recipient: str = ""
    after: int = 0
    status: int = 0
    lost: bool = False
    query: str = ""
    before: Union[int, None] = None


#: Of a request whose answer says everything itself.
NOTHING = Asked()


def visible(text: str) -> str:
    """The text with what must not reach a terminal spelled out, on one line.

    A backslash is doubled, so that nothing else can look like that spelling.
    """
    return text if _harmless(text, _PLAIN, _STEERS) else _spell(text, _SPELLED)


def escaped(text: str) -> str:
    """JSON in which what must not reach a terminal is escaped: to whoever reads JSON it is the same."""
    return _STEERS_IN_JSON.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join("\\u" + units[start : start + 4] for start in range(0, len(units), 4))


def _harmless(text: str, plain: bytes, steers: re.Pattern[str]) -> bool:
    """Whether all of a text can be shown as it is: nearly always, and soon found out."""
    if text.isascii():
        return not text.encode().translate(None, plain)
    return steers.search(text) is None


def _spell(text: str, spelled: dict[int, str]) -> str:
    """The text with all that this table has spelled out, and all that is in none."""
    if tableless := set(_TABLELESS.findall(text)):
        spelled = spelled | {ord(each): _spelled(ord(each)) for each in tableless}
    return text.translate(spelled)


def beginning(text: str) -> str:
    """Of what the reader typed, as much as a name or a command may have, visible."""
    return visible(text) if len(text) <= _LONGEST else f"{visible(text[:_LONGEST])}..."


@lru_cache(maxsize=64)  # what arrives together has the same time
def moment(time: str) -> str:
    """A L{chat.messages.Time} for a reader: date, time to the second, UTC."""
    return f"{time[:10]} {time[11:19]} UTC"


def message(frame: Message, me: str, *, again: bool = False) -> list[str]:
    """A message that is shown: a line that says whose, when and what about, then the body's lines, in one.

    @param me: the name of the account that is shown it.
    @param again: it may have been shown before.
    """
    head = f"Message {frame.id}{' (again)' if again else ''}"
    if frame.returned is not None:
        back = frame.returned
        head += (
            f' to "{visible(back.recipient)}" came back, not delivered: {visible(back.note)}'
            f" ({visible(back.code)}); sent {moment(frame.time)}"
        )
    else:
        to = f" to {visible(frame.recipient)}" if frame.recipient != me else ""
        head += f" from {visible(frame.sender)}{to}, {moment(frame.time)}"
    if frame.automatic:
        head += ", automatic"
    if frame.state:
        head += f", {_fate(frame.state)}"
    return [head + _subject(frame.subject), *_marked(frame.body)]


def _marked(body: str) -> list[str]:
    """The lines of a body, visible and marked; all in one text, for there may be 65,536 of them."""
    if not body:
        return []
    if not _harmless(body, _PLAIN_IN_LINES, _STEERS_IN_LINES):
        body = _spell(body.replace("\r\n", "\n"), _SPELLED_IN_LINES)
    return ["| " + body.replace("\n", "\n| ")]


def _subject(subject: str | None) -> str:
    return "" if subject is None else f", subject: {visible(subject)}"


def _fate(state: str) -> str:
    return _FATES.get(state, visible(state))


def fate(number: int, recipient: str, state: str, at: str = "") -> str:
    """What has become of a message: C{Message 17 to bob: waiting.}"""
    to = f" to {visible(recipient)}" if recipient else ""
    return f"Message {number}{to}: {_fate(state)}{at and f', {at}'}."


def deleted(frame: Deleted) -> list[str]:
    """What was deleted, and what could not be."""
    lines = [f"Deleted: {_numbered(frame.ids)}."] if frame.ids else []
    if frame.missing:
        lines.append(
            f"Not deleted: {_numbered(frame.missing)}."
            " Neither in your mailbox, nor sent by you and still waiting."
        )
    return lines


def missing(ids: list[int]) -> str:
    """Which messages there are not."""
    return f"Not in your mailbox: {_numbered(ids)}."


def _numbered(ids: list[int]) -> str:
    return f"message{'s' * (len(ids) > 1)} {', '.join(map(str, ids))}"


def failed(frame: Failed, asked: Asked) -> str:
    """A refusal, what it refused, and when to try again."""
    what = f"Not sent to {beginning(asked.recipient)}" if asked.recipient else "Failed"
    later = ""
    if frame.seconds is not None:
        later = f" Try again in {frame.seconds} second{'s' * (frame.seconds != 1)}."
    return f"{what}: {visible(frame.reason)} ({visible(frame.code)}){later}"


def listing(frame: Listing, asked: Asked) -> list[str]:
    """A box, one line an entry, and how to see the next page."""
    if asked.status:
        return [_status(frame, asked.status)]
    inbox = frame.box == "inbox"
    if not frame.messages:
        if asked.after:
            return [f"Nothing after message {asked.after} {_where(inbox)}."]
        if asked.before:
            return [f"Nothing before message {asked.before} {_where(inbox)}."]
        return ["Your inbox is empty." if inbox else "You have sent nothing."]
    lines = [_entry(entry, inbox) for entry in frame.messages]
    if frame.more:
        which = f"{'inbox' if inbox else 'sent'} {'' if asked.before is None else '<'}"
        lines.append(f"There is more: /{which}{frame.messages[-1].id}")
    return lines


def _where(inbox: bool) -> str:
    return "in your inbox" if inbox else "among what you sent"


def _entry(entry: Entry, inbox: bool) -> str:
    back = entry.returned
    recipient = entry.recipient if back is None else back.recipient
    if not inbox:
        who = f"Sent {entry.id} to {visible(recipient)}"
    elif back is not None:
        who = f'Inbox {entry.id}, came back from "{visible(recipient)}" ({visible(back.code)})'
    else:
        who = f"Inbox {entry.id} from {visible(entry.sender)}"
    return f"{who}, {moment(entry.time)}, {_fate(entry.state)}{_subject(entry.subject)}"


def found(frame: Found, me: str, asked: Asked) -> list[str]:
    """What a search has found, two lines for each message, and how to see more.

    @param me: the name of the account that has searched.
    """
    lines: list[str] = []
    for entry in frame.messages:
        lines.append(_entry(entry, not _is_sent(entry, me)))
        if entry.excerpt is not None:
            lines.append(f"| {visible(entry.excerpt)}")
    if not lines:
        lines.append("Nothing found.")
    elif frame.more:
        lines.append(f"There is more: /search <{frame.messages[-1].id} {beginning(asked.query)}")
    if frame.incomplete:
        lines.append("Some messages were not looked through: the index is still being made. Try again later.")
    return lines


def _is_sent(entry: Entry, me: str) -> bool:
    """Whether this is one that the reader sent, and not one in the own mailbox."""
    return entry.sender == me and entry.recipient != me and entry.returned is None


def _status(frame: Listing, number: int) -> str:
    for entry in frame.messages:
        if entry.id == number:
            back = entry.returned
            if back is None:
                return fate(number, entry.recipient, entry.state)
            why = f"{_fate(entry.state)}: {visible(back.note)} ({visible(back.code)})"
            return f"Message {number} to {visible(back.recipient)}: {why}"
    return f"You have sent no message {number}."


#: The answer to C{/logout}.
LOGGED_OUT = "You are logged out."


def token(frame: TokenIssued) -> list[str]:
    """A token, and what can be done with it."""
    return [
        f"Token, until {moment(frame.expires)}: {visible(frame.value)}",
        "Whoever has it can log in as you: in place of the user name, type /token NAME.",
    ]


def recovery_codes(codes: Iterable[str]) -> list[str]:
    """Codes for a forgotten password, and what is to be done with them."""
    return [
        "Your recovery codes. Write them down now: they are not shown again. If you forget your",
        "password, each of them lets you choose a new one, once.",
        *(f"  {visible(code)}" for code in codes),
    ]


def blocked(frame: Blocked) -> str:
    """Whose messages go back."""
    if not frame.usernames:
        return "You have blocked nobody."
    return f"Blocked: {', '.join(map(visible, frame.usernames))}."


def waiting(count: int) -> str:
    """How many messages wait."""
    if count == 0:
        return "No messages are waiting."
    return "1 message is waiting." if count == 1 else f"{count} messages are waiting."


# --- what the door says itself: frames that no other codec has --------------------------


class Said(Frame, frozen=True, kw_only=True):
    """Lines of the door's own, shown as they are."""

    lines: tuple[str, ...]


class Ask(Frame, frozen=True, kw_only=True):
    """A prompt; what is typed after it is hidden where the client can do that.

    @ivar longest: an answer of more bytes than that is refused, whatever it says.
    """

    prompt: str
    hidden: bool = False
    longest: int = LOGIN_FRAME_BYTES


class Octets(Frame, frozen=True, kw_only=True):
    """Telnet's own; C{flushed}: the client has thrown away what it was sent before this."""

    octets: bytes
    flushed: bool = False
