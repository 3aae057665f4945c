"""SIGHUP: the settings are read again, and hold if they are good in every part."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Final

from sad.api.methods import Methods
from sad.app_nat import NatTraversal
from sad.app_settings import Parts, parts_of
from sad.config import ConfigurationError, Settings
from sad.config.reload import reloaded
from sad.mechanisms.probe import NodeUnfit
from sad.model.errors import SadError
from sad.runtime.reloading import Reloading
from sad.runtime.service import AssociationService
from sad.runtime.service_manager import ServiceManager, configure_logging
from sad.runtime.state import Shared

log = logging.getLogger(__name__)

_CHECK: Final = "sad --check-config shows every problem; until then the old settings hold"

#: What of an endpoint's algorithms a kernel lacks: asked for the parts that are to hold.
Probe = Callable[[Parts], Awaitable[MutableMapping[str, str]]]

#: Loads the TLS credential sets anew; returns the endpoints whose files hold no good one.
LoadCredentials = Callable[[Parts], Awaitable[tuple[str, ...]]]


class Reload:
    """Reads settings again when that is ``wanted``. ``read`` reads them as the start did.

    ``watch`` has the ports of TLS connections watched that are to hold.
    """

    def __init__(
        self,
        running: Settings,
        *,
        wanted: asyncio.Event,
        read: Callable[[], Settings],
        probe: Probe,
        missing: MutableMapping[str, str],
        shared: Shared,
        service: AssociationService,
        methods: Methods,
        nat: NatTraversal,
        reloading: Reloading,
        read_keys: Callable[[], None],
        credentials: LoadCredentials,
        watch: Callable[[Parts], None] = lambda _parts: None,
    ) -> None:
        self._running = running
        self._read = read
        self._probe = probe
        self._missing = missing
        self._shared = shared
        self._service = service
        self._methods = methods
        self._nat = nat
        self._reloading = reloading
        self._read_keys = read_keys
        self._credentials = credentials
        self._wanted = wanted
        self._watch = watch

    async def run(self, manager: ServiceManager) -> None:
        """Serve requests until cancelled; the service manager hears of begin and end."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            manager.reloading()
            try:
                outcome = await self.reload()
            except SadError as error:
                self._shared.tell_refusal("the settings hold, but the kernel lags behind", error)
                self._shared.request_reconcile("a reload was refused by the kernel")
                outcome = "reloaded; the kernel is compared again"
            except Exception as error:  # noqa: BLE001 - no defect may end the daemon
                outcome = self._refused(type(error).__name__, "a defect of sad: please report it")
            manager.ready(outcome)

    async def reload(self) -> str:
        """Read, check, take over; or tell what is wrong and change nothing. Return the outcome."""
        try:
            settings, waiting = reloaded(self._running, self._read())
            parts = parts_of(settings)
            missing = await self._probe(parts)
            self._nat.use(parts.shell.endpoints.values())
        except ConfigurationError as error:
            return self._refused(str(error).splitlines()[0], _CHECK)
        except NodeUnfit as error:
            return self._refused(f"this node lacks {error.missing}", error.hint)
        # Before all else: a reload command may take its time, and then nothing is half done.
        refused = await self._credentials(parts)
        self._running = settings
        self._missing.clear()
        self._missing.update(missing)
        configure_logging(settings.log_level)
        self._methods.policy = parts.access
        self._service.use(parts.access, parts.shell.limits)
        self._watch(parts)
        # A stop in the middle waits for it: it must know whose block policies it may lift.
        try:
            await self._shared.background.finish(self._reloading.take_over(parts.shell))
        finally:
            self._read_keys()
        log.info("settings read again: %d endpoints", len(parts.shell.endpoints))
        if waiting:
            self._shared.tell_problem(
                f"changed, but not in force before a restart: {', '.join(waiting)}",
                "systemctl restart sad: associations live on",
            )
        if refused:
            return f"settings read again; TLS credentials refused: {', '.join(refused)}"
        return "settings read again"

    def _refused(self, what: str, hint: str) -> str:
        self._shared.tell_problem(f"the settings were not read again: {what}", hint)
        return "reload refused, the old settings hold"
