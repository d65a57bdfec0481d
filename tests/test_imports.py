"""The directions of imports that import-linter does not hold: no circles, and storage alone writes the run folder."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
PACKAGES = ("benchmarks", "tuners", "raynas", "search_spaces")


def module_files() -> dict[str, Path]:
    files = [file for package in PACKAGES for file in (CHECKOUT / package).rglob("*.py")]
    names = {file: ".".join(file.relative_to(CHECKOUT).with_suffix("").parts) for file in files}
    return {name.removesuffix(".__init__"): file for file, name in names.items()}


def imported_names(file: Path) -> Iterator[str]:
    """Every module or name that a file imports: inside functions and for types, too."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports_of(modules: dict[str, Path]) -> dict[str, set[str]]:
    """For each module, the modules of the project that it imports."""
    imports = {}
    for module, file in modules.items():
        candidates = {name for full in imported_names(file) for name in (full, full.rpartition(".")[0])}
        exact = {full for full in imported_names(file) if full in modules}
        parents = {name for name in candidates if name in modules and not any(e.startswith(f"{name}.") for e in exact)}
        imports[module] = (exact | parents) - {module}
    return imports


def test_no_circle_of_imports_even_for_types() -> None:
    try:
        tuple(TopologicalSorter(imports_of(module_files())).static_order())
    except CycleError as error:
        pytest.fail(f"These modules import each other in a circle: {' -> '.join(error.args[1])}")


def test_a_circle_is_seen(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from b import B\n")
    (tmp_path / "b.py").write_text("def f():\n    import a\n")
    modules = {"a": tmp_path / "a.py", "b": tmp_path / "b.py"}
    assert imports_of(modules) == {"a": {"b"}, "b": {"a"}}
    with pytest.raises(CycleError):
        tuple(TopologicalSorter(imports_of(modules)).static_order())


def test_only_storage_touches_the_files_of_a_run_folder() -> None:
    """pyarrow's file systems are the one way to a run folder that may lie on an object store."""
    outside = [
        module
        for module, file in module_files().items()
        if module.startswith("raynas.") and not module.startswith("raynas.storage.")
        if any(name.startswith("pyarrow") for name in imported_names(file))
    ]
    assert outside == []
