"""The line that is being typed, on a terminal on which nothing is ever taken back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prompt_toolkit.application import Application
from prompt_toolkit.layout import Layout
from prompt_toolkit.output import Output
from prompt_toolkit.renderer import Renderer
from prompt_toolkit.styles import DummyStyle


class AppendingRenderer(Renderer):
    """Draws the line, and changes nothing but the line while it is being typed.

    Where the toolkit would erase it, to draw it anew elsewhere, it stays where it is, and the
    cursor goes on below.

    @ivar drawn: whether anything of it is to be seen.
    @ivar away: draw nothing for the moment.
    """

    def __init__(self, output: Output, left: Callable[[], object]) -> None:
        """
        @param left: called when the toolkit has erased the line, or so it thinks.
        """
        super().__init__(DummyStyle(), output)
        self.drawn = False
        self.away = False
        self._left = left
        self._below = 0

    def render(self, app: Application[Any], layout: Layout, is_done: bool = False) -> None:
        """See L{Renderer.render}."""
        app.exit_style = ""  # otherwise all of it would be drawn again when it is done, and read again
        if not self.away:
            super().render(app, layout)
            size = self.output.get_size()
            height = layout.container.preferred_height(size.columns, size.rows).preferred
            self.drawn = self._cursor_pos != (0, 0)
            self._below = max(0, min(height, size.rows) - 1 - self._cursor_pos.y)
        if is_done:
            self._go_below()

    def leave(self) -> None:
        """Go on below the line; it stays as it is."""
        self._go_below()
        self.away = True
        # Somebody may paste something while nothing is drawn.
        self.output.enable_bracketed_paste()
        self._bracketed_paste_enabled = True
        self.output.flush()

    def erase(self, leave_alternate_screen: bool = True) -> None:
        """See L{Renderer.erase}: it is left."""
        if self.drawn:
            self.leave()
            self._left()

    def _go_below(self) -> None:
        if self.drawn:
            self.output.cursor_down(self._below)
            self.output.write_raw("\r\n")
            self.drawn = False
        self.reset()
