"""Write README.md from nbs/index.ipynb.

`--check` writes nothing and fails if README.md is out of date.
"""

import re
import sys

import nbformat

from docs import ROOT, tidy, to_markdown

NOTE = "<!-- Made from nbs/index.ipynb by make export: change that. -->\n\n"


def readme():
    "Return the front page as README.md: links and pictures lead into nbs/; outputs are plain text."
    nb = nbformat.read(ROOT / "nbs/index.ipynb", 4)
    nb.cells = [cell for cell in nb.cells if not re.search(r"^#\|\s*hide", cell.source, re.M)]
    text, _ = to_markdown(tidy(nb), "index_files", ["text/markdown", "text/plain"])
    text = re.sub(r"(\]\(|src=\")(?!\w+:|#|/|index_files)", r"\1nbs/", text)
    return NOTE + re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


if __name__ == "__main__":
    path = ROOT / "README.md"
    if "--check" not in sys.argv:
        path.write_text(readme(), encoding="utf-8")
    elif not path.exists() or path.read_text(encoding="utf-8") != readme():
        sys.exit("README.md is not what nbs/index.ipynb says: run make export")
