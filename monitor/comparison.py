"""Comparison: the reports of several policies as a table, in words, and as a page of its own."""

from __future__ import annotations

import base64
import io
import os
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from monitor.errors import ConfigError
from monitor.picture import DARK, LIGHT, counted, draw, words

Report = Mapping[str, Any]
Cell = Callable[[Report], str]

TEMPLATES = Path(__file__).parent / "templates"
MOST = 6
"""Alarms, retrains and degradations that are printed per policy; the page and JSON have all."""


def _value(report: Report) -> str:
    found = report["performance"]
    return "-" if found["value"] is None else f"{found['value']:.3f}"


def _count(key: str) -> Cell:
    return lambda report: f"{report['sums'][key]:,}"


def _minutes(report: Report) -> str:
    sums = report["sums"]
    return f"{sums['training_minutes'] + sums['comparison_minutes']:.1f}"


def _delay(report: Report) -> str:
    found = report["sums"]["median_delay_days"]
    return "-" if found is None else f"{found:.1f} d"


def _some(many: str, *few: tuple[str, str]) -> Cell:
    """A count, and what some of it are: ``3 (1 false)``."""

    def cell(report: Report) -> str:
        sums = report["sums"]
        told = ", ".join(f"{sums[key]} {word}" for key, word in few if sums[key])
        return f"{sums[many]}" + (f" ({told})" if told else "")

    return cell


LOGGED: dict[str, Cell] = {
    "alarms": _count("alarms"),
    "false alarms": _some("false_alarms", ("undecided_alarms", "open")),
    "time in alarm": lambda report: f"{report['alarmed']:.0%}",
    "degradations": _count("degradations"),
    "missed": _some("missed", ("undecided", "open")),
    "median delay": _delay,
}
"""Rows of the table that need no training."""
ASKED: dict[str, Cell] = {"retrains asked for": _count("asked")}
ACTED: dict[str, Cell] = {
    "trainings": _some("trainings", ("refusals", "refused"), ("recalls", "recalls"),
                       ("failures", "failed")),
    "promotions": _count("promotions"),
    "rollbacks": _count("rollbacks"),
    "minutes of training": _minutes,
    "labelled rows used": _count("labelled_rows_used"),
}


def rows(reports: Sequence[Report]) -> list[tuple[str, list[str]]]:
    """(what, one cell per policy): sums first, then the metric per period."""
    first = reports[0]
    kinds = LOGGED | (ACTED if first["acted"] else ASKED)
    table = [(f"{first['metric']}, all rows", [_value(report) for report in reports])]
    table += [(name, [cell(report) for report in reports]) for name, cell in kinds.items()]
    for place, period in enumerate(first["periods"]):
        cells = [report["periods"][place]["value"] for report in reports]
        table.append((f"{first['metric']} from {period['from'][:10]}",
                      ["-" if value is None else f"{value:.3f}" for value in cells]))
    return table


def definitions(report: Report) -> list[str]:
    """What the words of the table mean, with their numbers."""
    within, reference = report["within"], report["reference"]
    promised = ("there is no reference performance, so that no degradation can be told"
                if reference["value"] is None else
                f"{report['metric']} {reference['value']:.3f} on {reference['n']} rows")
    told = [
        f"Reference: what the first champion promised, {promised}.",
        f"Degradation: days at which the newest rows (a week at least) were worse than it by "
        f"{report['drop']:g} and beyond doubt, on all labels, whenever they came.",
        f"Missed: neither an alarm was open nor a retrain made within {within} of its start.",
        "Delay: until the first of them; 0 where an alarm was open already, so read it beside the "
        "time in alarm.",
        f"False alarm: within {within} of its opening, and while it lasted, neither the served "
        "rows degraded nor would those of the version that served then, had it gone on.",
        "Open: the span ended before that could be told.",
    ]
    if report["acted"]:
        told.append("Every row is answered by the version that the policy would have deployed; "
                    "promotions are automatic. The first champion, common to all, took "
                    f"{report['sums']['first_champion_minutes']:.1f} minutes.")
    else:
        told.append(f"Nothing was trained or rescored: seen are {report['seen']}.")
    return told


def details(report: Report) -> Iterator[tuple[str, str, str]]:
    """(kind, when, words) of everything that happened under a policy, kind by kind."""
    for item in report["alarms"]:
        closed = f"to {item['closed'][:10]}" if item["closed"] else "to the end"
        height = f", peak {item['peak'][:10]}" + (f" at {item['height']}" if item["height"] else "")
        yield "alarm", f"{item['opened'][:10]} {closed}", f"{item['worth']}{height}: " \
                                                          f"{item['reason']}"
    for item in report["degradations"]:
        fate = item["fate"] + ("" if item["noticed"] is None else
                               f" after {item['delay_days']:.1f} d by an "
                               f"{item['by']}".replace("an retrain", "a retrain"))
        yield "degraded", f"{item['start'][:10]} to {item['end'][:10]}", f"{fate}: {item['words']}"
    for item in report["retrains"]:
        yield "retrain", item["at"][:10], _ended(item)
    for item in report["asked"]:
        yield "asked", item["at"][:10], item["why"]
    for item in report["moves"]:
        yield "serving", item["at"][:10], f"version {item['version']} ({item['kind']})"


def _ended(item: Mapping[str, Any]) -> str:
    version = f" version {item['version']}" if item["version"] else ""
    again = str(item["reason"]).lower().startswith(item["ended"])  # a refusal says so itself
    return str(item["reason"]) if again else f"{item['ended']}{version}: {item['reason']}"


def text(reports: Sequence[Report], width: int) -> str:
    """What a person reads on a terminal of that width."""
    first = reports[0]
    lines = [f"{first['model']}, {first['from'][:10]} to {first['to'][:10]}, "
             f"{first['performance']['n']:,} labelled rows", "", *_table(reports, width), ""]
    for report in reports:
        lines += textwrap.wrap(
            f"{report['policy']}: {report['words']}"
            + (f" ({', '.join(report['changed'])})" if report["changed"] else ""), width,
            subsequent_indent="  ")
        lines += _told(report, width)
        lines.append("")
    for line in definitions(first):
        lines += textwrap.wrap(line, width, subsequent_indent="  ")
    return "\n".join(lines)


def _table(reports: Sequence[Report], width: int) -> list[str]:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("", no_wrap=True)
    for report in reports:
        table.add_column(report["policy"], justify="right", overflow="fold")
    for name, cells in rows(reports):
        table.add_row(name, *cells)
    made = io.StringIO()
    Console(file=made, width=width, color_system=None).print(table)
    return [line.rstrip() for line in made.getvalue().splitlines()]


def _told(report: Report, width: int) -> Iterator[str]:
    kinds: dict[str, list[tuple[str, str]]] = {}
    for kind, when, said in details(report):
        kinds.setdefault(kind, []).append((when, said))
    for kind, items in kinds.items():
        for when, said in items[:MOST]:
            yield from textwrap.wrap(f"  {kind:<9} {when}  {said}", width,
                                     subsequent_indent=" " * 12, max_lines=2, placeholder=" …")
        if len(items) > MOST:
            yield f"  {kind:<9} and {len(items) - MOST} more; --json and --out have all"


def write(reports: Sequence[Report], folder: Path) -> list[Path]:
    """Write ``lab.png`` and ``lab.html`` there, each as a whole or not at all."""
    light, dark = draw(reports, LIGHT), draw(reports, DARK)
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True,
                              undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = environment.get_template("lab.html").render(
        reports=reports, first=reports[0], rows=rows(reports), words=words(reports),
        definitions=definitions(reports[0]), counted=counted,
        details={report["policy"]: list(details(report)) for report in reports},
        light=base64.b64encode(light).decode(), dark=base64.b64encode(dark).decode())
    made = {folder / "lab.png": light, folder / "lab.html": page.encode()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, content in made.items():
            draft = path.with_name(f".{path.name}.{os.getpid()}")
            draft.write_bytes(content)
            draft.replace(path)
    except OSError as error:
        raise ConfigError([unwritable(folder, error.strerror or "")]) from error
    return list(made)


def unwritable(folder: Path, why: str) -> str:
    """The mistake of an ``--out`` that cannot be written to."""
    return f"--out: {folder} cannot be written to ({why}); right would be a folder of your own"


def place(folder: Path) -> None:
    """``ConfigError`` where the folder cannot be made or written to: said before the work."""
    nearest = folder
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        raise ConfigError([unwritable(folder, f"{nearest} is a file")])
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ConfigError([unwritable(folder, "permission denied")])
