"""Puts together what answers operators; a part of :mod:`sad.app`."""

from collections.abc import Awaitable, Callable, Mapping

from netlink.interface import Kernel
from sad.app_settings import ip_versions_of, pairs_of
from sad.mechanisms.probe import NodeUnfit, probe
from sad.runtime.checking import Checks
from sad.runtime.node import Node
from sad.runtime.operating import Operations
from sad.runtime.state import Shared


def operations_of(
    shared: Shared, kernel: Kernel, connected_uids: Callable[[], Mapping[int, int]]
) -> Operations:
    """Return what answers operators; ``connected_uids`` says who is connected to the socket."""

    def ask() -> Awaitable[Mapping[str, str]]:
        now = shared.settings
        return probe(kernel, pairs_of(now), ip_versions_of(now), now.layout)

    checks = Checks(
        shared, node=Node(), probe=ask, connected_uids=connected_uids, unfit=_what_is_lacking
    )
    return Operations(shared, kernel, checks)


def _what_is_lacking(error: Exception) -> tuple[str, str] | None:
    return (error.missing, error.hint) if isinstance(error, NodeUnfit) else None
