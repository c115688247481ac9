"""What a client says and hears, whatever the connection is."""

from __future__ import annotations

import json
from typing import Any

from chat.wire import Codec, deserialize, framing, serialize

#: What stands under C{data} in one frame; a message is told from the rest by having no keyword.
Said = dict[str, Any]


def keywords(frames: list[Said]) -> list[str]:
    """The frames' keywords, C{"message"} for a message, and with their code those that refuse."""
    return [" ".join(filter(None, (frame.get("keyword", "message"), frame.get("code")))) for frame in frames]


def password(name: str) -> str:
    """The password of a user that tests make."""
    return f"password of {name}"


class Talker:
    """What a client says and hears, in JSON or in DER; a subclass has the connection.

    Everything is a C{dict} of the names that protocol.md gives, whatever the codec,
    so that one test can speak both.
    """

    def __init__(self, codec: Codec | str) -> None:
        self.codec = Codec(codec)
        self._framing = framing(self.codec)

    def write(self, data: bytes) -> None:
        """Send these bytes."""
        raise NotImplementedError

    def hear(self) -> list[Said]:
        """What the server has said since this was last asked."""
        raise NotImplementedError

    # --- saying ---

    def encoded(self, kind: str, **data: Any) -> bytes:
        """The bytes of a frame of this type."""
        line = json.dumps({"type": kind, "data": data}, ensure_ascii=False).encode() + b"\n"
        if self.codec is Codec.JSON:
            return line
        return serialize(deserialize(line, Codec.JSON), Codec.DER)

    def system(self, keyword: str, **data: Any) -> None:
        """Say a system frame."""
        self.write(self.encoded("system", keyword=keyword, **data))

    def answer(self, field: str, value: str, **more: Any) -> None:
        """Say a login frame."""
        self.write(self.encoded("login", field=field, value=value, **more))

    def send(self, recipient: str, body: str, **more: Any) -> None:
        """Say a message."""
        self.write(self.encoded("message", recipient=recipient, body=body, **more))

    def received(self, *ids: int) -> None:
        """Confirm messages."""
        self.system("received", ids=list(ids))

    def say_login(self, name: str, secret: str | None = None) -> None:
        """Say user name and password, at once."""
        self.answer("username", name)
        self.answer("password", password(name) if secret is None else secret)

    def log_in(self, name: str, secret: str | None = None) -> list[Said]:
        """Log in and tell what was heard from C{welcome} on; fails when not welcome."""
        self.say_login(name, secret)
        heard = self.hear()
        while heard and heard[0].get("keyword") != "welcome":
            if heard[0].get("keyword") in ("failed", "fatal"):
                raise AssertionError(heard[0])
            del heard[0]
        if not heard:
            raise AssertionError(f"{name} was not welcome")
        return heard

    # --- hearing ---

    def decode(self, data: bytes) -> list[Said]:
        """The frames that these bytes complete."""
        self._framing.feed(data)
        heard = []
        while (wire := self._framing.next(1 << 40)) is not None:
            if self.codec is Codec.DER:
                wire = serialize(deserialize(wire, Codec.DER), Codec.JSON)
            heard.append(json.loads(wire)["data"])
        return heard

    @property
    def undecoded(self) -> int:
        """How many bytes of an unfinished frame there are."""
        return self._framing.buffered
