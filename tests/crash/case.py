"""A test for each scenario, whatever it is that happens to the server in it."""

from __future__ import annotations

from contextlib import ExitStack

from tests.crash.place import scratch
from tests.crash.scenarios import small_portions
from tests.unmeasured import UnmeasuredTestCase


class CrashCase(UnmeasuredTestCase):
    """A directory for the files, and small portions."""

    def setUp(self) -> None:
        """Make the directory."""
        stack = ExitStack()
        self.addCleanup(stack.close)
        self.place = stack.enter_context(scratch())
        stack.enter_context(small_portions())


class EveryScenario:
    """The tests; what each of them does is for those who inherit them to say."""

    def survives(self, name: str) -> None:
        """In the scenario of this name, nothing that may happen does harm."""
        raise NotImplementedError

    def test_firstStart(self) -> None:
        """While the files are made, opened, closed and opened again."""
        self.survives("first-start")

    def test_signUp(self) -> None:
        """While people sign up: an account that exists has a password."""
        self.survives("sign-up")

    def test_passwords(self) -> None:
        """While passwords are changed, and hashed anew because the cost was raised."""
        self.survives("passwords")

    def test_tokens(self) -> None:
        """While tokens are given and revoked: what was answered is so."""
        self.survives("tokens")

    def test_codes(self) -> None:
        """While invitations and recovery codes are used: with what they are good for, or not at all."""
        self.survives("codes")

    def test_blocks(self) -> None:
        """While somebody is blocked, and is not any more."""
        self.survives("blocks")

    def test_search(self) -> None:
        """While messages enter the index and leave it, and people search."""
        self.survives("search")

    def test_accept(self) -> None:
        """While messages are accepted: alone and in batches, repeated, to oneself, to nobody."""
        self.survives("accept")

    def test_deliver(self) -> None:
        """While messages are shown, live and page by page, and confirmed."""
        self.survives("deliver")

    def test_remove(self) -> None:
        """While messages are removed and recalled."""
        self.survives("remove")

    def test_deleteAccount(self) -> None:
        """While accounts are deleted in several portions, with mail of every kind in them."""
        self.survives("delete-account")

    def test_deadLetters(self) -> None:
        """While both sides of what waits delete their accounts."""
        self.survives("dead-letters")

    def test_restarts(self) -> None:
        """While a server stops in order and starts again."""
        self.survives("restarts")

    def test_expiry(self) -> None:
        """While what nobody collected turns round in several portions."""
        self.survives("expiry")

    def test_mailboxLimit(self) -> None:
        """While mailboxes are full, and what is too much turns round."""
        self.survives("mailbox-limit")

    def test_folding(self) -> None:
        """While what was settled long ago is folded in several portions."""
        self.survives("folding")

    def test_upgrade(self) -> None:
        """While files of an earlier version are copied and upgraded."""
        self.survives("upgrade")

    def test_upgradeKilled(self) -> None:
        """The same, where all that they hold is in the logs beside them."""
        self.survives("upgrade-killed")
