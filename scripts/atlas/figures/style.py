"""How domains and models are shown, in figures and in the navigator."""

from collections.abc import Sequence


def looks(
    domains: Sequence[str], palette: Sequence[str], markers: Sequence[str]
) -> dict[str, tuple[str, str]]:
    """Colour and marker of each domain, in their order.

    Both repeat only when they have all been used together.
    """
    return {
        name: (palette[i % len(palette)], markers[(i + i // len(palette)) % len(markers)])
        for i, name in enumerate(dict.fromkeys(domains))
    }


def short_names(names: Sequence[str]) -> list[str]:
    """Names without the words that all of them begin with: `smollm2-gsm8k-first` as `gsm8k-first`."""
    if len(names) < 2:
        return list(names)
    # What the first and the last in the order of the alphabet share, all share.
    first, last = min(names), max(names)
    length = next(
        (i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first)
    )
    start = 1 + max(first.rfind(sign, 0, length) for sign in "-_.+")
    return [name[start:] or name for name in names]
