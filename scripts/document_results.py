"""Bring the figures of README.md and docs/ up to date with results/.

python scripts/document_results.py           writes what the tables that are there say
python scripts/document_results.py --check   exits 1 where a configuration has changed since
"""

import sys

from atlas.publishing.documented import main

if __name__ == "__main__":
    sys.exit(main())
