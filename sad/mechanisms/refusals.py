"""What the kernel says no with, as :class:`~sad.model.errors.KernelRefused`.

Every question to the kernel is asked inside :func:`typed_refusals`, so that nothing of
:mod:`netlink.errors` reaches the shell or a caller.
"""

import errno
from collections.abc import Sequence
from typing import Final

from netlink.decode import MalformedMessage
from netlink.errors import DumpInterrupted, KernelClosed, KernelError, OutcomeUnknown
from netlink.model import Operation
from sad.core.desired import NamedSa
from sad.core.planning import describe
from sad.model.errors import KernelRefused

_TELL_MORE: Final = "journalctl -u sad and ip xfrm tell more"
_HINTS: Final = {
    errno.EEXIST: "something else holds this SA or policy: ip xfrm state, ip xfrm policy",
    errno.ENOSYS: "the kernel lacks the algorithm: load its module",
    errno.EPERM: "sad has lost CAP_NET_ADMIN: check AmbientCapabilities of sad.service",
    errno.EPROTONOSUPPORT: "the kernel lacks ESP: modprobe esp4 esp6",
    errno.ENOMEM: "the kernel is out of memory",
    errno.ENOBUFS: "the kernel is out of buffers: try again",
}
# Failures without an errno of the kernel's own: the nearest one, what happened, the way out.
_WITHOUT_ERRNO: Final[dict[type[Exception], tuple[int, str, str]]] = {
    OutcomeUnknown: (
        errno.ENOBUFS,
        "the kernel's answers were lost",
        "try again; if it recurs raise kernel.request_buffer_bytes",
    ),
    DumpInterrupted: (
        errno.EAGAIN,
        "the kernel's tables changed under every dump",
        "it is tried again; ip xfrm monitor shows who changes them",
    ),
    MalformedMessage: (errno.EBADMSG, "the kernel's answer makes no sense", _TELL_MORE),
    KernelClosed: (errno.ESHUTDOWN, "the socket to the kernel is closed", "sad is stopping"),
}


def refusal_of(
    operation: Operation, error: KernelError, named: Sequence[NamedSa] = ()
) -> KernelRefused:
    """Return the refusal of one operation; ``named`` lets an SA be called by its row."""
    return _of_errno(error, describe(operation, named))


class typed_refusals:  # noqa: N801 - as contextlib's own
    """Raise KernelRefused, about ``what``, for whatever goes wrong with the kernel inside."""

    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: object
    ) -> None:
        if error is None:
            return
        if isinstance(error, KernelError):
            raise _of_errno(error, self._what) from error
        if isinstance(error, Exception) and type(error) in _WITHOUT_ERRNO:
            number, message, hint = _WITHOUT_ERRNO[type(error)]
            raise KernelRefused(
                errno=number,
                name=errno.errorcode[number],
                message=message,
                object=self._what,
                hint=hint,
            ) from error


def _of_errno(error: KernelError, what: str) -> KernelRefused:
    return KernelRefused(
        errno=error.errno,
        name=error.name,
        message=error.message,
        object=what,
        hint=_HINTS.get(error.errno, _TELL_MORE),
    )
