"""A request, as somebody typed it, put to the server."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from chat.client.client import Client
from chat.messages import (
    Block,
    Blocks,
    ChangePassword,
    Delete,
    Frame,
    List,
    Ping,
    Read,
    Recovery,
    Search,
    Token,
    Unblock,
)


def ask(client: Client, question: Frame) -> Deferred[Any]:
    """Ask the server; fires with its answer."""
    if isinstance(question, List):
        return client.listing(question.box, question.after, question.limit, question.before)
    if isinstance(question, Search):
        return client.search(question.query, question.box, question.before, question.limit)
    if isinstance(question, Read):
        return client.read(question.ids)
    if isinstance(question, Delete):
        return client.delete(question.ids)
    if isinstance(question, ChangePassword):
        return client.change_password(question.password, question.new)
    if isinstance(question, Token):
        return client.new_token()
    if isinstance(question, Block):
        return client.block(question.username)
    if isinstance(question, Unblock):
        return client.unblock(question.username)
    if isinstance(question, Blocks):
        return client.blocked()
    if isinstance(question, Recovery):
        return client.recovery_codes(question.password)
    assert isinstance(question, Ping), question
    return client.ping()
