"""``python -m dashboards`` writes the JSON of all dashboards; ``--check`` says what is stale."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards import daemon, fleet, history, model, retraining
from dashboards.frame import framed

FOLDER = Path(__file__).parent
BOARDS = (fleet.BOARD, model.BOARD, retraining.BOARD, history.BOARD, daemon.BOARD)


def documents() -> dict[str, str]:
    """File (beside this one) -> its text."""
    return {f"{board.name}.json": json.dumps(framed(board), cls=JSONEncoder, indent=2) + "\n"
            for board in BOARDS}


def main(arguments: list[str]) -> int:
    """The exit code; 1 where ``--check`` finds a file that is not what would be written."""
    stale = [name for name, text in documents().items()
             if not (FOLDER / name).exists() or (FOLDER / name).read_text("utf-8") != text]
    for name in stale:
        if "--check" in arguments:
            sys.stderr.write(f"dashboards/{name} is not current; run `make docs`\n")
        else:
            (FOLDER / name).write_text(documents()[name], "utf-8")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
