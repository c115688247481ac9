"""What could be meant by what somebody has begun to type: commands, and the names of those they know."""

from __future__ import annotations

from collections.abc import Iterable

from chat.client.commands import ALL_NAMES

#: The commands whose first word is a name.
_OF_NAMES = frozenset({"/to", "/write", "/block", "/unblock", "/history"})
#: What is said before a name, and before something else, in a query.
_NAMED = ("from:", "to:", "with:")
_OTHER = ("subject:", "since:", "until:")
#: The words that other commands take.
_WORDS = {"/receipts": ("on", "off"), "/logout": ("all",)}


class Acquaintances:
    """The names that an account has written to or heard from, the latest last."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = dict.fromkeys(names)
        self._met: dict[str, None] = {}

    def meet(self, *names: str) -> None:
        """These are known from now on."""
        for name in names:
            for known in (self._names, self._met):
                known.pop(name, None)
                known[name] = None

    @property
    def met(self) -> list[str]:
        """Those met since the beginning, the latest last."""
        return list(self._met)

    def completions(self, before: str) -> tuple[list[str], int]:
        """What could be meant by what stands before the cursor, and how much of that it replaces."""
        command, *rest = before.split(" ")
        if not before.startswith("/") or before.startswith("//"):
            return [], 0
        if not rest:
            return [name for name in ALL_NAMES if name.startswith(command.lower())], len(before)
        begun = rest[-1]
        command = command.lower()
        if command == "/search":
            return self._in_query(begun)
        if len(rest) > 1:
            return [], 0
        words = self._beginning(begun) if command in _OF_NAMES else _WORDS.get(command, ())
        return [word for word in words if word.startswith(begun.lower())], len(begun)

    def _in_query(self, begun: str) -> tuple[list[str], int]:
        for word in _NAMED:
            if begun.startswith(word):
                begun = begun[len(word) :]
                return self._beginning(begun), len(begun)
        return [word for word in (*_NAMED, *_OTHER) if begun and word.startswith(begun)], len(begun)

    def _beginning(self, begun: str) -> list[str]:
        return sorted(name for name in self._names if name.startswith(begun.lower()) and " " not in name)
