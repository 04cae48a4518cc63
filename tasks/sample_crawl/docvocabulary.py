"""The words that structure docstrings: section titles, field names, directives."""

# Section titles whose bodies list names with descriptions (numpydoc guide, Google style guide 3.8.3, napoleon).
FIELD_SECTIONS = frozenset(
    [
        "parameters", "other parameters", "args", "arguments", "params", "keyword args", "keyword arguments",
        "kwargs", "returns", "return", "yields", "yield", "receives", "raises", "raise", "warns", "attributes",
        "inputs", "outputs",
    ]
)  # fmt: skip
TEXT_SECTIONS = frozenset(
    [
        "example", "examples", "note", "notes", "warning", "warnings", "see also", "references", "todo", "usage",
        "methods", "shape", "tip", "important", "caution", "requirements", "details", "input", "output",
    ]
)  # fmt: skip
FIELD_TITLES = {
    "param": "Parameters", "parameter": "Parameters", "arg": "Parameters", "argument": "Parameters",
    "key": "Parameters", "keyword": "Parameters", "kwarg": "Parameters", "return": "Returns", "returns": "Returns",
    "rtype": "Returns", "raise": "Raises", "raises": "Raises", "except": "Raises", "exception": "Raises",
    "yield": "Yields", "yields": "Yields", "ivar": "Attributes", "cvar": "Attributes", "var": "Attributes",
    "attr": "Attributes",
}  # fmt: skip
CODE_DIRECTIVES = frozenset(
    [
        "code-block", "code", "sourcecode", "ipython", "doctest", "testcode", "testoutput", "parsed-literal", "plot",
    ]
)  # fmt: skip
SKIPPED_DIRECTIVES = frozenset(
    [
        "image", "figure", "index", "autosummary", "currentmodule", "module", "toctree", "automodule", "autoclass",
        "only", "include", "highlight", "contents", "raw", "autofunction", "automethod", "bibliography",
        "sectionauthor", "moduleauthor", "container", "tags", "meta", "rst-class", "testsetup", "literalinclude",
        "jinja", "role",
    ]
)  # fmt: skip
