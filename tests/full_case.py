"""A disk that is full, for tests."""

from __future__ import annotations

from functools import partial

from twisted.trial.unittest import SynchronousTestCase

import tests.world
from chat.messages import Failed
from chat.store import Store
from tests.world import open_world


class FullCase(SynchronousTestCase):
    """Alice and Bob on a disk that is as full as a test wants.

    @ivar free: whether there is more than the reserve on the disk.
    @ivar needed: how many bytes must be free inside the file if there is not; C{None}: it never helps.
    @ivar inside: what the room was asked with.
    """

    def setUp(self) -> None:
        """Begin with room."""
        self.free = True
        self.needed: int | None = None
        self.inside: list[int] = []
        self.patch(tests.world, "Store", partial(Store, room=self.room))
        self.world = open_world(self)
        self.store = self.world.store
        self.store.indexing.stop()  # which writes when it wants to
        self.alice, self.bob = self.world.sign_up("alice", "bob")

    def room(self, inside: int) -> bool:
        """See L{Room}."""
        self.inside.append(inside)
        return self.free or (self.needed is not None and inside > self.needed)

    def assertRefused(self, answer: object, ref: str | None = None) -> None:
        """The send was refused for lack of room, with its ref."""
        assert isinstance(answer, Failed), answer
        self.assertEqual((answer.code, answer.ref), ("storage-full", ref))

    def commits(self) -> list[str]:
        """The transactions that change something from now on, each as it is committed."""
        made: list[str] = []
        (connection,) = self.world.pool.connections.values()
        before = connection.total_changes

        def traced(statement: str) -> None:
            nonlocal before
            if statement == "COMMIT" and connection.total_changes != before:
                before = connection.total_changes
                made.append(statement)

        connection.set_trace_callback(traced)
        return made
