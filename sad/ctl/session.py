"""One run of a verb: the connection, the output, and short ids made whole."""

from collections.abc import Callable, Iterator
from typing import Any, Final

from sad.ctl.failures import Failure, of_broken_stream, of_missing_field
from sad.ctl.output import Output
from sad.ctl.sheet import Sheet
from sip_hooks.client import CallError, Client, Unreachable

ASSOCIATIONS: Final = "org.sipsad.Associations"
CONTROL: Final = "org.sipsad.Control"

_MOST_CANDIDATES: Final = 8

Reply = dict[str, Any]

#: Makes lines of a reply; Any, because what a reply is was settled by the method called.
Render = Callable[[Any, Sheet], list[str]]


def given(**parameters: object) -> dict[str, Any]:
    """Return those parameters of a call that were given."""
    return {name: value for name, value in parameters.items() if value is not None}


class Session:
    """What a verb works with. Raises the client's exceptions and :class:`Failure`."""

    def __init__(self, path: str, timeout: float | None, output: Output) -> None:
        self.path = path
        self.timeout = timeout
        self.output = output

    def call(self, method: str, parameters: Reply, *, patience: float = 10.0) -> Reply:
        """Call a method; it gets ``patience`` seconds unless the command line says otherwise."""
        with Client(self.path, self.timeout or patience) as client:
            return client.call(method, parameters)

    def stream(
        self, method: str, parameters: Reply, *, patience: float | None = 10.0
    ) -> Iterator[Reply]:
        """Call a method with many replies; ``patience`` for each of them, None: for ever."""
        client = Client(self.path, self.timeout or patience or 10.0)
        begun = False
        wait = None if patience is None else self.timeout or patience
        try:
            for reply in client.stream(method, parameters, wait=wait):
                begun = True
                yield reply
        except Unreachable as error:
            if not begun:
                raise
            raise of_broken_stream(self.path) from error

    def answer(self, reply: Reply, render: Render) -> None:
        """Give a whole reply to people or programs."""
        if self.output.is_json:
            self.output.document(reply)
        else:
            self.output.lines(self._rendered(reply, render))

    def answer_row(self, reply: Reply, render: Render) -> None:
        """Give one reply of many to people or programs."""
        if self.output.is_json:
            self.output.row(reply)
        else:
            self.output.lines(self._rendered(reply, render))

    def _rendered(self, reply: Reply, render: Render) -> list[str]:
        try:
            return render(reply, self.output.sheet)
        except KeyError as error:  # rendering reads nothing but the reply
            raise of_missing_field(error) from error

    # --- ids ---------------------------------------------------------------------------------

    def with_whole_id(self, given_id: str, call: Callable[[str], Reply]) -> Reply:
        """Return ``call(id)``; on a miss the one association whose id begins so is meant.

        A whole id costs one call and can only mean itself.
        """
        try:
            return call(given_id)
        except CallError as error:
            if error.name != f"{ASSOCIATIONS}.NoSuchAssociation":
                raise
            whole = self._whole_id(given_id)
            if whole == given_id:
                raise
        return call(whole)

    def _whole_id(self, beginning: str) -> str:
        found: list[str] = []
        for reply in self.stream(f"{ASSOCIATIONS}.List", {}):
            whole: str = (reply.get("association") or {}).get("id", "")
            if whole.startswith(beginning):
                found.append(whole)
                if len(found) > _MOST_CANDIDATES:
                    break
        if len(found) == 1:
            return found[0]
        if not found:
            raise Failure(
                f"no association has an id that begins with {beginning}",
                "it may have ended: sadctl list shows those that live",
            )
        more = ", ..." if len(found) > _MOST_CANDIDATES else ""
        raise Failure(
            f"{beginning} begins more than one id",
            f"write more of it: {', '.join(found[:_MOST_CANDIDATES])}{more}",
        )
