"""What the kernel says no with, as :class:`~sad.model.errors.KernelRefused`.

Every question to the kernel is asked inside :func:`typed_refusals`, so that nothing of
:mod:`netlink.errors` reaches the shell or a caller.
"""

import contextlib
import errno
from collections.abc import Iterator, Sequence
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


@contextlib.contextmanager
def typed_refusals(what: str) -> Iterator[None]:
    """Raise KernelRefused, about ``what``, for whatever goes wrong with the kernel inside."""
    try:
        yield
    except KernelError as error:
        raise _of_errno(error, what) from error
    except tuple(_WITHOUT_ERRNO) as error:
        number, message, hint = _WITHOUT_ERRNO[type(error)]
        raise KernelRefused(
            errno=number, name=errno.errorcode[number], message=message, object=what, hint=hint
        ) from error


def _of_errno(error: KernelError, what: str) -> KernelRefused:
    return KernelRefused(
        errno=error.errno,
        name=error.name,
        message=error.message,
        object=what,
        hint=_HINTS.get(error.errno, _TELL_MORE),
    )
