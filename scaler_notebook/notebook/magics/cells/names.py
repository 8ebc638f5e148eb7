"""Name analysis: which names a cell needs from the notebook, and which it assigns.

Scopes are the compiler's own, by its symbol table. Whether a name is assigned before it is read follows the statements
in their order, so that ``df = load(); df.head()`` does not ship an older ``df``. A name counts as needed if in doubt:
one that the notebook does not have is simply not sent.
"""

import ast
import re
import symtable
from collections.abc import Iterable, Iterator
from typing import NamedTuple

Names = frozenset[str]
NO_NAMES: Names = frozenset()


class NameUsage(NamedTuple):
    """The use that a cell makes of names of the notebook's scope, in alphabetical order.

    Parameters
    ----------
    reads
        Names that may be read before the cell has assigned them.
    assigns
        Names that are assigned, imported or defined, also by functions that declare them global.
    has_star_import
        The cell may read and assign other names: it imports everything of some module.
    mentions
        Names that may be read by a magic or a shell command, whose text is no Python: ``!echo $name``, ``%time
        f(name)``, ``%scaler submit f(name)``.
    """

    reads: tuple[str, ...]
    assigns: tuple[str, ...]
    has_star_import: bool
    mentions: tuple[str, ...] = ()


def analyse_names(tree: ast.Module) -> NameUsage:
    """Find the names that a cell reads and assigns."""
    body = ast.fix_missing_locations(_ScopeNormalizer().visit(ast.parse(ast.unparse(tree)))).body
    reads, _ = _walk_statements(body, NO_NAMES)
    has_star_import = any(
        alias.name == "*" for node in ast.walk(tree) for alias in getattr(node, "names", ()) if _is_from_import(node)
    )
    mentions, assigned = _names_in_magics(tree)
    return NameUsage(
        tuple(sorted(reads)),
        tuple(sorted(_assigned_names(body) | assigned)),
        has_star_import,
        tuple(sorted(mentions - reads)),
    )


def _walk_statements(statements: Iterable[ast.stmt], bound: Names) -> tuple[Names, Names]:
    """Analyse statements that run one after the other.

    Parameters
    ----------
    statements
        The statements.
    bound
        Names that are certainly assigned before.

    Returns
    -------
    tuple[Names, Names]
        The names that may be read unassigned, and the names that are certainly assigned afterwards.
    """
    reads = NO_NAMES
    for statement in statements:
        found, bound = _walk_statement(statement, bound)
        reads |= found
    return reads, bound


def _walk_statement(statement: ast.stmt, bound: Names) -> tuple[Names, Names]:
    """Analyse one statement.

    Parameters
    ----------
    statement
        The statement.
    bound
        Names that are certainly assigned before.

    Returns
    -------
    tuple[Names, Names]
        The names that may be read unassigned, and the names that are certainly assigned afterwards.
    """
    match statement:
        case ast.If(test, body, orelse):
            first, after_body = _walk_statements(body, bound)
            second, after_else = _walk_statements(orelse, bound)
            return (_read_names(test) - bound) | first | second, after_body & after_else
        case ast.For(target, iterable, body, orelse):
            inner, _ = _walk_statements(body, bound | _target_names([target]))
            after, _ = _walk_statements(orelse, bound)
            return ((_read_names(iterable) | _names_read_by_target(target)) - bound) | inner | after, bound
        case ast.While(test, body, orelse):
            inner, _ = _walk_statements(body, bound)
            after, _ = _walk_statements(orelse, bound)
            return (_read_names(test) - bound) | inner | after, bound
        case ast.With(items, body):
            reads = NO_NAMES
            for item in items:
                reads |= _read_names(item.context_expr) - bound
                if item.optional_vars is not None:
                    bound |= _target_names([item.optional_vars])
            inner, bound = _walk_statements(body, bound)
            return reads | inner, bound
        case ast.Try(body, handlers, orelse, finalbody):
            reads, after_body = _walk_statements(body, bound)
            for handler in handlers:
                caught = frozenset([handler.name]) if handler.name else NO_NAMES
                found, _ = _walk_statements(handler.body, bound | caught)
                reads |= found | (_read_names(handler.type) - bound if handler.type is not None else NO_NAMES)
            found, _ = _walk_statements(orelse, after_body)
            last, bound = _walk_statements(finalbody, bound)
            return reads | found | last, bound
    reads = _read_names(statement)
    if isinstance(statement, ast.AugAssign) and isinstance(statement.target, ast.Name):
        reads |= {statement.target.id}
    return reads - bound, bound | _bound_names(statement)


def _bound_names(statement: ast.stmt) -> Names:
    """Return the names that a simple statement certainly assigns."""
    match statement:
        case ast.Assign(targets, _):
            return _target_names(targets)
        case ast.AnnAssign(target, _, value) if value is not None:
            return _target_names([target])
        case ast.AugAssign(target):
            return _target_names([target])
        case ast.Import(names) | ast.ImportFrom(_, names):
            return frozenset(alias.asname or alias.name.partition(".")[0] for alias in names)
        case ast.FunctionDef(name) | ast.ClassDef(name):
            return frozenset([name])
    return NO_NAMES


def _target_names(targets: Iterable[ast.expr]) -> Names:
    """Return the names that an assignment to targets binds."""
    stored = (node for target in targets for node in ast.walk(target))
    return frozenset(node.id for node in stored if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))


def _names_read_by_target(target: ast.expr) -> Names:
    """Return the names that a target reads, such as those in ``for row[key] in …``."""
    return frozenset(n.id for n in ast.walk(target) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load))


def _read_names(node: ast.expr | ast.stmt) -> Names:
    """Return all names that a node refers to in the notebook's scope, or in that of the builtins."""
    statement = ast.Expr(node) if isinstance(node, ast.expr) else node
    return frozenset(_referenced_names(_symbol_table([statement])))


def _referenced_names(table: symtable.SymbolTable) -> Iterator[str]:
    """Yield the names of the outermost scope that a scope and the scopes in it refer to."""
    outermost = table.get_type() == "module"
    for symbol in table.get_symbols():
        if symbol.is_referenced() and (outermost or symbol.is_global()):
            yield symbol.get_name()
    for child in table.get_children():
        yield from _referenced_names(child)


def _assigned_names(body: list[ast.stmt]) -> set[str]:
    """Return the names of the outermost scope that statements may assign, also within functions."""
    tables = [_symbol_table(body)]
    found = set()
    while tables:
        table = tables.pop()
        outermost = table.get_type() == "module"
        tables += table.get_children()
        for symbol in table.get_symbols():
            assigned = symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace()
            if assigned and (outermost or symbol.is_declared_global()):
                found.add(symbol.get_name())
    return found


def _symbol_table(statements: list[ast.stmt]) -> symtable.SymbolTable:
    """Return the compiler's symbol table of statements."""
    module = ast.fix_missing_locations(ast.Module(statements, []))
    return symtable.symtable(ast.unparse(module), "<cell>", "exec")


CODE_MAGICS = ("time", "timeit", "prun", "memit", "mprun", "lprun")  # magics whose argument is code
MAGIC_OPTIONS = re.compile(r"^(?:-\w+(?:\s+\d+)?\s+)+")
# The commands of ``%scaler`` whose argument is an expression, and their options, each of which has a value.
SUBMITS = re.compile(r"""\s*(?:submit|map)\s+(?:--[\w-]+(?:=|\s+)(?:'[^']*'|"[^"]*"|[^\s'"])+\s+)*(.*)""", re.DOTALL)
EXPANDED_BY_IPYTHON = re.compile(r"\$(\w+)|\{([^{}]*)\}")  # ``$name`` and ``{expression}``


def _names_in_magics(tree: ast.Module) -> tuple[Names, Names]:
    """Analyse the texts of magics and shell commands, which IPython has made calls of its shell.

    Parameters
    ----------
    tree
        The cell, as transformed by IPython.

    Returns
    -------
    tuple[Names, Names]
        The names that may be read, and those that may be assigned.
    """
    mentions = assigned = NO_NAMES
    for node in ast.walk(tree):
        match node:
            case ast.Call(ast.Attribute(ast.Call(ast.Name("get_ipython")), method), arguments):
                texts = [a.value for a in arguments if isinstance(a, ast.Constant) and isinstance(a.value, str)]
                # IPython expands a cell magic's line alone: its body is for the magic.
                name, line = ([*texts, "", ""] if method.startswith("run_") else ["", *texts, ""])[:2]
                code = [part for found in EXPANDED_BY_IPYTHON.findall(line) for part in found if part]
                if method == "run_line_magic" and name in CODE_MAGICS:
                    code.append(MAGIC_OPTIONS.sub("", line))
                elif method == "run_line_magic" and name == "scaler" and (found := SUBMITS.match(line)):
                    code += [found[1], re.sub(r"\s+", ", ", found[1], count=1)]  # ``map f xs`` is ``map f, xs``
                for usage in map(_analyse_text, code):
                    mentions |= frozenset(usage.reads)
                    assigned |= frozenset(usage.assigns)
    return mentions, assigned


def _analyse_text(code: str) -> NameUsage:
    """Analyse a text that may be Python."""
    try:
        return analyse_names(ast.parse(code))
    except (SyntaxError, ValueError):
        return NameUsage((), (), False)


def _is_from_import(node: ast.AST) -> bool:
    """Return whether a node is a ``from … import``."""
    return isinstance(node, ast.ImportFrom)


class _ScopeNormalizer(ast.NodeTransformer):
    """Rewrites statements to the same names in the same scopes, in a form that all symbol tables treat alike.

    ``async`` and ``await`` go, for they may stand in functions alone; comprehensions become generators, for from Python
    3.12 on the others are part of the scope around them (PEP 709).
    """

    def visit_ListComp(self, node: ast.ListComp | ast.SetComp) -> ast.AST:
        """Make a list or set comprehension a generator."""
        self.generic_visit(node)
        return ast.GeneratorExp(node.elt, node.generators)

    visit_SetComp = visit_ListComp

    def visit_DictComp(self, node: ast.DictComp) -> ast.AST:
        """Make a dictionary comprehension a generator of pairs."""
        self.generic_visit(node)
        return ast.GeneratorExp(ast.Tuple([node.key, node.value], ast.Load()), node.generators)

    def visit_Delete(self, node: ast.Delete) -> list[ast.stmt]:
        """Make the deletion of a name a read, too: the name must exist."""
        self.generic_visit(node)
        named = [ast.Expr(ast.Name(target.id, ast.Load())) for target in node.targets if isinstance(target, ast.Name)]
        return [*named, node]

    def visit_Await(self, node: ast.Await) -> ast.AST:
        """Leave out ``await``."""
        return self.visit(node.value)  # type: ignore[no-any-return]

    def visit_AsyncFor(self, node: ast.AsyncFor) -> ast.AST:
        """Make ``async for`` a plain loop."""
        self.generic_visit(node)
        return ast.For(node.target, node.iter, node.body, node.orelse)

    def visit_AsyncWith(self, node: ast.AsyncWith) -> ast.AST:
        """Make ``async with`` a plain ``with``."""
        self.generic_visit(node)
        return ast.With(node.items, node.body)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        """Make a coroutine function a plain one."""
        self.generic_visit(node)
        return ast.copy_location(ast.FunctionDef(**dict(ast.iter_fields(node))), node)

    def visit_comprehension(self, node: ast.comprehension) -> ast.AST:
        """Make ``async for`` in a comprehension a plain loop."""
        self.generic_visit(node)
        node.is_async = 0
        return node
