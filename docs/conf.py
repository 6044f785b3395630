"""How Sphinx builds the site: ``make docs``. Nothing that a page loads comes from elsewhere."""

import os
import sys
from importlib.metadata import version as version_of
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS / "site"))

project = "fsl-explain"
author = "the authors of fsl-explain"
copyright = author  # noqa: A001 (Sphinx's name)
release = version = version_of("fsl-explain")
language = "en"
smartquotes = False  # z' is a vector, and no quotation

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "api_pages",
    "papers_left",
]
exclude_patterns = ["site", "figures", "**/.ipynb_checkpoints"]
source_suffix = {".md": "myst-nb", ".rst": "restructuredtext"}
suppress_warnings = ["mystnb.unknown_mime_type"]

# Notebooks: each page with code cells is run in a kernel of this Python.
nb_execution_mode = os.environ.get("SITE_EXECUTION", "force")
if nb_execution_mode == "off":  # a kernel says what language its cells are in
    suppress_warnings.append("myst-nb.lexer")
nb_execution_cache_path = str(DOCS.parent / "build" / "notebooks")  # of SITE_EXECUTION=cache, for those who write pages
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_merge_streams = True
nb_render_markdown_format = "myst"  # so that tables of outputs are tables
nb_ipywidgets_js = {}
nb_mime_priority_overrides = [("html", "image/png", 0), ("html", "text/html", 10)]
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # for "! fsl-explain"
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(DOCS.parent), os.environ.get("PYTHONPATH")]))
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["DOCS"] = str(DOCS)
os.environ["PYTHONSTARTUP"] = str(DOCS / "site" / "notebook_commands.py")
os.environ["COLUMNS"] = "110"  # of tables that commands print
os.environ["NO_COLOR"] = "1"

myst_enable_extensions = ["attrs_block", "attrs_inline", "colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 4
myst_links_external_new_tab = False

# Every internal reference must resolve. Types of other packages are named, not linked: their pages lie elsewhere.
nitpicky = True
api_modules = [
    "episodes",
    "fsl_explain",
    "fsl_explain.backbones",
    "fsl_explain.classifiers",
    "fsl_explain.config",
    "fsl_explain.evaluation",
    "fsl_explain.explainers",
    "fsl_explain.heads",
    "fsl_explain.metrics",
    "fsl_explain.report",
    "fsl_explain.similarities",
    "fsl_explain.training",
    "retrieval_explain",
    "retrieval_explain.audit.label_audit",
    "retrieval_explain.evaluation.retrieval_evaluation",
]
nitpick_ignore_regex = [
    ("py:.*", r"(annotated_types|collections|contextlib|jaxtyping|matplotlib|numpy|pathlib|PIL|pyarrow|pydantic)\..*"),
    ("py:.*", r"(pandas|sklearn|torch|torchvision|types|typing)\..*"),
    ("py:.*", "ndarray|NoneType|Tensor"),
    ("py:.*", r"(dict|list)\[[\w\[]+"),  # the first half of a built-in type that Sphinx cuts at its comma
]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = True
napoleon_use_rtype = False
maximum_signature_line_length = 88
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"
add_module_names = False

html_theme = "furo"
html_title = "fsl-explain"
html_static_path = ["site/static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True, "top_of_page_buttons": []}
copybutton_prompt_text = r">>> |\.\.\. |\$ |In \[\d*\]: "
copybutton_prompt_is_regexp = True
