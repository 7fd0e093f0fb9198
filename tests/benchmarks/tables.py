"""The measured numbers as tables in ``docs/benchmarks.md``; parts not measured stay as they are."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tests.data import ROOT

PAGE = ROOT / "docs" / "benchmarks.md"
TOOLS = ("holdfast", "evidently-any", "evidently-half", "nannyml")
Told = dict[str, Any]


def write(answer: Told) -> None:
    """Replace the tables of what was measured."""
    text = PAGE.read_text(encoding="utf-8")
    for key, render in RENDERED.items():
        if key in answer:
            mark = f"(<!-- {key} -->\n).*?(<!-- end -->)"
            body = "\n".join(render(answer)) + "\n"
            text, count = re.subn(mark, lambda found, body=body: found[1] + body + found[2], text,
                                  flags=re.DOTALL)
            assert count == 1, f"{PAGE.name}: no place marked <!-- {key} -->"
    PAGE.write_text(text, encoding="utf-8")


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """A Markdown table."""
    return ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads),
            *("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows)]


def _false_alarms(answer: Told) -> list[str]:
    def cell(told: Told) -> str:
        return f"{told['alarms']} ({told['ratio']:.2f}; {told['times']:.1%})"

    return table(("stream", "rows", "budget", *TOOLS), (
        (stream, f"{int(rows):,}", f"{tools['holdfast']['expected']:.2f}",
         *(cell(tools[name]) for name in TOOLS))
        for stream, sizes in answer["false_alarms"].items() for rows, tools in sizes.items()))


def _fresh(answer: Told) -> list[str]:
    def broken(told: Told, share: str) -> str:
        drifted, known = (told[f"{how}_{share}"] / told["days"] for how in ("drifted", "told"))
        return f"{drifted:.0%}; {known:.0%}"

    return table(("stream", "limits", "days", "budget", "alarms", "warned of", "one answer to all",
                  "one answer to half"), (
        (f"`{stream}`", way, f"{told['days']:,}", f"{told['expected']:.1f}",
         f"{told['alarms']} ({told['ratio']:.2f}; {told['loud'] / told['days']:.1%})",
         f"{told['warned'] / told['days']:.1%}", broken(told, "1"), broken(told, "0.5"))
        for stream, ways in answer["fresh"].items() for way, told in ways.items()))


def _simulated(answer: Told) -> list[str]:
    return table(("tool", "alarms / budget", "95 % interval", "windows that alarm", "streams"), (
        (name, f"{told['ratio']:.2f}", f"{told['low']:.2f} to {told['high']:.2f}",
         f"{told['times']:.1%}", told["streams"])
        for name, told in answer["simulated_ratios"].items()))


def _delay(answer: Told) -> list[str]:
    def cell(told: Told) -> str:
        return (f"{told['median']:g} ({told['low']:g} to {told['high']:g}); {told['mean']:.1f}, "
                f"{told['found']:.0%}")

    return table(("onset", "rows", *TOOLS), (
        (onset, tools["holdfast"]["rows"], *(cell(tools[name]) for name in TOOLS))
        for onset, tools in answer["delay"].items()))


def _seasonal(answer: Told) -> list[str]:
    def cell(told: Told) -> str:
        equal = "not found" if told["alarms"] is None else str(told["alarms"])
        return f"{equal}; {told['by_default']} (delay {told['delay_by_default']:g})"

    tools = list(next(iter(answer["seasonal"].values())))
    return table(("stream", "weeks", "common delay", *tools), (
        (stream, told["stream"]["weeks"], f"{told['stream']['delay']:g}",
         *(cell(told[name]) for name in tools))
        for stream, told in answer["seasonal_details"].items()))


def _estimation(answer: Told) -> list[str]:
    rows = table(("stream", "windows", "metric", "holdfast", "CBPE", "difference (95 %)"), (
        (stream, f"{told['windows']:,}", metric, f"{told['holdfast']:.4f}",
         f"{told['nannyml_cbpe']:.4f}", "{:+.4f} ({:+.4f} to {:+.4f})".format(*told["difference"]))
        for stream, tools in answer["estimation"].items()
        for metric, told in tools["metrics"].items()))
    pooled = answer["interval_coverage"]
    shares = ", ".join(f"{metric} {share:.1%}" for metric, share in pooled.items()
                       if isinstance(share, float))
    return [*rows, "", f"Coverage of the 95 % prediction intervals over {pooled['windows']:,} "
                       f"windows: {shares}."]


def _power(answer: Told) -> list[str]:
    shapes = list(next(iter(answer["power"].values())))
    return table(("windows", *shapes), ((name, *(_share(told[shape]) for shape in shapes))
                                        for name, told in answer["power"].items()))


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _judging(answer: Told) -> list[str]:
    return [f"1,000 features x 30 windows: {answer['judge_cpu_seconds']:.2f} CPU seconds to judge "
            f"(calibrating the baseline: {answer['calibrate_cpu_seconds']:.0f})."]


def _compression(answer: Told) -> list[str]:
    return table(("network", "point taken", "smaller", "faster at 1", "faster at 256",
                  "from raw at 1", "from raw at 256", "accuracy", "change"), (
        (name, told["point"], f"{told['size']:.1f} x", f"{told['batch1']:.1f} x",
         f"{told['batch256']:.1f} x", f"{told['from_raw']['batch1']:.1f} x",
         f"{told['from_raw']['batch256']:.1f} x", f"{told['accuracy']:.3f}",
         f"{told['accuracy_change']:+.4f}") for name, told in answer["compression"].items()))


def _loop(answer: Told) -> list[str]:
    policies = list(next(iter(answer["loop"].values())))
    return table(("stream", *policies), (
        (f"`{name}`", *(f"{told[policy]['mean']:.3f} ({told[policy]['trainings']})"
                        for policy in policies)) for name, told in answer["loop"].items()))


def _transfer(answer: Told) -> list[str]:
    return table(("stream", "labels", "champion", "scratch, a quarter", "scratch, all",
                  "fine-tuned, a quarter", "difference (95 %)", "by date"), (
        (f"`{name}`", f"{int(rows) // 4:,} of {int(rows):,}",
         *(f"{told[who]:.3f}" for who in ("never", "scratch_on_few", "scratch", "tuned")),
         f"{told['difference']:+.4f} ({told['interval'][0]:+.4f} to {told['interval'][1]:+.4f})",
         ", ".join(f"{gap:+.3f}" for gap in told["by_date"].values()))
        for name, sizes in answer["transfer"].items() for rows, told in sizes.items()))


RENDERED: dict[str, Callable[[Told], list[str]]] = {
    "false_alarms": _false_alarms, "fresh": _fresh, "simulated_ratio": _simulated, "delay": _delay,
    "seasonal": _seasonal, "estimation": _estimation, "power_error": _power,
    "judge_cpu_seconds": _judging, "compression": _compression, "loop": _loop,
    "transfer": _transfer,
}
