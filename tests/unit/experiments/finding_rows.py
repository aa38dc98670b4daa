"""Rows of tables as findings read them."""

from __future__ import annotations


def rows(*given, **common):
    """Rows as read_csv gives them: texts, empty where there is nothing."""
    return [{k: "" if v is None else str(v) for k, v in {**common, **row}.items()} for row in given]


def silhouette(value, low=None, high=None, p=None, **more):
    (row,) = rows({"space": "delta_activations", "silhouette": value, "low": low, "high": high,
                   "p_value": p, "label": "domain", "reason": "", "published": "", "seed": 42,
                   **more})  # fmt: skip
    return row


def main_rows(values, published=None, pool="p"):
    published = published or {}
    return rows(*({"space": space, "distance": kind, "pool": pool, "silhouette": value,
                   "published": published.get(space)}
                  for space, value in values.items() for kind in ("cosine", "cosine_clipped")))  # fmt: skip


def sure_rows(intervals):
    return rows(*({"space": space, "distance": kind, "label": "domain", "low": low, "high": high,
                   "p_value": 0.001, "reason": ""}
                  for space, (low, high) in intervals.items()
                  for kind in ("cosine", "cosine_clipped")))  # fmt: skip


NEAR = rows(
    {"space": "delta_activations", "rank": 1, "domain": "a", "neighbour_domain": "a"},
    {"space": "delta_activations", "rank": 2, "domain": "a", "neighbour_domain": "b"},
    {"space": "delta_activations", "rank": 1, "domain": "b", "neighbour_domain": "a"},
)


def checkpoint(name, measure, on, **values):
    return rows(*({"delta": "d", "model": name, "role": role, "checkpoint": role, "measure": measure,
                   "on": on, "value": value, "text": ""} for role, value in values.items()))  # fmt: skip
