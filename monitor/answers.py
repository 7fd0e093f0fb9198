"""Answers: the joint cells of predicted class and score, of labelled rows and of all others."""

from __future__ import annotations

from typing import Any

import ibis

from monitor.bins import OTHER, SCORE_CELLS, AnswerBins
from monitor.cells import Value, number, text
from monitor.config import Model
from monitor.rows import Frame, Shape


def spoken(scores: list[tuple[str, Value]], prediction: Value, model: Model
           ) -> tuple[list[tuple[str, Value]], Value, Value]:
    """The scores that count, the one that the row's cell is of, and whether all are in [0, 1]."""
    positive = model.log.positive_label
    if model.task == "binary" and positive in dict(scores):
        scores = [(str(positive), dict(scores)[str(positive)])]
    fine = [(value >= 0) & (value <= 1) for _, value in scores]
    valid = fine[0]
    for condition in fine[1:]:
        valid = valid & condition
    score = scores[0][1]
    if len(scores) > 1:
        score = ibis.cases(*[(prediction == name, value) for name, value in scores],
                           else_=ibis.greatest(*[value for _, value in scores]))
    return scores, score, valid.fill_null(False)


def score_cell(score: Value, valid: Value) -> Value:
    """The cell of a score, -1 where there is none."""
    cell = ibis.least((score * float(SCORE_CELLS)).floor(), SCORE_CELLS - 1).cast("int16")
    return ibis.cases((valid, cell), else_=ibis.literal(-1, "int16"))


def joint(rows: Frame, item: AnswerBins, shape: Shape) -> Frame:
    """Rows per key and joint cell, the cell counted from the first one of the item."""
    prediction = text(rows[item.prediction]).fill_null("")
    scores = [(name, number(rows[column])) for name, column in shape.roles.scores]
    _, score, valid = spoken(scores, prediction, shape.model)
    cell: Any = score_cell(score, valid).cast("int32")
    where = ibis.cases((cell >= 0, cell), else_=ibis.literal(SCORE_CELLS, "int32"))
    places = [(prediction == name, ibis.literal(place * (SCORE_CELLS + 1), "int32"))
              for place, name in enumerate(item.names) if name != OTHER]
    guess = ibis.cases(*places, else_=ibis.literal(SCORE_CELLS + 1, "int32"))
    plain = rows.select(*shape.keys, cell=guess + where)
    return plain.group_by([*shape.keys, "cell"]).agg(n=plain.count())
