"""Tokens, from docs/protocol.rst alone: which may stand for a password, and which may not any more."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional


@dataclass
class Token:
    """A token that somebody was told.

    @ivar account: of which account it is; C{None}: that is not certain.
    @ivar expires: when it ends, by the server's clock, in milliseconds.
    @ivar doubts: how often something was asked for that may have revoked it.
    @ivar place: how many had been asked for and answered by then; those behind can displace it.
    @ivar revoked: since which step it is certainly worth nothing.
    """

    account: Optional[int]
    expires: int
    doubts: int = 0
    place: int = 0
    revoked: Optional[int] = None


@dataclass
class Revocation:
    """A change of the password, or the revocation of all tokens: it binds the sessions that were there.

    @ivar by: who has asked for it.
    @ivar said: in which step.
    @ivar heard: in which step it was told to be done.
    """

    by: object
    said: int
    heard: Optional[int] = None
    tokens: list[Token] = field(default_factory=list)


@dataclass
class Purse:
    """The tokens of whoever has one name.

    @ivar tokens: by their values.
    @ivar asked: how many were asked for.
    @ivar answered: how many of these requests were answered.
    """

    tokens: dict[str, Token] = field(default_factory=dict)
    revocations: list[Revocation] = field(default_factory=list)
    asked: int = 0
    answered: int = 0

    def take(self, value: str, token: Token, asked: int) -> bool:
        """Somebody who asked for it in that step was told a token; whether it is a new one."""
        self.answered += 1
        token.place = self.answered
        # What was asked for meanwhile may have come after it.
        token.doubts += any(each.heard is None or each.heard >= asked for each in self.revocations)
        return self.tokens.setdefault(value, token) is token

    def revoke(self, by: object, step: int) -> Revocation:
        """Somebody asks for all tokens to be revoked, or for something that does so."""
        revocation = Revocation(by, step, tokens=list(self.tokens.values()))
        for token in revocation.tokens:
            token.doubts += 1
        self.revocations.append(revocation)
        return revocation

    def refused(self, revocation: Revocation) -> None:
        """It was certainly not done."""
        self.revocations.remove(revocation)
        for token in revocation.tokens:
            token.doubts -= 1

    @staticmethod
    def done(revocation: Revocation, step: int) -> None:
        """It was told to be done: what was there when it was asked for is worth nothing."""
        revocation.heard = step
        end(revocation.tokens, step)

    def may_refuse(self, by: object, entered: int) -> bool:
        """Whether a session that logged in then can be refused a token."""
        return any(
            each.heard is None or (each.heard >= entered and each.by is not by) for each in self.revocations
        )

    def must_refuse(self, by: object, admitted: int, asked: int) -> bool:
        """Whether a session that was admitted by then has to be refused the token that it asked for."""
        return any(
            each.by is not by and each.said > admitted and each.heard is not None and each.heard < asked
            for each in self.revocations
        )


def end(tokens: list[Token], step: int) -> None:
    """These are worth nothing from now on."""
    for token in tokens:
        if token.revoked is None:
            token.revoked = step
