"""Joins ES modules into one, for a front end gets a widget's module as one text and can import no file of ours.

Only the forms of ``import`` and ``export`` that our files use are understood; any other raises a
:class:`ModuleError`::

    import { a, b as c } from "./file.js";
    export const a = …
    export function b(…          (async, too)
    export default …             (in a module that nothing imports)
"""

import re
from pathlib import Path

_IMPORT = re.compile(r'^import \{([^{}]*)\} from "(\.{1,2}/[\w./-]+\.js)";\n', re.MULTILINE)
_NAME = re.compile(r"([A-Za-z_]\w*)(?: as ([A-Za-z_]\w*))?")
_EXPORT = re.compile(r"^export (?=(?:const|function|async function) ([A-Za-z_]\w*)\b)", re.MULTILINE)
_EXPORT_DEFAULT = re.compile(r"^export (?=default )", re.MULTILINE)
_COMMENT = re.compile(r"/\*(?:(?!\*/).)*\*/|//[^\n]*", re.DOTALL)
_COMMENT_LINES = re.compile(rf"^[ \t]*(?:{_COMMENT.pattern})\n", re.MULTILINE | re.DOTALL)


class ModuleError(Exception):
    """A module that cannot be joined: for its form, or for what it imports."""


def joined(path: Path) -> str:
    """One module that does what the module at ``path`` does with those that it imports, without their comments.

    Each imported module becomes a function that gives its exports, called once, behind those that it imports itself:
    the names of different modules never meet.
    """
    functions: dict[Path, str] = {}  # in the order in which they are called
    exports: dict[Path, list[str]] = {}
    under_way: list[Path] = []

    def read(path: Path) -> str:
        """Join what a module imports, and give its text, which takes that from there."""
        if path in under_way:
            raise ModuleError(f"modules import each other: {' -> '.join(each.name for each in [*under_way, path])}")
        under_way.append(path)
        text = _COMMENT_LINES.sub("", path.read_text("utf-8"))
        text = _IMPORT.sub(lambda found: take(path, found[1], (path.parent / found[2]).resolve()), text)
        under_way.pop()
        return text

    def take(importer: Path, names: str, path: Path) -> str:
        """Return the code that stands where a module was imported."""
        if path not in functions:
            text = read(path)
            exports[path] = _EXPORT.findall(text)
            functions[path] = f"{_EXPORT.sub('', text)}return {{ {', '.join(exports[path])} }};\n"
            _refuse_what_is_left(path, functions[path])
        taken = []
        for each in filter(None, map(str.strip, names.split(","))):
            name = _NAME.fullmatch(each)
            if name is None or name[1] not in exports[path]:
                raise ModuleError(f"{importer.name} imports {each!r}, which {path.name} does not export")
            taken.append(f"{name[1]}: {name[2]}" if name[2] else name[1])
        return f"const {{ {', '.join(taken)} }} = ${list(functions).index(path)};\n"

    text = read(path.resolve())
    _refuse_what_is_left(path, _EXPORT_DEFAULT.sub("", _EXPORT.sub("", text)))
    calls = (f"const ${number} = (() => {{\n{body}}})();\n" for number, body in enumerate(functions.values()))
    return "".join(calls) + text


def _refuse_what_is_left(path: Path, text: str) -> None:
    """Raise if there is an import or an export that was not understood."""
    for line in _COMMENT.sub("", text).splitlines():
        if re.search(r"\b(?:import|export)\b", line):
            raise ModuleError(f"{path.name} has a form that is not understood: {line.strip()}")
