"""What retraining is worth: the loop, the search, smaller networks, and fine-tuning.

    python -m tests.benchmarks.retrain [--quick] [--only PART,...] [--json FILE] [--write]

Prints one JSON object. ``--quick`` takes fewer rows, ``--only`` some of the parts, ``--write``
writes the tables into ``docs/benchmarks.md``. What is measured is written in the module of each
part.
"""

from __future__ import annotations

from tests.benchmarks import compression, loop, searching, transfer
from tests.benchmarks.runner import Parts, main

PARTS: Parts = {
    "loop": lambda quick: {"loop": loop.measure(quick)},
    "compression": compression.measure,
    "search": lambda quick: {"search": searching.measure(quick)},
    "transfer": lambda quick: {"transfer": transfer.measure(quick)},
}

if __name__ == "__main__":
    main(PARTS, __doc__ or "")
