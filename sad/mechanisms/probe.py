"""Is this node fit? Adds and deletes one SA of each algorithm pair before anybody depends on it.

It also warms the algorithms up: the kernel's first SA of one can take more than a second
(self-test, module load, seeding), which no caller should wait for.
"""

import errno
from collections.abc import Iterable
from typing import Final

from netlink.errors import KernelError, OutcomeUnknown
from netlink.interface import Kernel
from netlink.model import AddSa, DeleteSa, SaId, SaKeys, SecurityAssociation, Selector
from netlink.secret import Secret
from sad.core.desired import host_prefix
from sad.model.algorithms import AlgorithmPair
from sad.model.rules import Layout

# RFC 5737 and RFC 3849 documentation addresses: no packet ever matches the probe's SAs.
_PROBE_ADDRESSES: Final = {4: ("192.0.2.1", "192.0.2.2"), 6: ("2001:db8::1", "2001:db8::2")}
_PROBE_SPI: Final = 0x5AD0
_PROBE_SECONDS: Final = 5
_NOT_PERMITTED: Final = frozenset({errno.EPERM, errno.EACCES})


class NodeUnfit(Exception):
    """The node lacks what the daemon cannot do without; ``hint`` is the way out."""

    def __init__(self, missing: str, hint: str) -> None:
        super().__init__(missing)
        self.missing = missing
        self.hint = hint


async def probe(
    kernel: Kernel, pairs: Iterable[AlgorithmPair], ip_versions: Iterable[int], layout: Layout
) -> dict[str, str]:
    """Return the pairs (``alg/ealg``) this kernel lacks, each with the kernel's words.

    ``ip_versions`` are 4 and/or 6. Raises NodeUnfit without CAP_NET_ADMIN, without ESP, or with
    no usable pair at all.
    """
    wanted = list(dict.fromkeys(pairs))
    missing: dict[str, str] = {}
    for version in sorted(set(ip_versions)):
        for pair in wanted:
            error = await _try(kernel, pair, version, layout, _PROBE_SPI)
            if error is not None and error.errno == errno.EEXIST:  # a foreigner's: beside it
                error = await _try(kernel, pair, version, layout, _PROBE_SPI + 1)
            if error is None:
                continue
            _refuse_unfit(error, version)
            missing[str(pair)] = str(error)
    if wanted and len(missing) == len(wanted):
        modules = dict.fromkeys(name for pair in wanted for name in pair.modules.split())
        raise NodeUnfit(
            "none of the configured algorithms: " + "; ".join(sorted(set(missing.values()))),
            f"load their modules (modprobe {' '.join(modules)}) or configure others",
        )
    return missing


def _refuse_unfit(error: KernelError, version: int) -> None:
    if error.errno in _NOT_PERMITTED:
        raise NodeUnfit(
            "the capability CAP_NET_ADMIN",
            "start sad by its systemd unit, or give it AmbientCapabilities=CAP_NET_ADMIN",
        )
    if error.errno == errno.EPROTONOSUPPORT:
        module = "esp4" if version == 4 else "esp6"
        raise NodeUnfit(
            f"ESP for IPv{version} in this kernel",
            f"modprobe {module}, or use a kernel built with CONFIG_INET{'6' * (version == 6)}_ESP",
        )


async def _try(
    kernel: Kernel, pair: AlgorithmPair, version: int, layout: Layout, spi: int
) -> KernelError | None:
    source, destination = _PROBE_ADDRESSES[version]
    integrity, encryption = pair.transforms
    sa = SecurityAssociation(
        id=SaId(destination, spi),
        source=source,
        reqid=layout.reqid_range[0],
        selector=Selector(
            source=source,
            source_prefix=host_prefix(source),
            destination=destination,
            destination_prefix=host_prefix(destination),
            owner=layout.owner,
        ),
        integrity=integrity,
        encryption=encryption,
        replay_window=layout.replay_window,
        hard_add_seconds=_PROBE_SECONDS,
    )
    # Any key will do, but not the weak keys that DES implementations refuse.
    keys = SaKeys(
        integrity=Secret(bytes(range(1, integrity.key_bits // 8 + 1)) if integrity else b""),
        encryption=Secret(bytes(range(1, encryption.key_bits // 8 + 1))),
    )
    try:
        # One of an earlier life may still be there; anybody else's is not ours to delete.
        held = await kernel.get_sa(sa.id)
        if held is not None and held.selector.owner == layout.owner:
            await kernel.commit([DeleteSa(sa.id)])
        added, _ = await kernel.commit((AddSa(sa=sa, keys=keys), DeleteSa(sa.id)))
    except OutcomeUnknown as error:
        raise NodeUnfit(
            "the kernel's answers, which were lost", "raise kernel.request_buffer_bytes"
        ) from error
    except KernelError as error:
        return error
    return added
