"""Lines out of bytes that a telnet client, or a plain one such as nc, sends in pieces.

Stock telnet says nothing of its own accord, so only its first line tells it
apart: it ends with CR LF, that of nc with LF.  A client that sends a telnet
command before its first line ends is telnet too.  Where the octet 255 begins no
command, and wherever the client is known not to be telnet, it is an octet like
any other (and no UTF-8, which the refusal of the line will say).

RFC 854 (commands, CR NUL), 855 (options), 856 (BINARY), 857 (ECHO), 860
(TIMING-MARK).
"""

from __future__ import annotations

import re
from collections import deque
from typing import NamedTuple, Sequence

from chat.errors import FrameTooLarge

IAC, DONT, DO, WONT, WILL, SB = 255, 254, 253, 252, 251, 250
AYT, IP, SE = 246, 244, 240
_FIRST_COMMAND = 236  # EOF, RFC 1184

BINARY, ECHO, TIMING_MARK = 0, 1, 6
AYT_ANSWER = b"\r\n[Yes]\r\n"

_STOP = re.compile(rb"[\n\xff]|(?<=\r)\x00")
_STOP_OF_PLAIN = re.compile(rb"\n|(?<=\r)\x00")
_PAIR = re.compile(rb"\xff.", re.DOTALL)
#: What is no part of an empty line.  (A pattern for many empty lines would cost 200 bytes for each.)
_NOT_BLANK = re.compile(rb"[^\r\n\x00]|\r(?![\n\x00])|(?<!\r)\x00")


class Command(NamedTuple):
    """A telnet command; C{option} is -1 where the command has none."""

    code: int
    option: int = -1


class TelnetLines:
    """A buffer of bytes that gives up whole lines and telnet commands, in order.

    @ivar telnet: whether the client speaks telnet; C{None} while that is not known.
    @ivar spoke: whether it has sent a telnet command, so that it will answer one.
    @ivar fed: how many bytes have arrived.
    """

    def __init__(self) -> None:
        self.telnet: bool | None = None
        self.spoke = False
        self.fed = 0
        self._raw = bytearray()
        self._line = bytearray()  # of the current line, what came before a command inside it
        self._searched = 0  # nothing before this offset of _raw ends a line or begins a command
        self._skipped = -1  # bytes of the subnegotiation passed over; -1 outside one

    @property
    def buffered(self) -> int:
        """How many bytes wait: whole lines and the beginning of one."""
        return len(self._raw) + len(self._line)

    @property
    def position(self) -> int:
        """How many of the bytes that arrived are used up."""
        return self.fed - len(self._raw)

    def feed(self, data: bytes) -> None:
        """Add what just arrived."""
        self._raw += data
        self.fed += len(data)

    def next(self, limit: int) -> bytes | Command | None:
        """The next line without its end, or command; C{None} while none is whole.

        @param limit: the most bytes of a line, its end included.
        @raise FrameTooLarge: a line or a subnegotiation is longer.
        """
        raw = self._raw
        while True:
            if self._skipped >= 0 and not self._skip(limit):
                return None
            stop = _STOP_OF_PLAIN if self.telnet is False else _STOP
            if raw[:1] == b"\0" and self._line[-1:] == b"\r":
                return self._take_line(0)  # a command came between the two
            found = stop.search(raw, self._searched)
            at = len(raw) if found is None else found.start()
            if len(self._line) + at >= limit:
                raise FrameTooLarge(limit)
            if found is None:
                self._searched = at
                return None
            if raw[at] == IAC:
                size = self._command_size(at)
                if size > len(raw) - at:
                    self._searched = at
                    return None
                if size > 1:
                    command = self._take_command(at, size)
                    if command is not None:
                        return command
                    continue
            else:
                return self._take_line(at)
            self._searched = at + 1

    def front(self, limit: int, most: int) -> list[str]:
        """The next lines, up to so many, each with its CR if it has one, as long as they are mere text.

        None when there is anything else among them, which L{next} finds.
        """
        raw = self._raw
        if self.telnet is None or self._skipped >= 0 or self._line:
            return []
        end = raw.rfind(b"\n", self._searched) + 1
        if end > limit:  # then each of these lines is short enough
            end = raw.rfind(b"\n", 0, limit) + 1
        try:
            text = raw[:end].decode()  # commands begin with an octet that UTF-8 does not have
        except UnicodeDecodeError:
            return []
        return [] if "\r\0" in text else text.split("\n", most)[:-1]

    def drop(self, lines: Sequence[str]) -> None:
        """Use up these lines, which L{front} gave."""
        del self._raw[: len("\n".join(lines).encode()) + 1]
        self._searched = 0

    def skip_blanks(self) -> None:
        """Use up all the empty lines at the front at once."""
        if self._line or self.telnet is None:
            return
        found = _NOT_BLANK.search(self._raw)
        del self._raw[: len(self._raw) if found is None else found.start()]
        self._searched = 0

    def _take_line(self, at: int) -> bytes:
        line = self._line
        line += memoryview(self._raw)[:at]
        del self._raw[: at + 1]
        self._searched = 0
        by_cr = line.endswith(b"\r")
        if self.telnet is None:
            self.telnet = by_cr
        taken = bytes(memoryview(line)[: len(line) - by_cr])
        line.clear()
        return taken

    def _command_size(self, at: int) -> int:
        """The bytes of the command at this offset; 1: it is none, but an octet of the line."""
        if at + 1 == len(self._raw):
            return 2  # at least
        code = self._raw[at + 1]
        if WILL <= code <= DONT:
            return 3
        return 2 if code >= _FIRST_COMMAND else 1

    def _take_command(self, at: int, size: int) -> Command | None:
        """Use up a command; an escaped 255 goes into the line, a subnegotiation is skipped."""
        raw = self._raw
        code, option = raw[at + 1], raw[at + size - 1] if size == 3 else -1
        self._line += raw[: at + 1] if code == IAC else raw[:at]
        del raw[: at + size]
        self._searched = 0
        if code == IAC:
            return None
        self.telnet = self.spoke = True
        if code == SB:
            self._skipped = 0
            return None
        return Command(code, option)

    def _skip(self, limit: int) -> bool:
        """Pass over a subnegotiation; whether its end has been found."""
        raw = self._raw
        while (pair := _PAIR.search(raw)) is not None:
            ended = raw[pair.start() + 1] == SE
            self._pass(pair.end(), limit)
            if ended:
                self._skipped = -1
                return True
        self._pass(len(raw) - raw.endswith(b"\xff"), limit)
        return False

    def _pass(self, count: int, limit: int) -> None:
        del self._raw[:count]
        self._skipped += count
        if self._skipped >= limit:
            raise FrameTooLarge(limit)


class Options:
    """The server's side of the options: it hides what is typed by saying that it echoes.

    Everything else is refused.  A request is answered only when it asks for a
    change, and an answer to an offer is not answered again, so that two such sides
    never go on for ever.

    @ivar hidden: whether the client, as far as is known, does not echo now.
    """

    def __init__(self) -> None:
        self.hidden = False
        self._said: deque[int] = deque(maxlen=64)  # WILL and WONT ECHO that await their answers
        self._binary = False  # whether the client was asked to send eight bits

    def binary(self) -> bytes:
        """Ask, once, to be sent all eight bits of what is typed.

        Without it inetutils telnet takes some octets of UTF-8 text for control keys.
        """
        if self._binary:
            return b""
        self._binary = True
        return bytes((IAC, DO, BINARY))

    def hide(self) -> bytes:
        """From here on the client does not echo what is typed."""
        return self._echo(True)

    def show(self) -> bytes:
        """From here on it does."""
        return self._echo(False)

    def _echo(self, hidden: bool) -> bytes:
        if self.hidden is hidden:
            return b""
        self.hidden = hidden
        self._said.append(WILL if hidden else WONT)
        return bytes((IAC, self._said[-1], ECHO))

    def reply(self, command: Command) -> bytes:
        """The answer to one command, often nothing; not for TIMING-MARK."""
        code, option = command
        if code == AYT:
            return AYT_ANSWER
        if code == WILL:
            if option == BINARY:
                return self.binary()
            return bytes((IAC, DONT, option))
        if option == ECHO and code in (DO, DONT):
            return self._echo_answered(code == DO)
        if code == DO:
            return bytes((IAC, WONT, option))
        return b""

    def _echo_answered(self, agreed: bool) -> bytes:
        said = self._said
        if said:
            if said.popleft() == WILL and not agreed:
                if said:
                    said.popleft()  # to a client that refused, WONT is no news and has no answer
                else:
                    self.hidden = False
            return b""
        news = agreed is not self.hidden  # the client's own wish
        self.hidden = self.hidden and agreed
        return bytes((IAC, WONT, ECHO)) if news else b""
