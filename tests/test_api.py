"""The pages of the API hold every public name, as the installed package has it."""

import importlib
import inspect
import re
from pathlib import Path

import pytest

import api
import check

SOURCE = """\
LIMIT = 3  # of something


def area(
    labels: np.ndarray,  # (y, x)
    size: float = 2.5,  # in µm,
    *,
    name: str = "a",
) -> dict[str, int]:
    "Return [areas] of `labels` * 2."


def short(a, b=1, *rest, **options):
    pass


class Plumbing:
    def hidden_base(self):
        "Inherited from plumbing."


@dataclass
class Shape(Plumbing):
    "A shape."

    sides: int = 4  # how many
    colour: str = ""
    "of its border"

    def turn(self, angle: float) -> None:
        "Turn it."

    @property
    def round(self) -> bool:
        "Whether it has no corners."

    @staticmethod
    def unit(sides: int = 3) -> Shape:
        "A small one."

    def _inside(self):
        pass


@dataclass
class Box(Shape):
    depth: int = 1  # in µm
    parts: Annotated[list[int], arg(name="x")] = field(default_factory=lambda: [1, 2])
    rest: Positional[Path] = field(default_factory=Path)
"""


@pytest.fixture
def module(monkeypatch):
    found = api.Module("shapes", None)
    vars(found).update(text=SOURCE, public=["LIMIT", "area", "short", "Shape", "Box"])
    monkeypatch.setattr(api, "modules", lambda: {"shapes": found})
    return found


def test_a_signature_has_one_parameter_per_line_with_its_own_comment(module):
    node = module.nodes["area"]
    assert api.signature(module, node, "area") == (
        "area(\n"
        "    labels: np.ndarray,  # (y, x)\n"
        "    size: float = 2.5,  # in µm,\n"
        "    *,\n"
        '    name: str = "a",\n'
        ") -> dict[str, int]"
    )
    wide = api.call("f", {"a": ("a: int", "word " * 30)}).splitlines()
    assert wide[-2] == "    a: int," and len(wide) == 5 and max(map(len, wide)) <= check.LINE
    short = api.signature(module, module.nodes["short"], "short")
    assert short.split() == ["short(", "a,", "b=1,", "*rest,", "**options,", ")"]


def test_a_class_has_the_parameters_methods_and_properties_that_it_inherits(module):
    shape, box = module.nodes["Shape"], module.nodes["Box"]
    made = api.call("Box", api.class_parameters(module, box))
    assert made.splitlines()[1:-1] == [
        "    sides: int = 4,  # how many",
        '    colour: str = "",  # of its border',
        "    depth: int = 1,  # in µm",
        "    parts: list[int] = [1, 2],",
        "    rest: Path = Path(),",
    ]
    assert set(api.methods(module, shape)) == {"turn", "round", "unit", "hidden_base"}
    assert dict(api.heirlooms(module, box)) == {"Shape": [*api.methods(module, shape)]}
    found = {name: node for name, (_, node) in api.methods(module, shape).items()}
    assert api.signature(module, found["turn"], "Shape.turn").split("\n")[1] == "    angle: float,"
    assert api.signature(module, found["round"], "Shape.round") == "Shape.round: bool"
    assert "sides: int = 3" in api.signature(module, found["unit"], "Shape.unit")


def test_constants_and_texts(module):
    assert api.constant(module, module.nodes["LIMIT"], "LIMIT") == "LIMIT = 3  # of something"
    assert api.first_line(module, "LIMIT") == "of something"
    assert api.prose(api.text_of(module.nodes["area"])) == r"Return \[areas\] of `labels` \* 2."
    assert api.prose("a < b_c, `x < y`") == r"a &lt; b\_c, `x < y`"


@pytest.mark.parametrize(
    "title, anchor",
    {
        "Which pairs, and how good": "which-pairs-and-how-good",
        "The paper's program": "the-papers-program",
        "2 `Sort.link` in 3D": "sort.link-in-3d",
    }.items(),
)
def test_headings_have_the_anchors_of_pandoc(title, anchor):
    assert api.heading_anchor(title) == anchor


def book(*cells):
    made = [check.Cell(i, kind, source, outputs) for i, (kind, source, outputs) in enumerate(cells)]
    return check.Notebook(Path("nbs/42_x.ipynb"), made)


def test_the_example_is_the_first_short_cell_that_uses_a_name(monkeypatch):
    said = [{"name": "stdout", "text": ["4\n"]}]
    cells = [
        ("code", "area = 3", []),
        ("code", "#| exports\ndef area(x):\n    return x", []),
        ("code", "\n".join(["area(1)"] * 13), []),
        ("code", "#| real\narea(2)", []),
        ("code", "#| fig-alt: a\nprint(area(4))", said),
        ("code", "area(5)", []),
        ("markdown", "## Exercises", []),
        ("code", "other(area)", []),
    ]
    found = api.Module("x", book(*cells))
    monkeypatch.setattr(api, "modules", lambda: {"x": found})
    api.uses.cache_clear()
    assert api.example(found.chapter, "area") == ("print(area(4))", "4\n")
    assert api.example(found.chapter, "other") is None
    api.uses.cache_clear()


def public(name):
    "The public names of a module, and the methods of its classes, by importing it."
    module = importlib.import_module(f"celltrack.{name}")
    for public_name in module.__all__:
        yield public_name
        thing = getattr(module, public_name)
        fields = getattr(thing, "__dataclass_fields__", {})
        for attribute, value in vars(thing).items() if inspect.isclass(thing) else ():
            called = inspect.isroutine(value) or isinstance(value, property)
            if called and attribute[0] != "_" and attribute not in fields:
                yield f"{public_name}.{attribute}"


def test_every_public_name_of_the_installed_package_has_an_entry():
    entries = api.entries()
    for name in api.modules():
        missing = [n for n in public(name) if n not in entries]
        assert not missing, f"{name}: {missing}"


def test_pages_have_an_entry_for_each_place():
    pages = {name: "\n".join(c.source for c in cells) for name, cells in api.pages().items()}
    for place in api.entries().values():
        page, anchor = place.removeprefix("api/").split(".ipynb#")
        assert f"{{#{anchor}}}" in pages[page]
    for text in pages.values():
        assert not re.search(r"```python[^`]*\]\(", text), "link markup inside code"
