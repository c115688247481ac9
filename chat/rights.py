"""The rights the server keeps: a directory it cannot leave, and a user who may do little.

C{twistd} has C{--chroot}, C{--uid} and C{--gid}, but its own way of obeying them needs things of the
system in that directory: C{/dev/null} to go to the background, C{/etc/passwd} to know the user's
groups, the folder of the pid file.  So the server obeys them itself, after everything that needs the
rest of the system and before anything that listens to strangers:

    1. L{Rights.asked} looks up, in the whole system, what will be needed, and tells C{twistd} to leave it.
    2. L{Rights.lower} enters the directory and becomes the user; root is kept in reserve.
    3. L{Rights.for_port} is root once more, for a moment: ports below 1024 belong to root.
    4. L{Rights.give_up} throws the reserve away, before the first connection is served.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Iterator

from twisted.internet import tcp

from chat.errors import StartError

if sys.platform != "win32":
    import pwd


#: Modules that are imported when something is first done: a certificate signed, or numbers asked for.
LATE = ("cryptography.hazmat.backends.openssl.backend", "chat.web.numbers")


@dataclass(frozen=True)
class User:
    """Who the server becomes.

    @ivar groups: all groups it is in, C{gid} among them.
    """

    uid: int
    gid: int
    groups: tuple[int, ...]


class Rights:
    """What the operator lets the server do; nothing is changed when nothing was asked for."""

    def __init__(self, jail: Path | None = None, user: User | None = None, folder: str = "/") -> None:
        """Nothing happens yet.

        @param jail: the directory that the server cannot leave.
        @param user: who it becomes.
        @param folder: where it then is, seen from inside the jail.
        """
        self.jail = jail
        self.user = user
        self._folder = folder
        self._pid_file: str | None = None
        self._runner: dict[str, Any] = {}

    @classmethod
    def asked(cls, runner: Any) -> Rights:
        """What the options of C{twistd} ask for; they are cleared there, since it is done here.

        @param runner: the options before the name of the service, or C{None}.
        @raise ValueError: it cannot be done.
        """
        options = runner or {}
        jail, uid, gid = (options.get(name) for name in ("chroot", "uid", "gid"))
        if jail is None and uid is None and gid is None:
            return cls()
        if os.geteuid() != 0:
            if jail is None and uid in (None, os.getuid()) and gid in (None, os.getgid()):
                return cls()
            raise ValueError("only root can use --chroot, --uid and --gid: be root, or leave them out")
        if not hasattr(os, "setresuid"):  # macOS
            raise ValueError(
                "--chroot, --uid and --gid need Linux or a BSD: start it as the user that it is to be"
            )
        if options.get("euid"):
            raise ValueError("--euid keeps root's rights within reach: leave it out")
        if not uid:
            raise ValueError("a server that is root is held by nothing: name another user with --uid")
        if jail is not None and not os.path.isdir(jail):
            raise ValueError(f"--chroot {jail} is no directory: make it, for user {uid} alone")
        rights = cls(None if jail is None else Path(jail).resolve(), _user(uid, gid))
        rights._take_over(options)
        return rights

    def _take_over(self, options: dict[str, Any]) -> None:
        """From here on these options are not the runner's."""
        if self.jail is not None:
            if options.get("pidfile"):
                self._pid_file = self._inside(options["pidfile"])
                # Written by the user it concerns: root must not write where others may have put a link.
                options["pidfile"] = ""
            _spare_descriptor()
        _import_ahead()
        self._runner = options
        options["chroot"] = options["uid"] = options["gid"] = None
        if self.jail is not None and options.get("rundir", ".") != ".":
            self._folder = os.path.join("/", options["rundir"])
            options["rundir"] = "."

    def _inside(self, pid_file: str) -> str:
        """The name that the pid file has in the jail."""
        assert self.jail is not None
        if pid_file == os.path.abspath("twistd.pid"):
            return "/twistd.pid"  # nobody has named it
        name = Path(pid_file)
        try:
            return f"/{(name.parent.resolve() / name.name).relative_to(self.jail)}"
        except ValueError:
            raise ValueError(
                f"--pidfile {pid_file} is outside of --chroot {self.jail}, where the server cannot remove it:"
                " name one inside, or none with --pidfile="
            ) from None

    def outside(self, path: Path) -> Path:
        """How the operator calls what the server calls C{path}."""
        if self.jail is None:
            return path
        return self.jail / os.path.relpath(os.path.join(self._folder, path), "/")

    def lower(self, data: Path) -> None:
        """Enter the jail and become the user; what is in C{data} must be the user's.

        @raise StartError: it cannot be done, or the server could do nothing there.
        """
        if self.user is None:
            return
        try:
            if self.jail is not None:
                os.chroot(self.jail)
                os.chdir(self._folder)
            os.setgroups(self.user.groups)
            os.setgid(self.user.gid)
            os.setresuid(self.user.uid, self.user.uid, 0)
        except OSError as error:
            raise StartError(
                f"The server cannot become user {self.user.uid} in {self.jail or '/'} ({error.strerror}):"
                " start it as root, with all of root's capabilities."
            ) from None
        self._may_write(data)
        if self._pid_file is not None:
            self._write_pid(self._pid_file)

    def _may_write(self, data: Path) -> None:
        """A directory that cannot be written is named as the operator knows it, with the remedy."""
        assert self.user is not None
        where = data
        while not os.path.exists(where) and where != where.parent:
            where = where.parent
        if not os.access(where, os.W_OK | os.X_OK):
            known, owner = self.outside(where), f"{self.user.uid}:{self.user.gid}"
            remedy = f"chown -R {owner}" if where == data else f"chown {owner}"
            raise StartError(
                f"User {self.user.uid} cannot write in {known}:"
                f" {remedy} {known}, or name another directory with --data."
            )

    def _write_pid(self, name: str) -> None:
        try:
            Path(name).write_text(str(os.getpid()))
        except OSError as error:
            raise StartError(
                f"The pid file {self.outside(Path(name))} cannot be written ({error.strerror}):"
                f" name one with --pidfile where user {self.user.uid if self.user else '?'} may write,"
                " or none with --pidfile=."
            ) from None
        self._runner["pidfile"] = name  # twistd removes it at the end

    @contextmanager
    def for_port(self) -> Iterator[None]:
        """Be root again for as long as it takes to open a port."""
        if self.user is None:
            yield
            return
        os.seteuid(0)
        try:
            yield
        finally:
            os.seteuid(self.user.uid)

    def __str__(self) -> str:
        """Who the server is, for the log."""
        if self.user is None:
            return "the user who started it"
        who = f"user {self.user.uid}, group {self.user.gid}"
        return who if self.jail is None else f"{who}, in {self.jail}"

    def give_up(self) -> None:
        """There is no way back from here."""
        if self.user is not None:
            os.setresuid(self.user.uid, self.user.uid, self.user.uid)


def _spare_descriptor() -> None:
    """Let Twisted have the descriptor it spares for the moment when there are no more.

    It opens C{/dev/null} for that, which is not there in the jail; a copy of one opened now does as well.
    """
    null = os.open(os.devnull, os.O_RDONLY)
    tcp._reservedFD = tcp._FileDescriptorReservation(lambda: os.fdopen(os.dup(null)))  # type: ignore[assignment]


def _import_ahead() -> None:
    """Import what else is imported only when it is first needed: then it may be out of reach."""
    for name in LATE:
        with suppress(ImportError):
            import_module(name)


def _user(uid: int, gid: int | None) -> User:
    """The user of this id, whether the system has a name for it or not.

    @raise ValueError: there is no telling which group it is in.
    """
    try:
        known = pwd.getpwuid(uid)
    except KeyError:
        if gid is None:
            raise ValueError(f"user {uid} has no name here: name its group, too, with --gid") from None
        return User(uid, gid, (gid,))
    group = known.pw_gid if gid is None else gid
    return User(uid, group, tuple(os.getgrouplist(known.pw_name, group)))
