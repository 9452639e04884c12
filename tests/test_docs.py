"""How a notebook becomes a page: what is shown, what is linked, what is left out of the search."""

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import docs


def text_of(cells):
    return "\n".join(cell.source for cell in cells)


def linked(text, **options):
    cells = [new_markdown_cell(text)]
    docs.link_first_uses(cells, **options)
    return cells[0].source


def test_directives_do_what_they_say_and_vanish():
    shown = new_code_cell("#| exports\nx = 1", outputs=[new_output("stream", text="1\n")])
    hidden = new_code_cell(
        "#| echo: false\nshow(f)",
        outputs=[new_output("display_data", {"text/markdown": "### f"})],
    )
    text, _ = docs.to_markdown(docs.tidy(new_notebook(cells=[shown, hidden])), "files")
    assert "#|" not in text and "show(f)" not in text
    assert text.index("x = 1") < text.index("    1") < text.index("### f")


def test_figures_keep_their_alt_text_without_quarto():
    data = {"image/png": "iVBORw0KGgo="}
    drawn = new_code_cell('#| fig-alt: "Two cells."\ndraw()', outputs=[])
    drawn.outputs = [new_output("display_data", data)]
    text, figures = docs.to_markdown(docs.tidy(new_notebook(cells=[drawn])), "files")
    assert f"![Two cells.]({[*figures][0]})" in text


def test_chapters_named_in_the_text_become_links():
    chapters = {42: "42_track.sort.ipynb", 43: "43_track.divide.ipynb"}
    assert docs.link_chapters("See chapter 42.", chapters) == (
        "See [chapter 42](42_track.sort.ipynb)."
    )
    assert docs.link_chapters("chapters 42 and 43", chapters, "../") == (
        "chapters [42](../42_track.sort.ipynb) and [43](../43_track.divide.ipynb)"
    )
    assert docs.link_chapters("chapters 42 (in 43 frames), 43 (x) and 99.", chapters) == (
        "chapters [42](42_track.sort.ipynb) (in 43 frames), [43](43_track.divide.ipynb) (x) and 99."
    )
    for text in ("[chapter 42](x.ipynb)", "chapter 99", "42 cells"):
        assert docs.link_chapters(text, chapters) == text


def test_public_names_are_links_at_their_first_use():
    entries = {"Sort": "api/track.sort.ipynb#Sort", "Sort.link": "api/track.sort.ipynb#Sort-link"}
    cells = [
        new_markdown_cell("# `Sort`\n\n`Sort`, `Sort`, `sort`, `Sort.link()`\n\n```\n`Sort`\n```")
    ]
    docs.link_names(cells, entries, "../")
    assert cells[0].source == (
        "# `Sort`\n\n[`Sort`](../api/track.sort.ipynb#Sort), `Sort`, `sort`, "
        "[`Sort.link()`](../api/track.sort.ipynb#Sort-link)\n\n```\n`Sort`\n```"
    )


def test_a_page_has_title_question_and_no_hidden_cell():
    cells = [
        new_markdown_cell("# 42 SORT: boxes\n\n> How far do we get?"),
        new_code_cell("#| default_exp track.sort"),
        new_code_cell("#| hide\nimport nbdev"),
        new_markdown_cell("See chapter 42."),
    ]
    page = docs.page_cells(cells, {42: "42_track.sort.ipynb"}, {}, {})
    front = page[0]
    assert len(page) == 2 and front.cell_type == "raw"
    assert "title: '42 SORT: boxes'" in front.source and "description: How far" in front.source
    assert page[1].source == "See [chapter 42](42_track.sort.ipynb)."


def test_plumbing_and_imports_are_folded_and_taught_code_is_open():
    def source(code):
        return docs.shown(new_code_cell(code)).source

    assert source("#| exporti\nb = 1\na = b").splitlines() == [
        "#| code-fold: true",
        '#| code-summary: "b, a"',
        "b = 1",
        "a = b",
    ]
    assert "#| code-fold: false" in source("#| exporti\n#| code-fold: false\nx = 1")
    assert source("#| exports\nx = 1") == source("#| real\nx = 1") == "x = 1"
    assert source("#| exports\nimport os\nimport re").startswith("#| code-fold: true")
    assert (
        '"Test"' in source("n = 1\nassert n == 1")
        and source("a = b = 1\nprint(a)\nassert b")[0] == "a"
    )
    assert docs.defined("a = b = c = d = e = 1") == "a, b, c and 2 more"


def test_imports_and_settings_at_the_top_of_a_page_are_one_fold():
    codes = ["#| export\nimport os", "import re", "#| code-fold: true\nx = 1", "#| exporti\ny = 2"]
    page = docs.joined_folds([docs.shown(new_code_cell(code)) for code in [*codes, "import ast"]])
    assert [docs.code_of(cell) for cell in page] == [
        "import os\nimport re\nx = 1",
        "y = 2",
        "import ast",
    ]
    assert "Imports and settings" in page[0].source and '"y"' in page[1].source


def test_html_needs_no_scripts_from_elsewhere():
    table = new_output("execute_result", {"text/html": ["<b>", "1</b>"], "text/plain": "1"})
    assert docs.shown(new_code_cell("x", outputs=[table])).outputs[0].data == {
        "text/markdown": "```{=html}\n<b>1</b>\n```"
    }


def test_prose_that_is_printed_is_wrapped_and_tables_are_not():
    for text, lines in {"word " * 50: 3, "a   b " * 50: 1, "x" * 200: 1, "one\ntwo": 2}.items():
        printed = new_output("stream", name="stdout", text=text)
        (said,) = docs.shown(new_code_cell("x", outputs=[printed])).outputs
        assert len(said.text.splitlines()) == lines and said.text.split() == text.split()


def test_links_to_notebooks_lead_to_their_pages(tmp_path):
    assert docs.link_pages("[a](42_x.ipynb) [b](../s/y.ipynb#z) [c](g.ipynb#t 'T')") == (
        "[a](42_x.html) [b](../s/y.html#z) [c](g.html#t 'T')"
    )
    said = new_output("display_data", {"text/markdown": "[a](42_x.ipynb)"})
    docs.write_page([new_code_cell("x", outputs=[said])], tmp_path / "page.ipynb")
    (cell,) = nbformat.read(tmp_path / "page.ipynb", 4).cells
    assert cell.outputs[0].data["text/markdown"] == "[a](42_x.html)"
    for text in ("[a](https://x.org/y.ipynb)", "y.ipynb", '<a href="notebooks/y.ipynb">'):
        assert docs.link_pages(text) == text


def test_the_pages_are_shared_out(tmp_path):
    for i in range(7):
        (tmp_path / f"{i}.ipynb").write_text("x" * 100_000 * i)
    (tmp_path / "api").mkdir()
    (tmp_path / "index.ipynb").write_text("")
    (tmp_path / "api/index.ipynb").write_text("x")
    first, second = docs.shares(tmp_path, 2)
    assert first[0] == "index.ipynb" and abs(len(first) - len(second)) <= 2
    assert sorted(first + second) == sorted(
        p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.ipynb")
    )


def test_quarto_is_told_the_title_of_every_page(tmp_path):
    listed = docs.yaml.safe_load((docs.ROOT / "_quarto.yml").read_text(encoding="utf-8"))
    names = [p.name for p in (docs.ROOT / "nbs").glob("*.ipynb")]
    (tmp_path / "api").mkdir()
    for name in names + [f"api/{name}.ipynb" for name in docs.api.modules()] + ["api/index.ipynb"]:
        docs.write_page([docs.front_matter(new_markdown_cell(f"# {name}"))], tmp_path / name)
    (tmp_path / "nbdev.yml").write_text("project: {output-dir: _docs}\nwebsite: {title: x}")
    told = docs.quarto_settings(tmp_path, ["index.ipynb"])
    assert told["project"] == {"type": "website", "output-dir": "_docs", "render": ["index.ipynb"]}
    assert told["format"] == listed["format"] and told["website"]["title"] == "x"
    sidebar = told["website"]["sidebar"]["contents"]
    assert sidebar[0] == {"text": "index.ipynb", "href": "index.html"}
    assert sidebar[-1]["contents"][1] == {"text": "api/movie.ipynb", "href": "api/movie.html"}


def test_the_search_finds_text_and_no_code(tmp_path):
    nb = new_notebook(cells=[new_code_cell("#| fold\nif a < 1:\n    b = 2"), new_code_cell("c")])
    nbformat.write(nb, tmp_path / "42_x.ipynb")
    index = [
        {"href": "42_x.html#top", "text": "Words\nif a &lt; 1:\n    b = 2\nmore"},
        {"href": "api/x.html", "text": "the page"},
        {"href": "api/x.html#f", "text": "its entry"},
    ]
    docs.sources.cache_clear()
    assert docs.lighten(index, tmp_path) == [
        {"href": "42_x.html#top", "text": "Words more"},
        {"href": "api/x.html#f", "text": "its entry"},
    ]


GLOSSARY = """\
# Glossary

Words.

## detection

*Also:* detections, detected

One cell in one frame. More on "it".

## IoU

Overlap of two boxes, `a` and $b$, [as here](x.ipynb): *much* of it.
"""


def glossary():
    return docs.read_glossary(new_notebook(cells=[new_markdown_cell(GLOSSARY)]))


def test_a_glossary_names_terms_their_forms_and_their_definition():
    terms = glossary()
    assert [*terms] == ["detection", "detections", "detected", "iou"]
    assert terms["detected"] == terms["detection"]
    assert terms["detection"] == 'glossary.ipynb#detection "One cell in one frame."){.term}'
    assert terms["iou"] == (
        'glossary.ipynb#iou "Overlap of two boxes, a and b, as here: much of it."){.term}'
    )


def test_the_first_use_of_a_term_on_a_page_is_a_link():
    cells = [
        new_markdown_cell("Detections are detected.\n\n## IoU"),
        new_code_cell("iou = 1  # IoU"),
        new_markdown_cell("`IoU` of [IoU](x) and **IoU**; IoU again."),
    ]
    docs.link_first_uses(cells, glossary(), "../", docs.re.I)
    assert cells[0].source == (
        '[Detections](../glossary.ipynb#detection "One cell in one frame."){.term} are detected.'
        "\n\n## IoU"
    )
    assert cells[1].source == "iou = 1  # IoU"
    assert cells[2].source.startswith("`IoU` of [IoU](x) and **[IoU](../glossary.ipynb#iou")
    assert cells[2].source.endswith("**; IoU again.")


def test_no_term_is_linked_where_it_is_no_prose():
    places = {"track": "g#track)"}
    for text in (
        "```\ntrack\n```",
        "    a = track",
        "$track$ and $$\ntrack\n$$",
        "![track](a.png)",
        '<a href="track">',
        "`track`",
        "# A track",
        "backtracking, track_id, on-track",
        "| track | 1 |",
    ):
        assert linked(text, places=places) == text
    assert linked("A track.", places=places) == "A [track](g#track)."
    assert linked("A track.", places={}) == "A track."


def test_a_notebook_that_is_taken_away_begins_with_the_install_cell(tmp_path):
    nb = new_notebook(cells=[new_markdown_cell("# 42 SORT"), new_code_cell("x = 1")])
    (tmp_path / "nbs").mkdir()
    nbformat.write(nb, tmp_path / "nbs/42_track.sort.ipynb")
    nbformat.write(nb, tmp_path / "nbs/index.ipynb")
    docs.write_notebooks(tmp_path / "nbs", tmp_path / "out")
    (path,) = (tmp_path / "out").iterdir()
    cells = nbformat.read(path, 4).cells
    assert [c.source for c in cells[::2]] == ["# 42 SORT", "x = 1"]
    assert "git clone" in cells[1].source and "%pip install" in cells[1].source
