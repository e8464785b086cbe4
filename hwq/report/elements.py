"""Pieces of an HTML page as a tree; what the user wrote is escaped where the tree is written."""

from collections.abc import Iterable
from xml.etree.ElementTree import Element, SubElement

MICRO, SQUARED, DOT = "\N{MICRO SIGN}", "\N{SUPERSCRIPT TWO}", "\N{MIDDLE DOT}"


def add(parent: Element, tag: str, text: str = "", /, **attributes: str) -> Element:
    """Append an element; `data_value="1"` becomes `data-value="1"`, `class_` becomes `class`."""
    names = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
    child = SubElement(parent, tag, names)
    child.text = text
    child.tail = "\n" if tag in ("tr", "section", "path", "rect", "li", "dd") else None
    return child


def section(body: Element, heading: str) -> Element:
    """Append a section with a heading."""
    part = add(body, "section")
    add(part, "h2", heading)
    return part


def svg(parent: Element, title: str, description: str, /, **attributes: str) -> Element:
    """Append a chart that a screen reader can name."""
    chart = add(parent, "svg", role="img", **attributes)
    add(chart, "title", title)
    add(chart, "desc", description)
    return chart


def figures(parent: Element, figures: Iterable[tuple[str, str]], class_: str = "figures") -> None:
    """Append terms with their values."""
    items = add(parent, "dl", class_=class_)
    for term, value in figures:
        item = add(items, "div") if class_ == "figures" else items
        add(item, "dt", term)
        add(item, "dd", value)


def legend(parent: Element, entries: Iterable[tuple[str, str]]) -> None:
    """Append colours with their meaning: class and text."""
    items = add(parent, "ul", class_="legend")
    for class_, text in entries:
        entry = add(items, "li")
        add(entry, "span", class_=f"key {class_}").tail = text
