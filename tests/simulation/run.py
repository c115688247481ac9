"""One world from its beginning to its end, or many; and the shortest way to a failure."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from typing import Callable, Iterator, Optional
from unittest import mock

from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

from chat.errors import Refusal
from chat.store import passwords
from tests.simulation.books import Violation
from tests.simulation.library import AppError
from tests.simulation.storage import CheapBcrypt, InjectedError
from tests.simulation.story import Story
from tests.simulation.world import EDITION, World


class Failure(Exception):
    """A world in which a promise was broken.

    @ivar step: in which step that was found.
    """

    def __init__(self, seed: int, step: int, cause: BaseException) -> None:
        super().__init__(f"seed {seed}, step {step}: {type(cause).__name__}: {cause}")
        self.seed = seed
        self.step = step
        self.__cause__ = cause


@contextmanager
def _folder() -> Iterator[Path]:
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="chat-simulation-", dir=memory if memory.is_dir() else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def _watching(world: Callable[[], Optional[World]]) -> Iterator[None]:
    """An error that is logged and was not made by the simulation is a failure."""

    @implementer(ILogObserver)
    def observe(event: LogEvent) -> None:
        failure = event.get("log_failure")
        here = world()
        if failure is None or here is None:
            return
        if not isinstance(failure.value, (InjectedError, Refusal, AppError)):
            here.found = here.found or failure.value

    globalLogPublisher.addObserver(observe)
    try:
        yield
    finally:
        globalLogPublisher.removeObserver(observe)


#: Limits that are seldom reached in so small a world; in half of the worlds they are this low.
_LOW = {
    "chat.store.mailboxes.PAGE_MESSAGES": 3,
    "chat.store.mailboxes.PAGE_BYTES": 400,
    "chat.store.returns.TURNED_AT_ONCE": 2,
    "chat.store.returns.AGED_AT_ONCE": 3,
    "chat.store.mailboxes.LOOKED_THROUGH": 2,
    "chat.store.stretches.STRETCH": 4,
    "chat.store.stretches._REMEMBERED": 3,
    "chat.admin.books.places.STRETCH": 4,
    "chat.store.folding.FOLDED_AT_ONCE": 2,
    "chat.store.tokens.MOST": 3,
    "chat.store.retention.FIRST": 5.0,
    "chat.store.retention.EVERY": 20.0,
    "chat.store.commit.LARGEST_GROUP": 3,
    "chat.course.SENDS_UNDER_WAY": 4,
    "chat.course.BYTES_UNDER_WAY": 2000,
    "chat.course.ID_BYTES": 16,
    "chat.protocol.INPUT_BYTES": 200,
}


@contextmanager
def _fakes(seed: int) -> Iterator[None]:
    """In place of what is slow, and of what is not drawn from the seed."""
    random, more = Random(seed), Random(f"tokens of seed {seed}")
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(passwords, "bcrypt", CheapBcrypt))
        token = stack.enter_context(mock.patch("chat.client.client.token_hex"))
        token.side_effect = lambda size: f"{random.getrandbits(8 * size):032x}"
        secrets = stack.enter_context(mock.patch("chat.accounts.secrets"))
        secrets.token_urlsafe.side_effect = lambda size: f"{more.getrandbits(8 * size):064x}"
        codes = stack.enter_context(mock.patch("chat.codes.secrets"))
        codes.randbits.side_effect = Random(f"codes of seed {seed}").getrandbits
        if random.random() < 0.5:
            for name, limit in _LOW.items():
                stack.enter_context(mock.patch(name, limit))
        yield


def simulate(
    seed: int, steps: int, log: Optional[Callable[[str], object]] = None, edition: int = EDITION
) -> None:
    """Run the world of this seed for so many steps, then to its end.

    @param edition: see L{EDITION}.
    @raise Failure: a promise was broken.
    """
    world: Optional[World] = None
    with _folder() as folder, _fakes(seed), _watching(lambda: world):
        world = Story(seed, folder / "data", log, edition)
        try:
            world.run(steps)
        except Exception as error:
            raise Failure(seed, world.model.step, error) from error
        finally:
            world.close()


def shortest(seed: int, step: int, edition: int = EDITION) -> tuple[int, Failure]:
    """The smallest number of steps found with which this seed fails, and how it fails then.

    @param step: the step in which a longer run was found to fail.
    """
    passes, fails = 0, step
    failure = _fails(seed, step, edition)
    assert failure is not None, "it fails only sometimes"
    while fails - passes > 1:
        middle = (passes + fails) // 2
        found = _fails(seed, middle, edition)
        if found is None:
            passes = middle
        else:
            fails, failure = middle, found
    return fails, failure


def _fails(seed: int, steps: int, edition: int) -> Optional[Failure]:
    try:
        simulate(seed, steps, edition=edition)
    except Failure as failure:
        return failure
    return None


__all__ = ["Failure", "Violation", "shortest", "simulate"]
