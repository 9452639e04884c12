"""What must hold of the website: each check is a plain function that returns complaints.

Those of the HTML run on any site, those in Chromium where it is found.
"""

import builtins
import contextlib
import functools
import html.parser
import http.server
import re
import shutil
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat

try:
    from playwright.sync_api import sync_playwright
except ImportError:  # the checks in Chromium are skipped
    sync_playwright = None

from check import LINE, Cell, names_of

PAGE_MB = 2
PHONE, DESKTOP = 390, 1200  # pixels
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")


# ---- pages as HTML


class Page(html.parser.HTMLParser):
    "The targets, anchors and pictures of one page."

    def __init__(self, path):
        super().__init__()
        self.path = path
        self.targets, self.anchors, self.undescribed, self.media = [], [], [], set()
        self.generator = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "meta" and attrs.get("name") == "generator":
            self.generator = attrs["content"].split("-")[0]
        if tag not in ("link", "meta", "script", "style"):
            self.anchors += [attrs[key] for key in ("id", "name") if attrs.get(key)]
        found = [attrs[key] for key in ("href", "src") if attrs.get(key)]
        self.targets += found
        if tag in ("img", "source", "video"):
            self.media.update(found)
        if tag == "img" and not (attrs.get("alt") or "").strip():
            self.undescribed.append(attrs.get("src", ""))

    def local(self, target):
        "Return the file that a target names; None where it is outside of the site."
        name = target.partition("#")[0].partition("?")[0]
        if re.match(r"\w+:|//", target):
            return None
        return (self.path.parent / name).resolve() if name else self.path

    @property
    def size(self):
        "Bytes of the page and the pictures on it."
        files = {self.path} | {self.local(m) for m in self.media} - {None}
        return sum(f.stat().st_size for f in files if f.is_file())


def read_pages(site):
    "Return {path: Page} of a site."
    return {path.resolve(): Page(path.resolve()) for path in sorted(site.rglob("*.html"))}


def broken_links(pages):
    "Return the links between the pages of a site that lead nowhere: no page, or no such anchor."
    for path, page in pages.items():
        for target in dict.fromkeys(page.targets):
            goal, anchor = page.local(target), target.partition("#")[2]
            if goal is None or goal.is_dir():
                continue
            known = pages[goal].anchors if goal in pages else [anchor]
            if not goal.exists() or anchor and anchor not in known:
                yield f"{path.name}: leads nowhere: {target}"


def clashing_anchors(pages):
    "Return the anchors that stand twice on a page."
    for path, page in pages.items():
        for anchor, count in Counter(page.anchors).items():
            if count > 1:
                yield f"{path.name}: {count} times the anchor {anchor}"


def undescribed_pictures(pages):
    "Return the pictures that do not say in words what they show."
    for path, page in pages.items():
        yield from (f"{path.name}: no alt text: {src[:60]}" for src in page.undescribed)


def heavy_pages(pages):
    "Return the pages that are over 2 MB with their pictures."
    for path, page in pages.items():
        if page.size > PAGE_MB * 1e6:
            yield f"{path.name}: {page.size / 1e6:.1f} MB; at most {PAGE_MB}"


# ---- pages as notebooks


def code_cells(prepared):
    "Yield (path, its code cells) of the notebooks in a folder."
    for path in sorted(prepared.rglob("*.ipynb")):
        cells = nbformat.read(path, 4).cells
        yield path, [c.source for c in cells if c.cell_type == "code" and c.source.strip()]


def wide_lines(prepared):
    "Return the lines of code that do not fit into the box of a page."
    for path, sources in code_cells(prepared):
        for line in "\n".join(sources).splitlines():
            if len(line) > LINE and not line.startswith("#|"):
                yield f"{path.name}: wider than {LINE} columns: {line.strip()[:60]} …"


def unseen_names(prepared):
    "Return the names that the code of a page uses and never shows: no cell defines them."
    for path, sources in code_cells(prepared):
        used, shown = set(), set(dir(builtins))
        for source in sources:
            needs, defines = names_of(Cell(0, "code", source))
            used |= needs
            shown |= defines
        yield from (f"{path.name}: used, never shown: {name}" for name in sorted(used - shown))


def tracebacks(prepared):
    "Return the pages that show an error instead of documentation."
    return [
        f"{path.name}: an error stands on this page"
        for path in sorted(prepared.rglob("*.ipynb"))
        if "Traceback (most recent call last)" in path.read_text(encoding="utf-8")
    ]


# ---- pages in a browser


def find_chromium(playwright):
    "Return the path of Chromium, playwright's own one last; None where there is none."
    found = [path for path in map(shutil.which, CHROMIUM) if path]
    own = Path(playwright.chromium.executable_path)
    return next(iter(found), str(own) if own.exists() else None)


@contextlib.contextmanager
def served(site):
    "Serve a folder; the address is given."
    handler = functools.partial(Quiet, directory=site)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


class Quiet(http.server.SimpleHTTPRequestHandler):
    "A server that does not print."

    def log_message(self, *args):
        pass


# what a search must find first
SEARCHES = {"read_movie": "api/files.html#read_movie", "Sort": "api/track.sort.html#Sort"}
# which blocks of code are wider than their box
CUT = """() => [...document.querySelectorAll("pre.sourceCode")]
  .filter(e => e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0)
  .map(e => e.textContent.trim().slice(0, 60))"""


def look_at(page, address):  # playwright's page, an address
    "Return what is wrong with a page at the width of a desktop, then of a phone."
    page.set_viewport_size({"width": DESKTOP, "height": 900})
    page.goto(address, wait_until="load")
    said = [f"code is cut: {text!r}" for text in page.evaluate(CUT)]
    page.set_viewport_size({"width": PHONE, "height": 800})
    width = page.evaluate("document.scrollingElement.scrollWidth")
    return said + [f"{width} pixels wide on a phone of {PHONE}"] * (width > PHONE)


def first_found(page, address, text):  # playwright's page, an address, what is searched for
    "Return where the first result of a search leads."
    page.goto(address)
    page.click("#quarto-search button")
    page.fill(".aa-Input", text)
    found = page.wait_for_selector(".aa-Item a").get_attribute("href")
    return re.sub(r"^\./|\?q=[^#]*", "", found)


def browse(base, names, searches):  # address of a site, names of pages
    "Return what is wrong with some pages in a Chromium of their own."
    with sync_playwright() as playwright:
        path = find_chromium(playwright)
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page, errors, said = browser.new_page(), [], []
        page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda e: errors.append(str(e)))
        for name in names:
            found = look_at(page, base + name)
            said += [f"{name}: {text}" for text in found + [f"console: {e}" for e in errors]]
            errors.clear()
        for text, place in searches.items():
            found = first_found(page, base + "index.html", text)
            if found != place:
                said.append(f"a search for {text} leads to {found} first, not to {place}")
        browser.close()
    return said


def in_browser(site, searches=SEARCHES):
    "Return what is wrong with the pages of a site in Chromium; `RuntimeError` where it is not."
    if sync_playwright is None:
        raise RuntimeError("no playwright")
    with sync_playwright() as playwright:
        if find_chromium(playwright) is None:
            raise RuntimeError("no Chromium")
    names = sorted(page.relative_to(site).as_posix() for page in site.rglob("*.html"))
    tasks = [(names[::2], searches), (names[1::2], {})]
    with served(site) as base, ThreadPoolExecutor() as pool:
        found = pool.map(lambda task: browse(base, *task), tasks)
        return [text for said in found for text in said]


def main(site, prepared):
    "Print what is wrong with a site, and what was checked and skipped; return whether it fails."
    pages = read_pages(site)
    checks = {
        "links that lead nowhere": broken_links(pages),
        "anchors that clash": clashing_anchors(pages),
        "pictures without alt text": undescribed_pictures(pages),
        "pages too heavy": heavy_pages(pages),
        "lines of code too wide": wide_lines(prepared),
        "names never shown": unseen_names(prepared),
    }
    counts, skipped = {}, []
    if not any("quarto" in page.generator for page in pages.values()):
        skipped = ["faults in Chromium: no Quarto"]
    else:
        try:
            checks["faults in Chromium"] = in_browser(site)
        except RuntimeError as e:
            skipped = [f"faults in Chromium: {e}"]
    for what, complaints in checks.items():
        said = [*complaints]
        print(*said, sep="\n", end="\n" if said else "")
        counts[what] = len(said)
    print(*(f"skipped: {what}" for what in skipped), sep="\n", end="\n" if skipped else "")
    print(f"{len(pages)} pages: " + ", ".join(f"{n} {what}" for what, n in counts.items()))
    return any(counts.values())
