"""Cuts the power at moments chosen by a seed, and goes on with what the disk has kept."""

from __future__ import annotations

import copy
import random
import shutil
from collections import Counter
from functools import partial
from pathlib import Path

from tests.crash.aftermath import End, Once, Trial, continued, play
from tests.crash.disk import Disk
from tests.crash.known import Known
from tests.crash.power import PoweredStorage
from tests.crash.scenarios import Scenario
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
    name: str,
    scenario: Scenario,
    place: Path,
    runs: int,
    seed: int,
    *,
    again: float = 0.2,
    first: bool = False,
) -> Trial:
    """Play the scenario and cut the power so many times, at moments and in ways chosen by C{seed}.

    @param again: the share of the continuations in which it is cut once more.
    @param first: whether the first failure is enough.
    """
    place.mkdir()
    cuts, expected = _play(name, scenario, place / "first", seed, Counter())
    trial = Trial(points=cuts.points)
    chance = random.Random(f"{seed} {name}")
    wanted = Counter(chance.randint(1, cuts.points) for _ in range(runs))
    cuts, _ = _play(name, scenario, place / "second", seed, wanted)
    assert cuts.points == trial.points, f"{name} had {trial.points} moments, and then {cuts.points}"
    for snapshot in cuts.taken:
        disk = Disk(snapshot.directory)
        second = Once(snapshot, chance, partial(disk.cut, chance))
        storage = PoweredStorage(disk, second.point)
        continued(trial, snapshot, scenario, expected, chance.random() < again, second, storage)
        if first and trial.failures:
            break
    shutil.rmtree(place)
    return trial


def _play(name: str, scenario: Scenario, place: Path, seed: int, wanted: Counter[int]) -> tuple[_Cuts, End]:
    place.mkdir()
    directory = place / name
    known = Known()
    scenario.prepare(directory)
    disk = Disk(directory)
    cuts = _Cuts(name, disk, known, place, seed, wanted)
    storage = PoweredStorage(disk, cuts.point)
    with storage.installed():
        end = play(directory, known, scenario, storage)
    return cuts, end
