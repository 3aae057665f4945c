"""The registration of a UE: initial, challenged, refreshed, ended (TS 24.229 5.1.1, 33.203 7.4).

The counterpart of :mod:`tests.ue.registrar` beyond the P-CSCF. It decides when a set is made and
established; :mod:`tests.ue.sets` keeps it.
"""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.ue.agent import Alter, Trace
from tests.ue.aka import (
    Challenge,
    Usim,
    credentials,
    failure_credentials,
    initial_credentials,
)
from tests.ue.channel import Channel, ChannelState, ClientPort
from tests.ue.config import REGISTRATION_MARGIN_SECONDS, UeConfig
from tests.ue.dialog import new_tag
from tests.ue.flow import HostPort
from tests.ue.headers import parse_digest, render_digest
from tests.ue.milenage import Answer, MacFailure, SynchronisationFailure
from tests.ue.security import AgreementAborted, Offer, agree
from tests.ue.sets import SetAgent
from tests.ue.sip import Request, Response
from tests.ue.xfrm import Xfrm

_INVALID_CHALLENGES = 2  # TS 24.229 5.1.1.5.3: after two in a row the UE gives up


class RegistrationRefused(Exception):
    """The network's final answer was neither a 200 nor a challenge the UE may answer."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.start_line)
        self.response = response


@dataclass(slots=True)
class Attempt:
    """A REGISTER whose answer came: ``channel`` is the temporary set if it was a challenge."""

    response: Response
    expires: int
    channel: Channel | None = None
    security_client: str | None = None
    security_server: tuple[str, ...] = ()
    challenge: Challenge | None = None
    res: bytes = field(default=b"", repr=False)


class RegisteringAgent(SetAgent):
    """An agent that registers. ``current`` is None while it is not registered."""

    def __init__(
        self,
        config: UeConfig,
        xfrm: Xfrm,
        *,
        alter: Alter | None = None,
        on_trace: Callable[[Trace], None] | None = None,
    ) -> None:
        super().__init__(config, xfrm, alter=alter, on_trace=on_trace)
        self.usim = Usim(config.k, config.opc, sqn=config.sqn)
        self.granted = 0
        self.service_route: tuple[str, ...] = ()
        self.associated: tuple[str, ...] = ()
        self.security_server: tuple[str, ...] = ()
        self._challenge: Challenge | None = None
        self._res = b""
        self._nonce_count = 0
        self._new_call()

    def _new_call(self) -> None:
        self._call_id = f"{secrets.token_hex(12)}@{self.config.domain}"
        self._tag = new_tag()
        self._cseq = 0

    # Requests

    def _register(
        self, channel: Channel, expires: int, digest: dict[str, str], client: str | None
    ) -> Request:
        config = self.config
        self._cseq += 1
        identity = config.public_identity
        rows = [
            ("Max-Forwards", "70"),
            ("From", f"<{identity}>;tag={self._tag}"),
            ("To", f"<{identity}>"),
            ("Call-ID", self._call_id),
            ("CSeq", f"{self._cseq} REGISTER"),
            ("Contact", f"<{self.contact(channel)}>;expires={expires}"),
            ("Expires", str(expires)),
            ("Authorization", render_digest(digest)),
            ("Supported", "path"),
        ]
        if client is not None:
            rows += [("Security-Client", client), *self.agreement_rows()]
        return Request(tuple(rows), b"", "REGISTER", config.registrar)

    def contact(self, channel: Channel) -> str:
        """The UE's own URI: port_us once protected (T24-UE-3)."""
        delivery = self.config.delivery or self.config.transport
        suffix = ";transport=tcp" if delivery == "TCP" else ""
        return f"sip:{self.config.user}@{HostPort(*channel.local_server)}{suffix}"

    def agreement_rows(self, server: tuple[str, ...] | None = None) -> list[tuple[str, str]]:
        """Require, Proxy-Require and the mirror of Security-Server (R3329-2.3.1-d and -l)."""
        if not self.config.secure:
            return []
        mirror = self.security_server if server is None else server
        rows = [("Require", "sec-agree"), ("Proxy-Require", "sec-agree")]
        return rows + ([("Security-Verify", ", ".join(mirror))] if mirror else [])

    def _cached_credentials(self) -> dict[str, str]:
        """T24-UE-6: the last challenge again, or only the identity before the first."""
        name, uri = self.config.private_identity, self.config.registrar
        if self._challenge is None:
            return initial_credentials(name, self.config.domain, uri)
        self._nonce_count += 1
        return credentials(
            self._challenge,
            username=name,
            method="REGISTER",
            uri=uri,
            res=self._res,
            nonce_count=self._nonce_count,
            cnonce=secrets.token_hex(4),
        )

    # The procedure

    async def register(self, expires: int | None = None) -> Response:
        """Register, or register again on the present set; returns the 200.

        Raises RegistrationRefused, AgreementAborted, MacFailure or TransactionTimeout.
        """
        return await self.finish(await self.begin(expires))

    async def deregister(self) -> Response:
        """De-register; the 200 comes on the set, then everything goes (T24-D-1)."""
        return await self.finish(await self.begin(0))

    async def begin(self, expires: int | None = None) -> Attempt:
        """Send the first REGISTER; after a challenge the temporary set stands."""
        for channel in [c for c in self.channels if c.state is ChannelState.TEMPORARY]:
            await self.remove(channel)  # T24-UE-9
        wanted = self.config.expires if expires is None else expires
        way = self.current or self.unprotected
        assert way is not None, "start() comes first"
        if self.current is None:
            self._new_call()
            self._challenge, self.security_server = None, ()
        purpose = "register" if self.current is None else "re-register"
        purpose = purpose if wanted else "deregister"
        digest = self._cached_credentials()
        failure: Exception | None = None
        for _ in range(_INVALID_CHALLENGES):
            port = await self.client_port() if self.config.secure else None
            attempt = None
            try:
                offer = None if port is None else await self.offer(port)
                client = None if offer is None else str(offer)
                request = self._register(way, wanted, digest, client)
                response = await self.send_request(request, way, purpose)
                attempt = Attempt(response, wanted, security_client=client)
                if response.status != 401:
                    return attempt
                attempt.challenge = Challenge.of(parse_digest(response.one("WWW-Authenticate")))
                answer = self.usim.answer(attempt.challenge.nonce)
                attempt.res = answer.res
                await self._protect(attempt, offer, port, answer, way)
            except (MacFailure, SynchronisationFailure) as error:
                failure = error
                assert attempt is not None
                assert attempt.challenge is not None
                digest = failure_credentials(
                    attempt.challenge,
                    username=self.config.private_identity,
                    method="REGISTER",
                    uri=self.config.registrar,
                    cnonce=secrets.token_hex(4),
                    auts=error.auts if isinstance(error, SynchronisationFailure) else None,
                )
            else:
                return attempt
            finally:
                if port is not None and (attempt is None or attempt.channel is None):
                    port.close()
        assert failure is not None
        raise failure

    async def _protect(
        self,
        attempt: Attempt,
        offer: Offer | None,
        port: ClientPort | None,
        answer: Answer,
        way: Channel,
    ) -> None:
        """Make the temporary set of a good 401 (T24-UE-2); without protection nothing."""
        if offer is None or port is None:
            attempt.channel = way
            return
        assert attempt.challenge is not None
        if attempt.challenge.ck is not None or attempt.challenge.ik is not None:
            self.complain("401 with ck or ik")  # T33-7.2-d
            raise AgreementAborted("the challenge carries the keys")
        attempt.security_server = tuple(attempt.response.values("Security-Server"))
        sa_set = agree(
            attempt.security_server,
            offer,
            ue_address=self.config.address,
            pcscf_address=self.config.pcscf.host,
            ck=answer.ck,
            ik=answer.ik,
            cross_pairs=self.config.cross_pairs,
        )
        attempt.channel = await self.protect(sa_set, port)

    async def finish(self, attempt: Attempt) -> Response:
        """Answer the challenge of ``attempt`` on its set, or take a 200 that needed none."""
        response = attempt.response
        if response.status == 200:
            assert self.current is not None
            await self._granted(attempt, self.current, response)  # T24-UE-6
            return response
        channel, challenge = attempt.channel, attempt.challenge
        if channel is None or challenge is None:
            raise RegistrationRefused(response)
        digest = credentials(
            challenge,
            username=self.config.private_identity,
            method="REGISTER",
            uri=self.config.registrar,
            res=attempt.res,
            nonce_count=1,
            cnonce=secrets.token_hex(4),
        )
        request = self._register(channel, attempt.expires, digest, attempt.security_client)
        if attempt.security_server:
            mirror = ", ".join(attempt.security_server)
            request = request.with_rows("Security-Verify", mirror)
        try:
            response = await self.send_request(request, channel, "register-answer")
            if response.status != 200:
                raise RegistrationRefused(response)
        except BaseException:
            if channel is not self.unprotected:
                await self.remove(channel)
            raise
        self._challenge, self._res, self._nonce_count = challenge, attempt.res, 1
        self.security_server = attempt.security_server
        await self._granted(attempt, channel, response)
        return response

    async def _granted(self, attempt: Attempt, channel: Channel, response: Response) -> None:
        self.service_route = tuple(map(str, response.addresses("Service-Route")))
        self.associated = tuple(str(a.uri) for a in response.addresses("P-Associated-URI"))
        if attempt.expires == 0:
            await self.forget()
            return
        own = [a for a in response.addresses("Contact") if a.uri.is_at(*channel.local_server)]
        if len(own) != 1:
            self.complain("200 without the Contact that was registered")
            raise RegistrationRefused(response)
        granted = dict(own[0].params).get("expires") or response.get("Expires") or "0"
        self.granted = int(granted)
        if channel.sa_set is not None:
            now = asyncio.get_running_loop().time()
            # T24-UE-4: never decreased.
            wanted = now + self.granted + REGISTRATION_MARGIN_SECONDS
            self.live(channel, max(channel.ends_at, wanted))
        self.establish(channel)

    async def forget(self) -> None:
        """Drop the registration and every set, as after the last 200 or a flat battery."""
        self.granted = 0
        self._challenge, self.security_server, self.service_route = None, (), ()
        await self.drop_sets()
