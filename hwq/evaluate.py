"""`python -m hwq.evaluate`: a short name for `hwq evaluate`."""

import sys

from hwq.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))
