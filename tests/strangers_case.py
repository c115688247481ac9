"""Strangers at the doors, for tests."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any, Callable

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from chat.accounts import Accounts, Admission, Registration
from chat.codes import INVITATION_GROUPS, digest, new_code
from chat.errors import Code, Refusal
from chat.limits.throttle import Throttle
from chat.login import Introduction
from chat.messages import Failed, Frame, Login
from chat.origin import LOCAL, Origin
from chat.store import invitations
from chat.store.layout import path
from tests.world import World, at_once, open_world

HERE = "192.0.2.1"


THERE = "198.51.100.2"


ANOTHER = "another password"


class StrangersCase(SynchronousTestCase):
    """The accounts of a small world that guesses are slowed down in."""

    registration = Registration.INVITE
    throttled = True

    def setUp(self) -> None:
        """Nobody is there yet."""
        self.held: list[Callable[[], None]] = []
        self.hold = False
        self.world: World = open_world(
            self,
            registration=self.registration,
            throttle=Throttle(lambda: self.world.clock.seconds()) if self.throttled else None,
            in_thread=self.in_thread,
        )
        self.accounts: Accounts = self.world.accounts

    def in_thread(self, function: Callable[..., Any], *arguments: object) -> Deferred[Any]:
        """Hash at once, or when it is released."""
        if not self.hold:
            return at_once(function, *arguments)
        result: Deferred[Any] = Deferred()
        self.held.append(lambda: result.callback(function(*arguments)))
        return result

    def release(self) -> None:
        """The oldest hash that is held back is ready."""
        self.held.pop(0)()
        self.world.settle()

    def invite(self, uses: int = 1, seconds: int = 60) -> str:
        """A new code, made by another program."""
        code, now = new_code(INVITATION_GROUPS), self.world.now()
        with self.elsewhere("users") as connection:
            cursor = connection.cursor()
            invitations.make(cursor, digest(code, INVITATION_GROUPS), now, now + seconds * 1000, uses)
        return code

    def elsewhere(self, name: str) -> Any:
        """Another program's connection to a file."""
        connection = sqlite3.connect(":memory:", isolation_level=None)
        connection.execute(f"ATTACH ? AS {name}", (str(path(self.world.path, name)),))
        return closing(connection)

    def uses(self) -> list[int]:
        """For how many accounts each invitation is good."""
        return [uses for (uses,) in self.world.sql("SELECT uses FROM users.invitations ORDER BY id")]

    def stranger(self, origin: Origin = LOCAL) -> Talk:
        """Somebody who has just connected."""
        return Talk(self.world, origin)

    def assertRefused(self, code: Code, call: Callable[..., Any], *arguments: Any) -> Refusal:
        """The call is refused with this code."""
        refusal: Refusal = self.assertRaises(Refusal, lambda: self.world.result(call(*arguments)))
        self.assertEqual(refusal.code, code)
        return refusal


class Talk:
    """The login part of one conversation."""

    def __init__(self, world: World, origin: Origin) -> None:
        self._world = world
        self.introduction = Introduction(world.accounts, origin)
        self.admission: Admission | None = None

    def start(self, field: str, value: str) -> Deferred[Any]:
        """Answer the prompt; what comes of it may take its time."""
        return self._world.start(self.introduction.take(Login(field=field, value=value)))

    def says(self, field: str, value: str, codes: bool = False) -> list[Frame]:
        """What is said to this answer to the prompt; nothing, if it was a login that is complete."""
        outcome = self._world.result(self.introduction.take(Login(field=field, value=value, codes=codes)))
        if isinstance(outcome, Admission):
            self.admission = outcome
            return []
        return outcome

    def kinds(self, *answers: tuple[str, str]) -> list[str]:
        """The same in words, for some answers in turn: codes of refusals, and names of other frames."""
        said = [frame for answer in answers for frame in self.says(*answer)]
        return [frame.code if isinstance(frame, Failed) else type(frame).__name__ for frame in said]
