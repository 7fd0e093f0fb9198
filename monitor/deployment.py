"""Deployment: settings of what runs in a cluster."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from monitor.fields import Duration, Section

NAME = r"^[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?$"
"""What Kubernetes takes as a name, short enough for all kinds of objects."""


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
