"""What the Prometheus operator's v1 API asks of the objects that the chart renders.

The needed part of its `openAPIV3Schema`, written from the documented API: unknown keys are refused,
so that a misspelt one is found.
"""

from __future__ import annotations

from typing import Any

TEXTS: dict[str, Any] = {"type": "object", "additionalProperties": {"type": "string"}}
DURATION: dict[str, Any] = {
    "type": "string",
    "pattern": "^(0|(([0-9]+)y)?(([0-9]+)w)?(([0-9]+)d)?(([0-9]+)h)?(([0-9]+)m)?(([0-9]+)s)?"
               "(([0-9]+)ms)?)$"}


def closed(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "required": required,
            "properties": properties}


KEY = closed(["key"], name={"type": "string"}, key={"type": "string"}, optional={"type": "boolean"})
HELD = closed([], secret=KEY, configMap=KEY)
ENDPOINT = closed(
    [], port={"type": "string"}, path={"type": "string"}, interval=DURATION,
    scrapeTimeout=DURATION, honorLabels={"type": "boolean"}, scheme={"enum": ["http", "https"]},
    authorization=closed([], type={"type": "string"}, credentials=KEY),
    tlsConfig=closed([], ca=HELD, cert=HELD, keySecret=KEY, serverName={"type": "string"},
                     insecureSkipVerify={"type": "boolean"}))
RULE = closed(["expr"], alert={"type": "string"}, expr={"type": ["string", "integer"]},
              keep_firing_for={**DURATION, "minLength": 1}, labels=TEXTS, annotations=TEXTS,
              **{"for": DURATION})
GROUP = closed(["name"], name={"type": "string", "minLength": 1}, interval=DURATION,
               rules={"type": "array", "items": RULE})
KINDS = {
    "ServiceMonitor": closed(
        ["endpoints", "selector"], endpoints={"type": "array", "items": ENDPOINT},
        selector=closed([], matchLabels=TEXTS)),
    "PrometheusRule": closed([], groups={"type": "array", "items": GROUP})}
"""Kind -> schema of its ``spec``."""
