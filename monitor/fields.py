"""Fields: what every section of the configuration is made of."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    WithJsonSchema,
)

from monitor.errors import HoldfastError
from monitor.window import format_duration, given_time, isoformat, parse_duration


def _duration(value: Any) -> timedelta:
    try:
        return parse_duration(value)
    except HoldfastError as error:
        raise ValueError(str(error)) from error


def _instant(value: Any) -> datetime:
    try:
        return given_time(value)
    except HoldfastError as error:
        raise ValueError(str(error)) from error


def _storable(text: str) -> str:
    return text.replace("\x00", "").encode("utf-8", "replace").decode()


Words = Annotated[str, AfterValidator(_storable)]
"""A text from elsewhere, without what JSON may hold and a store or a page may not: NUL, and halves
of characters."""
Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    PlainSerializer(format_duration),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?[smhdw]$"}),
]
Instant = Annotated[
    datetime,
    BeforeValidator(_instant),
    PlainSerializer(isoformat),
    WithJsonSchema({"type": "string", "description": "a date or an ISO 8601 time"}),
]


def require(fine: bool, key: str, value: str, right: str) -> None:
    if not fine:
        raise ValueError(f"{key}: {value}; right would be {right}")


class Section(BaseModel):
    """One block of the file: unknown keys are refused, values never change."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, use_attribute_docstrings=True
    )
