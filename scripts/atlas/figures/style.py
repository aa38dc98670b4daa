"""How domains are shown, in figures and in the navigator."""

from collections.abc import Sequence


def looks(
    domains: Sequence[str], palette: Sequence[str], markers: Sequence[str]
) -> dict[str, tuple[str, str]]:
    """Colour and marker of each domain; both repeat only when they have all been used together."""
    names = sorted(set(domains))
    return {
        name: (palette[i % len(palette)], markers[(i + i // len(palette)) % len(markers)])
        for i, name in enumerate(names)
    }
