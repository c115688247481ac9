"""Deliveries that a client has asked to be told of, and is too busy to hear of."""

from __future__ import annotations

from chat.messages import Delivered
from chat.ports import Peer

#: What a delivery notice that a client is too busy for takes while it is kept, in bytes, and each id in it.
NOTICE_BYTES = 400
NOTICED_BYTES = 40
#: A client for which more bytes of them would have to be kept is hung up.
NOTICES_KEPT = 1024 * 1024


class Notices:
    """What one client is to be told when it reads again."""

    __slots__ = ("_ids", "_kept", "_peer")

    def __init__(self, peer: Peer) -> None:
        """Keep them for this peer, and say how many bytes they take."""
        self._peer = peer
        self._ids: dict[str, list[int]] = {}  # by the time of their delivery
        self._kept = 0

    def keep(self, frame: Delivered) -> bool:
        """Tell this later; whether there is not too much to tell."""
        ids = self._ids.get(frame.time)
        if ids is None:
            ids = self._ids[frame.time] = []
            self._kept += NOTICE_BYTES
        ids.extend(frame.ids)
        self._kept += NOTICED_BYTES * len(frame.ids)
        self._peer.keep(self._kept)
        return self._kept <= NOTICES_KEPT

    def tell(self) -> None:
        """Tell what the peer is ready for."""
        while self._ids and not self._peer.paused:
            time, ids = next(iter(self._ids.items()))
            del self._ids[time]
            self._kept -= NOTICE_BYTES + NOTICED_BYTES * len(ids)
            self._peer.keep(self._kept)
            self._peer.send([Delivered(ids=ids, time=time)])

    def forget(self) -> None:
        """Nobody is to be told any more."""
        self._ids.clear()
        self._peer.keep(0)
