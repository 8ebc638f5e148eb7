"""What a notebook defines and displays, on a real cluster of OpenGRIS Scaler."""

from __future__ import annotations

from kernels import Kernel
from scaler_cluster import shared


def test_cells_classes_initializers_and_figures(own_kernel: Kernel) -> None:
    notebook, address = own_kernel, shared().address
    notebook.run(f"%load_ext scaler_notebook\n%scaler connect {address}\n%scaler config progress_after=20")
    notebook.run(f"from scaler_notebook import NotebookExecutor\nimport os\nADDRESS = {address!r}")

    notebook.run("base = 40\ndef more(x):\n    return x + base")
    notebook.run("%%scaler --out answer,where\nbase = 41\nanswer = more(1)\nwhere = os.getpid()")
    assert notebook.run("cell = _.result(30); (cell['answer'], cell['where'] != os.getpid())").text == "(42, True)"

    notebook.run(
        "import pickle\nMODEL = None\nclass Config:\n    lr = 0.1\n"
        "def prepare():\n    global MODEL\n    MODEL = 'loaded'\n"
        "def make():\n    return MODEL, Config(), pickle.loads(pickle.dumps(Config)) is Config\n"
        "ex = NotebookExecutor(ADDRESS, initializer=prepare)\nf = ex.submit(make); Config.lr = 0.01"
    )
    notebook.run("model, config, found = f.result(30)")
    assert notebook.run("(model, found, config.lr, type(config) is Config)").text == "('loaded', True, 0.01, True)"

    notebook.run("import matplotlib.pyplot as plt\ndef draw():\n    plt.plot([1]); plt.show()\n    plt.plot([2])")
    notebook.run("f = ex.submit(draw); f.result(60)")
    kinds = "['image/png', 'text/plain']"
    assert notebook.run("[sorted(shown.bundle) for shown in f.displays]").text == f"[{kinds}, {kinds}]"
