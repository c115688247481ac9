"""What one connection tells of who is logged in there: logins, passwords, tokens, deletions."""

from __future__ import annotations

from typing import Optional

from chat.store import tokens
from tests.simulation.books import ACTIVE, WAITING, Account, Violation, during
from tests.simulation.claims import prepared
from tests.simulation.mail import Asked, Mail, Said, milliseconds
from tests.simulation.model import Model
from tests.simulation.tokens import Token, end


class Entry(Mail):
    """The judge of what one connection is told of logins."""

    def __init__(self, model: Model, door: str) -> None:
        super().__init__(model, door)
        self._tokens: list[Token] = []  # those of this login
        self._admitted = 0  # in which step it was certain that this session may be given tokens

    def _says_password(self, asked: Asked) -> None:
        claims = self.model.claims(self.name)
        password = asked.frame["value"]
        if self.prompt == "new-password" or not self.model.books.active(self.name):
            asked.epoch = claims.perhaps(password)
        asked.right = password in claims.passwords

    def _login_answer(self, asked: Asked, keyword: str, frame: Said) -> None:
        self._need(asked.kind == "login", f"{asked.kind} before the login was answered by {keyword}")
        field, model = asked.frame["field"], self.model
        if field == "username":
            self._need(keyword in ("password", "new-password"), f"the name was answered by {keyword}")
            self.prompt = keyword
            was = self._states(asked.step)
            if was == {ACTIVE}:
                self._need(keyword == "password", f"{self.name} exists, but it asked for a new password")
            if ACTIVE not in was:
                self._need(
                    keyword == "new-password", f"{self.name} does not exist, but it asked for the password"
                )
            return
        self._need(keyword in ("created", "welcome"), f"the password was answered by {keyword}")
        self._need(prepared(frame["username"]) == self.name, f"it made of {self.name} {frame['username']}")
        if keyword == "created":
            self.prompt_due = True
            claims = model.claims(self.name)
            claims.surely(asked.frame["value"], asked.epoch or claims.perhaps(asked.frame["value"]))
            self._need(
                any(ACTIVE in during(each.history, asked.step) for each in model.books.named(self.name)),
                "the account that it says it created is not there",
            )
            return
        self._tokens = []
        if field == "token":
            self._shown_token(asked)
        else:
            right = asked.right or asked.frame["value"] in model.claims(self.name).passwords
            self._need(right, "that was not the password")
        self._welcome(asked, frame)

    def _welcome(self, asked: Asked, frame: Said) -> None:
        self._enters(asked)
        if self.account is not None:
            possible = self._counts(self.account, asked.step)
            if frame["waiting"] not in possible:
                raise Violation(f"welcome {self.name}: {frame['waiting']} wait, it says; it was {possible}")

    def _enters(self, asked: Asked) -> None:
        """It is let in."""
        self.logged_in = True
        self.prompt = ""
        self._admitted = self.model.step
        self.entered = asked.step
        self.shown = {}
        self.confirmed = set()
        self._notices, self._owed = set(), set()
        self._last_id = self._last_fresh = 0
        accounts = self._active(asked.step)
        self._need(bool(accounts), f"it let {self.name} in, who does not exist")
        self.account = accounts[0] if len(accounts) == 1 else None

    def _counts(self, account: Account, since: int) -> range:
        """How many messages can have been waiting at one moment since then."""
        always = perhaps = 0
        for row in self.model.books.rows.values():
            was = [each[:2] == (WAITING, account.id) for each in during(row.history, since)]
            entered = row.history[0][0] >= since
            perhaps += any(was)
            always += all(was) and not entered
        return range(always, perhaps + 1)

    def _active(self, since: int) -> list[Account]:
        """The accounts of this name that were there at some moment since then."""
        return [each for each in self.model.books.named(self.name) if ACTIVE in during(each.history, since)]

    def _states(self, since: int) -> set[Optional[int]]:
        """In which states the accounts of this name were; empty: there were none."""
        states: set[Optional[int]] = set()
        for account in self.model.books.named(self.name):
            was = during(account.history, since)
            states.update(was)
            if account.history[0][0] >= since:
                states.add(None)
        return states

    def _wrong_password(self, asked: Asked) -> None:
        claims = self.model.claims(self.name)
        said = asked.frame.get("password", asked.frame.get("value"))
        if claims.certain and list(claims.passwords) == [said] and self._states(asked.step) == {ACTIVE}:
            self._need(asked.step > self._password_since(), "the right password was refused")

    def _password_since(self) -> int:
        return max((each.history[-1][0] for each in self.model.books.named(self.name)), default=0)

    def _password_changed(self, asked: Asked, frame: Said) -> None:
        self.model.claims(self.name).surely(asked.frame["new"], asked.epoch)
        self._revoked(asked)
        self._admitted = self.model.step

    def _account_deleted(self, asked: Asked, frame: Said) -> None:
        if self.account is not None:
            self._need(self.account.now == 2, f"{self.name} was told to be deleted, but is not")
        self._revoked(asked)
        self._logged_off()

    def _logged_off(self) -> None:
        self.logged_in = False
        self.account = None
        self.prompt_due = True
        self._tokens = []

    # --- tokens ---

    def _token_issued(self, asked: Asked, frame: Said) -> None:
        purse = self.model.claims(self.name).purse
        token = Token(self.account.id if self.account else None, milliseconds(frame["expires"]))
        token.doubts = any(
            each.kind in ("logout", "change-password", "delete-account") for each in self.asked
        )
        self._need(
            purse.take(frame["value"], token, asked.step), "it was given a token that there was before"
        )
        refused = purse.must_refuse(self, self._admitted, asked.step)
        self._need(not refused, "it was given a token, though the password is another one since it logged in")
        self._tokens.append(token)

    def _logged_out(self, asked: Asked, frame: Said) -> None:
        end(self._tokens, self.model.step)
        self._revoked(asked)
        self._logged_off()

    def _revoked(self, asked: Asked) -> None:
        if asked.revocation is not None:
            self.model.claims(self.name).purse.done(asked.revocation, self.model.step)

    def _shown_token(self, asked: Asked) -> None:
        """It was let in for this token."""
        token = self.model.claims(self.name).purse.tokens.get(asked.frame["value"])
        if token is None:
            raise Violation(f"{self.name} was let in for a token that nobody was given")
        self._need(token.revoked is None or token.revoked >= asked.step, "the token was revoked before")
        (said, jumps), (now, jumps_now) = asked.moment, self.model.moment
        ended = jumps == jumps_now and token.expires + 1000 <= said <= now
        self._need(not ended, "the token had ended")
        there = [each.id for each in self._active(asked.step)]
        self._need(token.account is None or token.account in there, "the token was another account's")
        self._tokens = [token]

    def _no_token(self, code: str) -> None:
        """It was refused a token."""
        purse = self.model.claims(self.name).purse
        purse.answered += 1
        if self.logged_in and code == "bad-state":
            lawful = purse.may_refuse(self, self.entered)
            self._need(lawful, "no token, though the password was not changed")

    def _wrong_token(self, asked: Asked) -> None:
        self._need(asked.frame.get("field") == "token", f"{asked.kind} was answered by wrong-token")
        purse = self.model.claims(self.name).purse
        token = purse.tokens.get(asked.frame["value"])
        if token is None or token.doubts or purse.asked - token.place >= tokens.MOST or token.account is None:
            return
        there = [each.id for each in self._active(asked.step)]
        # One that has ended is cleared away, and stays so when the clock is set back.
        good = token.expires > self.model.highest and self._states(asked.step) == {ACTIVE}
        self._need(not good or token.account not in there, "a good token was refused")
