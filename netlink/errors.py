"""What the kernel refuses, in its own words.

No error here ever holds a message body: a NEWSA body contains the keys.
"""

import errno as errno_numbers
import os


class KernelError(Exception):
    """The kernel answered one request with an error.

    ``errno`` is the positive number, ``message`` the kernel's extended-ack text or "".
    """

    def __init__(self, errno: int, message: str = "") -> None:
        self.errno = errno
        self.message = message
        super().__init__(errno, message)

    @property
    def name(self) -> str:
        """Symbolic name of the errno, e.g. ``EEXIST``."""
        return errno_numbers.errorcode.get(self.errno, str(self.errno))

    def __str__(self) -> str:
        text = f"{self.name} ({os.strerror(self.errno)})"
        return f"{text}: {self.message}" if self.message else text


class OutcomeUnknown(Exception):
    """Answers of a batch were lost (receive overrun, missing fence): ask the kernel what is."""


class DumpInterrupted(Exception):
    """The kernel's tables changed under a dump and retries did not help."""


class KernelClosed(Exception):
    """The socket to the kernel was closed; what was not yet sent never will be."""
