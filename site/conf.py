"""The settings of Sphinx for the pages; `python -m tutorial_utils site` uses them, once for each language."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # the extension

project = "Transformers for images and video"
author = "the authors of the course"
copyright = author
html_title = project
html_show_sphinx = False

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "course"]
exclude_patterns = []
suppress_warnings = ["myst.header", "misc.highlighting_failure"]

nb_execution_mode = "off"
nb_ipywidgets_js = {}  # there are no live controls without a kernel, and these would come from a network
nb_merge_streams = True
nb_code_prompt_show = "Show the code"
nb_code_prompt_hide = "Hide the code"
myst_enable_extensions = ["attrs_inline", "colon_fence", "dollarmath"]
myst_heading_anchors = 6
myst_dmath_double_inline = True
html_math_renderer = "mathml"

autodoc_mock_imports = [
    "accelerate",
    "diffusers",
    "keras",
    "medmnist",
    "modelscope",
    "skimage",
    "sklearn",
    "tensorflow",
    "torch",
    "torchmetrics",
    "torchvision",
    "transformers",
]
napoleon_use_ivar = True  # what a class documents of its attributes is not said twice
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
add_module_names = False
default_role = "code"

html_theme = "sphinx_book_theme"
html_static_path = ["static"]
templates_path = ["templates"]
html_css_files = ["course.css"]
html_js_files = [("language.js", {"defer": "defer"})]
html_copy_source = False
html_sidebars = {"**": ["search-button-field.html", "sbt-sidebar-nav.html"]}
html_theme_options = {
    "article_header_end": ["language.html", "article-header-buttons.html"],
    "home_page_in_toc": True,
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "use_fullscreen_button": False,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
    "footer_content_items": [],
    "navbar_persistent": [],  # the search is in the list of contents
}
