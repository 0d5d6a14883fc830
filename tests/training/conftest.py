"""Fixtures that several tests of the recipes share: an export costs seconds."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(scope="session", params=["metallicity", "lines"])
def tiny_sfnet(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Model file of a small SFNet (read only), its card, what the export said, and the samples it was given."""
    from tests.training.tiny_sfnet import exported, samples  # torch, which other tests do without

    given = samples({"metallicity": 1, "lines": 4}[request.param])
    return *exported(request.param, given, tmp_path_factory.mktemp("sfnet")), given


@pytest.fixture(scope="session")
def tiny_spectra(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A small model from images to spectra with its autoencoder (read only)."""
    from tests.training import tiny_spectra

    return tiny_spectra.make(tmp_path_factory.mktemp("spectra"))
