"""Nudge: a webhook of MLflow's registry, if MLflow signed it and it is new.

MLflow signs as Standard Webhooks do: HMAC-SHA256 over ``{delivery id}.{timestamp}.{body}``. Nothing
of the body is believed but the model's name: aliases are asked of MLflow itself.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

TOLERANCE = 300.0
"""Seconds by which MLflow's clock and the way may differ from ours, as Standard Webhooks advise."""
DELIVERY = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True)
class Nudge:
    """A genuine delivery: its id, which is used once, what happened, and to which model."""

    delivery: str
    event: str
    registered: str


def heard(headers: Mapping[str, str], body: bytes, *, secret: bytes, now: float) -> Nudge | None:
    """The nudge of a webhook; None where it is forged, altered, too old, or no event of a model.

    ``now`` is in seconds since 1970. The signature is compared in constant time.
    """
    delivery, stamp = (headers.get(f"x-mlflow-{name}", "") for name in ("delivery-id", "timestamp"))
    signed = hmac.new(secret, b".".join([delivery.encode(), stamp.encode(), body]), hashlib.sha256)
    right = b"v1," + base64.b64encode(signed.digest())
    given = headers.get("x-mlflow-signature", "").encode("utf-8", "replace")
    if not hmac.compare_digest(given, right) or DELIVERY.fullmatch(delivery) is None:
        return None
    if re.fullmatch(r"[0-9]{1,12}", stamp) is None or abs(now - int(stamp)) > TOLERANCE:
        return None
    return _read(delivery, body)


def _read(delivery: str, body: bytes) -> Nudge | None:
    try:
        told = json.loads(body)
        return Nudge(delivery, f"{told['entity']}.{told['action']}", str(told["data"]["name"]))
    except (ValueError, KeyError, TypeError):
        return None
