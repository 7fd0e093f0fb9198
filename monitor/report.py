"""Report: a verdict's rows against the reference's, as one HTML file by Evidently.

Rows leave through ``Source.sample`` only, bounded, and only into a short-lived child process
(``python -m monitor.report JOB.json``): what it needs in memory and time, or breaks, is an
error in words here and nothing else. The file is self-contained and nothing is sent anywhere.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monitor.config import Model, load
from monitor.errors import HoldfastError
from monitor.registry import Registry
from monitor.secrets import redact
from monitor.window import Window, isoformat, parse_time

if TYPE_CHECKING:
    import pandas as pd

MOST_CATEGORIES = 200
"""Columns with more values than this are left out: their plot says nothing."""

_ROLES = {"_prediction": "prediction", "_score": "score", "_label": "label"}


@dataclass(frozen=True, slots=True)
class Subject:
    """What a report is about: one window of one model as known at one instant.

    ``reference`` None is the model's configured reference (its file, or its period of the log).
    ``version`` '' is all traffic. ``heading`` is the verdict in words.
    """

    model: str
    window: Window
    known_at: datetime
    version: str = ""
    heading: str = ""
    reference: Window | None = None

    @property
    def name(self) -> str:
        """The report's file name: the same subject has the same name."""
        start, end, known = (format(instant, "%Y%m%dT%H%M%SZ") for instant in
                             (self.window.start, self.window.end, self.known_at))
        return f"{self.model}_{start}_{end}_{known}{'_v' * bool(self.version)}{self.version}.html"


@dataclass(frozen=True, slots=True)
class Reporter:
    """Makes reports of the models in one configuration file and logs them to MLflow."""

    registry: Registry
    config: str
    rows: int = 5000
    memory: int = 4 << 30
    deadline: timedelta = timedelta(minutes=5)

    def publish(self, subject: Subject) -> str:
        """Make the report and log it; its ``runs:/`` address. ``HoldfastError`` in words."""
        with tempfile.TemporaryDirectory(prefix="holdfast-") as folder:
            path = self.write(subject, Path(folder))
            return self.registry.log_report(subject.model, path, version=subject.version)

    def write(self, subject: Subject, folder: Path) -> Path:
        """The report as a file in ``folder``; ``HoldfastError`` when it cannot be made."""
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="holdfast-") as scratch:
            job, out = Path(scratch) / "job.json", Path(scratch) / "report.html"
            job.write_text(json.dumps({
                "config": self.config, "model": subject.model, "window": _plain(subject.window),
                "known_at": isoformat(subject.known_at), "version": subject.version,
                "heading": subject.heading, "reference": _plain(subject.reference),
                "rows": self.rows, "memory": self.memory, "out": str(out)}))
            status = _child([sys.executable, "-m", "monitor.report", str(job)], self.deadline)
            if status or not out.exists():
                raise HoldfastError(f"report of {subject.model!r} for {subject.window}: "
                                    + _reason(out.with_suffix(".error"), status, self))
            return Path(shutil.move(out, folder / subject.name))


def _child(command: list[str], deadline: timedelta) -> int:
    """Run to the end or to the deadline; the exit status, negative for a signal."""
    here = str(Path(__file__).resolve().parents[1])
    environment = os.environ | {"DO_NOT_TRACK": "1", "PYTHONPATH": os.pathsep.join(
        [here, *filter(None, [os.environ.get("PYTHONPATH")])])}
    with subprocess.Popen(command, env=environment, start_new_session=True,  # noqa: S603 - our own
                          stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as child:
        try:
            return child.wait(deadline.total_seconds())
        except subprocess.TimeoutExpired:
            return -signal.SIGALRM
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)


def _reason(path: Path, status: int, reporter: Reporter) -> str:
    if status == -signal.SIGALRM:
        return (f"took longer than {reporter.deadline.total_seconds():.0f} s and was ended; right "
                "would be fewer rows or columns")
    if path.exists() and (told := path.read_text("utf-8")):  # else it could not be written
        return redact(told)
    if status < 0:
        return (f"its process was killed ({signal.Signals(-status).name}), most likely for memory; "
                "right would be fewer rows or columns")
    return f"its process ended with status {status}"


def main(arguments: list[str]) -> int:
    """The child: reads its job, samples, renders, writes. Errors go to a file beside ``out``."""
    os.environ["DO_NOT_TRACK"] = "1"
    job = json.loads(Path(arguments[0]).read_text("utf-8"))
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (job["memory"], before[1]))
    out = Path(job["out"])
    try:
        reference, current = _sample(job)
        out.write_text(render(reference, current, title=job["model"], words=_words(job)),
                       encoding="utf-8")
    except MemoryError:
        resource.setrlimit(resource.RLIMIT_DATA, before)  # to tell takes some, too
        out.with_suffix(".error").write_text("needs more memory than its process may use; right "
                                             "would be fewer rows or columns")
        return 1
    except HoldfastError as error:
        out.with_suffix(".error").write_text(str(error), encoding="utf-8")
        return 1
    except Exception as error:  # the last line of a process of its own; values stay unsaid
        out.with_suffix(".error").write_text(f"Evidently failed with {type(error).__name__}")
        return 1
    return 0


def _sample(job: dict[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Reference and current rows of the job, each at most ``rows``."""
    from monitor.source import Source

    config = load(job["config"]).config
    model, known_by = config.model(job["model"]), parse_time(job["known_at"])
    window, period = _window(job["window"]), _window(job["reference"]) or model.reference.window
    assert window is not None
    versions = [job["version"]] if job["version"] else None
    with Source(model, config.limits) as source:
        current = _named(model, source.sample(window, known_by=known_by, limit=job["rows"],
                                              versions=versions))
        if period is not None:
            return _named(model, source.sample(period, known_by=known_by,
                                               limit=job["rows"])), current
    if model.reference.source is None:
        raise HoldfastError("there is no reference to compare with; right would be `reference` in "
                            "the configuration, or a reference window")
    with Source(model, config.limits, reference=True) as source:
        span = source.span()
        if span is None:
            raise HoldfastError(f"reference.source {model.reference.source} holds no rows")
        return _named(model, source.sample(span, known_by=span.end, limit=job["rows"])), current


def _named(model: Model, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows, with numbers that are names as text."""
    names = [*model.log.features.categorical,
             *([] if model.task == "regression" else ["_prediction", "_label"])]
    return frame.assign(**{name: frame[name].astype(object).map(str, na_action="ignore")
                           for name in names if name in frame})


def render(reference: pd.DataFrame, current: pd.DataFrame, *, title: str,
           words: list[str]) -> str:
    """The HTML of Evidently's drift report of two frames, headed by ``words``.

    Columns that it cannot take are left out, and named in the heading.
    """
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    numeric, categorical, left_out = columns(reference, current)
    if not numeric and not categorical:
        raise HoldfastError("no column can be compared: " + "; ".join(
            f"{name} {why}" for name, why in left_out.items()))
    definition = DataDefinition(numerical_columns=numeric, categorical_columns=categorical)
    datasets = [Dataset.from_pandas(_plain_frame(frame, numeric, categorical), definition)
                for frame in (current, reference)]
    snapshot = Report([DataDriftPreset()]).run(*datasets)
    head = [*words, f"{len(current)} sampled rows against {len(reference)} of the reference."]
    if left_out:
        head.append("Left out: " + "; ".join(f"{name} ({why})" for name, why in left_out.items()))
    html: str = snapshot.get_html_str(as_iframe=False)
    return _headed(html, title, head)


def columns(reference: pd.DataFrame,
            current: pd.DataFrame) -> tuple[list[str], list[str], dict[str, str]]:
    """Numeric and categorical columns that can be compared, and {column left out: why}."""
    from pandas.api.types import is_bool_dtype, is_datetime64_any_dtype, is_numeric_dtype

    reference, current = reference.rename(columns=_ROLES), current.rename(columns=_ROLES)
    numeric, categorical, left_out = [], [], {}
    for name in [*reference.columns, *current.columns.difference(reference.columns)]:
        if str(name).startswith("_"):
            continue
        why = _unfit(reference, current, name)
        if why is None and is_datetime64_any_dtype(reference[name]):
            why = "is a time"
        if why is not None:
            left_out[str(name)] = why
        elif is_numeric_dtype(reference[name]) and not is_bool_dtype(reference[name]):
            numeric.append(name)
        elif _most(reference[name], current[name]) > MOST_CATEGORIES:
            left_out[str(name)] = f"has more than {MOST_CATEGORIES} values"
        else:
            categorical.append(name)
    return numeric, categorical, left_out


def _unfit(reference: pd.DataFrame, current: pd.DataFrame, name: str) -> str | None:
    """Why a column cannot be compared, or None."""
    from pandas.api.types import is_numeric_dtype

    for side, frame in (("reference", reference), ("current", current)):
        if name not in frame:
            return f"is absent from the {side} rows"
        if not len(_values(frame[name])):
            return f"has no value in the {side} rows"
    if is_numeric_dtype(reference[name]) != is_numeric_dtype(current[name]):
        return "has another type than in the reference"
    values, others = _values(reference[name]), _values(current[name])
    if _most(values, others) == 1 and values.iloc[0] == others.iloc[0]:
        return "has one value"
    return None


def _values(column: pd.Series[Any]) -> pd.Series[Any]:
    """What is neither null nor infinite."""
    import numpy as np

    return column.replace([np.inf, -np.inf], np.nan).dropna()


def _most(reference: pd.Series[Any], current: pd.Series[Any]) -> int:
    return max(int(column.nunique()) for column in (reference, current))


def _plain_frame(frame: pd.DataFrame, numeric: list[str], categorical: list[str]) -> pd.DataFrame:
    """Floats without infinities, and text, which is all that Evidently is sure to take."""
    import numpy as np

    frame = frame.rename(columns=_ROLES)[[*numeric, *categorical]].copy()
    for name in numeric:
        values = frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
        frame[name] = np.where(np.isfinite(values), values, np.nan)
    for name in categorical:
        frame[name] = frame[name].astype(object).map(str, na_action="ignore")
    return frame


def _words(job: dict[str, Any]) -> list[str]:
    version = f", version {job['version']}" if job["version"] else ""
    start, end, known = (format(parse_time(text), "%Y-%m-%d %H:%M")
                         for text in (*job["window"], job["known_at"]))
    first = f"{job['model']}{version}: {start} to {end}, as known at {known} (UTC)"
    return [first, *filter(None, [job["heading"]])]


def _headed(html: str, title: str, words: list[str]) -> str:
    """The page with a title and a heading; what is put in is escaped."""
    lines = "".join(f"<p>{escape(line)}</p>" for line in words)
    head = (f'<div style="font:14px sans-serif;padding:12px 24px;border-bottom:1px solid #ccc">'
            f"<h1>{escape(title)}</h1>{lines}</div>")
    start = html.find("<body")
    if start < 0:
        return head + html
    end = html.index(">", start) + 1
    return html[:end] + head + html[end:]


def _plain(window: Window | None) -> list[str] | None:
    return None if window is None else [isoformat(window.start), isoformat(window.end)]


def _window(plain: list[str] | None) -> Window | None:
    return None if plain is None else Window(parse_time(plain[0]), parse_time(plain[1]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
