"""Pages of the API: every public name of the package with its signature, its text and an example.

`pages()` are one page per module and an index of all names. A public name stands in
`__all__` of its module. Its signature is read from the source, so that each parameter keeps the
comment beside it; what a class inherits from the package's own classes belongs to it, too.
"""

import ast
import copy
import html
import io
import re
import textwrap
import tokenize
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from nbdev.config import get_config
from nbformat.v4 import new_markdown_cell, new_raw_cell

from check import LINE, ROOT, Repository, names_of

CONFIG = get_config(path=ROOT)  # settings.ini
EXAMPLE_LINES = 12
PACKAGE = "celltrack"
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef


# ---- what the source says


@dataclass
class Module:
    "The source of a module, and the chapter that it was exported from."

    name: str  # track.sort
    chapter: object  # check.Notebook

    @cached_property
    def path(self):
        return Path(PACKAGE, *self.name.split(".")).with_suffix(".py")

    @cached_property
    def text(self):
        return (ROOT / self.path).read_text(encoding="utf-8")

    @cached_property
    def lines(self):
        return self.text.splitlines()

    @cached_property
    def tree(self):
        return ast.parse(self.text)

    @cached_property
    def public(self):
        "The public names, in the order of the source."
        listed = self.nodes.get("__all__")
        names = ast.literal_eval(listed.value) if listed else []
        return sorted(names, key=list(self.nodes).index)

    @cached_property
    def nodes(self):
        "{name: its first definition or assignment}"
        found = {}
        for node in self.tree.body:
            names = [node.name] if isinstance(node, FUNCTIONS | ast.ClassDef) else []
            if isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names = [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]
            for name in names:
                found.setdefault(name, node)
        return found

    @cached_property
    def comments(self):
        "{line: its comment}, where it stands behind code."
        found = {}
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            if token.type == tokenize.COMMENT:
                row = token.start[0]
                alone = not self.lines[row - 1][: token.start[1]].strip()
                if not alone:
                    found[row] = token.string.lstrip("#: ")
        return found

    def code(self, node):
        "Return the source of a node, on one line."
        lines = [line.encode() for line in self.lines[node.lineno - 1 : node.end_lineno]]
        lines[-1] = lines[-1][: node.end_col_offset]
        lines[0] = lines[0][node.col_offset :]
        return " ".join(b" ".join(lines).decode().split())


@cache
def modules():
    "Return {name: Module} of the chapters that export something."
    found = [Module(nb.module, nb) for nb in Repository().chapters]
    return {m.name: m for m in found if m.public}


def base_of(module, name):  # as a class statement names it
    "Return (Module, node) of a class that the package defines, or None."
    homes = [module, *modules().values()]
    nodes = ((home, home.nodes.get(name)) for home in homes)
    return next((found for found in nodes if isinstance(found[1], ast.ClassDef)), None)


def family(module, node):
    "Return [(Module, node)] of a class and of the package's classes that it inherits from."
    found = [(module, node)]
    for name in map(ast.unparse, node.bases):
        if base := base_of(module, name.split(".")[-1]):
            found += [pair for pair in family(*base) if pair not in found]
    return found


# ---- signatures: {parameter: (text, comment)}


def function_parameters(module, node):
    "Return {name: (declaration, comment)} of a function; a comment belongs to a line of its own."
    a = node.args
    plain = [*a.posonlyargs, *a.args]
    defaults = [None] * (len(plain) - len(a.defaults)) + a.defaults
    rows = list(zip([""] * len(plain), plain, defaults, strict=True))
    rows += [("*", a.vararg, None)] if a.vararg else []
    rows += list(zip([""] * len(a.kwonlyargs), a.kwonlyargs, a.kw_defaults, strict=True))
    rows += [("**", a.kwarg, None)] if a.kwarg else []
    lines = [(default or arg).end_lineno for _, arg, default in rows]
    found = {}
    for (star, arg, default), line in zip(rows, lines, strict=True):
        own = lines.count(line) == 1 and line != node.lineno
        if a.kwonlyargs and arg is a.kwonlyargs[0] and not a.vararg:
            found["*"] = ("*", "")
        comment = module.comments.get(line, "") if own else ""
        found[arg.arg] = (declaration(module, star + arg.arg, arg.annotation, default), comment)
    return found


def declaration(module, name, annotation, default):
    "Return `name: type = default`, as far as there are both."
    said = name if annotation is None else f"{name}: {plain_type(module, annotation)}"
    equals = "=" if annotation is None else " = "
    return said if default is None else f"{said}{equals}{plain_default(module, default)}"


class Unannotated(ast.NodeTransformer):
    "Takes from a type what only the command line needs: Annotated[int, ...] is int."

    def visit_Subscript(self, node):
        self.generic_visit(node)
        name, inside = ast.unparse(node.value), node.slice
        if name == "Annotated":
            return inside.elts[0]
        return inside if name == "Positional" else node


def plain_type(module, node):
    "Return a type as it is written, without what only the command line needs."
    text = module.code(node)
    if not re.search(r"\b(Annotated|Positional)\[", text):
        return text
    return ast.unparse(Unannotated().visit(copy.deepcopy(node)))


def plain_default(module, node):
    "Return a default as it is written; of `field(default_factory=...)` what the factory makes."
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "field":
        for option in node.keywords:
            if option.arg == "default_factory":
                made = option.value
                called = not isinstance(made, ast.Lambda)
                return module.code(made if called else made.body) + "()" * called
    return module.code(node)


def is_record(node):
    "Return whether the annotated lines of a class are the parameters of its constructor."
    decorators = " ".join(ast.unparse(d) for d in node.decorator_list)
    return "dataclass" in decorators or "NamedTuple" in map(ast.unparse, node.bases)


def class_parameters(module, node):
    "Return {name: (declaration, comment)} of what a class is made from."
    found = {}
    for home, cls in reversed(family(module, node)):
        for item, below in zip(cls.body, [*cls.body[1:], None], strict=True):
            if isinstance(item, FUNCTIONS) and item.name == "__init__":
                found = function_parameters(home, item)
                found.pop("self", None)
            elif is_record(cls) and isinstance(item, ast.AnnAssign):
                text = declaration(home, item.target.id, item.annotation, item.value)
                comment = home.comments.get(item.end_lineno) or string_of(below)
                if "init=False" not in text and "ClassVar" not in text:
                    found[item.target.id] = (text, comment)
    return found


def string_of(node):
    "Return a string that stands alone: what a field is, where it has no comment."
    alone = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return " ".join(str(node.value.value).split()) if alone else ""


def call(name, parameters, returns=""):  # what a call looks like
    "Return a signature with one parameter per line, each with its comment, within LINE columns."
    arrow = f" -> {returns}" if returns else ""
    if not parameters:
        return f"{name}(){arrow}"
    lines = [f"{name}("]
    for text, comment in parameters.values():
        line = f"    {text},  # {comment}" if comment else f"    {text},"
        above = [f"    # {part}" for part in textwrap.wrap(comment, LINE - 6)]
        lines += [line] if len(line) <= LINE else [*above, f"    {text},"]
    return "\n".join([*lines, f"){arrow}"])


def decorators(node):
    return {ast.unparse(d).split(".")[-1] for d in node.decorator_list}


def signature(module, node, name):
    "Return the signature of a function, method or property as its caller sees it."
    if isinstance(node, ast.ClassDef):  # reference = staticmethod(ReferenceSort)
        return call(name, class_parameters(module, node), node.name)
    returns = module.code(node.returns) if node.returns else ""
    if decorators(node) & {"property", "cached_property"}:
        return f"{name}: {returns}" if returns else name
    parameters = function_parameters(module, node)
    if "." in name and "staticmethod" not in decorators(node) and parameters:
        parameters.pop(next(iter(parameters)))  # self or cls
    return call(name, parameters, returns)


def constant(module, node, name):
    "Return a constant as it is written, its first lines where it is long."
    lines = ast.get_source_segment(module.text, node).splitlines()
    comment = module.comments.get(node.lineno, "") if len(lines) == 1 else ""
    shown = lines if len(lines) <= EXAMPLE_LINES else [*lines[: EXAMPLE_LINES - 2], "    ..."]
    shown = [line[: LINE - 4] + " ..." if len(line) > LINE else line for line in shown]
    return "\n".join(shown) + (f"  # {comment}" if comment else "")


def methods(module, node):
    """Return {name: (Module, node)} of the public methods and properties of a class.

    Those inherited from plumbing are its own; what a public class hands down has its entry there.
    """
    found = {}
    for home, cls in family(module, node):
        if cls is not node and cls.name in home.public:
            break
        for name, item in functions(home, cls).items():
            magic = re.fullmatch("__(?!init|post_init|repr)\\w+__", name)
            if name[0] != "_" or magic and ast.get_docstring(item):
                found.setdefault(name, (home, item))
    return found


def functions(module, cls):
    "Return {name: node} of the functions in a class; `join = staticmethod(_join)` is one, too."
    found = {}
    for item in cls.body:
        if isinstance(item, FUNCTIONS):
            found[item.name] = item
        elif isinstance(item, ast.Assign):
            outside = re.fullmatch(r"staticmethod\((\w+)\)", ast.unparse(item.value))
            if outside:
                node = copy.copy(module.nodes[outside[1]])
                node.decorator_list = [ast.Name("staticmethod")]
                found[item.targets[0].id] = node
    return found


def heirlooms(module, node):
    "Return (name of the class, names of its methods) that a class inherits from a public one."
    for home, cls in family(module, node)[1:]:
        if cls.name in home.public:
            yield cls.name, [n for n in methods(home, cls) if n not in methods(module, node)]


def method_text(module, node, name):
    "Return the docstring of a method, or of the one that it overrides."
    found = [functions(home, cls).get(name) for home, cls in family(module, node)]
    return next((text for text in map(text_of, filter(None, found)) if text), "")


# ---- pages


def prose(text):
    "Return a docstring as Markdown: what is no code cannot become markup."
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(
        p if i % 2 else re.sub(r"([*_$\[\]~^])", r"\\\1", html.escape(p, quote=False))
        for i, p in enumerate(parts)
    )


def anchor(name):  # Movie.like
    return name.replace(".", "-")


def heading_anchor(title):
    "Return the anchor that pandoc gives to a heading."
    kept = re.sub(r"[^\w\s.-]", "", title.replace("`", "")).lower()
    return re.sub(r"^[^a-z]+", "", re.sub(r"\s+", "-", kept.strip()))


@cache
def uses(path):  # of a notebook
    "Return {index of a code cell: (names that it uses, names that it defines)}."
    book = next(m.chapter for m in modules().values() if m.chapter.path == path)
    return {cell.index: names_of(cell) for cell in book.code}


def defining_cell(notebook, name):
    "Return the index of the exported cell that defines a name; -1 if there is none."
    found = [c.index for c in notebook.exported if name in uses(notebook.path)[c.index][1]]
    return found[0] if found else -1


def example(notebook, name):
    """Return (code, output) of the first cell after the definition that uses a name, or None.

    Only short cells of the lesson count: none that is exported, of an exercise or needs a movie.
    """
    start = defining_cell(notebook, name)
    end = next((i for i, title in notebook.headings if title == "Exercises"), len(notebook.cells))
    for cell in notebook.code:
        code = re.sub(r"^#\|.*\n?", "", cell.source, flags=re.M).strip()
        short = len(code.splitlines()) <= EXAMPLE_LINES
        plain = cell.runs and not cell.exported and "real" not in cell.flags
        if (
            start < cell.index < end
            and short
            and plain
            and name in uses(notebook.path)[cell.index][0]
        ):
            said = ["".join(o["text"]) for o in cell.outputs if o.get("name") == "stdout"]
            return code, "".join(said)
    return None


def links(module, name, node):
    "Return the line of links of an entry: its source, and the section of the chapter it is from."
    source = f"{CONFIG.git_url}/blob/{CONFIG.branch}/{module.path.as_posix()}#L{node.lineno}"
    book = module.chapter
    cell = defining_cell(book, name)
    section = [heading_anchor(title) for index, title in book.headings if index < cell]
    place = f"../{book.path.name}" + (f"#{section[-1]}" if section else "")
    return f"[explained in chapter {book.number:02d}]({place}) · [source]({source})"


def block(code, language="python"):
    return f"```{language}\n{code.rstrip()}\n```"


def entries_of_methods(module, node):
    "Return the entries of the methods and properties of a class as a list of paragraphs."
    parts = []
    for name, (home, item) in methods(module, node).items():
        full = f"{node.name}.{name}"
        parts += ["### " + full.replace("_", r"\_") + f" {{#{anchor(full)}}}"]
        parts += [block(signature(home, item, full)), prose(method_text(module, node, name))]
    return parts


def entry(module, name):
    "Return the entry of a public name as a list of paragraphs."
    node = module.nodes[name]
    title = name.replace("_", r"\_")
    parts = [f"## {title} {{#{name}}}", links(module, name, node)]
    if isinstance(node, ast.ClassDef):
        bases = [b for b in map(ast.unparse, node.bases) if b in ("Protocol", "ValueError")]
        made = (
            call(name, class_parameters(module, node)) if not bases else f"class {name}({bases[0]})"
        )
        parts += [block(made)]
    elif isinstance(node, FUNCTIONS):
        parts += [block(signature(module, node, name))]
    else:
        parts += [block(constant(module, node, name))]
    parts += [prose(text_of(node))]
    if shown := example(module.chapter, name):
        code, output = shown
        parts += ["Example:", block(code)]
        lines = output.splitlines()
        fits = 0 < len(lines) <= EXAMPLE_LINES and max(map(len, lines)) <= LINE
        parts += [block(output, "text")] if fits else []
    if isinstance(node, ast.ClassDef):
        parts += [
            f"From `{base}`: " + ", ".join(f"`{base}.{n}`" for n in names) + "."
            for base, names in heirlooms(module, node)
            if names
        ]
        parts += entries_of_methods(module, node)
    return [part for part in parts if part]


def text_of(node):
    "Return the docstring of a definition; nothing for a constant."
    return (ast.get_docstring(node) or "") if isinstance(node, FUNCTIONS | ast.ClassDef) else ""


def first_line(module, name):
    "Return the first sentence on a name, for the index; the comment of a constant."
    node = module.nodes[name]
    return text_of(node).split("\n\n")[0] or module.comments.get(node.lineno, "")


def title_of(book):
    "Return (title, question) of a chapter."
    return re.search(r"\A# (.*?)\s*> (.*)", book.cells[0].source).groups()


def page(title, texts, **options):
    "Return the cells of a page: its front matter, and a Markdown cell of each text."
    options = {"title": title, "repo-actions": "false", **options}
    front = "".join(f"{key}: {value}\n" for key, value in options.items())
    return [new_raw_cell(f"---\n{front}---"), *map(new_markdown_cell, texts)]


def module_page(module):
    "Return the page of a module."
    title, question = title_of(module.chapter)
    link = f"[{title}](../{module.chapter.path.name})"
    head = f"Module `{PACKAGE}.{module.name}`, explained in {link}: {question}"
    cells = [head] + ["\n\n".join(entry(module, name)) for name in module.public]
    return page(module.name, cells)


def top_level():
    "Return {name: module} of what `import celltrack as ct` offers."
    stub = (ROOT / PACKAGE / "__init__.pyi").read_text(encoding="utf-8")
    return {name: place for place, name in re.findall(r"^from \.([\w.]+) import (\w+)", stub, re.M)}


def row(module, name):
    return f"| [`{name}`]({module.name}.ipynb#{name}) | {prose(first_line(module, name))} |"


def index_page():
    "Return the page of all names: first those of the package itself, then those of each module."
    head = "| name | what it is |\n|---|---|\n"
    homes = {name: modules()[place] for name, place in sorted(top_level().items())}
    rows = [row(home, name) for name, home in homes.items()]
    cells = [
        "Every public name of the package, with its signature, an example, and the chapter that "
        "explains it.",
        "## import celltrack as ct\n\nThese are at hand as `ct.read_movie` and so on.\n\n"
        + head
        + "\n".join(rows),
    ]
    for module in modules().values():
        link = f"[{module.name}]({module.name}.ipynb)"
        rows = [row(module, name) for name in module.public]
        cells += [f"## {link} {{#{anchor(module.name)}}}\n\n" + head + "\n".join(rows)]
    return page("API", cells, search="false")


def entries():
    "Return {name: page and anchor} of every public name, method and property."
    found = {}
    for module in modules().values():
        for name in module.public:
            place = f"api/{module.name}.ipynb#"
            found[name] = place + name
            node = module.nodes[name]
            if isinstance(node, ast.ClassDef):
                for method in methods(module, node):
                    found[f"{name}.{method}"] = place + anchor(f"{name}.{method}")
    return found


def pages():
    "Return {name of the page: its cells}: the index, then the modules in the order of the course."
    return {"index": index_page()} | {name: module_page(m) for name, m in modules().items()}
