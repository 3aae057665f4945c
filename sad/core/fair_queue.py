"""A queue in which nobody waits for another's flood: turn by turn, user by user.

Mutable, but without I/O or clock.
"""

from collections import OrderedDict, deque
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Items by user and process; each user gets every n-th turn, each of its processes likewise.

    Items of one process keep their order. Nothing is kept of who has nothing waiting.
    """

    def __init__(self) -> None:
        self._users: OrderedDict[int, OrderedDict[int, deque[T]]] = OrderedDict()
        self._of_user: dict[int, int] = {}
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def of_user(self, user: int) -> int:
        """How many items of one user wait."""
        return self._of_user.get(user, 0)

    def push(self, user: int, process: int, item: T) -> None:
        """Append an item to its process's own."""
        processes = self._users.setdefault(user, OrderedDict())
        processes.setdefault(process, deque()).append(item)
        self._of_user[user] = self.of_user(user) + 1
        self._length += 1

    def pop(self) -> T:
        """Take the next item; its user and its process go to the end. IndexError if empty."""
        if not self._users:
            raise IndexError("pop from an empty queue")
        user, processes = next(iter(self._users.items()))
        process, items = next(iter(processes.items()))
        item = items.popleft()
        self._users.move_to_end(user)
        processes.move_to_end(process)
        self._gone(user, process)
        return item

    def longest(self) -> int:
        """How many items of the user with most of them wait; 0 if nobody waits."""
        return max(self._of_user.values(), default=0)

    def pop_newest_of_longest(self) -> T:
        """Take the newest item of that user's fullest process. IndexError if empty."""
        if not self._users:
            raise IndexError("pop from an empty queue")
        user = max(self._of_user, key=self._of_user.__getitem__)
        processes = self._users[user]
        process = max(processes, key=lambda p: len(processes[p]))
        item = processes[process].pop()
        self._gone(user, process)
        return item

    def discard(self, user: int, process: int, item: T) -> None:
        """Take out an item that waits no longer, if it is there."""
        if item in self._users.get(user, OrderedDict()).get(process, ()):
            self._users[user][process].remove(item)
            self._gone(user, process)

    def _gone(self, user: int, process: int) -> None:
        self._length -= 1
        self._of_user[user] -= 1
        if not self._users[user][process]:
            del self._users[user][process]
        if not self._users[user]:
            del self._users[user]
            del self._of_user[user]
