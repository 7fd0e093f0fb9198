"""The gate: words and numbers, no version forgotten, and compression only when it is proven."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from retrain.evaluate import Answers, Scores, answer, score, session
from retrain.export import to_onnx
from retrain.finetune import Split, train
from retrain.gate import choose, gate
from retrain.prune import prune
from retrain.quantize import quantize
from tests.retrain.real import ELEC, elec, elec_champion, elec_split
from tests.retrain.test_export import elec_contract


def scored(name: str, right: float, rows: int = 1400, seed: int = 0) -> Scores:
    """Four weeks of answers of which this share is right; the same rows for everyone."""
    rng = np.random.default_rng(0)
    labels = np.where(rng.random(rows) < 0.5, "UP", "DOWN")
    times = pd.date_range("2026-01-01", periods=rows, freq=f"{28 * 86400 // rows}s")
    frame = pd.DataFrame({"_label": labels, "_timestamp": times})
    wrong = np.random.default_rng(seed).random(rows) >= right
    said = np.where(wrong, np.where(labels == "UP", "DOWN", "UP"), labels)
    return score(name, Answers(said, None, ("DOWN", "UP")), frame, contract=elec_contract(),
                 metrics=("accuracy",))


def test_a_better_candidate_passes_and_the_words_hold_the_numbers() -> None:
    result = gate(scored("new", 0.9), scored("version 3", 0.8), [scored("version 1", 0.7)],
                  metric="accuracy", gain=0.01)
    assert result.passed
    assert result.reason.startswith("Passed on the newest 1400 holdout rows.")
    assert "0.906 is 0.114 better than the 0.791 of version 3, the champion" in result.reason
    assert "0.687 of version 1, an earlier version" in result.reason
    assert [row["against"] for row in result.table] == ["version 3", "version 1"]


def test_a_candidate_that_gains_too_little_over_the_champion_is_refused() -> None:
    new, champion = scored("new", 0.83), scored("version 3", 0.80)
    refused = gate(new, champion, [], metric="accuracy", gain=0.1)
    assert not refused.passed
    assert "at least 0.100 better is asked" in refused.reason
    assert gate(new, champion, [], metric="accuracy", gain=0.01).passed
    assert not gate(champion, new, [], metric="accuracy").passed


def test_nothing_worse_than_an_earlier_version_passes() -> None:
    result = gate(scored("new", 0.80), scored("version 3", 0.70),
                  [scored("version 2", 0.75), scored("version 1", 0.82)],
                  metric="accuracy", gain=0.01)
    assert not result.passed
    assert "version 1" in result.reason
    assert "version 2" not in result.reason


def test_few_rows_judge_nobody() -> None:
    result = gate(scored("new", 1.0, 50), scored("old", 0.1, 50), [], metric="accuracy",
                  gain=0.01)
    assert not result.passed
    assert "50 labelled rows" in result.reason


def test_without_a_champion_there_is_nobody_to_beat() -> None:
    assert gate(scored("new", 0.8), None, [], metric="accuracy", gain=0.01).passed


def test_without_logged_scores_accuracy_decides_and_that_is_said() -> None:
    result = gate(scored("new", 0.9), scored("old", 0.8), [], metric="log_loss", gain=0.01)
    assert result.passed
    assert "log_loss needs scores that are not logged" in result.reason


def seasons(folder: Path) -> dict[str, Scores]:
    """Answers about the four weeks before August 1998 by versions trained in two seasons."""
    holdout = elec("1998-07-04", "1998-08-01")
    winter = Split(elec("1998-03-01", "1998-06-20"), elec("1998-06-20", "1998-07-04"), holdout)
    candidate = train(winter, ELEC)
    found = {}
    for name, fitted in {"version 1": elec_champion(), "candidate": candidate}.items():
        path = to_onnx(fitted, elec_contract(), folder / f"{name}.onnx")
        found[name] = score(name, answer(session(path), holdout, elec_contract()), holdout,
                            contract=elec_contract(), metrics=("accuracy",))
    return found


def test_on_elec2_a_candidate_worse_than_the_very_first_version_is_refused(
        tmp_path: Path) -> None:
    """August 1998: the season of the first training is back, and its model is best again."""
    found = seasons(tmp_path)
    champion = replace(found["candidate"], name="version 2")
    result = gate(found["candidate"], champion, [found["version 1"]], metric="accuracy",
                  gain=0.0)
    assert not result.passed
    assert "version 1" in result.reason


def points(folder: Path, rows: pd.DataFrame) -> list[Scores]:
    found = []
    for share in (0.0, 0.3, 0.85):
        fitted = prune(elec_champion(), share)
        path = to_onnx(fitted, elec_contract(), folder / f"{share}.onnx")
        small = quantize(path, folder / f"{share}-int8.onnx", calibration=elec_split().train)
        for name, artifact in ((f"pruned {share}", path), (f"pruned {share} int8", small)):
            plain = score(name, answer(session(artifact), rows, elec_contract()), rows,
                          contract=elec_contract(), metrics=("accuracy",))
            found.append(plain.measured(size_bytes=artifact.stat().st_size, latency={}))
    return found


def test_the_cheapest_point_within_the_budget_is_taken(tmp_path: Path) -> None:
    found = points(tmp_path, elec_split().validation)
    choice = choose(found, reference=found[0], metric="accuracy", budget=0.01)
    assert choice.scores.name == "pruned 0.0 int8"  # pruning without recovery costs too much
    assert "times smaller" in choice.reason
    assert [row["within"] for row in choice.table][-2:] == [False, False]


def test_too_few_rows_keep_it_uncompressed_and_that_is_said(tmp_path: Path) -> None:
    found = points(tmp_path, elec_split().validation.head(250))
    choice = choose(found, reference=found[0], metric="accuracy", budget=0.01)
    assert choice.scores is found[0]
    assert "250 validation rows are too few" in choice.reason
    assert "300 are needed" in choice.reason


def test_no_budget_no_compression() -> None:
    one = scored("fp32", 0.9)
    assert choose([one], reference=one, metric="accuracy", budget=0.0).scores is one
