"""A receiver's window as RFC 4303 3.4.3 and its Appendix A2 describe it, for models in tests."""


class ReplayWindow:
    """Takes each sequence number once, and none left of the window of ``size`` packets."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.highest = 0
        self._taken: set[int] = set()

    def begin_above(self, number: int) -> None:
        """Begin as if everything up to a number had been received."""
        self.highest = number
        self._taken = set(range(max(1, number - self._size + 1), number + 1))

    def would_take(self, number: int) -> bool:
        """Whether a packet of this number passes."""
        return number > self.highest - self._size and number not in self._taken and number > 0

    def take(self, number: int) -> bool:
        """Receive a packet; say whether it passed."""
        if not self.would_take(number):
            return False
        self._taken.add(number)
        self.highest = max(self.highest, number)
        self._taken = {n for n in self._taken if n > self.highest - self._size}
        return True
