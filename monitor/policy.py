"""Policy: the sections of the configuration that say what to bear and what to do."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from monitor.conditions import Gate
from monitor.fields import Duration, Section
from monitor.kinds import require_kind, require_settings


def _per(value: Any, names: tuple[str, str], number: str, example: str) -> Any:
    """`NUMBER per DURATION` as a mapping of these names; a mapping is left to the fields."""
    if not isinstance(value, str | int | float):
        return value
    match = re.fullmatch(rf"\s*({number})\s+per\s+(\d+(?:\.\d+)?[smhdw])\s*", f"{value}")
    if match is None:
        raise ValueError(f"{value!r} is no number per time; write `{example}`")
    return dict(zip(names, match.groups(), strict=True))


class PerformancePolicy(Section):
    """What counts as too bad."""

    metric: (
        Literal[
            "accuracy",
            "balanced_accuracy",
            "f1",
            "precision",
            "recall",
            "roc_auc",
            "average_precision",
            "log_loss",
            "brier",
            "mae",
            "rmse",
            "mape",
            "r2",
        ]
        | None
    ) = None
    """Metric that decides. Default: accuracy, or mae for regression. `roc_auc` and
    `average_precision` need a score and two classes."""
    drop: float = Field(default=0.03, gt=0)
    """How much worse than the reference is too bad, in the metric's units (for mae, rmse
    and mape: as a share of the reference value)."""
    error_drift: Literal["off", "inform", "alarm"] = "inform"
    """Whether the stream of errors is watched for a change, which tells slow degradation earlier
    than the pool: in words, or as `degraded`. Alarming takes its share of the alarm budget."""
    rows: int = Field(default=1000, ge=30)
    """Newest matured windows are pooled until they hold this many rows (and a week)."""


class Allowance(Section):
    """So many times in so much event time, written as `1 per 70d`; some can be saved."""

    times: int = Field(ge=0)
    """Times ..."""
    per: Duration
    """... in this much event time."""
    saved: int = Field(default=3, ge=1)
    """Most of them that are saved up for worse days."""

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, value: Any) -> Any:
        return _per(value, ("times", "per"), r"\d+", "1 per 70d")


class RetrainPolicy(Section):
    """When a retrain may start by itself."""

    on: list[Literal["losing", "degraded", "drifted", "estimated", "compression"]] = [
        "losing", "degraded"]
    """Verdicts that may start one. `losing` is a pool worse by `performance.drop` that chance could
    still explain: no reason to wake a person, and reason enough to look for a better version, which
    the gate must find better. `estimated` is degradation that is estimated without labels,
    `compression` a compressed champion that left the limits that its calibration promised."""
    alerts: list[str] = []
    """Names of alerts that may start one when Alertmanager sends them to `POST /hooks/alertmanager`
    with the model's label, such as `HoldfastDegraded`; empty: none. Each episode of an alert asks
    once, and cooldown, rest and allowance hold as for verdicts."""
    cooldown: Duration = timedelta(days=7)
    """Shortest time between two, whatever became of the first: `7d` are five in any 30 days at
    most, `30d` one."""
    rest: Duration = timedelta(days=30)
    """Shortest time between two that fit weights; in between only what is cheap is tried: an
    earlier version again, bent answers, new int8 ranges. A loss of twice `performance.drop`
    against what the version promised ends the rest, unless nothing came of the last training."""
    trainings: Allowance = Allowance(times=1, per=timedelta(days=70))
    """How often weights are fitted, whatever is lost; what is cheap is tried all the same."""
    follow_up: Duration | None = timedelta(days=60)
    """So long after a version came from a retrain, or after one was looked for in vain, one more is
    tried though nothing is lost: a version that was made while the world moved knows few rows of
    the new one. Never where the first version still serves; `null` for never."""
    reweigh: Duration | None = timedelta(days=14)
    """So long after a blend was promoted or looked at, its models are weighed anew by the newest
    labels, and no weights are fitted unless a `follow_up` is due. Only where promotion is
    automatic; `null` for never."""
    minimum_rows: int = Field(default=2000, ge=100)
    """Matured labelled rows needed since the reference period of a champion that holdfast did not
    train."""


class Probation(Section):
    """How a promoted version is watched."""

    length: Duration = timedelta(days=14)
    """How long it is watched after its first logged row."""
    rows: int = Field(default=200, ge=30)
    """Matured rows needed before it is compared with its predecessor."""


class Shadow(Section):
    """How a challenger that waits for a person is compared with the champion meanwhile."""

    every: Duration = timedelta(days=1)
    """How often newer rows are scored with both, and older ones again once their labels came."""
    rows: int = Field(default=5000, ge=0)
    """Most rows that leave the log for one comparison; 0 switches it off."""


class CompressionPolicy(Section):
    """How a compressed champion is held against its uncompressed form."""

    every: Duration = timedelta(days=1)
    """How often both are asked about the newest rows."""
    span: Duration = timedelta(days=7)
    """How much of the newest event time those rows are of."""
    rows: int = Field(default=2000, ge=0)
    """Most rows that leave the log for it; 0 switches it off."""


class AlarmBudget(Section):
    """How many false alarms people can bear."""

    alarms: float = Field(default=1.0, gt=0)
    """Alarms ..."""
    per: Duration = timedelta(days=90)
    """... in this much event time, while nothing changed."""

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, value: Any) -> Any:
        return _per(value, ("alarms", "per"), r"\d+(?:\.\d+)?", "1 per 90d")


class SegmentPolicy(Section):
    """How the groups of ``log.segments`` are judged."""

    min_rows: int = Field(default=50, ge=10)
    """A group has a reference of its own from this many reference rows on (and never under
    ``privacy.min_count``), and its windows are judged on their inputs from as many rows on."""
    most: int = Field(default=50, ge=1, le=1000)
    """Most groups with a reference of their own: those with the most rows."""
    alarm: bool = False
    """Whether a group that degrades opens an episode. Degradation's half of the alarm budget is
    then shared: one half for all rows, the other one among the groups."""


class Policy(Section):
    """What to do about verdicts."""

    alarm_budget: AlarmBudget = AlarmBudget()
    """Drift and degradation episodes to bear while nothing changed, as `1 per 90d`."""
    alarm_on: list[Literal["degraded", "estimated", "drifted"]] = [
        "degraded", "estimated", "drifted"]
    """What opens an episode. Where labels come soon, `[degraded]` keeps quiet about drift that
    costs nothing: verdicts still tell it, and the whole alarm budget is degradation's."""
    fault_budget: AlarmBudget = AlarmBudget()
    """False findings of broken data that can be borne, beside those of drift and degradation."""
    statistics: list[Literal["psi", "js", "ks", "wasserstein", "chi2"]] = ["psi"]
    """Statistics that may raise an alarm; the budget is shared among them."""
    thresholds: Literal["calibrated", "evidently", "nannyml"] = "calibrated"
    """`calibrated` keeps the alarm budget. `evidently` and `nannyml` are those tools' default
    rules, which know no budget: for comparisons."""
    control: Literal["joint", "holm", "benjamini_hochberg"] = "joint"
    """How many tests become one verdict: one limit on the largest surprise of all (columns that
    move together count once), or Holm's or Benjamini and Hochberg's procedure on their p-values."""
    slow_drift: bool = True
    """Also test the newest windows together (whole days, weeks, four weeks), within the budget."""
    minimum_effect: dict[Literal["psi", "js", "ks", "wasserstein", "chi2"], float] = {"psi": 0.1}
    """A shift smaller than this is never an alarm, however certain it is."""
    minimum_importance: float = Field(default=0.0, ge=0, lt=1)
    """Features with a smaller share of what all features are worth to the version never alarm;
    0 lets all of them. They are still measured and shown."""
    performance: PerformancePolicy = PerformancePolicy()
    """What counts as too bad."""
    segments: SegmentPolicy = SegmentPolicy()
    """How the groups of ``log.segments`` are judged."""
    retrain: RetrainPolicy = RetrainPolicy()
    """When a retrain may start by itself."""
    promotion: Literal["manual", "automatic"] = "manual"
    """Who moves the alias `champion` to a challenger that passed the gate."""
    rollback: Literal["manual", "automatic"] = "manual"
    """Whether a promotion that proves to be a mistake is undone or only announced."""
    probation: Probation = Probation()
    """How a promoted version is watched."""
    compression: CompressionPolicy = CompressionPolicy()
    """How a compressed champion is held against its uncompressed form."""
    shadow: Shadow = Shadow()
    """How a challenger that waits for a person is compared with the champion meanwhile."""


class Search(Section):
    """What a search for hyperparameters and architecture may cost."""

    trials: int = Field(default=40, ge=1)
    """Most trials."""
    minutes: float = Field(default=20.0, gt=0)
    """Most minutes of trials, and about as many again to prove the best of them on earlier rows and
    from other seeds; where runs must be comparable let the trials end first."""
    workers: int = Field(default=1, ge=1, le=64)
    """Processes that try at a time; with one a search is repeatable but for measured times."""


class Training(Section):
    """How a candidate is made."""

    kind: str = "none"
    """`none` only monitors; `torch` trains a network over tables, `torch-image` one over a column
    of images, `torch-text` one over columns of text, `transformers-text` a pretrained transformer
    over them (an extra), `sklearn` an estimator of scikit-learn; `package.module:Class` is a
    trainer of your own (docs/trainers.md)."""
    estimator: Literal["hist_gradient_boosting", "random_forest", "linear"] = (
        "hist_gradient_boosting")
    """Which estimator `sklearn` trains."""
    settings: dict[str, Any] = {}
    """Settings of the trainer itself; those of each kind are in docs/trainers.md."""
    seed: int = 0
    """Makes a run repeatable."""
    window: Duration = timedelta(days=90)
    """How much of the newest matured event time is trained on."""
    max_rows: int = Field(default=200_000, ge=1000)
    """Most rows that leave the log for one training; more are hash-sampled."""
    holdout: Duration = timedelta(days=14)
    """Newest matured event time that only the gate sees. Less, where the log is shorter than
    `window` and `holdout` together (the same share of what there is), or where the drift began
    lately (so that there is some of it to learn from; a quarter of this at least)."""
    embargo: Duration = timedelta(days=1)
    """Event time left out before the validation rows and before the holdout, so that rows are not
    judged by their neighbours; as long as what a label speaks of is right where labels look ahead
    (a stay of two weeks: `14d`)."""
    windows: list[Literal["all", "since", "recent", "reference"]] = [
        "all", "since", "recent", "reference"]
    """Which rows to try to train on; validation chooses. `all` of the window; those `since` the
    drift began; its most `recent` third; the `reference` period beside it, older rows counting
    less."""
    half_life: Duration | None = None
    """Age at which a row counts half, for `reference`; default: half of `window`."""
    search: Search = Search()
    """What a search may cost."""
    class_balance: Literal["none", "balanced"] = "none"
    """`balanced` lets all classes count the same in training; probabilities then speak of such a
    balanced world until they are recalibrated."""
    epochs: int = Field(default=30, ge=1)
    """Most passes over the training rows."""
    widths: list[int] = [64, 128]
    """Hidden-layer widths tried when training from scratch."""
    accuracy_budget: float = Field(default=0.01, ge=0)
    """How much quality compression may cost, in the metric's units."""
    minimum_gain: float = Field(default=0.002, ge=0)
    """How much better than the champion a candidate must be on the holdout, in the metric's units
    (for mae, rmse and mape: as a share)."""
    gate: Gate = Gate()
    """What else a candidate must keep."""
    prune: list[float] = [0.7, 0.5, 0.3]
    """Shares of hidden units to try to remove, largest first."""
    deadline: Duration = timedelta(hours=1)
    """Longest time that one training may take."""
    memory: str | None = Field(default=None, pattern=r"^\d+(\.\d+)?\s*(MB|GB|TB)$")
    """Most memory that one training may use, such as `8GB`; each further worker of a search may use
    as much. Default: what the machine has. On a GPU its driver counts, and a limit is no use."""
    ladder: list[Literal["recall", "blend", "probabilities", "ranges", "tune", "refit",
                         "search"]] = [
        "recall", "blend", "probabilities", "ranges", "tune", "refit"]
    """Actions to try, in this order, until one gains enough: an earlier version again, several
    models that earlier trainings fitted answering together, the champion's answers bent to the
    newest labels, its int8 ranges taken anew, the champion fine-tuned, a model from scratch (of
    trees before fine-tuning, which costs more).
    `search` is tried where it is named: it takes minutes. Where a blend serves, `blend` weighs its
    models anew; what is fitted is blended at once."""
    blend: int = Field(default=8, ge=2)
    """Most models of a blend. It is as large and as slow as they are together (`gate.max_size`,
    `gate.max_latency`); without `blend` in the ladder none is made, and no models are
    kept for it."""
    enough: float = Field(default=0.5, ge=0, le=1)
    """Share of what the champion lost, against what it promised, that ends the ladder early."""
    renew: bool = True
    """Whether a candidate that passed is trained once more, by the same recipe, on all rows and
    the holdout too: so that what is registered knows the newest rows. What was measured is then
    the recipe; `false` registers the very artifact that the gate saw."""
    budget: Duration = timedelta(minutes=30)
    """Time after which no further action is begun; the best so far is taken."""

    @field_validator("kind")
    @classmethod
    def _kind(cls, value: str) -> str:
        require_kind(value)
        return value

    @model_validator(mode="after")
    def _settings(self) -> Training:
        if self.kind == "sklearn":
            require_settings(self.estimator, self.settings)
        return self
