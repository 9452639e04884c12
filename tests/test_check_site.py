"""Every check of the website sees the fault that it is there for, and passes a page without it."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

import check_site


def site(folder, **pages):  # name: what stands in the body
    for name, body in pages.items():
        text = f'<html><head><link rel="icon" href="data:,"></head><body>{body}</body></html>'
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return check_site.read_pages(folder)


def notebook(folder, *cells):
    nbformat.write(new_notebook(cells=[new_code_cell(c) for c in cells]), folder / "page.ipynb")
    return folder


def test_broken_links_and_anchors_are_seen(tmp_path):
    pages = site(
        tmp_path,
        a='<a href="b.html#x">b</a> <a href="https://example.org">c</a> '
        '<a href="#here">d</a> <p id="here">',
        b='<a href="a.html#here">a</a> <img alt="x" src="gone.png"> <a href="#nowhere">e</a>',
    )
    assert [*check_site.broken_links(pages)] == [
        "a.html: leads nowhere: b.html#x",
        "b.html: leads nowhere: gone.png",
        "b.html: leads nowhere: #nowhere",
    ]


def test_anchors_that_stand_twice_are_seen(tmp_path):
    pages = site(tmp_path, a='<p id="x"><p id="y">', b='<p id="x"><p id="x">')
    assert [*check_site.clashing_anchors(pages)] == ["b.html: 2 times the anchor x"]


def test_pictures_without_words_are_seen(tmp_path):
    pages = site(
        tmp_path, a='<img alt="A cell." src="1.png"><img src="2.png"><img alt=" " src="3">'
    )
    assert [*check_site.undescribed_pictures(pages)] == [
        "a.html: no alt text: 2.png",
        "a.html: no alt text: 3",
    ]


def test_heavy_pages_are_seen_with_their_pictures(tmp_path):
    (tmp_path / "a.png").write_bytes(bytes(1_500_000))
    (tmp_path / "b.png").write_bytes(bytes(1_500_000))
    light = '<img alt="a" src="a.png"><img alt="a" src="a.png">'
    pages = site(tmp_path, light=light, heavy=light + '<img alt="b" src="b.png?1">')
    assert [*check_site.heavy_pages(pages)] == ["heavy.html: 3.0 MB; at most 2"]


def test_wide_lines_are_seen(tmp_path):
    found = check_site.wide_lines(notebook(tmp_path, "x = 1", "y = " + "1" * 97))
    assert len([*found]) == 1


def test_names_that_are_never_shown_are_seen(tmp_path):
    found = check_site.unseen_names(notebook(tmp_path, "import math", "area(math.pi)\nprint(3)"))
    assert [*found] == ["page.ipynb: used, never shown: area"]


def test_errors_on_a_page_are_seen(tmp_path):
    assert not check_site.tracebacks(notebook(tmp_path, "x = 1"))
    assert check_site.tracebacks(notebook(tmp_path, "# Traceback (most recent call last)"))


@pytest.fixture(scope="module")
def browsed(tmp_path_factory):
    "{page: what is wrong with it in Chromium}"
    folder = tmp_path_factory.mktemp("site")
    code = '<pre class="sourceCode" style="overflow: auto"><code>{}</code></pre>'
    site(
        folder,
        good=code.format("x = 1") + '<div style="overflow: auto"><p style="width: 900px">x</div>',
        wide='<p style="width: 900px">a table</p>',
        cut=code.format("y = " + "1" * 300),
        error="<script>console.error('lost')</script>",
        broken="<script>nothing.at.all()</script>",
    )
    try:
        said = [*check_site.in_browser(folder, {})]
    except RuntimeError as e:
        pytest.skip(str(e))
    return {text.partition(": ")[0]: text.partition(": ")[2] for text in said}


@pytest.mark.parametrize(
    "page, said",
    {
        "wide": "pixels wide on a phone of 390",
        "cut": "code is cut: 'y = 111",
        "error": "console: lost",
        "broken": "console: nothing is not defined",
    }.items(),
)
def test_what_only_a_browser_sees_is_seen(browsed, page, said):
    assert said in browsed[f"{page}.html"]


def test_a_good_page_passes_in_the_browser(browsed):
    assert len(browsed) == 4 and "good.html" not in browsed


def test_what_was_checked_and_what_was_skipped_is_printed(tmp_path, capsys, monkeypatch):
    def nothing(site):
        raise RuntimeError("no Chromium")

    monkeypatch.setattr(check_site, "in_browser", nothing)
    site(tmp_path, a='<meta name="generator" content="quarto-1.2"><a href="gone.html">')
    assert check_site.main(tmp_path, tmp_path)
    said = capsys.readouterr().out
    assert "skipped: faults in Chromium: no Chromium" in said
    assert "1 pages: 1 links that lead nowhere, 0 anchors that clash" in said
