"""How the kernel's limits of an SA follow a deadline. Pure; part of :mod:`sad.mechanisms.xfrm`."""

import dataclasses
import math
from collections.abc import Callable, Sequence

from netlink.model import (
    CurrentLifetime,
    MoveLifetime,
    ObservedSa,
    Operation,
    SecurityAssociation,
    ShortenSa,
)
from sad.core.desired import SaPlace


def move_limits(
    places: Sequence[SaPlace],
    observed: Sequence[ObservedSa],
    limit: float,
    realtime: float,
    wanted: Callable[[], Sequence[SecurityAssociation]],
) -> list[Operation]:
    """Return the operations after which hard limits strike at ``limit`` (real-time seconds).

    Lengthen: the time origin moves. Shorten, or another port of a NAT: it moves to now, and the
    SA as it is ``wanted`` gets the short limit.
    """
    strikes, now = math.ceil(limit), int(realtime)
    operations: list[Operation] = []
    sas: Sequence[SecurityAssociation] = ()
    for index, (place, sa) in enumerate(zip(places, observed, strict=True)):
        span = sa.hard_add_seconds
        if (
            span
            and strikes >= sa.current.add_time + span
            and sa.encapsulation == place.encapsulation
        ):
            operations.append(_origin(place, sa.current, strikes - span))
        else:
            sas = sas or wanted()
            shorter = dataclasses.replace(sas[index], hard_add_seconds=max(1, strikes - now))
            operations += [_origin(place, sa.current, now), ShortenSa(shorter)]
    return operations


def _origin(place: SaPlace, current: CurrentLifetime, add_time: int) -> MoveLifetime:
    # NEWAE overwrites the counters with what it carries: carry the present ones.
    return MoveLifetime(
        id=place.id,
        source=place.source,
        reqid=place.reqid,
        current=CurrentLifetime(
            bytes=current.bytes,
            packets=current.packets,
            add_time=add_time,
            use_time=current.use_time,
        ),
    )
