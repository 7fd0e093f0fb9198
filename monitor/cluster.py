"""Cluster: Kubernetes' API, and the only import of its client.

Every call has a deadline and is made once: who calls decides whether to try again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from monitor.errors import ConfigError, HoldfastError

MOUNTED = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
"""Where a pod finds the name of its namespace."""

Document = Mapping[str, Any]


class Refused(HoldfastError):
    """The API server answered with an error; ``status`` is its HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Cluster:
    """The API server that the environment names: of the pod's cluster, or of ``KUBECONFIG``."""

    def __init__(self, namespace: str | None = None) -> None:
        try:
            from kubernetes import client, config
        except ImportError as error:
            raise ConfigError(["leader and launch.kubernetes need Kubernetes' client, which is not "
                               "installed; right would be pip install 'holdfast[kubernetes]'"
                               ]) from error
        settings, loader = client.Configuration(), cast(Any, config)
        try:
            if "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ:
                loader.load_incluster_config(client_configuration=settings)
            else:
                loader.load_kube_config(os.environ.get("KUBECONFIG"),
                                        client_configuration=settings)
        except config.ConfigException as error:
            raise ConfigError([f"Kubernetes: no cluster is known here: {error}; right would be a "
                               "pod with a service account, or KUBECONFIG"]) from error
        settings.retries = False
        self._client: Any = client.ApiClient(settings)
        self.namespace = namespace or _namespace()

    def close(self) -> None:
        self._client.close()

    def call(self, method: str, path: str, body: Document | None = None, *, seconds: float
             ) -> dict[str, Any]:
        """The answer's document; ``Refused`` if it is an error, ``HoldfastError`` if none came.

        ``seconds`` bounds the wait for a connection, and for each part of the answer.
        """
        from kubernetes.client import ApiException
        from kubernetes.config import ConfigException
        from urllib3.exceptions import HTTPError

        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        try:
            asked = self._client.param_serialize(method, path, header_params=headers, body=body,
                                                 auth_settings=["BearerToken"])
            answer = self._client.call_api(*asked, _request_timeout=(seconds, seconds))
            text = answer.read()
        except (HTTPError, OSError) as error:
            raise HoldfastError(f"Kubernetes: {method} {path}: no answer within {seconds:g} s: "
                                f"{type(error).__name__}") from error
        except (ApiException, ConfigException) as error:  # of its certificate, or of the token
            why = " ".join(str(getattr(error, "reason", None) or error).split())
            raise HoldfastError(f"Kubernetes: {method} {path}: {why}") from error
        found = _document(text)
        if not 200 <= answer.status < 300:
            raise Refused(answer.status, f"Kubernetes: {method} {path}: {answer.status} "
                          f"{found.get('message') or answer.reason}{_right(answer.status)}")
        return found

    def find(self, path: str, *, seconds: float) -> dict[str, Any] | None:
        """The document at ``path``; None where there is none. Raises as ``call`` does."""
        try:
            return self.call("GET", path, seconds=seconds)
        except Refused as error:
            if error.status == 404:
                return None
            raise


def _document(text: bytes) -> dict[str, Any]:
    """What the API server wrote; nothing where a proxy answered in its place."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _right(status: int) -> str:
    if status in {401, 403}:
        return "; right would be a Role that lets the service account do so"
    return ""


def _namespace() -> str:
    try:
        return MOUNTED.read_text("utf-8").strip() or "default"
    except OSError:
        return "default"
