"""Retraining: what did it cost, what did it bring, what waits for me?"""

from __future__ import annotations

from dashboards.frame import Board
from dashboards.model import band
from dashboards.panels import Query, Spec, top

VERSION = ("Version in MLflow", "${mlflow}/#/models/${__data.fields.registered_model}/versions/"
                                "${__data.fields.version}")

BOARD = Board("retraining", "What did it cost, what did it bring, and what waits for me?", (
    Spec("Waits for a person", "Challengers that passed the gate; give one alias `champion` in "
         "MLflow, or take its alias away.", "table", "s", (
             Query("time() - " + top("holdfast_candidate_since_timestamp_seconds", "version")
                   + " * on (model) group_left (registered_model) "
                   + top("holdfast_model_info", "registered_model")),), 12, 6,
         rename={"Value": "waits for"}, links=(VERSION,)),
    Spec("Why", "What the newest retrains and candidates were told to be.", "table", "none",
         (Query(top("holdfast_reason_info", "about", "reason",
                    more='about=~"retrain|candidate|rollback"')),), 12, 6),
    Spec("Asked for", "Requests for candidates that have ended, by how.", "timeseries", "none",
         (Query(top("holdfast_requests_total", "kind", "status",
                    more='kind=~"train|bootstrap"'), "{{model}} {{status}}"),)),
    Spec("At work", "Processes that are running, and how often they were started.", "timeseries",
         "none", (Query(f"sum({top('holdfast_request_open', 'kind')}) or vector(0)", "running"),
                  Query(f"sum({top('holdfast_request_attempts', 'kind')}) or vector(0)",
                        "started"))),
    Spec("What it cost", "CPU seconds of each action of the newest retrain.", "bargauge", "s",
         (Query(top("holdfast_retrain_cpu_seconds", "rung"), "{{model}} {{rung}}"),)),
    Spec("How long it took", "From the request to its end.", "bargauge", "s",
         (Query(top("holdfast_retrain_duration_seconds"), "{{model}}"),)),
    Spec("What it brought", "Gain of each action over the champion on the newest holdout.",
         "bargauge", "none", (Query(top("holdfast_retrain_gain", "rung"), "{{model}} {{rung}}"),),
         steps=((None, "red"), (0.0, "green"))),
    Spec("On the newest holdout", "The deciding metric of everybody who met there.", "bargauge",
         "none", (Query(top("holdfast_retrain_score", "player", "metric"),
                        "{{model}} {{player}}"),)),
    Spec("Size", "Of the newest candidates.", "bargauge", "bytes",
         (Query(top("holdfast_retrain_size_bytes"), "{{model}}"),)),
    Spec("Challenger beside champion", "Both on the same newer rows with mature labels.",
         "timeseries", "none", (Query(top("holdfast_shadow_performance", "role", "version",
                                          "metric"), "{{role}} {{version}} {{metric}}"),)),
    Spec("Challenger's gain since", "How much better it is on rows that came since, with 95 % "
         "intervals over blocks of time; above 0 it is better.", "timeseries", "none",
         (*band("holdfast_shadow_gain", ("version", "metric"), "{{version}} {{metric}}"),
          Query("vector(0)", "no gain", limit=True))),
    Spec("Golden sets", "Versions on the golden benchmark sets, by the newest audit.",
         "bargauge", "none", (Query(top("holdfast_benchmark_score", "benchmark", "role",
                                        "metric"), "{{benchmark}} {{role}} {{metric}}"),)),
    Spec("Pending decisions", "What still has to be carried out.", "table", "none",
         (Query(top("holdfast_decision_pending", "action")),)),
    Spec("Decided", "When the newest decision of each kind was made.", "table",
         "dateTimeAsIso", (Query(top("holdfast_decision_timestamp_seconds", "action")
                                 + " * 1000"),), rename={"Value": "at"}),
), span="now-90d")
