"""The rooms of the package, the floors they are on and the arrows between them: counts and an SVG.

    python scripts/draw_house.py --svg docs/house.svg

A room is what lies directly below `sb3_hpo`: a package, or a module of its own. An arrow is at
least one import at run time from one room to another; imports for types only do not count. The
floors are the layers that import-linter checks (pyproject.toml), so an arrow that does not point
to a lower floor points *up*.
"""

from __future__ import annotations

import argparse
import ast
import sys
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import tomllib

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = "sb3_hpo"
_WIDTH, _FLOOR, _LINE = 1180, 46, 14  # pixels: of the sheet, of an empty floor, of a line of text
_GAP = 26
_POPULAR = 7  # rooms that at least so many others use have no arrows in the picture
_STYLE = """
text { font: 12px sans-serif; fill: #222 } .room { font-weight: bold; font-size: 14px }
rect { fill: #f4f1ea; stroke: #8a7f6a; rx: 6 } path { fill: none; stroke: #4a6fa5; opacity: 0.45 }
.up { stroke: #c0392b; opacity: 1 } .note { fill: #777 }
"""


@dataclass(frozen=True)
class House:
    """What is drawn.

    Attributes:
        modules: By room: its modules, by their names inside it.
        arrows: Pairs of rooms: who imports whom.
        floors: Rooms by layer, the highest first.
        module_arrows: Pairs of modules, by their full names.
    """

    modules: dict[str, list[str]]
    arrows: frozenset[tuple[str, str]]
    floors: list[list[str]]
    module_arrows: frozenset[tuple[str, str]]

    @property
    def up(self) -> list[tuple[str, str]]:
        """Arrows that do not point to a lower floor."""
        level = {room: n for n, floor in enumerate(self.floors) for room in floor}
        return sorted((a, b) for a, b in self.arrows if level.get(b, 0) <= level.get(a, 0))


def read_house(root: Path) -> House:
    """Read the rooms of a checkout."""
    files = {_name(path, root): path for path in sorted((root / PACKAGE).rglob("*.py"))}
    module_arrows = {
        (name, target)
        for name, path in files.items()
        for target in _imports(ast.parse(path.read_text(encoding="utf-8")), files)
        if target != name
    }
    rooms: dict[str, list[str]] = {}
    for name in files:
        _, _, inner = name.partition(".")
        room, _, module = inner.partition(".")
        if room:
            rooms.setdefault(room, [])
            rooms[room] += [module] if module else []
    arrows = {(_room(a), _room(b)) for a, b in module_arrows if _room(a) and _room(b)}
    return House(
        rooms,
        frozenset((a, b) for a, b in arrows if a != b),
        _floors(root),
        frozenset(module_arrows),
    )


def _name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def _imports(tree: ast.Module, known: dict[str, Path]) -> Iterator[str]:
    for node in _at_run_time(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in known else node.module


def _at_run_time(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child
        yield from _at_run_time(child)


def _floors(root: Path) -> list[list[str]]:
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    layers = next(item["layers"] for item in contracts if item["type"] == "layers")
    return [layer.split(" | ") for layer in layers]


def find_cycle(arrows: frozenset[tuple[str, str]]) -> list[str]:
    """Return one circle of arrows, or nothing.

    Args:
        arrows: Pairs: from whom, to whom.
    """
    graph: dict[str, set[str]] = {}
    for source, target in arrows:
        graph.setdefault(source, set()).add(target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def describe(house: House) -> str:
    """Return the counts as text."""
    cycle, inner = find_cycle(house.arrows), find_cycle(house.module_arrows)
    up = ", ".join(f"{a} -> {b}" for a, b in house.up)
    return (
        f"{len(house.modules)} rooms with {sum(map(len, house.modules.values()))} modules on "
        f"{len(house.floors)} floors, {len(house.arrows)} arrows, {len(house.up)} up"
        f"{f' ({up})' if up else ''}, {_words(cycle)} between rooms, "
        f"{_words(inner)} between modules"
    )


def _words(cycle: list[str]) -> str:
    return f"a cycle ({' -> '.join(cycle)})" if cycle else "no cycle"


def draw(house: House) -> str:
    """Return the house as SVG, the highest floor first."""
    boxes: dict[str, tuple[float, float, float, float]] = {}
    y = 20.0
    for floor in house.floors:
        rows = max(len(_lines(house.modules[room], len(floor))) for room in floor)
        height = _FLOOR + rows * _LINE
        width = (_WIDTH - 40 - _GAP * (len(floor) - 1)) / len(floor)
        for n, room in enumerate(floor):
            boxes[room] = 20 + n * (width + _GAP), y, width, height
        y += height + _GAP
    users = {room: sum(target == room for _, target in house.arrows) for room in boxes}
    drawn = [pair for pair in sorted(house.arrows) if users[pair[1]] < _POPULAR]
    popular = sorted(room for room, n in users.items() if n >= _POPULAR)
    parts = [_arrow(boxes[a], boxes[b], is_up=(a, b) in house.up) for a, b in drawn]
    parts += [
        _box(room, _lines(house.modules[room], _n_beside(house, room)), box)
        for room, box in boxes.items()
    ]
    note = f"Not drawn: arrows to {', '.join(popular)}, which most rooms use."
    parts.append(f'<text class="note" x="20" y="{y + 4:.0f}">{note}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{y + 20:.0f}" '
        f'viewBox="0 0 {_WIDTH} {y + 20:.0f}"><style>{_STYLE}</style>'
        '<rect width="100%" height="100%" style="fill: white; stroke: none"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _n_beside(house: House, room: str) -> int:
    return next(len(floor) for floor in house.floors if room in floor)


def _lines(modules: list[str], n_beside: int) -> list[str]:
    """Lay out the names of modules, wings (sub-packages) as one name each."""
    names = [name for name, _ in groupby(name.partition(".")[0] for name in sorted(modules))]
    room = int((_WIDTH / n_beside - _GAP) / 7)  # characters
    lines = [""]
    for name in names:
        if lines[-1] and len(lines[-1]) + len(name) + 2 > room:
            lines.append("")
        lines[-1] += f"{', ' if lines[-1] else ''}{name}"
    return lines


def _box(room: str, lines: list[str], box: tuple[float, float, float, float]) -> str:
    x, y, width, height = box
    text = "".join(
        f'<text x="{x + 10:.0f}" y="{y + 40 + n * _LINE:.0f}">{line}</text>'
        for n, line in enumerate(lines)
    )
    return (
        f'<rect x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{height:.0f}"/>'
        f'<text class="room" x="{x + 10:.0f}" y="{y + 20:.0f}">{room}</text>{text}'
    )


def _arrow(
    start: tuple[float, float, float, float],
    end: tuple[float, float, float, float],
    *,
    is_up: bool,
) -> str:
    x1, y1 = start[0] + start[2] / 2, start[1] + start[3]
    x2, y2 = end[0] + end[2] / 2, end[1]
    middle = (y1 + y2) / 2
    kind = ' class="up"' if is_up else ""
    points = f"{x1:.0f},{middle:.0f} {x2:.0f},{middle:.0f} {x2:.0f},{y2:.0f}"
    return f'<path{kind} d="M{x1:.0f},{y1:.0f} C{points}"/>'


def main() -> None:
    """Run the script."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--root", type=Path, default=Path(__file__).resolve().parents[1], help="a checkout"
    )
    parser.add_argument("--svg", type=Path, help="file to draw to")
    arguments = parser.parse_args()
    house = read_house(arguments.root)
    print(describe(house))
    if arguments.svg is not None:
        arguments.svg.write_text(draw(house), encoding="utf-8")
    if house.up or find_cycle(house.arrows):
        sys.exit(1)


if __name__ == "__main__":
    main()
