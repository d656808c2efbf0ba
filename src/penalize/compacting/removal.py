"""Which units go: those that nobody reads, and those that are constant and can be folded into the next bias."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from penalize.compacting.chain import Chain
from penalize.compacting.places import Constants, Part, Place
from penalize.compacting.units import Units

__all__ = ["Stretch", "cut", "look", "remove_units", "stretches_of"]


@dataclass(frozen=True)
class Stretch:
    """Two layers with units, one behind the other, the parts between, and where the units stand in front of each.

    `place` is where they stand in the input of the second layer.
    """

    before: Units
    parts: tuple[tuple[Part, Place], ...]
    behind: Units
    place: Place


def stretches_of(chain: Chain, shapes: Sequence[tuple[torch.Size, torch.Size]]) -> list[Stretch]:
    """The stretches of a chain, given the shapes of each module's input and output.

    Raises CompactError, by name, for a part that acts along another axis than that of the units.
    """
    stretches = []
    before: Units | None = None
    parts: list[tuple[Part, Place]] = []
    place = Place(0, torch.arange(0))
    for link, (shape, output) in zip(chain.up_to_last_units(), shapes, strict=False):
        for part in link.parts:
            if isinstance(part, Units):
                if before is not None:
                    stretches.append(Stretch(before, tuple(parts), part, part.placed(place, shape, output)))
                before, parts, place = part, [], part.own_place(output)
            elif before is not None:
                parts.append((part, place))
                place = part.placed(place, shape, output)
    return stretches


def look(stretches: Sequence[Stretch]) -> None:
    """Read the weights of all layers, once each."""
    for units in {id(units): units for each in stretches for units in (each.before, each.behind)}.values():
        units.look()


def remove_units(stretches: Sequence[Stretch]) -> None:
    """Take units away until nothing more falls: one that is gone can free units before it and behind it."""
    while sum(_remove_in(stretch) for stretch in [*stretches, *reversed(stretches)]):
        pass


def _remove_in(stretch: Stretch) -> bool:
    """Take away the units of the first layer that go now, and say whether there were any.

    The last one stays, with zeros for weights: what it added is folded as that of the others.
    """
    before, behind, owner = stretch.before, stretch.behind, stretch.place.owner
    if before.blank:
        return False
    constants = Constants(~before.reads.any(1), before.bias)
    for part, _ in stretch.parts:
        constants = part.through(constants)
    foldable = constants.known & constants.value.isfinite()
    if behind.sees_zeros():
        foldable &= constants.value == 0
    unread = ~behind.reads.any(0)
    # A unit goes when all of its entries do: behind a Flatten these are its positions.
    staying = torch.zeros(len(before.kept), dtype=torch.long).index_add_(0, owner, (~(foldable | unread)).long())
    going = before.kept & (staying == 0)
    if not going.any():
        return False
    entries = going[owner]
    folded = entries & ~unread
    behind.fold(folded, constants.value[folded])
    behind.reads[:, entries] = False
    before.reads[going] = False
    before.bias[going] = 0.0
    before.kept &= ~going
    if not before.kept.any():
        before.kept[going.nonzero()[0]] = True
        before.blank = True
    return True


def cut(stretches: Sequence[Stretch]) -> None:
    """Make all modules as small as the units that were kept."""
    if not stretches:
        return
    inputs = torch.arange(stretches[0].before.reads.shape[1])
    for stretch in stretches:
        stretch.before.cut_to(inputs)
        for part, place in stretch.parts:
            part.cut(_entries(stretch.before, place))
        inputs = _entries(stretch.before, stretch.place)
    stretches[-1].behind.cut_to(inputs)


def _entries(units: Units, place: Place) -> torch.Tensor:
    """The entries along the units' axis that belong to kept units."""
    return units.kept[place.owner].nonzero().flatten()
