"""Build the website in _docs: nbdev prepares the notebooks, Quarto renders them; where there is no Quarto, nbconvert and pandoc do.

nbdev's own docs commands would download Quarto; only its `proc_nbs` is used here. A page that breaks, or a link that leads nowhere, fails.
"""
import html.parser
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import yaml
from nbconvert import MarkdownExporter
from nbdev.config import get_config
from nbdev.doclinks import _nbpath2html
from nbdev.quarto import refresh_quarto_yml
from nbdev.serve import proc_nbs
from traitlets.config import Config

ROOT = Path(__file__).resolve().parent.parent
FORMATS = ["text/html", "text/markdown", "image/svg+xml", "image/png", "image/jpeg", "text/plain"]  # the first that an output has is shown


def tidy(nb, html=True):
    "Apply the directives of the code cells, then remove them: echo, code-fold; wrap HTML so that pandoc leaves it alone."
    cells = []
    for cell in nb.cells:
        if cell.cell_type == "code":
            flags = dict(re.findall(r"^#\|\s*([\w-]+):?[ \t]*(.*)$", cell.source, re.M))
            cell.source = re.sub(r"^#\|.*\n?", "", cell.source, flags=re.M).strip()
            for out in cell.outputs:
                data = out.get("data", {})
                if "image/gif" in data: data["text/html"] = f'<img src="data:image/gif;base64,{data["image/gif"].strip()}">'
                if html and "text/html" in data: data["text/markdown"] = f"```{{=html}}\n{data.pop('text/html')}\n```"
            if "code-fold" in flags:
                cells.append(nbformat.v4.new_markdown_cell(
                    f"<details open><summary>Source</summary>\n\n```python\n{cell.source}\n```\n\n</details>"))
                cell.source = ""
            if flags.get("echo") == "false" or not cell.source: cell.metadata["tags"] = ["no-source"]
        cells.append(cell)
    nb.cells = cells
    return nb


def to_markdown(nb, figures, formats=FORMATS):  # notebook; name of the folder for its figures
    "Return the Markdown of a notebook and its figures {file name: bytes}."
    settings = Config({"NbConvertBase": {"display_data_priority": formats},
                       "TagRemovePreprocessor": {"enabled": True, "remove_input_tags": {"no-source"}}})
    nb.metadata["language_info"] = {"name": "python"}
    text, made = MarkdownExporter(config=settings).from_notebook_node(nb, {"output_files_dir": figures, "unique_key": "figure"})
    return re.sub(r"!\[\w+\]\((?=" + re.escape(figures) + ")", "![](", text), made["outputs"]


def drop_doubtful_links(folder):
    "nbdev links every `word` that names something in any module. Keep the sure ones: names_like_this, Classes, and those of the same page."
    for path in folder.rglob("*.ipynb"):
        own = _nbpath2html(path).name
        sure = lambda m: m[0] if m[2] == own else m[1]
        text = path.read_text(encoding="utf-8")
        path.write_text(re.sub(r"\[(`[a-z]+(?:\(\))?`)\]\([^()\s]*?([\w.]+\.html)#\w+\)", sure, text), encoding="utf-8")


def sidebar(node, up):  # contents of the sidebar in _quarto.yml; path from the page to the top
    "Return the list of pages as HTML."
    items = []
    for entry in node:
        if isinstance(entry, dict): items.append(f"<li>{entry['section']}{sidebar(entry['contents'], up)}</li>")
        else:
            title = front_matter(ROOT / "_proc" / entry)["title"]
            items.append(f'<li><a href="{up}{_nbpath2html(Path(entry))}">{title}</a></li>')
    return "<ul>" + "\n".join(items) + "</ul>"


def front_matter(path):
    "Return title, description, output-file of a prepared notebook."
    first = nbformat.read(path, 4).cells[0]
    return yaml.safe_load(first.source.strip().strip("-")) if first.cell_type == "raw" else {"title": path.stem}


def render(source, target):  # folder of prepared notebooks; folder of the site
    "Render every prepared notebook to a page; copy the other files."
    import pypandoc
    config = get_config()
    contents = yaml.safe_load((ROOT / "_quarto.yml").read_text(encoding="utf-8"))["website"]["sidebar"]["contents"]
    for path in sorted(p for p in source.rglob("*") if p.is_file() and not p.name.startswith("_") and p.suffix != ".yml"):
        inside = path.relative_to(source)
        page = target / inside
        page.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix != ".ipynb":
            shutil.copy2(path, page)
            continue
        page, up = target / _nbpath2html(inside), "../" * (len(inside.parts) - 1)
        head, nb = front_matter(path), nbformat.read(path, 4)
        nb.cells = [cell for cell in nb.cells if cell.cell_type != "raw"]
        text, figures = to_markdown(tidy(nb), f"{page.stem}_files")
        for name, content in figures.items():
            (page.parent / name).parent.mkdir(exist_ok=True)
            (page.parent / name).write_bytes(content)
        body = pypandoc.convert_text(text, "html5", "markdown+lists_without_preceding_blankline+autolink_bare_uris", extra_args=[
            "--standalone", "--columns=10000", "--toc", "--toc-depth=3", "--mathml", f"--template={ROOT / 'tools/page.html'}", "--metadata", f"title={head['title']}",
            "--variable", f"question={head.get('description', '')}", "--variable", f"sidebar={sidebar(contents, up)}"])
        body = body.replace(f"{config.doc_host}{config.doc_baseurl}/", up)
        to_page = lambda m: f'href="{_nbpath2html(Path(m[1])).as_posix()}{m[2]}"'
        page.write_text(re.sub(r'href="(?!\w+:)([^"#]+\.ipynb)((?:#[^"]*)?)"', to_page, body), encoding="utf-8")


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
            if re.match(r"\w+:|//", target) or goal.is_dir(): continue
            if not goal.exists() or not name and anchor not in links.anchors:
                broken.append(f"{page.relative_to(site.resolve())}: leads nowhere: {target}")
    return broken


def build():
    "Build the site; return its folder."
    os.chdir(ROOT)
    site = get_config().doc_path
    shutil.rmtree(site, ignore_errors=True)
    refresh_quarto_yml()
    prepared = proc_nbs(force=True, n_workers=2)
    drop_doubtful_links(prepared)
    if shutil.which("quarto"):
        subprocess.run(["quarto", "render", "--no-cache"], cwd=prepared, check=True)
        shutil.move(prepared / site.name, site)
    else: render(prepared, site)
    return site


if __name__ == "__main__":
    site = build()
    broken = broken_links(site)
    print(*broken, sep="\n")
    print(f"{len(list(site.rglob('*.html')))} pages, {len(broken)} broken links: {site.relative_to(ROOT)}/index.html")
    sys.exit(bool(broken))
