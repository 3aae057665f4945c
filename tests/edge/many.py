"""A Kamailio whose tables know many sets, and a daemon that may end them all at once.

The daemon is its real socket and its real fan-out of events over a store in memory: no kernel
holds 20 000 sets in the time of a test.
"""

import contextlib
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sad.model.association import Association, AssociationState
from sad.model.requests import Caller
from sad.model.views import WatchEvent, WatchKind
from sad.runtime.watch import Watch
from sip_hooks.ims import FlowEntry, RegistrationEntry, flow_key, registration_token
from tests.edge.kamailio import Kamailio, configuration, install_hook, running
from tests.support import make
from tests.support.api import serving
from tests.support.memory_backend import MemoryBackend
from tests.support.namespaces import Namespace

EDGE, CORE = "127.0.0.1", "127.0.0.2"
_MEGABYTES = 256  # that Kamailio's processes share


class _Store(MemoryBackend):
    """Tells of its changes as the daemon does, with the same bounds."""

    def __init__(self) -> None:
        super().__init__()
        self.watch = Watch()

    def publish(self, kind: WatchKind, association: Association | None) -> None:
        if association is not None:
            self.watch.publish(kind, association)

    def subscribe(self, caller: Caller) -> AsyncIterator[WatchEvent]:  # noqa: ARG002 - Backend
        return self.watch.subscribe(self.associations.values)


def a_set(number: int) -> Association:
    """One of up to 65 536 phones, each with an address of its own."""
    return make.association(
        id=f"{number:012}",
        private_identity=f"{number:015}@ims.example",
        state=AssociationState.IN_USE,
        sa_set=make.sa_set(ue_address=f"10.0.{number >> 8}.{number & 255}", pcscf_address=EDGE),
    )


def entries(association: Association) -> Iterator[tuple[str, str, str]]:
    """Table, key and text of what Kamailio's workers share of a set in use."""
    s, identity = association.sa_set, association.private_identity
    token = registration_token(s.ue_address, s.port_us, s.pcscf_address, s.port_ps)
    flow = FlowEntry(association.id, token, "inUse", True, identity, s.port_pc).to_text()
    for peer in (s.port_uc, s.port_us):
        for local in (s.port_pc, s.port_ps):
            yield "sad_flows", f"{flow_key(s.ue_address, peer, local)}|{s.pcscf_address}", flow
    uri = f"sip:{identity}"
    registration = RegistrationEntry(association.id, s.port_pc, (uri,), (f"<{uri}>",), (uri,))
    yield "sad_registrations", token, registration.to_text()


@dataclass(frozen=True)
class Crowded:
    """The two; ``process`` is the folder of the reader in /proc."""

    kamailio: Kamailio
    store: _Store
    path: Path
    process: Path

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Let the daemon be there for the length of a block."""
        async with serving(self.path, self.store):
            self.path.chmod(0o666)
            yield

    def put(self, associations: Iterable[Association]) -> None:
        """Let Kamailio's workers have heard of sets."""
        self.kamailio.rpcs(("htable.sets", entry) for a in associations for entry in entries(a))

    def known(self) -> int:
        """How many entries its tables hold."""
        names = {"sad_flows", "sad_registrations"}
        return sum(t["all"] for t in self.kamailio.rpc("htable.stats") if t["name"] in names)

    def megabytes(self) -> float:
        """The most memory that the reader ever had."""
        found = re.search(r"VmHWM:\s+(\d+) kB", (self.process / "status").read_text())
        assert found is not None
        return int(found[1]) / 1024


@contextlib.contextmanager
def crowded() -> Iterator[Crowded]:
    """Run such a Kamailio."""
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="many-", dir="/run"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        values = {
            "_ACCESS4_": EDGE,
            "_ACCESS6_": "::1",
            "_CORE_": CORE,
            "sad.socket": str(folder / "sad.sock"),
            "sad.core_hosts": "127.0.0.3/32",
            "sad.core_uri": "sip:127.0.0.3:4060",
        }
        namespace = stack.enter_context(Namespace("crowded"))
        text = configuration(values, loader=install_hook(folder))
        kamailio = stack.enter_context(running(namespace, folder, text, memory=_MEGABYTES))
        (reader,) = [p for p in kamailio.rpc("core.psx") if p["DSC"].startswith("RTIMER EXEC")]
        yield Crowded(kamailio, _Store(), folder / "sad.sock", Path(f"/proc/{reader['PID']}"))
