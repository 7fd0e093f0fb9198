"""Deployment: settings of what runs in a cluster."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal
from zoneinfo import available_timezones

from pydantic import Field, model_validator

from monitor.fields import Duration, Section, require
from monitor.window import format_duration

NAME = r"^[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?$"
"""What Kubernetes takes as a name, short enough for all kinds of objects."""
HOURS = r"^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d$"
"""A span of the day."""


class Leader(Section):
    """Which of several daemons on one store acts: the holder of a Kubernetes Lease."""

    lease: str = Field(pattern=NAME)
    """Name of the Lease; it is made where it is absent. Daemons that do not hold it stand by, and
    serve pages and metrics. Needs ``pip install 'holdfast[kubernetes]'``."""
    namespace: str | None = Field(default=None, pattern=NAME)
    """Namespace of the Lease; default: the pod's own, else `default`."""
    duration: Duration = Field(default=timedelta(seconds=15), ge=timedelta(seconds=3))
    """How long after the holder's last word another takes over. The holder speaks eight times
    within it, and stops acting once two thirds of it passed without an answer."""


class KubernetesJobs(Section):
    """Retrains as Jobs of a Kubernetes cluster. Needs ``pip install 'holdfast[kubernetes]'``."""

    template: str
    """File with the pod template of a Job, as YAML: `metadata` and `spec`, with the trainer's
    image, environment, volumes and security. Its first container works on the request. The
    configuration has to lie in it where the daemon finds it; a volume called `work` keeps
    checkpoints (default: an emptyDir, which a new pod finds empty)."""
    namespace: str | None = Field(default=None, pattern=NAME)
    """Namespace of the Jobs; default: the pod's own, else `default`."""
    owner: str | None = Field(default=None, pattern=NAME)
    """Name of the daemon's Deployment in that namespace: Jobs go when it goes."""
    deadline: Duration = Field(default=timedelta(hours=6), ge=timedelta(seconds=1))
    """How long a Job may take, all its tries together; above `training.deadline`."""
    retries: int = Field(default=2, ge=0)
    """How often a pod that failed is replaced. Evictions and drained nodes do not count."""
    keep: Duration = Field(default=timedelta(days=7), ge=timedelta(hours=1))
    """How long a Job that ended is kept, longer than the daemon may be away. Its outcome is in
    MLflow before it ends."""
    requests: dict[str, str] = {}
    """Resources that the container asks for, such as `cpu: "2"`; beside the template's."""
    limits: dict[str, str] = {}
    """Resources that it may use, such as `nvidia.com/gpu: "1"`; beside the template's."""
    queue: str | None = Field(default=None, pattern=NAME)
    """LocalQueue of Kueue: Jobs start suspended, and run once it admits them."""


class Launch(Section):
    """Where retrains run. Absent: as processes beside the daemon."""

    kubernetes: KubernetesJobs | None = None
    """Retrains as Jobs of a Kubernetes cluster."""


class Notify(Section):
    """Who is told of decisions, by Apprise: ``pip install 'holdfast[notify]'``."""

    urls_env: str = ""
    """Environment variable that holds Apprise URLs, one a line. They are secrets."""
    urls_file: str = ""
    """Or an absolute path of a file that holds them."""
    page_by: Literal["alertmanager", "apprise"] = "alertmanager"
    """Who tells alarms. `alertmanager`: holdfast tells decisions only (a candidate waits, promoted,
    rolled back, a retrain failed); `apprise`: alarms too."""
    quiet: str | None = Field(default=None, pattern=HOURS)
    """Hours in which nothing is sent, such as `22:00-07:00`; it is sent afterwards."""
    quiet_zone: str = "UTC"
    """IANA time zone of those hours, such as `Europe/Berlin`; they follow its daylight saving."""
    timeout: Duration = Field(default=timedelta(seconds=20), ge=timedelta(seconds=1),
                              le=timedelta(minutes=5))
    """How long a service may take to accept a message. One that does not is left alone for a
    minute, then two, up to half an hour; nothing else waits for it longer than this."""
    digest: bool = False
    """Whether what waits of a model is sent as one message."""
    page_url: str = ""
    """Where people reach holdfast's pages, for links; default: `http.url`."""
    runbooks_url: str = ""
    """Where the runbooks are; for links."""

    @model_validator(mode="after")
    def _one_place(self) -> Notify:
        require(bool(self.urls_env) != bool(self.urls_file), "urls_env", "both or neither",
                "exactly one of urls_env and urls_file")
        require(self.quiet_zone in available_timezones(), "quiet_zone", self.quiet_zone,
                "an IANA name such as Europe/Berlin")
        return self


TEND = timedelta(minutes=10)
"""How often is asked whose old rows are to be seen to; `retention.every` says when they are."""
ALIVE: dict[str, Any] = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3,
                         "tcp_user_timeout": 60_000}
"""How a PostgreSQL server that vanished from the network is noticed, in seconds and milliseconds:
by what Linux does unasked, a thread would wait for its answer for hours."""


class Retention(Section):
    """How long the store keeps what it knows in full. Episodes, decisions, transitions, requests,
    adoptions and what people said are kept for good; and so is whatever is still needed to judge:
    counts within `window.revise_for` and 4 weeks (a year where `reference.mode` looks back so far),
    the newest verdicts, and those that opened an episode that lasts."""

    every: Duration = Field(default=timedelta(hours=6), ge=timedelta(minutes=1))
    """How often a model's old rows are seen to."""
    merge_after: Duration | None = Field(default=timedelta(days=90), ge=timedelta(days=1))
    """Counts that are older are merged into days: sums stay exact, hours are gone. `null`: never.
    """
    keep_counts: Duration | None = Field(default=None, ge=timedelta(days=1))
    """Of counts that are older, only the numbers of rows and labels are kept. `null`: all of them.
    """
    keep_statistics: Duration | None = Field(default=timedelta(days=90), ge=timedelta(days=1))
    """Verdicts that are older are thinned to their times, reason, severity, what moved most and the
    deciding metric with its interval. `null`: never."""
    keep_verdicts: Duration | None = Field(default=None, ge=timedelta(days=1))
    """Verdicts that are older are dropped. `null`: none are."""

    @property
    def pace(self) -> timedelta:
        """How often a model's old rows can be seen to: no more often than anybody looks."""
        return max(self.every, TEND)

    @model_validator(mode="after")
    def _ordered(self) -> Retention:
        for later, earlier in (("keep_counts", "merge_after"),
                               ("keep_verdicts", "keep_statistics")):
            last, first = getattr(self, later), getattr(self, earlier)
            require(last is None or first is None or last >= first, later,
                    format_duration(last or timedelta()),
                    f"at least `{earlier}`, {format_duration(first or timedelta())}")
        return self


class Logs(Section):
    """What is written on standard error; docs/logs.md lists the events."""

    format: Literal["auto", "json", "console"] = "auto"
    """`json`: one object a line; `console`: lines for people; `auto`: console on a terminal, and
    in the `log.txt` of a request."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that `holdfast run` and retrains write. Other commands write warnings, and with
    `--verbose` more; flags go before this."""


class Traces(Section):
    """Spans of every tick and retrain, sent by OTLP over HTTP: ``pip install 'holdfast[otel]'``."""

    endpoint: str = ""
    """Where the collector is, such as `http://collector:4318`; default:
    `OTEL_EXPORTER_OTLP_ENDPOINT`. Headers, which may be secret, are read from
    `OTEL_EXPORTER_OTLP_HEADERS`."""
    sample: float = Field(default=1.0, gt=0, le=1)
    """Share of ticks that are sent."""
