"""Feed the checks of a chapter's exercises: every wrong answer is refused, every right one told.

Constants, empties, functions that return them, a class without methods, and the right answer with
a flaw (a number more, a row less) must raise an AssertionError that says why. The answer from the
solutions must print a line `right, because ...`.
"""

import ast
import contextlib
import inspect
import io
import re
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

RIGHT = re.compile(
    r"^(?:\d+: )?right\b(?:\W+\w+){3,}", re.M
)  # and at least three words that say why

MANY = {"19_assignment check_2", "31_segment.targets check_3"}  # one more may be right as well


class Nothing:
    "A class without methods."


def constants():
    "Return {what it is: value} of answers that say nothing."
    return {
        "0": 0,
        "1": 1,
        "-1": -1,
        "0.5": 0.5,
        "''": "",
        "'a'": "a",
        "True": True,
        "False": False,
        "NaN": np.nan,
        "[]": [],
        "()": (),
        "{}": {},
        "set()": set(),
        "an empty array": np.zeros(0),
        "an empty table": pd.DataFrame(),
        "an object without methods": Nothing(),
    }


def feeds():
    "Return {what it is: answer}: constants, functions that return them, a class without methods."
    values = constants()
    functions = {
        f"a function that returns {name}": lambda *a, _value=value, **k: _value
        for name, value in {"None": None, **values}.items()
    }
    return values | functions | {"a class without methods": Nothing}


def flaws(value):
    "Yield (what was done, the value with a flaw): nothing where no flaw is certain to be one."
    if isinstance(value, (bool, np.bool_)):
        yield "the contrary of", not value
    elif isinstance(value, (int, float, np.integer, np.floating)):
        if abs(value) < 20:  # a check may leave a few percent
            yield "one more than", value + 1
        yield "twice and one more than", 2 * value + 1
    elif isinstance(value, str):
        yield "a letter more than", value + "x"
    elif isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        if len(value):
            yield "one less than", value[:-1]
        for i, part in enumerate(value[:3]):
            for what, flawed in flaws(part):
                yield f"item {i}: {what}", type(value)([*value[:i], flawed, *value[i + 1 :]])
                break
    elif isinstance(value, dict) and value:
        yield "one key less than", dict(list(value.items())[:-1])
    elif isinstance(value, (set, frozenset)) and value:
        yield "one item less than", type(value)(sorted(value, key=str)[:-1])
    elif isinstance(value, np.ndarray) and value.size:
        yield "one row less than", value[:-1] if value.ndim else value + 1
        yield (
            "the contrary of" if value.dtype == bool else "one more than",
            (~value if value.dtype == bool else value + 1),
        )
    elif isinstance(value, pd.DataFrame) and len(value):
        yield "one row less than", value.iloc[:-1]
        yield "one column less than", value.iloc[:, :-1]
    elif type(value).__name__ == "Movie" and len(value):
        yield "one frame less than", value[: len(value) - 1]
    elif type(value).__name__ == "Tracks" and len(value.lineage):
        yield "a track less than", without_last(value)
    elif inspect.isfunction(value):
        yield from flawed_functions(value)


def without_last(tracks):
    "Return Tracks without the last track that nobody descends from."
    lineage = tracks.lineage
    gone = lineage.track[~lineage.track.isin(lineage.parent)].iloc[-1]
    kept = lineage[lineage.track != gone]
    cells = tracks.cells[tracks.cells.track != gone]
    return type(tracks)(cells, kept, tracks.labels, tracks.max_children)


def flawed_functions(function):
    "Yield functions that return what `function` returns, with the first flaw, or the second."
    for n in range(2):

        def flawed(*args, _n=n, **options):
            value = function(*args, **options)
            found = [flawed for _, flawed in flaws(value)]
            if _n >= len(found):
                raise NoFlaw
            return found[_n]

        yield f"flaw {n + 1} in what is returned by", flawed


class NoFlaw(BaseException):
    "Nothing that is surely wrong can be made of this answer."


def same(a, b):
    "Return whether two answers are equal, whatever they are."
    try:
        return bool(np.all(a == b)) and np.shape(a) == np.shape(b)
    except Exception:
        return False


def ask(check, answer):
    "Return (the error or None, what was printed) of a check that is asked with an answer."
    said = io.StringIO()
    error = None
    with contextlib.redirect_stdout(said), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            check(answer)
        except Exception as e:
            error = e
    plt.close("all")
    return error, said.getvalue()


def feed_right(check, right):
    "Yield a complaint if a check refuses the right answer, or does not say why it is right."
    error, said = ask(check, right)
    if error is not None:
        yield f"refuses the answer of the solutions: {error!r}"[:600]
    elif not RIGHT.search(said):
        yield f"does not say why an answer is right: {said.strip()!r}"


def feed_wrong(check, what, answer):
    "Yield a complaint unless a check refuses this answer with a message."
    error, _ = ask(check, answer)
    if error is None:
        yield f"accepts {what}"
    elif not isinstance(error, AssertionError):
        yield f"dies of {type(error).__name__} ({str(error)[:60]}) from {what}"
    elif not str(error).strip():
        yield f"refuses without a word {what}"


def feed(check, right, flawed=True):
    """Return (number of wrong answers fed, complaints) of a check.

    Without `flawed` the right answer is not damaged: of several right ones it may be another.
    """
    answers = {what: value for what, value in feeds().items() if not same(value, right)}
    if flawed:
        answers |= {f"{what} the right answer": value for what, value in flaws(right)}
    complaints = [*feed_right(check, right)]
    fed = 0
    for what, answer in answers.items():
        try:
            complaints += feed_wrong(check, what, answer)
            fed += 1
        except NoFlaw:
            continue
    return fed, complaints


def asked(cells):
    "Return {name of a check: the name of the answer that it is asked with} of code cells."
    found = {}
    for source in cells:
        if not re.search(r"^def check_\d+\(", source, re.M):
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and re.fullmatch(r"check_\d+", ast.unparse(node.func)):
                found[ast.unparse(node.func)] = ", ".join(map(ast.unparse, node.args))
    return found


def with_own_classes(chapter, solutions):
    "Let the solutions use the classes and functions of the chapter, not those of its module."
    for name, value in solutions.items():
        own = getattr(chapter.get(name), "__module__", "") == "__main__"
        if own and getattr(value, "__module__", None) not in (None, "__main__"):
            solutions[name] = chapter[name]


def feed_all(stem, cells, chapter, solutions):
    "Yield (check, wrong answers fed, complaints) of a chapter: its name, cells and namespaces."
    with_own_classes(chapter, solutions)
    for name, answer in asked(cells).items():
        if answer in solutions:
            yield name, *feed(chapter[name], solutions[answer], f"{stem} {name}" not in MANY)
        else:
            yield name, 0, [f"has no answer: the solutions lack {answer}"]
