"""Random numbers of the mock survey: one torch.Generator, on whose device everything is drawn."""

import math

import torch
from torch import Tensor


class Draws:
    """Arrays of n random numbers at a time.

    Parameters
    ----------
    n : int
        Length of every array.
    generator : torch.Generator
        The only source of randomness; its device is the device of the arrays.
    """

    def __init__(self, n: int, generator: torch.Generator) -> None:
        self.n = n
        self.generator = generator

    def uniform(self, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Uniform in [low, high)."""
        unit = torch.rand(self.n, generator=self.generator, device=self.generator.device)
        return low + (high - low) * unit

    def normal(self, mean: float = 0.0, sigma: float = 1.0) -> Tensor:
        """Gaussian, truncated at 3 sigma so that envelopes and tables hold for every galaxy."""
        inside = math.erf(3 / math.sqrt(2))  # clamping instead would pile galaxies up at 3 sigma
        return mean + sigma * math.sqrt(2) * torch.erfinv(self.uniform(-inside, inside))

    def chance(self, probability: Tensor | float) -> Tensor:
        """Boolean, True with the given probability."""
        return self.uniform() < probability

    def poisson(self, rate: Tensor) -> Tensor:
        """Poisson counts, float."""
        return torch.poisson(rate, generator=self.generator)
