"""The web page in a real browser: the ways in and out."""

from __future__ import annotations

import re
import sys

from tests.browser import retry
from tests.daemon import execute, password
from tests.page import DOORS, PageTestCase


class EntranceTests(PageTestCase):
    """The ways in and out."""

    def test_wrong(self) -> None:
        """A wrong password and an unknown name are told in plain words; an account can be made at once."""
        self.daemon.start(*DOORS)
        self.daemon.user("alice")
        window = self.window()
        window.log_in("alice", "not the password")
        window.see("#login-form .wrong", "Wrong user name or password")
        window.log_in("carol")
        window.see("#ask-title", "There is no account carol")
        window.page.click("#ask-yes")
        window.page.fill("#sign-up-form [name=password]", "short")
        window.page.click("#sign-up-form button.primary")
        window.see("#sign-up-form .wrong", "at least 8")
        window.page.fill("#sign-up-form [name=name]", "alice")
        window.page.fill("#sign-up-form [name=password]", password("carol"))
        window.page.click("#sign-up-form button.primary")
        window.see("#sign-up-form .wrong", "The name alice is taken")

    def test_invitation(self) -> None:
        """A link with an invitation makes an account where nobody else can; a used one does not."""
        self.daemon.start(*DOORS, "--registration", "invite")
        command = ("-m", "chat.admin.main", "invite", "--data", "data", "--days", "1")
        made = execute(sys.executable, *command, folder=self.daemon.folder)
        found = re.search(r"(?:[0-9a-z]{4}-){6}[0-9a-z]{4}", made.stdout)
        assert found is not None, made
        window = self.window(fragment=f"#invite={found[0]}")
        window.see("#door-notice", "You are invited")
        form = window.page.locator("#sign-up-form")
        form.locator("[name=name]").fill("carol")
        form.locator("[name=password]").fill(password("carol"))
        form.locator("button.primary").click()
        window.see("#codes", "Your recovery codes")
        self.assertNotIn(found[0], window.page.url)
        late = self.window(fragment=f"#invite={found[0]}")
        late.page.fill("#sign-up-form [name=name]", "dave")
        late.page.fill("#sign-up-form [name=password]", password("dave"))
        late.page.click("#sign-up-form button.primary")
        late.see("#sign-up-form .wrong", "invitation")
        late.page.fill("#sign-up-form [name=invite]", "")
        late.page.click("#sign-up-form button.primary")
        late.see("#sign-up-form .wrong", "wants an invitation")
        late.page.evaluate("() => { location.hash = 'forgotten'; }")
        late.see("#forgotten-form")
        self.assertFalse(late.page.is_visible("#door-notice"))

    def test_forgotten(self) -> None:
        """A recovery code replaces a forgotten password, once."""
        self.daemon.start(*DOORS)
        window = self.window()
        window.page.click("text=Create an account")
        window.page.fill("#sign-up-form [name=name]", "alice")
        window.page.fill("#sign-up-form [name=password]", password("alice"))
        window.page.click("#sign-up-form button.primary")
        window.see("#codes-list li")
        codes = window.page.locator("#codes-list li").all_inner_texts()
        self.assertEqual(len(codes), 8)
        other = self.window()
        for secret in ("another password", "yet another one"):
            other.page.click("text=Forgot the password?")
            other.page.fill("#forgotten-form [name=name]", "alice")
            other.page.fill("#forgotten-form [name=code]", codes[0])
            other.page.fill("#forgotten-form [name=password]", secret)
            other.page.click("#forgotten-form button.primary")
            if secret == "another password":
                other.see("#self-name", "alice")
                other.page.click("#self")
                other.page.click("#log-out")
        other.see("#forgotten-form .wrong", "code")

    def test_passing(self) -> None:
        """Without staying logged in, the login lasts as long as the tab."""
        self.daemon.start(*DOORS)
        self.daemon.user("alice")
        window = self.window()
        window.page.uncheck("#login-form [name=stay]")
        window.log_in("alice")
        retry(lambda: bool(window.keeps(":login")), window.page)
        window.page.reload()
        window.see("#self-name", "alice")
        window.tab().wait_for_selector("#login-form", state="visible")

    def test_account(self) -> None:
        """The password is changed, codes are renewed, and in the end the account is deleted."""
        self.daemon.start(*DOORS)
        bob = self.daemon.user("bob")
        self.daemon.user("alice")
        window = self.window("alice")
        page = window.page
        page.click("#self")
        page.fill("#password-form [name=old]", "not it")
        page.fill("#password-form [name=new]", "another password")
        page.focus("#password-form button")
        page.keyboard.press("Enter")
        window.see("#password-form .wrong", "rong")
        self.assertEqual(page.evaluate("document.activeElement.textContent"), "Change the password")
        page.fill("#password-form [name=old]", password("alice"))
        page.fill("#password-form [name=new]", "another password")
        page.click("#password-form button")
        window.see("#password-form .right", "in force")
        page.reload()  # by the new token: the old one is revoked
        window.see("#self-name", "alice")
        page.fill("#recovery-form [name=password]", "another password")
        page.click("#recovery-form button")
        window.see("#codes-list li")
        page.click("text=I have them")
        page.click("text=Delete my account…")
        page.fill("#delete-form [name=password]", password("alice"))
        page.click("#delete-form button")
        window.see("#delete-form .wrong", "rong")
        page.fill("#delete-form [name=password]", "another password")
        page.click("#delete-form button")
        window.see("#door-notice", "The account alice is deleted")
        bob.send("alice", "Are you still there?")
        self.assertEqual(bob.expect("accepted", "message")[1]["returned"]["code"], "account-deleted")
