"""A stand-in for Kubernetes' API server: Leases, Jobs and Deployments over HTTP.

It keeps what a real one keeps to: schemas (those of the official client, unknown fields refused),
409 for a name that is taken and for a resourceVersion that is old, 403 for what a role forbids.
Each client may have a door (a port) of its own; a door can be made to hang.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from pydantic import ValidationError

PATH = re.compile(r"/apis/(?P<group>[a-z.0-9]+/v1)/namespaces/(?P<namespace>[a-z0-9-]+)"
                  r"/(?P<kind>leases|jobs|deployments)(?:/(?P<name>[a-z0-9.-]+))?")
KINDS = {"leases": ("coordination.k8s.io/v1", "Lease"), "jobs": ("batch/v1", "Job"),
         "deployments": ("apps/v1", "Deployment")}


class Fault(Exception):
    """An answer that is an error."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason = code, reason


@dataclass
class Door:
    """One address of the API server; while it is shut, whoever asks there waits for an answer."""

    server: ThreadingHTTPServer
    folder: Path
    open: threading.Event

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    @property
    def kubeconfig(self) -> Path:
        path = self.folder / f"kubeconfig-{self.server.server_port}"
        path.write_text(yaml.safe_dump({
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [{"name": "here", "cluster": {"server": self.url}}],
            "users": [{"name": "me", "user": {"token": "a-token"}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}]}))
        return path


@dataclass
class StandIn:
    """What the API server knows; ``asked`` are the calls in their order."""

    folder: Path
    objects: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    forbidden: set[str] = field(default_factory=set)
    doors: list[Door] = field(default_factory=list)
    _number: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def door(self) -> Door:
        gate = threading.Event()
        gate.set()
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Answers, self, gate))
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        made = Door(server, self.folder, gate)
        self.doors.append(made)
        return made

    def close(self) -> None:
        for door in self.doors:
            door.open.set()
            door.server.shutdown()
            door.server.server_close()

    def put(self, kind: str, name: str, document: dict[str, Any]) -> dict[str, Any]:
        """Keep an object as some controller would write it."""
        with self._lock:
            return self._keep(("default", kind, name), document)

    def get(self, kind: str, name: str) -> dict[str, Any]:
        with self._lock:
            return deepcopy(self.objects["default", kind, name])

    def all(self, kind: str) -> list[dict[str, Any]]:
        with self._lock:
            return [deepcopy(item) for key, item in self.objects.items() if key[1] == kind]

    def answer(self, method: str, path: str, body: bytes) -> dict[str, Any]:
        found = PATH.fullmatch(path)
        if found is None or KINDS[found["kind"]][0] != found["group"]:
            raise Fault(404, "NotFound", "the server could not find the requested resource")
        kind, name = found["kind"], found["name"]
        key = (found["namespace"], kind, name)
        with self._lock:
            self.asked.append(f"{method} {kind}/{name or ''}")
            if f"{method} {kind}" in self.forbidden:
                raise Fault(403, "Forbidden", f"{kind} is forbidden: User cannot {method}")
            if method == "POST":
                return self._create(found["namespace"], kind, checked(kind, body))
            if key not in self.objects:
                raise Fault(404, "NotFound", f'{kind} "{name}" not found')
            if method == "PUT":
                return self._replace(key, checked(kind, body))
            if method == "DELETE":
                return self.objects.pop(key)
            return deepcopy(self.objects[key])

    def _create(self, namespace: str, kind: str, document: dict[str, Any]) -> dict[str, Any]:
        key = (namespace, kind, document["metadata"]["name"])
        if key in self.objects:
            raise Fault(409, "AlreadyExists", f'{kind} "{key[2]}" already exists')
        if "resourceVersion" in document["metadata"]:
            raise Fault(400, "BadRequest", "resourceVersion should not be set on objects to be "
                        "created")
        return self._keep(key, document)

    def _replace(self, key: tuple[str, str, str], document: dict[str, Any]) -> dict[str, Any]:
        standing = self.objects[key]["metadata"]["resourceVersion"]
        given = document["metadata"].get("resourceVersion")
        if given is None:
            raise Fault(422, "Invalid", "metadata.resourceVersion: must be specified for an update")
        if given != standing:
            raise Fault(409, "Conflict", "the object has been modified; please apply your changes "
                        "to the latest version and try again")
        return self._keep(key, document)

    def _keep(self, key: tuple[str, str, str], document: dict[str, Any]) -> dict[str, Any]:
        self._number += 1
        old = self.objects.get(key, {"metadata": {}})["metadata"]
        kept = deepcopy(document)
        kept["metadata"] = kept.get("metadata", {}) | {
            "name": key[2], "namespace": key[0], "uid": old.get("uid", str(uuid4())),
            "resourceVersion": str(self._number)}
        self.objects[key] = kept
        return deepcopy(kept)


class Answers(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"

    def __init__(self, server: StandIn, gate: threading.Event, *rest: Any) -> None:
        self.api, self.gate = server, gate
        super().__init__(*rest)

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not self.gate.is_set():
            self.gate.wait()  # and then the caller has gone: nothing of it is done
            self.close_connection = True
            return
        try:
            code, told = 200, self.api.answer(self.command, self.path, body)
        except Fault as fault:
            code, told = fault.code, {"kind": "Status", "apiVersion": "v1", "status": "Failure",
                                      "reason": fault.reason, "message": str(fault),
                                      "code": fault.code}
        text = json.dumps(told).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_PUT = do_POST = do_DELETE = _handle

    def log_message(self, *_: Any) -> None:
        """Nothing: tests read ``StandIn.asked``."""


def checked(kind: str, body: bytes) -> dict[str, Any]:
    """The document, if it keeps to the schema of its kind and to what the server says of names."""
    from kubernetes import client  # takes its time, which most tests need not spend

    document: dict[str, Any] = json.loads(body)
    group, name = KINDS[kind]
    model = getattr(client, f"V1{name}")
    if (document.get("apiVersion"), document.get("kind")) != (group, name):
        raise Fault(400, "BadRequest", f"this is no {name} of {group}")
    try:
        model.model_validate(document)
    except ValidationError as error:
        raise Fault(422, "Invalid", f"{error.error_count()} mistakes, such as "
                    f"{'.'.join(map(str, error.errors()[0]['loc']))}: {error.errors()[0]['msg']}"
                    ) from error
    called = document["metadata"].get("name", "")
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?", called):
        raise Fault(422, "Invalid", f"metadata.name: Invalid value: {called!r}")
    return document


@pytest.fixture
def stand_in(tmp_path: Path) -> Iterator[StandIn]:
    """An API server of the test's own."""
    made = StandIn(tmp_path)
    yield made
    made.close()
