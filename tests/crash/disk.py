"""A disk that may forget, when the power fails, whatever was not synchronized.

The model is harsher than most file systems: of what was written to a file since its last C{fsync}, and
of what was done to the names in the directory since that was last synchronized, any part may be there
and any may be missing; a write may be torn at each boundary of a sector, and a torn sector may hold
anything.  What was synchronized is there.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import NamedTuple, Optional, Union

from chat.store.files import LOCK

SECTOR = 512


class _Write(NamedTuple):
    offset: int
    content: bytes


class _Truncate(NamedTuple):
    size: int


class File:
    """A file, whatever it is called.

    @ivar durable: what is certain to be there.
    @ivar pending: what was done to it since then.
    """

    def __init__(self, content: bytes = b"") -> None:
        self.durable = bytearray(content)
        self.pending: list[Union[_Write, _Truncate]] = []

    def write(self, offset: int, content: bytes) -> None:
        """Written, but not synchronized."""
        self.pending.append(_Write(offset, content))

    def truncate(self, size: int) -> None:
        """Cut, but not synchronized."""
        self.pending.append(_Truncate(size))

    def sync(self) -> None:
        """What was written will be there."""
        for change in self.pending:
            _apply(self.durable, change)
        self.pending.clear()

    def cut(self, chance: random.Random) -> bytes:
        """What may be there after the power was cut now."""
        content = bytearray(self.durable)
        if not self.pending:
            return bytes(content)
        whim = chance.choice(("nothing", "everything", "beginning", "parts", "parts", "rubbish"))
        if whim == "nothing":
            return bytes(content)
        if whim == "everything":
            for change in self.pending:
                _apply(content, change)
            return bytes(content)
        if whim == "beginning":
            last = chance.randrange(len(self.pending))
            for change in self.pending[:last]:
                _apply(content, change)
            torn = self.pending[last]
            if isinstance(torn, _Write):
                sectors = _sectors(torn)
                for sector in sectors[: chance.randrange(len(sectors) + 1)]:
                    _apply(content, sector)
            return bytes(content)
        share = chance.random()
        for change in self.pending:
            if isinstance(change, _Truncate):
                if chance.random() < share:
                    _apply(content, change)
                continue
            for sector in _sectors(change):
                if chance.random() < share:
                    _apply(content, sector)
                elif whim == "rubbish" and chance.random() < 0.5:
                    _apply(content, _Write(sector.offset, chance.randbytes(len(sector.content))))
        return bytes(content)


def _apply(content: bytearray, change: Union[_Write, _Truncate]) -> None:
    if isinstance(change, _Truncate):
        del content[change.size :]
        content.extend(bytes(change.size - len(content)))
        return
    end = change.offset + len(change.content)
    if len(content) < end:
        content.extend(bytes(end - len(content)))
    content[change.offset : end] = change.content


def _sectors(write: _Write) -> list[_Write]:
    sectors = []
    start = 0
    while start < len(write.content):
        end = start + SECTOR - (write.offset + start) % SECTOR
        sectors.append(_Write(write.offset + start, write.content[start:end]))
        start = end
    return sectors


class _Named(NamedTuple):
    """A change to the names of a folder: C{old} goes, and C{new} is the entry from then on."""

    old: Optional[str]
    new: Optional[str]
    entry: Optional[Union[File, Folder]]


class Folder:
    """A folder, whatever it is called: its names, and what each of them stands for."""

    def __init__(self, directory: Optional[Path] = None) -> None:
        """It is empty, or what is in C{directory} is certain to be there."""
        self._entries: dict[str, Union[File, Folder]] = {}
        for each in directory.iterdir() if directory is not None else ():
            if each.name != LOCK:
                self._entries[each.name] = Folder(each) if each.is_dir() else File(each.read_bytes())
        self._durable = dict(self._entries)
        self._pending: list[_Named] = []

    def open(self, name: str) -> File:
        """The file of this name, which is made if it was not there."""
        file = self._entries.get(name)
        if file is None:
            file = File()
            self._add(name, file)
        assert isinstance(file, File)
        return file

    def make(self, name: str) -> None:
        """A new folder of this name."""
        self._add(name, Folder())

    def folder(self, name: str) -> Folder:
        """The folder of this name."""
        folder = self._entries[name]
        assert isinstance(folder, Folder)
        return folder

    def unlink(self, name: str) -> None:
        """The name is gone, if it was there."""
        if self._entries.pop(name, None) is not None:
            self._pending.append(_Named(name, None, None))

    def rename(self, old: str, new: str) -> None:
        """The entry is called C{new}, instead of any other one."""
        entry = self._entries[new] = self._entries.pop(old)
        self._pending.append(_Named(old, new, entry))

    def sync_names(self) -> None:
        """The names are as they are now."""
        for change in self._pending:
            _rename(self._durable, change)
        self._pending.clear()

    def cut(self, chance: random.Random, directory: Path) -> None:
        """Make C{directory} what this one may be after the power was cut now."""
        names = dict(self._durable)
        whim = chance.choice(("nothing", "everything", "beginning", "parts", "parts"))
        beginning = chance.randrange(len(self._pending) + 1)
        for number, change in enumerate(self._pending):
            if (
                whim == "everything"
                or (whim == "beginning" and number < beginning)
                or (whim == "parts" and chance.random() < 0.5)
            ):
                _rename(names, change)
        directory.mkdir()
        for name, entry in names.items():
            if isinstance(entry, Folder):
                entry.cut(chance, directory / name)
            else:
                (directory / name).write_bytes(entry.cut(chance))

    def _add(self, name: str, entry: Union[File, Folder]) -> None:
        self._entries[name] = entry
        self._pending.append(_Named(None, name, entry))


class Disk(Folder):
    """One directory, and the one it is in.

    @ivar directory: where it is while there is power.
    """

    def __init__(self, directory: Path) -> None:
        """What is there already is certain to be there."""
        self.directory = directory
        self._rooted = directory.is_dir()  # whether its own name is certain to be there
        super().__init__(directory if self._rooted else None)

    def sync_parent(self) -> None:
        """The name of the directory will be there."""
        self._rooted = True

    def cut(self, chance: random.Random, directory: Path) -> None:
        """As of any folder, or there is none."""
        if self._rooted or chance.random() < 0.5:
            super().cut(chance, directory)


def _rename(names: dict[str, Union[File, Folder]], change: _Named) -> None:
    if change.old is not None:
        names.pop(change.old, None)
    if change.new is not None:
        assert change.entry is not None
        names[change.new] = change.entry
