"""What a person types after the login: lines to requests.

A command that asks back (for a subject, a body, a password) is a dialog: a
generator that is sent the lines and yields what to say before the next one.
"""

from __future__ import annotations

from typing import Callable, Generator, Union

from msgspec import Struct

from chat.errors import Code
from chat.messages import (
    BODY_BYTES,
    RECIPIENT_BYTES,
    SUBJECT_BYTES,
    Answer,
    Block,
    Blocks,
    ChangePassword,
    Delete,
    DeleteAccount,
    Failed,
    Frame,
    Incoming,
    List,
    Logout,
    Message,
    Ping,
    Quit,
    Read,
    Recovery,
    Search,
    Token,
    Unblock,
)
from chat.query import Role, about
from chat.wire.text_words import HELP, NOTHING, SEARCH_HELP, Ask, Asked, Said, beginning, visible

_LARGEST_ID = 2**63 - 1


class Step(Struct, frozen=True):
    """One thing to hand to the session; C{asked} where an answer comes back for it."""

    incoming: Incoming
    asked: Union[Asked, None] = None


#: Yields what to say before the next line, is sent that line (C{None}: it was not
#: UTF-8), and returns what to do at the end.
Dialog = Generator[list[Step], Union[str, None], list[Step]]


class GivenUp(Exception):
    """The person typed C{/cancel} in a dialog."""


def say(*lines: str) -> Step:
    """The door itself says something."""
    return Step(Answer(Said(lines=lines)))


def fail(code: Code, reason: str, asked: Asked = NOTHING) -> Step:
    """The door itself refuses something."""
    return Step(Answer(Failed(code=code.value, reason=reason)), asked)


def request(frame: Frame, asked: Asked = NOTHING) -> Step:
    """Something is asked of the session."""
    return Step(frame, asked)


def not_utf8() -> Step:
    """The refusal of a line that is no text."""
    return fail(Code.BAD_FRAME, "That line was not UTF-8 and is ignored; type it again.")


def ask(prompt: Ask, *before: Step) -> Generator[list[Step], Union[str, None], str]:
    """Say C{before}, prompt, and return the line that is typed then.

    @raise GivenUp: it was C{/cancel}.
    """
    steps = [*before, Step(Answer(prompt))]
    while (line := (yield steps)) is None:
        steps = [not_utf8(), Step(Answer(prompt))]
    if line == "/cancel":
        raise GivenUp
    return _kept(line, prompt.longest)


def _kept(text: str, most: int) -> str:
    """The text, or as much of it as shows the session that it is too long: it may be kept for hours."""
    return text[: most + 1]


PASSWORD = Ask(prompt="Password: ", hidden=True)
TOKEN = Ask(prompt="Token: ", hidden=True)
RECOVERY = Ask(prompt="Recovery code: ", hidden=True)
NEW_PASSWORD = Ask(prompt="New password: ", hidden=True)
AGAIN = Ask(prompt="Again: ", hidden=True)


def confirm_password(new: str) -> Generator[list[Step], Union[str, None], str]:
    """The new password, once it was typed twice alike; nothing typed is taken as it is."""
    while new:
        again = yield from ask(AGAIN)
        if again == new:
            break
        new = yield from ask(NEW_PASSWORD, say("The two were not the same. Type both again."))
    return new


class _Body:
    """The lines of a message while they are typed: as octets, which take the least room.

    @ivar ended: whether the line that ends them was typed.
    @ivar whole: whether all of them were UTF-8.
    @ivar size: how many bytes they have.
    """

    def __init__(self) -> None:
        self.ended = False
        self.whole = True
        self.size = -1
        self._octets = bytearray()

    def add(self, line: str | None) -> list[Step]:
        """One more line, which is not kept if it is too much; what to say to that.

        @raise GivenUp: it was C{/cancel}.
        """
        if line is None:
            self.whole = False
            return [fail(Code.BAD_FRAME, "That line was not UTF-8; this message cannot be sent.")]
        if line == "/cancel":
            raise GivenUp
        self.ended = line == "."
        if not self.ended:
            octets = (line[1:] if line.startswith("..") or line == "//cancel" else line).encode()
            self.size += 1 + len(octets)
            if self.size <= BODY_BYTES:
                self._octets += octets + b"\n"
        return []

    @property
    def text(self) -> str:
        """All of them, if they are not too many."""
        return self._octets[:-1].decode()


class Commands:
    """The commands of one login.

    @ivar me: the name that is logged in.
    @ivar correspondent: whom a bare line goes to: the last one written to, never
        whoever wrote in meanwhile, for that is how mail goes astray.
    @ivar heard: the sender of the last message shown.
    @ivar dialog: the dialog that the next line goes to.
    """

    def __init__(self, me: str) -> None:
        self.me = me
        self.correspondent = ""
        self.heard = ""
        self.dialog: Dialog | None = None
        self._receipts = True

    def typed(self, line: str | None) -> list[Step]:
        """What one line asks for; C{None} is a line that was not UTF-8."""
        if self.dialog is not None:
            return self._go_on(self.dialog, line)
        if line is None:
            return [not_utf8()]
        message = self.letter(line)
        if message is not None:
            return [request(message, Asked(recipient=message.recipient))]
        if line.startswith("/") and not line.startswith("//"):
            return self._command(line)
        if not line.strip():
            return []
        return [say("Not sent: nobody is chosen yet. Type /to NAME first; /help explains.")]

    def letter(self, line: str) -> Message | None:
        """What this line sends, outside a dialog, if it sends something."""
        if line.startswith("/") and not line.startswith("//"):
            words = line.split(None, 2)
            if len(words) < 3 or words[0].lower() != "/to":
                return None
            _, name, text = words
            self.correspondent = _kept(name, RECIPIENT_BYTES)
        elif not self.correspondent or not line.strip():
            return None
        else:
            text = line[1:] if line.startswith("//") else line
        return Message(recipient=self.correspondent, body=text, receipt=self._receipts)

    def interrupted(self) -> list[Step]:
        """The dialog is given up."""
        self.dialog = None
        return [say("Given up; nothing was sent or changed.")]

    def _go_on(self, dialog: Dialog, line: str | None) -> list[Step]:
        try:
            return dialog.send(line)
        except StopIteration as end:
            self.dialog = None
            steps: list[Step] = end.value
            return steps
        except GivenUp:
            return self.interrupted()

    def _begin(self, dialog: Dialog) -> list[Step]:
        self.dialog = dialog
        return next(dialog)

    def _command(self, line: str) -> list[Step]:
        name, *rest = line.split(None, 1)
        command = _COMMANDS.get(name[:20].lower())
        if command is None:
            return [say(f"There is no command {beginning(name)}; /help lists them all.")]
        return command(self, rest[0] if rest else "")

    def _send(self, recipient: str, body: str, subject: str | None = None) -> list[Step]:
        self.correspondent = recipient
        message = Message(recipient=recipient, subject=subject, body=body, receipt=self._receipts)
        return [request(message, Asked(recipient=recipient))]

    # --- writing ---

    def _to(self, rest: str) -> list[Step]:
        if name := rest.strip():
            self.correspondent = _kept(name, RECIPIENT_BYTES)
        elif not self.correspondent:
            return [say("Nobody is chosen yet. To choose: /to NAME")]
        return [say(f"What you type now goes to {beginning(self.correspondent)}.")]

    def _reply(self, text: str) -> list[Step]:
        if not self.heard:
            return [say("Not sent: no message was shown yet that could be replied to.")]
        if text:
            return self._send(self.heard, text)
        return self._to(self.heard)

    def _write(self, rest: str) -> list[Step]:
        names = rest.split() or [self.correspondent]
        if len(names) > 1 or not names[0]:
            return [say("To write a message of several lines: /write NAME")]
        return self._begin(self._letter(_kept(names[0], RECIPIENT_BYTES)))

    def _letter(self, recipient: str) -> Dialog:
        subject = yield from ask(
            Ask(prompt="Subject: ", longest=SUBJECT_BYTES),
            say(
                f"A message to {beginning(recipient)}. /cancel gives up."
                " Type its subject, or nothing for none."
            ),
        )
        steps = [
            say(
                'Now its lines. A line that is only "." ends and sends it; '
                "a line that begins with a dot needs one dot more."
            )
        ]
        body = _Body()
        while not body.ended:
            steps = body.add((yield steps))
        about = Asked(recipient=recipient)
        if not body.whole:
            return [fail(Code.BAD_FRAME, "One of its lines was not UTF-8.", about)]
        if body.size > BODY_BYTES:
            reason = f"The body has {body.size} bytes; a body may have at most {BODY_BYTES}."
            return [fail(Code.TOO_LARGE, reason, about)]
        return self._send(recipient, body.text, subject or None)

    # --- mailboxes ---

    def _inbox(self, rest: str) -> list[Step]:
        return self._list("inbox", rest)

    def _sent(self, rest: str) -> list[Step]:
        return self._list("sent", rest)

    def _list(self, box: str, rest: str) -> list[Step]:
        if rest.strip().lower() == "last":
            return [request(List(box=box, before=0), Asked(before=0))]
        before, others = _before(rest)
        if before and not others:
            return [request(List(box=box, before=before), Asked(before=before))]
        ids = _ids(rest)
        if ids is None or len(ids) > 1:
            return [say(f"To list it: /{box}, /{box} N for what comes after message N, or /{box} last")]
        after = ids[0] if ids else 0
        return [request(List(box=box, after=after), Asked(after=after))]

    def _history(self, rest: str) -> list[Step]:
        before, name = _before(rest)
        name = name or self.correspondent
        if not name:
            return [say("To see what you and somebody wrote to each other: /history NAME")]
        query = about(Role.WITH, name)
        return [request(Search(query=query, before=before), Asked(query=query))]

    def _search(self, rest: str) -> list[Step]:
        before, query = _before(rest)
        if not query:
            return [say("To search: /search WORDS, or /search from:NAME; /help search tells more")]
        return [request(Search(query=query, before=before), Asked(query=query))]

    def _read(self, rest: str) -> list[Step]:
        ids = _ids(rest)
        return [request(Read(ids=ids))] if ids else [say("To show messages again: /read N [N...]")]

    def _delete(self, rest: str) -> list[Step]:
        ids = _ids(rest)
        return [request(Delete(ids=ids))] if ids else [say("To remove messages: /delete N [N...]")]

    def _status(self, rest: str) -> list[Step]:
        ids = _ids(rest)
        if ids is None or len(ids) != 1 or not ids[0]:
            return [say("To learn what became of message N: /status N")]
        number = ids[0]
        return [request(List(box="sent", after=number - 1, limit=1), Asked(status=number))]

    # --- the rest ---

    def _set_receipts(self, rest: str) -> list[Step]:
        if rest.strip().lower() in ("on", "off"):
            self._receipts = rest.strip().lower() == "on"
        elif rest:
            return [say("To be told of deliveries or not: /receipts on, /receipts off")]
        if self._receipts:
            return [say("Receipts are on: you are told when what you send is delivered.")]
        return [say("Receipts are off: /status N or /sent tells what became of a message.")]

    def _passwd(self, rest: str) -> list[Step]:
        return self._begin(self._change_password())

    def _change_password(self) -> Dialog:
        present = yield from ask(PASSWORD, say("First your present password; /cancel gives up."))
        new = yield from ask(NEW_PASSWORD)
        new = yield from confirm_password(new)
        return [request(ChangePassword(password=present, new=new))]

    def _delete_account(self, rest: str) -> list[Step]:
        return self._begin(self._leave_for_good())

    def _leave_for_good(self) -> Dialog:
        warning = (
            f"Your password deletes the account {visible(self.me)}; /cancel keeps it. "
            "Messages that still wait for you go back to their senders."
        )
        password = yield from ask(PASSWORD, say(warning))
        return [request(DeleteAccount(password=password))]

    def _recovery(self, rest: str) -> list[Step]:
        return self._begin(self._renew_codes())

    def _renew_codes(self) -> Dialog:
        password = yield from ask(
            PASSWORD, say("Your password makes new recovery codes; /cancel keeps those you have.")
        )
        return [request(Recovery(password=password))]

    def _token(self, rest: str) -> list[Step]:
        return [request(Token())]

    def _log_out(self, rest: str) -> list[Step]:
        if rest.strip().lower() not in ("", "all"):
            return [say("To log out: /logout, or /logout all to revoke every token of yours")]
        return [request(Logout(all=bool(rest.strip())))]

    def _block(self, rest: str) -> list[Step]:
        name = rest.strip()
        if not name:
            return [say("To send back what somebody writes to you: /block NAME")]
        return [request(Block(username=name))]

    def _unblock(self, rest: str) -> list[Step]:
        name = rest.strip()
        if not name:
            return [say("To take messages from somebody again: /unblock NAME")]
        return [request(Unblock(username=name))]

    def _blocks(self, rest: str) -> list[Step]:
        return [request(Blocks())]

    def _ping(self, rest: str) -> list[Step]:
        return [request(Ping())]

    def _quit(self, rest: str) -> list[Step]:
        return [request(Quit())]

    def _cancel(self, rest: str) -> list[Step]:
        return [say("There is nothing to give up.")]

    def _help(self, rest: str) -> list[Step]:
        return [say(*(SEARCH_HELP if rest.strip().lower().lstrip("/") == "search" else HELP))]


_COMMANDS: dict[str, Callable[[Commands, str], list[Step]]] = {
    "/help": Commands._help,
    "/to": Commands._to,
    "/reply": Commands._reply,
    "/write": Commands._write,
    "/inbox": Commands._inbox,
    "/sent": Commands._sent,
    "/search": Commands._search,
    "/find": Commands._search,
    "/history": Commands._history,
    "/read": Commands._read,
    "/delete": Commands._delete,
    "/status": Commands._status,
    "/receipts": Commands._set_receipts,
    "/passwd": Commands._passwd,
    "/recovery": Commands._recovery,
    "/delete-account": Commands._delete_account,
    "/token": Commands._token,
    "/logout": Commands._log_out,
    "/block": Commands._block,
    "/unblock": Commands._unblock,
    "/blocks": Commands._blocks,
    "/ping": Commands._ping,
    "/quit": Commands._quit,
    "/cancel": Commands._cancel,
}
#: What a person can type after the login.
COMMAND_NAMES = tuple(_COMMANDS)


def _before(rest: str) -> tuple[int, str]:
    """The message before which to look, if a line begins with one (C{<17}; or else 0), and the rest."""
    first, _, others = rest.strip().partition(" ")
    ids = _ids(first[1:]) if first.startswith("<") else None
    return (ids[0], others.strip()) if ids and len(ids) == 1 else (0, rest.strip())


def _ids(rest: str) -> list[int] | None:
    """The message numbers in a line, C{17 18} or C{17, 18}; C{None} if they are not all numbers."""
    words = rest.replace(",", " ").split()
    if not all(word.isascii() and word.isdecimal() and len(word) < 20 for word in words):
        return None
    ids = [int(word) for word in words]
    return ids if all(number <= _LARGEST_ID for number in ids) else None
