"""A charon in this process: the commands and events that ``sad`` uses, in the form of 5.9.8.

:mod:`tests.ike.contract` holds it to what the real one does. Its peer is in it, too: the methods
``peer_*`` are what the other side's charon would do.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from vici.protocol import FiniteStream, Message, Packet

from sad.vici.codec import LENGTH, framed

Section = dict[str, Any]

#: Lines of charon's log for attempts that fail, by what is wrong; the last one is the reason.
FAILURES: Final[Mapping[str, tuple[str, ...]]] = {
    "secret": ("tried 1 shared key for '{local}' - '{remote}', but MAC mismatched",),
    "proposal": ("no acceptable proposal found", "failed to establish CHILD_SA, keeping IKE_SA"),
}
_NO_SUCH: Final = "no matching SAs to terminate found"


class FakeCharon:
    """Serves a socket from :meth:`start` to :meth:`kill`; what it holds dies with it."""

    def __init__(self, path: Path) -> None:
        self.socket = path
        self.version = "5.9.8"
        self.commands: list[str] = []
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self._going = asyncio.Event()
        self._going.set()
        self._forget()

    def _forget(self) -> None:
        self.connections: dict[str, Section] = {}
        self.secrets: dict[str, Section] = {}
        self.sas: dict[str, Section] = {}
        self._listeners: dict[asyncio.StreamWriter, set[str]] = {}
        self._numbers = itertools.count(1)
        self._spis = itertools.count(0xC000_0001)

    # --- life ------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to serve, without any memory."""
        self._forget()
        self.socket.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, self.socket)

    async def kill(self) -> None:
        """End: connections are closed, the socket's file stays, as after SIGKILL."""
        assert self._server is not None
        self._server.close()
        self._server = None
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        self._going.set()

    @property
    def connected(self) -> int:
        """How many connections it serves."""
        return len(self._serving)

    def hang(self) -> None:
        """Neither read nor write any more."""
        self._going.clear()

    def go_on(self) -> None:
        """Go on where it hung."""
        self._going.set()

    # --- the peer --------------------------------------------------------------------------------

    def peer_initiates(self, child: str, fault: str | None = None) -> bool:
        """Have the peer set up a child; say whether that worked."""
        found = [n for n, c in self.connections.items() if child in c["children"]]
        if not found:
            return False
        return self._set_up(found[0], child, fault)

    def peer_deletes(self, child: str) -> None:
        """Have the peer end a child."""
        for ike, section in list(self.sas.items()):
            for key, value in list(section["child-sas"].items()):
                if value["name"] == child:
                    self._close_child(ike, key)

    def peer_rekeys(self, child: str) -> None:
        """Have the peer rekey a child."""
        for ike, section in self.sas.items():
            for key, old in list(section["child-sas"].items()):
                if old["name"] == child:
                    self._rekey(ike, key)

    def _set_up(self, name: str, child: str, fault: str | None) -> bool:
        loaded = self.connections[name]
        new = name not in self.sas
        section = self.sas.get(name) or _ike(name, loaded, next(self._numbers))
        identities = {"local": section["local-id"], "remote": section["remote-id"]}
        if fault is not None:
            if new:
                self._tell("ike-updown", {name: _without_children(section)})
            for line in FAILURES[fault]:
                self._log(name, section, line.format(**identities))
            return False
        if any(c["name"] == child for c in section["child-sas"].values()):
            self._log(
                name, section, f"not establishing CHILD_SA {child} due to existing duplicate"
            )
            return False
        number = next(self._numbers)
        made = _child(child, loaded["children"][child], number, next(self._spis), next(self._spis))
        if new:
            self.sas[name] = section
            self._tell("ike-updown", {"up": "yes", name: _without_children(section)})
            self._log(name, section, f"IKE_SA {name}[{section['uniqueid']}] established")
        section["child-sas"][f"{child}-{number}"] = made
        self._log(name, section, f"CHILD_SA {child}{{{number}}} established")
        self._tell(
            "child-updown",
            {"up": "yes", name: section | {"child-sas": {f"{child}-{number}": made}}},
        )
        return True

    def _close_child(self, ike: str, key: str) -> None:
        section = self.sas[ike]
        closed = section["child-sas"].pop(key) | {"state": "DELETED"}
        self._log(ike, section, "CHILD_SA closed")
        self._tell("child-updown", {ike: section | {"child-sas": {key: closed}}})

    def _close_ike(self, ike: str) -> None:
        section = self.sas.pop(ike)
        self._log(ike, section, "IKE_SA deleted")
        self._tell("ike-updown", {ike: _without_children(section)})
        if section["child-sas"]:
            self._tell("child-updown", {ike: section})

    def _rekey(self, ike: str, key: str) -> None:
        section = self.sas[ike]
        old = section["child-sas"].pop(key)
        number = next(self._numbers)
        new = old | {
            "uniqueid": str(number),
            "spi-in": f"{next(self._spis):08x}",
            "spi-out": f"{next(self._spis):08x}",
        }
        section["child-sas"][f"{old['name']}-{number}"] = new
        both = {"old": old | {"state": "REKEYED"}, "new": new}
        self._tell("child-rekey", {ike: section | {"child-sas": {old["name"]: both}}})

    # --- events ----------------------------------------------------------------------------------

    def _log(self, ike: str, section: Section, text: str) -> None:
        self._tell("log", _line(text) | {"ikesa-name": ike, "ikesa-uniqueid": section["uniqueid"]})

    def _tell(self, event: str, message: Section) -> None:
        for writer, events in self._listeners.items():
            if event in events:
                writer.write(framed(_event(event, message)))

    # --- commands --------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        self._listeners[writer] = set()
        try:
            await self._serve_all(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client has left, or this charon is killed
        finally:
            self._serving.discard(task)
            self._listeners.pop(writer, None)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _serve_all(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
            packet = await reader.readexactly(length)
            await self._going.wait()
            for answer in self._answer(packet, self._listeners[writer]):
                writer.write(framed(answer))
            await writer.drain()

    def _answer(self, packet: bytes, events: set[str]) -> list[bytes]:
        kind, length = packet[0], packet[1]
        name = packet[2 : 2 + length].decode()
        if kind == Packet.EVENT_REGISTER:
            events.add(name)
            return [bytes([Packet.EVENT_CONFIRM])]
        if kind == Packet.EVENT_UNREGISTER:
            events.discard(name)
            return [bytes([Packet.EVENT_CONFIRM])]
        self.commands.append(name)
        message = _text(Message.deserialize(FiniteStream(packet[2 + length :])))
        handler = getattr(self, "_do_" + name.replace("-", "_"), None)
        if handler is None:
            return [bytes([Packet.CMD_UNKNOWN])]
        told, answer = handler(message)
        return [*told, bytes([Packet.CMD_RESPONSE]) + Message.serialize(answer)]

    def _do_version(self, _: Section) -> tuple[list[bytes], Section]:
        return [], {"daemon": "charon-systemd", "version": self.version}

    def _do_list_sas(self, message: Section) -> tuple[list[bytes], Section]:
        wanted = message.get("ike")
        return [_event("list-sa", {n: s}) for n, s in self.sas.items() if wanted in {None, n}], {}

    def _do_list_conns(self, _: Section) -> tuple[list[bytes], Section]:
        return [_event("list-conn", {n: c}) for n, c in self.connections.items()], {}

    def _do_load_conn(self, message: Section) -> tuple[list[bytes], Section]:
        self.connections.update(message)
        return [], {"success": "yes"}

    def _do_unload_conn(self, message: Section) -> tuple[list[bytes], Section]:
        if self.connections.pop(message["name"], None) is None:
            return [], _failed(f"connection '{message['name']}' not found for unloading")
        return [], {"success": "yes"}

    def _do_load_shared(self, message: Section) -> tuple[list[bytes], Section]:
        self.secrets[message["id"]] = message
        return [], {"success": "yes"}

    def _do_unload_shared(self, message: Section) -> tuple[list[bytes], Section]:
        self.secrets.pop(message["id"], None)
        return [], {"success": "yes"}

    def _do_get_shared(self, _: Section) -> tuple[list[bytes], Section]:
        return [], {"keys": list(self.secrets)}

    def _do_rekey(self, message: Section) -> tuple[list[bytes], Section]:
        matches = [
            (ike, key)
            for ike, section in self.sas.items()
            for key, child in section["child-sas"].items()
            if child["uniqueid"] == message.get("child-id")
        ]
        for ike, key in matches:
            self._rekey(ike, key)
        if not matches:
            return [], _failed("no matching SAs to rekey found") | {"matches": "0"}
        return [], {"success": "yes", "matches": str(len(matches))}

    def _do_initiate(self, message: Section) -> tuple[list[bytes], Section]:
        child, ike = message["child"], message["ike"]
        if child not in self.connections.get(ike, {}).get("children", {}):
            return [], _failed(f"CHILD_SA config '{child}' not found")
        if not self._set_up(ike, child, None):
            told = [_event("control-log", _line("received AUTHENTICATION_FAILED notify error"))]
            return told, _failed(f"establishing CHILD_SA '{child}' failed")
        return [_event("control-log", _line(f"CHILD_SA {child} established"))], {"success": "yes"}

    def _do_terminate(self, message: Section) -> tuple[list[bytes], Section]:
        ended = 0
        for ike, section in list(self.sas.items()):
            if ike == message.get("ike") or section["uniqueid"] == message.get("ike-id"):
                ended += 1
                self._close_ike(ike)
                continue
            for key, child in list(section["child-sas"].items()):
                if child["name"] == message.get("child") or child["uniqueid"] == message.get(
                    "child-id"
                ):
                    ended += 1
                    self._close_child(ike, key)
        if not ended:
            return [], _failed(_NO_SUCH) | {"matches": "0", "terminated": "0"}
        return [], {"success": "yes", "matches": str(ended), "terminated": str(ended)}


def _event(name: str, message: Section) -> bytes:
    encoded = name.encode()
    return bytes([Packet.EVENT, len(encoded)]) + encoded + bytes(Message.serialize(message))


def _failed(words: str) -> Section:
    return {"success": "no", "errmsg": words}


def _line(text: str) -> Section:
    return {"group": "IKE", "level": "1", "thread": "5", "msg": text}


def _text(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _text(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_text(item) for item in value]
    return value.decode(errors="replace")


def _without_children(section: Section) -> Section:
    return {key: value for key, value in section.items() if key != "child-sas"}


def _ike(name: str, loaded: Section, number: int) -> Section:
    return {
        "uniqueid": str(number),
        "version": "2",
        "state": "ESTABLISHED",
        "local-host": loaded["local_addrs"][0],
        "local-port": "4500",
        "local-id": loaded["local"]["id"],
        "remote-host": loaded["remote_addrs"][0],
        "remote-port": "4500",
        "remote-id": loaded["remote"]["id"],
        "initiator-spi": "8a5b74ddccdb11e1",
        "responder-spi": "9b2a9361c782c46f",
        "established": "1",
        "child-sas": {},
    }


def _child(name: str, loaded: Section, number: int, spi_in: int, spi_out: int) -> Section:
    return {
        "name": name,
        "uniqueid": str(number),
        "reqid": str(number),
        "state": "INSTALLED",
        "mode": "TRANSPORT",
        "protocol": "ESP",
        "spi-in": f"{spi_in:08x}",
        "spi-out": f"{spi_out:08x}",
        "encr-alg": "AES_GCM_16",
        "encr-keysize": "128",
        "bytes-in": "0",
        "packets-in": "0",
        "bytes-out": "0",
        "packets-out": "0",
        "life-time": str(loaded.get("life_time", "600")).removesuffix("s"),
        "install-time": "0",
        "local-ts": [_selector(s) for s in loaded["local_ts"]],
        "remote-ts": [_selector(s) for s in loaded["remote_ts"]],
    }


def _selector(text: str) -> str:
    """``10.0.0.1[17/5060]`` as charon tells it: ``10.0.0.1/32[udp/5060]``."""
    address, _, rest = text.partition("[")
    protocol, _, port = rest.rstrip("]").partition("/")
    prefix = 128 if ":" in address else 32
    name = {"17": "udp", "6": "tcp"}.get(protocol, protocol)
    return f"{address}/{prefix}[{name}/{port}]"
