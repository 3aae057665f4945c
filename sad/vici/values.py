"""What charon tells, as immutable values. Pure: :mod:`sad.core` decides by them.

Names are charon's configuration names, ``unique_id`` are its own numbers: a rekeyed child keeps
its name and gets another number. Spans are in seconds from when it was told; None: no limit.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sad.vici.errors import BadMessage

Section = Mapping[str, Any]

#: A child that carries traffic; REKEYED and DELETING ones only take what is under way.
INSTALLED: Final = "INSTALLED"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSa:
    """One CHILD_SA: a pair of ESP SAs and their selectors."""

    name: str
    unique_id: int
    state: str
    mode: str
    reqid: int
    spi_in: int
    spi_out: int
    cipher: str
    age_seconds: int
    life_seconds: int | None
    rekey_seconds: int | None
    local_selectors: tuple[str, ...]
    remote_selectors: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class IkeSa:
    """One IKE_SA with those of its children that were told with it."""

    name: str
    unique_id: int
    state: str
    local_host: str
    remote_host: str
    local_id: str
    remote_id: str
    children: tuple[ChildSa, ...]


@dataclass(frozen=True, slots=True)
class ChildrenUp:
    """Children came up."""

    ike: IkeSa


@dataclass(frozen=True, slots=True)
class ChildrenDown:
    """Children went down."""

    ike: IkeSa


@dataclass(frozen=True, slots=True)
class ChildRekeyed:
    """A child got new keys, and a new number."""

    ike: IkeSa
    old: ChildSa
    new: ChildSa


@dataclass(frozen=True, slots=True)
class IkeUp:
    """An IKE_SA came up."""

    ike: IkeSa


@dataclass(frozen=True, slots=True)
class IkeDown:
    """An IKE_SA went down, and its children with it."""

    ike: IkeSa


@dataclass(frozen=True, slots=True)
class IkeRekeyed:
    """An IKE_SA got new keys, and a new number; its children live on."""

    old: IkeSa
    new: IkeSa


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """A line of charon's log; ``connection`` and ``ike_id`` are of the IKE_SA that it is about.

    ``connection`` is empty as long as it is not known which peer it is.
    """

    group: str
    level: int
    connection: str
    ike_id: int | None
    text: str


CharonEvent = ChildrenUp | ChildrenDown | ChildRekeyed | IkeUp | IkeDown | IkeRekeyed | LogLine

#: What :func:`read_event` reads.
EVENTS: Final = ("ike-updown", "child-updown", "ike-rekey", "child-rekey", "log")


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """Which charon it is."""

    daemon: str
    version: str

    @property
    def numbers(self) -> tuple[int, int]:
        """Its first two numbers."""
        major, _, rest = self.version.partition(".")
        minor = "".join(c for c in rest.partition(".")[0] if c.isdigit())
        return (int(major) if major.isdigit() else 0, int(minor or 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedConnection:
    """A connection that charon has loaded, with the names of its children."""

    name: str
    children: tuple[str, ...]


def read_version(message: Section) -> Version:
    """Read the answer to ``version``."""
    return Version(daemon=_text(message, "daemon"), version=_text(message, "version"))


def read_ike_sas(message: Section) -> tuple[IkeSa, ...]:
    """Read one event ``list-sa``."""
    return tuple(_ike_sa(name, section) for name, section in _sections(message))


def read_connections(message: Section) -> tuple[LoadedConnection, ...]:
    """Read one event ``list-conn``."""
    return tuple(
        LoadedConnection(name=name, children=tuple(c for c, _ in _sections(_part(s, "children"))))
        for name, s in _sections(message)
    )


def read_text(message: Section, key: str) -> str:
    """Read a text, empty if it is not there."""
    return _text(message, key)


def read_names(message: Section, key: str) -> tuple[str, ...]:
    """Read a list of names, e.g. ``keys`` of ``get-shared``."""
    names = message.get(key, ())
    if not isinstance(names, list | tuple):
        raise BadMessage(f"{key} is no list")
    return tuple(_decoded(item) for item in names)


def read_event(name: str, message: Section) -> tuple[CharonEvent, ...]:
    """Read one event; raise BadMessage if it is not what charon 5.9 sends."""
    match name:
        case "log":
            return (read_log_line(message),)
        case "child-updown":
            updown = ChildrenUp if _is_up(message) else ChildrenDown
            return tuple(updown(ike) for ike in read_ike_sas(message))
        case "ike-updown":
            kind = IkeUp if _is_up(message) else IkeDown
            return tuple(kind(ike) for ike in read_ike_sas(message))
        case "child-rekey":
            return tuple(_child_rekeyed(n, section) for n, section in _sections(message))
        case "ike-rekey":
            return tuple(
                IkeRekeyed(_ike_sa(n, _part(section, "old")), _ike_sa(n, _part(section, "new")))
                for n, section in _sections(message)
            )
    raise BadMessage(f"an event {name!r} that was not asked for")


def _is_up(message: Section) -> bool:
    # Down is told by the lack of it.
    return bool(message.get("up") == b"yes")


def _child_rekeyed(name: str, section: Section) -> ChildRekeyed:
    for child, versions in _sections(_part(section, "child-sas")):
        return ChildRekeyed(
            _ike_sa(name, {**section, "child-sas": {}}),
            _child_sa(_part(versions, "old"), child),
            _child_sa(_part(versions, "new"), child),
        )
    raise BadMessage(f"a rekeying of {name!r} without a child")


def _ike_sa(name: str, section: Section) -> IkeSa:
    return IkeSa(
        name=name,
        unique_id=_number(section, "uniqueid"),
        state=_text(section, "state"),
        local_host=_text(section, "local-host"),
        remote_host=_text(section, "remote-host"),
        local_id=_text(section, "local-id"),
        remote_id=_text(section, "remote-id"),
        children=tuple(
            _child_sa(child, key) for key, child in _sections(_part(section, "child-sas"))
        ),
    )


def _child_sa(section: Section, key: str) -> ChildSa:
    # Older ones name the section by the child alone.
    cipher = "/".join(
        _text(section, part) for part in ("encr-alg", "integ-alg") if section.get(part)
    )
    return ChildSa(
        name=_text(section, "name") or key,
        unique_id=_number(section, "uniqueid"),
        state=_text(section, "state"),
        mode=_text(section, "mode"),
        reqid=_number(section, "reqid", 0),
        spi_in=_number(section, "spi-in", 0, base=16),
        spi_out=_number(section, "spi-out", 0, base=16),
        cipher=cipher,
        age_seconds=_number(section, "install-time", 0),
        life_seconds=_number(section, "life-time", -1) if section.get("life-time") else None,
        rekey_seconds=_number(section, "rekey-time", -1) if section.get("rekey-time") else None,
        local_selectors=read_names(section, "local-ts"),
        remote_selectors=read_names(section, "remote-ts"),
    )


def read_log_line(message: Section) -> LogLine:
    """Read one event ``log`` or ``control-log``."""
    return LogLine(
        group=_text(message, "group"),
        level=_number(message, "level", 0),
        connection=_text(message, "ikesa-name"),
        ike_id=_number(message, "ikesa-uniqueid") if message.get("ikesa-uniqueid") else None,
        text=_text(message, "msg"),
    )


def _sections(message: Section) -> Iterator[tuple[str, Section]]:
    for name, value in message.items():
        if isinstance(value, Mapping):
            yield name, value


def _part(message: Section, key: str) -> Section:
    value = message.get(key, {})
    if not isinstance(value, Mapping):
        raise BadMessage(f"{key} is no section")
    return value


def _decoded(value: object) -> str:
    if not isinstance(value, bytes):
        raise BadMessage("a section where a value is expected")
    return value.decode(errors="replace")


def _text(message: Section, key: str) -> str:
    return _decoded(message.get(key, b""))


def _number(message: Section, key: str, default: int | None = None, *, base: int = 10) -> int:
    value = message.get(key)
    if value is None and default is not None:
        return default
    try:
        return int(_decoded(value), base)
    except ValueError:
        raise BadMessage(f"{key} is no number: {value!r}") from None
