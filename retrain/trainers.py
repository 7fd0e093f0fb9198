"""Trainers by name: the built-in ones, or anybody's class by its import path."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from monitor.errors import HoldfastError
from monitor.kinds import EXTRAS, importable
from retrain.trainer import Trainer

BUILT_IN = {"torch": "retrain.tabular:Tabular", "torch-image": "retrain.image:Image",
            "torch-text": "retrain.text:Text",
            "transformers-text": "retrain.passages:Passages",
            "sklearn": "retrain.scikit:Scikit"}
"""Value of ``training.kind`` -> import path of the class; imported when asked for."""

METHODS = ("fresh", "tuned", "pruned", "capped", "export", "quantized", "save", "load", "varied")


def trainer(kind: str) -> Trainer:
    """The trainer of this ``training.kind``.

    ``HoldfastError`` where there is none, naming what would be right.
    """
    if lacking := [name for name in EXTRAS.get(kind, ()) if not importable(name)]:
        raise HoldfastError(f"training.kind: {kind!r} needs {' and '.join(lacking)}, which is not "
                            "installed here; right would be: pip install "
                            "'holdfast[retrain,transformers]'")
    path = BUILT_IN.get(kind, kind)
    module, _, name = path.partition(":")
    if not name:
        raise HoldfastError(f"training.kind: {kind!r} is no trainer; right would be one of "
                            f"{', '.join(BUILT_IN)}, or the import path package.module:Class")
    try:
        made = getattr(import_module(module), name)()
    except (ImportError, AttributeError, TypeError) as error:
        raise HoldfastError(f"training.kind: {kind!r} cannot be imported: {error}") from error
    absent = [method for method in (*METHODS, "file") if not hasattr(made, method)]
    if absent:
        raise HoldfastError(f"training.kind: {kind!r} lacks {', '.join(absent)}; right would be a "
                            "class with every method of retrain.trainer.Trainer")
    return cast(Trainer, made)
