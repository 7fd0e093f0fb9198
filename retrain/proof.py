"""Proof: whether the options of a trial are no worse than the default ones, and worth taking.

Of many trials one always suits one stretch, and of many seeds one. So what looks good on validation
is fitted to earlier rows too, each time judged on those that followed, and again from other seeds;
gaps are means over these.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from monitor.performance import RELATIVE
from retrain.evaluate import Scores, answer, compare, score, session
from retrain.front import Tried, able, cheaper
from retrain.quest import SEEDS, Quest
from retrain.trainer import Options, Split
from retrain.trials import DEFAULT, options_of

TOLERANCE = 0.005
"""How much worse than the default a choice may be, in the metric (for mae, rmse and mape: as a
share)."""

BETTER = 20.0
"""What a hundredth of quality is worth: as much as being smaller or faster by a fifth."""

FINALISTS = 8
"""Trials that are asked to prove themselves."""

FOLDS = ((0.4, 0.6), (0.6, 0.8), (0.8, 1.0))
"""Shares of the training rows: fitted up to the first, judged on what follows up to the second."""


@dataclass(frozen=True, slots=True)
class Proven:
    """A trial that proved itself, its options, and how much worse it was on each stretch."""

    trial: Tried
    options: Options
    gaps: tuple[float, ...]


@dataclass(slots=True)
class Proof:
    """The default options beside those of trials, on validation and on earlier stretches."""

    quest: Quest
    default: Tried
    _known: dict[tuple[str, int], list[Scores]] = field(default_factory=dict)

    def best(self, tried: Sequence[Tried], minutes: float) -> Proven | None:
        """The one that is worth most of those that prove themselves in time."""
        until, found = time.monotonic() + 60 * minutes, list[Proven]()
        for item in self._promising(tried)[:FINALISTS]:
            options = options_of(self.quest, item.params)
            gaps = self._gaps(item, options)
            if gaps is not None and proven(gaps):
                found.append(Proven(item, options, gaps))
            if time.monotonic() > until:
                break
        return max(found, default=None, key=lambda one: worth(
            one.trial, self.default, mean(one.gaps)))

    def _promising(self, tried: Sequence[Tried]) -> list[Tried]:
        """Those nowhere dearer and not far worse on validation, the worthiest first; not of the
        front alone, which one lucky fit may hold against all that are better earlier."""
        cheap = [item for item in able(tried) if nowhere_dearer(item, self.default)]
        if not cheap:
            return []
        standing = [fits[0] for fits in self._defaults()]
        worths = [(worth(item, self.default, self._gap(self._now(item), standing)), item)
                  for item in cheap]
        return [item for value, item in sorted(
            worths, key=lambda entry: -entry[0]) if value > 0]

    def _gaps(self, item: Tried, options: Options) -> tuple[float, ...] | None:
        """How much worse on validation and on each earlier stretch; None where fewer fits than
        ``SEEDS`` already show it worse."""
        for seeds in range(1, SEEDS):
            if mean(self._means(item, options, seeds)) > TOLERANCE:
                return None
        return self._means(item, options, SEEDS)

    def _means(self, item: Tried, options: Options, seeds: int) -> tuple[float, ...]:
        """How much worse on each stretch so many fits of the item are than those of the default:
        means of all pairs, since one seed of either may be lucky."""
        ours = [self._fits(item, options, seed) for seed in range(seeds)]
        return tuple(
            statistics.fmean(self._gap(one, theirs) for one in each)
            for each, theirs in zip(zip(*ours, strict=True), zip(*self._defaults(), strict=True),
                                    strict=True))

    def _defaults(self) -> list[list[Scores]]:
        return [self._fits(self.default, self.quest.options, seed) for seed in range(SEEDS)]

    def _fits(self, item: Tried, options: Options, seed: int) -> list[Scores]:
        """Models of these options on validation and on each earlier stretch."""
        key = (item.folder, seed)
        if key not in self._known:
            again = replace(options, seed=options.seed + seed)
            now = self._now(item) if seed == 0 else self._fitted(self.quest.data, again, item, seed)
            self._known[key] = [now, *(self._fitted(part, again, item, seed)
                                       for part in self._earlier())]
        return self._known[key]

    def _now(self, item: Tried) -> Scores:
        """The trial's own artifact on validation."""
        name = f"{item.folder}/model.onnx" if item.folder else "default.onnx"
        return self._scored(item, self.quest.folder / name, self.quest.data)

    def _earlier(self) -> list[Split]:
        rows = self.quest.data.train
        cuts = [(int(len(rows) * end), int(len(rows) * until)) for end, until in FOLDS]
        return [Split(rows.iloc[:cut].reset_index(drop=True),
                      rows.iloc[cut:last].reset_index(drop=True), self.quest.data.holdout)
                for cut, last in cuts]

    def _fitted(self, part: Split, options: Options, item: Tried, seed: int) -> Scores:
        """A model on a stretch: the default, or what the defaults there taught."""
        quest, end = self.quest, len(part.train)
        defaults = DEFAULT if part is quest.data else f"proof/default-{end}"
        if item is self.default:
            place = quest.place(defaults, seed)
            fitted = quest.default(part, defaults, seed)
        else:
            place = quest.folder / "proof" / f"{item.folder}-{end}-{seed}"
            fitted = quest.fitted(part, options, teachers=defaults, folder=place)
        place.mkdir(parents=True, exist_ok=True)
        artifact = quest.trainer.export(fitted, quest.contract, place / "model.onnx")
        return self._scored(item, artifact, part)

    def _scored(self, item: Tried, artifact: Path, part: Split) -> Scores:
        rows, contract = part.validation, self.quest.contract
        return score(item.folder or "default", answer(session(artifact), rows, contract), rows,
                     contract=contract, metrics=(self.quest.metric,))

    def _gap(self, one: Scores, others: Sequence[Scores]) -> float:
        """How much worse ``one`` is than the others on average; errors as a share of theirs."""
        metric = self.quest.metric
        values = [other.quality[metric].value for other in others]
        unit = abs(statistics.fmean(value for value in values if value is not None)) if (
            metric in RELATIVE and all(values)) else 1.0
        return statistics.fmean(compare(one, other, metric).difference for other in others) / unit


def nowhere_dearer(item: Tried, default: Tried) -> bool:
    """Whether it is at least as small and as fast, and smaller or faster."""
    smaller, faster = cheaper(item, default)
    return min(smaller, faster) >= 1 and max(smaller, faster) > 1


def worth(item: Tried, default: Tried, gap: float) -> float:
    """How much such a trial is worth over the default, 0 where it is far worse.

    The logarithm of how much smaller and faster it is, and its gain in quality.
    """
    smaller, faster = cheaper(item, default)
    return math.log(smaller * faster) - BETTER * gap if gap <= 4 * TOLERANCE else 0.0


def proven(gaps: Sequence[float]) -> bool:
    """Whether it is no worse on average, and by no more than ``TOLERANCE`` on the first, the newest
    stretch, and with a standard error.

    No stretch counts for more than four times that, so that one where the default fails
    altogether does not decide. One that cannot be told of, such as ``roc_auc`` where every label
    is the same, counts for nothing.
    """
    most = 4 * TOLERANCE
    held = [max(-most, min(gap, most)) for gap in gaps if math.isfinite(gap)]
    if len(held) < 2:
        return False
    middle, spread = statistics.fmean(held), statistics.stdev(held) / math.sqrt(len(held))
    return gaps[0] <= TOLERANCE and middle <= 0 and middle + spread <= TOLERANCE


def mean(gaps: Sequence[float]) -> float:
    """The mean of the stretches that can be told of; of none it is no number."""
    known = [gap for gap in gaps if math.isfinite(gap)]
    return statistics.fmean(known) if known else math.nan
