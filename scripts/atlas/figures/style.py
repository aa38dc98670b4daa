"""How spaces and domains are shown, in figures and in the navigator."""

from __future__ import annotations

from collections.abc import Sequence

# In the order of the published table, the family of delta activations last.
SPACE_NAMES = {
    "flattened_weights": "Flattened weights",
    "salient_mask": "Salient mask",
    "output_sentences": "Output sentences",
    "delta_activations": "Delta activations",
    "delta_logits": "Delta logits",
    "delta_weighted": "Delta weighted",
    "delta_meaning": "Delta meaning",
}


def looks(
    domains: Sequence[str], palette: Sequence[str], markers: Sequence[str]
) -> dict[str, tuple[str, str]]:
    """Colour and marker of each domain; both repeat only when they have all been used together."""
    names = sorted(set(domains))
    return {
        name: (palette[i % len(palette)], markers[(i + i // len(palette)) % len(markers)])
        for i, name in enumerate(names)
    }
