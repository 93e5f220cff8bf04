"""Sphinx settings. The build needs the package and nothing from a network."""

from __future__ import annotations

import sys
from importlib.metadata import version as installed
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "maskwright"
author = "the maskwright authors"
project_copyright = "the maskwright authors, Apache-2.0"
release = version = installed("maskwright").split("+")[0]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "recipe_fields",
    "command_help",
    "benchmark_results",
]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown"}
default_role = "code"
myst_enable_extensions = ["deflist", "colon_fence"]
myst_heading_anchors = 3

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "pydata_sphinx_theme"
html_title = "maskwright"
html_theme_options = {"show_prev_next": True, "navigation_with_keys": False, "secondary_sidebar_items": ["page-toc"]}
html_sidebars = {"**": []}
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_show_sourcelink = False
