"""The website's own checks see a bad page, and the README leads into nbs/."""

import nbformat
from nbformat.v4 import new_code_cell, new_notebook, new_output

import docs


def test_broken_links_are_seen(tmp_path):
    (tmp_path / "a.html").write_text(
        '<a href="b.html#x">b</a> <a href="https://example.org">c</a> '
        '<a href="#here">d</a> <p id="here">'
    )
    (tmp_path / "b.html").write_text(
        '<a href="a.html">a</a> <img src="gone.png"> <a href="#nowhere">e</a>'
    )
    assert docs.broken_links(tmp_path) == [
        "b.html: leads nowhere: gone.png",
        "b.html: leads nowhere: #nowhere",
    ]


def test_only_sure_names_stay_links(tmp_path):
    places = {"match": "score", "Movie": "movie", "draw": "show"}
    links = [f"[`{n}`](https://x.io/{p}.html#{n.lower()})" for n, p in places.items()]
    text = " ".join(links)
    nbformat.write(
        new_notebook(cells=[nbformat.v4.new_markdown_cell(text)]), tmp_path / "04_show.ipynb"
    )
    docs.drop_doubtful_links(tmp_path)
    left = nbformat.read(tmp_path / "04_show.ipynb", 4).cells[0].source
    assert (
        left
        == "`match` [`Movie`](https://x.io/movie.html#movie) [`draw`](https://x.io/show.html#draw)"
    )


def test_directives_do_what_they_say_and_vanish():
    shown = new_code_cell("#| exports\nx = 1", outputs=[new_output("stream", text="1\n")])
    hidden = new_code_cell(
        "#| echo: false\nshow_doc(f)",
        outputs=[new_output("display_data", {"text/markdown": "### f"})],
    )
    text, _ = docs.to_markdown(docs.tidy(new_notebook(cells=[shown, hidden])), "files")
    assert "#|" not in text and "show_doc" not in text
    assert text.index("x = 1") < text.index("    1") < text.index("### f")


def test_chapters_named_in_the_text_become_links():
    chapters = {42: "42_track.sort.ipynb", 43: "43_track.divide.ipynb"}
    assert docs.link_chapters("See chapter 42.", chapters) == (
        "See [chapter 42](42_track.sort.ipynb)."
    )
    assert docs.link_chapters("chapters 42 and 43", chapters, "../") == (
        "chapters [42](../42_track.sort.ipynb) and [43](../43_track.divide.ipynb)"
    )
    for text in ("[chapter 42](x.ipynb)", "chapter 99", "42 cells"):
        assert docs.link_chapters(text, chapters) == text


def page(folder, *cells):
    nbformat.write(new_notebook(cells=[new_code_cell(c) for c in cells]), folder / "page.ipynb")


def test_wide_lines_are_seen(tmp_path):
    page(tmp_path, "x = 1", "y = " + "1" * 97)
    assert len(docs.wide_lines(tmp_path)) == 1


def test_names_that_are_never_shown_are_seen(tmp_path):
    page(tmp_path, "import math", "show_doc(area)", "area(math.pi, secret)\nprint(3)")
    assert docs.unseen_names(tmp_path) == ["page.ipynb: used, never shown: secret"]


def test_plumbing_is_shown_folded_and_taught_code_open():
    assert "\n#| code-fold: true\n" in docs.plumbing("#| exporti\nx = 1")
    shown = docs.plumbing("#| exporti\n#| code-fold: false\nx = 1")
    assert "\n#| code-fold: show\n" in shown and "exporti" not in shown
    assert docs.plumbing("#| exports\nx = 1") is None
