"""What a client shows in place of a password: a token, or a recovery code."""

from __future__ import annotations

from dataclasses import dataclass

from chat.conformance.talk import Connection


@dataclass(frozen=True)
class Proof:
    """One kind of them.

    @ivar field: what the frame that shows it calls it, and the code that refuses it.
    """

    field: str

    def show(self, connection: Connection, name: str, value: str, prompt: str = "password") -> None:
        """Say a name, and this in place of the password."""
        connection.login("username", name)
        connection.answer(prompt)
        connection.login(self.field, value)

    def not_taken(self, connection: Connection, name: str, value: str, prompt: str = "password") -> None:
        """Shown under this name, this is refused."""
        self.show(connection, name, value, prompt)
        connection.refused(f"wrong-{self.field}")
        connection.answer("username")
