"""How much each account may send: L{chat.limits.allowance}."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chat.limits import allowance
from chat.limits.allowance import PATIENCE, UNLIMITED, Allowance, Grant, Rate


class AllowanceTests(SynchronousTestCase):
    """Who has spent a bucket waits; what would wait for too long is refused."""

    def setUp(self) -> None:
        """Two messages a second and five at once; a hundred bytes a second and a thousand at once."""
        self.clock = Clock()
        self.allowance = Allowance(self.clock.seconds, Rate(2, 5), Rate(100, 1000))

    def test_what_is_in_the_bucket_goes_at_once(self) -> None:
        """The burst need not wait."""
        self.assertEqual(self.allowance.take(1, [10] * 5), Grant(5))

    def test_beyond_the_burst_the_sender_waits(self) -> None:
        """All of a batch goes, and then nothing until the bucket is short of nothing."""
        self.assertEqual(self.allowance.take(1, [10] * 8), Grant(8, wait=1.5))

    def test_a_wait_is_over_when_it_was_said_to_be(self) -> None:
        """After the wait one more message has to wait for its own share only."""
        self.allowance.take(1, [10] * 8)
        self.clock.advance(1.5)
        self.assertEqual(self.allowance.take(1, [10]), Grant(1, wait=0.5))

    def test_the_bucket_fills_again_but_no_higher_than_full(self) -> None:
        """Years of silence save up no more than the burst."""
        self.allowance.take(1, [10] * 5)
        self.clock.advance(10**8)
        self.assertEqual(self.allowance.take(1, [10] * 6), Grant(6, wait=0.5))

    def test_what_would_wait_for_too_long_is_refused(self) -> None:
        """5 at once, 20 in ten seconds of waiting, and the one that makes it longer; the others not."""
        self.assertEqual(self.allowance.take(1, [1] * 40), Grant(26, wait=PATIENCE, seconds=1))

    def test_the_seconds_after_which_to_try_again_are_true(self) -> None:
        """A moment before them it is refused as well, and then it is not."""
        self.allowance.take(1, [1] * 26)
        (_, wait, seconds) = self.allowance.take(1, [1] * 4)
        self.assertEqual((wait, seconds), (PATIENCE, 1))
        self.clock.advance(0.49)
        self.assertEqual(self.allowance.take(1, [1]).admitted, 0)
        self.clock.advance(seconds - 0.49)
        self.assertEqual(self.allowance.take(1, [1]).admitted, 1)

    def test_bytes_have_a_bucket_of_their_own(self) -> None:
        """A single long message makes its sender wait, too."""
        self.assertEqual(self.allowance.take(1, [1500]), Grant(1, wait=5.0))

    def test_the_longest_message_gets_through_the_smallest_bucket(self) -> None:
        """It is paid for afterwards."""
        self.assertEqual(self.allowance.take(1, [50_000]), Grant(1, wait=PATIENCE, seconds=480))
        self.assertEqual(self.allowance.take(1, [1]), Grant(0, wait=PATIENCE, seconds=480))
        self.clock.advance(480)
        self.assertEqual(self.allowance.take(1, [1]).admitted, 1)

    def test_what_is_refused_costs_nothing(self) -> None:
        """Asking too early, however often, does not make the wait longer."""
        self.allowance.take(1, [1] * 40)
        for _ in range(100):
            self.assertEqual(self.allowance.take(1, [1]), Grant(0, wait=PATIENCE, seconds=1))

    def test_each_account_has_its_own(self) -> None:
        """One sender's flood is not another's."""
        self.allowance.take(1, [1] * 40)
        self.assertEqual(self.allowance.take(2, [1]), Grant(1))

    def test_no_rate_is_no_limit(self) -> None:
        """Neither of messages nor of bytes."""
        free = Allowance(self.clock.seconds, UNLIMITED, UNLIMITED)
        self.assertEqual(free.take(1, [10**6] * 1000), Grant(1000))
        self.assertEqual(free.take(1, [10**6] * 1000), Grant(1000))

    def test_a_minute_at_once(self) -> None:
        """A rate that the operator gives lets through at once what it does in a minute."""
        self.assertEqual(Rate.per_second(2), Rate(2, 120))
        self.assertEqual(Rate.per_second(0), UNLIMITED)

    def test_those_who_owe_nothing_are_forgotten(self) -> None:
        """Memory is bounded by how many sent something in the last moments."""
        self.patch(allowance, "REMEMBERED", 3)
        for account in range(3):
            self.allowance.take(account, [1])
        self.clock.advance(60)
        self.allowance.take(3, [1] * 40)
        self.allowance.take(4, [1])
        self.allowance.take(5, [1])
        self.assertEqual(set(self.allowance._full), {3, 4, 5})
        self.assertEqual(self.allowance.take(3, [1]).admitted, 0)
