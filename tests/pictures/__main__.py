"""Makes the pictures."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.pictures.page import shoot
from tests.pictures.scene import BEFORE, Scene, Stage
from tests.pictures.terminal import record

#: Where they are.
FOLDER = Path(__file__).resolve().parent.parent.parent / "docs" / "pictures"


def make(folder: Path, fast: bool = False) -> None:
    """Make all of them in this folder.

    @param fast: nobody wants to see them: what is typed is typed at once.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        stage: Any = Stage(stack)
        scene = Scene(stage)
        scene.join("alice", "bob", "carol", "backup", "erin", "frank")
        scene.tell(BEFORE)
        scene.leave("alice", "carol", "backup", "erin", "frank")
        shoot(stage, scene, folder)
        record(stage, scene, folder, fast)


def main() -> None:
    """Make all of them, and say how large they are."""
    parser = argparse.ArgumentParser(prog="python -m tests.pictures", description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where to put them (docs/pictures)")
    parser.add_argument("--fast", action="store_true", help="to see whether it works: nobody types slowly")
    options = parser.parse_args()
    folder: Path = options.folder
    make(folder, options.fast)
    for file in sorted(folder.iterdir()):
        print(f"{file.stat().st_size:8,}  {file.name}")


if __name__ == "__main__":
    main()
