"""The shipped settings file says what the models say."""

import re
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel

from sad.config import (
    EndpointSettings,
    KernelSettings,
    LifetimeSettings,
    LimitSettings,
    MetricsSettings,
    Settings,
    load_settings,
)

EXAMPLE = Path(__file__).resolve().parents[2] / "systemd/sad.toml"
MODELS = (
    Settings,
    LifetimeSettings,
    KernelSettings,
    LimitSettings,
    MetricsSettings,
    EndpointSettings,
)


def uncommented() -> str:
    # prose has a space behind the hash, values have none
    return re.sub(r"(?m)^#(?! )", "", EXAMPLE.read_text())


def test_the_shipped_file_changes_nothing() -> None:
    """As shipped it loads, and gives the defaults."""
    assert load_settings(["--config", str(EXAMPLE)]) == Settings()


def test_every_value_shown_is_the_default() -> None:
    """With its values switched on it is still the defaults, but for what has no default."""
    shown = tomllib.loads(uncommented())
    assert shown.pop("socket_group") == "sad"
    (endpoint,) = shown.pop("endpoint")
    assert shown["metrics"].pop("textfile").endswith(".prom")

    assert Settings.model_validate(shown) == Settings()
    required = {
        n: endpoint[n] for n, f in EndpointSettings.model_fields.items() if f.is_required()
    }
    assert EndpointSettings.model_validate(endpoint) == EndpointSettings.model_validate(required)


@pytest.mark.parametrize("model", MODELS)
def test_every_setting_is_shown_with_its_documentation(model: type[BaseModel]) -> None:
    """No setting is missing, and the comment before it begins with the model's description."""
    text = EXAMPLE.read_text()
    for name, field in model.model_fields.items():
        if name in {"lifetimes", "kernel", "limits", "metrics", "endpoint"}:
            continue
        match = re.search(rf"((?:^# .*\n)+)#{name} = ", text, re.MULTILINE)
        assert match is not None, name
        comment = " ".join(match[1].replace("# ", "").split())
        assert field.description is not None
        assert comment.startswith(field.description)
