"""The walls between rooms: imports go one way, `judge` and `report` stay pure."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("receive", "score", "judge", "report", "deliver", "watch", "keep")

MAY_USE = {
    "receive": {"ledger"},
    "score": {"ledger", "judge", "report"},
    "judge": set(),
    "report": {"judge"},
    "deliver": {"ledger"},
    "watch": {"ledger", "judge", "report"},
    "keep": {"ledger"},
    "ledger": {"judge"},
    "spool": set(),
}
"""What each room of the service may import of the others. Every room may use the modules that lie
beside the rooms (config, errors, header, log, role, sop_classes), but for the pure ones."""

IMPURE = {"time", "random", "os", "socket", "subprocess", "threading", "sqlalchemy", "pathlib"}


def imports(path: Path) -> set[str]:
    """Full names of all modules a file imports, at any depth of nesting."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found


def files(*parts: str) -> list[Path]:
    return sorted((ROOT.joinpath(*parts)).rglob("*.py"))


def packages(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("path", files("service"), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_service_knows_neither_torch_nor_trainer(path):
    assert packages(imports(path)).isdisjoint({"torch", "trainer", "timm", "torchvision"})
    assert not any(name.startswith("models.networks") for name in imports(path))


@pytest.mark.parametrize(
    "path", files("models") + files("trainer"), ids=lambda path: str(path.relative_to(ROOT))
)
def test_models_and_trainer_do_not_look_back(path):
    forbidden = {"service"} | ({"trainer"} if "models" in path.parts else set())
    assert packages(imports(path)).isdisjoint(forbidden)


@pytest.mark.parametrize("name", ["card.py", "render.py"])
def test_what_both_sides_share_needs_numpy_only(name):
    used = packages(imports(ROOT / "models" / name)) - set(sys.stdlib_module_names)
    assert used <= {"numpy", "models"}


@pytest.mark.parametrize("room", sorted(MAY_USE))
def test_rooms_meet_only_where_the_plan_says(room):
    for path in files("service", room):
        used = {
            name.split(".")[1]
            for name in imports(path)
            if name.startswith("service.") and name.split(".")[1] in (*ROOMS, "ledger")
        }
        assert used - {room} <= MAY_USE[room], path


@pytest.mark.parametrize("room", ["judge", "report"])
def test_pure_rooms_touch_nothing(room):
    for path in files("service", room):
        names = imports(path)
        allowed = {"pathlib"} if path.name == "typeface.py" else set()
        assert packages(names) & IMPURE <= allowed, path
        own = {name.split(".")[1] for name in names if name.startswith("service.")}
        assert own <= {"judge", "report", "errors"}, path
        clocks = [
            node
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, ast.Attribute) and node.attr in ("now", "today", "utcnow", "uuid4")
        ]
        assert not clocks, path


def test_the_service_runs_without_torch_installed():
    """Importing every room pulls in none of the trainer's libraries."""
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in files("service")
        if "migrations" not in path.parts and path.name != "__main__.py"
    ]
    code = f"import sys, importlib\nfor name in {modules!r}: importlib.import_module(name)\n"
    code += "assert not {'torch', 'trainer', 'timm', 'cv2', 'scipy', 'onnx'} & set(sys.modules)\n"
    code += "assert not {'openvino', 'tensorrt', 'cuda', 'fsspec', 'obstore'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
