"""Small valid things, damaged at random: bytes, text, JSON, arrays, tables."""

import contextlib
import copy
import json
import re

import numpy as np
import pandas as pd

NUMBERS = [np.nan, np.inf, -np.inf, -1, 0, 0.5, -0.0, 1e-300, 1e150, 1e308, 1e5, 2e9]
NUMBERS += [2**31, 2**53 + 1, 2**63, -(2**63)]
VALUES = [*NUMBERS, None, "text", "", "1", True, [], {}]
WORDS = "nan inf -inf -1 0 0.5 1e999 1e150 2000000000 text ١ 1_000 0x10 --1 1e5 \x00 é".split(" ")
WORDS += ["", "9" * 400, "1.0", "3,5", "NaN", "null", '"1"']
KINDS = ["uint8", "uint16", "int32", "int64", "float16", "float32", "float64", "bool"]
KINDS += ["complex64", "uint64", ">u2", "object", "U3"]


def pick(rng, values):
    "Return one of a list, as it is."
    return values[int(rng.integers(len(values)))]


def damage_bytes(rng, data):
    "Return bytes with some changed, lost or put in; the ends, where headers are, more often."
    data, end = bytearray(data), len(data)
    if end == 0:
        return bytes(data)
    near = [rng.integers(end), rng.integers(min(end, 200)), end - 1 - rng.integers(min(end, 300))]
    at = int(pick(rng, near))
    kind = pick(rng, ["flip", "flip", "cut", "lose", "noise", "ones", "zeros", "repeat"])
    size = int(rng.integers(1, 9))
    if kind == "flip":
        data[at] ^= 1 << int(rng.integers(8))
    elif kind == "cut":
        data = data[:at]
    elif kind == "lose":
        del data[at : at + size]
    elif kind == "noise":
        data[at : at + size] = rng.bytes(size)
    elif kind == "repeat":
        data[at:at] = data[at : at + size * 4]
    else:
        data[at : at + size] = (b"\xff" if kind == "ones" else b"\0") * size
    return bytes(data)


def damage_digits(rng, data):
    "Return bytes in which a number written as text is another of as many digits: a false claim."
    found = list(re.finditer(rb"(?<=[=\": \[,])[0-9]{1,5}(?=[\"\n, \]])", data))
    if not found:
        return data
    word = pick(rng, found)
    size = word.end() - word.start()
    digits = b"".join(b"%d" % n for n in rng.integers(0, 10, size))
    return data[: word.start()] + digits + data[word.end() :]


def damage_column(rng, text):
    "Return text in which one column of all lines is another word, blank, lost, or doubled."
    lines = [line.split(",") for line in text.splitlines()]
    k, word = int(rng.integers(len(lines[0]))), pick(rng, WORDS)
    kind = pick(rng, ["word", "lose", "double", "spaces", "cut"])
    for line in lines:
        if kind == "word":
            line[k] = word
        elif kind == "lose":
            del line[k]
        elif kind == "double":
            line.insert(k, line[k])
        elif kind == "cut":
            del line[k:]
        else:
            line[k] = f" {line[k]}\t"
    return "\n".join(map(",".join, lines)) + "\n"


def encoded(rng, text):
    "Return the bytes of a text in some coding, with some line ends."
    coding = ["utf-8-sig", "utf-16", "utf-16-be", "utf-16-le", "utf-32", "latin-1", "utf-8"]
    text = text.replace("\n", pick(rng, ["\n", "\r\n", "\r"]))
    return text.encode(pick(rng, coding), errors="replace")


def damage_text(rng, text):
    "Return (bytes, whether one field alone was changed) of a text of numbers."
    kind = pick(rng, ["word", "word", "word", "bytes", "line", "shape", "code", "all"])
    if kind == "word":
        words = list(re.finditer(r"[^\s,]+", text))
        if words:
            word = pick(rng, words)
            text = text[: word.start()] + pick(rng, WORDS) + text[word.end() :]
        return text.encode(errors="surrogatepass"), True
    if kind == "bytes":
        return damage_bytes(rng, text.encode()), False
    lines = text.splitlines()
    if kind == "line":
        k = int(rng.integers(max(len(lines), 1)))
        lines[k : k + 1] = pick(rng, [[], lines[k : k + 1] * 2, ["# a line"], [""], ["a,b,c"]])
        return "\n".join(lines).encode(), False
    if kind == "shape":
        old, new = pick(rng, [(",", " "), (",", ";"), (",", ", "), (" ", "\t"), ("\n", "\r\n")])
        return text.replace(old, new).encode(), False
    if kind == "code":
        return text.encode(pick(rng, ["utf-8-sig", "utf-16", "utf-32", "utf-16-be"])), False
    return pick(rng, [b"", b"\n", b"\xff\xfe", b"\x89PNG", text.upper().encode()]), False


def paths_in(value, path=()):
    "Return the paths to all values in what JSON holds."
    keys = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    return [path] * bool(path) + [p for key in keys for p in paths_in(value[key], (*path, key))]


def damage_json(rng, data, values=()):
    "Return (text, path changed) of what JSON holds, with one value changed, lost or doubled."
    data = copy.deepcopy(data)
    paths = paths_in(data)
    depth = pick(rng, sorted({len(p) for p in paths}))
    path = pick(rng, [p for p in paths if len(p) == depth])
    holder = data
    for key in path[:-1]:
        holder = holder[key]
    kind, key = pick(rng, ["value", "value", "value", "lose", "wrap", "raw"]), path[-1]
    if kind == "lose":
        del holder[key]
    elif kind == "wrap":
        holder[key] = [holder[key]]
    elif kind == "raw":
        holder[key] = "RAW"
        return json.dumps(data).replace('"RAW"', pick(rng, WORDS)), path
    else:
        holder[key] = pick(rng, [*VALUES, "a\0b", "\ud800", "x" * 5000, "../../x", *values])
    return json.dumps(data), path


def damage_array(rng, array):
    "Return an array of other type, axes or size, or with some pixels that are none."
    kind = pick(rng, ["type", "pixel", "pixel", "axes", "crop", "all", "order", "none"])
    if kind == "type":
        with np.errstate(all="ignore"):
            return np.asarray(array).astype(pick(rng, KINDS))
    if kind == "pixel":
        array = np.array(array, pick(rng, ["float32", "float64", "int64"]))
        with np.errstate(all="ignore"):
            for _ in range(int(rng.integers(1, 4))):
                if array.size:
                    value = pick(rng, NUMBERS)
                    if array.dtype.kind == "i":
                        value = int(np.clip(np.nan_to_num(value), -(2.0**62), 2.0**62))
                    array.flat[int(rng.integers(array.size))] = value
        return array
    if kind == "axes":
        axis = int(rng.integers(array.ndim + 1))
        changed = [np.expand_dims(array, axis), np.stack([array] * 3, -1)]
        if array.ndim and len(array):
            changed += [array[0], np.moveaxis(array, 0, -1), np.stack([array] * 2)]
        return pick(rng, changed)
    if kind == "crop" and array.ndim:
        axis = int(rng.integers(array.ndim))
        keep = range(int(rng.integers(0, min(3, array.shape[axis]) + 1)))
        return np.take(array, keep, axis)
    if kind == "all":
        return np.full_like(array, pick(rng, [0, 1, 255]))
    return array[::-1] if kind == "order" and array.ndim else array


FRAMES = [  # ways to count frames
    lambda t: t + 2_000_000_000,
    lambda t: t + 90_000,
    lambda t: t * 100_000,
    lambda t: t * 900,
    lambda t: t.where(t < t.max(), 2_000_000_000),
    lambda t: t.where(t < t.max(), 100_000),
    lambda t: t - 1,
    lambda t: t + 0.5,
    lambda t: t * 0,
    lambda t: t * 1e300,
]


def damage_table(rng, table):
    "Return (table, whether at most two rows were changed): a value, a column, or the rows."
    table = table.copy()
    kind = pick(
        rng,
        ["value"] * 8
        + ["row", "column", "type", "lose", "order", "empty", "index"]
        + ["frames", "places", "few", "3d"],
    )
    column = pick(rng, list(table.columns))
    if kind == "value" and len(table):
        at = int(rng.integers(len(table)))
        _set(table, column, at, pick(rng, VALUES))
        if rng.random() < 0.2:
            _set(table, pick(rng, list(table.columns)), at, pick(rng, NUMBERS))
        return table, True
    if kind == "row" and len(table):
        return pd.concat([table, table.iloc[[int(rng.integers(len(table)))]]]), True
    if kind == "column":
        table[column] = pick(rng, VALUES[:-2])
    elif kind == "type":
        kind = pick(rng, ["float32", "object", "str", "category"])
        with contextlib.suppress(TypeError, ValueError):  # what was damaged before has no such type
            table[column] = table[column].astype(kind)
    elif kind == "lose":
        del table[column]
    elif kind == "order":
        table = table.sample(frac=1, random_state=int(rng.integers(2**31)))
    elif kind == "empty":
        table = table.iloc[:0]
    elif kind == "frames" and "frame" in table:
        with contextlib.suppress(TypeError, ValueError):
            table["frame"] = pick(rng, FRAMES)(table.frame)
    elif kind == "places":
        factor = pick(rng, [1e150, 1e9, 1e-9, 0, -1, 1e-300, 1e5])
        places = [c for c in table if c[0] in "zyx" and table[c].dtype.kind in "iuf"]
        table[places] = table[places] * factor
    elif kind == "few":
        table = table[[c for c in ("frame", "label", "track", "z", "y", "x") if c in table]]
    elif kind == "3d":
        table = table.assign(z=pick(rng, NUMBERS + [1.0]))
    elif kind == "index":
        table.index = pick(rng, [[0] * len(table), np.arange(len(table)) - 7.5])
    return table, False


def _set(table, column, at, value):
    values = table[column].tolist()
    values[at] = value
    table[column] = pd.Series(values, table.index, dtype=_type_of(values))


def _type_of(values):
    numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
    if not numbers:
        return None if all(isinstance(v, bool) for v in values) else object
    return float if any(isinstance(v, float) for v in values) else None
