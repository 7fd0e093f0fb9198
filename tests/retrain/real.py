"""Real streams in the columns that ``Source.sample`` gives, for tests of the training core."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise

import numpy as np
import pandas as pd

from retrain.finetune import Network, train
from retrain.image import Image
from retrain.text import Text
from retrain.trainer import Options, Split
from tests.data import stream

ELEC = Options("binary", categorical=("day",), widths=(64,), epochs=12)


def elec(start: str, end: str) -> pd.DataFrame:
    """Half-hours of elec2 in [start, end): weekday as a category, seven inputs."""
    frame = stream("elec2").drop(columns="date")
    frame = frame.rename(columns={"timestamp": "_timestamp", "class": "_label"})
    frame["_label"] = frame["_label"].astype(object)
    inside = (frame["_timestamp"] >= start) & (frame["_timestamp"] < end)
    return frame[inside].reset_index(drop=True)


def elec_split() -> Split:
    """The first seven months: training, two months of validation, four weeks of holdout."""
    return Split(elec("1996-05-06", "1996-10-01"), elec("1996-10-01", "1996-12-01"),
                 elec("1996-12-01", "1996-12-29"))


@cache
def elec_champion() -> Network:
    """A network trained on the first seven months of elec2; made once per process."""
    return train(elec_split(), ELEC)


def hotel() -> Split:
    """Bookings with text columns; nulls are sprinkled in, as the file has none."""
    frame = stream("hotel_booking").drop(columns=["y_pred", "y_pred_proba"])
    frame = frame.rename(columns={"timestamp": "_timestamp", "is_canceled": "_label"}).head(6000)
    frame["adr"] = frame["adr"].mask(np.arange(len(frame)) % 7 == 0)
    frame["country"] = frame["country"].astype(object).mask(np.arange(len(frame)) % 11 == 0, None)
    return Split(*(frame[a:b].reset_index(drop=True)
                   for a, b in ((0, 4000), (4000, 5000), (5000, 6000))))


@cache
def hotel_champion() -> Network:
    """A network trained on bookings; made once per process."""
    return train(hotel(), Options("binary", widths=(32,), epochs=4))


def insects(rows: int = 3000) -> Split:
    """Six classes of insects from 33 numbers."""
    frame = stream("insects_gradual").rename(columns={"timestamp": "_timestamp",
                                                      "class": "_label"}).head(rows)
    cut = [0, int(rows * 0.7), int(rows * 0.85), rows]
    return Split(*(frame[a:b].reset_index(drop=True) for a, b in pairwise(cut)))


def bikes() -> Split:
    """Rented bikes an hour: a value to predict."""
    frame = stream("bike_sharing").drop(columns=["casual", "registered"])
    frame = frame.rename(columns={"timestamp": "_timestamp", "cnt": "_label"}).head(4000)
    return Split(*(frame[a:b].reset_index(drop=True)
                   for a, b in ((0, 3000), (3000, 3500), (3500, 4000))))


def eager(fitted: Network) -> Callable[[pd.DataFrame], Callable[[], object]]:
    """The torch module as ``latency`` measures it: eager, on rows that are encoded already."""
    import torch

    def prepared(rows: pd.DataFrame) -> Callable[[], object]:
        numeric, categorical = map(torch.from_numpy, fitted.encoder.transform(rows))

        def call() -> object:
            with torch.inference_mode():
                return fitted.module(numeric, categorical)

        return call

    return prepared


def images(*cuts: int) -> Split:
    """Chest X-rays, 784 raw bytes each; rows up to 3881 are of one hospital, then the sick get
    rarer."""
    frame = stream("pneumonia_mnist").drop(columns="split")
    frame = frame.rename(columns={"timestamp": "_timestamp", "label": "_label"})
    cuts = cuts or (0, 1800, 2400, 2900)
    return Split(*(frame[a:b].reset_index(drop=True) for a, b in pairwise(cuts)))


PICTURES = Options("binary", widths=(16,), epochs=6, batch=64)


@cache
def image_champion() -> Network:
    """A small convolutional network; made once per process."""
    return Image().fresh(images(), PICTURES)


def texts() -> Split:
    """Titles and beginnings of abstracts of physics papers, in ten categories."""
    frame = stream("arxiv_physics_text").drop(columns="arxiv_id")
    frame = frame.rename(columns={"timestamp": "_timestamp", "primary_cat": "_label"})
    frame["_label"] = frame["_label"].astype(object)
    return Split(*(frame[a:b].reset_index(drop=True)
                   for a, b in pairwise((0, 4000, 5000, 7000))))


SENTENCES = Options("multiclass", widths=(32,), epochs=6, rate=5e-3)


@cache
def text_champion() -> Network:
    """A small network over texts; made once per process."""
    return Text().fresh(texts(), SENTENCES)
