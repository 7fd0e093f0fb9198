"""The `holdfast` command."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from monitor.assembly import opened
from monitor.config import Model, load
from monitor.courier import Courier
from monitor.daemon import Daemon, attend, candidate, held
from monitor.errors import ConfigError, LostError
from monitor.secrets import redacted
from monitor.store import Store
from monitor.terminal import (
    CONFIG,
    JSON,
    LINES,
    MODEL,
    Asked,
    InOrder,
    Instant,
    Span,
    chosen,
    each,
    log,
    logged,
    quiet,
    reported,
)


@click.group(cls=InOrder, context_settings={"help_option_names": ["-h", "--help"],
                                            "max_content_width": 100})
@click.version_option(package_name="holdfast")
@click.option("--verbose", is_flag=True, help="Say more on standard error.")
@click.option("--log-format", type=click.Choice(["auto", "json", "console"]),
              help="How log lines look; auto: console on a terminal, else JSON.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]),
              help="The least that is logged.")
@click.pass_context
def main(context: click.Context, verbose: bool, log_format: str | None, log_level: str | None
         ) -> None:
    """Keep deployed machine-learning models true.

    holdfast reads prediction logs, says when a model drifts or degrades, and makes a better
    candidate when the evidence is strong enough. Start with `holdfast demo`, then write a
    configuration and try `holdfast check CONFIG`.

    Exit codes: 0 fine, 1 ran and failed, 2 refused (usage or configuration).
    """
    context.obj = Asked(verbose, log_format, log_level)
    quiet(context.obj)


@main.command(short_help="Say everything that is wrong with a configuration.")
@CONFIG
@JSON
@reported
def check(config: Path, as_json: bool) -> None:
    """Say everything that is wrong with CONFIG, all at once.

    Tries the store, the registry, every log and every column; tells what each absent optional
    key switches off and which columns are set aside as identifiers or indexes.
    """
    from monitor.check import Findings, check, words

    try:
        findings = check(load(config).config)
    except ConfigError as error:
        findings = Findings(mistakes=error.mistakes)
    if as_json:
        click.echo(json.dumps(redacted(asdict(findings)), indent=2))
    else:
        for line, wrong in words(findings):
            click.echo(line, err=wrong)
    sys.exit(2 if findings.mistakes else 0)


@main.command(short_help="Say what the champion's reference promises.")
@CONFIG
@MODEL
@LINES
@reported
def baseline(config: Path, name: str | None, as_json: bool) -> None:
    """Profile and calibrate the reference of each champion, and print what it promises."""
    from monitor.promise import promise, words

    with opened(load(config)) as deps:

        def tell(model: Model) -> None:
            promised = promise(model, deps)
            click.echo(json.dumps(promised) if as_json else words(promised))

        each(chosen(deps.config, name), tell)


@main.command(short_help="Look at every model once, for real.")
@CONFIG
@click.option("--now", type=Instant(), help="Take this as the present instant.")
@JSON
@reported
def once(config: Path, now: datetime | None, as_json: bool) -> None:
    """Look at every model once: new rows, verdicts, decisions, effects."""
    from monitor.status import overview, words

    with opened(load(config)) as deps:
        at = now or datetime.now(UTC)
        fine = [attend(model, deps, at) for model in deps.config.models]
        Courier(deps).deliver(at)
        report = overview(deps.config, deps.store)
        click.echo(json.dumps(report) if as_json else words(report))
    sys.exit(0 if all(fine) else 1)


@main.command(short_help="Run the daemon, with metrics and status page.")
@CONFIG
@reported
def run(config: Path) -> None:
    """Run the daemon: ticks on schedule, metrics and the status page.

    SIGTERM ends it within half a minute: the running tick is finished or given up, running
    retrains are handed back and go on at the next start.
    """
    from monitor.exporter import Snapshot
    from monitor.web import create_app, serve

    loaded, lost = load(config), None
    logged(loaded.config.log)
    with opened(loaded) as deps:
        http = deps.config.http
        elector = candidate(deps)
        snapshot = Snapshot(deps.store, deps.config)
        if elector is not None:
            snapshot.leads = elector.leads
        server = serve(create_app(deps.store, deps.config, snapshot), http.host, http.port,
                       http=http)
        scheme = "https" if http.tls else "http"
        log.info("serving", url=f"{scheme}://{http.host}:{server.port}")
        try:
            ended = Daemon(held(deps, elector), elector).run()
        except LostError as error:
            ended, lost = False, error
            log.error("stopped", reason=str(error))
        finally:
            server.stop()
    if not ended:
        os._exit(int(lost is not None))  # a thread would keep it; a tick cut off loses nothing


@main.command(short_help="Judge history, or compare policies on it; changes nothing.")
@CONFIG
@click.option("--from", "start", type=Instant(), required=True,
              help="First instant to judge, such as 2026-01-31 or 2026-01-31T06:00Z.")
@click.option("--to", "end", type=Instant(), required=True, help="Last instant to judge.")
@MODEL
@click.option("--act", is_flag=True, help="Also train and promote, in a scratch MLflow.")
@click.option("--policy", "policies", multiple=True, metavar="NAME_OR_FILE",
              help="Compare policies (repeatable): current, never, every-30d, evidently, nannyml, "
                   "or a YAML file whose policy, training, window, maturity and reference.mode "
                   "keys replace the model's.")
@click.option("--within", type=Span(), default="30d", show_default=True,
              help="With --policy: how soon alarms and degradations belong together.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FOLDER",
              help="With --policy: write lab.html and lab.png there.")
@LINES
@reported
def replay(config: Path, start: datetime, end: datetime, name: str | None, act: bool,
           as_json: bool, **lab: Any) -> None:
    """Judge history by the very code of the daemon, changing nothing anywhere.

    Works on a scratch store; with --act also trains and promotes in a scratch MLflow, never in
    the configured one, and without golden sets, audits and scoring. Prints one line per window
    and revision.

    With --policy it is a lab: each policy lives through the same rows, and a table tells alarms,
    retrains, missed degradations, performance and cost side by side (--json: one object per
    policy). With --act every row is answered by the version that the policy would have deployed;
    without, the logged answers are watched.

    \b
      holdfast replay holdfast.yaml --from 2026-01-01 --to 2026-07-01 \\
          --policy current --policy never --policy mine.yaml --act --out lab
    """
    loaded = load(config)
    if not lab["policies"] and lab["out"] is not None:
        raise ConfigError(["--out: without --policy; right would be at least one policy, such as "
                           "--policy current"])
    models = chosen(loaded.config, name)
    if not lab["policies"]:
        from monitor.replay import tell

        each(models, lambda model: tell(loaded, model, (start, end), act=act, as_json=as_json))
        return
    from monitor.lab import lab as compared

    each(models, lambda model: compared(model, loaded, span=(start, end), act=act,
                                        as_json=as_json, alone=len(models) == 1, **lab))


@main.command()
@CONFIG
@click.option("--model", "name", required=True, metavar="NAME", help="The model to retrain.")
@click.option("--reason", default="by hand", help="Why, for the record.")
@click.option("--bootstrap", is_flag=True,
              help="Train and register a first champion from the reference period.")
@click.option("--now", type=Instant(), help="Use labels known at this instant.")
@click.option("--wait/--no-wait", default=True, help="Wait until the request has ended.")
@JSON
@reported
def retrain(config: Path, name: str, reason: str, bootstrap: bool, now: datetime | None,
            wait: bool, as_json: bool) -> None:
    """Ask for a candidate by hand."""
    from monitor.byhand import ask

    loaded = load(config)
    with opened(loaded) as deps:
        outcome = ask(loaded.config.model(name), deps, reason=reason, bootstrap=bootstrap,
                      now=now or datetime.now(UTC), wait=wait)
    click.echo(json.dumps(outcome) if as_json else f"{outcome['status']}: {outcome['reason']}")
    sys.exit(0 if outcome["status"] in {"registered", "running", "refused"} else 1)


@main.command(short_help="Hold versions against the golden benchmark sets.")
@CONFIG
@MODEL
@click.option("--now", type=Instant(), help="Take this as the present instant.")
@click.option("--wait/--no-wait", default=True, help="Wait until the audit has ended.")
@LINES
@reported
def audit(config: Path, name: str | None, now: datetime | None, wait: bool, as_json: bool) -> None:
    """Score champion and challenger on the golden sets of `benchmarks`, now.

    Logged to MLflow and kept; `status`, the status page and /metrics show the newest. With
    `audit: {every: 7d}` the daemon does so by itself.
    """
    from monitor.byhand import look

    loaded = load(config)
    models = [model for model in chosen(loaded.config, name) if model.benchmarks or name]
    if not models:
        raise ConfigError(["models[0].benchmarks: no model has golden sets; right would be at "
                           "least one: {name: …, source: FILE}"])
    ended: list[str] = []
    with opened(loaded) as deps:

        def tell(model: Model) -> None:
            told = look(model, deps, now=now or datetime.now(UTC), wait=wait)
            ended.append(told["status"])
            click.echo(json.dumps(told) if as_json else
                       f"{model.name}: {told['status']}: {told['reason']}")

        each(models, tell)
    sys.exit(1 if "failed" in ended else 0)


@main.command(short_help="Say that a window is a fault, or was expected.")
@CONFIG
@click.option("--model", "name", required=True, help="The model that it is said of.")
@click.option("--window", "where", metavar="T or FROM/TO",
              help="The window that starts at or holds a time, or a stretch.")
@click.option("--as", "said", type=click.Choice(["fault", "expected"]),
              help="Broken data that teaches nothing, or a change that is as it should be.")
@click.option("--rebaseline", is_flag=True,
              help="With --as expected: the reference of the inputs starts anew there.")
@click.option("--note", default="", help="Why, for the record.")
@click.option("--undo", is_flag=True, help="Take back what was said of the window.")
@click.option("--list", "listing", is_flag=True, help="Print what is acknowledged.")
@click.option("--now", type=Instant(), help="Take this as the present instant.")
@LINES
@reported
def acknowledge(config: Path, name: str, now: datetime | None, listing: bool, as_json: bool,
                **given: Any) -> None:
    """Say that a window is a fault, or that what was found there was expected.

    Faults leave training and the reference. Expected changes close the alarm about them; with
    --rebaseline the inputs' reference starts anew. Said twice is said once.
    """
    from monitor.byhand import Saying, acknowledge, acknowledged

    loaded = load(config)
    model, at = loaded.config.model(name), now or datetime.now(UTC)
    undo, where, said = given["undo"], given["where"], given["said"]
    if not listing and (where is None or undo == (said is not None)):
        raise ConfigError(["--window with --as, or with --undo, or else --list is needed; right "
                           "would be --window 2026-03-01 --as fault"])
    with Store.open(loaded.config.store) as store:
        if not listing:
            told = acknowledge(model, store, Saying(
                where, "undone" if undo else said, given["rebaseline"], given["note"]), at)
            click.echo(json.dumps(told) if as_json else
                       f"{told['start']} to {told['end']}: {told['as']}"
                       f"{'' if told['news'] else ' (said before)'}; {told['follows']}")
            return
        for row in acknowledged(name, store, at):
            note = f": {row['note']}" if row["note"] else ""
            click.echo(json.dumps(row) if as_json else
                       f"{row['start']} to {row['end']}: {row['as']}"
                       f"{', rebaselined' if row['rebaseline'] else ''}{note}")


@main.command(short_help="Say how every model is and what waits for a person.")
@CONFIG
@JSON
@reported
def status(config: Path, as_json: bool) -> None:
    """Print every model's phase, newest verdict and what waits for a person."""
    from monitor.status import overview, words

    loaded = load(config)
    with Store.open(loaded.config.store) as store:
        report = overview(loaded.config, store)
    click.echo(json.dumps(report) if as_json else words(report))


@main.command(short_help="See to old rows of the store, now.")
@CONFIG
@MODEL
@click.option("--compact", is_flag=True,
              help="Also write a SQLite file anew, so that it shrinks; with the daemon stopped.")
@click.option("--now", type=Instant(), help="Take this as the present instant.")
@LINES
@reported
def upkeep(config: Path, name: str | None, compact: bool, now: datetime | None, as_json: bool
           ) -> None:
    """Merge old counts into days, thin and drop old verdicts, as `retention` says.

    The daemon does so by itself every `retention.every`; both at once do no harm.
    """
    from monitor.upkeep import by_hand

    loaded = load(config)
    with Store.open(loaded.config.store) as store:
        told = by_hand(chosen(loaded.config, name), loaded.config, store, now or datetime.now(UTC),
                       compact=compact)
    for line in told:
        click.echo(json.dumps(line) if as_json else line["words"])
    sys.exit(0 if all(line["fine"] for line in told) else 1)


@main.command(short_help="Make the hash of a password, for http.users.")
@reported
def password() -> None:
    """Ask for a password, or read it from standard input, and print its hash (scrypt)."""
    from monitor.credentials import SHORTEST_PASSWORD, hashed

    text = (click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
            if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n"))
    if len(text) < SHORTEST_PASSWORD:
        raise ConfigError([f"password: {len(text)} characters; right would be at least "
                           f"{SHORTEST_PASSWORD}"])
    click.echo(hashed(text))


@main.command(short_help="Show the whole loop on one machine.")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path),
              default=Path("demo-run"), show_default=True, help="Where everything is written.")
@click.option("--log", "log_file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Play a real log (Parquet) in place of the simulated one.")
@click.option("--timestamp", default="timestamp", show_default=True, help="Its event time.")
@click.option("--label", help="Its true class or value.")
@click.option("--exclude", multiple=True, help="A column that is no feature (repeatable).")
@click.option("--categorical", multiple=True, help="A number that is a name (repeatable).")
@click.option("--task", type=click.Choice(["binary", "multiclass", "regression"]),
              default="binary", show_default=True, help="What is predicted.")
@click.option("--positive", help="The class that the score speaks of.")
@click.option("--delay", type=Span(), default="7d", show_default=True,
              help="How late labels arrive.")
@click.option("--reference", default=0.25, show_default=True,
              type=click.FloatRange(0.05, 0.9), help="Share of the log that is the reference.")
@click.option("--wait-for-me", is_flag=True, help="Leave promotions to you, in the MLflow UI.")
@click.option("--stop", is_flag=True, help="Stop the servers that an earlier demo left up.")
@click.option("--serve/--no-serve", default=True,
              help="Keep metrics, status page and MLflow UI up at the end.")
@JSON
@reported
def demo(**options: Any) -> None:
    """Show the whole loop on one machine: log, drift, retrain, promotion, recovery."""
    from monitor.demo import demo
    from monitor.showcase import stop

    if options.pop("stop"):
        stopped = stop(options["folder"].resolve())
        click.echo("stopped " + " and ".join(stopped) if stopped else "nothing was left up")
        return
    if options["log_file"] and not options["label"]:
        raise ConfigError(["--label: absent; right would be the column of the log's true class or "
                           "value"])
    demo(**options)
