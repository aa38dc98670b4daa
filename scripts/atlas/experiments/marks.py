"""Words in the rows of tables: their tables write them, their findings look for them.

Findings are also told at the end of a run, by a process that need not import what draws a table.
"""

AVERAGE = "average"  # main: in place of a pool, the mean over pools
QUANTITIES = ("cosine_first", "cosine_second", "cosine_sum")  # additive: columns
ACCURACY = "accuracy"  # retrieval: in place of a query, over all of them
SPACE, LAYER, PROBES = "space", "layer", "probes"  # spaces: which curve a row is of
DECISION = "decision"  # geometry: in place of a measure, what the deciding ones say
MEAN, SPREAD = "mean", "spread"  # in place of a seed or a task, over all of them
