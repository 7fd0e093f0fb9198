"""The network: weights as safetensors with everything needed to run them again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from retrain.finetune import Network, fresh, output
from retrain.network import load, save, widened
from retrain.spec import embedding_size
from retrain.trainer import Options
from tests.retrain.real import hotel, hotel_champion


def test_saved_weights_come_back_with_spec_and_encoder(tmp_path: Path) -> None:
    fitted = hotel_champion()
    path = save(tmp_path / "weights.safetensors", fitted.module, spec=fitted.spec,
                encoder=fitted.encoder)
    again = Network(*load(path))
    assert (again.spec, again.encoder) == (fitted.spec, fitted.encoder)
    rows = hotel().holdout.head(100)
    assert torch.equal(output(again, rows), output(fitted, rows))
    assert path.stat().st_mode & 0o777 == 0o644
    written = {save(tmp_path / "again.safetensors", fitted.module, spec=fitted.spec,
                    encoder=fitted.encoder).read_bytes() for _ in range(10)}
    assert written == {path.read_bytes()}


def test_a_widened_network_is_the_same_function() -> None:
    fitted, rows = hotel_champion(), hotel().holdout
    newer = hotel().validation.assign(country="Atlantis")
    after = fitted.encoder.widened(newer)
    module, spec = widened(fitted.module, fitted.spec, before=fitted.encoder, after=after)
    assert sum(spec.cardinalities) > sum(fitted.spec.cardinalities)
    assert spec.embedding_sizes == fitted.spec.embedding_sizes
    wider = Network(module, spec, after)
    known = rows.assign(country=["PRT", "Atlantis"] * (len(rows) // 2))
    np.testing.assert_array_equal(output(wider, known), output(fitted, known))


def test_a_network_without_categories_and_one_without_numbers() -> None:
    frame = hotel().train
    for columns in (["adr", "lead_time"], ["hotel", "country"]):
        part = frame[[*columns, "_label", "_timestamp"]]
        encoder = type(hotel_champion().encoder).fit(part, columns, [])
        fitted = fresh(encoder, part, Options("binary"), 16)
        assert output(fitted, part.head(5)).shape == (5, 2)


def test_embedding_sizes_are_bounded() -> None:
    assert [embedding_size(rows) for rows in (2, 10, 1000)] == [2, 3, 16]
