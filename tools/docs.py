"""Build the website in _docs: nbdev prepares the notebooks, Quarto renders them.

Where there is no Quarto, nbconvert and pandoc turn every page into plain HTML, so that a broken
page is seen there too. A page that breaks, a link that leads nowhere, a line of code wider than
its box and a name that a page uses but never shows: each fails. nbdev's own docs commands would
download Quarto; only its `proc_nbs` is used here.
"""

import builtins
import html.parser
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter
from nbdev.config import get_config
from nbdev.doclinks import _nbpath2html
from nbdev.quarto import refresh_quarto_yml
from nbdev.serve import proc_nbs
from traitlets.config import Config

from check import ROOT, Cell, names_of

LINE = 100  # columns of code that the box of a page holds
# the first that an output has is shown
FORMATS = [
    "text/html",
    "text/markdown",
    "image/svg+xml",
    "image/png",
    "image/jpeg",
    "text/plain",
]


# ---- before nbdev: what a notebook does not say itself


def link_chapters(text, chapters, up=""):  # chapters: {42: "42_track.sort.ipynb"}
    "Make a link of every `chapter 42` and of the numbers in `chapters 42 and 43`."

    def one(match):
        number = int(match[0].split()[-1])
        page = chapters.get(number)
        return f"[{match[0]}]({up}{page})" if page else match[0]

    def several(match):
        return re.sub(r"\b\d\d\b", one, match[0])

    text = re.sub(r"\bchapter \d\d\b(?![^\[\]]*\]\()", one, text, flags=re.I)
    return re.sub(r"\bchapters (?:\d\d(?:, | and | to |–)?)+(?![^\[\]]*\]\()", several, text)


def page_links(name, settings):  # 42_track.sort.ipynb
    "Return the line of links under the introduction of a chapter."
    place = f"{settings.user}/{settings.repo}"
    raw = f"https://raw.githubusercontent.com/{place}/{settings.branch}/nbs/{name}"
    colab = f"https://colab.research.google.com/github/{place}/blob/{settings.branch}/nbs/{name}"
    return (
        f"[Download this notebook]({raw}) · [Open it in Colab]({colab}) · "
        f"[Answers to the exercises](solutions/{name})"
    )


def plumbing(code):
    """Return the cell that shows the source of `#| exporti`, which nbdev runs and hides; else None.

    It is folded; `#| code-fold: false` leaves it open.
    """
    if not re.search(r"^#\|\s*exporti\b", code, re.M):
        return None
    fold = "show" if re.search(r"^#\|\s*code-fold: false", code, re.M) else "true"
    summary = '"Exported source"' if fold == "show" else '"Plumbing"'
    code = re.sub(r"^#\|\s*(exporti|code-fold)\b.*\n", "", code, flags=re.M)
    return f"#| eval: false\n#| code-fold: {fold}\n#| code-summary: {summary}\n{code}"


def prepare(source, target):
    "Copy the notebooks; link chapters, show plumbing (`#| exporti`), add the links of a page."
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(".*", "__pycache__", "*.py"))
    chapters = {int(p.name[:2]): p.name for p in target.glob("[0-9]*.ipynb")}
    settings = get_config()
    for path in target.rglob("*.ipynb"):
        nb = nbformat.read(path, 4)
        up = "../" * (len(path.relative_to(target).parts) - 1)
        cells = []
        for cell in nb.cells:
            cells.append(cell)
            if cell.cell_type == "markdown":
                cell.source = link_chapters(cell.source, chapters, up)
            elif shown := plumbing(cell.source):
                cells.append(nbformat.v4.new_code_cell(shown))
        nb.cells = cells
        if path.name in chapters.values() and not up:
            nb.cells.insert(2, nbformat.v4.new_markdown_cell(page_links(path.name, settings)))
        nbformat.write(nb, path)


# ---- after nbdev


def drop_doubtful_links(folder):
    """Keep nbdev's sure links: names_like_this, Classes, and those of the same page.

    nbdev links every `word` that names something in any module.
    """
    for path in folder.rglob("*.ipynb"):
        own = _nbpath2html(path).name
        text = path.read_text(encoding="utf-8")
        link = r"\[(`[a-z]+(?:\(\))?`)\]\([^()\s]*?([\w.]+\.html)#\w+\)"
        text = re.sub(link, lambda m, own=own: m[0] if m[2] == own else m[1], text)
        path.write_text(text, encoding="utf-8")


def tidy(nb):
    "Apply the directives of the code cells, then remove them: echo, code-fold."
    for cell in nb.cells:
        if cell.cell_type != "code":
            continue
        flags = dict(re.findall(r"^#\|\s*([\w-]+):?[ \t]*(.*)$", cell.source, re.M))
        cell.source = re.sub(r"^#\|.*\n?", "", cell.source, flags=re.M).strip()
        if flags.get("echo") == "false" or not cell.source:
            cell.metadata["tags"] = ["no-source"]
    return nb


def to_markdown(nb, figures, formats=FORMATS):  # notebook; name of the folder for its figures
    "Return the Markdown of a notebook and its figures {file name: bytes}."
    settings = Config(
        {
            "NbConvertBase": {"display_data_priority": formats},
            "TagRemovePreprocessor": {"enabled": True, "remove_input_tags": {"no-source"}},
        }
    )
    nb.metadata["language_info"] = {"name": "python"}
    exporter = MarkdownExporter(config=settings)
    resources = {"output_files_dir": figures, "unique_key": "figure"}
    text, made = exporter.from_notebook_node(nb, resources)
    return re.sub(r"!\[\w+\]\((?=" + re.escape(figures) + ")", "![](", text), made["outputs"]


def render_plainly(source, target):  # folder of prepared notebooks; folder of the site
    "Without Quarto: render every prepared notebook with nbconvert and pandoc; copy other files."
    import pypandoc

    base = get_config().doc_host + get_config().doc_baseurl + "/"
    for path in sorted(p for p in source.rglob("*") if p.is_file() and p.suffix != ".yml"):
        inside = path.relative_to(source)
        page = target / (_nbpath2html(inside) if path.suffix == ".ipynb" else inside)
        page.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix != ".ipynb":
            shutil.copy2(path, page)
            continue
        text, figures = to_markdown(tidy(nbformat.read(path, 4)), f"{page.stem}_files")
        for name, content in figures.items():
            (page.parent / name).parent.mkdir(exist_ok=True)
            (page.parent / name).write_bytes(content)
        kind = "markdown+lists_without_preceding_blankline"
        options = ["--standalone", "--toc", "--mathml", "--metadata", f"pagetitle={page.stem}"]
        body = pypandoc.convert_text(text, "html5", kind, extra_args=options)
        body = body.replace(base, "../" * (len(inside.parts) - 1))
        link = r'href="(?!\w+:)([^"#]+\.ipynb)((?:#[^"]*)?)"'
        body = re.sub(link, lambda m: f'href="{_nbpath2html(Path(m[1])).as_posix()}{m[2]}"', body)
        page.write_text(body, encoding="utf-8")


# ---- what must hold


class Links(html.parser.HTMLParser):
    "The targets and anchors of one page."

    def __init__(self, page):
        super().__init__()
        self.targets, self.anchors = [], set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.anchors.add(attrs.get("id") or attrs.get("name"))
        self.targets += [attrs[key] for key in ("href", "src") if attrs.get(key)]


def broken_links(site):
    "Return the links between the pages of a site that lead nowhere."
    pages = {page.resolve(): Links(page) for page in sorted(site.rglob("*.html"))}
    broken = []
    for page, links in pages.items():
        for target in links.targets:
            name, _, anchor = target.partition("#")
            goal = (page.parent / name).resolve() if name else page
            if re.match(r"\w+:|//", target) or goal.is_dir():
                continue
            if not goal.exists() or not name and anchor not in links.anchors:
                broken.append(f"{page.relative_to(site.resolve())}: leads nowhere: {target}")
    return broken


def wide_lines(prepared):  # folder of prepared notebooks
    "Return the lines of code that do not fit into the box of a page."
    said = []
    for path in sorted(prepared.rglob("*.ipynb")):
        for cell in nbformat.read(path, 4).cells:
            for line in cell.source.splitlines() if cell.cell_type == "code" else ():
                if len(line) > LINE and not line.startswith("#|"):
                    said.append(f"{path.name}: wider than {LINE} columns: {line.strip()[:60]} …")
    return said


def unseen_names(prepared):
    "Return the names that the code of a page uses and never shows: no cell defines them."
    said = []
    for path in sorted(prepared.rglob("*.ipynb")):
        used, shown = set(), set(dir(builtins))
        for cell in nbformat.read(path, 4).cells:
            if cell.cell_type != "code" or not cell.source.strip():
                continue
            documented = re.findall(r"^show_doc\((\w+)", cell.source, re.M)
            if documented:
                shown |= {*documented}
                continue
            needs, defines = names_of(Cell(0, "code", cell.source))
            used |= needs
            shown |= defines
        said += [f"{path.name}: used, never shown: {name}" for name in sorted(used - shown)]
    return said


def tracebacks(prepared):
    "Return the pages that show an error instead of documentation."
    return [
        f"{path.name}: an error stands on this page"
        for path in sorted(prepared.rglob("*.ipynb"))
        if "Traceback (most recent call last)" in path.read_text(encoding="utf-8")
    ]


def build():
    "Build the site; return its folder and that of the prepared notebooks."
    os.chdir(ROOT)
    site = get_config().doc_path
    shutil.rmtree(site, ignore_errors=True)
    refresh_quarto_yml()
    with tempfile.TemporaryDirectory() as folder:
        prepare(ROOT / "nbs", Path(folder) / "nbs")
        prepared = proc_nbs(Path(folder) / "nbs", force=True, n_workers=2)
    drop_doubtful_links(prepared)
    if broken := tracebacks(prepared):  # Quarto would take minutes for each
        sys.exit("\n".join(broken))
    if shutil.which("quarto"):
        subprocess.run(["quarto", "render", "--no-cache"], cwd=prepared, check=True)
        shutil.move(prepared / site.name, site)
    else:
        render_plainly(prepared, site)
    return site, prepared


if __name__ == "__main__":
    site, prepared = build()
    faults = {
        "broken links": broken_links(site),
        "lines of code too wide": wide_lines(prepared),
        "names never shown": unseen_names(prepared),
    }
    for said in faults.values():
        print(*said, sep="\n")
    counts = ", ".join(f"{len(said)} {what}" for what, said in faults.items())
    pages = len([*site.rglob("*.html")])
    print(f"{pages} pages, {counts}: {site.relative_to(ROOT)}/index.html")
    sys.exit(any(faults.values()))
