"""Where the links of a site lead: to pages and places that exist, and for nothing but a click outside of it."""

from __future__ import annotations

import html
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

TAG = re.compile(r"<([a-z]\w*)(\s[^<>]*)>", re.IGNORECASE)
ATTRIBUTE = re.compile(r"""\s(id|name|href|src)=(?:"([^"]*)"|'([^']*)')""")
OUTSIDE = {"http", "https", "mailto"}
LAB = "lab/index.html"


def faults(site: Path) -> list[str]:
    """What is wrong with the links of a folder of pages, a line each; empty if nothing is.

    Inside, the file and the place in it must exist. Outside, the address must be one that could exist; and only a link
    to click may lead there: what a page shows or runs must come with it.
    """
    pages = {path: _attributes(path) for path in sorted(site.rglob("*.html"))}
    pages.pop(site / LAB, None)  # whose script makes its places and its links
    names = {path: {value for _, key, value in found if key in ("id", "name")} for path, found in pages.items()}
    return [
        f"{path.relative_to(site)}: {value!r} {fault}"
        for path, found in pages.items()
        for value, tag in dict.fromkeys((value, tag) for tag, key, value in found if key in ("href", "src"))
        if (fault := _fault(value, tag, path, names))
    ]


def _attributes(page: Path) -> list[tuple[str, str, str]]:
    text = re.sub(r"(<script\b[^>]*>).*?</script>", r"\1", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [
        (tag[1].lower(), one[1], html.unescape(one[2] or one[3] or ""))
        for tag in TAG.finditer(text)
        for one in ATTRIBUTE.finditer(tag[2])
    ]


def _fault(value: str, tag: str, page: Path, names: dict[Path, set[str]]) -> str:
    try:
        parts = urlsplit(value)
    except ValueError as error:
        return f"is no address: {error}"
    if parts.scheme == "data":
        return ""
    if parts.scheme or parts.netloc:
        if tag not in ("a", "area"):
            return "is fetched from outside of the site"
        return "" if parts.scheme in OUTSIDE and _could_exist(parts) else "is no address"
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page.resolve()
    target = target / "index.html" if target.is_dir() else target
    if not target.is_file():
        return "leads nowhere"
    place = unquote(parts.fragment)
    known = names.get(target)
    return "" if not place or known is None or place in known else f"has no place {place!r} there"


def _could_exist(parts) -> bool:
    if parts.scheme == "mailto":
        return bool(re.fullmatch(r"[^@\s]+@[\w.-]+\.\w+", parts.path))
    return bool(re.fullmatch(r"[\w-]+(\.[\w-]+)+", parts.hostname or "")) and not re.search(r"\s", parts.geturl())
