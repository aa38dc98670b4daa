"""Generate config/schema.json and the key tables of config/README.md from the grammar.

python scripts/document_config.py           writes both
python scripts/document_config.py --check   exits 1 where a file on disk differs
"""

import sys

from atlas.configuration.documentation import main

if __name__ == "__main__":
    sys.exit(main())
