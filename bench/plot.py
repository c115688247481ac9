"""Draws what was measured, as plain SVG that reads well on light and on dark ground.

    python -m bench.plot results.json curves.json performance.svg

Takes what C{--json} of L{bench.run}, L{bench.tls} and L{bench.curves} wrote; the last name
is the picture.  Nothing but text comes out, and the same figures make the same picture.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from math import ceil, floor, log10
from pathlib import Path
from statistics import median
from typing import NamedTuple
from xml.sax.saxutils import escape

import msgspec

from bench.curves import Curve
from bench.run import BARE, times

WIDTH, PANEL_WIDTH = 860, 430
PANEL_HEIGHT = 250
LEFT, RIGHT, TOP, BOTTOM = 48, 14, 46, 44
#: The colours of the servers, on light ground and on dark; values are told in words, too.
LIGHT = ("#6b7280", "#2563eb", "#b45309", "#15803d", "#be185d", "#7c3aed", "#0e7490")
DARK = ("#9ca3af", "#7aa7ff", "#f0a04b", "#5fd07f", "#f472b6", "#b794f6", "#4fc3dc")


def _style(ground: str, ink: str, faint: str, colours: Sequence[str]) -> str:
    rules = [f".ground {{ fill: {ground} }} text {{ fill: {ink} }} .grid {{ stroke: {faint} }}"]
    for number, colour in enumerate(colours):
        rules.append(f".c{number} {{ fill: {colour} }} .l{number} {{ stroke: {colour} }}")
    return "\n".join(rules)


#: Plain rules, no variables: not only browsers show pictures.
STYLE = f"""\
svg {{ font: 12px sans-serif }} .title {{ font-weight: bold }} .line {{ fill: none; stroke-width: 2 }}
{_style("#ffffff", "#1b1b1b", "#c9c9c9", LIGHT)}
@media (prefers-color-scheme: dark) {{
{_style("#16181c", "#e8e8e8", "#4a4d52", DARK)}
}}
"""


class Results(msgspec.Struct):
    """What the files hold."""

    figures: dict[str, dict[str, dict[str, list[float]]]] = {}
    curves: list[Curve] = []


class Bars(NamedTuple):
    """Groups of bars: for each scenario, the value of each server."""

    title: str
    unit: str
    groups: list[tuple[str, dict[str, float]]]


def read(paths: Iterable[Path]) -> Results:
    """What all these files hold."""
    results = Results(figures={}, curves=[])
    for path in paths:
        read = msgspec.json.decode(path.read_bytes(), type=Results)
        results.figures.update(read.figures)
        results.curves += read.curves
    return results


def panels(results: Results) -> list[Bars | Curve]:
    """What is drawn: the cost in multiples of the bare loop, rates, curves."""
    ratios = []
    rates = []
    for scenario, servers in results.figures.items():
        costs = {name: median(columns["cpu"]) for name, columns in servers.items() if "cpu" in columns}
        if BARE in costs and len(costs) > 1:
            floor = servers[BARE]["cpu"]
            ratios.append((scenario, {name: times(servers[name]["cpu"], floor) for name in costs}))
        if costs and not scenario.startswith("steady"):
            rates.append((scenario, {name: median(servers[name]["rate"]) for name in costs}))
    drawn: list[Bars | Curve] = []
    if ratios:
        drawn.append(Bars("CPU of a message", "times the bare loop", ratios))
    if rates:
        drawn.append(Bars("Messages a second, server on one core", "messages/s", rates))
    return [*drawn, *results.curves]


def ticks(most: float) -> list[float]:
    """Round values from 0 to at least C{most}, four or so."""
    if most <= 0:
        return [0.0, 1.0]
    rough = most / 4
    power = 10.0 ** floor(log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough)
    return [step * number for number in range(ceil(round(most / step, 9)) + 1)]


def brief(value: float) -> str:
    """A number for an axis: C{5M}, C{100k}, C{0.5}."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


class Canvas:
    """The picture, element by element."""

    def __init__(self, servers: Sequence[str]) -> None:
        self._colours = {name: number % len(LIGHT) for number, name in enumerate(servers)}
        self._elements: list[str] = []
        self._x = self._y = 0.0

    def move(self, x: float, y: float) -> None:
        """What follows is placed from here."""
        self._x, self._y = x, y

    def text(self, x: float, y: float, words: str, anchor: str = "start", kind: str = "") -> None:
        """Words; C{anchor} says which end of them is at that place."""
        look = f' class="{kind}"' if kind else ""
        place = f'x="{self._x + x:.1f}" y="{self._y + y:.1f}"'
        self._elements.append(f'<text {place} text-anchor="{anchor}"{look}>{escape(words)}</text>')

    def rule(self, x: float, y: float, to: float) -> None:
        """A line of the grid."""
        self._elements.append(
            f'<path class="grid" d="M{self._x + x:.1f} {self._y + y:.1f}H{self._x + to:.1f}"/>'
        )

    def bar(self, x: float, y: float, width: float, height: float, server: str, words: str) -> None:
        """A bar of a server's colour; C{words} tell its value to who asks."""
        place = f'x="{self._x + x:.1f}" y="{self._y + y:.1f}" width="{width:.1f}" height="{height:.1f}"'
        self._elements.append(
            f'<rect {place} class="c{self._colours[server]}"><title>{escape(words)}</title></rect>'
        )

    def line(self, points: Sequence[tuple[float, float]], server: str) -> None:
        """A line through these points, each of them marked."""
        places = [(self._x + x, self._y + y) for x, y in points]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        colour = self._colours[server]
        self._elements.append(f'<path class="line l{colour}" d="M{path}"/>')
        self._elements += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" class="c{colour}"/>' for x, y in places]

    def legend(self, y: float, servers: Sequence[str], width: float) -> None:
        """Which colour is which server."""
        x = 0.0
        for server in servers:
            self.bar(x, y - 9, 10, 10, server, server)
            self.text(x + 14, y, server)
            x += 26 + 6.5 * len(server)
            if x > width - 80:
                x, y = 0.0, y + 15

    def svg(self, height: float) -> str:
        """All of it."""
        size = f'viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" height="{height:.0f}"'
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
                "<title>Performance, as measured by bench/</title>",
                f"<style>\n{STYLE}</style>",
                f'<rect class="ground" width="{WIDTH}" height="{height:.0f}"/>',
                *self._elements,
                "</svg>\n",
            ]
        )


def axis(canvas: Canvas, width: float, most: float, title: str, unit: str) -> float:
    """Title, grid and scale of a panel; the value at its top."""
    bottom = PANEL_HEIGHT - BOTTOM
    values = ticks(most)
    canvas.text(LEFT, 18, title, kind="title")
    canvas.text(LEFT, 34, unit)
    for value in values:
        y = bottom - (bottom - TOP) * value / values[-1]
        canvas.rule(LEFT, y, width - RIGHT)
        canvas.text(LEFT - 6, y + 4, brief(value), "end")
    return values[-1]


def draw_bars(canvas: Canvas, bars: Bars) -> None:
    """A panel of bars, over the whole width."""
    top = axis(canvas, WIDTH, max(max(values.values()) for _, values in bars.groups), bars.title, bars.unit)
    bottom = PANEL_HEIGHT - BOTTOM
    room = (WIDTH - LEFT - RIGHT) / len(bars.groups)
    for number, (scenario, values) in enumerate(bars.groups):
        left = LEFT + room * number
        width = room * 0.8 / len(values)
        for place, (server, value) in enumerate(values.items()):
            height = (bottom - TOP) * value / top
            words = f"{scenario}, {server}: {value:,.2f} {bars.unit}"
            canvas.bar(left + room * 0.1 + width * place, bottom - height, width * 0.9, height, server, words)
        canvas.text(left + room / 2, bottom + 16, scenario, "middle")


def draw_curve(canvas: Canvas, curve: Curve) -> None:
    """A panel of lines over a logarithmic scale, on which 0 has a place of its own at the left."""
    points = [point for points in curve.points.values() for point in points]
    top = axis(canvas, PANEL_WIDTH, max(y for _, y in points), curve.title, curve.y)
    bottom = PANEL_HEIGHT - BOTTOM
    xs = sorted({x for x, _ in points})
    first = log10(min((x for x in xs if x), default=1)) - (1 if xs[0] == 0 else 0)
    span = max(log10(max(xs[-1], 1)) - first, 1e-9)

    def across(x: int) -> float:
        share = (log10(x) - first) / span if x else 0.0
        return LEFT + 14 + (PANEL_WIDTH - LEFT - RIGHT - 28) * share

    for x in xs:
        canvas.text(across(x), bottom + 16, brief(x), "middle")
    canvas.text((LEFT + PANEL_WIDTH - RIGHT) / 2, bottom + 32, curve.x, "middle")
    for server, line in curve.points.items():
        canvas.line([(across(x), bottom - (bottom - TOP) * y / top) for x, y in line], server)


def draw(results: Results) -> str:
    """The picture of all of it."""
    drawn = panels(results)
    servers: dict[str, None] = {}
    for panel in drawn:
        groups = [panel.points] if isinstance(panel, Curve) else [group for _, group in panel.groups]
        for group in groups:
            servers.update(dict.fromkeys(group))
    canvas = Canvas([*servers])
    canvas.move(LEFT, 20)
    canvas.legend(0, [*servers], WIDTH - LEFT)
    y, column = 44.0, 0
    for panel in drawn:
        if isinstance(panel, Bars):
            canvas.move(0, y)
            draw_bars(canvas, panel)
            y += PANEL_HEIGHT
        else:
            canvas.move(column * PANEL_WIDTH, y)
            draw_curve(canvas, panel)
            column = 1 - column
            y += PANEL_HEIGHT if not column else 0
    return canvas.svg(y + (PANEL_HEIGHT if column else 0) + 10)


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw; exit status 1 when there is nothing to draw from."""
    parser = argparse.ArgumentParser(prog="python -m bench.plot", description="Draw what was measured.")
    parser.add_argument("results", type=Path, nargs="+", metavar="RESULTS.json")
    parser.add_argument("picture", type=Path, metavar="OUT.svg")
    options = parser.parse_args(arguments)
    try:
        results = read(options.results)
    except (OSError, msgspec.MsgspecError) as error:
        print(f"bench.plot: {error}", file=sys.stderr)
        return 1
    if not (results.figures or results.curves):
        print("bench.plot: there are no figures in these files", file=sys.stderr)
        return 1
    options.picture.write_text(draw(results), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
