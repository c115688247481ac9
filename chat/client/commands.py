"""What is typed at the client: the commands of the text door, a few of our own, and JSON from programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from chat.errors import BadFrame, FatalError
from chat.messages import (
    Block,
    Blocks,
    ChangePassword,
    Delete,
    DeleteAccount,
    Frame,
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
from chat.wire import Codec, deserialize
from chat.wire.text_commands import COMMAND_NAMES, Commands, Step, request, say
from chat.wire.text_words import Asked

#: What a program may ask for, by its keyword.
REQUESTS = (
    List,
    Search,
    Read,
    Delete,
    Block,
    Unblock,
    Blocks,
    Token,
    Recovery,
    ChangePassword,
    Logout,
    DeleteAccount,
    Ping,
    Quit,
)

#: So many entries are listed at once.
_PAGE = 20

HELP_HERE = (
    "Of this program itself:",
    "  /list [sent]      list your mailbox, or what you sent, newest first",
    "  /outbox           what you wrote and the server does not have yet",
)


class ClientCommands(Commands):
    """The commands of one login, see L{Commands}.

    @ivar unsent: tells what waits in the outbox, a line each.
    """

    def __init__(self, me: str, unsent: Callable[[], Sequence[str]]) -> None:
        super().__init__(me)
        self._unsent = unsent

    def typed(self, line: str | None) -> list[Step]:
        """See L{Commands.typed}."""
        if self.dialog is None and line is not None:
            name, _, rest = line.partition(" ")
            own = _OWN.get(name.strip().lower())
            if own is not None:
                return own(self, rest.strip())
        steps = super().typed(line)
        if line is not None and line.strip().lower() == "/help":
            steps.append(say(*HELP_HERE))
        return steps

    def _newest(self, rest: str) -> list[Step]:
        words = rest.lower().split()
        box = words.pop(0) if words[:1] in (["inbox"], ["sent"]) else "inbox"
        number = words.pop(0).removeprefix("<") if words else "0"
        if words or not (number.isascii() and number.isdecimal() and len(number) < 19):
            return [say("To list the newest: /list, or /list sent; /list <N for what came before message N")]
        before = int(number)
        return [request(List(box=box, before=before, limit=_PAGE), Asked(before=before))]

    def _outbox(self, rest: str) -> list[Step]:
        return [say(*self._unsent())]


_OWN: dict[str, Callable[[ClientCommands, str], list[Step]]] = {
    "/list": ClientCommands._newest,
    "/outbox": ClientCommands._outbox,
}
#: All that can be typed here.
ALL_NAMES = (*COMMAND_NAMES, *_OWN)


def from_program(line: str) -> Frame:
    """What a program asks for by a JSON object on one line.

    With a C{keyword} it is a request, otherwise a message; the fields are those of
    docs/protocol.rst.

    @raise ValueError: it asks for nothing that can be done; the text says why.
    """
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"The line begins with a brace, but is not JSON: {error}.") from None
    kind = "system" if "keyword" in fields else "message"
    try:
        frame = deserialize(json.dumps({"type": kind, "data": fields}).encode(), Codec.JSON)
    except (BadFrame, FatalError, ValueError, RecursionError) as error:
        raise ValueError(f"The JSON is neither a message nor a request: {error}") from None
    if not isinstance(frame, (Message, *REQUESTS)):
        raise ValueError(f"The keyword {fields['keyword']!r} asks for nothing.")
    return frame
