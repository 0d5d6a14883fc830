"""The rules of the house that a machine can check: who imports whom, what is packaged, how long a module is."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.launcher import ROOT

GALCLI = ROOT / "galcli"
MODULES = sorted(GALCLI.rglob("*.py"))
#: Rooms from the top of the house down; a room uses those below it. The middle floor is one.
FLOORS = [("cli",), ("predict",), ("cutouts", "models", "tables", "sky"), ("errors", "interrupts", "progress")]


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """(dotted name, is it at the top of the module) of everything a module imports, lazily or not."""
    tree = ast.parse(path.read_text())
    top = set(map(id, tree.body))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from ((f"{node.module}.{alias.name}", id(node) in top) for alias in node.names)


def importers(package: str) -> set[str]:
    """Modules of galcli that import a package anywhere, also inside functions."""
    return {
        path.relative_to(GALCLI).as_posix()
        for path in MODULES
        for name, _ in imports(path)
        if name == package or name.startswith(package + ".")
    }


def test_the_check_sees_lazy_imports() -> None:
    assert "models/runtime.py" in importers("onnxruntime")  # imported inside functions only


@pytest.mark.parametrize("package", ["torch", "lightning", "sklearn", "scipy", "matplotlib", "pickle", "pandas"])
def test_galcli_never_imports(package: str) -> None:
    assert not importers(package)


def test_each_library_has_its_one_place() -> None:
    assert importers("healpy") == {"sky/healpix.py"}
    assert importers("onnxruntime") == {"models/runtime.py"}
    assert importers("onnx") == {"models/convert.py"}
    assert importers("PIL") == {"cutouts/display_image.py"}
    assert {name.split("/")[0] for name in importers("click")} == {"cli"}
    assert all(name.startswith("cutouts/") for name in importers("fitsio"))


def test_training_is_known_to_commands_only_and_inside_them() -> None:
    assert {name.split("/")[0] for name in importers("galcli.training")} <= {"cli"}
    at_top = [path for path in MODULES for name, top in imports(path) if top and name.startswith("galcli.training")]
    assert not at_top


def test_imports_run_one_way() -> None:
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    wrong = []
    for path in MODULES:
        room = path.relative_to(GALCLI).parts[0].removesuffix(".py")
        for name, _ in imports(path):
            other = name.split(".")[1] if name.startswith("galcli.") else ""
            if room in floor and other in floor and floor[other] < floor[room]:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong


def test_packages_are_the_folders() -> None:
    """A folder that is forgotten here is missing from every installation but the developer's."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    found = set()
    for package, folder in settings["package-dir"].items():
        for init in (ROOT / folder).rglob("__init__.py"):
            found.add(".".join([package, *init.parent.relative_to(ROOT / folder).parts]))
    assert set(settings["packages"]) == found
    without_init = {
        path.parent
        for path in MODULES
        if not (path.parent / "__init__.py").exists() and path.parent != GALCLI / "sample"
    }
    assert not without_init


def test_data_files_are_packaged() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    places = {"galcli.schemas": ROOT / "schemas", "galcli.weights": ROOT / "weights"}
    places |= {f"galcli.{room}": GALCLI / room for room in ("models", "sample")}
    for package, folder in places.items():
        packed = {path for pattern in settings["package-data"][package] for path in folder.glob(pattern)}
        data = {path for path in folder.rglob("*") if path.suffix in (".onnx", ".json", ".fits")}
        assert data <= packed, package
    assert (GALCLI / "py.typed").exists()


@pytest.mark.parametrize(
    "path", [*MODULES, *sorted((ROOT / "training").rglob("*.py"))], ids=lambda p: str(p.relative_to(ROOT))
)
def test_modules_are_short_and_explained(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 400
    if text.strip():
        assert ast.get_docstring(ast.parse(text))
