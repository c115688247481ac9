"""A recording as a picture that moves: SVG, with nothing in it but text, and CSS that shows its frames.

Where nothing moves, because the reader does not want it or the program cannot, the last frame is
shown: the whole session.
"""

from __future__ import annotations

import html
from collections.abc import Sequence

import pyte
from pyte.screens import Char

from tests.pictures.recording import Event

#: A cell, in pixels, and what is around all of them.
WIDTH, HEIGHT, MARGIN, TOP = 8.4, 19, 14, 40
#: There is no frame before so many seconds without output: what is drawn is not seen half drawn. And none
#: that would be shown for less than so many.
BURST, FRAME = 0.03, 0.13
#: For how long the last one is shown, in seconds.
LAST = 6.0
COLOURS = {
    "default": "#d6dde0",
    "black": "#5c6a70",
    "red": "#f2877c",
    "green": "#6fcf9b",
    "brown": "#e0bd6a",
    "blue": "#7fb2f0",
    "magenta": "#cf9df0",
    "cyan": "#5fd0c0",
    "white": "#eef2f3",
}
_STYLE = """
text{{font:14px ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace;fill:{ink};white-space:pre}}
.b{{font-weight:700}}
.strip{{animation:play {total:.2f}s steps(1,end) infinite}}
@keyframes play{{{steps}}}
@media (prefers-reduced-motion:reduce){{.strip{{animation:none}}}}
"""

#: A line of the screen: runs of cells, each with the column it begins in and its style.
Line = tuple[tuple[int, str, str], ...]


def draw(events: Sequence[Event], size: tuple[int, int], title: str) -> str:
    """The SVG of these events on a terminal of this size."""
    frames = _frames(events, size)
    columns, lines = size
    width, height = round(columns * WIDTH + 2 * MARGIN), lines * HEIGHT + TOP + MARGIN
    defined: dict[tuple[str, int, Line], str] = {}
    names = [_name(defined, screen) for _, screen in frames]
    # The last frame comes first: it is what stands there when nothing moves.
    strip = [names[-1], *names[:-1]]
    total = frames[-1][0] + LAST
    moments = [
        (0.0, 1),
        *((time, place) for place, (time, _) in enumerate(frames[1:-1], 2)),
        (frames[-1][0], 0),
    ]
    moments.append((total, 0))
    steps = "".join(
        f"{100 * time / total:.2f}%{{transform:translateX({-place * width:.0f}px)}}"
        for time, place in moments
    )
    shown = "".join(f'<use href="#{name}" x="{place * width}"/>' for place, name in enumerate(strip) if name)
    definitions = "".join(
        f'<g id="{name}">{above and f"""<use href="#{above}"/>"""}<g transform="translate(0 {row * HEIGHT})">'
        f"{_text(line)}</g></g>"
        for (above, row, line), name in defined.items()
    )
    style = _STYLE.format(ink=COLOURS["default"], total=total, steps=steps)
    dots = "".join(
        f'<circle cx="{MARGIN + 8 + 20 * number}" cy="20" r="6" fill="{colour}"/>'
        for number, colour in enumerate(("#f2877c", "#e0bd6a", "#6fcf9b"))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}"'
        f' height="{height:.0f}" role="img"><title>{html.escape(title)}</title><style>{style}</style>'
        f"<defs>{definitions}</defs>"
        f'<rect width="100%" height="100%" rx="10" fill="#12191c"/>{dots}'
        f'<svg x="{MARGIN}" y="{TOP}" width="{columns * WIDTH:.0f}" height="{lines * HEIGHT}">'
        f'<g class="strip">{shown}</g></svg></svg>\n'
    )


def _frames(events: Sequence[Event], size: tuple[int, int]) -> list[tuple[float, tuple[Line, ...]]]:
    """What stands on the screen from which moment on, where it is another thing than before."""
    screen = pyte.Screen(*size)
    stream = pyte.Stream(screen)
    frames: list[tuple[float, tuple[Line, ...]]] = []
    for number, event in enumerate(events):
        stream.feed(event.text)
        last = frames[-1][0] if frames else -FRAME
        later = events[number + 1].time if number + 1 < len(events) else float("inf")
        if later - event.time < BURST or later - last < FRAME:
            continue
        now = tuple(_line(screen, row) for row in range(size[1]))
        if not frames or frames[-1][1] != now:
            frames.append((event.time, now))
    return frames


def _name(defined: dict[tuple[str, int, Line], str], screen: tuple[Line, ...]) -> str:
    """A screen as a line below what was defined before: most of each was, since little changes."""
    name = ""
    for row, line in enumerate(screen):
        if line:
            name = defined.setdefault((name, row, line), f"s{len(defined)}")
    return name


def _line(screen: pyte.Screen, row: int) -> Line:
    """A line of the screen, without what is blank; the cursor is a cell like any other."""
    runs: list[tuple[int, str, str]] = []
    at = (screen.cursor.x, screen.cursor.y) if not screen.cursor.hidden else (-1, -1)
    for column in range(screen.columns):
        cell: Char = screen.buffer[row][column]
        style = _style(cell, (column, row) == at)
        if runs and runs[-1][2] == style and runs[-1][0] + len(runs[-1][1]) == column:
            runs[-1] = (runs[-1][0], runs[-1][1] + cell.data, style)
        elif cell.data != " " or style == "cursor":
            runs.append((column, cell.data, style))
    return tuple(
        (column, text.rstrip(), style) for column, text, style in runs if text.strip() or style == "cursor"
    )


def _style(cell: Char, cursor: bool) -> str:
    if cursor:
        return "cursor"
    colour = cell.fg.removeprefix("bright")
    return f"{'b ' if cell.bold else ''}{colour if colour in COLOURS else 'default'}"


def _text(line: Line) -> str:
    """The runs of a line, each on its columns, whatever font there is."""
    parts = []
    for column, text, style in line:
        x = column * WIDTH
        if style == "cursor":
            parts.append(f'<rect x="{x:.1f}" width="{WIDTH}" height="{HEIGHT}" fill="#d6dde0" opacity=".6"/>')
            if not text:
                continue
        bold = ' class="b"' if style.startswith("b ") else ""
        colour = style.rpartition(" ")[2]
        fill = f' fill="{COLOURS[colour]}"' if colour in COLOURS and colour != "default" else ""
        size = f' textLength="{len(text) * WIDTH:.1f}"' if len(text) > 1 else ""
        parts.append(f'<text x="{x:.1f}" y="14"{size}{bold}{fill}>{html.escape(text)}</text>')
    return "".join(parts)
