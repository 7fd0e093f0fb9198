"""Barred: versions that were rolled back are not proposed again while no newer data has matured."""

from __future__ import annotations

from monitor.registry import Version
from retrain.dataset import Refusal
from retrain.work import Work


def why(work: Work, version: Version) -> str:
    """Why the version may not be proposed again, nor be gone on from; '' where it may."""
    return "it was rolled back, and nothing newer has matured" \
        if version.version in _barred(work) else ""


def refuse_repeat(work: Work, content_hash: str) -> None:
    """``Refusal`` where a version made of exactly these rows was rolled back."""
    for number in _barred(work):
        version = work.registry.version(work.model.registered, number)
        if version is None or not version.run_id:
            continue
        with work.registry.words(f"run {version.run_id}"):
            known = work.registry.client.get_run(version.run_id).data.params.get("content_hash")
        if known == content_hash:
            raise Refusal(f"version {number} was made of the same rows and was rolled back; right "
                          "would be to wait until newer labels have matured")


def _barred(work: Work) -> set[str]:
    return {str(number) for number in work.request.options.get("barred", ())}
