"""The cells of a notebook's file, as an agent names them: by their index."""

import json
from pathlib import Path

from .mistakes import AgentMistake

Cell = tuple[int, str]  # the index in the file, and the source


def cells_of(path: Path, index: int, earlier: bool) -> list[Cell]:
    """Read a code cell of a notebook's file, and those before it.

    Parameters
    ----------
    path
        The file.
    index
        Which cell, of all cells in the file, whatever their kind; the first is 0.
    earlier
        Whether the code cells before it are wanted, too.

    Returns
    -------
    list
        The cells, in their order; the wanted one is the last.

    Raises
    ------
    AgentMistake
        There is no such file, it is no notebook, or the cell has no code.
    """
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        sources = ["".join(cell["source"]) if cell["cell_type"] == "code" else None for cell in cells]
    except OSError as error:
        raise AgentMistake(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, LookupError, TypeError):
        raise AgentMistake(f"{path} is no notebook: a file .ipynb of nbformat 4 is one") from None
    if not 0 <= index < len(sources):
        raise AgentMistake(f"{path.name} has {len(sources)} cells: the index is 0 to {len(sources) - 1}, not {index}")
    if not (sources[index] or "").strip():
        code = [str(place) for place, source in enumerate(sources) if (source or "").strip()]
        raise AgentMistake(f"cell {index} of {path.name} has no code; these have: {', '.join(code) or 'none'}")
    first = 0 if earlier else index
    return [(place, source) for place, source in enumerate(sources[: index + 1]) if source and place >= first]
