"""The project's own lint: the rules for chapters (see CONTRIBUTING.md) that a machine can judge.

`python tools/check.py` prints one line per complaint and fails if there is any. Each rule is a
plain function: `rule(notebook) -> complaints` for chapters or every notebook, `rule(repository) ->
complaints` for the rest. What ruff and mypy can judge is theirs.
"""

import ast
import importlib.metadata
import json
import re
import symtable
import sys
from collections import Counter
from configparser import ConfigParser
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
# the bounds of a chapter
LINE = 100  # columns of code that the box of a page holds
CELL_LINES = 40
EXPORTED_LINES = 500
DOCSTRING_LINES = 7
CELLS = (40, 110)
WORDS = (800, 2500)
FIGURES = (4, 10)
SECTIONS = (2, 5)
EXERCISES = (3, 5)
ASSERTIONS = (8, 1000)
NOTEBOOK_KB = 900
ALL_KB = 12_000
PUBLIC_NAMES = 250  # of all modules together
CLOSING = ["Putting it together", "Summary", "Exercises", "References"]
LEFT_OUT = {
    "_proc",
    "_docs",
    "demo",
    "build",
    "dist",
    "__pycache__",
}  # folders that are made, not kept
COMES_WITH = {
    "ipython": "ipywidgets",
    "matplotlib-inline": "ipywidgets",
    "nbformat": "nbconvert",
    "nbclient": "nbconvert",
    "pyyaml": "nbdev",
    "sqlalchemy": "optuna",
    "traitlets": "ipywidgets",
}


LEANS = {  # package: the packages that it may import from, besides the rooms of part 0
    "formats": set(),
    "score": {"formats"},
    "learn": set(),
    "segment": {"formats", "score", "learn"},
    "track": {"formats", "score", "learn"},
    "link": {"formats", "score", "learn"},
}


# ---- what the rules look at


@dataclass
class Cell:
    index: int
    kind: str
    source: str
    outputs: list = field(default_factory=list)

    @cached_property
    def flags(self):
        "Directives: `#| export` -> {'export': ''}, `#| eval: false` -> {'eval': 'false'}."
        found = (
            re.findall(r"^#\|\s*([\w-]+):?[ \t]*(.*)$", self.source, re.M)
            if self.kind == "code"
            else []
        )
        return {name: value.strip() for name, value in found}

    @property
    def exported(self):
        return bool(self.flags.keys() & {"export", "exports", "exporti"})

    @property
    def runs(self):
        return self.kind == "code" and self.flags.get("eval") != "false"

    @cached_property
    def code(self):
        return re.sub(r"^\s*[%!].*$", "pass", self.source, flags=re.M)

    @cached_property
    def tree(self):
        return ast.parse(self.code) if self.kind == "code" else ast.Module([], [])

    def walk(self, *types):
        return [node for node in ast.walk(self.tree) if isinstance(node, types)]

    @property
    def texts(self):
        "Every piece of text in the outputs."
        for out in self.outputs:
            data = {"text": out.get("text", ""), **out.get("data", {})}
            yield from ("".join(value) for kind, value in data.items() if kind.startswith("text"))

    @property
    def figures(self):
        "How many pictures the cell shows on the website."
        if self.kind == "markdown":
            return len(re.findall(r"!\[|<img", self.source))
        if self.flags.keys() & {"hide", "export", "exporti"}:
            return 0
        drawn = [out.get("data", {}) for out in self.outputs]
        return sum(
            any(kind.startswith("image/") for kind in data)
            or bool(re.search("<(img|svg|video)", "".join(data.get("text/html", ""))))
            for data in drawn
        )


def is_appendix(title):
    return title.startswith("Appendix: ")


@dataclass
class Notebook:
    path: Path  # relative to the repository
    cells: list
    modules: dict = field(
        default_factory=dict
    )  # module -> number of its chapter, of the whole repository
    answers: "Notebook" = None  # the notebook with the answers to this one's exercises
    size: int = 0  # bytes

    @property
    def number(self):
        return int(self.path.stem[:2])

    @property
    def module(self):
        return self.path.stem.partition("_")[2]

    @property
    def code(self):
        return [cell for cell in self.cells if cell.kind == "code"]

    @property
    def exported(self):
        return [cell for cell in self.code if cell.exported]

    @property
    def headings(self):
        "(cell, title) of the sections; the appendices have their own."
        return [(index, title) for index, title in self._titles if not is_appendix(title)]

    @property
    def lesson(self):
        "The cells before the first appendix."
        ends = [index for index, title in self._titles if is_appendix(title)]
        return self.cells[: min(ends, default=len(self.cells))]

    @property
    def _titles(self):
        return [
            (cell.index, title.strip())
            for cell in self.cells
            if cell.kind == "markdown"
            for title in re.findall(r"^## (.*)$", cell.source, re.M)
        ]


def read_notebook(path, root=ROOT):
    text = path.read_text(encoding="utf-8")
    cells = [
        Cell(i, c["cell_type"], "".join(c["source"]), c.get("outputs", []))
        for i, c in enumerate(json.loads(text)["cells"])
    ]
    return Notebook(path.relative_to(root), cells, size=len(text.encode()))


@dataclass
class Repository:
    root: Path = ROOT

    @cached_property
    def chapters(self):
        found = [
            read_notebook(p, self.root) for p in sorted((self.root / "nbs").glob("[0-9]*.ipynb"))
        ]
        modules = {nb.module: nb.number for nb in found}
        answers = {nb.path.name: nb for nb in self.answers}
        for nb in found:
            nb.modules, nb.answers = modules, answers.get(nb.path.name)
        return found

    @cached_property
    def pages(self):
        "Pages without a number and without a module, besides the front page."
        found = [
            read_notebook(p, self.root) for p in sorted((self.root / "nbs").glob("[a-z]*.ipynb"))
        ]
        answers = {nb.path.name: nb for nb in self.answers}
        for nb in found:
            nb.answers = answers.get(nb.path.name)
        return [nb for nb in found if nb.path.stem != "index"]

    @cached_property
    def answers(self):
        return [
            read_notebook(p, self.root)
            for p in sorted((self.root / "nbs/solutions").glob("*.ipynb"))
        ]

    @cached_property
    def notebooks(self):
        return [
            read_notebook(p, self.root) for p in sorted((self.root / "nbs").glob("*.ipynb"))
        ] + self.answers


# ---- rules for a chapter


def name_is_module(nb):
    "NN_module.ipynb or NN_package.module.ipynb exports exactly that module."
    if not re.fullmatch(r"\d\d_[a-z]\w*(\.[a-z]\w*)?", nb.path.stem):
        return ["the name is not NN_module or NN_package.module"]
    found = [cell.flags["default_exp"] for cell in nb.code if "default_exp" in cell.flags]
    return [] if found == [nb.module] else [f"default_exp is {found}; the name says {nb.module}"]


def title_and_question(nb):
    """The first cell is `# NN Title` and a question alone (nbdev's front matter).

    The second says what will be built; then there is a picture.
    """
    said = starts_well(nb, f"{nb.path.stem[:2]} ")
    start = nb.headings[0][0] if nb.headings else len(nb.cells)
    if not any(cell.figures for cell in nb.cells[:start]):
        said += ["no picture before the first section"]
    return said


def starts_well(nb, number=""):  # number: "42 " of chapter 42, nothing of a page without one
    "Return complaints about the first cell (title and question) and the second (what it is for)."
    first, second = nb.cells[0], nb.cells[1] if len(nb.cells) > 1 else None
    lines = [line for line in first.source.splitlines() if line.strip()]
    if first.kind != "markdown" or not lines or not lines[0].startswith(f"# {number}"):
        return [f"the first cell does not begin with '# {number}Title'"]
    said = []
    if len(lines) < 2 or not re.fullmatch(r"> .*\?", lines[1].strip()):
        said += ["no '> question?' under the title"]
    if len(lines) > 2:
        said += [
            "the first cell holds more than title and question; the website drops the rest: "
            "put it into the second cell"
        ]
    if second is None or second.kind != "markdown" or second.source.startswith("#"):
        said += ["the second cell does not say what will be built"]
    return said


def imports_from_lower(nb):
    "A chapter imports only from chapters with lower numbers."
    said = []
    for cell in nb.code:
        names = [alias.name for node in cell.walk(ast.Import) for alias in node.names]
        for node in cell.walk(ast.ImportFrom):
            if node.level:
                said += [f"cell {cell.index}: a relative import"]
            elif node.module:
                names += [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            if name.split(".")[0] != "celltrack" or name in ("celltrack", "celltrack.__version__"):
                continue
            module = max(
                (m for m in nb.modules if f"{name}.".startswith(f"celltrack.{m}.")),
                key=len,
                default=None,
            )
            if module is None:
                said += [f"cell {cell.index}: {name} is in no chapter"]
            elif nb.modules[module] >= nb.number:
                chapter = f"chapter {nb.modules[module]:02d}"
                said += [f"cell {cell.index}: {name} is from {chapter}, not a lower one"]
    return said


def imports_isolated(nb):
    """Imports stand in cells of their own (functions may import inside).

    The docs build runs every cell that imports.
    """
    said = []
    for cell in nb.code:
        kinds = [isinstance(node, (ast.Import, ast.ImportFrom)) for node in cell.tree.body]
        if not cell.runs or "nbdev_export" in cell.source:
            continue
        if any(kinds) and not all(kinds):
            said += [f"cell {cell.index}: imports beside other code"]
        elif not cell.exported and not all(kinds) and cell.walk(ast.Import, ast.ImportFrom):
            if not all(
                isinstance(node, (ast.FunctionDef, ast.ClassDef)) for node in cell.tree.body
            ):
                said += [
                    f"cell {cell.index}: an import inside other code; move it to an import cell"
                ]
    if (
        sum(
            all(isinstance(n, (ast.Import, ast.ImportFrom)) for n in cell.tree.body)
            and bool(cell.tree.body)
            for cell in nb.exported
        )
        > 1
    ):
        said += ["more than one exported import cell"]
    return said


def exported_is_plain(nb):
    """Exported cells run without the notebook.

    They hold no magics, @patch, star imports, nbdev, fastcore or display.
    """
    said = []
    for cell in nb.exported:
        if re.search(r"^\s*[%!]|get_ipython", cell.source, re.M):
            said += [f"cell {cell.index}: a magic in exported code"]
        for node in cell.walk(ast.FunctionDef, ast.ClassDef):
            if any("patch" in ast.unparse(d) for d in node.decorator_list):
                said += [f"cell {cell.index}: @patch in exported code"]
        for node in cell.walk(ast.Import, ast.ImportFrom):
            names = [alias.name for alias in node.names]
            if "*" in names:
                said += [f"cell {cell.index}: a star import in exported code"]
            roots = {
                name.split(".")[0]
                for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else names)
            }
            said += [
                f"cell {cell.index}: exported code imports {name}"
                for name in sorted(roots & {"nbdev", "fastcore", "execnb"})
            ]
        if any(ast.unparse(node.func) == "display" for node in cell.walk(ast.Call)):
            said += [f"cell {cell.index}: display in exported code"]
    return said


def exported_once(nb):
    "No function or class is exported twice by a notebook."
    names = Counter(
        node.name
        for cell in nb.exported
        for node in cell.tree.body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
    )
    return [f"{name} is exported {n} times" for name, n in names.items() if n > 1]


def public(nb):
    "Yield (cell, node) of the public functions and classes that a notebook exports."
    for cell in nb.exported:
        if "exporti" in cell.flags:
            continue
        for node in cell.tree.body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name[0] != "_":
                yield cell, node


def public_names(nb):
    "Return the names that the module of a notebook offers, constants too."
    names = [node.name for _, node in public(nb)]
    for cell in nb.exported:
        if "exporti" in cell.flags:
            continue
        for node in cell.tree.body:
            if isinstance(node, (ast.Assign, ast.AnnAssign)):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                found = [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]
                names += [name for name in found if name[0] != "_" and name not in names]
    return names


def docstrings_are_short(nb):
    "A public docstring is one sentence, then at most six lines (that there is one, ruff sees)."
    said = []
    for cell, node in public(nb):
        lines = (ast.get_docstring(node) or "").splitlines()
        if sum(bool(line.strip()) for line in lines) > DOCSTRING_LINES:
            text = f"the docstring of {node.name} has more than {DOCSTRING_LINES} lines"
            said += [f"cell {cell.index}: {text}"]
    return said


def untyped(node):
    "Return the parameters of a function that have no type; `return` for its result."
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    arguments += [a for a in (node.args.vararg, node.args.kwarg) if a is not None]
    lost = [a.arg for a in arguments if a.annotation is None and a.arg not in ("self", "cls")]
    return lost + ["return"] * (node.returns is None and node.name != "__init__")


def public_is_typed(nb):
    "Public functions and methods say the types of their parameters and of their result."
    said = []
    for cell, node in public(nb):
        functions = [node] if isinstance(node, ast.FunctionDef) else node.body
        for f in functions:
            if not isinstance(f, ast.FunctionDef) or f.name[0] == "_" and f.name != "__init__":
                continue
            if lost := untyped(f):
                name = f.name if f is node else f"{node.name}.{f.name}"
                said += [f"cell {cell.index}: {name} has no type for {', '.join(lost)}"]
    return said


def library_does_not_print(nb):
    "Library code logs; only commands print: the method `run`, and the command line."
    if nb.module == "cli":
        return []
    said = []
    for cell in nb.exported:
        commands = [f for f in cell.walk(ast.FunctionDef) if f.name == "run"]
        allowed = {n for f in commands for n in ast.walk(f)}
        calls = [n for n in cell.walk(ast.Call) if ast.unparse(n.func) == "print"]
        if any(n not in allowed for n in calls):
            said += [f"cell {cell.index}: print in library code; log instead"]
    return said


def everything_is_shown(nb):
    "No cell but the last, which exports, is hidden: setup is folded (`#| code-fold: true`)."
    hidden = [c for c in nb.code if "hide" in c.flags and "nbdev_export" not in c.source]
    return [f"cell {cell.index} is hidden; fold it instead" for cell in hidden]


def chapter_size(nb):
    "Cells, words, figures, sections, assertions and exported lines keep their bounds."
    own = [title for _, title in nb.headings if title not in CLOSING]
    asserts = sum(
        isinstance(n, ast.Assert)
        or isinstance(n, ast.Call)
        and bool(re.search(r"\b(test_|assert_|raises$)", ast.unparse(n.func)))
        for cell in nb.code
        for n in cell.walk(ast.Assert, ast.Call)
    )
    counts = {
        "cells": (len(nb.cells), CELLS),
        "words": (sum(len(c.source.split()) for c in nb.cells if c.kind == "markdown"), WORDS),
        "figures": (sum(cell.figures for cell in nb.cells), FIGURES),
        "sections of its own": (len(own), SECTIONS),
        "assertions": (asserts, ASSERTIONS),
    }
    said = [
        f"{n} {what}; {low} to {high} are asked for"
        for what, (n, (low, high)) in counts.items()
        if not low <= n <= high
    ]
    lines = sum(
        bool(line.strip()) and not line.startswith("#|")
        for cell in nb.exported
        for line in cell.source.splitlines()
    )
    if lines > EXPORTED_LINES:
        said += [f"{lines} exported lines; at most {EXPORTED_LINES}"]
    return said


def closing_sections(nb):
    "A chapter ends with Putting it together, Summary, Exercises, References, in this order."
    found = [title for _, title in nb.headings][-len(CLOSING) :]
    said = [] if found == CLOSING else [f"the last sections are {found}; they should be {CLOSING}"]
    titles = [title for _, title in nb._titles]
    first = next((k for k, title in enumerate(titles) if is_appendix(title)), len(titles))
    if not all(map(is_appendix, titles[first:])):
        said += ["a section follows an appendix; appendices come last"]
    return said


def opening_says_what_for(nb):
    "The second cell says what one will be able to do, what it needs, and how long it takes."
    text = nb.cells[1].source if len(nb.cells) > 1 else ""
    return [
        f"the second cell has no line that begins with {words}"
        for words in ("**You will be able to**", "**You need**", "**Time**")
        if not re.search("^" + re.escape(words), text, re.M)
    ]


def summary_can_be_said(nb):
    "The summary is two to four sentences, not a list."
    text = "\n".join(cell.source for cell in nb.cells if cell.kind == "markdown")
    found = re.search(r"^## Summary$(.*?)(?=^## |\Z)", text, re.M | re.S)
    body = found[1].strip() if found else ""
    sentences = len(re.findall(r"[.!?](?=\s|$)", body))
    if re.search(r"^\s*[-*] |^\d+\. ", body, re.M) or not 2 <= sentences <= 4:
        return [f"the summary has {sentences} sentences; asked for are two to four, and no list"]
    return []


LABEL = r"\*\*\d\.\*\* \*(?:Predict|Fix|Build) · \d+ min · (?:easy|medium|hard)\.\* "


def exercises_are_labelled(nb):
    "Each exercise tells its kind, its time and its difficulty."
    start = next((index for index, title in nb.headings if title == "Exercises"), len(nb.cells))
    lines = [
        line
        for cell in nb.lesson[start:]
        if cell.kind == "markdown"
        for line in cell.source.splitlines()
        if re.match(r"\*\*\d\.\*\*", line)
    ]
    return [
        f"'{line[:40]}…' is not labelled, such as *Predict · 5 min · easy.*"
        for line in lines
        if not re.match(LABEL, line)
    ]


def exercises_answered(nb):
    """Three to five exercises, each with a check that says why an answer is wrong.

    The answers stand in a notebook of their own, under the names that the checks are asked with.
    """
    low, high = EXERCISES
    start = next((index for index, title in nb.headings if title == "Exercises"), len(nb.cells))
    checks = [
        node
        for cell in nb.code
        if cell.index > start
        for node in cell.walk(ast.FunctionDef)
        if re.fullmatch(r"check_\d+", node.name)
    ]
    said = (
        []
        if low <= len(checks) <= high
        else [f"{len(checks)} check functions under Exercises; {low} to {high} are asked for"]
    )
    said += [
        f"{node.name} never says why an answer is wrong"
        for node in checks
        if not any(isinstance(n, ast.Assert) and n.msg for n in ast.walk(node))
    ]
    if nb.answers is None:
        return said + [f"no nbs/solutions/{nb.path.name}"]
    defined = set().union(*(names_of(cell)[1] for cell in nb.answers.code))
    asked = {
        node.id
        for cell in nb.code
        if cell.index > start
        for call in cell.walk(ast.Call)
        if re.fullmatch(r"check_\d+", ast.unparse(call.func))
        for argument in call.args
        for node in ast.walk(argument)
        if isinstance(node, ast.Name)
    }
    return said + [f"{nb.answers.path} lacks {name}" for name in sorted(asked - defined)]


def names_of(cell):
    "Global names a cell uses, and those it defines, functions' own names left out."
    used, defined = set(), set()

    def visit(table):
        for s in table.get_symbols():
            if s.is_referenced() and (table.get_type() == "module" or s.is_global()):
                used.add(s.get_name())
            if table.get_type() == "module" and (s.is_assigned() or s.is_imported()):
                defined.add(s.get_name())
        for child in table.get_children():
            visit(child)

    visit(symtable.symtable(cell.code, "cell", "exec"))
    return used, defined


def real_cells_stand_alone(nb):
    "No cell without the flag `real` uses a name that only flagged cells define."
    cells = [(cell, *names_of(cell)) for cell in nb.code if cell.runs]
    plain = set().union(*(defined for cell, _, defined in cells if "real" not in cell.flags))
    real = set().union(*(defined for cell, _, defined in cells if "real" in cell.flags)) - plain
    return [
        f"cell {cell.index} uses {', '.join(sorted(used & real))}, "
        "which only cells flagged real define"
        for cell, used, _ in cells
        if "real" not in cell.flags and used & real
    ]


# ---- rules for a page without a number


def page_is_a_lesson(nb):
    """A page has title and question; where it has exercises, checks, answers and a link to them.

    It exports nothing.
    """
    said = starts_well(nb) + real_cells_stand_alone(nb) + everything_is_shown(nb)
    said += [f"cell {cell.index} exports code; that is for chapters" for cell in nb.exported]
    if any(title == "Exercises" for _, title in nb.headings) or nb.answers is not None:
        said += exercises_answered(nb)
    return said


# ---- rules for every notebook


def cells_parse(nb):
    "Every code cell is Python."
    said = []
    for cell in nb.code:
        try:
            ast.parse(cell.code)
        except SyntaxError as e:
            said += [f"cell {cell.index}: {e}"]
    return said


def cells_are_short(nb):
    "No code cell is longer than 40 lines."
    return [
        f"cell {cell.index} has {n} lines; at most {CELL_LINES}"
        for cell in nb.code
        if (n := len(cell.source.splitlines())) > CELL_LINES
    ]


def pictures_have_alt_text(nb):
    "Every picture says in words what it shows: `#| fig-alt:` in its cell, or ![words](file)."
    said = []
    for cell in nb.code:
        drawn = any(kind.startswith("image/") for o in cell.outputs for kind in o.get("data", {}))
        if drawn and "hide" not in cell.flags and not cell.flags.get("fig-alt"):
            said += [f"cell {cell.index}: a picture without fig-alt"]
    return said


def directives_are_yaml(nb):
    "Directives with a value are YAML, as Quarto reads them: quote a text with a colon in it."
    said = []
    for cell in nb.code:
        for line in re.findall(r"^#\|\s*([\w-]+: .*)$", cell.source, re.M):
            try:
                yaml.safe_load(line)
            except yaml.YAMLError:
                said += [f"cell {cell.index}: Quarto cannot read {line[:60]}"]
    return said


def file_is_small(nb):
    "A notebook with its outputs stays under 900 KB."
    return [f"{nb.size // 1000} KB; at most {NOTEBOOK_KB}"] if nb.size > NOTEBOOK_KB * 1000 else []


def outputs_are_stored(nb):
    "The notebook was run: cells that print or draw have their output; no output is an error."
    said = []
    for cell in nb.code:
        prints = any(
            isinstance(n, ast.Expr)
            and isinstance(n.value, ast.Call)
            and ast.unparse(n.value.func) == "print"
            for n in cell.tree.body
        )
        if (prints or "fig-alt" in cell.flags) and cell.runs and not cell.outputs:
            said += [f"cell {cell.index}: no output is stored; run make notebooks"]
        said += [
            f"cell {cell.index}: the stored output is an error"
            for out in cell.outputs
            if out["output_type"] == "error"
        ]
    return said


UNSTABLE = {
    "an address": r"\b0x[0-9a-f]{6,}",
    "a path of one machine": r"/(?:home|root|Users|tmp|work)/",
    "a progress bar": r"it/s\]|s/it\]|\r",
}


def outputs_are_reproducible(nb):
    "Stored outputs hold no addresses, paths of one machine, progress bars or warnings."
    said = [
        f"cell {cell.index}: {what} in the output"
        for cell in nb.code
        for what, pattern in UNSTABLE.items()
        if any(re.search(pattern, text) for text in cell.texts)
    ]
    return said + [
        f"cell {cell.index}: something written to stderr is stored"
        for cell in nb.code
        if any(out.get("name") == "stderr" for out in cell.outputs)
    ]


# ---- rules for the repository


def numbers_are_unique(repo):
    "No two chapters share a number."
    numbers = [nb.number for nb in repo.chapters]
    return [
        f"{n:02d} is the number of two chapters"
        for n in sorted({n for n in numbers if numbers.count(n) > 1})
    ]


def names_mean_one_thing(repo):
    "No public name stands in two modules, none is the name of a module as well."
    homes = {}
    for nb in repo.chapters:
        for name in public_names(nb):
            homes.setdefault(name, []).append(nb.module)
    said = [
        f"{name} means two things: in {' and '.join(modules)}"
        for name, modules in sorted(homes.items())
        if len(modules) > 1
    ]
    modules = {part for nb in repo.chapters for part in nb.module.split(".")}
    return said + [f"{name} is a module and a name in it" for name in sorted(modules & {*homes})]


def public_names_are_few(repo):
    "All modules together offer at most 250 names; plumbing is `#| exporti`."
    counts = {nb.module: len(public_names(nb)) for nb in repo.chapters}
    if (total := sum(counts.values())) <= PUBLIC_NAMES:
        return []
    most = sorted(counts, key=counts.get, reverse=True)[:5]
    return [
        f"{total} public names; at most {PUBLIC_NAMES} are asked for. Most stand in "
        + ", ".join(f"{module} ({counts[module]})" for module in most)
    ]


def rooms_lean_downwards(repo):
    "A package imports only from the packages that it may lean on, in functions too."
    said = []
    for nb in repo.chapters:
        package = nb.module.split(".")[0] if "." in nb.module else ""
        if package not in LEANS:
            continue
        for cell in nb.exported:
            for node in cell.walk(ast.ImportFrom):
                parts = (node.module or "").split(".")
                other = parts[1] if parts[0] == "celltrack" and len(parts) > 2 else package
                if other != package and other not in LEANS[package]:
                    said += [f"{nb.path}: cell {cell.index}: {package} leans on {other}"]
    return said


def no_orphan_answers(repo):
    "Every notebook with answers belongs to a chapter."
    return [
        f"{nb.path}: no such chapter"
        for nb in repo.answers
        if nb.path.name not in {c.path.name for c in repo.chapters + repo.pages}
    ]


def sidebar_is_complete(repo):
    "The sidebar lists the front page and every chapter once, in order, and nothing else."

    def entries(node):
        if isinstance(node, str):
            return [node] if node.endswith(".ipynb") else []
        children = node.values() if isinstance(node, dict) else node
        return [e for c in children for e in entries(c)] if isinstance(node, (dict, list)) else []

    site = yaml.safe_load((repo.root / "_quarto.yml").read_text(encoding="utf-8"))
    listed = entries(site["website"]["sidebar"])
    there = [nb.path.name for nb in repo.notebooks if nb.path.parent.name != "solutions"]
    said = [
        f"_quarto.yml: {name} is missing in the sidebar" for name in there if name not in listed
    ]
    said += [
        f"_quarto.yml: {name} is in the sidebar but is no chapter"
        for name in listed
        if name not in there
    ]
    chapters = [name for name in listed if name[0].isdigit()]
    if len(set(listed)) < len(listed) or chapters != sorted(chapters):
        said += ["_quarto.yml: the sidebar is out of order or names a page twice"]
    return said


def answers_are_linked(repo):
    "Every chapter leads to the notebook with the answers to its exercises."
    return [
        f"{nb.path}: no link to solutions/{nb.path.name}"
        for nb in repo.chapters + repo.pages
        if nb.answers is not None
        and not any(f"(solutions/{nb.path.name})" in c.source for c in nb.cells if c.kind != "code")
    ]


def no_stale_modules(repo):
    "Every module of celltrack comes from a notebook."
    made = {nb.module for nb in repo.chapters}
    there = [
        p.relative_to(repo.root / "celltrack").with_suffix("")
        for p in sorted((repo.root / "celltrack").rglob("*.py"))
    ]
    return [
        f"celltrack/{p}.py: no notebook exports it"
        for p in there
        if not p.name.startswith("_") and ".".join(p.parts) not in made
    ]


def index_maps_chapters(repo):
    "The front page has a row for every chapter: its title, linked, and its question."
    front = "".join(
        cell.source
        for nb in repo.notebooks
        if nb.path.stem == "index"
        for cell in nb.cells
        if cell.kind == "markdown"
    )
    rows = [
        f"[{title}]({nb.path.name}) | {question} |"
        for nb in repo.chapters
        for title, question in re.findall(r"\A# (.*?)\s*> (.*)", nb.cells[0].source)
    ]
    return [f"nbs/index.ipynb: the map lacks {row}" for row in rows if row not in front]


def notebooks_fit(repo):
    "All notebooks together stay under 12 MB."
    total = sum(nb.size for nb in repo.notebooks) // 1000
    return [f"nbs: {total} KB in all; at most {ALL_KB}"] if total > ALL_KB else []


def no_private_paths(repo):
    "No text file of the repository holds a path of somebody's machine."
    said = []
    for path in sorted(repo.root.rglob("*")):
        parts = path.relative_to(repo.root).parts
        if not path.is_file() or any(
            p in LEFT_OUT or p[0] == "." and p not in (".ci", ".github") for p in parts[:-1]
        ):
            continue
        if (
            path.suffix
            not in (".py", ".ipynb", ".md", ".yml", ".ini", ".csv", ".json", ".txt", ".sh", "")
            or path.name == "LICENSE"
        ):
            continue
        found = re.findall(
            r"(?<![\w.])/(?:work|root|home|Users)/[\w.-]+",
            path.read_text(encoding="utf-8", errors="ignore"),
        )
        said += [f"{Path(*parts)}: holds {found[0]}"] if found else []
    return said


def requirements_are_complete(repo):
    """settings.ini names every package that is imported.

    Exported code needs `requirements`, notebooks also `course_requirements`, which the install cell
    of a page installs, all else also `dev_requirements`. Extras such as hpc_requirements serve
    exported code inside functions: the module must import without them.
    """
    parser = ConfigParser(delimiters=["="])
    parser.read(repo.root / "settings.ini", encoding="utf-8")

    def clean(name):
        return re.sub(r"[-_.]+", "-", name).lower()

    names = {
        key: {clean(re.match(r"[\w.-]+", r)[0]) for r in value.split()}
        for key, value in parser["DEFAULT"].items()
        if key.endswith("requirements")
    }
    runtime = names.pop("requirements")
    course = runtime | names.pop("course_requirements", set())
    dev = course | names.pop("dev_requirements")
    extras = runtime.union(*names.values())
    owner = {
        name: {COMES_WITH.get(clean(d), clean(d)) for d in dists}
        for name, dists in importlib.metadata.packages_distributions().items()
    }
    trees = [
        (nb.path, cell.tree, runtime if cell.exported else course)
        for nb in repo.notebooks
        for cell in nb.code
    ]
    files = [
        p
        for folder in ("tests", "benchmarks", "tools")
        for p in sorted((repo.root / folder).rglob("*.py"))
    ]
    local = {p.stem for p in files} | {"celltrack"}
    trees += [
        (p.relative_to(repo.root), ast.parse(p.read_text(encoding="utf-8")), dev) for p in files
    ]
    said = {}
    for path, tree, allowed in trees:
        deferred = {
            node for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) for node in ast.walk(f)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                roots = {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                roots = {node.module.split(".")[0]}
            else:
                continue
            for root in roots - set(sys.stdlib_module_names) - local:
                inside = extras if allowed is runtime and node in deferred else allowed
                if not owner.get(root, {clean(root)}) & inside:
                    said[f"{path}: imports {root}, which settings.ini does not require"] = None
    return list(said)


CHAPTER = [
    name_is_module,
    title_and_question,
    imports_from_lower,
    imports_isolated,
    exported_is_plain,
    exported_once,
    docstrings_are_short,
    public_is_typed,
    library_does_not_print,
    everything_is_shown,
    chapter_size,
    closing_sections,
    opening_says_what_for,
    summary_can_be_said,
    exercises_are_labelled,
    exercises_answered,
    real_cells_stand_alone,
]
PAGE = [page_is_a_lesson]
EVERY = [
    cells_are_short,
    directives_are_yaml,
    pictures_have_alt_text,
    file_is_small,
    outputs_are_stored,
    outputs_are_reproducible,
]
REPOSITORY = [
    numbers_are_unique,
    names_mean_one_thing,
    public_names_are_few,
    rooms_lean_downwards,
    no_orphan_answers,
    sidebar_is_complete,
    answers_are_linked,
    no_stale_modules,
    index_maps_chapters,
    notebooks_fit,
    no_private_paths,
    requirements_are_complete,
]


def check(root=ROOT):
    "Return {rule name: complaints}; the other rules wait until every cell parses."
    repo = Repository(root)

    def run(rule, books):
        return [f"{nb.path}: {said}" for nb in books for said in rule(nb)]

    result = {"cells_parse": run(cells_parse, repo.notebooks)}
    if result["cells_parse"]:
        return result
    result |= {rule.__name__: run(rule, repo.chapters) for rule in CHAPTER}
    result |= {rule.__name__: run(rule, repo.pages) for rule in PAGE}
    result |= {rule.__name__: run(rule, repo.notebooks) for rule in EVERY}
    return result | {rule.__name__: rule(repo) for rule in REPOSITORY}


if __name__ == "__main__":
    result = check()
    for name, complaints in result.items():
        for said in complaints:
            print(f"{said}  [{name}]")
    bad = sum(map(bool, result.values()))
    print(f"{len(result) - bad} rules kept, {bad} broken")
    sys.exit(bad > 0)
