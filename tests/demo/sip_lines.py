"""The SIP lines that matter, shown as they pass a UE."""

import contextlib
from collections.abc import Callable, Iterator

from tests.demo.story import Story
from tests.edge.world import PROTECTED
from tests.ue.agent import Trace

_SHOWN = ("Security-Client", "Security-Server", "Security-Verify", "Expires")
_LONGEST = 88


class SipLines:
    """Shows what UEs send and receive while :meth:`shown`."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self._methods: frozenset[str] | None = None
        self._on = False
        self.names: dict[str, str] = {}

    def of(self, name: str) -> Callable[[Trace], None]:
        """Return the callback of the UE of this name."""
        return lambda trace: self._show(name, trace)

    @contextlib.contextmanager
    def shown(self, methods: set[str] | None = None) -> Iterator[None]:
        """Show messages of these methods (None: all) during the block."""
        self._on, self._methods = True, None if methods is None else frozenset(methods)
        try:
            yield
        finally:
            self._on = False

    def _show(self, name: str, trace: Trace) -> None:
        if not self._on or trace.flow is None or trace.kind not in {"sent", "received"}:
            return
        text = trace.raw.decode(errors="replace")
        head = text.partition("\r\n\r\n")[0].split("\r\n")
        headers = [line.partition(":") for line in head[1:]]
        method = next((v.split()[-1] for n, _, v in headers if n.lower() == "cseq"), "")
        if self._methods is not None and method not in self._methods:
            return
        flow = trace.flow
        arrow = "->" if trace.kind == "sent" else "<-"
        how = "ESP" if flow.remote.port in PROTECTED else "clear"
        self._story.line(
            f"{name:>6} {arrow} {how:5} {flow.local.port:>5} {arrow} {flow.remote.port:<5} "
            f"{_short(head[0])}"
        )
        if method != "REGISTER":
            return
        for field, _, value in headers:
            if field in _SHOWN:
                self._story.line(f"                {field}:{_essence(value)}")


def _essence(value: str) -> str:
    """Return what matters of a header: of several mechanisms the first, without its constants."""
    first, _, rest = value.partition(",")
    more = f"  (+{rest.count(',') + 1} more)" if rest else ""
    parts = [part for part in first.split(";") if part not in {"prot=esp", "mod=trans"}]
    return ";".join(parts) + more


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
