"""The one connection: the three files attached to each other, in one thread."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

from twisted.enterprise.adbapi import ConnectionPool
from twisted.internet.defer import Deferred, execute

from chat.store.digest import contents_digest
from chat.store.layout import ALIASES, path
from chat.store.opener import PLAIN, Opener
from chat.store.spoken import prepare

#: Group commit makes FULL affordable; NORMAL would forget accepted messages in a power cut.
_PRAGMAS = (
    "PRAGMA {file}.journal_mode = WAL",
    "PRAGMA {file}.synchronous = FULL",
    # What was removed is overwritten, whatever this build of SQLite does by itself.
    "PRAGMA {file}.secure_delete = ON",
)


def threaded_pool(reactor: object, directory: Path, opener: Opener = PLAIN) -> ConnectionPool:
    """For the daemon: the connection lives in a database thread of its own."""
    return ConnectionPool(opener.driver, **_arguments(directory, opener), cp_reactor=reactor)


class DirectPool(ConnectionPool):
    """The same connection, used by the thread that asks: every result is there at once.

    For what is done before the reactor runs, and for tests.
    """

    def __init__(self, directory: Path, opener: Opener = PLAIN) -> None:
        super().__init__(  # type: ignore[no-untyped-call]
            opener.driver, **_arguments(directory, opener), cp_reactor=_NoReactor()
        )

    def runInteraction(self, interaction: Callable[..., Any], *args: Any, **kw: Any) -> Deferred[Any]:
        """As in L{ConnectionPool}, without a thread."""
        return execute(self._runInteraction, interaction, *args, **kw)


class _NoReactor:
    """What a pool without threads needs of a reactor: nothing."""

    def callWhenRunning(self, start: Callable[[], object]) -> None:
        """There are no threads to start."""


def _arguments(directory: Path, opener: Opener) -> dict[str, Any]:
    def opened(connection: Any) -> None:
        connection.create_function("contents_digest", 3, contents_digest, deterministic=True)
        opener.attach_others(connection, directory)
        for file in ALIASES.values():
            for pragma in _PRAGMAS:
                connection.execute(pragma.format(file=file))
        prepare(connection)

    return {
        "database": str(path(directory, "messages")),
        "cp_min": 1,
        "cp_max": 1,
        "cp_openfun": opened,
        "check_same_thread": False,  # the pool closes it from the reactor's thread
        "isolation_level": None,  # transactions begin where GroupCommit says
        "timeout": 30,
        "cached_statements": 256,
    }
