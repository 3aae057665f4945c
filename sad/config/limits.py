"""The settings of how much there may be: the ``[limits]`` table of the settings file."""

from pydantic import BaseModel, ConfigDict, Field

from sad.config.values import Count


class LimitSettings(BaseModel):
    """How much there may be."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_connections: Count = Field(
        default=256, ge=1, le=65_536, description="Connections to the socket at a time"
    )
    max_connections_per_uid: Count = Field(
        default=128, ge=1, le=65_536, description="Connections of one user at a time"
    )
    message_timeout_seconds: Count = Field(
        default=5,
        ge=1,
        le=3600,
        description="How long a begun message may take to arrive before its connection is closed",
    )
    max_calls_at_once: Count = Field(
        default=256,
        ge=1,
        le=65_536,
        description="Calls that change something and are worked on at a time; at most three "
        "quarters of them for user agents without an association",
    )
    max_waiting_calls: Count = Field(
        default=4096,
        ge=0,
        le=1_000_000,
        description="Calls that wait for their turn, by turns for each user; any more get Busy",
    )
    max_waiting_calls_per_uid: Count = Field(
        default=2048, ge=0, le=1_000_000, description="Of these, those of one user"
    )
    max_associations: Count = Field(
        default=200_000, ge=1, le=4_000_000, description="Associations of all endpoints"
    )
    max_sets_per_registration: Count = Field(
        default=3,
        ge=2,
        le=3,
        description="SA sets of one registration: old, current, temporary (TS 33.203 7.1: six SAs "
        "per direction)",
    )
    max_sets_per_address_pair: Count = Field(
        default=128,
        ge=3,
        le=65_536,
        description="SA sets between one address of the node and one of user agents (many behind "
        "one NAT): the kernel walks all policies of such a pair for each packet and each change "
        "of them",
    )
    max_temporary_sets: Count = Field(
        default=20_000,
        ge=1,
        le=4_000_000,
        description="Temporary sets that unprotected REGISTERs may hold at a time; those on an "
        "SA are not counted here",
    )
    max_temporary_sets_per_address: Count = Field(
        default=256,
        ge=1,
        le=4_000_000,
        description="Of these, those of one IPv4 address or IPv6 /64 (many phones may share one)",
    )
    max_temporary_sets_per_identity: Count = Field(
        default=4,
        ge=1,
        le=65_536,
        description="Of these, those of one private identity at one address",
    )
    offers_per_second: Count = Field(
        default=2000,
        ge=1,
        le=1_000_000,
        description="Screen and Offer calls a second for unprotected REGISTERs, each counted by "
        "itself; twice as many may come at once",
    )
    offers_per_second_per_address: Count = Field(
        default=50,
        ge=1,
        le=1_000_000,
        description="Of these, those of one IPv4 address or IPv6 /64",
    )
    reserved_percent: Count = Field(
        default=5,
        ge=0,
        le=90,
        description="Part of max_associations that is kept for REGISTERs on an SA, so that who is "
        "registered stays so",
    )
