"""Terminal: arguments, words for errors, exit codes and logs that all commands share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import click
import structlog

from monitor.config import Config, Model
from monitor.deployment import Logs
from monitor.errors import ConfigError, HoldfastError
from monitor.logs import begin, watch
from monitor.secrets import redact
from monitor.window import given_time, parse_duration

P = ParamSpec("P")
log = structlog.get_logger()
CONFIG = click.argument("config", type=click.Path(dir_okay=False, path_type=Path))
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
LINES = click.option("--json", "as_json", is_flag=True,
                     help="Print JSON for programs, one object per line.")
MODEL = click.option("--model", "name", metavar="NAME",
                     help="Only this model (default: every model).")


class Instant(click.ParamType[datetime]):
    """A time on the command line, taken as UTC unless it says otherwise."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None
                ) -> datetime:
        try:
            return given_time(value)
        except HoldfastError as error:
            self.fail(str(error), param, ctx)


class Span(click.ParamType[timedelta]):
    """A length of time on the command line, such as 30d."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None
                ) -> timedelta:
        try:
            return parse_duration(value)
        except HoldfastError as error:
            self.fail(str(error), param, ctx)


def reported(command: Callable[P, None]) -> Callable[P, None]:
    """Turn errors into words and exit codes: 1 ran and failed, 2 refused."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except ConfigError as error:
            for mistake in error.mistakes:
                click.echo(redact(mistake), err=True)
            sys.exit(2)
        except HoldfastError as error:
            click.echo(redact(f"error: {error}"), err=True)
            sys.exit(1)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:  # the last resort: words in place of a traceback
            log.info("unexpected", exc_info=True)
            click.echo(redact(f"error: {type(error).__name__}: {error} (not foreseen, so a bug of "
                              "holdfast; `holdfast --verbose` tells where)"), err=True)
            sys.exit(1)

    return run


def each(models: Iterable[Model], work: Callable[[Model], None]) -> None:
    """Do the work for every model; one that fails says so and stops no other."""
    failed = False
    for model in models:
        try:
            work(model)
        except ConfigError:
            raise
        except HoldfastError as error:
            failed = True
            click.echo(redact(f"error: {error}"), err=True)
    if failed:
        sys.exit(1)


class InOrder(click.Group):
    """Commands in the order in which they are met, as they stand below."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line says of logs."""

    verbose: bool
    format: str | None
    level: str | None


def quiet(asked: Asked) -> None:
    """Logs go to standard error, secrets masked; nothing phones home."""
    os.environ["DO_NOT_TRACK"] = "1"
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")  # its lines are ours to format
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    begin(asked.format or "auto", asked.level or ("info" if asked.verbose else "warning"))


def logged(settings: Logs) -> None:
    """Logs as the configuration of a daemon says, unless the command line says otherwise."""
    asked = click.get_current_context().find_root().obj
    begin(asked.format or settings.format,
          asked.level or ("debug" if asked.verbose else settings.level))
    watch()


def chosen(config: Config, name: str | None) -> list[Model]:
    """The model called ``name``, or all."""
    return [config.model(name)] if name else list(config.models)
