"""What a command needs beyond the plain installation."""

from __future__ import annotations

import importlib.util

from galcli.errors import UsageError


def need_training(what: str) -> None:
    """Refuse a command that needs the training extra where it is not installed.

    Raises
    ------
    UsageError
        Naming how to install it.
    """
    missing = [
        name for name in ("torch", "lightning_fabric", "sklearn", "onnx") if importlib.util.find_spec(name) is None
    ]
    if missing:
        raise UsageError(
            f"{what} needs the training extra ({', '.join(missing)} not installed)", "pip install 'galcli[train]'"
        )
