"""`python -m hwq`: the `hwq` command."""

import sys

from hwq.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
