"""A SIP server that does random things for its user agents, in a thread, and keeps the ledger."""

import contextlib
import json
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from sip_hooks.client import CallError, Client, ClientError, Unreachable
from tests.support.daemon import ASSOCIATIONS, PATIENCE
from tests.support.make import CK, IK, security_client
from tests.support.random_model import (
    AWAIT_SECONDS,
    SOON_SECONDS,
    SetModel,
    Span,
    UeModel,
    sas_of,
)

SERVER_PORT: Final = 5064
UE_SERVER: Final = 6800
GHOST: Final = "ghost"
#: Monitor subscribers that never read, at a time.
DEAF_MONITORS: Final = 3

_KEYS: Final = {"integrityKey": IK.hex(), "cipherKey": CK.hex()}
_PAUSE_WITHOUT_DAEMON: Final = 0.05
_LONGEST_WAIT: Final = 0.5
_MALFORMED: Final = (
    b"\0",
    b"GET / HTTP/1.1\r\n\r\n\0",
    b'{"method":\0',
    b'{"method":"org.sipsad.Associations.Burn"}\0',
    b'{"method":"org.sipsad.Associations.Offer","parameters":{"endpoint":7}}\0',
    b'{"method":"org.sipsad.Associations.Get","parameters":{"id":"' + b"x" * 70_000 + b'"}}\0',
    b'{"method":"org.sipsad.Associations.List"',
    bytes(range(256)) * 64,
)


class Gate:
    """Lets workers through, or holds all of them between two calls."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._open.set()

    def wait(self) -> None:
        self._open.wait()

    def close(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()


class Worker:
    """Works until :meth:`end`; a broken rule is kept in ``defect``."""

    def __init__(self, path: Path, ues: Sequence[UeModel], gate: Gate, seed: int) -> None:
        self.ues = ues
        self.locks = {ue.number: threading.Lock() for ue in ues}
        self.calls = 0
        self.actions: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        self.defect: BaseException | None = None
        #: When the last set of a client that left must be gone.
        self.ghosts_until = 0.0
        self.idle = threading.Event()
        self._gate = gate
        self._path = path
        self._client = Client(str(path), timeout=PATIENCE)
        self._random = random.Random(seed)
        self._deaf: list[socket.socket] = []
        self._ending = False
        self._now = 0.0  # when the present action was chosen
        self._transactions = 0
        self._ghosts = 0
        self._seed = seed
        self._thread = threading.Thread(target=self._run, name=f"worker {seed}")
        self._thread.start()

    def end(self) -> None:
        """Come to an end after the present call. The gate must be open."""
        self._ending = True
        self._thread.join()
        self._client.close()
        self.hear()

    def hear(self) -> None:
        """Let the deaf subscribers go."""
        for sock in self._deaf:
            sock.close()
        self._deaf.clear()

    def _run(self) -> None:
        try:
            while not self._ending:
                self.idle.set()
                self._gate.wait()
                self.idle.clear()
                self._act()
        except BaseException as error:  # noqa: BLE001 - shown at the next checkpoint
            self.defect = error
        finally:
            self.idle.set()

    # --- one action ------------------------------------------------------------------------------

    def _act(self) -> None:
        odd = self._random.random()
        if odd < 0.06:
            with contextlib.suppress(OSError):  # no daemon at this moment
                self._count(self._random.choice((self._leave, self._listen_not, self._garble)))
            return
        ue = self._random.choice(self.ues)
        with self.locks[ue.number]:
            if ue.unsure:
                self._rest()
                return
            begun = self._now = time.monotonic()
            action = self._random.choice(self._possible(ue))
            try:
                self._count(lambda: action(ue), action.__name__)
            except Unreachable as error:
                ue.unsure |= error.may_have_run
                self._rest()
            except CallError as error:
                self._refused(ue, action.__name__, error, begun)
            except ClientError:
                ue.unsure = True  # nobody knows whether it was done
            except AssertionError:
                if not ue.unsure:  # else somebody flushed in the middle of it
                    raise

    def _rest(self) -> None:
        time.sleep(_PAUSE_WITHOUT_DAEMON)

    def _count(self, action: Callable[[], None], name: str = "") -> None:
        self.calls += 1
        self.actions[name or action.__name__] += 1
        action()

    def _refused(self, ue: UeModel, action: str, error: CallError, begun: float) -> None:
        name = error.short_name
        self.refusals[name] += 1
        if name == "Busy":
            # The daemon is starting: limits of rates are out of reach in these tests.
            wait = error.parameters["retryAfterMilliseconds"]
            if wait < 1:
                raise AssertionError("Busy without a time") from error
            time.sleep(min(wait / 1000, _LONGEST_WAIT))
            return
        if name == "LimitExceeded" and ue.crowded(time.monotonic()):
            return
        # A daemon that hung for long has ended what the call was about.
        ue.unsure |= time.monotonic() > begun + SOON_SECONDS
        if ue.unsure:
            return
        raise AssertionError(f"{action} of {ue} was refused: {error}") from error

    def _possible(self, ue: UeModel) -> list[Callable[[UeModel], None]]:
        lasting = ue.lasting(self._now)
        possible: list[Callable[[UeModel], None]] = [self._offer, self._offer]
        if not ue.sets:
            return [*possible, self._install]
        if any(s.registered and s.state in {"established", "inUse"} for s in lasting):
            possible += [self._re_register, self._refresh, self._refresh, self._take_into_use]
            possible += [self._release, self._find]
        pending = [s for s in lasting if not s.registered and s.state == "temporary"]
        if any(s.request for s in pending):
            possible += [self._confirm] * 4 + [self._retransmit, self._verify, self._offer_again]
        if lasting:
            possible.append(self._release_all)
        return possible

    def _pick(self, ue: UeModel, *, registered: bool) -> SetModel:
        lasting = ue.lasting(self._now)
        if registered:
            fit = [s for s in lasting if s.registered and s.state in {"established", "inUse"}]
        else:
            fit = [s for s in lasting if not s.registered and s.state == "temporary" and s.request]
        return self._random.choice(fit)

    def _call(self, method: str, **parameters: Any) -> tuple[dict[str, Any], Span]:
        begun = time.monotonic()
        answer = self._client.call(f"{ASSOCIATIONS}.{method}", parameters)
        return answer, Span(begun, time.monotonic())

    # --- a registration's calls ------------------------------------------------------------------

    def _request(self, ue: UeModel, port_uc: int, on: SetModel | None) -> dict[str, Any]:
        self._transactions += 1
        ue.spi += 2
        values = {"spi_c": ue.spi, "spi_s": ue.spi + 1, "port_c": port_uc, "port_s": UE_SERVER}
        return {
            "endpoint": "access",
            "registration": {"privateIdentity": ue.identity, "publicIdentities": []},
            "flow": self._flow(ue, on),
            "transaction": {
                "callId": f"call{self._transactions}",
                "cseq": 1,
                "branch": f"z9hG4bK{self._seed}",
            },
            "association": None if on is None else on.id,
            "securityClient": [security_client(**values)],
            **_KEYS,
        }

    def _flow(self, ue: UeModel, on: SetModel | None) -> dict[str, Any]:
        return {
            "peerAddress": ue.address,
            "peerPort": 5060 if on is None else on.port_uc,
            "localAddress": ue.edge,
            "localPort": 5060 if on is None else SERVER_PORT,
        }

    def _make(self, ue: UeModel, port_uc: int, on: SetModel | None) -> None:
        request = self._request(ue, port_uc, on)
        answer, span = self._call("Offer", **request)
        new = SetModel(
            id=answer["association"]["id"],
            state="temporary",
            low=span.begun + AWAIT_SECONDS,
            high=span.ended + AWAIT_SECONDS,
            row=request["securityClient"][0],
            port_uc=port_uc,
            offered_on=None if on is None else on.id,
            sas=sas_of(answer["association"]),
            request=request,
            server=answer["securityServer"],
        )
        ue.offered(new, on)

    def _fresh_port(self, ue: UeModel) -> int:
        ue.port_uc = 10_000 + (ue.port_uc - 9_999) % 20_000
        return ue.port_uc

    def _offer(self, ue: UeModel) -> None:
        self._make(ue, self._fresh_port(ue), None)

    def _offer_again(self, ue: UeModel) -> None:
        pending = self._pick(ue, registered=False)
        if pending.offered_on is None:
            self._make(ue, pending.port_uc, None)

    def _re_register(self, ue: UeModel) -> None:
        self._make(ue, self._fresh_port(ue), self._pick(ue, registered=True))

    def _retransmit(self, ue: UeModel) -> None:
        pending = self._pick(ue, registered=False)
        answer, _ = self._call("Offer", **pending.request)
        assert answer["association"]["id"] == pending.id, "a repeated Offer made another set"
        assert answer["securityServer"] == pending.server

    def _verify(self, ue: UeModel) -> None:
        pending = self._pick(ue, registered=False)
        answer, _ = self._call(
            "Verify",
            flow=self._flow(ue, pending),
            securityVerify=[pending.server],
            securityClient=[pending.row],
        )
        assert answer["association"]["id"] == pending.id

    def _confirm(self, ue: UeModel) -> None:
        pending = self._pick(ue, registered=False)
        expires = self._random.choice((10, 30, 90, 600))
        _, span = self._call("Confirm", id=pending.id, expiresSeconds=expires)
        ue.confirmed(pending, span, expires)

    def _refresh(self, ue: UeModel) -> None:
        one = self._pick(ue, registered=True)
        expires = self._random.choice((1, 30, 90, 600))
        _, span = self._call("Confirm", id=one.id, expiresSeconds=expires)
        ue.confirmed(one, span, expires)

    def _take_into_use(self, ue: UeModel) -> None:
        one = self._pick(ue, registered=True)
        _, span = self._call("TakeIntoUse", id=one.id)
        ue.taken_into_use(one, span)

    def _find(self, ue: UeModel) -> None:
        one = self._pick(ue, registered=True)
        answer, _ = self._call("Find", flow=self._flow(ue, one))
        assert answer["association"]["id"] == one.id

    def _release(self, ue: UeModel) -> None:
        one = self._pick(ue, registered=True)
        linger = self._random.choice((0, 0, 4))
        _, span = self._call("Release", id=one.id, lingerSeconds=linger)
        ue.released([one], span, linger)

    def _release_all(self, ue: UeModel) -> None:
        _, span = self._call("Release", privateIdentity=ue.identity)
        ue.released(ue.sets, span, 0)

    def _install(self, ue: UeModel) -> None:
        lifetime = self._random.choice((2, 20, 200))
        ue.spi += 2
        port_uc = self._fresh_port(ue)
        answer, span = self._call(
            "Install",
            endpoint="access",
            registration={"privateIdentity": ue.identity, "publicIdentities": []},
            mechanism="ipsec-3gpp",
            ipsec3gpp={
                "ueAddress": ue.address,
                "pcscfAddress": ue.edge,
                "spiUc": ue.spi,
                "spiUs": ue.spi + 1,
                "portUc": port_uc,
                "portUs": UE_SERVER,
                "integrityAlgorithm": "hmac-sha-1-96",
                "encryptionAlgorithm": "null",
                **_KEYS,
            },
            lifetimeSeconds=lifetime,
        )
        low, high = span.begun + lifetime, span.ended + lifetime
        made = answer["association"]
        state = "established"
        one = SetModel(made["id"], state, low, high, "", port_uc, "", sas_of(made))
        one.registered = True
        ue.sets.append(one)

    # --- those that do not keep to the way -------------------------------------------------------

    def _raw(self, data: bytes) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(PATIENCE)
        try:
            sock.connect(str(self._path))
            sock.sendall(data)
        except BaseException:
            sock.close()
            raise
        return sock

    def _leave(self) -> None:
        """Ask and leave before the answer: it is rolled back, or ends as a temporary set."""
        self._ghosts += 1
        number = self._ghosts % 250 + 1
        ue = UeModel(0, f"{GHOST}{self._seed}", f"10.66.{self._seed % 250}.{number}", "10.10.0.1")
        ue.spi = 1000 + self._ghosts * 2
        port_uc = 10_000 + self._ghosts % 20_000
        call = {"method": f"{ASSOCIATIONS}.Offer", "parameters": self._request(ue, port_uc, None)}
        self._raw(json.dumps(call).encode() + b"\0").close()
        self.ghosts_until = time.monotonic() + AWAIT_SECONDS

    def _listen_not(self) -> None:
        """Subscribe, and never read."""
        call = {"method": f"{ASSOCIATIONS}.Monitor", "more": True}
        self._deaf.append(self._raw(json.dumps(call).encode() + b"\0"))
        if len(self._deaf) > DEAF_MONITORS:
            self._deaf.pop(0).close()

    def _garble(self) -> None:
        """Say what is no call; the daemon answers or closes, and lives."""
        self._raw(self._random.choice(_MALFORMED)).close()
