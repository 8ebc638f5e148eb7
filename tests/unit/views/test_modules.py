"""The joining of the front end's modules: what is understood, and that anything else is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from scaler_notebook.notebook import views
from scaler_notebook.notebook.views.modules import ModuleError, joined
from scaler_notebook.notebook.views.row import Row, RowProgress

VIEWS = Path(views.__file__).parent

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes files ``NAME.js`` into one folder, and gives the last one's path."""

    def write(**files: str) -> Path:
        for name, text in files.items():
            (tmp_path / f"{name}.js").write_text(text)
        return tmp_path / f"{list(files)[-1]}.js"

    return write


def test_an_imported_module_becomes_a_function_that_gives_its_exports(write: Write) -> None:
    main = write(
        part='const own = "100 %d";\nexport const a = own;\nexport async function b() {}\nexport function c() {}\n',
        main='import { a, b as d } from "./part.js";\n\nexport default a;\n',
    )
    assert joined(main) == (
        "const $0 = (() => {\n"
        'const own = "100 %d";\nconst a = own;\nasync function b() {}\nfunction c() {}\n'
        "return { a, b, c };\n})();\n"
        "const { a, b: d } = $0;\n\nexport default a;\n"
    )


def test_a_module_is_there_once_before_those_that_import_it(write: Write) -> None:
    main = write(
        base="export const a = 1;\n",
        left='import {\n  a,\n} from "./base.js";\nexport const b = a;\n',
        right='import { a } from "./base.js";\nexport const c = a;\n',
        main='import { c } from "./right.js";\nimport { b } from "./left.js";\nexport default b + c;\n',
    )
    lines = joined(main).splitlines()
    assert [line for line in lines if line.startswith("const $")] == [f"const ${n} = (() => {{" for n in range(3)]
    assert [line for line in lines if line.startswith("const {")] == [
        "const { a } = $0;",
        "const { a } = $0;",
        "const { c } = $1;",
        "const { b } = $2;",
    ]


def test_what_the_first_module_exports_stays_an_export(write: Write) -> None:
    main = write(main="export const a = 1;\nexport default a;\n")
    assert joined(main) == main.read_text()


def test_comments_on_lines_of_their_own_are_left_out(write: Write) -> None:
    main = write(
        main="/** import x from y\n * export */\n// export z\nconst a = /** @type {any} */ (1); // import\n"
        "/** @type {any} */ (a).b = 1;\nconst c = 1; /* 2 */\n"
    )
    assert joined(main) == (
        "const a = /** @type {any} */ (1); // import\n/** @type {any} */ (a).b = 1;\nconst c = 1; /* 2 */\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        'import a from "./part.js";',
        'import * as a from "./part.js";',
        'import "./part.js";',
        'import { a } from "part";',
        "import { a } from './part.js';",
        'import { a } from "./part.js"',
        '  import { a } from "./part.js";',
        'const b = 1; import { a } from "./part.js";',
        'const a = await import("./part.js");',
        "import.meta.url;",
        "export let a = 1;",
        "export var a = 1;",
        "export class A {}",
        "export const { a } = b;",
        "export const [a] = b;",
        "export function* a() {}",
        "export { a };",
        'export { a } from "./part.js";',
        'export * from "./part.js";',
        "  export const a = 1;",
        "const a = 1; export default a;",
    ],
)
def test_any_other_form_is_refused(write: Write, text: str) -> None:
    write(part="export const a = 1;\n")
    with pytest.raises(ModuleError, match="not understood"):
        joined(write(main=f"{text}\n"))
    with pytest.raises(ModuleError, match="not understood"):
        joined(write(between=f"export const own = 1;\n{text}\n", main='import { own } from "./between.js";\n'))


def test_what_is_imported_must_be_there(write: Write) -> None:
    write(part="export const a = 1;\nconst b = 2;\nexport function c() {}\n")
    for names in ("b", "a, missing", "a as", "c.d", "default as a"):
        with pytest.raises(ModuleError, match=re.escape("which part.js does not export")):
            joined(write(main=f'import {{ {names} }} from "./part.js";\n'))
    with pytest.raises(FileNotFoundError):
        joined(write(main='import { a } from "./missing.js";\n'))
    with pytest.raises(ModuleError, match="not understood: export default"):
        joined(write(part="export const a = 1;\nexport default a;\n", main='import { a } from "./part.js";\n'))


def test_modules_that_import_each_other_are_refused(write: Write) -> None:
    main = write(
        one='import { b } from "./two.js";\nexport const a = 1;\n',
        two='import { a } from "./one.js";\nexport const b = 1;\n',
        main='import { a } from "./one.js";\n',
    )
    with pytest.raises(ModuleError, match=re.escape("one.js -> two.js -> one.js")):
        joined(main)


@pytest.mark.parametrize("name", ["card/widget.js", "board/board.js"])
def test_a_widgets_module_is_one_that_stands_alone(name: str) -> None:
    text = joined(VIEWS / name)
    assert len(re.findall(r"^export default ", text, re.MULTILINE)) == 1
    assert not re.search(r"^import ", text, re.MULTILINE)


def test_the_types_of_the_messages_name_the_fields_of_a_row() -> None:
    text = (VIEWS / "messages.js").read_text("utf-8")
    for name, fields in (("Row", Row), ("Progress", RowProgress)):
        typedef = re.split(rf"@typedef \{{object\}} {name}\b", text)[1].split("@typedef")[0]
        assert re.findall(r"@property \{.*\} (\w+)", typedef) == list(fields.__annotations__)
