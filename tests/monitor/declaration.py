"""The API as it declares itself, for whoever tries all that it declares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import schemathesis


def declaration(address: str, names: Sequence[str]) -> Any:
    """The OpenAPI document of a server; two of three names that are tried are those of models."""
    refused = {"expected-statuses": ["4XX"]}
    config = schemathesis.Config.from_dict({"checks": {"negative_data_rejection": refused}})
    loaded = schemathesis.openapi.from_url(f"{address}/api/openapi.json", config=config)

    @loaded.hook
    def map_path_parameters(context: Any, parameters: dict[str, Any] | None) -> Any:
        name = (parameters or {}).get("name")
        if isinstance(name, str) and len(name) % 3:
            return {"name": names[len(name) % len(names)]}
        return parameters

    return loaded
