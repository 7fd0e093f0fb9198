"""History: what is known today of the past, backfills and revised windows too.

Prometheus keeps what was told at its time. The store keeps what became known later, so these panels
ask it, through Grafana's PostgreSQL data source.
"""

from __future__ import annotations

from dashboards.frame import Board
from dashboards.panels import Query, Spec

SPAN = ('"{0}" BETWEEN $__unixEpochNanoFrom() / 1000 AND $__unixEpochNanoTo() / 1000')
CHOSEN = "model IN (${model:sqlstring})"
LAST = f"""SELECT DISTINCT ON (model, version, start, "end") model, "end", line::jsonb AS line
FROM holdfast_verdict
WHERE {CHOSEN} AND segment = '' AND {SPAN.format("end")}
ORDER BY model, version, start, "end", revision DESC"""
"""The last word on every window: (model, end, line)."""


def instant(column: str) -> str:
    return f'to_timestamp("{column}" / 1000000.0)'


def windows(value: str, metric: str = "model", more: str = "") -> str:
    """One point per window, at its end, by its last revision."""
    return (f'SELECT {instant("end")} AS time, {metric} AS metric, {value} AS value\n'
            f"FROM ({LAST}) AS last{more}\nORDER BY time")


FEATURES = ", jsonb_array_elements(line->'features') AS item\nWHERE item->>'threshold' IS NOT NULL"
MEASURED = ("\nCROSS JOIN LATERAL jsonb_array_elements(line->'performance') AS item\n"
            "WHERE item->>'value' IS NOT NULL")

BOARD = Board("history", "What is known today of the past, backfills and revisions included?", (
    Spec("Severity of every window", "The largest statistic over its threshold, by the window's "
         "last revision: above 1 is drift.", "timeseries", "none", (
             Query(windows("(line->>'severity')::float")),
             Query(windows("1.0", "'threshold'"), limit=True))),
    Spec("Performance of every window", "On all labels that have come since, beside the value "
         "that misses the promise.", "timeseries", "none", (
             Query(windows("(item->>'value')::float", "model || ' ' || (item->>'metric') || ' ' "
                           "|| (item->>'span')", MEASURED)),
             Query(windows("(line->'promised'->>'limit')::float", "model || ' too bad'",
                           "\nWHERE line->'promised'->>'limit' IS NOT NULL"), limit=True))),
    Spec("Features over their thresholds", "Each of them in each window.", "timeseries", "none",
         (Query(windows("(item->>'value')::float / nullif((item->>'threshold')::float, 0)",
                        "model || ' ' || (item->>'name')", FEATURES)),
          Query(windows("1.0", "'threshold'"), limit=True)), 24),
    Spec("Revised windows", "What was said first, and what is said today.", "table", "none", (Query(
        f"""SELECT model, version, {instant("start")} AS start, {instant("end")} AS "end",
  count(*) AS revisions, (array_agg(kind ORDER BY revision))[1] AS first,
  (array_agg(kind ORDER BY revision DESC))[1] AS today
FROM holdfast_verdict
WHERE {CHOSEN} AND segment = '' AND {SPAN.format("end")}
GROUP BY model, version, start, "end" HAVING count(*) > 1 ORDER BY start DESC LIMIT 200"""),)),
    Spec("Episodes", "Stretches of drift or degradation, with their reasons.", "table", "none", (
        Query(f"""SELECT model, {instant("opened")} AS opened, {instant("closed")} AS closed,
  peak, reason
FROM holdfast_episode
WHERE {CHOSEN} AND {SPAN.format("opened")} ORDER BY opened DESC LIMIT 200"""),)),
    Spec("What was done", "Decisions that were carried out, and what became of them.", "table",
         "none", (Query(
             f"""SELECT model, {instant("known_at")} AS at, action, status, reason, note
FROM holdfast_decision
WHERE {CHOSEN} AND {SPAN.format("known_at")} ORDER BY known_at DESC LIMIT 200"""),)),
    Spec("Changes of phase", "With their causes in words.", "table", "none", (Query(
        f"""SELECT model, {instant("at")} AS at, before, after, cause
FROM holdfast_transition
WHERE {CHOSEN} AND {SPAN.format("at")} ORDER BY holdfast_transition.at DESC LIMIT 200"""),)),
    Spec("Retrains", "Requests for candidates, how long they took and why they ended so.",
         "table", "none", (Query(
             f"""SELECT model, {instant("created")} AS asked, status,
  (finished - created) / 1000000.0 AS seconds, outcome::jsonb->>'reason' AS reason
FROM holdfast_request
WHERE {CHOSEN} AND kind <> 'score' AND {SPAN.format("created")}
ORDER BY created DESC LIMIT 200"""),), units={"seconds": "s"}),
    Spec("Champions", "Versions as they were adopted.", "table", "none", (Query(
        f"""SELECT model, {instant("at")} AS at, version
FROM holdfast_adoption
WHERE {CHOSEN} AND {SPAN.format("at")} ORDER BY holdfast_adoption.at DESC LIMIT 200"""),)),
    Spec("Said of windows", "What people acknowledged.", "table", "none", (Query(
        f"""SELECT model, {instant("start")} AS start, {instant("end")} AS "end", said, note
FROM holdfast_acknowledgement
WHERE {CHOSEN} AND {SPAN.format("at")} ORDER BY at DESC LIMIT 200"""),)),
), stored=True, span="now-1y")
