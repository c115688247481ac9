"""The conversation of one request with the core: in memory, in the same frames as at every door.

So whatever holds for those who come in by another door (who may log in, how often, how
much they may send, who is blocked) holds here without being said again.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Callable, Coroutine, NamedTuple, Optional, Sequence, Union

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from chat.errors import Code, FatalError
from chat.messages import Delivered, Failed, Fatal, Frame, Login, Message, NewPassword, Welcome
from chat.origin import Origin
from chat.ports import Peer
from chat.session import Session
from chat.web.api.problem import not_logged_in, refused, unauthorized

#: What comes without having been asked for.
Pushed = Union[Message, Delivered]


class Credentials(NamedTuple):
    """Who somebody claims to be, and what they show for it.

    @ivar field: what the secret is: C{password} or C{token}, as in a login frame.
    """

    name: str
    field: str
    secret: str


class HungUp(Exception):
    """Whoever asked is not there any more."""


class Conversation:
    """The L{chat.ports.Peer} of a session that serves one request.

    @ivar name: the prepared name of the account, once logged in.
    @ivar pushed: called with what comes without having been asked for.
    @ivar kept: called with how many bytes are kept of it while it is not wanted.
    @ivar paused: whether no more of that is wanted for now; of the mailbox nothing is shown before the
        first L{drained}.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        converse: Callable[[Peer], Session],
        origin: Origin,
        shown_after: Optional[int] = None,
    ) -> None:
        """Begin.

        @param origin: where the request comes from.
        @param shown_after: see L{Session}; by default nothing of the mailbox is shown.
        """
        self._clock = clock
        self.origin = origin
        self.name = ""
        self.paused = False
        self.pushed: Callable[[Sequence[Pushed]], None] = lambda frames: None
        self.kept: Callable[[int], None] = lambda size: None
        self._said: deque[Frame] = deque()  # answers, on their way to whoever asked
        self._answer: Optional[Deferred[Frame]] = None
        self._woken: Optional[Deferred[bool]] = None
        self._end: Optional[Exception] = None
        self._session = converse(self)
        self._session.shown_after = shown_after

    # --- for whoever serves the request ---

    async def log_in(self, who: Credentials) -> None:
        """Become a session of this account.

        @raise Problem: it is not let in.
        """
        answer = await self._ask(Login(field="username", value=who.name))
        if isinstance(answer, NewPassword) and who.field == "password":
            # A name that is free: to go on would be to sign up.
            raise unauthorized("Wrong user name or password.")
        if not isinstance(answer, Failed):
            answer = await self._ask(Login(field=who.field, value=who.secret))
        if isinstance(answer, Failed):
            raise not_logged_in(answer)
        assert isinstance(answer, Welcome)
        self.name = answer.username

    async def ask(self, frame: Frame) -> Frame:
        """The answer to this frame.

        @raise Problem: it is refused.
        """
        answer = await self._ask(frame)
        if isinstance(answer, Failed):
            raise refused(answer)
        return answer

    def tell(self, frame: Frame) -> None:
        """Say something that has no answer."""
        try:
            self._session.receive([frame])
        except Exception:
            self._failed(Failure())

    @property
    def waits(self) -> bool:
        """Whether there is a L{pause}."""
        return self._woken is not None

    async def pause(self, seconds: float) -> bool:
        """Wait until L{wake} is called; False: it was not, for so long.

        @raise Problem: the session has ended.
        """
        self._check()
        woken = self._woken = Deferred()
        timer = self._clock.callLater(max(0.0, seconds), self._wake, False)
        try:
            return await woken
        finally:
            self._woken = None
            if timer.active():
                timer.cancel()

    def wake(self) -> None:
        """End a L{pause}."""
        self._clock.callLater(0, self._wake, True)

    @property
    def ready(self) -> bool:
        """Whether what is asked now is looked at now: who has sent too much is not heard for a while."""
        return self._session.ready

    @property
    def live(self) -> bool:
        """Whether all that waited was shown, and what comes now is shown when it comes."""
        return self._session.live

    @property
    def settling(self) -> bool:
        """See L{Session.settling}."""
        return self._session.settling

    def drained(self) -> None:
        """Go on showing what comes."""
        self.paused = False
        self._session.drained()

    def hang_up(self) -> None:
        """Nobody is there any more: whoever waits for something is told; what was accepted stands."""
        self._session.lost()
        self._finish(HungUp())

    def end(self) -> None:
        """Nothing more is wanted, and nobody waits for anything.

        Nobody is told either: this may be said by one who is being thrown away while waiting.
        """
        self._answer = self._woken = None
        self._end = self._end or HungUp()
        self._session.lost()

    def shut_down(self) -> None:
        """The server stops: what is under way is answered, then whoever waits is told."""
        self._session.end(FatalError(Code.SHUTTING_DOWN, "The server is shutting down. Ask again later."))

    # --- from the session ---

    def send(self, frames: Sequence[Frame]) -> None:
        """See L{chat.ports.Peer.send}."""
        pushed: list[Pushed] = []
        for frame in frames:
            if isinstance(frame, (Message, Delivered)):
                pushed.append(frame)
            else:
                if isinstance(frame, Welcome) and self._session.shown_after is not None:
                    self.paused = True
                self._said.append(frame)
                # Not at once: the session is in the middle of something, and would be asked the next thing.
                self._clock.callLater(0, self._pass_on)
        if pushed and self._end is None:
            self.pushed(pushed)

    def keep(self, size: int) -> None:
        """See L{chat.ports.Peer.keep}."""
        self.kept(size)

    def close(self) -> None:
        """See L{chat.ports.Peer.close}: the last word, which is on its way, says so."""

    def resume(self) -> None:
        """See L{chat.ports.Peer.resume}: nothing is held back here."""

    def wait(self, seconds: float) -> Deferred[None]:
        """See L{chat.ports.Peer.wait}."""
        return deferLater(self._clock, seconds)

    def run(self, steps: Coroutine[Any, Any, None]) -> None:
        """See L{chat.ports.Peer.run}."""
        Deferred.fromCoroutine(steps).addCallbacks(lambda _: self._look(), self._failed)

    # --- inside ---

    async def _ask(self, frame: Frame) -> Frame:
        self._check()
        answer = self._answer = Deferred()
        self.tell(frame)
        return await answer

    def _check(self) -> None:
        if self._end is not None:
            raise self._end

    def _pass_on(self) -> None:
        frame = self._said.popleft()
        if isinstance(frame, Fatal):
            self._finish(refused(frame))
            return
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.callback(frame)

    def _wake(self, woken: bool) -> None:
        if self._woken is not None:
            self._woken.callback(woken)

    def _look(self) -> None:
        """Something has been carried out: perhaps it was the last of what waited."""
        if self.live:
            self.wake()

    def _finish(self, error: Exception) -> None:
        if self._end is not None:
            return
        self._end = error
        answer, self._answer = self._answer, None
        for waiting in (answer, self._woken):
            if waiting is not None:
                waiting.errback(error)

    def _failed(self, failure: Failure) -> None:
        self._log.failure("A session failed", failure)
        self._session.fail()
