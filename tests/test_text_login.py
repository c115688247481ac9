"""Tests for the text door: logging in, and passwords."""

from __future__ import annotations

from chat.messages import (
    LOGIN_FRAME_BYTES,
    USER_FRAME_BYTES,
    Accepted,
    AccountDeleted,
    Answer,
    Block,
    Blocked,
    Blocks,
    ChangePassword,
    Created,
    DeleteAccount,
    Delivered,
    Failed,
    Fatal,
    LoggedOut,
    Login,
    Logout,
    NewPassword,
    Password,
    PasswordChanged,
    Ping,
    Pong,
    Quit,
    Received,
    Recovery,
    RecoveryCodes,
    Token,
    TokenIssued,
    Unblock,
    Username,
    Welcome,
)
from chat.wire.text import TextTranslator
from tests.text_client import AT, HIDE, TIME, Client, DoorCase, letter, sent


class PasswordTests(DoorCase):
    """Passwords are typed twice where they are new, and never echoed by telnet."""

    def test_change(self) -> None:
        """The present one, then the new one twice."""
        client = self.logged_in()
        for line, seen in {
            "/passwd": b"First your present password; /cancel gives up.\nPassword: ",
            "secret123": b"New password: ",
            "secret456": b"Again: ",
            "secret45": b"The two were not the same. Type both again.\nNew password: ",
            "secret789": b"Again: ",
        }.items():
            self.assertEqual(client.types(line), ([], seen))
        self.assertEqual(
            client.types("secret789", PasswordChanged()),
            ([ChangePassword(password="secret123", new="secret789")], b"Your password is changed.\n"),
        )

    def test_recovery(self) -> None:
        """New recovery codes are shown once, after the password was asked again."""
        client = self.logged_in()
        question = b"Your password makes new recovery codes; /cancel keeps those you have.\nPassword: "
        self.assertEqual(client.types("/recovery"), ([], question))
        frames, seen = client.types("secret123", RecoveryCodes(codes=["se\x1bcret"]))
        self.assertEqual(frames, [Recovery(password="secret123")])
        self.assertTrue(seen.endswith(b"\n  se\\x1bcret\n"), seen)
        client.types("/recovery")
        self.assertEqual(client.types("/cancel"), ([], b"Given up; nothing was sent or changed.\n"))

    def test_token(self) -> None:
        """A token is shown once, with its end, and how to use it."""
        client = self.logged_in()
        frames, seen = client.types("/token", TokenIssued(value="se\x1bcret", expires=TIME))
        self.assertEqual(frames, [Token()])
        self.assertIn(rf"Token, until {AT}: se\x1bcret".encode() + b"\n", seen)
        self.assertIn(b"/token NAME", seen)

    def test_block(self) -> None:
        """Whom one has blocked is said after each change, and when it is asked."""
        client = self.logged_in()
        for line, frame in {
            "/block  mallory ": Block(username="mallory"),
            "/unblock mallory": Unblock(username="mallory"),
            "/blocks": Blocks(),
        }.items():
            frames, seen = client.types(line, Blocked(usernames=["eve", "m\u202eal"]))
            self.assertEqual((frames, seen), ([frame], b"Blocked: eve, m\\u202eal.\n"))
        self.assertEqual(client.types("/blocks", Blocked(usernames=[]))[1], b"You have blocked nobody.\n")
        self.assertEqual(client.types("/block")[0] + client.types("/unblock ")[0], [])

    def test_automatic(self) -> None:
        """What a program wrote is shown as such."""
        client = self.logged_in()
        seen = client.says(letter(7, automatic=True))
        self.assertEqual(seen.splitlines()[0], f"Message 7 from bob, {AT}, automatic".encode())

    def test_log_out(self) -> None:
        """/logout leads to the login again, and what is typed behind it waits for that."""
        client = self.logged_in()
        self.assertEqual(client.types("/logout now")[0], [])
        for line, frame in {"/logout": Logout(), "/logout ALL": Logout(all=True)}.items():
            client = self.logged_in()
            client.door.feed(f"{line}\nalice\n".encode())
            self.assertEqual(client.door.take(USER_FRAME_BYTES), [frame])
            self.assertIsNone(client.door.next(LOGIN_FRAME_BYTES))
            self.assertEqual(client.says(LoggedOut(), Username()), b"You are logged out.\nUsername: ")
            self.assertEqual(client.door.next(LOGIN_FRAME_BYTES), Login(field="username", value="alice"))

    def test_log_out_refused(self) -> None:
        """Where it is refused, the conversation goes on."""
        client = self.logged_in()
        seen = client.types("/logout", Failed(code="storage-full", reason="No room."))[1]
        self.assertEqual(seen, b"Failed: No room. (storage-full)\n")
        self.assertEqual(client.types("/ping")[0], [Ping()])

    def test_change_to_nothing(self) -> None:
        """The session says what is wrong with an empty one; it need not be typed twice."""
        client = self.logged_in()
        for line in ("/passwd", "secret123"):
            client.types(line)
        self.assertEqual(client.types("")[0], [ChangePassword(password="secret123", new="")])

    def test_given_up(self) -> None:
        """/cancel is no password anyone can have, and always gives up."""
        for lines in (["/passwd"], ["/passwd", "old"], ["/passwd", "old", "new"], ["/delete-account"]):
            client = self.logged_in()
            for line in lines:
                client.types(line)
            self.answered(client, "/cancel", "Given up; nothing was sent or changed.")
            self.assertEqual(client.types("/ping")[0], [Ping()])

    def test_delete_account(self) -> None:
        """The password is asked for; then this is the login again, and nothing is left over."""
        client = self.logged_in()
        client.says(letter(1))
        client.types("/to bob hi", Accepted(id=2, time=TIME, state="waiting"))
        self.assertEqual(
            client.types("/delete-account"),
            (
                [],
                b"Your password deletes the account alice; /cancel keeps it."
                b" Messages that still wait for you go back to their senders.\nPassword: ",
            ),
        )
        client.says(letter(3))
        self.assertEqual(
            client.types("secret123", AccountDeleted(), Username()),
            (
                [Received(ids=[3]), DeleteAccount(password="secret123")],
                b"Your account is deleted.\nUsername: ",
            ),
        )
        self.assertEqual(client.types("bob")[0], [Login(field="username", value="bob")])
        client.says(Password())
        client.types("secret123", Welcome(username="bob", waiting=0))
        self.answered(client, "/reply", "Not sent: no message was shown yet that could be replied to.")
        self.assertEqual(
            client.says(Delivered(ids=[2], time=TIME)), f"Message 2: delivered, {AT}.\n".encode()
        )

    def test_lines_behind_a_deletion(self) -> None:
        """What a line means behind it depends on its answer, so they wait for that."""
        typed = b"/ping\n/delete-account\nsecret123\ncarol\n/quit\n"
        client = self.logged_in()
        ping, *own, deletion = client.arrives(typed)
        self.assertEqual((ping, deletion), (Ping(), DeleteAccount(password="secret123")))
        client.says(*[each.frame for each in own if isinstance(each, Answer)], Pong())
        self.assertEqual(client.door.take(LOGIN_FRAME_BYTES), [])
        self.assertEqual(client.door.buffered, len(b"carol\n/quit\n"))
        client.says(AccountDeleted(), Username())
        self.assertEqual(client.door.take(LOGIN_FRAME_BYTES), [Login(field="username", value="carol")])
        client = self.logged_in()
        client.types("/to bob")
        client.arrives(typed)
        client.says(Pong())
        self.assertEqual(client.door.take(USER_FRAME_BYTES), [])
        client.says(Failed(code="wrong-password", reason="Wrong."))
        self.assertEqual(client.door.take(USER_FRAME_BYTES), [sent("bob", "carol"), Quit()])
        self.assertEqual(client.arrives(b"/ping\n"), [])

    def test_a_password_in_character_mode(self) -> None:
        """A client that leaves it to the server to rub out is understood."""
        client = Client(b"\r\n")
        client.types("alice", Password())
        frames, _ = client.types("\x7f\bsecrx\x7fet13\b23")
        self.assertEqual(frames, [Login(field="password", value="secret123")])

    def test_a_password_longer_than_any(self) -> None:
        """Nothing is rubbed out in it, and no more of it is kept than what will be refused."""
        client = self.logged_in()
        long = "x\x7f" * LOGIN_FRAME_BYTES
        for line in ("/passwd", long, "new secret"):
            client.types(line)
        shown = ChangePassword(password=long[: LOGIN_FRAME_BYTES + 1], new="new secret")
        self.assertEqual(client.types("new secret")[0], [shown])


class LoginTests(DoorCase):
    """Prompts, a new account, mistakes."""

    def test_in_words(self) -> None:
        """A login, from the first byte, over nc: no stray byte."""
        client = Client()
        self.assertEqual(client.screen, b"chat 1.0, protocol 1\nUsername: ")
        self.assertEqual(
            client.types("alice", Password()),
            ([Login(field="username", value="alice")], b"Password: "),
        )
        self.assertEqual(
            client.types(" secret123 ", Welcome(username="alice", waiting=2)),
            (
                [Login(field="password", value=" secret123 ")],
                b"Welcome, alice. 2 messages are waiting. /help lists the commands.\n",
            ),
        )

    def test_sign_up(self) -> None:
        """A new password is typed twice, and the session hears of it when both are the same."""
        client = Client()
        free = b"This name is free. A password makes the account; Enter goes back.\n"
        self.assertEqual(client.types("alice", NewPassword())[1], free + b"New password: ")
        for line, seen in {
            "secret123": b"Again: ",
            "secret12": b"The two were not the same. Type both again.\nNew password: ",
            "secret456": b"Again: ",
        }.items():
            self.assertEqual(client.types(line), ([], seen))
        self.assertEqual(
            client.types("secret456", Created(username="alice"), Username()),
            (
                [Login(field="password", value="secret456", codes=True)],
                b"The account alice is made. Log in now.\nUsername: ",
            ),
        )

    def test_going_back(self) -> None:
        """Enter or /cancel leads back to the name: the session refuses a password of no bytes."""
        for lines in ([""], ["/cancel"], ["secret123", "/cancel"]):
            client = Client()
            client.types("alcie", NewPassword())
            for line in lines:
                frames, _ = client.types(line)
            self.assertEqual(frames, [Login(field="password", value="", codes=True)], str(lines))

    def test_names(self) -> None:
        """Anything may be a name, but for two commands; a doubled slash makes them names."""
        for line, name in {"/x": "/x", "//x": "/x", "//quit": "/quit", " a b ": " a b "}.items():
            self.assertEqual(Client().types(line)[0], [Login(field="username", value=name)])
        for line in ("", "  "):
            self.assertEqual(Client().types(line), ([], b"Username: "))
        frames, seen = Client().types("/help")
        self.assertEqual(frames, [])
        self.assertTrue(seen.endswith(b" lists the commands.\nUsername: "), seen)
        self.assertEqual(Client().types("/quit"), ([], b"Goodbye.\n"))

    def test_invited(self) -> None:
        """An invitation is pasted, or its code typed, before the name; then one signs up as anybody."""
        code = "7q2m-x0vd-3hfk-p9ws-c41n-ztj8-r5ye"
        line = f"chat://chat.example:5311/?code={code}&pin={'5f' * 32}"
        for typed in (line, f"chat join '{line}'", f"/invite {code}", f"/invite  {code} "):
            client = Client()
            self.assertEqual(
                client.types(typed, Username()), ([Login(field="invite", value=code)], b"Username: ")
            )
            self.assertTrue(client.types("carol", NewPassword())[1].endswith(b"New password: "))
            client.types("secret123")
            codes = ["h3xt-9wq0-kc7f-2zpm", "0d5r-x8yb-4t1n-vj6e"]
            self.assertEqual(
                client.types("secret123", Created(username="carol", recovery=codes), Username())[1],
                b"The account carol is made. Log in now.\n"
                b"Your recovery codes. Write them down now: they are not shown again. If you forget your\n"
                b"password, each of them lets you choose a new one, once.\n"
                b"  h3xt-9wq0-kc7f-2zpm\n  0d5r-x8yb-4t1n-vj6e\nUsername: ",
            )

    def test_wrongly_invited(self) -> None:
        """A line that was cut, and a code that is not good, are refused, and the name is asked again."""
        client = Client()
        line = "chat join 'chat://chat.example:5311/?code=7q2m-x0vd-3hf"
        frames, seen = client.types(line, Username())
        self.assertEqual(frames, [])
        self.assertRegex(seen, rb"^Failed: That is no invitation: .* \(wrong-invite\)\nUsername: $")
        answers = [Failed(code="wrong-invite", reason="No."), Username()]
        self.assertEqual(client.types("/invite x", *answers)[1], b"Failed: No. (wrong-invite)\nUsername: ")
        self.assertEqual(
            client.types("/invite"), ([], b"To sign up with an invitation: /invite CODE\nUsername: ")
        )

    def test_recovering(self) -> None:
        """/recover NAME asks for a code in place of the password, and then for a new one, twice."""
        client = Client()
        frames, seen = client.types("/recover alice", Password())
        self.assertEqual((frames, seen), ([Login(field="username", value="alice")], b"Recovery code: "))
        frames, seen = client.types(" h3xt-9wq0-kc7f-2zpm", NewPassword())
        self.assertEqual(frames, [Login(field="recovery", value="h3xt-9wq0-kc7f-2zpm")])
        self.assertEqual(
            seen,
            b"That code is good. Choose a new password; Enter goes back, and the code stays good.\n"
            b"New password: ",
        )
        self.assertEqual(client.types("secret456"), ([], b"Again: "))
        self.assertEqual(
            client.types("secret456", PasswordChanged(), Username()),
            ([Login(field="password", value="secret456")], b"Your password is changed.\nUsername: "),
        )
        self.assertIn(b"This name is free", client.types("carol", NewPassword())[1])

    def test_not_recovered(self) -> None:
        """A wrong code is refused; what comes after it is about the next name."""
        client = Client()
        usage = b"To choose a new password with a recovery code: /recover NAME\nUsername: "
        self.assertEqual(client.types("/recover"), ([], usage))
        client.types("/recover alice", Password())
        answers = [Failed(code="wrong-recovery", reason="No."), Username()]
        self.assertEqual(client.types("x", *answers)[1], b"Failed: No. (wrong-recovery)\nUsername: ")
        self.assertIn(b"This name is free", client.types("carol", NewPassword())[1])

    def test_with_a_token(self) -> None:
        """/token NAME asks for a token in place of the password, once."""
        client = Client()
        answers = [Failed(code="wrong-token", reason="No."), Username()]
        frames, seen = client.types("/token alice", Password())
        self.assertEqual((frames, seen), ([Login(field="username", value="alice")], b"Token: "))
        frames, seen = client.types(" secret ", *answers)
        self.assertEqual(frames, [Login(field="token", value="secret")])
        self.assertEqual(seen, b"Failed: No. (wrong-token)\nUsername: ")
        self.assertEqual(client.types("alice", Password())[1], b"Password: ")
        self.assertEqual(client.types("secret123")[0], [Login(field="password", value="secret123")])

    def test_token_of_nobody(self) -> None:
        """Who has no token, or no name, is asked what everybody is asked."""
        client = Client()
        usage = b"To log in with a token: /token NAME\nUsername: "
        for line in ("/token", "/token  "):
            self.assertEqual(client.types(line), ([], usage))
        self.assertEqual(client.types("/tokens")[0], [Login(field="username", value="/tokens")])
        client = Client()
        self.assertTrue(client.types("/token alcie", NewPassword())[1].endswith(b"New password: "))
        client.types("", Failed(code="bad-password", reason="No."), Username())
        self.assertEqual(client.types("alice", Password())[1], b"Password: ")

    def test_not_utf8_in_place_of_a_token(self) -> None:
        """The same is asked again, not for a password."""
        for command, prompt, field in (
            ("/token alice", b"Token: ", "token"),
            ("/recover alice", b"Recovery code: ", "recovery"),
        ):
            client = Client()
            client.types(command, Password())
            for _ in range(2):
                (answer,) = client.arrives(b"\xe9\n", LOGIN_FRAME_BYTES)
                assert isinstance(answer, Answer)
                self.assertTrue(client.says(answer.frame, Password()).endswith(b"\n" + prompt))
            answers = (Failed(code="x", reason="No."), Username())
            self.assertEqual(client.types("secret", *answers)[0], [Login(field=field, value="secret")])
            self.assertEqual(client.types("alice", Password())[1], b"Password: ")

    def test_hidden_token(self) -> None:
        """Telnet does not show it while it is typed."""
        client = Client(b"\r\n")
        self.assertIn(HIDE, client.types("/token alice", Password())[1])

    def test_refused(self) -> None:
        """The refusal is said, and the prompt comes again."""
        client = Client()
        refusal = Failed(code="slow-down", reason="Too many attempts.", seconds=30)
        self.assertEqual(
            client.types("alice", refusal, Username())[1],
            b"Failed: Too many attempts. (slow-down) Try again in 30 seconds.\nUsername: ",
        )
        self.assertEqual(client.types("bob")[0], [Login(field="username", value="bob")])

    def test_not_utf8(self) -> None:
        """Not as a name, nor as a password; the session gives the prompt again."""
        for start in ([], [Password()], [NewPassword()]):
            client = Client()
            if start:
                client.types("alice", *start)
            (answer,) = client.arrives(b"\xe9\n", LOGIN_FRAME_BYTES)
            assert isinstance(answer, Answer)
            self.assertTrue(
                client.says(answer.frame, *(start or [Username()])).startswith(b"Failed: That line")
            )
            frames, _ = client.types("right")
            values = [frame.value for frame in frames if isinstance(frame, Login)]
            self.assertEqual(values, [] if start == [NewPassword()] else ["right"])

    def test_all_at_once(self) -> None:
        """Each line waits for what tells its meaning."""
        client = Client()
        door = client.door
        door.feed(b"alice\nsecret123\n/ping\n")
        self.assertEqual(door.take(LOGIN_FRAME_BYTES), [Login(field="username", value="alice")])
        self.assertIsNone(door.next(LOGIN_FRAME_BYTES))
        self.assertEqual(client.says(Password()), b"Password: ")
        self.assertEqual(door.next(LOGIN_FRAME_BYTES), Login(field="password", value="secret123"))
        self.assertIsNone(door.next(LOGIN_FRAME_BYTES))
        client.says(Welcome(username="alice", waiting=0))
        self.assertEqual(door.take(USER_FRAME_BYTES), [Ping()])
        self.assertEqual(door.buffered, 0)

    def test_before_the_prompt(self) -> None:
        """What a client sends before it is asked waits for the question."""
        door = TextTranslator()
        door.feed(b"alice\n")
        self.assertIsNone(door.next(LOGIN_FRAME_BYTES))
        door.render([Username()])
        self.assertEqual(door.next(LOGIN_FRAME_BYTES), Login(field="username", value="alice"))

    def test_time_out(self) -> None:
        """The last word has a line of its own, and no prompt after it."""
        client = Client()
        self.assertEqual(
            client.says(Fatal(code="login-timeout", reason="Too slow.")),
            b"\nThe connection is closed: Too slow. (login-timeout)\n",
        )
