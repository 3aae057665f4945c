"""The daemon as it stands, for ``sadctl status``."""

from collections import Counter
from collections.abc import Callable, Mapping

from sad.core.pools import pools
from sad.core.table import AssociationTable
from sad.model.endpoint import Endpoint
from sad.model.views import EndpointStatus, Status
from sad.runtime.credentials import notices_of
from sad.runtime.reconciler import Reconciler
from sad.runtime.state import Shared


class StatusPage:
    """Collects :class:`~sad.model.views.Status`."""

    def __init__(
        self,
        shared: Shared,
        reconciler: Reconciler,
        *,
        version: str,
        missing_algorithms: Mapping[str, str],
        kernel_counters: Callable[[], Mapping[str, int]],
        ends_connections: Callable[[], bool] = lambda: True,
    ) -> None:
        self._shared = shared
        self._reconciler = reconciler
        self._version = version
        self._missing_algorithms = missing_algorithms
        self._kernel_counters = kernel_counters
        self._ends_connections = ends_connections
        self._started_at = shared.clock.realtime()

    def collect(self) -> Status:
        """Return the status of this instant."""
        shared = self._shared
        counted = shared.table.tally
        on_endpoint = Counter[str]()
        of_mechanism = Counter[tuple[str, str]]()
        for (endpoint, mechanism, state), number in counted.items():
            on_endpoint[endpoint] += number
            of_mechanism[mechanism, str(state)] += number
        what, hint, at = shared.problem if shared.problem is not None else (None, None, None)
        return Status(
            version=self._version,
            started_at=self._started_at,
            state=shared.daemon_state,
            endpoints=tuple(
                self._endpoint(e, on_endpoint[e.name]) for e in shared.settings.endpoints.values()
            ),
            associations=tuple((*which, count) for which, count in sorted(of_mechanism.items())),
            pools=pools(
                counted,
                shared.table.reqids_used,
                shared.settings.endpoints.values(),
                shared.settings.limits,
                shared.settings.layout,
            ),
            kernel_counters=tuple(sorted(self._kernel_counters().items())),
            last_reconcile=self._reconciler.last,
            last_problem=what,
            last_problem_at=at,
            last_problem_hint=hint,
            notices=tuple(notices_of(shared.credentials.views())),
            ends_connections=self._ends_connections(),
            cluster=shared.cluster.status(),
        )

    def _endpoint(self, endpoint: Endpoint, associations: int) -> EndpointStatus:
        names = tuple(f"{alg}/{ealg}" for alg, ealg in endpoint.algorithms)
        return EndpointStatus(
            name=endpoint.name,
            profile=endpoint.profile,
            security_required=endpoint.security_required,
            security_server=endpoint.security_server,
            addresses=endpoint.addresses,
            server_port=endpoint.server_port,
            client_ports=endpoint.client_ports,
            algorithms=names,
            unavailable=tuple(n for n in names if n in self._missing_algorithms),
            associations=associations,
        )


def status_line(table: AssociationTable) -> str:
    """Return how many associations there are of each state, for systemd's status."""
    of_state = Counter[str]()
    for (_, _, state), count in table.tally.items():
        of_state[str(state)] += count
    details = ", ".join(f"{count} {name}" for name, count in sorted(of_state.items()))
    return f"{len(table)} associations" + (f": {details}" if details else "")
