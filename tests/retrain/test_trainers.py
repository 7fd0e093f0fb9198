"""Trainers by name, and the document that shows how to bring one's own."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monitor.errors import HoldfastError
from monitor.kinds import ESTIMATORS, KINDS
from retrain.contract import default
from retrain.runtime import columns, session
from retrain.trainer import Options, Split, Unsupported
from retrain.trainers import BUILT_IN, trainer
from tests.retrain.real import elec_split
from tests.retrain.shop import request, shop, work

DOCUMENT = (Path(__file__).parents[2] / "docs" / "trainers.md").read_text()


@pytest.fixture
def documented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The document's example as the module that it says it is, importable here and in children."""
    [code] = [block for block in re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
              if "class " in block]
    package = tmp_path / "site" / "mymodels"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "means.py").write_text(code)
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("mymodels")]:
        del sys.modules[name]


def few() -> Split:
    data = elec_split()
    return replace(data, train=data.train.tail(3000).reset_index(drop=True))


def test_a_trainer_of_ones_own_does_all_that_is_asked(documented: Path) -> None:
    made: Any = trainer("mymodels.means:Means")
    options = Options("binary", categorical=("day",), classes=("DOWN", "UP"))
    fitted = made.fresh(few(), options)
    rows = few().holdout
    contract = default(rows, "binary", classes=("DOWN", "UP"))
    path = made.export(fitted, contract, documented / "m.onnx")
    got, scores = columns(session(path), rows), fitted.scores(rows)
    np.testing.assert_allclose(got["probability"],
                               1 / (1 + np.exp(scores[:, 0] - scores[:, 1])), atol=1e-4)
    assert np.mean(got["prediction"] == rows["_label"]) > 0.6
    loaded = made.load(made.save(fitted, documented / made.file))
    np.testing.assert_allclose(loaded.scores(rows), scores)
    tuned = made.tuned(loaded, few(), options)
    assert tuned.loss == pytest.approx(fitted.loss)
    with pytest.raises(Unsupported):
        made.pruned(fitted, 0.5, few(), options=options)


def test_a_trainer_of_ones_own_trains_a_champion(documented: Path) -> None:
    path = shop(documented, f"sqlite:///{documented / 'mlflow.db'}", kind="mymodels.means:Means",
                prune=[])
    outcome = work(request(path, "bootstrap", options={"report": False}), documented)
    assert (outcome.status, outcome.version) == ("registered", "1")


def test_what_is_no_trainer_is_told_in_words() -> None:
    for kind, words in (("nothing", "right would be one of torch"),
                        ("no_such_module:Thing", "cannot be imported"),
                        ("pathlib:Path", "lacks fresh, tuned")):
        with pytest.raises(HoldfastError, match=words):
            trainer(kind)


def test_the_kinds_that_the_configuration_knows_are_those_that_there_are() -> None:
    assert set(KINDS) == {"none", *BUILT_IN}
    assert all(f"| `{kind}` |" in DOCUMENT for kind in KINDS)


def test_the_document_names_every_setting_and_its_default() -> None:
    table = re.findall(r"^\| (?:`(\w+)` )?\| `(\w+)` \| ([\d.]+) \|", DOCUMENT, re.MULTILINE)
    told: dict[str, dict[str, float]] = {}
    for estimator, name, value in table:
        told.setdefault(estimator or list(told)[-1], {})[name] = float(value)
    assert told == {estimator: {name: item.default for name, item in settings.items()}
                    for estimator, settings in ESTIMATORS.items()}
