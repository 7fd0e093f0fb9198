"""Metrics: the catalogue of everything that ``/metrics`` tells; ``docs/metrics.md`` repeats it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric family: its kind, its labels and what it says."""

    kind: Literal["gauge", "counter"]
    labels: tuple[str, ...]
    text: str


_M = ("model",)
_V = ("model", "version")
_FEATURE = ("model", "version", "feature", "statistic")
_GAP = ("model", "version", "column", "measure")
_QUALITY = ("model", "version", "metric", "estimated", "span")

_BENCHMARK = ("model", "benchmark", "version", "role", "metric")
_ESTIMATE = ("model", "version", "metric", "span")
_SHADOW = ("model", "version", "role", "metric")
_GAIN = ("model", "version", "metric")
_PART = ("model", "version", "segment")


def _gauge(labels: tuple[str, ...], text: str) -> Metric:
    return Metric("gauge", labels, text)


def _counter(labels: tuple[str, ...], text: str) -> Metric:
    return Metric("counter", labels, text)


CATALOGUE: dict[str, Metric] = {
    "holdfast_build_info": _gauge(("version",), "1; the version of holdfast that runs."),
    "holdfast_store_up": _gauge((), "1 while the store answers and keeps what is written, else 0; "
                               "the rest is then old."),
    "holdfast_leader": _gauge((), "1 where this process is the one that acts, else 0."),
    "holdfast_schedule_interval_seconds": _gauge((), "How often every model is looked at."),
    "holdfast_snapshot_timestamp_seconds": _gauge(
        (), "When the store last answered; the metrics are as new as this."),
    "holdfast_http_refused_total": _counter(
        ("why",), "Requests to this process that were refused, by why: `anonymous`, `credentials` "
        "(wrong ones), `failures` (too many of those), `scope`, `forgery`, `requests` (too many)…"),
    # the model
    "holdfast_model_info": _gauge(
        ("model", "registered_model", "task"), "1; a configured model and its registered name."),
    "holdfast_model_error": _gauge(_M, "1 while the model's newest error stands, else 0."),
    "holdfast_trouble": _gauge(
        ("model", "where"), "1; the kind of the error that stands, such as SourceError."),
    "holdfast_reason_info": _gauge(
        ("model", "about", "reason"), "1; why, in words: at most one reason per subject."),
    "holdfast_champion_info": _gauge(
        _V, "1; the version that holdfast takes for champion. Absent without one."),
    "holdfast_champion_adopted_timestamp_seconds": _gauge(_V, "Since when it is."),
    "holdfast_report_info": _gauge(
        ("model", "report"), "1; the newest report, which is at `/reports/REPORT`."),
    "holdfast_candidate_waiting": _gauge(
        _M, "1 while a challenger waits for a person to promote it, else 0."),
    "holdfast_candidate_since_timestamp_seconds": _gauge(
        _V, "Since when the challenger (`version`) waits. Absent while none does."),
    "holdfast_phase": _gauge(
        ("model", "phase"), "1 for the phase that the model is in, 0 for every other one."),
    "holdfast_phase_since_timestamp_seconds": _gauge(
        _M, "Event time since when the model is in its phase."),
    "holdfast_cooldown_until_timestamp_seconds": _gauge(
        _M, "No retrain starts by itself before this instant. Absent without a cooldown."),
    "holdfast_judged_to_timestamp_seconds": _gauge(
        _M, "The newest checkpoint whose verdicts are made."),
    # the newest window, all rows
    "holdfast_verdict": _gauge(
        ("model", "verdict"), "1 for the verdict on the newest window, 0 for every other one."),
    "holdfast_window_end_timestamp_seconds": _gauge(_V, "End of the newest judged window."),
    "holdfast_window_rows": _gauge(_V, "Rows of the newest judged window."),
    "holdfast_label_maturity_ratio": _gauge(
        _V, "Share of the newest window's rows that have a label."),
    "holdfast_champion_serving_ratio": _gauge(
        _V, "Share of the newest window's rows that the version answered."),
    "holdfast_drift_statistic": _gauge(
        _FEATURE, "How far the feature lies from the reference in the newest window; only the 20 "
                  "nearest to or beyond their threshold."),
    "holdfast_drift_threshold": _gauge(
        _FEATURE, "The statistic above which the feature counts as drifted."),
    "holdfast_feature_importance": _gauge(
        ("model", "version", "feature"),
        "Share of what all features are worth to the version, of those with a drift statistic."),
    "holdfast_features_judged": _gauge(
        _V, "Features, predictions and scores that the newest window was judged on."),
    "holdfast_drift_severity": _gauge(
        _V, "The largest statistic of the newest window over its threshold: above 1 is drift."),
    "holdfast_features_drifted": _gauge(
        _V, "How many of them drifted, those without a series of their own included."),
    "holdfast_segments_drifted": _gauge(
        _V, "Segments of the newest window whose own verdict is drifted or degraded."),
    "holdfast_segments_judged": _gauge(
        _V, "Segments of the newest window that are held against a reference of their own."),
    "holdfast_group_gap": _gauge(
        _GAP, "The widest gap between two groups of a segment's column, newest measured."),
    "holdfast_group_gap_low": _gauge(
        _GAP, "Lower end of its 95 % interval, which holds however many groups there are."),
    "holdfast_group_gap_high": _gauge(_GAP, "Upper end of it."),
    "holdfast_segment_performance": _gauge(
        ("model", "version", "segment", "metric"),
        "What was newly measured of the 20 largest segments: the metric that decides, and rates."),
    "holdfast_log_newest_timestamp_seconds": _gauge(
        _M, "End of the newest pane that held rows, as of the newest judged window."),
    "holdfast_log_stale": _gauge(
        _M, "1 while the log is silent for longer than `log.freshness` or the reference allows."),
    "holdfast_faults": _gauge(
        ("model", "column", "check", "severity"),
        "1; broken data in the newest window, at most 20 of it."),
    "holdfast_faults_found": _gauge(
        ("model", "severity"), "How much is broken in the newest window, all of it."),
    "holdfast_labels_late": _gauge(
        _M, "1 while the newest window whose labels should all be there by `maturity.delay` has "
            "too few of them, else 0."),
    # performance
    "holdfast_performance_reference": _gauge(
        ("model", "version", "metric"), "What the reference promises of the deciding metric."),
    "holdfast_performance_threshold": _gauge(
        ("model", "version", "metric"), "The value from which on that is missed by what counts."),
    "holdfast_performance": _gauge(
        _QUALITY, "The newest measured performance of the champion; span is the event time that "
                  "it pools."),
    "holdfast_performance_low": _gauge(_QUALITY, "Lower end of its 95 % interval."),
    "holdfast_performance_high": _gauge(_QUALITY, "Upper end of its 95 % interval."),
    "holdfast_performance_rows": _gauge(_QUALITY, "Rows that it was measured on."),
    "holdfast_performance_window_end_timestamp_seconds": _gauge(
        _V, "End of the newest window that performance was measured for."),
    # estimates, without labels
    "holdfast_estimated_performance": _gauge(
        _ESTIMATE, "What the labels of the newest window are expected to say of the champion."),
    "holdfast_estimated_performance_low": _gauge(
        _ESTIMATE, "Lower end of the 95 % interval of what they will say."),
    "holdfast_estimated_performance_high": _gauge(
        _ESTIMATE, "Upper end of the 95 % interval of what they will say."),
    "holdfast_estimated_performance_rows": _gauge(_ESTIMATE, "Rows that it was estimated for."),
    "holdfast_estimated_degraded": _gauge(
        _V, "1 while the estimate is worse than the reference by what counts, else 0. Absent "
            "while labels refute estimates."),
    "holdfast_estimate_valid": _gauge(
        _V, "1 while the newest labels are what was estimated of them, 0 while they refute it."),
    "holdfast_error_drift_since_timestamp_seconds": _gauge(
        _V, "Since when errors are larger than in the reference, as newly measured. Absent while "
            "they are not."),
    # a challenger that waits, beside the champion on the same newer rows
    "holdfast_shadow_performance": _gauge(
        _SHADOW, "Measured performance of challenger and champion on rows with mature labels."),
    "holdfast_shadow_performance_low": _gauge(_SHADOW, "Lower end of its 95 % interval."),
    "holdfast_shadow_performance_high": _gauge(_SHADOW, "Upper end of its 95 % interval."),
    "holdfast_shadow_estimated_performance": _gauge(
        _SHADOW, "What the labels that are not mature yet are expected to say of each."),
    "holdfast_shadow_estimated_performance_low": _gauge(
        _SHADOW, "Lower end of the 95 % interval of what they will say."),
    "holdfast_shadow_estimated_performance_high": _gauge(
        _SHADOW, "Upper end of the 95 % interval of what they will say."),
    "holdfast_shadow_gain": _gauge(
        _GAIN, "How much better the challenger is, paired by row; for errors, how much smaller."),
    "holdfast_shadow_gain_low": _gauge(
        _GAIN, "Lower end of its 95 % interval over blocks of time."),
    "holdfast_shadow_gain_high": _gauge(
        _GAIN, "Upper end of its 95 % interval over blocks of time."),
    "holdfast_shadow_differing_ratio": _gauge(
        _V, "Share of rows that the challenger (`version`) answers with another class."),
    "holdfast_shadow_distance": _gauge(
        _V, "Mean absolute difference between the two answers, where they are numbers."),
    "holdfast_shadow_rows": _gauge(_V, "Rows that both were asked about."),
    "holdfast_shadow_labelled_rows": _gauge(_V, "Those of them whose labels are mature."),
    "holdfast_shadow_known_at_timestamp_seconds": _gauge(
        _V, "The checkpoint that the comparison knows everything of that had arrived by then."),
    # a compressed champion beside its uncompressed form, on newest rows
    "holdfast_compression_disagreement": _gauge(
        _PART, "Share of rows that the compressed champion answers with another class than its "
               "uncompressed form; for numbers their mean distance in standard deviations of the "
               "label. `segment` is empty for all rows."),
    "holdfast_compression_disagreement_low": _gauge(
        _PART, "Lower end of its 99 % interval, which holds for all segments together."),
    "holdfast_compression_disagreement_high": _gauge(_PART, "Upper end of it."),
    "holdfast_compression_disagreement_threshold": _gauge(
        _V, "What it was at most on the rows that followed the version's calibration."),
    "holdfast_compression_outside_ratio": _gauge(
        _V, "Share of rows with a number outside the ranges that int8 was calibrated on."),
    "holdfast_compression_outside_ratio_low": _gauge(_V, "Lower end of its 99 % interval."),
    "holdfast_compression_outside_ratio_high": _gauge(_V, "Upper end of it."),
    "holdfast_compression_outside_ratio_threshold": _gauge(
        _V, "What it was at most on the rows that followed the version's calibration."),
    "holdfast_compression_feature_outside_ratio": _gauge(
        ("model", "version", "feature"), "The same of one input; only the 20 largest above 0."),
    "holdfast_compression_exceeded": _gauge(
        ("model", "version", "measure"),
        "1 while `disagreement` or `outside` lies above its threshold with its whole interval, "
        "else 0. Absent without a threshold."),
    "holdfast_compression_rows": _gauge(_V, "Rows that both were asked about."),
    "holdfast_compression_known_at_timestamp_seconds": _gauge(
        _V, "The checkpoint by which those rows had arrived."),
    # golden benchmark sets, by the newest audit
    "holdfast_benchmark_score": _gauge(
        _BENCHMARK, "A version's metric on a golden benchmark set, in the newest audit."),
    "holdfast_benchmark_score_low": _gauge(_BENCHMARK, "Lower end of its 95 % interval."),
    "holdfast_benchmark_score_high": _gauge(_BENCHMARK, "Upper end of its 95 % interval."),
    "holdfast_benchmark_rows": _gauge(
        ("model", "benchmark", "version", "role"), "Rows that the version was measured on."),
    "holdfast_benchmark_under_floor": _gauge(
        ("model", "benchmark", "version", "role"),
        "1 where the deciding metric misses the declared floor, else 0."),
    "holdfast_benchmark_gain": _gauge(
        ("model", "benchmark", "metric"),
        "How much better the challenger is than the champion, in the newest audit of both."),
    "holdfast_benchmark_gain_low": _gauge(
        ("model", "benchmark", "metric"), "Lower end of its 95 % interval."),
    "holdfast_benchmark_gain_high": _gauge(
        ("model", "benchmark", "metric"), "Upper end of its 95 % interval."),
    "holdfast_audit_timestamp_seconds": _gauge(
        _M, "When the newest audit was asked for. Absent before the first one."),
    # over time
    "holdfast_verdicts_total": _counter(
        ("model", "verdict"), "Verdicts on all rows, revisions included."),
    "holdfast_episodes_total": _counter(_M, "Episodes of drift or degradation that were opened."),
    "holdfast_episode_open": _gauge(_M, "1 while an episode is open, else 0."),
    "holdfast_episode_opened_timestamp_seconds": _gauge(
        _M, "Event time at which the open episode was opened. Absent without one."),
    "holdfast_episode_snoozed_until_timestamp_seconds": _gauge(
        _M, "Until when somebody keeps the alarms of the open episode quiet. Absent where nobody "
            "did."),
    "holdfast_episode_cause": _gauge(
        ("model", "cause"), "1 where the open episode has shown it, else 0, of what may alarm: "
                            "`drifted`, `degraded`, `estimated`. Absent without an episode."),
    "holdfast_alarm_budget": _gauge(_M, "Alarms to bear within a period while nothing changed."),
    "holdfast_alarm_budget_period_seconds": _gauge(_M, "Event time of the period."),
    "holdfast_alarm_budget_used": _gauge(
        _M, "Episodes that were opened within the newest period, whatever their cause."),
    "holdfast_requests_total": _counter(
        ("model", "kind", "status"), "Requests for candidates or comparisons that have ended."),
    "holdfast_request_open": _gauge(("model", "kind"), "1; a request is being worked on."),
    "holdfast_request_attempts": _gauge(
        ("model", "kind"), "How often the open request's process was started."),
    "holdfast_decision_pending": _gauge(
        ("model", "action"), "1; a decision that still has to be carried out."),
    "holdfast_decision_timestamp_seconds": _gauge(
        ("model", "action"), "When the newest decision of the kind was made."),
    # the newest retrain that has ended
    "holdfast_retrain_timestamp_seconds": _gauge(
        ("model", "status"), "When it ended, and how. Absent before the first one."),
    "holdfast_retrain_duration_seconds": _gauge(_M, "From the request to its end."),
    "holdfast_retrain_cpu_seconds": _gauge(
        ("model", "rung"), "What each action of the ladder cost."),
    "holdfast_retrain_gain": _gauge(
        ("model", "rung"), "What it brought over the champion on the newest holdout, positive "
                           "where better. Absent where the holdout stayed closed."),
    "holdfast_retrain_score": _gauge(
        ("model", "player", "metric"), "The deciding metric on the newest holdout, of everybody "
                                       "who met there."),
    "holdfast_retrain_size_bytes": _gauge(_M, "Size of the candidate."),
    # the daemon
    "holdfast_notifications_total": _counter(
        ("model", "result"), "Messages to people: sent, or attempts that failed."),
    "holdfast_notifications_waiting": _gauge(_M, "Messages that were not sent yet."),
    "holdfast_tick_timestamp_seconds": _gauge(
        _M, "When the newest tick began, however it ended."),
    "holdfast_ticks_total": _counter(
        ("model", "result"), "Times that the daemon looked at the model: ok or failed."),
    "holdfast_tick_last_success_timestamp_seconds": _gauge(
        _M, "When the newest tick that went well began."),
    "holdfast_tick_duration_seconds": _gauge(_M, "How long the newest tick took."),
    "holdfast_upkeep_last_success_timestamp_seconds": _gauge(
        _M, "When the model's old counts and verdicts were last seen to. Absent before."),
    "holdfast_upkeep_interval_seconds": _gauge(
        (), "How often they are, by `retention.every`; no more often than every ten minutes."),
    "holdfast_upkeep_rows_total": _counter(
        ("what",), "Old rows that were seen to, of all models: counts `merged`, verdicts `thinned` "
                   "or `dropped`."),
    "holdfast_store_size_bytes": _gauge((), "What the store takes on disk."),
}
