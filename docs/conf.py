"""The documentation site: `make docs` builds it into docs/_build, without a network."""

import logging
import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
# The tutorials run in processes that start elsewhere.
os.environ["PYTHONPATH"] = str(ROOT)
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

# What Jupyter keeps for itself stays in the tree too. Kernels talk to this process alone.
BUILD = ROOT / "docs" / "_build"
PROFILE = BUILD / "ipython" / "profile_default"
PROFILE.mkdir(parents=True, exist_ok=True)
(PROFILE / "ipython_kernel_config.py").write_text("get_config().IPKernelApp.log_level = 40\n")
os.environ["IPYTHONDIR"] = str(BUILD / "ipython")
os.environ["JUPYTER_RUNTIME_DIR"] = str(BUILD / "jupyter")
logging.getLogger("traitlets").setLevel(logging.WARNING)

project = "jaxrnn"
author = "the jaxrnn authors"
html_title = "jaxrnn"
html_theme = "furo"
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
]
exclude_patterns = ["_build", "jupyter_execute"]

nb_execution_mode = "cache"
nb_execution_cache_path = str(BUILD / "notebooks")
nb_execution_timeout = 120
nb_execution_raise_on_error = True
nb_execution_show_tb = True
# Notebooks run in a folder of their own, so that they leave nothing in the tree.
nb_execution_in_temp = True
nb_merge_streams = True

myst_heading_anchors = 3  # the anchors of headings are those of GitHub

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
# Like arguments, and several to a line where they are so in the docstring.
napoleon_custom_sections = [("Attributes", "params_style")]


# In prose, what reStructuredText would take for its own marks, a lone "C." among them, which is
# the first point of a list there; not in ``code``.
MARKS = re.compile(r"``.*?``|[*|]|(?<=\w)_(?=[^\w]|$)|(?<=: )[A-Z](?=\.)")
# In signatures: what every linen module has, the default values without a name, and long names.
CLEANED = {
    r", parent: .*?name: [^,)]*": "",
    r"<(?:[^<>]|<locals>)*>": "...",
    r"~?(?:jaxlib\._jax|jaxtyping|collections\.abc|typing|jax\.nn\.initializers)\.|~": "",
}


def plain_text(app, what, name, obj, options, lines):
    """Docstrings are text first: their indented equations and code are literal, marks are marks."""
    previous, literal, example, marked = "", False, False, []
    for index, line in enumerate(lines):
        example = bool(line.strip()) and (example or line.lstrip().startswith(">>> "))
        indented = line.startswith(" ")
        if indented and index and not lines[index - 1].strip() and not previous.startswith(" "):
            literal = bool(previous)
            marked += ["::", ""] if literal else []
        literal = literal and (indented or not line.strip())
        if line.strip():
            previous = line
        marked.append(line if literal or example else MARKS.sub(escaped, line))
    lines[:] = marked


def escaped(match):
    """The mark with a backslash; code as it is."""
    return match[0] if match[0].startswith("``") else "\\" + match[0]


def clean_signature(app, what, name, obj, options, signature, returns):
    """Arguments as one writes them."""
    for pattern, replacement in CLEANED.items():
        signature = signature and re.sub(pattern, replacement, signature)
        returns = returns and re.sub(pattern, replacement, returns)
    return signature, returns


def is_foreign(app, what, name, obj, skip, options):
    """Initialisers and types of other packages, which linen modules have as attributes."""
    module = getattr(obj, "__module__", None) or "jaxrnn"
    return True if not module.startswith(("jaxrnn", "torch_ref")) else None


def setup(app):
    """Docstrings come before napoleon, which reads the same event."""
    app.connect("autodoc-process-docstring", plain_text, priority=100)
    app.connect("autodoc-process-signature", clean_signature)
    app.connect("autodoc-skip-member", is_foreign)
