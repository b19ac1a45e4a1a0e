"""Run the command ``kimikit`` by ``python -m kimikit``."""

import sys

from kimikit.cli import main

sys.exit(main())
