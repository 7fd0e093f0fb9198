"""Pretrained: a local folder with a transformer, its weights and its tokenizer, as Hugging Face's
libraries write one. Nothing is downloaded, no code of the folder is run, no pickle is read."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monitor.errors import HoldfastError

WHERE = "training.settings.folder"

WEIGHTS = ("model.safetensors", "model.safetensors.index.json")


@dataclass(frozen=True, slots=True)
class Pretrained:
    """A transformer's body with its weights, its configuration and its tokenizer as JSON."""

    body: Any
    config: str
    tokenizer: str


def pretrained(folder: str) -> Pretrained:
    """What the folder holds; ``HoldfastError`` in words where that is no encoder of texts."""
    from transformers import AutoConfig, AutoModel

    path = Path(folder).expanduser()
    tokenizer = _read(path)
    with quiet():
        try:
            config = AutoConfig.from_pretrained(path, local_files_only=True,
                                                trust_remote_code=False)
            body, found = AutoModel.from_pretrained(
                path, config=config, local_files_only=True, trust_remote_code=False,
                use_safetensors=True, attn_implementation="eager", dtype="float32",
                output_loading_info=True)
        except (OSError, RuntimeError, ValueError, KeyError, ImportError) as error:
            raise HoldfastError(f"{WHERE}: {path} cannot be read: {error}") from error
    absent = [name for name in found["missing_keys"] if not name.startswith("pooler")]
    if absent:
        raise HoldfastError(f"{WHERE}: the weights of {path} lack {absent[:3]}; right would be all "
                            "weights of the model that config.json names")
    return Pretrained(bare(body), _portable(config), tokenizer)


def body(config: str) -> Any:
    """The body that a configuration describes, untrained."""
    from transformers import AutoConfig, AutoModel

    values = json.loads(config)
    with quiet():
        return bare(AutoModel.from_config(
            AutoConfig.for_model(values.pop("model_type"), **values),
            attn_implementation="eager"))


def _portable(config: Any) -> str:
    """The configuration as JSON, without where it was found."""
    values = json.loads(config.to_json_string(use_diff=False))
    return json.dumps({name: value for name, value in values.items()
                       if not name.startswith("_")} | {"model_type": config.model_type},
                      sort_keys=True)


def bare(module: Any) -> Any:
    """The body without the layer that pools its first token, as all tokens are averaged here."""
    if getattr(module, "pooler", None) is not None:
        module.pooler = None
    return module


def _read(path: Path) -> str:
    """The tokenizer as JSON, once the folder holds what is needed and nothing that is not taken."""
    lacking = [name for name in ("config.json", "tokenizer.json") if not (path / name).is_file()]
    if not any((path / name).is_file() for name in WEIGHTS):
        lacking.append(WEIGHTS[0])
    if lacking:
        raise HoldfastError(f"{WHERE}: {path} holds no {' and no '.join(lacking)}; right would be "
                            "a folder on this machine that save_pretrained of a model and of its "
                            "fast tokenizer wrote (nothing is downloaded, pickles are not read)")
    told: dict[str, Any] = json.loads((path / "config.json").read_text("utf-8"))
    if told.get("auto_map"):
        raise HoldfastError(f"{WHERE}: {path} brings code of its own (auto_map), which is not run; "
                            "right would be a model that transformers itself knows")
    if told.get("is_encoder_decoder") or told.get("is_decoder"):
        raise HoldfastError(f"{WHERE}: {path} is a {told.get('model_type')} that writes texts; "
                            "right would be an encoder, as BERT, DistilBERT, ELECTRA or MPNet")
    tokenizer = (path / "tokenizer.json").read_text("utf-8")
    most = max(json.loads(tokenizer)["model"]["vocab"].values())
    if most >= told.get("vocab_size", most + 1):
        raise HoldfastError(f"{WHERE}: the tokenizer of {path} knows {most + 1} pieces, the model "
                            f"{told['vocab_size']}; right would be the model's own")
    return tokenizer


@contextmanager
def quiet() -> Iterator[None]:
    """Silences the libraries' advice, of which none concerns a folder that was checked."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
