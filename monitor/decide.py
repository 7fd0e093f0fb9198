"""Decide: a pure fold of verdicts and outside events into a model's state.

``step`` is called once per verdict in the order (known_at, window end, revision),
so that hourly ticks, a catch-up and a replay reach the same state. The other
functions fold what happens outside: an alias that moved, a request that ended.
Nothing here does I/O; times come in with the evidence.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from monitor.config import Model
from monitor.judge import Verdict
from monitor.request import Request
from monitor.state import IN_FLIGHT, NOTHING, Decision, ModelState, Phase
from monitor.window import format_duration, isoformat, parse_time

CALM = 3
"""New windows in a row without drift or degradation that close an episode; in each of them every
statistic lies below the easier limit, so that an episode does not flap around its threshold."""


def step(state: ModelState, verdict: Verdict, model: Model) -> tuple[ModelState, Decision]:
    """The state after ``verdict`` and what it asks for."""
    if verdict.segment:
        return _segment(state, verdict, model)
    known = _believe(state, verdict)
    known, episode = _episode(known, verdict, model)
    known = _phase(known, verdict.known_at)
    asked, told = _asks_for_retrain(verdict, model), ""
    if not asked:
        asked, told = _follow_up(known, verdict, model)
    if asked:
        refusal = _refusal(known, verdict.labelled, verdict.known_at, model)
        if refusal is None:
            moved = replace(known, phase="retraining", since=verdict.known_at, predecessor=None)
            return moved, Decision("retrain", asked, _evidence(verdict) | _began(known) | (
                {told: True} if told else {}))
        return known, episode or Decision("hold", f"no retrain: {refusal}", _evidence(verdict))
    return known, episode or NOTHING


def adopted(state: ModelState, version: str | None, at: datetime, model: Model, *,
            blend: bool = False) -> ModelState:
    """The state once alias ``champion`` points at ``version`` (None: the alias is gone)."""
    if version == state.champion:
        return state
    ours = state.phase == "awaiting_promotion" and model.policy.promotion == "automatic"
    fresh = replace(
        state,
        comparisons=0,
        compared="",
        kept=version in state.rolled_back and not (ours and version == state.challenger),
        champion=version,
        adopted_at=at,
        since=at,
        inputs="unknown",
        quality="unknown",
        episode=None,
        calm=0,
        challenger=None,
        retrained=state.champion is not None and version is not None,
        looked_at=None,
        blend=blend,
    )
    if version is None:
        return replace(fresh, phase="unknown", predecessor=None)
    if state.champion is None:
        return replace(fresh, phase="unknown")
    cooldown = at + model.policy.retrain.cooldown
    if version == state.predecessor:
        return _undone(replace(fresh, phase="rolled_back", predecessor=None,
                               cooldown_until=cooldown), str(state.champion), at)
    return replace(fresh, phase="probation", predecessor=state.champion, cooldown_until=cooldown)


def _undone(state: ModelState, version: str, at: datetime) -> ModelState:
    """The state once it is known that ``version`` is to be no champion again by itself."""
    return replace(state, rolled_back=tuple(dict.fromkeys((*state.rolled_back, version))),
                   rolled_back_at=at)


def barred(state: ModelState, known_at: datetime, model: Model) -> tuple[str, ...]:
    """Versions that nobody but a person may promote: no event time since they were rolled back has
    matured yet, so that the same data would say the same again."""
    at = state.rolled_back_at
    mature = known_at - model.maturity.delay
    return state.rolled_back if at is not None and mature <= at else ()


def requested(state: ModelState, request: Request, at: datetime) -> ModelState:
    """The state once a request was written down: one for a candidate is ``retraining``."""
    if state.request == request.request_id:
        return state
    known = replace(state, request=request.request_id)
    return known if request.kind == "score" else replace(known, phase="retraining", since=at)


def concluded(state: ModelState, challenger: str | None, at: datetime, model: Model
              ) -> tuple[ModelState, Decision]:
    """The state once the request ended, with a challenger or without (None), and what it asks.

    A champion adopted meanwhile goes its own way: the challenger was not measured against it.
    """
    if state.phase != "retraining":
        return replace(state, request=None), NOTHING
    cooldown = at + model.policy.retrain.cooldown
    settled = replace(state, request=None, cooldown_until=cooldown, since=at)
    if challenger is None or challenger in barred(state, at, model):
        return _phase(replace(settled, phase="stable", looked_at=at), at), NOTHING
    waiting = replace(settled, phase="awaiting_promotion", challenger=challenger)
    if model.policy.promotion == "manual":
        return waiting, NOTHING
    return waiting, Decision("promote", f"version {challenger} passed the gate and promotion is "
                                        "automatic", {"to": challenger, "from": state.champion})


def expired(state: ModelState, at: datetime) -> ModelState:
    """The state once nobody promoted the challenger in time."""
    return _phase(replace(state, phase="stable", challenger=None, since=at), at)


def probation(state: ModelState, matured: int, now: datetime, model: Model, *,
              since: datetime | None = None) -> Decision:
    """Whether the champion on probation is compared with its predecessor now, or acquitted.

    ``matured`` counts its labelled rows. It is compared when there are enough of them, and once
    more when the probation ends, which began at ``since`` (its first logged row; default: its
    adoption).
    """
    rule = model.policy.probation
    if state.phase != "probation" or state.request is not None or state.adopted_at is None:
        return NOTHING
    over = now >= (since or state.adopted_at) + rule.length + model.maturity.delay
    evidence = {"version": state.champion, "predecessor": state.predecessor, "matured": matured}
    if matured >= rule.rows and (state.comparisons == 0 or (over and state.comparisons == 1)):
        return Decision("compare", f"{matured} labelled rows of version {state.champion} have "
                                   "matured", evidence)
    if over:
        last = state.compared or f"{matured} of its labelled rows have matured, {rule.rows} are " \
                                 f"asked for to compare it with version {state.predecessor}"
        return Decision("acquit", f"the probation of {format_duration(rule.length)} is over: "
                                  f"{last}", evidence)
    return NOTHING


def compared(state: ModelState, result: dict[str, Any], now: datetime, model: Model
             ) -> tuple[ModelState, Decision]:
    """The state after a comparison and what it asks for.

    ``result`` holds ``difference``, ``low`` and ``high`` of predecessor minus champion on the same
    rows, in a metric where more is better, and ``reason`` in words. Without them (the comparison
    failed) nothing is decided. One about another champion says nothing about this one.
    """
    state = replace(state, request=None)
    if result.get("champion", state.champion) != state.champion:
        return state, NOTHING
    reason = str(result.get("reason", ""))
    state = replace(state, comparisons=state.comparisons + 1, compared=reason)
    low = result.get("low")
    if state.phase != "probation" or low is None or not low > 0:  # as of one that is no number
        return state, NOTHING
    evidence = result | {"version": state.champion, "predecessor": state.predecessor}
    if model.policy.rollback == "automatic" and not state.kept:
        moved = _undone(replace(state, kept=True), str(state.champion), now)
        return moved, Decision("roll_back", reason, evidence | {"to": state.predecessor,
                                                                "from": state.champion})
    return acquitted(state, now), Decision("announce", reason, evidence)


def doubted(state: ModelState, found: dict[str, Any], labelled: int, at: datetime, *,
            model: Model) -> tuple[ModelState, Decision] | ModelState:
    """The state once a compressed champion left its limits; ``found`` are the numbers.

    Asks for a retrain where the policy wants that and one may start now.
    """
    if ("compression" not in model.policy.retrain.on or found["version"] != state.champion
            or _refusal(state, labelled, at, model) is not None):
        return state
    moved = replace(state, phase="retraining", since=at, predecessor=None)
    return moved, Decision("retrain", f"compression: {found['reason']}", {"compression": found})


def alerted(state: ModelState, reason: str, labelled: int, at: datetime, *, model: Model
            ) -> tuple[ModelState, Decision] | str:
    """The state once an alert asks for a retrain, or else why none may start now, in words."""
    refusal = _refusal(state, labelled, at, model)
    if refusal is not None:
        return refusal
    moved = replace(state, phase="retraining", since=at, predecessor=None)
    return moved, Decision("retrain", reason, _began(state))


def acquitted(state: ModelState, at: datetime) -> ModelState:
    """The state once probation ended without a better predecessor."""
    return _phase(replace(state, phase="stable", predecessor=None, since=at), at)


def _believe(state: ModelState, verdict: Verdict) -> ModelState:
    """What this verdict newly says of inputs and of quality; old news changes nothing."""
    inputs, quality = state.inputs, state.quality
    if "inputs" in verdict.news:
        inputs = verdict.inputs
    if "labels" in verdict.news and verdict.quality != "unknown":
        quality = verdict.quality
    return replace(state, inputs=inputs, quality=quality)


def _episode(state: ModelState, verdict: Verdict, model: Model
             ) -> tuple[ModelState, Decision | None]:
    alarms = model.policy.alarm_on
    if verdict.acknowledged and state.episode is not None and _explains(verdict, state.episode):
        return replace(state, episode=None, calm=0), Decision("clear", verdict.reason)
    drifted = ("drifted" in alarms and "inputs" in verdict.news and verdict.inputs == "drifted")
    degraded = ("degraded" in alarms and "labels" in verdict.news
                and verdict.quality == "degraded")
    if drifted or degraded or ("estimated" in alarms and _estimated(verdict)):
        name = state.episode or f"{verdict.model}/{isoformat(verdict.window.start)}"
        known = _peak(replace(state, episode=name, calm=0), verdict, drifted)
        if state.episode is not None:
            return known, None
        return known, Decision("alarm", verdict.reason, _evidence(verdict))
    new_window = verdict.revision == 0 and "inputs" in verdict.news
    if state.episode is None or not new_window or verdict.kind in {"unknown", "faulty"}:
        return state, None
    if ("drifted" in alarms and state.inputs == "drifted") or (
            "degraded" in alarms and state.quality == "degraded"):
        return state, None
    if "drifted" in alarms and not verdict.settled:
        return replace(state, calm=0), None
    if state.calm + 1 < CALM:
        return replace(state, calm=state.calm + 1), None
    closed = Decision("clear", f"{CALM} windows in a row without drift or degradation")
    return replace(state, episode=None, calm=0), closed


def _estimated(verdict: Verdict) -> bool:
    """Whether degradation is newly estimated, by estimates that labels do not refute."""
    return "inputs" in verdict.news and verdict.estimate.quality == "degraded"


def _explains(verdict: Verdict, episode: str) -> bool:
    """Whether what a person said of the window closes the episode.

    A fault closes the episode that its window opened; what was expected closes the one that its
    window is part of.
    """
    opened = parse_time(episode.rpartition("/")[2])
    if verdict.acknowledged == "fault":
        return opened == verdict.window.start
    return verdict.quality != "degraded" and verdict.window.end > opened


def _segment(state: ModelState, verdict: Verdict, model: Model) -> tuple[ModelState, Decision]:
    """A segment informs; where the policy wants, one that degrades opens an episode or keeps it."""
    worse = "labels" in verdict.news and verdict.quality == "degraded"
    if not worse or not model.policy.segments.alarm:
        return state, Decision("none", "segments inform; the verdict on all rows decides")
    known, decision = _episode(state, replace(verdict, news=("labels",)), model)
    told = decision and replace(decision, reason=f"{verdict.segment}: {decision.reason}")
    return _phase(known, verdict.known_at), told or NOTHING


def _peak(state: ModelState, verdict: Verdict, drifted: bool) -> ModelState:
    """The state with the episode's largest severity so far."""
    if not drifted or verdict.severity is None:
        return state
    if state.peak_of == state.episode and (state.peak or 0.0) >= verdict.severity:
        return state
    return replace(state, peak=verdict.severity, peak_at=verdict.window.start,
                   peak_of=state.episode)


def _phase(state: ModelState, at: datetime) -> ModelState:
    if state.phase in IN_FLIGHT:
        return state
    if state.phase == "rolled_back" and state.inputs == "unknown":
        return state
    phase: Phase
    if state.champion is None or state.inputs == "unknown":
        phase = "unknown"
    elif state.inputs == "faulty":
        phase = "faulty"
    else:
        phase = "suspect" if state.episode else "stable"
    if phase == "stable" and state.phase == "rolled_back" and state.quality == "unknown":
        return state
    return state if phase == state.phase else replace(state, phase=phase, since=at)


def _asks_for_retrain(verdict: Verdict, model: Model) -> str:
    """Why the verdict asks for a retrain; empty where it does not."""
    triggers = model.policy.retrain.on
    asks = ("labels" in verdict.news and (
        ("degraded" in triggers and verdict.quality == "degraded")
        or ("losing" in triggers and _lost(verdict) >= 1)
    )) or ("drifted" in triggers and "inputs" in verdict.news and verdict.inputs == "drifted"
          ) or ("estimated" in triggers and _estimated(verdict))
    return verdict.reason if asks else ""


def _follow_up(state: ModelState, verdict: Verdict, model: Model) -> tuple[str, str]:
    """Why one more is tried though nothing is lost, and the key that says so in the evidence; both
    empty where none is.

    A version that was made while the world moved is followed up; a blend is weighed anew, where
    nobody has to promote it, and on probation too once it was compared.
    """
    rule, blend = model.policy.retrain, state.blend
    wait, phases = (rule.reweigh, {"stable", "probation"} if state.comparisons else {"stable"}
                    ) if blend else (rule.follow_up, {"stable"})
    served = max((at for at in (state.adopted_at, state.looked_at) if at), default=None)
    if (not rule.on or wait is None or not state.retrained or served is None
            or state.phase not in phases or "labels" not in verdict.news
            or (blend and model.policy.promotion != "automatic")
            or verdict.known_at - served < wait):
        return "", ""
    more = format_duration(wait)
    if blend:
        return (f"version {state.champion} is a blend, and {more} more of labels are known to "
                f"weigh it by: {verdict.reason}", "reweigh")
    return (f"version {state.champion} was made while the world moved, and {more} more of the "
            f"new one are known: {verdict.reason}", "follow_up")


def _lost(verdict: Verdict) -> float:
    """How much of the promised quality is gone, in drops that count; 0 where nobody knows."""
    return 0.0 if verdict.promised is None else verdict.promised.lost


def _refusal(state: ModelState, labelled: int, known_at: datetime, model: Model) -> str | None:
    """Why no retrain may start now, in words; None when one may.

    One may end a probation once the predecessor was compared and did not prove to be better: it is
    among those that a retrain asks again.
    """
    rule = model.policy.retrain
    if model.training.kind == "none":
        return "training.kind is none, holdfast only monitors this model"
    if state.inputs == "faulty":
        return "the newest data is faulty, and faulty data is never trained on"
    compared_once = state.phase == "probation" and state.comparisons > 0
    if (state.phase in IN_FLIGHT and not compared_once) or state.request is not None:
        return f"the model is {state.phase.replace('_', ' ')} already"
    if state.cooldown_until is not None and known_at < state.cooldown_until:
        return (
            f"the cooldown of {format_duration(rule.cooldown)} lasts until "
            f"{isoformat(state.cooldown_until)}"
        )
    if labelled < rule.minimum_rows and not state.retrained:
        return (
            f"{labelled} labelled rows have matured since the reference, "
            f"{rule.minimum_rows} are asked for"
        )
    return None


def _began(state: ModelState) -> dict[str, Any]:
    """When the open episode began: from then on rows are of the new kind."""
    return {} if state.episode is None else {"since": state.episode.rpartition("/")[2]}


def _evidence(verdict: Verdict) -> dict[str, Any]:
    """The numbers that a person needs to follow the reason."""
    return {
        "window": [isoformat(verdict.window.start), isoformat(verdict.window.end)],
        "revision": verdict.revision,
        "known_at": isoformat(verdict.known_at),
        "n": verdict.n,
        "drifted": {
            result.feature: [result.statistic, result.value, result.threshold]
            for result in verdict.features
            if result.drifted
        },
        "performance": [
            {
                "metric": item.metric,
                "value": item.value,
                "low": item.low,
                "high": item.high,
                "n": item.n,
                "span": item.span,
            }
            for item in verdict.performance
            if item.value is not None
        ],
    }
