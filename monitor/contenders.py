"""Contenders: versions that stand beside the champion, as samples of the exporter.

The challenger that waits, a compressed champion uncompressed, and both on the golden sets.
"""

from __future__ import annotations

from typing import Any

from monitor.series import Page
from monitor.vitals import say
from monitor.window import parse_time


def shadowed(page: Page, model: str, line: dict[str, Any] | None) -> None:
    """Challenger and champion side by side, while the challenger waits."""
    if line is None:
        return
    version = line["challenger"]
    for kind, name in (("realized", "performance"), ("estimated", "estimated_performance")):
        for role, found in line[kind].items():
            for metric, item in found.items():
                page.bounded(f"holdfast_shadow_{name}", item, model, line[role], role, metric)
    if line["gain"] is not None:
        page.bounded("holdfast_shadow_gain", line["gain"], model, version, line["gain"]["metric"],
                     key="difference")
    for key, name in (("differing", "differing_ratio"), ("distance", "distance"), ("n", "rows"),
                      ("labelled", "labelled_rows")):
        page.put(f"holdfast_shadow_{name}", line.get(key), model, version)
    page.put("holdfast_shadow_known_at_timestamp_seconds", parse_time(line["known_at"]), model,
             version)


def compressed(page: Page, model: str, line: dict[str, Any] | None) -> None:
    """The compressed champion beside its uncompressed form, as found last."""
    if line is None:
        return
    series = model, line["version"]
    doubts = [line[name] for name in ("disagreement", "outside") if line[name] is not None]
    if any(item["crossed"] for item in doubts):
        say(page, model, "compression", str(line.get("words", "")))
    for part in ({**line["disagreement"], "segment": ""}, *line["segments"]):
        page.bounded("holdfast_compression_disagreement", part, *series, part["segment"])
    for name, measure in (("disagreement", "disagreement"), ("outside", "outside_ratio")):
        item = line[name]
        if item is not None and item["limit"] is not None:
            page.put(f"holdfast_compression_{measure}_threshold", item["limit"], *series)
            page.put("holdfast_compression_exceeded", item["crossed"], *series, name)
    if line["outside"] is not None:
        page.bounded("holdfast_compression_outside_ratio", line["outside"], *series)
    for feature, share in line["features"].items():
        page.put("holdfast_compression_feature_outside_ratio", share, *series, feature)
    page.put("holdfast_compression_rows", line["n"], *series)
    page.put("holdfast_compression_known_at_timestamp_seconds", parse_time(line["known_at"]),
             *series)


def audited(page: Page, model: str, found: dict[str, Any] | None) -> None:
    """Versions on the golden benchmark sets, as the newest audit found them."""
    if found is None:
        return
    page.put("holdfast_audit_timestamp_seconds", parse_time(found["at"]), model)
    for row in found["scores"]:
        labels = model, row["benchmark"], row["version"], row["role"]
        page.bounded("holdfast_benchmark_score", row, *labels, row["metric"])
        if row["metric"] == found["metric"]:
            page.put("holdfast_benchmark_rows", row["n"], *labels)
            page.put("holdfast_benchmark_under_floor", row["under"], *labels)
    for row in found["gains"]:
        page.bounded("holdfast_benchmark_gain", row, model, row["benchmark"], row["metric"],
                     key="gain")
