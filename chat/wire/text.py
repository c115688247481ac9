"""The text door: for people, with telnet or nc or anything that sends lines.

Whatever is shown is appended and never redrawn, so that a screen reader can
follow, and so that it can be kept as a transcript.  When a message arrives while
a prompt waits, it is shown on lines of its own and the prompt is repeated.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Any, Callable, Sequence

from chat.errors import FatalError
from chat.messages import (
    LOGIN_FRAME_BYTES,
    READ_IDS,
    Accepted,
    AccountDeleted,
    Answer,
    Blocked,
    Bye,
    Created,
    DeleteAccount,
    Deleted,
    Delivered,
    Failed,
    Fatal,
    Found,
    Frame,
    Incoming,
    Listing,
    LoggedOut,
    Login,
    Logout,
    Message,
    Messages,
    NewPassword,
    Password,
    PasswordChanged,
    Pong,
    Quit,
    Read,
    Received,
    RecoveryCodes,
    TokenIssued,
    Username,
    Version,
    Welcome,
)
from chat.wire import text_words as words
from chat.wire.telnet import (
    AYT,
    AYT_ANSWER,
    DO,
    IAC,
    IP,
    TIMING_MARK,
    WILL,
    WONT,
    Options,
    TelnetLines,
)
from chat.wire.text_commands import (
    NEW_PASSWORD,
    PASSWORD,
    Commands,
    Step,
    request,
)
from chat.wire.text_login import USERNAME, LoginLines
from chat.wire.text_paper import Paper
from chat.wire.text_shown import Shown
from chat.wire.text_words import NOTHING, Ask, Asked, Octets, Said, visible
from chat.wire.translator import FRAMES_AT_ONCE, REFUSALS_AT_ONCE, refuse

#: What comes of bytes that ask for nothing.
_NOTHING_TO_SAY = Answer(Octets(octets=b""))
#: Of how many sent messages the recipient is remembered until they are delivered.
_REMEMBERED = 1000


class TextTranslator:
    """One person's way of talking; see L{chat.wire.translator.Translator}."""

    def __init__(self) -> None:
        self._lines = TelnetLines()
        self._options = Options()
        self._paper = Paper(self._lines, self._options)
        self._shown = Shown(self._lines)
        self._ready: deque[Incoming] = deque()
        self._asked: deque[Asked] = deque()  # in the user state, what awaits its answer
        self._logged_in = False
        self._commands = Commands("")
        self._login = LoginLines()
        self._held = True  # what the next line means depends on an answer that is due
        self._used = 0  # lines and commands since frames were last taken
        self._unread = 0  # own prompts that are not printed yet
        self._early = 0  # the first so many of those are answered already
        self._sent_to: OrderedDict[int, str] = OrderedDict()
        self.more = False

    # --- from the person ---

    @property
    def buffered(self) -> int:
        """How many bytes wait to become frames; a frame that is due without any counts as one."""
        return self._lines.buffered + len(self._ready) + len(self._shown.lost)

    def feed(self, data: bytes) -> None:
        """Add what just arrived."""
        self._lines.feed(data)

    def take(self, limit: int, data: bytes = b"") -> list[Incoming]:
        """See L{chat.wire.translator.Translator.take}."""
        if data:
            self._lines.feed(data)
        frames = self._take_letters(limit)
        self._used = len(frames)
        answered = 0
        self.more = True
        # Lines that ask for nothing take their time, too.
        while max(len(frames), self._used) < FRAMES_AT_ONCE and answered < REFUSALS_AT_ONCE:
            frame = self.next(limit)
            if frame is None:
                self.more = False
                break
            frames.append(frame)
            answered += isinstance(frame, Answer)
        return frames

    def _take_letters(self, limit: int) -> list[Incoming]:
        """The messages that the lines at the front send, up to the first line that does something else.

        L{next} would find the same, one by one.
        """
        commands = self._commands
        something_first = self._held or self._ready or self._shown.lost or commands.dialog is not None
        if something_first or not self._logged_in:
            return []
        lines = self._lines.front(limit, FRAMES_AT_ONCE)
        letters: list[Incoming] = []
        for line in lines:
            letter = commands.letter(line[:-1] if line.endswith("\r") else line)
            if letter is None:
                break
            letters.append(letter)
            self._asked.append(Asked(recipient=letter.recipient))
        if letters:
            self._lines.drop(lines[: len(letters)])
            if ids := self._shown.line_typed():
                letters.insert(0, Received(ids=ids))
        return letters

    def next(self, limit: int) -> Incoming | None:
        """See L{chat.wire.translator.Translator.next}."""
        ready = self._ready
        replies = bytearray()
        flushed = False
        used = 0
        while not ready and not self._held:
            if used == FRAMES_AT_ONCE:
                ready.append(_NOTHING_TO_SAY)
                break
            if self._shown.lost:  # they are only ever lost while logged in
                ids = self._shown.take_lost(READ_IDS)
                self._hand_in([request(Read(ids=ids), Asked(lost=True))])
                break
            try:
                piece = self._lines.next(limit)
            except FatalError as error:
                self._held = True
                ready.append(refuse(error))
                break
            if piece is None:
                break
            used += 1
            if isinstance(piece, bytes):
                self._line_ended(piece)
            elif piece == (DO, TIMING_MARK):
                replies += bytes((IAC, WILL, TIMING_MARK))
                flushed = True
                self._shown.flushed()
            elif piece in ((WILL, TIMING_MARK), (WONT, TIMING_MARK)):
                self._confirm(self._shown.mark_answered())
            elif piece.code == IP:
                self._interrupted()
            elif piece.code != AYT or not replies.endswith(AYT_ANSWER):
                replies += self._options.reply(piece)
        self._used += used
        if replies:
            ready.appendleft(Answer(Octets(octets=bytes(replies), flushed=flushed)))
        return ready.popleft() if ready else None

    def _line_ended(self, line: bytes) -> None:
        self._confirm(self._shown.line_typed())
        prompt = self._paper.prompt
        text: str | None
        try:
            text = line.decode()
        except UnicodeDecodeError:
            text = None
        if text is not None and prompt is not None and prompt.hidden:
            text = _edited(text)
        self._prompt_answered()
        state = self._commands if self._logged_in else self._login
        steps = state.typed(text)
        self._hand_in(steps)
        if not line and not steps and self._commands.dialog is None:
            # More of them would mean no more, and 65,536 fit into what arrives at once.
            self._lines.skip_blanks()
            self._confirm(self._shown.line_typed())

    def _interrupted(self) -> None:
        if self._logged_in and self._commands.dialog is not None:
            self._prompt_answered()
            self._hand_in(self._commands.interrupted())

    def _prompt_answered(self) -> None:
        self._paper.typed()
        self._early += self._unread
        self._unread = 0

    def _confirm(self, ids: list[int]) -> None:
        if ids:
            self._ready.append(Received(ids=ids))

    def _hand_in(self, steps: list[Step]) -> None:
        """Let the session have these, and remember what they were about."""
        for step in steps:
            incoming, asked = step.incoming, step.asked
            self._ready.append(incoming)
            if asked is not None and self._logged_in:
                self._asked.append(asked)
            if isinstance(incoming, (Login, Logout, DeleteAccount, Quit)):
                self._held = True
            elif isinstance(incoming, Answer) and isinstance(incoming.frame, Ask):
                self._unread += 1

    # --- to the person ---

    def render(self, frames: Sequence[Frame], /) -> bytes:
        """See L{chat.wire.translator.Translator.render}."""
        for frame in frames:
            _RENDER[type(frame)](self, frame)
        return self._paper.take() + self._shown.end_batch()

    def _answered(self) -> Asked:
        """What the answer at hand is about."""
        asked = self._asked.popleft() if self._asked else NOTHING
        if self._logged_in and not self._asked:
            self._held = False
        return asked

    def _version(self, frame: Version) -> None:
        self._paper.say([f"{visible(frame.server)}, protocol {frame.protocol}"])

    def _username(self, frame: Username) -> None:
        self._await(USERNAME)

    def _password(self, frame: Password) -> None:
        self._await(PASSWORD)

    def _new_password(self, frame: NewPassword) -> None:
        self._paper.say([self._login.about_new_password])
        self._await(NEW_PASSWORD)

    def _await(self, prompt: Ask) -> None:
        prompt = self._login.prompted(prompt)
        self._held = False
        self._paper.ask(prompt, False)

    def _created(self, frame: Created) -> None:
        self._paper.say([f"The account {visible(frame.username)} is made. Log in now."])
        if frame.recovery:
            self._paper.say(words.recovery_codes(frame.recovery))

    def _recovery_codes(self, frame: RecoveryCodes) -> None:
        self._answered()
        self._paper.say(words.recovery_codes(frame.codes))

    def _welcome(self, frame: Welcome) -> None:
        self._commands = Commands(frame.username)
        self._logged_in = True
        self._held = False
        name, waiting = visible(frame.username), words.waiting(frame.waiting)
        self._paper.say([f"Welcome, {name}. {waiting} /help lists the commands."])

    def _failed(self, frame: Failed) -> None:
        self._paper.say([words.failed(frame, self._answered())])

    def _fatal(self, frame: Fatal) -> None:
        reason = f"{visible(frame.reason)} ({visible(frame.code)})"
        self._paper.say([f"The connection is closed: {reason}"])
        self._paper.prompt = None

    def _accepted(self, frame: Accepted) -> None:
        recipient = self._answered().recipient
        self._paper.say([words.fate(frame.id, recipient, frame.state)])
        if frame.state != "waiting":
            return  # nobody will be told that it was delivered; and it may be no name, but a very long one
        if len(self._sent_to) == _REMEMBERED:
            self._sent_to.popitem(last=False)
        self._sent_to[frame.id] = recipient

    def _delivered(self, frame: Delivered) -> None:
        at = words.moment(frame.time)
        for number in frame.ids:
            recipient = self._sent_to.pop(number, "")
            self._paper.say([words.fate(number, recipient, "delivered", at)])

    def _deleted(self, frame: Deleted) -> None:
        self._answered()
        self._paper.say(words.deleted(frame))

    def _listing(self, frame: Listing) -> None:
        self._paper.say(words.listing(frame, self._answered()))

    def _found(self, frame: Found) -> None:
        self._paper.say(words.found(frame, self._commands.me, self._answered()))

    def _message(self, frame: Message) -> None:
        self._show(frame, again=frame.again)
        self._shown.add(frame.id)

    def _messages(self, frame: Messages) -> None:
        lost = self._answered().lost
        for message in frame.messages:
            self._show(message, again=lost)
            if lost:
                self._shown.add(message.id)
        if frame.missing and not lost:
            self._paper.say([words.missing(frame.missing)])

    def _show(self, frame: Message, again: bool) -> None:
        self._paper.say(words.message(frame, self._commands.me, again=again))
        if frame.returned is None:
            self._commands.heard = frame.sender

    def _account_deleted(self, frame: AccountDeleted) -> None:
        self._leave("Your account is deleted.")

    def _logged_out(self, frame: LoggedOut) -> None:
        self._leave(words.LOGGED_OUT)

    def _leave(self, last: str) -> None:
        """Back to the login, after this."""
        self._answered()
        self._logged_in = False
        self._shown.forget()
        self._sent_to.clear()
        self._paper.say([last])

    def _pong(self, frame: Pong) -> None:
        self._answered()
        self._paper.say(["The server is there."])

    def _bye(self, frame: Bye) -> None:
        self._answered()
        self._paper.say(["Goodbye."])
        self._paper.prompt = None

    def _password_changed(self, frame: PasswordChanged) -> None:
        self._answered()
        self._paper.say(["Your password is changed."])

    def _token_issued(self, frame: TokenIssued) -> None:
        self._answered()
        self._paper.say(words.token(frame))

    def _blocked(self, frame: Blocked) -> None:
        self._answered()
        self._paper.say([words.blocked(frame)])

    def _said(self, frame: Said) -> None:
        self._paper.say(frame.lines)

    def _ask(self, frame: Ask) -> None:
        answered = self._early > 0
        if answered:
            self._early -= 1
        else:
            self._unread -= 1
        self._paper.ask(frame, answered)

    def _octets(self, frame: Octets) -> None:
        if frame.flushed:
            self._shown.flushed()
        self._paper.send(frame.octets)


def _edited(text: str) -> str:
    """What is left of a hidden line whose client leaves it to the server to rub out.

    Nobody types one that is longer than the lines of a login; it is no password, either.
    """
    if len(text) > LOGIN_FRAME_BYTES:
        return text
    kept: list[str] = []
    for character in text:
        if character not in "\b\x7f":
            kept.append(character)
        elif kept:
            kept.pop()
    return "".join(kept)


#: How each frame is put in words: those a server sends, and the door's own.
_RENDER: dict[type[Frame], Callable[[TextTranslator, Any], None]] = {
    Version: TextTranslator._version,
    Username: TextTranslator._username,
    Password: TextTranslator._password,
    NewPassword: TextTranslator._new_password,
    Created: TextTranslator._created,
    RecoveryCodes: TextTranslator._recovery_codes,
    Welcome: TextTranslator._welcome,
    Failed: TextTranslator._failed,
    Fatal: TextTranslator._fatal,
    Accepted: TextTranslator._accepted,
    Delivered: TextTranslator._delivered,
    Deleted: TextTranslator._deleted,
    Listing: TextTranslator._listing,
    Found: TextTranslator._found,
    Message: TextTranslator._message,
    Messages: TextTranslator._messages,
    AccountDeleted: TextTranslator._account_deleted,
    Pong: TextTranslator._pong,
    Bye: TextTranslator._bye,
    PasswordChanged: TextTranslator._password_changed,
    TokenIssued: TextTranslator._token_issued,
    LoggedOut: TextTranslator._logged_out,
    Blocked: TextTranslator._blocked,
    Said: TextTranslator._said,
    Ask: TextTranslator._ask,
    Octets: TextTranslator._octets,
}
