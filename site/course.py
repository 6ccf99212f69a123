"""What the pages need beside Sphinx and its theme."""

import hashlib
import json
import re
from pathlib import Path

from docutils import nodes
from myst_nb.core.render import NbElementRenderer
from PIL import Image
from search import ChineseInPairs
from sphinx.errors import SphinxError
from sphinx.transforms import SphinxTransform

from tutorial_utils import links, pages
from tutorial_utils.execution import first_heading
from tutorial_utils.translations import LANGUAGES
from tutorial_utils.website import sources

WITHOUT_WORDS = '<th class="head"><p></p></th>'
IMAGE = re.compile(r'<img\b[^>]*\bsrc="([^"]*_images/([^"/]+))"[^>]*?/?>')


def setup(app):
    app.add_html_math_renderer("mathml", (inline_formula, None), (block_formula, None))
    app.add_transform(SameNames)
    app.add_search_language(ChineseInPairs)
    app.connect("config-inited", choose_words)
    app.connect("builder-inited", keep_descriptions)
    app.connect("autodoc-skip-member", leave_out)
    app.connect("html-page-context", offer_languages, priority=100)  # before the theme leaves out what is empty
    app.connect("html-page-context", dress, priority=900)  # after the theme has made its buttons
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def language_of(app):
    return next(one for one in LANGUAGES.values() if one.locale == app.config.language)


def choose_words(app, config):
    words = sources.words(language_of(app).say)
    config.nb_code_prompt_show, config.nb_code_prompt_hide = words["show"], words["hide"]
    config.html_theme_options |= {"toc_title": words["contents"], "search_bar_text": words["search"]}
    config.html_title = first_heading(language_of(app).document(sources.FRONT))


def inline_formula(self, node):
    self.body.append(f'<span class="math">{pages.formula(node.astext(), "inline")}</span>')
    raise nodes.SkipNode


def block_formula(self, node):
    self.body.append(f'<div class="math" tabindex="0">{pages.formula(node.astext(), "block")}</div>')
    raise nodes.SkipNode


class SameNames(SphinxTransform):
    """Headings have the same names in every language, so that a link to a place can change the language."""

    default_priority = 690  # before MyST looks for the places that links mean

    def apply(self, **kwargs):
        names = json.loads((Path(self.app.srcdir) / "anchors.json").read_text(encoding="utf-8"))
        sections = list(self.document.findall(nodes.section))
        wanted = names.get(self.env.docname)
        if wanted is None:
            return
        if len(wanted) != len(sections):
            raise SphinxError(f"{self.env.docname}: {len(wanted)} headings are known, {len(sections)} found")
        slugs = getattr(self.document, "myst_slugs", {})
        for section, name in zip(sections, wanted, strict=True):
            former, section["ids"] = section["ids"], [name]
            section.attributes.pop("slug", None)
            for slug, (line, place, title) in list(slugs.items()):
                if place in former:
                    slugs[slug] = (line, name, title)
        for section, name in zip(sections, wanted, strict=True):
            self.document.ids[name] = section
            slugs.setdefault(name, (section.line, name, section.next_node(nodes.title).astext()))


def keep_descriptions(app):
    """MyST-NB knows no description of an output; nbconvert's is in the output's metadata."""
    render = NbElementRenderer.render_image

    def described(self, data):
        found = render(self, data)
        for image in found:
            image["alt"] = data.output_metadata.get(data.mime_type, {}).get("alt", "")
        return found

    NbElementRenderer.render_image = described


def leave_out(app, kind, name, member, skip, options):
    """Of a class only what is written here: matplotlib gives each figure of its own a method that it writes itself."""
    return True if (getattr(member, "__module__", "") or "").startswith("matplotlib") else None


def offer_languages(app, pagename, templatename, context, doctree):
    """The same page in each other language."""
    up = "../" * (pagename.count("/") + 1)
    context["other_languages"] = [
        {"code": one.code, "name": one.name, "href": f"{up}{one.code}/{pagename}.html"}
        for one in LANGUAGES.values()
        if one is not language_of(app)
    ]


def dress(app, pagename, templatename, context, doctree):
    """What is put around a page, and animations that can be stopped."""
    language = language_of(app)
    if pagename.startswith("notebooks/"):
        launch(context, pagename, language)
    for group in context.get("header_buttons", []):  # sources are not in the site: they would double it
        group["buttons"] = [one for one in group.get("buttons", []) if "_sources/" not in one.get("url", "")]
    context["metatags"] = context.get("metatags", "") + f"<style>{pages.PAUSE}</style>"
    if "body" in context:
        context["body"] = context["body"].replace(WITHOUT_WORDS, "<td></td>")  # a heading is read out
        context["body"] = IMAGE.sub(lambda found: picture(app, found, language), context["body"])


def launch(context, pagename, language):
    """The hosts that open a lesson, where the repository's address is known to them."""
    hosts = links.hosts(links.repository(), f"{pagename}.ipynb")
    if hosts:
        buttons = [{"type": "link", "url": url, "text": name, "icon": "fas fa-rocket"} for name, url in hosts.items()]
        words = sources.words(language.say)["elsewhere"]
        group = {"type": "group", "tooltip": words, "icon": "fas fa-rocket", "buttons": buttons, "label": "launch"}
        context["header_buttons"].insert(0, group)


def picture(app, found, language):
    """An image with its size, so that a page does not move while it loads; with a pause, if it moves itself."""
    stored = {name: source for source, name in app.builder.images.items()}
    path = Path(app.srcdir) / stored.get(found[2], found[2])
    if not path.exists():
        return found[0]
    with Image.open(path) as image:
        width, height = image.size
        tag = found[0]
        if " width=" not in tag and " style=" not in tag:
            tag = tag.replace("<img", f'<img width="{width}" height="{height}"')
        if getattr(image, "n_frames", 1) == 1:
            return tag
        still = f"still-{Path(found[2]).stem}.png"
        (Path(app.outdir) / "_images").mkdir(exist_ok=True)
        image.seek(0)
        image.convert("RGB").save(Path(app.outdir) / "_images" / still, optimize=True)
    name = f"animation-{hashlib.sha256(found[2].encode()).hexdigest()[:8]}-{found.start()}"
    return pages.with_a_pause(name, tag, tag.replace(found[2], still), sources.words(language.say)["pause"])
