"""Model: what moved, when, does it matter, what did we do?"""

from __future__ import annotations

from dashboards.fleet import phases
from dashboards.frame import Board
from dashboards.panels import Query, Spec, top

VERDICTS = {"stable": "green", "unknown": "text", "drifted": "yellow", "degraded": "red",
            "faulty": "orange"}
RATIO = ("max by (model, version, feature) (holdfast_drift_statistic{model=~\"$model\"} "
         "/ holdfast_drift_threshold{model=~\"$model\"})")
MODEL = "${__data.fields.model}"
ONWARDS = (
    ("Page of the model", "${holdfast}/models/" + MODEL),
    ("Newest report", "${holdfast}/reports/${__data.fields.report}"),
    ("Version in MLflow", "${mlflow}/#/models/${__data.fields.registered_model}/versions/"
                          "${__data.fields.version}"),
)


def verdicts() -> tuple[Query, ...]:
    """One number per model: the place of its newest verdict in ``VERDICTS``."""
    told = [f'(max by (model) (holdfast_verdict{{model=~"$model", verdict="{kind}"}} == 1) '
            f'* {place})' for place, kind in enumerate(VERDICTS)]
    return (Query("\nor ".join(told), "{{model}}"),)


def band(metric: str, labels: tuple[str, ...], legend: str) -> tuple[Query, ...]:
    """A value and both ends of its interval."""
    return (Query(top(metric, *labels), legend),
            Query(top(f"{metric}_low", *labels), f"{legend}, low"),
            Query(top(f"{metric}_high", *labels), f"{legend}, high"))


BOARD = Board("model", "What moved, when, does it matter, and what did we do?", (
    Spec("Champion", "The version that is watched; follow it to its page, its newest report and "
         "MLflow.", "table", "none", (
             Query(top("holdfast_champion_info", "version")
                   + " * on (model) group_left (registered_model) "
                   + top("holdfast_model_info", "registered_model")),
             Query(top("holdfast_report_info", "report"))), 12, 6,
         links=ONWARDS),
    Spec("Why", "Reasons in words of what is open.", "table", "none",
         (Query(top("holdfast_reason_info", "about", "reason")),), 12, 6),
    Spec("Verdicts", "On the newest window.", "state-timeline", "none", verdicts(), 12, 6,
         states={str(place): item for place, item in enumerate(VERDICTS.items())}),
    Spec("Phases", "What holdfast believes and does.", "state-timeline", "none", phases(), 12, 6,
         states={str(place): (name, color) for place, (name, color) in enumerate((
             ("stable", "green"), ("unknown", "text"), ("suspect", "yellow"),
             ("retraining", "blue"), ("awaiting promotion", "purple"),
             ("probation", "light-blue"), ("faulty", "orange"), ("rolled back", "red")))}),
    Spec("What moved", "Statistic of every feature over its own threshold: above 1 is drift. At "
         "most the 20 worst are told.", "timeseries", "none",
         (Query(RATIO, "{{feature}}"), Query("vector(1)", "threshold", limit=True))),
    Spec("Statistics and thresholds", "As they are, of the statistics that decide; thresholds keep "
         "the alarm budget.", "timeseries", "none", (
             Query(top("holdfast_drift_statistic", "feature", "statistic") + " and "
                   + top("holdfast_drift_threshold", "feature", "statistic"),
                   "{{feature}} {{statistic}}"),
             Query(top("holdfast_drift_threshold", "feature", "statistic"),
                   "threshold of {{feature}}", limit=True))),
    Spec("Does it matter", "Drift over its threshold times what the feature is worth to the "
         "version.", "bargauge", "none", (Query(
             f"topk(10, {RATIO} * " + top("holdfast_feature_importance", "version", "feature")
             + ")", "{{feature}}"),)),
    Spec("Measured performance", "The deciding metric and others on matured labels with 95 % "
         "intervals, the reference and the value that misses it.", "timeseries", "none", (
             *band("holdfast_performance", ("metric", "span"), "{{metric}} {{span}}"),
             Query(top("holdfast_performance_reference", "metric"), "promised {{metric}}"),
             Query(top("holdfast_performance_threshold", "metric"), "too bad {{metric}}",
                   limit=True))),
    Spec("Estimated performance", "What the labels of the newest window are expected to say, with "
         "95 % intervals.", "timeseries", "none", (
             *band("holdfast_estimated_performance", ("metric", "span"), "{{metric}}"),
             Query(top("holdfast_performance_threshold", "metric"), "too bad {{metric}}",
                   limit=True))),
    Spec("Performance by segment", "The 20 largest declared groups.", "timeseries", "none",
         (Query(top("holdfast_segment_performance", "segment", "metric"),
                "{{segment}} {{metric}}"),)),
    Spec("Gaps between groups", "The widest gap of each declared column, with 95 % intervals.",
         "timeseries", "none", band("holdfast_group_gap", ("column", "measure"),
                                    "{{column}} {{measure}}")),
    Spec("Rows", "Of the newest judged window.", "timeseries", "none",
         (Query(top("holdfast_window_rows"), "{{model}}"),)),
    Spec("Labels", "Share of the newest window's rows that have one.", "timeseries",
         "percentunit", (Query(top("holdfast_label_maturity_ratio"), "{{model}}"),)),
    Spec("Broken data", "Findings in the newest window.", "table", "none",
         (Query(top("holdfast_faults", "column", "check", "severity")),)),
    Spec("Champion's share of the traffic", "Rows of the newest window that the champion "
         "answered.", "timeseries", "percentunit",
         (Query(top("holdfast_champion_serving_ratio", "version"), "{{model}} {{version}}"),)),
    Spec("Compressed against float", "Share of rows that the compressed champion answers "
         "otherwise than its uncompressed form, beside its limit.", "timeseries", "percentunit", (
             Query(top("holdfast_compression_disagreement", "segment"), "{{segment}}"),
             Query(top("holdfast_compression_disagreement_threshold"), "limit", limit=True))),
    Spec("Outside the int8 ranges", "Share of rows with a number outside of what int8 was "
         "calibrated on, beside its limit.", "timeseries", "percentunit", (
             Query(top("holdfast_compression_outside_ratio"), "{{model}}"),
             Query(top("holdfast_compression_outside_ratio_threshold"), "limit", limit=True))),
    Spec("Age of the log", "How long ago the newest pane with rows ended.", "timeseries", "s",
         (Query("time() - " + top("holdfast_log_newest_timestamp_seconds"), "{{model}}"),)),
))
