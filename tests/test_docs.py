"""The website's own checks see a bad page, and the README leads into nbs/."""
import docs
import nbformat
from nbformat.v4 import new_code_cell, new_notebook, new_output


def test_broken_links_are_seen(tmp_path):
    (tmp_path / "a.html").write_text('<a href="b.html#x">b</a> <a href="https://example.org">c</a> <a href="#here">d</a> <p id="here">')
    (tmp_path / "b.html").write_text('<a href="a.html">a</a> <img src="gone.png"> <a href="#nowhere">e</a>')
    assert docs.broken_links(tmp_path) == ["b.html: leads nowhere: gone.png", "b.html: leads nowhere: #nowhere"]


def test_only_sure_names_stay_links(tmp_path):
    text = "[`match`](https://x.io/score.html#match) [`Movie`](https://x.io/movie.html#movie) [`draw`](https://x.io/show.html#draw)"
    nbformat.write(new_notebook(cells=[nbformat.v4.new_markdown_cell(text)]), tmp_path / "04_show.ipynb")
    docs.drop_doubtful_links(tmp_path)
    left = nbformat.read(tmp_path / "04_show.ipynb", 4).cells[0].source
    assert left == "`match` [`Movie`](https://x.io/movie.html#movie) [`draw`](https://x.io/show.html#draw)"


def test_directives_do_what_they_say_and_vanish():
    shown = new_code_cell("#| exports\n#| code-fold: show\nx = 1", outputs=[new_output("stream", text="1\n")])
    hidden = new_code_cell("#| echo: false\nshow_doc(f)", outputs=[new_output("display_data", {"text/markdown": "### f"})])
    text, _ = docs.to_markdown(docs.tidy(new_notebook(cells=[shown, hidden])), "files")
    assert "#|" not in text and "show_doc" not in text
    assert text.index("<details open>") < text.index("x = 1") < text.index("</details>") < text.index("    1") < text.index("### f")
