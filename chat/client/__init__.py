"""A client that loses and doubles nothing, for programs and for the line client.

    async def main(reactor):
        client = Client(reactor, "127.0.0.1:5311", "alice", "correct horse")
        await client.start()
        accepted = await client.send("bob", "Dinner at eight?", receipt=True)
        fate = await client.delivered(accepted.id)
        await client.close()

Everything that takes time returns a Deferred.
"""

from __future__ import annotations

from chat.client.address import endpoint_from
from chat.client.backoff import Backoff
from chat.client.client import Client
from chat.client.errors import (
    ChangedServer,
    ClientError,
    Disconnected,
    Distrust,
    Ended,
    KnownServersError,
    NoSuchAccount,
    NotChat,
    NoTLS,
    OutboxFull,
    PlaintextRefused,
    Refused,
    Silent,
    Stopped,
    Unanswerable,
    UnknownMessage,
    UnknownServer,
    Untrusted,
    WrongServer,
)
from chat.client.fates import Fate
from chat.client.known import KnownServers
from chat.client.trust import Trust
from chat.messages import TokenIssued

__all__ = [
    "Backoff",
    "ChangedServer",
    "Client",
    "ClientError",
    "Disconnected",
    "Distrust",
    "Ended",
    "Fate",
    "KnownServers",
    "KnownServersError",
    "NoSuchAccount",
    "NoTLS",
    "NotChat",
    "OutboxFull",
    "PlaintextRefused",
    "Refused",
    "Silent",
    "Stopped",
    "TokenIssued",
    "Trust",
    "Unanswerable",
    "UnknownMessage",
    "UnknownServer",
    "Untrusted",
    "WrongServer",
    "endpoint_from",
]
