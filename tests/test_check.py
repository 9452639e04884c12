"""Each rule of tools/check.py sees a bad notebook or repository, and lets a good one pass."""

import json
from pathlib import Path

import pytest

import check
from check import Cell, Notebook

PNG = {"output_type": "display_data", "data": {"image/png": "aGk=", "text/plain": "<Figure>"}}
PRINTED = {"output_type": "stream", "name": "stdout", "text": "4\n"}
EXERCISE = "def check_{0}(answer):\n    assert answer == 4, 'two and two'\n"


def md(text):
    return Cell(0, "markdown", text)


def py(text, *outputs):
    return Cell(0, "code", text, list(outputs))


def good_cells():
    "A chapter that keeps every rule."
    return [
        md("# 03 Shapes\n\n> What is a shape?"),
        md(
            "We build a shape. " + "word " * 800 + "\n\n**You will be able to** say its size.\n\n"
            "**You need** nothing.\n\n**Time** 5 minutes."
        ),
        py("#| default_exp shapes"),
        py("#| export\nimport numpy as np\n\nfrom celltrack.movie import Movie"),
        py("import matplotlib.pyplot as plt"),
        py("#| fig-alt: A line.\nplt.plot([1, 2])", PNG),
        md("## First"),
        py("def naive(a): return a"),
        py("#| fig-alt: A dot.\nnaive(1)", PNG),
        py(
            "#| exports\ndef shape(a: list) -> tuple:  # an array\n"
            '    "Return its shape."\n    from pathlib import Path\n    return np.shape(a)'
        ),
        *(py(f"assert shape(np.zeros({n})) == ({n},)") for n in range(8)),
        md("## Second"),
        py("print(2 + 2)", PRINTED),
        py("#| fig-alt: A line.\nplt.plot([2, 1])", PNG),
        py(
            "#| real\n#| fig-alt: A frame.\n"
            "frame = Movie(np.zeros((1, 4, 4)))[0]\nplt.imshow(frame)",
            PNG,
        ),
        *(md("More.") for _ in range(14)),
        md("## Putting it together"),
        md("## Summary\n\nA shape is a tuple. It has as many numbers as axes."),
        md("## Exercises"),
        md("**1.** *Predict · 5 min · easy.* What is two and two?"),
        *(py(EXERCISE.format(n) + f"answer_{n} = None\ncheck_{n}(answer_{n})") for n in range(3)),
        md("## References"),
        md("## Appendix: plumbing\n\n" + "word " * 100),
        py("#| hide\n#| eval: false\nimport nbdev; nbdev.nbdev_export()"),
    ]


def notebook(cells, name="03_shapes", answers=3):
    for i, cell in enumerate(cells):
        cell.index = i
    solutions = (
        Notebook(
            Path(f"nbs/solutions/{name}.ipynb"), [py(f"answer_{n} = 4") for n in range(answers)]
        )
        if answers is not None
        else None
    )
    return Notebook(
        Path(f"nbs/{name}.ipynb"),
        cells,
        {"movie": 0, "shapes": 3, "track.sort": 42},
        solutions,
        size=1000,
    )


@pytest.mark.parametrize("rule", [check.cells_parse, *check.CHAPTER, *check.EVERY])
def test_a_good_chapter_passes(rule):
    assert rule(notebook(good_cells())) == []


def changed(at, cell):
    "The good chapter with one cell replaced (or, for a list, several put in its place)."

    def cells():
        good = good_cells()
        good[at : at + 1] = cell if isinstance(cell, list) else [cell]
        return good

    return cells


def put(*cells):
    return changed(9, [good_cells()[9], *cells])  # after the exported function


BAD = [
    (check.cells_parse, put(py("def f(:"))),
    (check.name_is_module, changed(2, py("#| default_exp form"))),
    (check.name_is_module, changed(2, py("1"))),
    (check.title_and_question, changed(0, md("Shapes"))),
    (check.title_and_question, changed(0, md("# 03 Shapes\n\nA chapter."))),
    (check.title_and_question, changed(0, md("# 03 Shapes\n\n> A statement."))),
    (
        check.title_and_question,
        changed(0, md("# 03 Shapes\n\n> What is a shape?\n\nWe build one.")),
    ),
    (check.title_and_question, changed(0, md("# Shapes\n\n> What is a shape?"))),
    (check.title_and_question, changed(1, py("1"))),
    (check.title_and_question, changed(5, py("plt.plot([1, 2])"))),
    (check.title_and_question, changed(5, py("#| hide\nplt.plot([1, 2])", PNG))),
    (check.imports_from_lower, changed(4, py("from celltrack.track.sort import Sort"))),
    (check.imports_from_lower, changed(4, py("from celltrack.track import sort"))),
    (check.imports_from_lower, changed(4, py("import celltrack.shapes"))),
    (check.imports_from_lower, changed(4, py("from celltrack.nowhere import x"))),
    (check.imports_from_lower, put(py("def f():\n    from celltrack.track.sort import Sort"))),
    (check.imports_from_lower, put(py("from .movie import Movie"))),
    (check.imports_isolated, put(py("import os\nx = 1"))),
    (check.imports_isolated, put(py("#| export\nimport os\nx = 1"))),
    (check.imports_isolated, put(py("for i in range(2):\n    import os"))),
    (check.imports_isolated, put(py("#| export\nimport os"))),
    (check.exported_is_plain, put(py("#| export\n%time x = 1"))),
    (check.exported_is_plain, put(py("#| exports\n@patch\ndef f(self: int): 'F.'"))),
    (check.exported_is_plain, put(py("#| export\nfrom numpy import *"))),
    (check.exported_is_plain, put(py("#| export\nfrom fastcore.test import test_eq"))),
    (check.exported_is_plain, put(py("#| export\nimport nbdev.test"))),
    (check.exported_is_plain, put(py("#| export\ndef f(): display(1)"))),
    (check.exported_once, put(py('#| export\ndef f(): "F."'), py('#| export\ndef f(): "F."'))),
    (check.public_is_typed, put(py("#| exports\ndef bare(a): return a"))),
    (check.public_is_typed, put(py("#| export\nclass A:\n    def f(self, a: int): return a"))),
    (check.library_does_not_print, put(py("#| exporti\ndef _f():\n    print(1)"))),
    (check.everything_is_shown, put(py("#| hide\nplt.rcParams"))),
    (
        check.docstrings_are_short,
        put(py("#| exports\ndef wordy(a):\n    '''One.\n" + "\n    more" * 8 + "\n    '''")),
    ),
    (check.chapter_size, put(*(py("1") for _ in range(80)))),
    (check.chapter_size, changed(1, md("Few words."))),
    (check.chapter_size, changed(-1, md("## Appendix: plumbing\n\n" + "word " * 2000))),
    (check.chapter_size, put(*(py("1", PNG) for _ in range(9)))),
    (check.chapter_size, put(*(md(f"## Section {n}") for n in range(6)))),
    (check.chapter_size, lambda: [c for c in good_cells() if not c.source.startswith("assert")]),
    (check.chapter_size, put(*(py("#| exports\n" + "x = 1\n" * 30) for _ in range(18)))),
    (check.closing_sections, lambda: [c for c in good_cells() if c.source != "## References"]),
    (check.closing_sections, changed(-3, md("## Summary"))),
    (check.closing_sections, changed(-2, md("## Appendix: plumbing\n\n## One more"))),
    (check.opening_says_what_for, changed(1, md("We build a shape. **Time** 5 minutes."))),
    (check.summary_can_be_said, lambda: [c for c in good_cells() if "tuple. It" not in c.source]),
    (check.summary_can_be_said, put(md("## Summary\n\n- A shape.\n- A tuple. It has numbers."))),
    (check.exercises_are_labelled, changed(-3, md("**2.** What is one and one?"))),
    (check.exercises_answered, lambda: [c for c in good_cells() if "check_1" not in c.source]),
    (check.exercises_answered, changed(-3, py("def check_2(answer): assert answer == 4"))),
    (check.real_cells_stand_alone, put(py("frame.mean()"))),
    (check.real_cells_stand_alone, put(py("def f(): return frame"))),
    (check.cells_are_short, put(py("x = 1\n" * 41))),
    (check.pictures_have_alt_text, put(py("plt.plot([3])", PNG))),
    (check.directives_are_yaml, put(py("#| fig-alt: a box: half-open\nx = 1"))),
    (check.outputs_are_stored, put(py("print(1)"))),
    (check.outputs_are_stored, put(py("#| real\n#| fig-alt: A frame.\nif REAL:\n    draw()"))),
    (
        check.outputs_are_stored,
        put(py("1 / 0", {"output_type": "error", "ename": "ZeroDivisionError"})),
    ),
    (
        check.outputs_are_reproducible,
        put(
            py(
                "f",
                {
                    "output_type": "execute_result",
                    "data": {"text/plain": "<function f at 0x7f2a1b3c4d5e>"},
                },
            )
        ),
    ),
    (
        check.outputs_are_reproducible,
        put(
            py(
                "p",
                {
                    "output_type": "execute_result",
                    "data": {"text/plain": ["Path('/ho", "me/ann/a.tif')"]},
                },
            )
        ),
    ),
    (
        check.outputs_are_reproducible,
        put(
            py(
                "p",
                {"output_type": "stream", "name": "stdout", "text": "50%| 3/6 [00:01, 3.1it/s]"},
            )
        ),
    ),
    (
        check.outputs_are_reproducible,
        put(py("p", {"output_type": "stream", "name": "stderr", "text": "a warning"})),
    ),
]


@pytest.mark.parametrize(
    "rule, cells", BAD, ids=[f"{rule.__name__}-{i}" for i, (rule, _) in enumerate(BAD)]
)
def test_a_bad_notebook_is_seen(rule, cells):
    assert rule(notebook(cells()))


def test_every_rule_for_notebooks_has_a_bad_one():
    elsewhere = {check.file_is_small}
    assert {rule for rule, _ in BAD} | elsewhere == {
        check.cells_parse,
        *check.CHAPTER,
        *check.EVERY,
    }


def test_pages_without_a_number_are_looked_at():
    page = [md("# Begin\n\n> What is a page?"), md("A page."), py("1")]
    asked = [cell for cell in good_cells() if "check_" in cell.source]
    exercises = [md("## Exercises"), *asked]
    assert check.page_is_a_lesson(notebook(page, "start", None)) == []
    assert check.page_is_a_lesson(notebook(page + exercises, "start")) == []
    for bad in (
        [md("Begin")],
        page[:1],
        [*page, py("#| export\nx = 1")],
        [*page, py("#| hide\n1")],
    ):
        assert check.page_is_a_lesson(notebook(bad, "start", None)), bad
    assert check.page_is_a_lesson(notebook(page + exercises, "start", None)), "no answers"
    assert check.page_is_a_lesson(notebook(page, "start")), "answers without exercises"


def test_bad_names_are_seen():
    for name in ("3_shapes", "shapes", "03_Shapes", "03_a.b.c", "03_forms"):
        assert check.name_is_module(notebook(good_cells(), name))


def test_missing_answers_are_seen():
    assert check.exercises_answered(notebook(good_cells(), answers=None))
    assert check.exercises_answered(notebook(good_cells(), answers=2))


def test_a_large_file_is_seen():
    nb = notebook(good_cells())
    nb.size = 1_000_000
    assert check.file_is_small(nb)


def test_commands_print():
    command = '#| export\nclass Do:\n    "Do."\n    def run(self) -> None:\n        print(1)'
    assert not check.library_does_not_print(notebook(put(py(command))()))


def test_flagged_cells_may_use_unflagged_ones_and_functions_their_own_names():
    assert not check.real_cells_stand_alone(
        notebook(put(py("def f(frame): return frame"), py("#| real\nf(frame)"))())
    )


# ---- the repository


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def book(*cells):
    "The text of a notebook file."
    plain = [
        {
            "cell_type": c.kind,
            "source": c.source,
            "metadata": {},
            **({"outputs": c.outputs} if c.kind == "code" else {}),
        }
        for c in cells
    ]
    return json.dumps({"cells": plain, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


@pytest.fixture
def good(tmp_path):
    "A repository of one chapter that keeps every rule for repositories."
    write(
        tmp_path / "nbs/00_movie.ipynb",
        book(
            md("# 00 The movie\n\n> What is a movie?"),
            py("#| export\nimport numpy as np"),
            py("import pytest"),
            md("[Answers](solutions/00_movie.ipynb)"),
        ),
    )
    write(tmp_path / "nbs/solutions/00_movie.ipynb", book(md("# Answers")))
    write(
        tmp_path / "nbs/index.ipynb",
        book(md("# Front\n\n| [00 The movie](00_movie.ipynb) | What is a movie? |")),
    )
    write(tmp_path / "celltrack/movie.py", "")
    write(tmp_path / "celltrack/__init__.py", "")
    write(
        tmp_path / "settings.ini",
        "[DEFAULT]\nrequirements = numpy>=1\ncourse_requirements = pytest\n"
        "dev_requirements = pytest",
    )
    write(
        tmp_path / "_quarto.yml",
        "website:\n  sidebar:\n    contents:\n      - index.ipynb\n      - section: A\n"
        "        contents:\n          - 00_movie.ipynb\n",
    )
    return tmp_path


@pytest.mark.parametrize("rule", check.REPOSITORY)
def test_a_good_repository_passes(good, rule):
    assert rule(check.Repository(good)) == []


TWO_MEANINGS = "#| exports\nSIZE = 1\ndef f() -> None: ..."
LEANING = "#| exports\ndef f():\n    from celltrack.segment.unet import UNet"
BAD_FILES = [
    (
        check.names_mean_one_thing,
        "nbs/01_tracks.ipynb",
        book(py(TWO_MEANINGS), py("#| export\ndef tracks() -> None: ...")),
    ),
    (
        check.public_names_are_few,
        "nbs/01_tracks.ipynb",
        book(py("#| exports\n" + "".join(f"X{i} = 1\n" for i in range(251)))),
    ),
    (check.rooms_lean_downwards, "nbs/34_learn.train.ipynb", book(py(LEANING))),
    (check.answers_are_linked, "nbs/00_movie.ipynb", book(md("# 00 The movie"))),
    (check.numbers_are_unique, "nbs/00_tracks.ipynb", book(md("# T"))),
    (check.no_orphan_answers, "nbs/solutions/01_tracks.ipynb", book(md("# T"))),
    (check.sidebar_is_complete, "nbs/01_tracks.ipynb", book(md("# T"))),
    (
        check.sidebar_is_complete,
        "_quarto.yml",
        "website: {sidebar: {contents: [index.ipynb, 00_movie.ipynb, 09_gone.ipynb]}}",
    ),
    (
        check.sidebar_is_complete,
        "_quarto.yml",
        "website: {sidebar: {contents: [index.ipynb, 00_movie.ipynb, 00_movie.ipynb]}}",
    ),
    (check.no_stale_modules, "celltrack/score/old.py", ""),
    (
        check.index_maps_chapters,
        "nbs/index.ipynb",
        book(md("# Front\n\n| [00 The movie](00_movie.ipynb) | What was a movie? |")),
    ),
    (check.notebooks_fit, "nbs/01_large.ipynb", book(md("x" * 1000 * (check.ALL_KB + 1)))),
    (check.no_private_paths, "tools/run.py", "path = '" + "/home" + "/ann/data'"),
    (check.requirements_are_complete, "nbs/01_tracks.ipynb", book(py("#| export\nimport pytest"))),
    (check.requirements_are_complete, "tests/test_x.py", "import pandas"),
]


@pytest.mark.parametrize(
    "rule, path, text", BAD_FILES, ids=[f"{b[0].__name__}-{i}" for i, b in enumerate(BAD_FILES)]
)
def test_a_bad_repository_is_seen(good, rule, path, text):
    write(good / path, text)
    assert rule(check.Repository(good))


def test_an_extra_may_be_imported_inside_a_function_only(good):
    write(
        good / "settings.ini",
        "[DEFAULT]\nrequirements = numpy>=1\ncourse_requirements = pytest\n"
        "dev_requirements = pytest\nhpc_requirements = pytest",
    )
    write(good / "nbs/01_tracks.ipynb", book(py("#| export\ndef f():\n    import pytest")))
    assert not check.requirements_are_complete(check.Repository(good))
    write(good / "nbs/01_tracks.ipynb", book(py("#| export\nimport pytest")))
    assert check.requirements_are_complete(check.Repository(good))


def test_a_notebook_imports_what_its_install_cell_installs(good):
    for extra, fine in {"course": True, "dev": False}.items():
        text = "[DEFAULT]\nrequirements = numpy>=1\ndev_requirements = ruff"
        others = text if extra == "dev" else text + "\ncourse_requirements ="
        write(good / "settings.ini", others + " pytest")
        write(good / "nbs/01_tracks.ipynb", book(py("import pytest")))
        assert fine == (not check.requirements_are_complete(check.Repository(good)))


def test_every_rule_for_repositories_has_a_bad_one():
    assert {bad[0] for bad in BAD_FILES} == set(check.REPOSITORY)


def test_check_names_every_rule_once(good):
    rules = [check.cells_parse, *check.CHAPTER, *check.PAGE, *check.EVERY, *check.REPOSITORY]
    assert list(check.check(good)) == [rule.__name__ for rule in rules]
