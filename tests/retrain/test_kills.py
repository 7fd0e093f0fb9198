"""A retrain killed at its most delicate moments; ``tests.story.kills`` kills it at all of them."""

from __future__ import annotations

from pathlib import Path

from tests.story.kills import differences, killed, set_up, told

MOMENTS = ["file search/trial-1/model.onnx", "artifact model.onnx", "after a new version of 'shop'"]
"""A trial is half done; the model is half there; it is a version that nothing points at."""


def test_killed_anywhere_it_leaves_one_run_one_model_and_one_version(tmp_path: Path) -> None:
    stage = set_up(tmp_path, "sklearn", forked=True, spans=((2, 20),), ladder=["search"],
                   windows=["all"], prune=[], search={"trials": 2}, settings={"trees": 20})
    asked = stage.ask(report=False)
    toll = killed(stage, asked, MOMENTS, list(range(len(MOMENTS))), late=0.0)
    assert (toll.at, toll.wrong) == (MOMENTS, [])
    found = told(stage, asked)
    assert found["outcome"].startswith("registered: Passed")
    assert differences(found, found, free=False) == []
    assert [name for name, *_ in found["nested"]] == ["search", "trial-0", "trial-1"]
