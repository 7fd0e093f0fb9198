"""Request: one piece of work for `retrain`, as JSON. It names files and versions, never secrets."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

from monitor.errors import HoldfastError
from monitor.window import isoformat, parse_time

Kind = Literal["train", "bootstrap", "score"]
KINDS: tuple[Kind, ...] = ("train", "bootstrap", "score")


@dataclass(frozen=True, slots=True)
class Request:
    """What to do, for which model, with what had arrived by ``known_at``.

    ``config`` is the path of the configuration file, ``champion`` the version that serves,
    ``predecessors`` the earlier promoted versions, newest first. ``evidence`` is copied into
    the record of the run; ``options`` are read by the kind of work. ``exclude`` are [from, to)
    stretches of event time whose rows are broken: nothing is learned from them.
    """

    request_id: str
    kind: Kind
    model: str
    config: str
    known_at: datetime
    reason: str = ""
    champion: str | None = None
    predecessors: tuple[str, ...] = ()
    evidence: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    exclude: tuple[tuple[str, str], ...] = ()

    @property
    def purpose(self) -> str:
        """What versions are scored for beside the model's state (`shadow`, …); '' for the rest."""
        return str(self.options.get("purpose", ""))

    @property
    def deployment(self) -> str:
        """Whose request it is, of those that share an MLflow; '' for one of before that was told.

        An option, so that a trainer of another release reads the request."""
        return str(self.options.get("deployment", ""))

    @staticmethod
    def identity(model: str, purpose: str, known_at: datetime, deployment: str) -> str:
        """The id of what is asked for once: the same for the same question of one deployment."""
        return f"{model}-{purpose}-{known_at:%Y%m%dT%H%M%S}-{deployment}"

    def to_json(self) -> str:
        """The request as text; ``from_json`` reads it back unchanged."""
        return json.dumps(asdict(self) | {"known_at": isoformat(self.known_at)}, indent=1,
                          sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Request:
        try:
            raw = json.loads(text)
            values = raw | {"known_at": parse_time(raw["known_at"]),
                            "predecessors": tuple(raw.get("predecessors", ())),
                            "exclude": tuple((start, end) for start, end in
                                             raw.get("exclude", ()))}
            request = cls(**values)
        except (ValueError, KeyError, TypeError) as error:
            raise HoldfastError(f"this is not a request: {error}; right would be JSON with "
                                "request_id, kind, model, config and known_at") from error
        if request.kind not in KINDS:
            raise HoldfastError(f"kind: {request.kind!r}; right would be one of {', '.join(KINDS)}")
        return request


def model_of(text: str) -> str:
    """The model that a request in JSON is for; '' where the text is no request."""
    try:
        return Request.from_json(text).model
    except HoldfastError:
        return ""
