"""Settings: file, environment and command line become one immutable, valid value.

=================  ==============================================================================
``settings``       the models; their field descriptions are the documentation
``cluster``        the model of the ``[cluster]`` table
``limits``         the model of the ``[limits]`` table
``metrics``        the model of the ``[metrics]`` table
``endpoint``       the model of an ``[[endpoint]]`` table
``tls``            the model of its ``[endpoint.tls]`` table
``values``         value types: each parses one value or refuses it with the way out
``problems``       what is wrong, where, and the way out
``locate``         on which line of the TOML text a value stands
``sources``        what file, environment and command line say
``reload``         what a running daemon takes over, what waits for its next start
``load``           raw values to settings, pydantic's errors to problems
``resolve``        settings to the values of :mod:`sad.model`; names to uids and gids
``credentials``    what the files of TLS credential sets hold
``check``          ``--check-config`` and the summary of what would run
=================  ==============================================================================

Priority: command line, environment (``SAD_*``, nested with ``__``), ``/etc/sad/sad.toml`` (another
path by ``--config`` or ``SAD_CONFIG``), defaults.
"""

from sad.config.check import check_config, describe
from sad.config.cluster import ClusterSettings
from sad.config.endpoint import EndpointSettings
from sad.config.limits import LimitSettings
from sad.config.load import load_settings
from sad.config.metrics import MetricsSettings
from sad.config.problems import EX_CONFIG, ConfigurationError, Problem
from sad.config.resolve import (
    system_group,
    system_user,
    to_credential_rules,
    to_credentials,
    to_endpoints,
    to_gids,
    to_layout,
    to_lifetimes,
    to_limits,
)
from sad.config.settings import (
    KernelSettings,
    LifetimeSettings,
    Settings,
)
from sad.config.sources import build_parser
from sad.config.tls import CredentialSettings, TlsSettings

__all__ = [
    "EX_CONFIG",
    "ClusterSettings",
    "ConfigurationError",
    "CredentialSettings",
    "EndpointSettings",
    "KernelSettings",
    "LifetimeSettings",
    "LimitSettings",
    "MetricsSettings",
    "Problem",
    "Settings",
    "TlsSettings",
    "build_parser",
    "check_config",
    "describe",
    "load_settings",
    "system_group",
    "system_user",
    "to_credential_rules",
    "to_credentials",
    "to_endpoints",
    "to_gids",
    "to_layout",
    "to_lifetimes",
    "to_limits",
]
