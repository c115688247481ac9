"""Carol writes in a terminal."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

from tests.daemon import PATIENCE, ROOT, password
from tests.pictures.drawing import draw
from tests.pictures.recording import Recording
from tests.pictures.scene import CLIENT, Scene, take

TITLE = "A session with chat in a terminal"
#: Columns and lines.
SIZE = (78, 28)


def record(stage: Any, scene: Scene, folder: Path, fast: bool = False) -> None:
    """Record it, while alice is there and answers."""
    scene.join("alice")
    alice = scene.people["alice"]
    alice.send("carol", "Thank you for the link!\nI have begun to listen.", ref="1")
    alice.expect("accepted")
    shell = Recording(
        ("bash", "--norc", "--noprofile", "--noediting"),
        SIZE,
        _environment(scene),
        scene.daemon.folder,
        PATIENCE,
    )
    stage.addCleanup(shell.kill)

    def pause(seconds: float) -> None:
        shell.pause(0.0 if fast else seconds)

    shell.until(r"\$ ")
    pause(1)
    shell.type("chat", fast)
    shell.until("Username:")
    pause(0.6)
    shell.type("carol", fast)
    shell.until("Password:")
    pause(0.6)
    shell.type(password("carol"), fast)
    shell.until("Welcome, carol")
    pause(1.5)
    shell.type("/to alice Did you find the part about receipts?", fast)
    take(alice)
    shell.until("delivered")
    pause(1.5)
    alice.send("carol", "I did. That is just what we need!", ref="2")
    alice.expect("accepted")
    shell.until("just what we need")
    pause(1.5)
    shell.type("Then I tell dora, too.", fast)
    take(alice)
    shell.until("delivered")
    pause(0.8)
    shell.type("/to dora There is a talk that you should hear.", fast)
    shell.until("There is no account")
    pause(2)
    shell.type("/search link", fast)
    shell.until("when it is there")
    pause(2.5)
    shell.type("/quit", fast)
    shell.until(r"\$ ")
    shell.kill()
    scene.leave("alice")
    shell.save(folder / "terminal.cast", TITLE)
    (folder / "terminal.svg").write_text(draw(shell.shortened, SIZE, TITLE), "utf-8")


def _environment(scene: Scene) -> dict[str, str]:
    """In which C{chat} is the client of this checkout, and finds the scene's server."""
    home = scene.daemon.folder / "home"
    programs = home / "bin"
    programs.mkdir(parents=True)
    (door,) = [where for kind, where in scene.daemon.doors if kind == "json"]
    command = shlex.join([*scene.program(CLIENT), door])
    (programs / "chat").write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    (programs / "chat").chmod(0o755)
    return {
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PS1": "$ ",
        "PYTHONPATH": str(ROOT),
        "TERM": "xterm-256color",
        "TZ": "UTC",
    }
