"""A world from its beginning to its end: at the end everything is healed, and must add up."""

from __future__ import annotations

from chat.admin.audit import audit
from chat.store import retention
from tests.simulation.actors import Program
from tests.simulation.books import RECALLED, REMOVED, WAITING, Violation
from tests.simulation.world import World

#: More seconds than this with something due in each are a fault.
RESTLESS = 1000

#: Enough seconds for a server to stop.
GRACE_AND_MORE = 6.0


class Story(World):
    """A world, and what is told of it."""

    def run(self, steps: int) -> None:
        """So many steps; then everything is healed, and must add up.

        @raise Violation: a promise was broken.
        """
        self._settle_down()
        for step in range(1, steps + 1):
            self.model.step = step
            self._happen()
            self._look()
        self.model.step = steps + 1
        self._heal()

    def _settle_down(self) -> None:
        """Some have signed up already."""
        for name in self.plan.early:
            program = self.connect(name, "json")
            assert isinstance(program, Program)
            self._calm()
            secret = f"password of {name}"
            for field, value in (("username", name), ("password", secret)) * 2:
                program.say({"field": field, "value": value})
        self._calm()

    def _heal(self) -> None:
        """Everything works again, and time passes: now everything must come right."""
        self.log("healing")
        self.healing = True
        self.disk.healed = True
        self.disk.full = self.disk.scarce = False
        for link in self.links:
            link.stalled = link.hidden = False
        if self.server is not None and self.server.stopping:
            self._drain_stop()
        self._start()
        self._calm()
        for actor in self.actors:
            actor.leave(self.random)
        for user in self.users:
            if user.link is not None:
                user.link.cut(hidden=False)  # what the application has failed at comes again
        # A timer of Twisted waits as much longer as the clock was set back.
        for seconds in (self._set_back, *[61] * 10):
            self._pass_time(seconds)
            self._calm()
            for user in self.users:
                while user.open:
                    user.finish_one(self.random)
            self._calm()
            if all(user.settled and (user.client.stopped or user.client.connected) for user in self.users):
                break
        self._grow_old()
        for user in self.users:
            user.check()
        # What an error of the disk has left half done, the next start completes.
        self._stop()
        self._drain_stop()
        self._start()
        self._calm()
        self._collect()

    def _grow_old(self) -> None:
        """So much time passes that nothing is left of what is to come back, or to be forgotten."""
        keeping, model = self.model.keeping, self.model
        if not (keeping.expire or keeping.fold):
            return
        self._pass_time(max(keeping.expire, keeping.fold) / 1000 + 1)
        now = model.time
        for _ in range(2):
            # One round may have begun before; there is a pause between two of its transactions.
            self._pass_time(retention.EVERY)
            self._calm()
            self._rest()
        for row in self.books.rows.values():
            state, recipient, code, _ = row.now
            own = code is not None or recipient == row.sender
            if keeping.expire and state == WAITING and not own and now - row.time > keeping.expire:
                raise Violation(f"message {row.id} has waited for too long: {row}")
            if keeping.fold and state in (REMOVED, RECALLED) and now - row.settled > keeping.fold:
                raise Violation(f"message {row.id} should be folded: {row}")

    def _rest(self) -> None:
        """Time passes until nothing is due for a second."""
        for _ in range(RESTLESS):
            if not self._due(1.0):
                return
            self._pass_time(1.0)
            self._calm()
        raise Violation("there is always something due")

    def _drain_stop(self) -> None:
        for _ in range(4):
            if self.server is None or self.server.gone:
                return
            self._calm()
            self._pass_time(GRACE_AND_MORE)
        if self.server is not None and not self.server.gone:
            raise Violation("the server does not stop")

    def _collect(self) -> None:
        """Every account logs in and confirms everything; then nothing is left, and the books are clean."""
        for account in [each for each in self.books.accounts.values() if each.now == 0]:
            for password in self.model.claims(account.name).passwords:
                collector = self.connect(account.name, "json")
                assert isinstance(collector, Program)
                self._calm()
                collector.say({"field": "username", "value": account.name})
                collector.say({"field": "password", "value": password})
                self._calm()
                if collector.conversation.logged_in:
                    self._empty(collector)
                    break
                collector.leave(self.random)
            else:
                raise Violation(f"{account.name} cannot log in with any password that was ever set")
        self._add_up()

    def _empty(self, collector: Program) -> None:
        ids = list(collector.conversation.shown)
        collector.say({"keyword": "read", "ids": ids[:100]})
        collector.say({"keyword": "received", "ids": ids})
        collector.say({"keyword": "list", "box": "inbox", "limit": 1000})
        collector.say({"keyword": "list", "box": "sent", "limit": 1000})
        self._calm()
        collector.say({"keyword": "quit"})
        self._calm()

    def _add_up(self) -> None:
        left = [row.id for row in self.books.rows.values() if row.now.state == 0]
        if left:
            raise Violation(f"messages {left} are never delivered")
        unfinished = [each.name for each in self.books.accounts.values() if each.now in (1, 3)]
        if unfinished:
            raise Violation(f"the accounts {unfinished} are neither there nor gone")
        report = audit(self._data)
        with report.findings as findings:
            found = findings.read()
        if found:
            raise Violation(f"the audit finds: {found}")
