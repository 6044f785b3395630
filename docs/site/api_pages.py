"""Sphinx extension: every public name of the packages, on a page of its module, and types resolved to these pages.

Pages are written to ``docs/reference/generated`` when a build begins. A name that several packages show is documented
once, under the shortest of its names. A type of ours that stands in a signature and is not public is
documented as well, so that no signature names what the reader cannot look up.
"""

import inspect
import shutil
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar, get_origin

from docutils.nodes import Element
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.errors import PycodeError
from sphinx.pycode import ModuleAnalyzer
from type_names import OURS, own_types, unwrapped

COLON = "\ue000"  # stands for a colon where napoleon would read one
Home = dict[str, str]
"""Where an object is defined → the public name that its page has."""


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the settings and the two steps."""
    app.add_config_value("api_modules", [], "env")
    app.connect("builder-inited", write_pages)
    app.connect("missing-reference", resolve)
    app.connect("autodoc-skip-member", is_of_others)
    app.connect("autodoc-process-docstring", keep_absolute_values)
    app.connect("autodoc-process-docstring", hide_colon, priority=100)  # before napoleon
    app.connect("autodoc-process-docstring", show_colon, priority=900)
    app.connect("autodoc-process-signature", leave_settings_to_their_table)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write_pages(app: Sphinx) -> None:
    """Write a page for each module, and one for the other types that each package's signatures name."""
    folder = Path(app.srcdir) / "reference" / "generated"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    modules = [import_module(name) for name in app.config.api_modules]
    homes = public_homes(modules)
    for module in modules:
        write(folder / f"{module.__name__}.rst", module_page(module, homes))
    public = [found for module in modules for name, found in public_objects(module, homes)]
    types = own_types([found for found in public if not isinstance(found, ModuleType)], known=homes)
    for package in dict.fromkeys(name.split(".")[0] for name in types):
        of_package = {name: found for name, found in types.items() if name.startswith(f"{package}.")}
        write(folder / f"{package}-types.rst", types_page(package, of_package))
    for program, package in (("fsl-explain", "fsl_explain"), ("retrieval-explain", "retrieval_explain")):
        commands = import_module(f"{package}.cli.app").app
        write(folder / f"{program}.md", commands.generate_docs(output_format="markdown"))
    app.api_homes = homes  # type: ignore[attr-defined]


def names_of(module: ModuleType) -> list[str]:
    """Return what a module shows: what it lists, or else the classes and functions that it defines."""
    if hasattr(module, "__all__"):
        return sorted(module.__all__, key=str.lower)
    found = vars(module).items()
    defined = [name for name, value in found if getattr(value, "__module__", None) == module.__name__]
    return sorted((name for name in defined if not name.startswith("_")), key=str.lower)


def canonical_name(found: Any) -> str | None:
    """Return where a class, function or module is defined; values have no such place."""
    if isinstance(found, ModuleType):
        return found.__name__
    if inspect.isclass(found) or inspect.isfunction(found):
        return f"{found.__module__}.{found.__qualname__}"
    return None


def public_homes(modules: list[ModuleType]) -> Home:
    """Return the shortest public name of every object that has a place of its own."""
    homes: Home = {}
    for module in modules:
        for name in names_of(module):
            canonical, public = canonical_name(getattr(module, name)), f"{module.__name__}.{name}"
            if canonical is not None and public.count(".") < homes.get(canonical, public + ".").count("."):
                homes[canonical] = public
    return homes


def public_objects(module: ModuleType, homes: Home) -> Iterator[tuple[str, Any]]:
    """Yield what has its page under this module's name."""
    for name in names_of(module):
        found, public = getattr(module, name), f"{module.__name__}.{name}"
        canonical = canonical_name(found)
        is_page = isinstance(found, ModuleType) and any(home.startswith(f"{public}.") for home in homes.values())
        if not is_page and (canonical is None or homes[canonical] == public):
            yield public, found


def role_of(found: Any) -> str:
    """Return the role by which reStructuredText refers to an object."""
    if isinstance(found, ModuleType):
        return "mod"
    if inspect.isclass(found):
        return "class"
    return "func" if inspect.isfunction(found) else "data"


def module_page(module: ModuleType, homes: Home) -> str:
    """Return the page of a module: what it is for, a line for every name, and then each in full."""
    name = module.__name__
    rows = []
    for short in names_of(module):
        found = getattr(module, short)
        canonical = canonical_name(found)
        public = homes[canonical] if canonical else f"{name}.{short}"
        rows.append((f":py:{role_of(found)}:`{short} <{public}>`", first_line(found)))
    parts = [documented(public, found) for public, found in public_objects(module, homes)]
    head = f".. py:module:: {name}\n\n{inspect.getdoc(module) or ''}"
    return "\n\n".join([title(name), head, table(rows), *parts]) + "\n"


def types_page(package: str, types: dict[str, Any]) -> str:
    """Return the page of the types that signatures of a package name and no module lists."""
    words = f"Signatures of ``{package}`` name these classes. Functions return them; you seldom make one yourself."
    rows = [(f":py:class:`{name.rpartition('.')[2]} <{name}>`", first_line(found)) for name, found in types.items()]
    parts = [documented(name, found) for name, found in types.items()]
    return "\n\n".join([title(f"Other types of {package}"), words, table(rows), *parts]) + "\n"


def table(rows: list[tuple[str, str]]) -> str:
    """Return a table of names and lines."""
    body = [f"   * - {name}\n     - {line}" for name, line in rows]
    return "\n".join([".. list-table::", "   :widths: 30 70", "   :class: names", "", *body])


def documented(public: str, found: Any) -> str:
    """Return the directive that documents one name in full."""
    module, _, name = public.rpartition(".")
    if isinstance(found, ModuleType):
        return f".. automodule:: {found.__name__}\n   :members:"
    if hasattr(found, "model_fields"):
        return f".. autoclass:: {public}\n   :exclude-members: __init__\n\n{indented(settings(found))}"
    if inspect.isclass(found):
        return f".. autoclass:: {public}\n   :members:\n   :undoc-members:"
    if inspect.isfunction(found):
        return f".. autofunction:: {public}"
    place = f".. py:currentmodule:: {module}\n\n"  # a documented module before this one has set another
    return f"{place}.. py:data:: {public}\n\n{indented(described(module, name, found))}"


def settings(found: Any) -> str:
    """Return the fields of settings with their defaults, in the words of the settings themselves."""
    rows = []
    for name, field in found.model_fields.items():
        default = "needed" if field.is_required() else f"``{field.get_default(call_default_factory=True)!r}``"
        rows.append((f"``{name}``, {default}", " ".join((field.description or "").split())))
    return table(rows) if rows else ""


def described(module: str, name: str, found: Any) -> str:
    """Return the words of a value, from the module that defines it, and its members if it is a table."""
    for place in dict.fromkeys([getattr(import_module(module), "__name__", module), *places_of(name)]):
        try:
            words = ModuleAnalyzer.for_module(place).find_attr_docs().get(("", name))
        except PycodeError:
            continue
        if words:
            return "\n".join(words) + members(found)
    return members(found).strip() or f"``{found!r}``"


def places_of(name: str) -> list[str]:
    """Return the modules of ours, imported by now, that hold a value of this name."""
    ours = [one for one in sys.modules if one.split(".")[0] in OURS]
    return [one for one in ours if name in vars(sys.modules[one])]


def members(found: Any) -> str:
    """Return the names that a table of the library holds."""
    keys = list(found) if hasattr(found, "keys") else []
    return "\n\nMembers: " + ", ".join(f"``{key}``" for key in keys) + "." if keys else ""


def first_line(found: Any) -> str:
    """Return the first sentence of a docstring."""
    if not (inspect.isclass(found) or inspect.isfunction(found) or isinstance(found, ModuleType)):
        return f"{len(found)} members by name." if hasattr(found, "keys") else "A value."
    words = (inspect.getdoc(found) or "").split("\n\n")[0]
    return " ".join(words.split())


def title(words: str) -> str:
    """Return a heading."""
    return f"{words}\n{'=' * len(words)}\n\n"


def indented(text: str) -> str:
    """Return a text as the content of a directive."""
    return "\n".join(f"   {line}" if line else "" for line in text.splitlines())


def write(path: Path, text: str) -> None:
    """Write one page."""
    path.write_text(text, encoding="utf-8")


def is_of_others(app: Sphinx, what: str, name: str, found: Any, skip: bool, options: Any) -> bool | None:
    """Leave out what a class has from another library, whose words are written for that library's pages."""
    module = getattr(unwrapped(found), "__module__", None) or ""
    return True if skip or (module and module.split(".")[0] not in (*OURS, "builtins")) else None


def keep_absolute_values(app: Sphinx, what: str, name: str, found: Any, options: Any, lines: list[str]) -> None:
    r"""Let \|x\| in docstrings mean an absolute value, which reStructuredText takes for a substitution."""
    for place, line in enumerate(lines):
        parts = line.split("``")
        parts[::2] = [part.replace("|", "\\|") for part in parts[::2]]
        lines[place] = "``".join(parts)


def hide_colon(app: Sphinx, what: str, name: str, found: Any, options: Any, lines: list[str]) -> None:
    """Hide the colons in the first line of a property, before which napoleon looks for a type."""
    if what in {"property", "attribute", "data"} and lines:
        lines[0] = lines[0].replace(":", COLON)


def show_colon(app: Sphinx, what: str, name: str, found: Any, options: Any, lines: list[str]) -> None:
    """Show them again behind napoleon."""
    lines[:] = [line.replace(COLON, ":") for line in lines]


def leave_settings_to_their_table(
    app: Sphinx, what: str, name: str, found: Any, options: Any, signature: str | None, returned: str | None
) -> tuple[str, None] | None:
    """Show no arguments of settings, which stand in a table with their defaults."""
    return ("", None) if hasattr(found, "model_fields") else None


def resolve(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: Element) -> Element | None:
    """Lead a reference to where an object is defined on to its public page; type variables and aliases have none."""
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    public = app.api_homes.get(target, target)  # type: ignore[attr-defined]
    if public != target:
        domain, document = env.domains["py"], node.get("refdoc", env.docname)
        return domain.resolve_any_xref(env, document, app.builder, public, node, content)[0][1]
    return content if stands_for_types(target) else None


def stands_for_types(target: str) -> bool:
    """Return whether a name of ours is a type variable or an alias of composed types."""
    module, _, name = target.rpartition(".")
    if module.split(".")[0] not in OURS or module not in sys.modules:
        return False
    found = getattr(sys.modules[module], name, None)
    return isinstance(found, TypeVar) or get_origin(found) is not None
