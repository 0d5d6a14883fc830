"""A report as one HTML page that holds its pictures, so that it can be sent as a file."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from galcli.tables.atomic import atomic_write

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 1120px; margin: 2em auto;
       padding: 0 1.2em; }
h1 { font-size: 1.7em; margin-bottom: 0.2em; } h2 { font-size: 1.25em; margin-top: 2.2em; }
p, li { max-width: 48em; } .warning { background: #fff3d6; border-left: 5px solid #d98a00; padding: 0.6em 1em; }
figure { margin: 1.2em 0; } figure img { max-width: 100%; height: auto; } figcaption { color: #555; font-size: 0.92em; }
table { border-collapse: collapse; margin: 1em 0; font-variant-numeric: tabular-nums; }
th, td { padding: 0.25em 0.9em; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child { text-align: left; } th { border-bottom: 2px solid #888; font-weight: 600; }
"""


class Report:
    """Headings, text, tables and pictures in the order in which they are added.

    Parameters
    ----------
    title : str

    Attributes
    ----------
    pictures : set of str
        Names of the PNGs that it shows.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self.pictures: set[str] = set()
        self._parts = [f"<h1>{escape(title)}</h1>"]

    def heading(self, text: str) -> None:
        """Begin a part."""
        self._parts.append(f"<h2>{escape(text)}</h2>")

    def text(self, text: str, *, warning: bool = False) -> None:
        """Add a paragraph, as a warning that nobody overlooks where asked for."""
        kind = ' class="warning"' if warning else ""
        self._parts.append(f"<p{kind}>{escape(text)}</p>")

    def points(self, lines: Iterable[str]) -> None:
        """Add a list."""
        self._parts.append("<ul>" + "".join(f"<li>{escape(line)}</li>\n" for line in lines) + "</ul>")

    def table(self, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Add a table."""
        lines = [_row("th", head), *(_row("td", row) for row in rows)]
        self._parts.append("<table>\n" + "\n".join(lines) + "\n</table>")

    def links(self, head: Sequence[str], rows: Iterable[tuple[str, Sequence[tuple[str, str]]]]) -> None:
        """Add a table of links.

        Parameters
        ----------
        head : sequence of str
        rows : iterable of (str, sequence of (str, str))
            First cell of each row; then text and path, relative to the page, of each link.
        """
        lines = [_row("th", head)]
        for name, cells in rows:
            links = (f'<td><a href="{quote(path)}">{escape(text)}</a></td>' for text, path in cells)
            lines.append(f"<tr><td>{escape(name)}</td>{''.join(links)}</tr>")
        self._parts.append("<table>\n" + "\n".join(lines) + "\n</table>")

    def picture(self, path: Path, caption: str) -> None:
        """Add a PNG; the page holds its bytes.

        Parameters
        ----------
        path : Path
        caption : str
        """
        self.pictures.add(path.name)
        data = base64.b64encode(path.read_bytes()).decode("ascii")
        image = f'<img alt="{escape(path.stem)}" src="data:image/png;base64,{data}">'
        self._parts.append(f"<figure>{image}\n<figcaption>{escape(caption)}</figcaption></figure>")

    def write(self, path: Path) -> Path:
        """Write the page, whole or not at all.

        Raises
        ------
        OutputError
            If the disk refuses.
        """
        head = f'<meta charset="utf-8">\n<title>{escape(self.title)}</title>\n<style>{_STYLE}</style>'
        body = "\n".join(self._parts)
        text = f'<!DOCTYPE html>\n<html lang="en">\n<head>\n{head}\n</head>\n<body>\n{body}\n</body>\n</html>\n'
        atomic_write(path, text.encode())
        return path


def _row(tag: str, cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"
