"""What a task displays and raises, as a notebook shows it."""

from __future__ import annotations

import re

from shared_kernels import SharedKernel


def test_functions_of_a_notebook_display_as_they_do_there(shared_kernel: SharedKernel) -> None:
    with shared_kernel.lent() as notebook:
        notebook.run(
            "from scaler_notebook import NotebookExecutor\nex = NotebookExecutor(n_workers=1)\n"
            "import pandas as pd\nimport matplotlib.pyplot as plt\n"
            "def report():\n"
            "    print('text')\n"
            "    display(pd.DataFrame({'a': [1]}))\n"
            "    plt.plot([1, 2])\n"
        )
        executed = notebook.run(
            "f = ex.submit(report); f.result(30)\n"
            "print([p[1] if isinstance(p, tuple) else sorted(p.bundle) for p in f.outputs()])\n"
        )
    assert executed.text == "['text\\n', ['text/html', 'text/plain'], ['image/png', 'text/plain']]\n"


def test_how_a_failure_reads_in_a_notebook(shared_kernel: SharedKernel) -> None:
    with shared_kernel.lent() as notebook:
        notebook.run(
            "from scaler_notebook import NotebookExecutor\nex = NotebookExecutor(n_workers=1)\n"
            "def step(x):\n    return x / 0\n"
            "def fit(x):\n    try:\n        step(x)\n"
            "    except ZeroDivisionError as error:\n        raise ValueError('bad fit') from error\n"
        )
        notebook.run("f = ex.submit(fit, 1)")
        request = notebook.submit("def look():\n    return f.result()\nlook()")
        message = notebook.until(lambda message: message["msg_type"] == "error")
        notebook.finish(request)
        executed = notebook.run(
            "import sys; from IPython.core.debugger import Pdb; import io; out = io.StringIO()\n"
            "debugger = Pdb(stdin=io.StringIO('where\\nquit\\n'), stdout=out); debugger.reset()\n"
            "debugger.interaction(None, sys.last_traceback); print(out.getvalue())"
        )
    text = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(message["content"]["traceback"]))
    order = [
        "ZeroDivisionError",
        "in fit",
        "step(x)",
        "in step",
        "return x / 0",
        "The above exception was the direct cause",
        "ValueError",
        "----> 3 look()",
        "in look",
        "----> 2     return f.result()",
        "<task ",
        "----> 1 fit(1)",
        "in fit",
        "raise ValueError('bad fit') from error",
        "ValueError: bad fit",
    ]
    rest = text
    for words in order:
        assert words in rest, f"{words!r} is missing, or not in its place, in:\n{text}"
        rest = rest.partition(words)[2]
    assert "scaler_notebook" not in text
    assert "\x1b[" in "".join(message["content"]["traceback"])
    debugged = re.sub(r"\x1b\[[0-9;]*m", "", executed.text)
    assert "raise ValueError('bad fit') from error" in debugged
