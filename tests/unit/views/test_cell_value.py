"""Which cells are going to show a group, told by their text."""

from __future__ import annotations

import pytest

from scaler_notebook.notebook.views.board.cell_value import is_group

SHOWN = {
    "a call": "ex.map_async(f, range(9))",
    "a name": "import math\ngroup = ex.map_async(f, range(9))\ngroup",
    "one of two names": "a = b = ex.map_async(f, range(9))\nn = 1\na",
    "a name with a type": "group: FutureGroup[int] = ex.map_async(f, range(9))\ngroup",
    "an assignment in an expression": "(group := ex.map_async(f, range(9)))",
    "a name that an expression has assigned": "(group := ex.map_async(f, range(9)))\nprint(1)\ngroup",
    "a name of a with block": "with NotebookExecutor() as ex:\n    group = ex.map_async(f, range(9))\ngroup",
    "what is displayed": "display(ex.map_async(f, range(9)))\nprint(1);",
    "a name that is displayed": "with ex:\n    group = ex.map_async(f, range(9))\n    display(group)\nprint(1)",
    "a magic": "get_ipython().run_line_magic('scaler', 'map fit, range(9)')",
    "a magic's value": "group = get_ipython().run_line_magic('scaler', 'map fit range(9)')\ngroup",
}
NOT_SHOWN = {
    "nothing": "",
    "an assignment": "group = ex.map_async(f, range(9))",
    "what a semicolon hides": "ex.map_async(f, range(9));",
    "what comes of it": "ex.map_async(f, range(9)).results()",
    "another name": "group = ex.map_async(f, range(9))\nother = 1\nother",
    "a name that means something else by then": "g = ex.map_async(f, range(9))\ng = g.results()\ng",
    "a name of an earlier cell": "ex.map_async(f, range(9))\ngroup",
    "one of two groups": "a = ex.map_async(f, range(9))\nex.map_async(g, range(9))",
    "a call within a function": "def start(): return ex.map_async(f, range(9))\nstart()",
    "no Python": "ex.map_async(f,",
    "another magic": "get_ipython().run_line_magic('scaler', 'submit fit(map_async)')",
    "what a branch assigns": "group = ex.map_async(f, range(9))\nif n:\n    group = None\ngroup",
    "a name that is displayed too early": "group = 1\ndisplay(group)\ngroup = ex.map_async(f, range(9))",
    "a display with an id": "display(ex.map_async(f, range(9)), display_id=True)",
    "the value of a with block": "with ex:\n    ex.map_async(f, range(9))",
}


@pytest.mark.parametrize("code", SHOWN.values(), ids=SHOWN)
def test_the_value_of_the_cell_is_the_group(code: str) -> None:
    assert is_group(code)


@pytest.mark.parametrize("code", NOT_SHOWN.values(), ids=NOT_SHOWN)
def test_the_value_of_the_cell_is_something_else_or_nobody_can_tell(code: str) -> None:
    assert not is_group(code)
