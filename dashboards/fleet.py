"""Fleet: which model needs me?"""

from __future__ import annotations

from dashboards.frame import Board
from dashboards.panels import Query, Spec, top

PHASES = {"stable": "green", "unknown": "text", "suspect": "yellow", "retraining": "blue",
          "awaiting_promotion": "purple", "probation": "light-blue", "faulty": "orange",
          "rolled_back": "red"}
RED = ((None, "green"), (1.0, "red"))
ONWARDS = (("This model", "/d/holdfast-model?var-model=${__data.fields.model}"),)
TROUBLED = ('max by (model) (holdfast_phase{model=~"$model", '
            'phase=~"suspect|faulty|awaiting_promotion|rolled_back"} == 1 '
            'or holdfast_model_error{model=~"$model"} == 1)')


def phases() -> tuple[Query, ...]:
    """One number per model: the place of its phase in ``PHASES``."""
    told = [f'(max by (model) (holdfast_phase{{model=~"$model", phase="{phase}"}} == 1) * {place})'
            for place, phase in enumerate(PHASES)]
    return (Query("\nor ".join(told), "{{model}}"),)


BOARD = Board("fleet", "Which model needs me?", (
    Spec("Models watched", "Models of the configuration, as far as they are chosen above.",
         "stat", "none", (Query(f"count({top('holdfast_model_info')})"),), 4, 4),
    Spec("Need somebody", "Models that are suspect, faulty, rolled back, wait for a promotion, or "
         "cannot be looked at.", "stat", "none",
         (Query(f"count({TROUBLED}) or vector(0)"),), 4, 4, steps=RED),
    Spec("Open episodes", "Models whose drift or degradation is going on.", "stat", "none",
         (Query(f"sum({top('holdfast_episode_open')})"),), 4, 4, steps=RED),
    Spec("Candidates waiting", "Challengers that passed the gate and wait for alias `champion`.",
         "stat", "none", (Query(f"sum({top('holdfast_candidate_waiting')})"),), 4, 4,
         steps=((None, "green"), (1.0, "purple"))),
    Spec("Broken data", "Findings of severity fault in the newest windows.", "stat", "none",
         (Query("sum(" + top("holdfast_faults_found", more='severity="fault"') + ")"),), 4, 4,
         steps=RED),
    Spec("Looks that fail", "Models whose newest error stands.", "stat", "none",
         (Query(f"sum({top('holdfast_model_error')})"),), 4, 4, steps=RED),
    Spec("Every model", "Severity is the largest statistic over its threshold: drift from 1 on. "
         "Click a model to see what moved.", "table", "none", (
             Query(top("holdfast_phase", "phase") + " == 1"),
             Query(top("holdfast_drift_severity")),
             Query(top("holdfast_episode_open")),
             Query(top("holdfast_candidate_waiting")),
             Query(top("holdfast_faults_found", more='severity="fault"')),
             Query(top("holdfast_model_error")),
             Query("time() - " + top("holdfast_judged_to_timestamp_seconds"))), 24, 9,
         rename={"Value #B": "severity", "Value #C": "episode", "Value #D": "waits",
                 "Value #E": "faults", "Value #F": "error", "Value #G": "judged before"},
         units={"judged before": "s"}, links=ONWARDS),
    Spec("Phases", "What each model has been in.", "state-timeline", "none", phases(), 24, 9,
         states={str(place): (phase, color) for place, (phase, color) in
                 enumerate(PHASES.items())}),
    Spec("Farthest from normal", "The largest statistic of the newest window over its threshold: "
         "above 1 is drift.", "bargauge", "none",
         (Query(f"topk(10, {top('holdfast_drift_severity')})", "{{model}}"),),
         steps=((None, "green"), (0.8, "yellow"), (1.0, "red"))),
    Spec("Why", "Reasons in words of all that is open: episodes, faults, candidates, errors.",
         "table", "none", (Query(top("holdfast_reason_info", "about", "reason")),),
         links=ONWARDS),
    Spec("Alarm budget", "Episodes of the newest budget period beside how many may come by "
         "chance.", "timeseries", "none", (
             Query(top("holdfast_alarm_budget_used"), "{{model}}"),
             Query(top("holdfast_alarm_budget"), "budget of {{model}}", limit=True))),
    Spec("Champion's share of the traffic", "A champion that does not answer is not what people "
         "get.", "timeseries", "percentunit",
         (Query(top("holdfast_champion_serving_ratio", "version"), "{{model}} {{version}}"),)),
), span="now-30d")
