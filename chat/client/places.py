"""Where this user's files are: what a person has written, and what the client remembers."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

#: On POSIX, the variable that names the folder and where it is otherwise; the same on Windows.
_SETTINGS = (("XDG_CONFIG_HOME", "~/.config"), ("APPDATA", "~"))
_STATE = (("XDG_STATE_HOME", "~/.local/state"), ("LOCALAPPDATA", "~"))


class Homeless(Exception):
    """This user has no home, and the environment names none.

    @ivar variable: what would have to be set.
    """

    def __init__(self, variable: str) -> None:
        super().__init__(f"there is no home folder; set {variable}")
        self.variable = variable


def settings() -> Path:
    """The folder of what the person decides: profiles, known servers.

    @raise Homeless: there is none.
    """
    return _folder(*_SETTINGS[os.name == "nt"])


def state(profile: str) -> Path:
    """The folder of what the client keeps for one profile: what is not sent yet, the history.

    @raise Homeless: there is none.
    """
    return _folder(*_STATE[os.name == "nt"]) / "profiles" / profile


def private(folder: Path) -> None:
    """Make a folder that only its owner may look into, unless it is there.

    @raise OSError: that cannot be.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def private_file(path: Path) -> None:
    """Make an empty file that only its owner may read, and its folder; and close one that is there.

    @raise OSError: that cannot be.
    """
    private(path.parent)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    with suppress(PermissionError):  # a file system that knows no owners
        os.chmod(path, 0o600)


def _folder(variable: str, below: str) -> Path:
    folder = os.environ.get(variable, "")
    if not os.path.isabs(folder):
        folder = os.path.expanduser(below)
    if not os.path.isabs(folder):
        raise Homeless(variable)
    return Path(folder, "chat")
