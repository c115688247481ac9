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
    ClientError,
    Disconnected,
    Ended,
    NoSuchAccount,
    NotChat,
    OutboxFull,
    Refused,
    Silent,
    Stopped,
    UnknownMessage,
)
from chat.client.fates import Fate
from chat.messages import TokenIssued

__all__ = [
    "Backoff",
    "Client",
    "ClientError",
    "Disconnected",
    "Ended",
    "Fate",
    "NoSuchAccount",
    "NotChat",
    "OutboxFull",
    "Refused",
    "Silent",
    "Stopped",
    "TokenIssued",
    "UnknownMessage",
    "endpoint_from",
]
