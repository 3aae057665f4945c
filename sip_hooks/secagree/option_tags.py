"""The option tag ``sec-agree`` in Require, Proxy-Require and Supported: find it, strip it.

Reading is lenient, because a request that asks for the agreement in a sloppy way must not pass as
one that does not ask; a row that does not hold the tag is handed back byte for byte. Headers are
(name, value) pairs in the order of the message, one per row.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, Iterable, List, NamedTuple, Optional, Sequence, Tuple

SEC_AGREE: Final = "sec-agree"

# One header field row of a SIP message: name, value.
HeaderField = Tuple[str, str]

_WHITE_SPACE: Final = " \t\r\n"


class OptionTagHeader(str, Enum):
    """The headers that carry option tags of this extension (R3329-6-b)."""

    REQUIRE = "require"
    PROXY_REQUIRE = "proxy-require"
    SUPPORTED = "supported"


class AgreementTags(NamedTuple):
    """Where a request names ``sec-agree``."""

    require: bool
    proxy_require: bool
    supported: bool

    @property
    def demanded(self) -> bool:
        """Whether the request demands the agreement: Require or Proxy-Require (R3329-2.3.1-e)."""
        return self.require or self.proxy_require


_NAMES: Final = {header.value: header for header in OptionTagHeader}
_NAMES["k"] = OptionTagHeader.SUPPORTED  # the compact form (R3329-2.3.2-g)


def option_tag_header(name: str) -> Optional[OptionTagHeader]:
    """Return which of the three headers ``name`` is, in any case or compact form, or None."""
    return _NAMES.get(name.strip(_WHITE_SPACE).lower())


def read_agreement_tags(headers: Iterable[HeaderField]) -> AgreementTags:
    """Return where ``sec-agree`` stands in the headers of a message."""
    found = {
        option_tag_header(name)
        for name, value in headers
        if option_tag_header(name) is not None and has_sec_agree((value,))
    }
    return AgreementTags(
        OptionTagHeader.REQUIRE in found,
        OptionTagHeader.PROXY_REQUIRE in found,
        OptionTagHeader.SUPPORTED in found,
    )


def strip_agreement_tags(headers: Iterable[HeaderField]) -> Tuple[HeaderField, ...]:
    """Return the headers without ``sec-agree`` in Require and Proxy-Require (R3329-2.3.1-p).

    Rows that become empty are gone; Supported and every other header stay as they are.
    """
    result: List[HeaderField] = []
    for name, value in headers:
        if option_tag_header(name) in {OptionTagHeader.REQUIRE, OptionTagHeader.PROXY_REQUIRE}:
            result.extend((name, kept) for kept in strip_sec_agree((value,)))
        else:
            result.append((name, value))
    return tuple(result)


def has_sec_agree(rows: Sequence[str]) -> bool:
    """Whether ``sec-agree`` is among the option tags of a header's rows."""
    return any(_is_sec_agree(tag) for row in rows for tag in row.split(","))


def strip_sec_agree(rows: Sequence[str]) -> Tuple[str, ...]:
    """Return a header's rows without ``sec-agree``; none are left when nothing else stood there.

    Other tags keep their order; a row without the tag is returned as it was.
    """
    result: List[str] = []
    for row in rows:
        tags = row.split(",")
        if not any(_is_sec_agree(tag) for tag in tags):
            result.append(row)
            continue
        kept = [tag.strip(_WHITE_SPACE) for tag in tags if not _is_sec_agree(tag)]
        kept = [tag for tag in kept if tag]
        if kept:
            result.append(", ".join(kept))
    return tuple(result)


def _is_sec_agree(tag: str) -> bool:
    return tag.strip(_WHITE_SPACE).lower() == SEC_AGREE
