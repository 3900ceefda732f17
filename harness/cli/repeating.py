"""``run --again``: what is printed of a second execution beside the first."""

from __future__ import annotations

from collections.abc import Sequence

from harness.cli.session import console, shown
from harness.errors import many
from harness.running import Repeated


def print_one(repeated: Repeated) -> None:
    """Write every value and file of one item."""
    for name, value in repeated.first.values.items():
        other = repeated.second.values.get(name)
        said = "bit-equal" if repeated.values[name] else f"differs by {abs((other or 0.0) - value):.3g}"
        console.print(shown(f"  {name}: {value!r} and {other!r}: {said}"))
    for name, same in repeated.files.items():
        console.print(shown(f"  {name}: {'the same bytes' if same else 'other bytes'}"))


def print_all(found: Sequence[Repeated]) -> bool:
    """Write what differs and how much is the same; return whether all is."""
    for repeated in found:
        other = [name for name, same in (repeated.values | repeated.files).items() if not same]
        if other:
            console.print(shown(f"  differs: {repeated.item.title} ({', '.join(other)})"))
    values = [same for repeated in found for same in repeated.values.values()]
    files = [same for repeated in found for same in repeated.files.values()]
    phases = sum(repeated.item.kind == "phase" for repeated in found)
    console.print(
        f"repeated {many(phases, 'phase')} and {many(len(found) - phases, 'trial')}: {sum(values)} of "
        f"{many(len(values), 'value')} bit-equal, {sum(files)} of {many(len(files), 'file')} (weights, curves, arrays) "
        "with the same bytes."
    )
    return all(values) and all(files)
