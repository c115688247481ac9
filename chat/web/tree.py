"""What is where at the web door."""

from __future__ import annotations

from typing import Mapping

from twisted.web.resource import IResource

from chat.web.files import page
from chat.web.site import Room


class Root(Room):
    """The page, its files, and what programs ask for, side by side: so all of it works below any path."""

    def __init__(self) -> None:
        """Read the page."""
        super().__init__()  # type: ignore[no-untyped-call]
        for name, room in page().items():
            self.putChild(name.encode(), room)

    def put(self, rooms: Mapping[bytes, IResource]) -> None:
        """Show these, too.

        @param rooms: what is below the page, by the first part of the path.
        """
        for part, room in rooms.items():
            self.putChild(part, room)
