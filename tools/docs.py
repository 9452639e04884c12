"""Build the website in _docs: prepare the notebooks, let Quarto render them, check the site.

Where there is no Quarto, nbconvert and pandoc turn every page into plain HTML, so that a broken
page is seen there too. What must hold of the pages stands in check_site.py. nbdev's own docs
commands would download Quarto and run every import: here no code runs.
"""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import nbformat
import yaml
from nbconvert import MarkdownExporter
from nbdev.quarto import refresh_quarto_yml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output, new_raw_cell
from traitlets.config import Config

import api
import check_site
from api import CONFIG
from check import LINE, ROOT, Cell, names_of

PREPARED = ROOT / "_proc"
GLOSSARY = "glossary.ipynb"
PAGE_COST = 300_000  # bytes of a notebook that take as long to render as a page without any
PAGES = "*.ipynb"
IMPORTS, SETTINGS = '"Imports"', '"Imports and settings"'
UNSHOWN = {"default_exp", "eval"}  # directives that Quarto need not know
# the first that an output has is shown
FORMATS = [
    "text/html",
    "text/markdown",
    "image/svg+xml",
    "image/png",
    "image/jpeg",
    "text/plain",
]


# ---- links in the text: to chapters, to names of the API, to terms of the glossary


def link_chapters(text, chapters, up=""):  # chapters: {42: "42_track.sort.ipynb"}
    "Make a link of every `chapter 42` and of the numbers in `chapters 42 (SORT) and 43`."

    def one(match):
        number = int(match[0].split()[-1])
        page = chapters.get(number)
        return f"[{match[0]}]({up}{page})" if page else match[0]

    def outside(match):  # what stands in brackets stays as it is
        return match[0] if match[0].startswith("(") else one(match)

    def several(match):
        return re.sub(r"\([^()]*\)|\b\d\d\b", outside, match[0])

    text = re.sub(r"\bchapter \d\d\b(?![^\[\]]*\]\()", one, text, flags=re.I)
    number = r"\d\d\b(?: \([^()]*\))?(?:, | and | to |–)?"  # 20 (SEG),
    return re.sub(rf"\bchapters (?:{number})+(?![^\[\]]*\]\()", several, text)


# where no link is put: code, headings, tables, formulas, links and pictures, tags
SPARED = (
    r"^ *```.*?^ *```|^(?: {4}|#|\|)[^\n]*|\$\$.*?\$\$|\$[^$\n]+\$"
    r"|!?\[[^\]]*\](?:\([^)]*\))?|<[^>\n]+>"
)


def link_first_uses(cells, places, up="", flags=0):
    """Make a link of the first use of each text in Markdown cells; texts of one place share it.

    `places` is {text: what follows the text of its link}; with `re.I` the texts are in small
    letters. Code, headings, tables, formulas and what is a link already stay as they are.
    """
    if not places:
        return
    texts = "|".join(map(re.escape, sorted(places, key=len, reverse=True)))
    pattern = rf"{SPARED}|(?<![\w`-])(?P<text>{texts})(?![\w`-])|`[^`]*`"
    linked = set()

    def link(match):
        text = match["text"] or ""
        place = places.get(text.lower() if flags else text)
        if place is None or place in linked:
            return match[0]
        linked.add(place)
        return f"[{text}]({up}{place}"

    for cell in cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(pattern, link, cell.source, flags=re.M | re.S | flags)


def link_names(cells, entries, up=""):  # entries: {"Movie.like": "api/movie.ipynb#Movie-like"}
    "Make a link of the first `name` and `name()` of each public name."
    places = {
        f"`{name}{call}`": f"{place})" for name, place in entries.items() for call in ("", "()")
    }
    link_first_uses(cells, places, up)


def read_glossary(nb):
    """Return {term or variant, in small letters: target and class of a link}.

    A term is a heading `## track`; `*Also:* tracks, tracked` below it names its other forms. The
    first sentence of the definition is shown over the link.
    """
    places = {}
    text = "\n\n".join(cell.source for cell in nb.cells if cell.cell_type == "markdown")
    for term, body in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", text, re.M | re.S):
        also = re.search(r"^\*Also:\*(.*)$", body, re.M)
        forms = also[1].strip(" .").split(",") if also else []
        said = re.sub(r"^\*Also:\*.*$", "", body, flags=re.M).strip().split("\n\n")[0]
        said = re.sub(r"\[([^\]]*)\]\([^)]*\)|[`*$\\]", r"\1", " ".join(said.split()))
        hint = re.split(r"(?<=\.) ", said)[0].replace('"', "”")
        place = f'{GLOSSARY}#{api.heading_anchor(term)} "{hint}"){{.term}}'
        places |= {form.strip().lower(): place for form in [term, *forms]}
    return places


# ---- a notebook becomes a page


def front_matter(cell):
    "Return the cell of a title and its question as what Quarto reads: title and description."
    title = re.search(r"^# (.+)$", cell.source, re.M)
    question = re.search(r"^> (.+)$", cell.source, re.M)
    said = {"title": title[1].strip()} | ({"description": question[1].strip()} if question else {})
    return new_raw_cell(f"---\n{yaml.safe_dump(said, allow_unicode=True, width=1000)}---")


def shown(cell):
    """Return a code cell as a page shows it, or None: hidden cells and `default_exp` are left out.

    Folded are imports, tests (half of a cell or more is assertions, and it prints nothing), and the
    code of `#| export` and `#| exporti` under the names it defines; `#| code-fold: false` leaves it
    open. Other code is open, that of `#| exports` too.
    """
    flags = Cell(0, "code", cell.source).flags
    code = code_of(cell)
    if "hide" in flags or not code:
        return None
    kept = {key: value for key, value in flags.items() if value and key not in UNSHOWN}
    kinds = Counter(type(node) for node in ast.parse(code).body)
    if kinds.keys() <= {ast.Import, ast.ImportFrom}:
        kept = {"code-fold": "true", "code-summary": IMPORTS} | kept
    elif flags.keys() & {"export", "exporti"}:
        kept = {"code-fold": "true", "code-summary": json.dumps(defined(code))} | kept
    elif 2 * kinds[ast.Assert] >= kinds.total() and not cell.get("outputs"):
        kept = {"code-fold": "true", "code-summary": '"Test"'} | kept
    directives = "".join(f"#| {key}: {value}\n" for key, value in kept.items())
    outputs = [wrapped(plain_html(output)) for output in cell.get("outputs", [])]
    return new_code_cell(directives + code, outputs=outputs)


def joined_folds(cells):
    "Return cells with the imports and the folded settings that follow them as one cell."
    page = []
    for cell in cells:
        said = [
            Cell(0, c.cell_type, c.source).flags.get("code-summary")
            if c.cell_type == "code" and "#| code-fold: true" in c.source and not c.outputs
            else "open"
            for c in (*page[-1:], cell)
        ]
        if len(said) == 2 and said[0] in (IMPORTS, SETTINGS) and said[1] in (IMPORTS, None):
            kinds = IMPORTS if {*said} == {IMPORTS} else SETTINGS
            code = "\n".join(code_of(c) for c in (page.pop(), cell))
            cell = new_code_cell(f"#| code-fold: true\n#| code-summary: {kinds}\n{code}")
        page.append(cell)
    return page


def code_of(cell):
    "Return the code of a cell without its directives."
    return re.sub(r"^#\|.*\n?", "", cell.source, flags=re.M).strip()


def plain_html(output):
    "Return an output with its HTML as Markdown: for HTML, Quarto would load scripts from afar."
    data = output.get("data", {})
    if "text/html" not in data:
        return output
    markdown = f"```{{=html}}\n{''.join(data['text/html'])}\n```"
    return new_output(output.output_type, {"text/markdown": markdown}, metadata=output.metadata)


def wrapped(output):
    "Return an output whose long lines of prose are wrapped; tables, with wide gaps, stay."
    if output.output_type != "stream":
        return output

    def wrap(line):
        prose = len(line) > LINE and "  " not in line
        return textwrap.fill(line, LINE, break_long_words=False) if prose else line

    text = "".join(output["text"])
    return new_output("stream", name=output.name, text="\n".join(map(wrap, text.split("\n"))))


def defined(code, most=3):
    "Return the names that code defines, in words: `a, b, c and 2 more`."
    names = [*names_of(Cell(0, "code", code))[1]]
    names.sort(key=code.index)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def is_lesson(path, nb):
    "Return whether a notebook is there to be run: it has code, and is not the front page."
    return path.stem != "index" and any(cell.cell_type == "code" for cell in nb.cells)


def page_links(name, answered=True):  # 42_track.sort.ipynb
    "Return the line of links under the title of a lesson."
    place = f"{CONFIG.user}/{CONFIG.repo}"
    colab = f"https://colab.research.google.com/github/{place}/blob/notebooks/{name}"
    binder = f"https://mybinder.org/v2/gh/{place}/{CONFIG.branch}?labpath=nbs%2F{name}"
    links = [
        f"[Open in Colab]({colab})",
        f"[Open in Binder]({binder})",
        f'<a href="notebooks/{name}" download>Download the notebook</a>',
        *([f"[Answers](solutions/{name})"] if answered else []),
    ]
    return f'<div class="page-links">\n\n{" · ".join(links)}\n\n</div>'


def link_pages(text):
    "Return Markdown whose links to notebooks of the site lead to their pages."
    return re.sub(r"(\]\((?!\w+:)[^)\s#]+)\.ipynb(?=[#)\s])", r"\1.html", text)


def write_page(cells, path):
    "Write a page as a notebook."
    for cell in cells:
        if cell.cell_type == "markdown":
            cell.source = link_pages(cell.source)
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "text/markdown" in data:
                data["text/markdown"] = link_pages("".join(data["text/markdown"]))
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    nb = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(nb, path)


def page_cells(cells, chapters, entries, terms, up=""):
    "Return the cells of a notebook as those of its page."
    page = [front_matter(cells[0])] if cells[0].source.startswith("# ") else [cells[0]]
    own = CONFIG.doc_host + CONFIG.doc_baseurl + "/"
    for cell in cells[1:]:
        if cell.cell_type == "markdown":
            text = link_chapters(cell.source.replace(f"]({own}", f"]({up}"), chapters, up)
            page.append(new_markdown_cell(text))
        elif cell.cell_type == "code":
            page += [code for code in [shown(cell)] if code]
    page = joined_folds(page)
    link_first_uses(page, terms, up, re.I)
    link_names(page, entries, up)
    return page


def prepare(source, target):
    "Write the notebooks of a folder as pages into another, and the pages of the API."
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(".*", "__pycache__", "*.py"))
    chapters = {int(p.name[:2]): p.name for p in target.glob("[0-9]*.ipynb")}
    entries = api.entries()
    glossary = target / GLOSSARY
    terms = read_glossary(nbformat.read(glossary, 4)) if glossary.exists() else {}
    titles = {}
    for path in sorted(target.rglob(PAGES), key=lambda p: len(p.parts)):
        inside = path.relative_to(target)
        up = "../" * (len(inside.parts) - 1)
        nb = nbformat.read(path, 4)
        unexplained = path == glossary or path.stem == "index"
        cells = page_cells(nb.cells, chapters, entries, {} if unexplained else terms, up)
        title = re.search(r"^# (.+)$", nb.cells[0].source, re.M)
        titles[str(inside)] = title[1] if title else path.stem
        if inside.parent.name == "solutions":
            cells[:1] = answers_head(titles[path.name], path.name)
        elif is_lesson(path, nb):
            answered = (target / "solutions" / path.name).exists()
            cells.insert(1, new_markdown_cell(page_links(path.name, answered)))
        write_page(cells, path)
    (target / "api").mkdir()
    for name, cells in api.pages().items():
        link_names(cells, entries, "../")
        write_page(cells, target / "api" / f"{name}.ipynb")


def answers_head(title, name):  # "42 SORT: boxes", "42_track.sort.ipynb"
    "Return the first cells of a page of answers: they follow their chapter in name and number."
    front = new_markdown_cell(f"# {title}: answers")
    back = new_markdown_cell(f"[Back to the exercises](../{name}#exercises)")
    return [front_matter(front), back]


# ---- the notebooks that a reader takes away


def install_cell():
    """Return the code that makes a machine ready for a notebook that stands alone.

    Nothing happens in the course's own folder. Elsewhere the course is cloned and installed, and
    the notebook goes on in its folder, where the tables lie that chapters read.
    """
    return f"""\
import os

if not os.path.isdir("tables"):  # this notebook stands alone: get the course, some minutes, once
    if not os.path.isdir("course"):
        !git clone --quiet --depth 1 {CONFIG.git_url} course
    %pip install --quiet "./course[course]"
    %cd -q course/nbs"""


def write_notebooks(source, target):
    "Copy the lessons, each with the install cell under its title, for Colab and to download."
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.glob(PAGES)):
        nb = nbformat.read(path, 4)
        if not is_lesson(path, nb):
            continue
        nb.cells.insert(1, new_code_cell(install_cell(), id="install"))
        nbformat.write(nb, target / path.name)


# ---- rendering


def lighten(index, folder):
    """Return a search index without the code of the notebooks in a folder.

    The pages of the API are found by their entries only, so that a name leads to its entry.
    """
    kept = []
    for entry in index:
        page, _, anchor = entry["href"].partition("#")
        if page.startswith("api/") and not anchor:
            continue
        text = entry["text"]
        for source in sources(folder / page):
            text = text.replace(source, " ")
        kept.append(entry | {"text": " ".join(text.split())})
    return kept


@cache
def sources(page):  # 42_track.sort.html, beside its notebook
    "Return the code cells of a page as its HTML has them, the longest first."
    path = page.with_suffix(".ipynb")
    cells = nbformat.read(path, 4).cells if path.exists() else []
    code = [code_of(cell) for cell in cells if cell.cell_type == "code"]
    escaped = [c.replace("<", "&lt;").replace(">", "&gt;") for c in code]
    return sorted(escaped, key=len, reverse=True)


def title_of(path):
    "Return the title of a page, as its front matter says it."
    front = nbformat.read(path, 4).cells[0].source.strip("-\n")
    return str(yaml.safe_load(front)["title"])


def quarto_settings(prepared, pages):  # folder of all pages; those to render
    """Return what Quarto is told: _quarto.yml and nbdev.yml, with the title of each page.

    So a part of the pages can be rendered as if all were there.
    """
    said, own = (
        yaml.safe_load(path.read_text(encoding="utf-8"))
        for path in (ROOT / "_quarto.yml", prepared / "nbdev.yml")
    )

    def item(entry):
        if isinstance(entry, str):
            return {"text": title_of(prepared / entry), "href": entry.replace(".ipynb", ".html")}
        if entry == {"auto": "api"}:
            names = [f"api/{name}.ipynb" for name in api.pages()]
            return {"section": "API", "contents": [item(name) for name in names]}
        return entry | {"contents": [item(e) for e in entry["contents"]]}

    website = said["website"] | own["website"]
    website["sidebar"]["contents"] = [item(e) for e in website["sidebar"]["contents"]]
    for entry in website["navbar"]["left"]:
        entry["href"] = entry["href"].replace(".ipynb", ".html")
    project = said["project"] | own["project"] | {"render": pages}
    return said | {"website": website, "project": project}


def shares(prepared, count):
    "Return lists of pages of about equal weight; the front page is in the first."
    weights = {p.relative_to(prepared).as_posix(): p.stat().st_size for p in prepared.rglob(PAGES)}
    found = [["index.ipynb"], *([] for _ in range(count - 1))]
    taken = [0] * count
    for name in sorted(weights.keys() - {"index.ipynb"}, key=lambda name: -weights[name]):
        least = taken.index(min(taken))
        found[least].append(name)
        taken[least] += weights[name] + PAGE_COST
    return found


def render_share(project):
    subprocess.run(["quarto", "render", "--no-cache", "--quiet"], cwd=project, check=True)


def render(prepared, site):
    "Let Quarto render the pages, a share of them on each core; leave code out of the search."
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor() as pool:
        projects = []
        for i, pages in enumerate(shares(prepared, min(4, os.cpu_count() or 1))):
            projects.append(Path(folder) / str(i))
            shutil.copytree(prepared, projects[-1])
            text = yaml.safe_dump(quarto_settings(prepared, pages), allow_unicode=True)
            (projects[-1] / "_quarto.yml").write_text(text, encoding="utf-8")
        [*pool.map(render_share, projects)]
        index = []
        for project in reversed(projects):  # the first has the front page
            made = project / site.name
            index += json.loads((made / "search.json").read_text(encoding="utf-8"))
            shutil.copytree(made, site, dirs_exist_ok=True)
    text = json.dumps(lighten(index, prepared), ensure_ascii=False)
    (site / "search.json").write_text(text, encoding="utf-8")
    write_sitemap(site)


def write_sitemap(site):
    "List the pages of a site for those who look for them."
    base = CONFIG.doc_host + CONFIG.doc_baseurl
    pages = sorted(p.relative_to(site).as_posix() for p in site.rglob("*.html"))
    urls = "".join(f"  <url><loc>{base}/{page}</loc></url>\n" for page in pages)
    text = f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{urls}</urlset>\n'
    (site / "sitemap.xml").write_text(text, encoding="utf-8")


def tidy(nb):
    "Apply the directives of the code cells, then remove them: echo, fig-alt."
    for cell in nb.cells:
        if cell.cell_type != "code":
            continue
        flags = Cell(0, "code", cell.source).flags
        cell.source = code_of(cell)
        cell.metadata["alt"] = flags.get("fig-alt", "").strip("\"'")
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

    def described(match):  # figures/figure_12_0.png belongs to cell 12
        return f"![{nb.cells[int(match[2])].metadata.get('alt', '')}]({match[1]}"

    picture = rf"!\[\w+\]\(({re.escape(figures)}/figure_(\d+)_)"
    return re.sub(picture, described, text), made["outputs"]


def render_plainly(source, target):  # folder of prepared notebooks; folder of the site
    "Without Quarto: render every prepared notebook with nbconvert and pandoc; copy other files."
    import pypandoc

    for path in sorted(p for p in source.rglob("*") if p.is_file() and p.suffix != ".yml"):
        page = (target / path.relative_to(source)).with_suffix(
            ".html" if path.suffix == ".ipynb" else path.suffix
        )
        page.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix != ".ipynb":
            shutil.copy2(path, page)
            continue
        text, figures = to_markdown(tidy(nbformat.read(path, 4)), f"{page.stem}_files")
        for name, content in figures.items():
            (page.parent / name).parent.mkdir(exist_ok=True)
            (page.parent / name).write_bytes(content)
        kind = "markdown+lists_without_preceding_blankline-implicit_figures"
        options = ["--standalone", "--toc", "--mathml", "--metadata", f"pagetitle={page.stem}"]
        body = pypandoc.convert_text(text, "html5", kind, extra_args=options)
        page.write_text(body, encoding="utf-8")


def build():
    "Build the site; return its folder and that of the prepared notebooks."
    os.chdir(ROOT)
    site = CONFIG.doc_path
    shutil.rmtree(site, ignore_errors=True)
    refresh_quarto_yml()
    prepare(ROOT / "nbs", PREPARED)
    if broken := check_site.tracebacks(PREPARED):
        sys.exit("\n".join(broken))
    if shutil.which("quarto"):
        render(PREPARED, site)
    else:
        render_plainly(PREPARED, site)
    write_notebooks(ROOT / "nbs", site / "notebooks")
    return site, PREPARED


if __name__ == "__main__":
    begin = time.time()
    site, prepared = build()
    print(f"{'quarto' if shutil.which('quarto') else 'pandoc'}: {time.time() - begin:.0f} s")
    sys.exit(check_site.main(site, prepared))
