"""What a notebook defines, in its tasks and back: one namespace for its functions, and its classes as they are."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kernels import Kernel
from shared_kernels import SharedKernel


@pytest.fixture
def notebook(shared_kernel: SharedKernel) -> Iterator[Kernel]:
    """A kernel with an executor of one task process, ``ex``."""
    with shared_kernel.lent() as kernel:
        kernel.run("from scaler_notebook import NotebookExecutor\nex = NotebookExecutor(n_workers=1)")
        yield kernel
        kernel.run("ex.shutdown()")


# ---------------------------------------------------------------- results leave the notebook's classes alone

CHANGES = {
    "an attribute": ("class C:\n    state = 1", "C.state = 2", "C.state", "2"),
    "a registry": (
        "class B:\n    known = []\n    def __init_subclass__(cls):\n        B.known.append(cls.__name__)\n"
        "class C(B): pass",
        "class D(B): pass",
        "B.known",
        "['C', 'D']",
    ),
    "a metaclass that counts": (
        "class M(type):\n    made = []\n    def __new__(meta, name, bases, names, flag):\n"
        "        meta.made.append(name)\n        return super().__new__(meta, name, bases, names)\n"
        "class C(metaclass=M, flag=1): pass",
        "class D(metaclass=M, flag=2): pass",
        "M.made",
        "['C', 'D']",
    ),
    "a patched method": (
        "class C:\n    def name(self):\n        return 'old'",
        "C.name = lambda self: 'new'",
        "C().name() + old[0].name()",
        "'newnew'",
    ),
    "a counter": (
        "class C:\n    made = 0\n    def __init__(self):\n        type(self).made += 1",
        "C(); C()",
        "C.made",
        "2",
    ),
    "an attribute that is deleted": ("class C:\n    state = 1", "del C.state", "hasattr(C, 'state')", "False"),
    "of a dataclass": (
        "from dataclasses import dataclass\n@dataclass\nclass C:\n    n: int = 0",
        "C.n = 5; C.more = 7",
        "(C.n, C.more)",
        "(5, 7)",
    ),
    "of an Enum": (
        "from enum import Enum\nclass Kind(Enum):\n    A = 1\nclass C:\n    kind = Kind.A",
        "Kind.A.seen = 3",
        "(Kind.A.seen, old[0].kind is Kind.A)",
        "(3, True)",
    ),
    "of an exception": ("class C(Exception):\n    hint = 'a'", "C.hint = 'b'", "(C.hint, old[0].hint)", "('b', 'b')"),
}


def test_a_result_leaves_the_class_as_it_is(notebook: Kernel) -> None:
    for change, (define, alter, look, expected) in CHANGES.items():
        notebook.run(f"{define}\ndef make():\n    return [C(), C]\nf = ex.submit(make); f.result(30)")
        notebook.run(f"g = ex.submit(make)\n{alter}\nold = g.result(30)")
        assert notebook.run("(old[1] is C, type(old[0]) is C)").text == "(True, True)", change
        assert notebook.run(look).text == expected, change


def test_a_registry_is_in_the_task_what_it_is_here(notebook: Kernel) -> None:
    for define in (
        CHANGES["a registry"][0] + "\ndef use():\n    return C, B.known",
        CHANGES["a metaclass that counts"][0] + "\ndef use():\n    return C, M.made",
    ):
        notebook.run(define)
        assert notebook.run("ex.submit(use).result(30)[1], use()[1]").text == "(['C'], ['C'])"


def test_what_a_task_puts_into_a_class_is_no_part_of_its_result(notebook: Kernel) -> None:
    """Else a lock or a connection in the class would keep its objects in the task."""
    notebook.run(
        "import threading\nclass C(Exception):\n    lock = None\n    def __init__(self, x):\n        self.x = x\n"
        "def make(raises):\n    C.lock = threading.Lock()\n    if raises:\n        raise C(2)\n    return C(1)\n"
        "f = ex.submit(make, False)"
    )
    assert notebook.run("(type(f.result(30)) is C, f.result().x, C.lock)").text == "(True, 1, None)"
    assert (
        notebook.run("e = ex.submit(make, True).exception(30); (type(e) is C, e.x, C.lock)").text == "(True, 2, None)"
    )
    assert (
        notebook.run("ex.submit(lambda c: (type(c).__name__, c.x, type(c).lock), f).result(30)").text
        == "('C', 1, None)"
    )
    notebook.run(
        "def nested():\n    C.lock = 'set'\n    with NotebookExecutor(n_workers=1) as inner:\n"
        "        return inner.submit(lambda: C.lock).result(30)"
    )
    assert notebook.run("ex.submit(nested).result(60)").text == "'set'", "what a task submits has the task's state"


def test_a_library_hears_of_a_class_once(notebook: Kernel) -> None:
    notebook.run(
        "import sys, tempfile, pathlib\ndirectory = tempfile.TemporaryDirectory(); sys.path.append(directory.name)\n"
        "text = 'heard = []\\nclass Base:\\n    def __init_subclass__(cls):\\n        heard.append(cls.__name__)\\n'\n"
        "_ = pathlib.Path(directory.name, 'a_library.py').write_text(text)\n"
        "import a_library\nclass C(a_library.Base): pass\ndef make():\n    return C()"
    )
    notebook.run("results = [ex.submit(make).result(30) for _ in range(3)]")
    assert notebook.run("a_library.heard").text == "['C']"
    notebook.run("sys.path.remove(directory.name); directory.cleanup()")


def test_an_old_result_is_of_the_old_class(notebook: Kernel) -> None:
    define = "class C:\n    state = {}\ndef make():\n    return C()"
    notebook.run(f"{define.format(1)}\nold_class, f = C, ex.submit(make)")
    notebook.run(define.format(2))
    assert notebook.run("(type(f.result(30)) is old_class, f.result().state)").text == "(True, 1)"
    assert notebook.run("(type(ex.submit(make).result(30)) is C, ex.submit(make).result().state)").text == "(True, 2)"


def test_a_task_has_the_class_as_it_was_at_the_submit(notebook: Kernel) -> None:
    notebook.run(
        "class C:\n    a = 1\n    def here(self): return 'here'\n"
        "def look():\n    return {n: v for n, v in vars(C).items() if n in 'abc'}, hasattr(C, 'here')\n"
        "def spoil():\n    C.a, C.c = 'spoiled', 'left'\n"
    )
    assert notebook.run("ex.submit(look).result(30)").text == "({'a': 1}, True)"
    notebook.run("C.a = 2; C.b = 3; del C.here; ex.submit(spoil).result(30)")
    assert notebook.run("ex.submit(look).result(30)").text == "({'a': 2, 'b': 3}, False)"
    notebook.run("f = ex.submit(look); C.a = 9; del C.b")
    assert notebook.run("f.result(30)").text == "({'a': 2, 'b': 3}, False)"
    assert notebook.run("ex.submit(look).result(30)").text == "({'a': 9}, False)"


def test_what_was_sent_before_does_not_take_the_class_back(notebook: Kernel) -> None:
    notebook.run(
        "class C:\n    a = 1\nsent = ex.send_object([C()])\nC.a = 2\n"
        "def both(objects):\n    return C.a, objects[0].a\ndef alone(objects):\n    return objects[0].a\n"
        "def late(objects, c):\n    return c.a, objects[0].a\n"
    )
    assert notebook.run("ex.submit(late, sent, C()).result(30)").text == "(2, 2)"
    assert notebook.run("ex.submit(both, sent).result(30)").text == "(2, 2)"
    assert notebook.run("ex.submit(alone, sent).result(30)").text == "1"
    assert notebook.run("C.a").text == "2"


# ---------------------------------------------------------------- what an initializer binds

INITIALIZERS = {
    "a name that the notebook has not": ("def prepare():\n    global MODEL\n    MODEL = 'loaded'", "MODEL"),
    "a placeholder": ("MODEL = None\ndef prepare():\n    global MODEL\n    MODEL = 'loaded'", "MODEL"),
    "by another function": (
        "MODEL = None\ndef load():\n    global MODEL\n    MODEL = 'loaded'\ndef prepare():\n    load()",
        "MODEL",
    ),
    "an import": (
        "def prepare():\n    global fractions\n    import fractions",
        "fractions.__name__.replace('fractions', 'loaded')",
    ),
    "a dict that is filled": ("MODELS = {}\ndef prepare():\n    MODELS['a'] = 'loaded'", "MODELS['a']"),
    "a list that is filled": ("MODELS = []\ndef prepare():\n    MODELS.append('loaded')", "MODELS[0]"),
    "a defaultdict that is filled": (
        "from collections import defaultdict\nMODELS = defaultdict(dict)\ndef prepare():\n    MODELS['a'] = 'loaded'",
        "MODELS['a']",
    ),
    "an attribute of an object": (
        "from types import SimpleNamespace\nMODELS = SimpleNamespace(a=None)\ndef prepare():\n    MODELS.a = 'loaded'",
        "MODELS.a",
    ),
    "an attribute of a class": (
        "class MODELS:\n    a = None\ndef prepare():\n    MODELS.a = 'loaded'",
        "MODELS.a",
    ),
    "a function": ("def prepare():\n    global model\n    model = lambda: 'loaded'", "model()"),
    "by globals()": ("def prepare():\n    globals()['MODEL'] = 'loaded'", "MODEL"),
}


def test_what_an_initializer_binds_is_there_in_the_tasks(notebook: Kernel) -> None:
    for initializer, (define, expression) in INITIALIZERS.items():
        notebook.run(
            f"MODEL = MODELS = 'of another case'\ndel MODEL, MODELS\n{define}\n"
            f"def predict(x):\n    return {expression}, x\n"
            "own = NotebookExecutor(ex.address, initializer=prepare)"
        )
        found = notebook.run("list(own.map(predict, range(2)))")
        assert found.text == "[('loaded', 0), ('loaded', 1)]", (initializer, found.error)
        notebook.run("scale = 2\ndef scaled(x):\n    return scale * x")
        assert notebook.run("own.submit(scaled, 1).result(30)").text == "2", initializer
        notebook.run("scale = 3")
        assert notebook.run("own.submit(scaled, 1).result(30)").text == "3", "what it did not bind is the notebook's"
        notebook.run("own.shutdown()")


# ---------------------------------------------------------------- a task's __main__

DEFINITIONS = (
    "import pickle, multiprocessing\nfrom dataclasses import dataclass\nfrom enum import Enum\n"
    "@dataclass\nclass Point:\n    x: int\n    class Inner:\n        pass\nclass Kind(Enum):\n    A = 1\n"
    "def double(point):\n    return Point(2 * point.x)\n"
    "def double_by_pool():\n    with multiprocessing.get_context('fork').Pool(1) as pool:\n"
    "        doubled = pool.map(double, [Point(1)])\n        pool.close(); pool.join()\n    return doubled\n"
)
IN_A_TASK = {
    "pickle": "pickle.loads(pickle.dumps(Point(1))) == Point(1)",
    "pickle a nested class": "type(pickle.loads(pickle.dumps(Point.Inner()))) is Point.Inner",
    "pickle an Enum": "pickle.loads(pickle.dumps(Kind.A)) is Kind.A",
    "pickle a function": "pickle.loads(pickle.dumps(double)) is double",
    "a pool": "double_by_pool() == [Point(2)]",
    "the module": "__import__('__main__').Point is Point and Point.__module__ == '__main__'",
}


def test_what_came_by_value_is_found_in_the_tasks_main(notebook: Kernel) -> None:
    notebook.run(DEFINITIONS)
    for way, expression in IN_A_TASK.items():
        notebook.run(f"def use():\n    return {expression}")
        assert notebook.run("use(), ex.submit(use).result(30)").text == "(True, True)", way


def test_a_file_that_one_writes_the_other_reads(notebook: Kernel) -> None:
    notebook.run(
        f"{DEFINITIONS}import tempfile, os\nfrom pathlib import Path\n"
        "def write(path):\n    Path(path).write_bytes(pickle.dumps([Point(1), Kind.A]))\n"
        "def read(path):\n    return pickle.loads(Path(path).read_bytes()) == [Point(1), Kind.A]\n"
        "directory = tempfile.TemporaryDirectory(); a, b = (os.path.join(directory.name, n) for n in 'ab')"
    )
    notebook.run("ex.submit(write, a).result(30); write(b)")
    assert notebook.run("(read(a), ex.submit(read, b).result(30))").text == "(True, True)"
    notebook.run("directory.cleanup()")


# ---------------------------------------------------------------- what is the kernel's own

OWN = {
    "get_ipython()": ("def use():\n    return type(get_ipython()).__name__", "'TaskShell'"),
    "a variable that is the shell": ("sh = get_ipython()\ndef use():\n    return 'use' in sh.user_ns", "True"),
    "a command": ("def use():\n    found = !echo there\n    return list(found)", "['there']"),
    "a magic": ("def use():\n    %cd -q /\n    return get_ipython().run_line_magic('pwd', '')", "'/'"),
    "a cell magic": (
        "def use():\n    return get_ipython().run_cell_magic('capture', 'out', 'print(1)') is None",
        "True",
    ),
    "a default stdout": (
        "import sys\ndef use(file=sys.stdout):\n    print('to', file=file)\n    return file is sys.stdout",
        "True",
    ),
    "a stderr that is bound": (
        "import functools, sys\nsay = functools.partial(print, file=sys.stderr)\n"
        "def use():\n    say('to')\n    return 1",
        "1",
    ),
    "a stdin": ("import sys\ndef use(file=sys.stdin):\n    return file is sys.stdin", "True"),
    "an attribute that is a stream": (
        "import sys\nclass Log:\n    def __init__(self):\n        self.out = sys.stdout\nlog = Log()\n"
        "def use():\n    log.out.write('to')\n    return 1",
        "1",
    ),
}


def test_what_is_the_kernels_own_is_the_tasks_own_there(notebook: Kernel) -> None:
    for what, (define, expected) in OWN.items():
        assert notebook.run(define).error == "", what
        found = notebook.run("f = ex.submit(use); f.result(30)")
        assert found.text == expected, (what, found.error)
        if "'to'" in define:
            assert notebook.run("f.logs.stdout + f.logs.stderr").text in ("'to'", r"'to\n'"), what


def test_exit_ends_the_task(notebook: Kernel) -> None:
    for leave in ["exit()", "quit()", "exit(3)"]:
        notebook.run(f"def use():\n    {leave}")
        assert notebook.run("type(ex.submit(use).exception(30)).__name__").text == "'SystemExit'", leave


def test_functions_have_their_lines_with_them(notebook: Kernel) -> None:
    notebook.run(
        "import inspect, warnings\ndef use():\n    def inner():\n        return 1\n    warnings.warn('careful')\n"
        "    return inspect.getsource(use), inspect.getsource(inner), use.__code__.co_filename"
    )
    assert notebook.run("f = ex.submit(use); f.result(30) == use()").text.splitlines()[-1] == "True"
    assert notebook.run("f.logs.stderr.splitlines()[1:]").text == "[\"  warnings.warn('careful')\"]"
