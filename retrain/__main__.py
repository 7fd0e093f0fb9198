"""``python -m retrain REQUEST.json``."""

import sys

from monitor.logs import watch
from retrain.cli import main

watch()
sys.exit(main())
