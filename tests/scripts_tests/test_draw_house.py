from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]
FILES = {
    "sb3_hpo/__init__.py": "",
    "sb3_hpo/roof.py": "from sb3_hpo.hall import stairs\n",
    "sb3_hpo/hall/__init__.py": "",
    "sb3_hpo/hall/stairs.py": "def climb():\n    from sb3_hpo.ground import floor\n",
    "sb3_hpo/ground.py": "from typing import TYPE_CHECKING\n"
    "if TYPE_CHECKING:\n    from sb3_hpo.roof import tile\n",
}
LAYERS = """
[[tool.importlinter.contracts]]
type = "layers"
layers = ["roof", "hall", "ground"]
"""


def _script() -> Any:
    spec = importlib.util.spec_from_file_location("draw_house", ROOT / "scripts/draw_house.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["draw_house"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def _write(root: Path, **changes: str) -> Path:
    (root / "pyproject.toml").write_text(LAYERS)
    for name, text in {**FILES, **changes}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_house_has_arrows_for_imports_at_run_time_also_inside_functions(tmp_path: Path) -> None:
    script = _script()
    house = script.read_house(_write(tmp_path))
    assert house.modules == {"roof": [], "hall": ["stairs"], "ground": []}
    assert house.arrows == {("roof", "hall"), ("hall", "ground")}
    assert script.describe(house) == (
        "3 rooms with 1 modules on 3 floors, 2 arrows, 0 up, no cycle between rooms, "
        "no cycle between modules"
    )


def test_arrow_that_points_up_closes_a_circle(tmp_path: Path) -> None:
    script = _script()
    up = {"sb3_hpo/ground.py": "import sb3_hpo.roof\n"}
    house = script.read_house(_write(tmp_path, **up))
    assert house.up == [("ground", "roof")]
    assert set(script.find_cycle(house.arrows)) == {"roof", "hall", "ground"}
    assert 'class="up"' in script.draw(house)


def test_picture_in_the_docs_is_of_this_house() -> None:
    script = _script()
    house = script.read_house(ROOT)
    assert (ROOT / "docs/house.svg").read_text() == script.draw(house), (
        "python scripts/draw_house.py --svg docs/house.svg"
    )
    assert house.up == []
    assert script.find_cycle(house.module_arrows) == []
    assert len(house.floors) <= 10
    texts = {node.text for node in ElementTree.fromstring(script.draw(house)).iter() if node.text}
    assert set(house.modules) <= texts


PACKAGES = sorted(
    path.parent.relative_to(ROOT) for path in (ROOT / "sb3_hpo").glob("*/**/__init__.py")
)


def _face(package: Path) -> tuple[str, set[str]]:
    """Return the docstring of a package and what others may import from it."""
    tree = ast.parse((ROOT / package / "__init__.py").read_text())
    named: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            named |= set(ast.literal_eval(node.value))
    return ast.get_docstring(tree) or "", named


@pytest.mark.parametrize("package", PACKAGES, ids=str)
def test_face_of_a_package_says_what_lives_there(package: Path) -> None:
    text, named = _face(package)
    files = [*(ROOT / package).glob("*.py"), *(ROOT / package).glob("*/__init__.py")]
    inside = {
        path.parent.name if path.parent.name != package.name else path.stem for path in files
    }
    inside.discard("__init__")
    assert {name for name in inside if f"`{name}`" not in text} == set()
    assert named <= inside


def test_packages_import_from_each_other_what_their_faces_name() -> None:
    faces = {".".join(package.parts): _face(package)[1] for package in PACKAGES}
    past_the_face = []
    for source, target in sorted(_script().read_house(ROOT).module_arrows):
        parts = target.split(".")
        for n in range(2, len(parts)):
            package = ".".join(parts[:n])
            is_inside = f"{source}.".startswith(f"{package}.")
            if package in faces and not is_inside and parts[n] not in faces[package]:
                past_the_face.append(f"{source} -> {target}")
    assert past_the_face == []
