"""Puts the metrics together where they are wanted; a part of :mod:`sad.app`."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

from prometheus_client import CollectorRegistry

from netlink.interface import Kernel
from sad.api.server import ServerStatistics
from sad.config.metrics import MetricsSettings
from sad.metrics.counting import CountingKernel
from sad.metrics.meters import Meters
from sad.metrics.page import Page
from sad.metrics.server import MetricsServer, place_of
from sad.metrics.snapshot import Snapshot
from sad.metrics.textfile import keep_writing
from sad.model.inspection import Expiry
from sad.model.views import Status
from sad.runtime.state import Shared


class Metrics:
    """Everything that counts."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.meters = Meters(self._registry)

    def counted(self, kernel: Kernel) -> Kernel:
        """Return the kernel with its errors counted."""
        return CountingKernel(kernel, self.meters.kernel_error)

    async def serve(
        self,
        stack: contextlib.AsyncExitStack,
        settings: MetricsSettings,
        shared: Shared,
        status: Callable[[], Status],
        statistics: Callable[[], ServerStatistics],
    ) -> None:
        """Serve and write what the settings want, until the stack is left. Raises OSError."""

        def connections() -> tuple[int, int, int]:
            found = statistics()
            return found.connections, found.accepted, found.refused

        def expiries() -> list[Expiry]:
            return [expiry for provider in shared.expiries for expiry in provider()]

        self._registry.register(Snapshot(status, connections, expiries))
        page = Page(self._registry)
        if settings.listen:
            server = MetricsServer(page)
            await server.start(place_of(settings.listen))
            stack.push_async_callback(server.close)
        if settings.textfile:
            writing = asyncio.create_task(
                keep_writing(page, Path(settings.textfile), settings.textfile_interval_seconds)
            )
            stack.callback(writing.cancel)
