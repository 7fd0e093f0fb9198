"""holdfast itself: does the watcher watch?"""

from __future__ import annotations

from dashboards.frame import Board
from dashboards.panels import Query, Spec, top

OURS = 'job=~".*holdfast.*"'
UP = ((None, "red"), (1.0, "green"))

BOARD = Board("daemon", "Does the watcher watch, and what does that cost?", (
    Spec("Leaders", "Daemons that act; more than one must never be.", "stat", "none",
         (Query("sum(holdfast_leader)"),), 4, 4, steps=(*UP, (2.0, "red"))),
    Spec("Scraped", "Daemons that answer Prometheus.", "stat", "none",
         (Query(f"sum(up{{{OURS}}})"),), 4, 4, steps=UP),
    Spec("Store", "1 while it answers.", "stat", "none", (Query("min(holdfast_store_up)"),), 4, 4,
         steps=UP),
    Spec("Version", "Of holdfast.", "stat", "none",
         (Query("max by (version) (holdfast_build_info)", "{{version}}"),), 4, 4),
    Spec("Looks that fail", "Models whose newest error stands.", "stat", "none",
         (Query(f"sum({top('holdfast_model_error')})"),), 4, 4,
         steps=((None, "green"), (1.0, "red"))),
    Spec("Metrics are as of", "Age of the newest answer of the store.", "stat", "s",
         (Query("time() - max(holdfast_snapshot_timestamp_seconds)"),), 4, 4,
         steps=((None, "green"), (60.0, "red"))),
    Spec("Time since the last good look", "Beside two intervals of the schedule, from which on "
         "it is stale.", "timeseries", "s", (
             Query("time() - " + top("holdfast_tick_last_success_timestamp_seconds"),
                   "{{model}}"),
             Query("2 * max(holdfast_schedule_interval_seconds)", "stale", limit=True))),
    Spec("How long a look takes", "The newest one of each model.", "timeseries", "s",
         (Query(top("holdfast_tick_duration_seconds"), "{{model}}"),)),
    Spec("Looks", "A minute, by how they ended.", "timeseries", "none",
         (Query('60 * sum by (result) (rate(holdfast_ticks_total{model=~"$model"}'
                '[$__rate_interval]))', "{{result}}"),)),
    Spec("Verdicts", "An hour, by kind, revisions included.", "timeseries", "none",
         (Query('3600 * sum by (verdict) (rate(holdfast_verdicts_total{model=~"$model"}'
                '[$__rate_interval]))', "{{verdict}}"),)),
    Spec("Errors", "Why looks fail, in words.", "table", "none",
         (Query(top("holdfast_reason_info", "about", "reason", more='about="trouble"')),)),
    Spec("Judged to", "Age of the newest checkpoint whose verdicts are made.", "timeseries", "s",
         (Query("time() - " + top("holdfast_judged_to_timestamp_seconds"), "{{model}}"),)),
    Spec("Memory", "Of the daemon's process; children are apart.", "timeseries", "bytes",
         (Query(f"process_resident_memory_bytes{{{OURS}}}", "{{instance}}"),)),
    Spec("CPU", "Seconds a second.", "timeseries", "none",
         (Query(f"rate(process_cpu_seconds_total{{{OURS}}}[$__rate_interval])",
                "{{instance}}"),)),
    Spec("Size of the store", "On disk; old rows are seen to as `retention` says.", "timeseries",
         "bytes", (Query("max(holdfast_store_size_bytes)", "store"),)),
    Spec("Old rows", "An hour: counts merged, verdicts thinned or dropped.", "timeseries", "none",
         (Query("3600 * max by (what) (rate(holdfast_upkeep_rows_total[$__rate_interval]))",
                "{{what}}"),)),
    Spec("Time since old rows were seen to", "Beside two intervals of `retention.every`, from "
         "which on it is late.", "timeseries", "s", (
             Query("time() - " + top("holdfast_upkeep_last_success_timestamp_seconds"),
                   "{{model}}"),
             Query("2 * max(holdfast_upkeep_interval_seconds)", "late", limit=True))),
    Spec("Series", "What one scrape brings.", "timeseries", "none",
         (Query(f"scrape_samples_scraped{{{OURS}}}", "{{instance}}"),)),
    Spec("Scrapes", "How long one takes.", "timeseries", "s",
         (Query(f"scrape_duration_seconds{{{OURS}}}", "{{instance}}"),)),
), span="now-24h")
