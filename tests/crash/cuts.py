"""Cuts the power at moments chosen by a seed, and goes on with what the disk has kept."""

from __future__ import annotations

import copy
import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Sequence

from tests.crash.aftermath import End, Trial, play, survive
from tests.crash.disk import Disk
from tests.crash.known import Known
from tests.crash.power import PoweredStorage
from tests.crash.stage import Step
from tests.crash.storage import Snapshot


class _Cuts:
    """Takes so many snapshots at each moment; each is one way in which the disk may have forgotten."""

    def __init__(
        self, name: str, disk: Disk, known: Known, place: Path, seed: int, wanted: Counter[int]
    ) -> None:
        self._name = name
        self._disk = disk
        self._known = known
        self._place = place
        self._seed = seed
        self._wanted = wanted
        self.points = 0
        self.taken: list[Snapshot] = []

    def point(self, what: str) -> None:
        """A moment."""
        self.points += 1
        for number in range(self._wanted[self.points]):
            where = (
                f"{self._name}, seed {self._seed}, step {self._known.step},"
                f" point {self.points}, cut {number}, before {what}"
            )
            directory = self._place / f"{self._name}-{self.points}-{number}"
            self._disk.cut(random.Random(f"{self._seed} {self._name} {self.points} {number}"), directory)
            self.taken.append(Snapshot(directory, copy.deepcopy(self._known), where))


def cut_power(
    name: str, steps: Sequence[Step], place: Path, runs: int, seed: int, *, first: bool = False
) -> Trial:
    """Play the scenario and cut the power so many times, at moments and in ways chosen by C{seed}.

    @param first: whether the first failure is enough.
    """
    place.mkdir()
    cuts, expected = _play(name, steps, place / "first", seed, Counter())
    trial = Trial(points=cuts.points)
    chance = random.Random(f"{seed} {name}")
    wanted = Counter(chance.randint(1, cuts.points) for _ in range(runs))
    cuts, _ = _play(name, steps, place / "second", seed, wanted)
    assert cuts.points == trial.points, f"{name} had {trial.points} moments, and then {cuts.points}"
    for snapshot in cuts.taken:
        trial.runs += 1
        try:
            survive(snapshot, steps, expected)
        except Exception as error:
            trial.failures.append(f"{snapshot.where}: {type(error).__name__}: {error}")
        shutil.rmtree(snapshot.directory, ignore_errors=True)
        if first and trial.failures:
            break
    shutil.rmtree(place)
    return trial


def _play(
    name: str, steps: Sequence[Step], place: Path, seed: int, wanted: Counter[int]
) -> tuple[_Cuts, End]:
    place.mkdir()
    directory = place / name
    known = Known()
    disk = Disk(directory)
    cuts = _Cuts(name, disk, known, place, seed, wanted)
    storage = PoweredStorage(disk, cuts.point)
    with storage.installed():
        end = play(directory, known, steps, storage)
    return cuts, end
