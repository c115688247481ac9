"""Tokens, which stand for a password: a request with one costs the server no hashing."""

from __future__ import annotations

from http import HTTPStatus

from chat.messages import Logout, Token, TokenIssued
from chat.web.api.asked import Asked, bearer, credentials
from chat.web.api.desk import Desk
from chat.web.api.endpoint import Answer, Operation, Reply
from chat.web.api.parameters import flag
from chat.web.api.problem import Problem


async def issue(desk: Desk, asked: Asked) -> Reply:
    """A new token."""
    async with desk.conversation(asked) as conversation:
        issued = await conversation.ask(Token())
        assert isinstance(issued, TokenIssued)
        token = bearer(conversation.name, issued.value)
    return Reply(HTTPStatus.CREATED, {"token": token, "expires": issued.expires})


async def revoke(desk: Desk, asked: Asked) -> Reply:
    """Revoke the token that is shown, or all of the account."""
    everywhere = asked.query.get("all", False)
    if not everywhere and credentials(asked.request).field != "token":
        detail = "Show the token that is to be revoked, or revoke all of them with ?all=true."
        raise Problem(HTTPStatus.CONFLICT, "no-token", detail)
    async with desk.conversation(asked) as conversation:
        await conversation.ask(Logout(all=everywhere))
    return Reply(HTTPStatus.NO_CONTENT)


OPERATIONS = (
    Operation(
        "POST",
        "/token",
        "issueToken",
        "Get a token in place of the password",
        issue,
        answers={HTTPStatus.CREATED: Answer("The token, told this once, and when it ends.", "Token")},
    ),
    Operation(
        "DELETE",
        "/token",
        "revokeToken",
        "Revoke tokens",
        revoke,
        query=(flag("all", "All tokens of the account, not only the one that is shown."),),
        answers={
            HTTPStatus.NO_CONTENT: Answer("Revoked."),
            HTTPStatus.CONFLICT: Answer("No token was shown, and not all are to be revoked.", "Problem"),
        },
    ),
)
