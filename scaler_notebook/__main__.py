"""``python -m scaler_notebook`` is ``scaler-notebook``."""

import sys

from .cli.command import main

if __name__ == "__main__":
    sys.exit(main())
