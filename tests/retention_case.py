"""A server that keeps nothing for long, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chat.accounts import Accounts, Registration
from chat.mailroom import Mailroom
from chat.store import Store
from tests.world import RESERVED, World, at_once

DAY = 24 * 60 * 60


MS = 1000


class Limited(World):
    """A world in whose mailboxes only so many messages may wait."""

    def __init__(self, directory: Path | str, *, limit: int = 0, **settings: Any) -> None:
        super().__init__(directory, **settings)
        self.store = Store(
            self.pool,
            self.clock,
            live=self.directory.live,
            now=self.now,
            reserved=RESERVED,
            in_thread=at_once,
            rounds=4,
            limit=limit,
        )
        self.mailroom = Mailroom(self.store, self.directory, self.now)
        self.accounts = Accounts(
            self.store, self.store.passwords, self.mailroom, self.directory, Registration.OPEN
        )
