"""`python -m hwq.simulate`: the main command, a short name for `hwq simulate`."""

import sys

from hwq.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["simulate", *sys.argv[1:]]))
