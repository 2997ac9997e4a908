"""Who may import whom, and what an import brings with it (the house rule of the four packages)."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "edgeface": ROOT / "edgeface",
    "edgeface_export": ROOT / "export" / "edgeface_export",
    "edgeface_calibration": ROOT / "calibration" / "edgeface_calibration",
    "edgeface_runtime": ROOT / "runtime" / "edgeface_runtime",
}
HOUSE = tuple(PACKAGES)
BACKEND_PACKAGES = {"onnxruntime", "tensorrt", "tensorrt_rtx", "pycuda", "cuda"}
ON_DEMAND = {*BACKEND_PACKAGES, "cryptography", "pymilvus"}
"""What the runtime imports inside functions only: one backend, signatures, a gallery server's client."""
LIGHT = ("edgeface.cli", "edgeface_runtime.errors", "edgeface_runtime.files")
"""What the cli may import before a command runs, besides the package names themselves."""


@dataclass(frozen=True)
class Import:
    """One import statement."""

    by: str
    """The importing module."""
    what: str
    """The imported module (for `from a import b`, a.b where that is a module)."""
    top_level: bool
    """Whether it runs when the module is imported."""
    line: int

    def __str__(self) -> str:
        return f"{self.by}:{self.line} imports {self.what}"


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def modules() -> dict[str, Path]:
    found = {}
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            found[".".join((package, *(p for p in parts if p != "__init__")))] = path
    return found


MODULES = modules()


def imports_of(module: str, path: Path) -> Iterator[Import]:
    yield from _walk(module, ast.parse(path.read_text(encoding="utf-8")), True)


def _walk(module: str, node: ast.AST, top: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(module, alias.name, top, child.lineno) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"{module}:{child.lineno} imports relatively"
            base = child.module or ""
            for alias in child.names:
                full = f"{base}.{alias.name}"
                yield Import(module, full if full in MODULES else base, top, child.lineno)
        elif isinstance(child, ast.Call) and _is_import_call(child) and isinstance(child.args[0], ast.Constant):
            yield Import(module, str(child.args[0].value), top, child.lineno)
        inside = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)) or _is_type_checking(child)
        yield from _walk(module, child, top and not inside)


def _is_import_call(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    return name in ("import_module", "__import__") and bool(call.args)


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


IMPORTS = [statement for name, path in MODULES.items() for statement in imports_of(name, path)]


def allowed(by: str, what: str) -> bool:
    """The house rule for imports between its own packages."""
    if within(what, "edgeface.cli"):
        # `python -m edgeface` is the cli's own front door.
        return within(by, "edgeface.cli") or by == "edgeface.__main__"
    if within(by, "edgeface.cli"):
        return True
    if within(what, "edgeface.workflows"):
        return within(by, "edgeface.workflows")
    if within(by, "edgeface.workflows"):
        return True
    if within(by, "edgeface_runtime"):
        return within(what, "edgeface_runtime")
    if within(by, "edgeface_calibration"):
        return within(what, "edgeface_calibration") or within(what, "edgeface_runtime")
    if within(by, "edgeface_export"):
        return what == "edgeface" or any(
            within(what, p)
            for p in ("edgeface_export", "edgeface.models", "edgeface_calibration", "edgeface_runtime")
        )
    return not within(what, "edgeface_export")


@pytest.mark.parametrize(
    ("by", "what", "verdict"),
    [
        ("edgeface.cli.main", "edgeface_export.build", True),
        ("edgeface.cli.main", "edgeface.workflows.demo", True),
        ("edgeface.workflows.demo", "edgeface_export.build", True),
        ("edgeface.workflows.demo", "edgeface.cli.main", False),
        ("edgeface.__main__", "edgeface.cli.main", True),
        ("edgeface.models", "edgeface.cli.main", False),
        ("edgeface.training.loop", "edgeface.workflows.demo", False),
        ("edgeface.training.loop", "edgeface_calibration.metrics", True),
        ("edgeface.training.loop", "edgeface_export.fold", False),
        ("edgeface_export.fold", "edgeface.models.iresnet", True),
        ("edgeface_export.fold", "edgeface.training.loop", False),
        ("edgeface_calibration.metrics", "edgeface_runtime.align", True),
        ("edgeface_calibration.metrics", "edgeface.models", False),
        ("edgeface_runtime.bundle", "edgeface_calibration.metrics", False),
        ("edgeface_runtime.bundle", "edgeface", False),
    ],
)
def test_the_rule_itself(by: str, what: str, verdict: bool) -> None:
    assert allowed(by, what) is verdict


def test_there_is_something_to_check() -> None:
    assert {name.split(".")[0] for name in MODULES} == set(HOUSE)
    assert "edgeface_runtime.recognizer" in MODULES
    assert any(i.by == "edgeface_runtime.recognizer" and i.what == "edgeface_runtime.gallery_like" for i in IMPORTS)


def test_rooms_import_only_whom_they_may() -> None:
    inner = [i for i in IMPORTS if i.what.split(".")[0] in HOUSE]
    assert [str(i) for i in inner if not allowed(i.by, i.what)] == []


def test_the_runtime_needs_numpy_opencv_and_one_backend() -> None:
    known = {"numpy", "cv2", "edgeface_runtime", *ON_DEMAND, *sys.stdlib_module_names}
    foreign = [str(i) for i in IMPORTS if within(i.by, "edgeface_runtime") and i.what.split(".")[0] not in known]
    assert foreign == []
    eager = [
        str(i)
        for i in IMPORTS
        if within(i.by, "edgeface_runtime") and i.top_level and i.what.split(".")[0] in ON_DEMAND
    ]
    assert eager == []


def test_only_the_learning_side_and_the_exporter_know_torch() -> None:
    rooms = ("edgeface", "edgeface_export")
    wrong = [str(i) for i in IMPORTS if i.what.split(".")[0] == "torch" and not any(within(i.by, r) for r in rooms)]
    assert wrong == []


def test_the_cli_is_lazy() -> None:
    """Its modules import only themselves, the errors, and small packages; the rest inside command bodies."""
    light = {"typer", "rich", "click", *sys.stdlib_module_names}
    wrong = [
        str(i)
        for i in IMPORTS
        if within(i.by, "edgeface.cli")
        and i.top_level
        and i.what.split(".")[0] not in light
        and i.what not in HOUSE
        and not any(within(i.what, p) for p in LIGHT)
    ]
    assert wrong == []


def loaded_after(code: str) -> set[str]:
    """Top-level names of all modules a fresh interpreter has loaded after running `code`."""
    script = f"{code}\nimport sys, json\nprint(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    names: list[str] = json.loads(done.stdout.splitlines()[-1])
    return set(names)


HEAVY = {"torch", "edgeface", "edgeface_export", "edgeface_calibration", "onnx", "matplotlib", *ON_DEMAND}


def test_importing_the_runtime_loads_nothing_heavy() -> None:
    assert loaded_after("import edgeface_runtime") & {*HEAVY, "cv2", "numpy"} == set()


def test_the_runtimes_names_load_neither_torch_nor_a_backend() -> None:
    code = "import edgeface_runtime as r\nfor name in r.__all__: getattr(r, name)"
    loaded = loaded_after(code)
    assert loaded & HEAVY == set()
    assert "cv2" in loaded


def test_public_names_are_what_they_say() -> None:
    import edgeface_runtime

    assert edgeface_runtime.Recognizer.__module__ == "edgeface_runtime.recognizer"
    assert (
        set(edgeface_runtime._MODULE_OF) | {"__version__"}
        == set(edgeface_runtime.__all__)
        <= set(dir(edgeface_runtime))
    )
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = edgeface_runtime.nothing


@pytest.mark.parametrize("module", sorted(name for name in MODULES if within(name, "edgeface_runtime")))
def test_every_runtime_module_names_what_is_public(module: str) -> None:
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), f"{module} has no docstring"
    assigned = {t.id for n in tree.body if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)}
    assert "__all__" in assigned, f"{module} has no __all__"
