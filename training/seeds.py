"""Seeds: one per (seed, step, ...), so that a step's randomness needs no history."""

from __future__ import annotations

import torch

_MASK = (1 << 64) - 1


def mix(seed: int, *numbers: int) -> int:
    """A 63-bit seed for a tuple of numbers, without correlation between neighbours (splitmix64, Steele et al. 2014)."""
    state = seed & _MASK
    for number in numbers:
        state = (state + (number + 1) * 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state >> 1


def generator(seed: int, *numbers: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch generator seeded by a tuple of numbers."""
    return torch.Generator(device).manual_seed(mix(seed, *numbers))
