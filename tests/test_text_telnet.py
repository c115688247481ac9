"""Tests for the text door: what telnet itself says."""

from __future__ import annotations

from chat.messages import (
    LOGIN_FRAME_BYTES,
    USER_FRAME_BYTES,
    AccountDeleted,
    Answer,
    Created,
    Fatal,
    Login,
    Messages,
    NewPassword,
    Password,
    Ping,
    Pong,
    Read,
    Received,
    Username,
    Welcome,
)
from tests.text_client import AT, HIDDEN, HIDE, INTERRUPT, SHOW, Client, DoorCase, letter

BINARY = b"\xff\xfd\x00"


MARK, MARK_WILL, MARK_WONT = b"\xff\xfd\x06", b"\xff\xfb\x06", b"\xff\xfc\x06"


WELCOME = b"Welcome, alice. No messages are waiting. /help lists the commands."


class TelnetTests(DoorCase):
    """Over telnet: hidden passwords, confirmation by itself, interrupts."""

    def test_login(self) -> None:
        """Passwords are hidden, and the line end that was not echoed is made up for."""
        client = Client(b"\r\n")
        self.assertEqual(client.screen, b"chat 1.0, protocol 1\nUsername: ")
        self.assertEqual(client.types("alice", Password())[1], BINARY + HIDE + b"Password: ")
        self.assertEqual(client.arrives(HIDDEN), [])
        frames, seen = client.types("secret123", Welcome(username="alice", waiting=0))
        self.assertEqual(frames, [Login(field="password", value="secret123")])
        self.assertEqual(seen, SHOW + b"\r\n" + WELCOME + b"\r\n")
        self.assertEqual(client.arrives(b"\xff\xfe\x01"), [])

    def test_sign_up(self) -> None:
        """Both passwords are hidden."""
        client = Client(b"\r\n")
        seen = client.types("alice", NewPassword())[1]
        self.assertTrue(seen.endswith(b"\r\n" + BINARY + HIDE + b"New password: "), seen)
        self.assertEqual(client.types("secret123")[1], b"\r\nAgain: ")
        self.assertEqual(
            client.types("secret12")[1],
            SHOW + b"\r\nThe two were not the same. Type both again.\r\n" + HIDE + b"New password: ",
        )
        client.types("secret123")
        self.assertEqual(
            client.types("secret123", Created(username="alice"), Username())[1],
            SHOW + b"\r\nThe account alice is made. Log in now.\r\nUsername: ",
        )

    def test_wrong_password(self) -> None:
        """What is typed next is seen again."""
        client = Client(b"\r\n")
        client.types("alice", Password())
        self.assertEqual(client.types("secret", Username())[1], b"\r\n" + SHOW + b"Username: ")

    def test_a_client_that_echoes_itself(self) -> None:
        """It needs no line end made up."""
        client = Client(b"\r\n")
        client.types("alice", Password())
        client.arrives(b"\xff\xfe\x01")
        seen = client.types("secret123", Welcome(username="alice", waiting=0))[1]
        self.assertEqual(seen, WELCOME + b"\r\n")

    def test_a_client_that_speaks_first(self) -> None:
        """Like PuTTY: each offer is refused once, in its turn, and it is telnet from then on."""
        client = Client(b"\r\n")
        (answer,) = client.arrives(b"\xff\xfb\x1f\xff\xfb\x18\xff\xfd\x01\xff\xfb\x03\xff\xfd\x03")
        assert isinstance(answer, Answer)
        self.assertEqual(
            client.says(answer.frame),
            b"\xff\xfe\x1f\xff\xfe\x18\xff\xfc\x01\xff\xfe\x03\xff\xfc\x03",
        )
        self.assertTrue(client.says(Fatal(code="x", reason="No.")).startswith(b"\r\nThe connection"))

    def test_are_you_there(self) -> None:
        """Answered once, however often it is asked at once."""
        (answer,) = self.logged_in(b"\r\n").arrives(b"\xff\xf6" * 100)
        assert isinstance(answer, Answer)
        self.assertEqual(self.logged_in().says(answer.frame), b"\r\n[Yes]\r\n")
        seen = self.logged_in().says(Pong(), Pong(), answer.frame, Pong())
        pong = b"The server is there.\n"
        self.assertEqual(seen, pong + pong + b"\r\n[Yes]\r\n" + pong)

    def test_a_password_prompt_is_cut_off(self) -> None:
        """By a message: what is typed stays hidden all the time."""
        client = self.logged_in(b"\r\n")
        client.types("/passwd")
        self.assertEqual(
            client.says(letter(1, "")),
            f"\r\nMessage 1 from bob, {AT}\r\nPassword: ".encode() + MARK,
        )

    def test_confirmation(self) -> None:
        """Each batch is followed by a mark, and the answer, be it a refusal, confirms it."""
        client = self.logged_in(b"\r\n")
        self.assertEqual(client.arrives(MARK_WILL), [], "nothing was asked")
        seen = client.says(letter(1), letter(2))
        self.assertTrue(seen.endswith(b"| hello\r\n" + MARK))
        self.assertEqual(seen.count(MARK), 1)
        client.says(letter(3))
        self.assertEqual(client.types("/ping")[0], [Ping()], "a line proves nothing here")
        self.assertEqual(client.says(Pong()), b"The server is there.\r\n")
        self.assertEqual(client.arrives(MARK_WONT + MARK_WILL), [Received(ids=[1, 2]), Received(ids=[3])])
        self.assertEqual(client.arrives(MARK_WONT), [])

    def test_what_was_read_needs_none(self) -> None:
        """Only deliveries are confirmed."""
        client = self.logged_in(b"\r\n")
        seen = client.types("/read 1", Messages(messages=[letter(1)], missing=[]))[1]
        self.assertTrue(seen.endswith(b"| hello\r\n"))

    def test_the_clients_own_mark(self) -> None:
        """It is always answered: inetutils telnet shows nothing until then."""
        client = self.logged_in(b"\r\n")
        (answer,) = client.arrives(b"\xff\xed" + MARK)  # SUSP, DO TIMING-MARK
        assert isinstance(answer, Answer)
        self.assertEqual(client.says(answer.frame), MARK_WILL)

    def test_what_was_thrown_away(self) -> None:
        """Until its own mark is answered the client throws away what comes: it is shown again."""
        client = self.logged_in(b"\r\n")
        client.says(letter(1), letter(2))
        answer, read = client.arrives(INTERRUPT + MARK_WONT)
        assert isinstance(answer, Answer)
        self.assertEqual(read, Read(ids=[1, 2]), "although the client answers the mark")
        seen = client.says(letter(3), answer.frame, letter(4))
        self.assertTrue(seen.endswith(b"| hello\r\n" + MARK), seen)
        self.assertGreater(client.door.buffered, 0, "there is something to take")
        self.assertEqual(client.door.take(USER_FRAME_BYTES), [Read(ids=[3])])
        seen = client.says(Messages(messages=[letter(1), letter(2)], missing=[]))
        self.assertEqual(
            seen,
            f"Message 1 (again) from bob, {AT}\r\n| hello\r\n"
            f"Message 2 (again) from bob, {AT}\r\n| hello\r\n".encode()
            + MARK,
        )
        client.says(Messages(messages=[letter(3)], missing=[]))
        for ids in ([4], [1, 2], [3]):
            self.assertEqual(client.arrives(MARK_WILL), [Received(ids=ids)])

    def test_more_than_can_be_read_at_once(self) -> None:
        """What was thrown away is read in pages; what is gone meanwhile is not mentioned."""
        client = self.logged_in(b"\r\n")
        client.says(*[letter(number) for number in range(1, 151)])
        answer, *reads = client.arrives(INTERRUPT)
        assert isinstance(answer, Answer)
        self.assertEqual(reads, [Read(ids=list(range(1, 101))), Read(ids=list(range(101, 151)))])
        self.assertEqual(client.says(answer.frame), MARK_WILL)
        self.assertEqual(client.arrives(MARK_WONT), [], "the mark of what was lost")
        seen = client.says(Messages(messages=[letter(1), letter(2)], missing=[3]))
        self.assertEqual(seen.count(b" (again) "), 2)
        self.assertNotIn(b"Not in your mailbox", seen)
        self.assertTrue(seen.endswith(MARK))
        self.assertEqual(client.arrives(MARK_WONT), [Received(ids=[1, 2])])

    def test_another_login(self) -> None:
        """What one account was shown is never confirmed for the next one."""
        client = self.logged_in(b"\r\n")
        client.says(letter(1))
        for line in ("/delete-account", "secret123"):
            client.types(line)
        client.says(AccountDeleted(), Username())
        client.types("bob", Password())
        client.types("secret123", Welcome(username="bob", waiting=1))
        client.says(letter(2))
        self.assertEqual(client.arrives(MARK_WONT), [])
        self.assertEqual(client.arrives(MARK_WONT), [Received(ids=[2])])

    def test_ctrl_c(self) -> None:
        """It gives up a dialog, and does nothing elsewhere."""
        for end in (b"\r\n", b"\n"):
            client = Client(end)
            self.assertEqual(client.arrives(INTERRUPT[:2]), [])
        client = self.logged_in(b"\r\n")
        self.assertEqual(client.arrives(INTERRUPT[:2]), [])
        client.types("/passwd")
        (answer,) = client.arrives(INTERRUPT[:2])
        assert isinstance(answer, Answer)
        self.assertEqual(client.says(answer.frame), SHOW + b"\r\nGiven up; nothing was sent or changed.\r\n")
        self.assertEqual(client.types("/ping")[0], [Ping()])

    def test_not_quite_telnet(self) -> None:
        """Lines of CR LF from something that never answers (nc -C): typed lines confirm, marks end."""
        client = Client(b"\r\n")
        client.types("alice", Password())
        client.types("secret123", Welcome(username="alice", waiting=0))
        self.assertTrue(client.says(letter(1)).endswith(MARK))
        self.assertEqual(client.types("")[0], [Received(ids=[1])])
        self.assertTrue(client.says(letter(2)).endswith(b"hello\r\n"))
        self.assertEqual(client.types("")[0], [Received(ids=[2])])
        self.assertEqual(client.arrives(MARK_WONT), [], "so it is telnet after all")
        self.assertTrue(client.says(letter(3)).endswith(MARK))
        self.assertEqual(client.types("")[0], [])
        self.assertEqual(client.arrives(MARK_WONT), [Received(ids=[3])])

    def test_many_unanswered_marks(self) -> None:
        """However many, no answer confirms what was shown behind its mark, and the last one all there is."""
        client = self.logged_in(b"\r\n")
        count = 1100
        for number in range(1, count + 1):
            self.assertTrue(client.says(letter(number)).endswith(MARK))
        confirmed: list[int] = []
        for number in range(1, count + 1):
            for frame in client.arrives(MARK_WONT):
                assert isinstance(frame, Received)
                confirmed += frame.ids
            self.assertLessEqual(max(confirmed, default=0), number)
        self.assertEqual(confirmed, list(range(1, count + 1)))
        self.assertEqual(client.arrives(MARK_WONT), [])

    def test_many_thrown_away(self) -> None:
        """What was shown with so many marks is shown again, too, and none of them confirms that."""
        client = self.logged_in(b"\r\n")
        for number in range(1, 601):
            client.says(letter(number))
        answer, *reads = client.arrives(INTERRUPT)
        assert isinstance(answer, Answer)
        client.says(answer.frame, Messages(messages=[letter(1)], missing=[]))
        self.assertEqual(reads, [Read(ids=list(range(first, first + 100))) for first in range(1, 601, 100)])
        self.assertEqual(client.arrives(MARK_WONT * 600), [])
        self.assertEqual(client.arrives(MARK_WONT), [Received(ids=[1])])


class PlainTests(DoorCase):
    """Over nc: no stray byte, and the next line confirms."""

    def test_confirmation(self) -> None:
        """Any line that arrives after a message was shown, even an empty one or none that is text."""
        for line in (b"\n", b"/ping\n", b"\xff\n"):
            client = self.logged_in()
            client.says(letter(1), letter(2))
            client.says(letter(3))
            self.assertEqual(client.arrives(line)[0], Received(ids=[1, 2, 3]))
            self.assertNotIn(Received(ids=[]), client.arrives(line))

    def test_a_line_that_was_there_before(self) -> None:
        """Proves nothing, even if it is looked at later."""
        client = Client()
        door = client.door
        door.feed(b"alice\nsecret123\n\n\n")
        for prompt in (Username(), Password()):
            client.says(prompt)
            door.next(LOGIN_FRAME_BYTES)
        client.says(Welcome(username="alice", waiting=1), letter(1))
        self.assertEqual(door.take(USER_FRAME_BYTES), [])
        self.assertEqual(client.arrives(b"x"), [])
        self.assertEqual(client.arrives(b"\n")[0], Received(ids=[1]))

    def test_no_stray_byte(self) -> None:
        """Whatever nc sends, it is never sent a telnet command."""
        client = self.logged_in()
        seen = client.says(letter(1))
        for line in ("/passwd", "x", "y", "y"):
            seen += client.types(line)[1]
        for octets in (b"\xff\xfe\n", b"\xff\xfd\x06\n", b"\xff\xf6\n", b"\xff\xff\n"):
            (answer, *_) = [each for each in client.arrives(octets) if isinstance(each, Answer)]
            seen += client.says(answer.frame)
        self.assertEqual(seen.count(b"not UTF-8"), 4)
        self.assertNotIn(b"\xff", seen)
        self.assertNotIn(b"\r", seen)
