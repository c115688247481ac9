"""Screenshots of the page: a desk and a phone, by day and by night."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from tests.browser import NARROW, Browser, Window, address
from tests.pictures.scene import NOW, THEN, Scene

DESK = (1120, 720)
#: How much is given away for small files: WebP, with this quality.
QUALITY = 72


def shoot(stage: Any, scene: Scene, folder: Path) -> None:
    """Take all of them; alice looks at what was said, and more comes meanwhile."""
    browser = Browser.shared()
    desk = _open(browser, stage, scene, DESK, device_scale_factor=1.5)
    phone = _open(browser, stage, scene, NARROW, device_scale_factor=2, has_touch=True, is_mobile=True)
    desk.open("bob")
    desk.see("#messages .message", "beside the door")
    scene.join("carol", "backup")
    scene.tell(THEN)
    scene.leave("carol", "backup")
    for window in (desk, phone):
        window.see("#people a.person", "begins at 21:07")
    _save(desk, folder / "desktop-light.webp")
    _save(phone, folder / "phone-light.webp")
    phone.page.emulate_media(color_scheme="dark")
    phone.open("bob")
    phone.see("#messages .message", "beside the door")
    _save(phone, folder / "phone-dark.webp")
    desk.page.emulate_media(color_scheme="dark")
    desk.open("carol")
    desk.see("#messages .message", "begins at 21:07")
    _save(desk, folder / "desktop-dark.webp")
    desk.context.close()
    phone.context.close()


def _open(browser: Browser, stage: Any, scene: Scene, size: tuple[int, int], **options: Any) -> Window:
    window = browser.window(stage, address(scene.daemon), size, color_scheme="light", **options)
    window.page.clock.set_fixed_time(NOW)
    window.log_in("alice")
    window.see("#people a.person", "bob")
    return window


def _save(window: Window, file: Path) -> None:
    """Write what is shown when nothing moves any more."""
    window.page.mouse.move(0, 0)
    window.page.wait_for_timeout(600)
    session = window.context.new_cdp_session(window.page)
    shot = session.send("Page.captureScreenshot", {"format": "webp", "quality": QUALITY})
    file.write_bytes(base64.b64decode(shot["data"]))
