"""Movement: kinds of drift told apart, ranked by what matters."""

from __future__ import annotations

from datetime import timedelta

from monitor.drift import Comparison, DriftResult
from monitor.importance import Importances
from monitor.movement import weighed, words

DAY = timedelta(days=1)
WORTH = Importances("permutation", "accuracy", 500, {"price": (0.02, 0.001), "demand": (0.06, 0.0),
                                                     "day": (0.0, 0.0)})


def moved(name: str, value: float, drifted: bool = True) -> DriftResult:
    return DriftResult(name, "", "psi", value, 0.1, 0.0, 1000, drifted)


RESULTS = (moved("price", 0.4), moved("demand", 0.2), moved("prediction:answer", 0.3),
           moved("label:truth", 0.5), moved("score:p", 0.05, drifted=False))


def heavy(importance: Importances) -> tuple[DriftResult, ...]:
    return weighed(Comparison(RESULTS, 5.0, False), importance, 0.0).results


def test_inputs_answers_and_labels_are_told_apart() -> None:
    assert words(RESULTS, DAY) == (
        "moved: price (psi 0.4, threshold 0.1), demand (psi 0.2, threshold 0.1); "
        "answers moved: answer (psi 0.3, threshold 0.1); "
        "labels moved: truth (psi 0.5, threshold 0.1)")
    assert words((), DAY) == ""


def test_what_matters_comes_first() -> None:
    told = words(heavy(WORTH), DAY, WORTH)
    assert told.startswith("moved: demand (psi 0.2, threshold 0.1, matters: 75 %), "
                           "price (psi 0.4, threshold 0.1, matters: 25 %); answers moved: answer")
    about = Importances("surrogate", "x", 9, WORTH.drops, 0.8)
    assert "matters: about 75 %" in words(heavy(about), DAY, about)


def test_what_hardly_matters_may_be_kept_from_alarming_and_is_still_measured() -> None:
    told = weighed(Comparison((*RESULTS, moved("day", 0.9)), 9.0, False), WORTH, 0.3)
    assert told.severity == 5, "of the labels, not of the day"
    assert not told.calm
    found = {item.feature: item for item in told.results}
    assert found["demand"].drifted
    assert not found["price"].drifted
    assert not found["day"].drifted
    assert found["day"].value == 0.9
    assert found["prediction:answer"].drifted, "what is no feature has no importance"


def test_many_are_counted() -> None:
    told = words([moved(f"c{place}", 0.2 + place / 10) for place in range(5)], DAY)
    assert told.startswith("moved: c4 ")
    assert told.endswith(" and 2 more")


def test_slow_drift_tells_its_span() -> None:
    slow = DriftResult("price", "", "psi", 0.3, 0.1, 0.0, 1000, True, 7)
    assert words([slow], DAY) == "moved: price (psi 0.3, threshold 0.1 over 7d)"
