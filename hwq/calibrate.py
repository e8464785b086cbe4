"""`python -m hwq.calibrate`: a short name for `hwq calibrate`."""

import sys

from hwq.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["calibrate", *sys.argv[1:]]))
