"""Where artefacts came from, and whether they are whole: python scripts/lineage.py --help."""

import gc
import sys

from atlas.lineage.command import main

if __name__ == "__main__":
    gc.disable()  # hundreds of thousands of objects are made, and end with the process
    sys.exit(main())
