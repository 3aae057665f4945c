"""One network namespace with a kernel face and a listener in it, for tests on the real kernel."""

import contextlib
import shlex
from collections.abc import AsyncIterator

from netlink.events import EventStream
from netlink.kernel import KernelIpsec
from netlink.model import KernelEvent
from tests.support.event_sink import EventSink
from tests.support.namespaces import Namespace


class XfrmWorld:
    """What a test of the real kernel works with; made by :func:`xfrm_world`."""

    def __init__(self, namespace: Namespace, kernel: KernelIpsec, foreign: KernelIpsec) -> None:
        self.namespace = namespace
        self.kernel = kernel
        self.foreign = foreign
        self.sink = EventSink()

    @property
    def events(self) -> list[KernelEvent]:
        return self.sink.events

    async def wait_for(self, event: KernelEvent) -> None:
        await self.sink.wait_for(event, patience=30)

    def ip(self, command: str) -> str:
        """Run ``ip xfrm ...`` in the namespace: somebody else's hand."""
        return self.namespace.run(["ip", "xfrm", *shlex.split(command)]).stdout


@contextlib.asynccontextmanager
async def xfrm_world(namespace: Namespace) -> AsyncIterator[XfrmWorld]:
    """Open two programs' sockets and a listener in the namespace; close them at the end."""
    with namespace.enter():  # none of this gives the loop a turn
        world = XfrmWorld(namespace, await KernelIpsec.open(), await KernelIpsec.open())
        stream = EventStream(world.sink.take)
    try:
        yield world
    finally:
        stream.close()
        world.kernel.close()
        world.foreign.close()
