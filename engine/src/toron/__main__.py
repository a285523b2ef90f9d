"""``python -m toron`` is the command ``toron``."""

from __future__ import annotations

import sys

from toron.cli import main

sys.exit(main())
