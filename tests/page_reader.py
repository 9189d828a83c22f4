"""A reader of the page: its elements, tables and figures."""

from html.parser import HTMLParser

VOID = {"meta", "input", "img", "br", "wbr"}


class Page(HTMLParser):
    """Elements as (name, attributes, text, parent); every end tag has to close the open one."""

    def __init__(self, text):
        super().__init__()
        self.open, self.found = [], []
        self.text = text
        self.feed(text)
        self.close()
        assert not self.open

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_starttag(self, tag, attrs):
        inside = self.open[-1] if self.open else None
        element = {"tag": tag, "text": "", "in": inside, "holds": [], **dict(attrs)}
        self.found.append(element)
        if inside:
            inside["holds"].append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop()["tag"] == tag

    def handle_data(self, data):
        for element in self.open:
            element["text"] += data

    def all(self, tag, css="", within=None):
        """Elements of a name and class, below another one."""
        found = self.found if within is None else held(within)
        return [e for e in found if e["tag"] == tag and css in [*(e.get("class") or "").split(), ""]]

    def tables(self):
        """The tables of all metrics: a list of rows each, the header first, each row a list of texts."""
        tables = [e for article in self.all("article") for e in self.all("table", "numbers", article)]
        return [rows(table) for table in tables]


def rows(table):
    """The rows of a table as lists of texts, without what only sorts them."""
    found = [e for e in held(table) if e["tag"] == "tr"]
    return [[e["text"].strip() for e in row["holds"] if e.get("class") != "order"] for row in found]


def held(element):
    """All that an element holds, in order."""
    return [e for child in element["holds"] for e in (child, *held(child))]


def below(element, other):
    while element is not None and element is not other:
        element = element["in"]
    return element is other


def cells(page, method):
    """Column -> text of a method's row in the first table that has it."""
    for header, *rows in page.tables():
        for row in rows:
            if row[0] == method:
                return dict(zip(header, row, strict=True))
    raise AssertionError(f"{method} is in no table")
