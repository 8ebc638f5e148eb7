"""The cells of a notebook's file, as an agent names them: by their index."""

import json
import stat
from pathlib import Path

from .mistakes import AgentMistake

Cell = tuple[int, str]  # the index in the file, and the source


def file_at(path: str) -> Path:
    """Return the whole path of a file, whose home directory may be ``~``.

    Raises
    ------
    AgentMistake
        It is no path of a regular file; others, a pipe say, might never end.
    """
    try:
        file = Path(path).expanduser().absolute()
        mode = file.stat().st_mode
    except OSError as error:
        raise AgentMistake(f"{path} cannot be read: {error.strerror}") from None
    except (RuntimeError, ValueError) as error:  # a user whom nobody knows, a null character
        raise AgentMistake(f"{path!r} is no path: {error}") from None
    if not stat.S_ISREG(mode):
        raise AgentMistake(f"{path} is no notebook: a file .ipynb is wanted, and not a directory or a device")
    return file


def cells_of(path: Path, index: int, earlier: bool) -> list[Cell]:
    """Read a code cell of a notebook's file, and those before it.

    Parameters
    ----------
    path
        The file, from :func:`file_at`.
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
    except (ValueError, LookupError, TypeError, RecursionError):
        raise AgentMistake(f"{path} is no notebook: a file .ipynb of nbformat 4 is one") from None
    if type(index) is not int:  # True would be 1
        raise AgentMistake(f"the index of a cell is an integer, not {index!r}")
    if not sources:
        raise AgentMistake(f"{path.name} has no cells")
    if not 0 <= index < len(sources):
        raise AgentMistake(f"{path.name} has {len(sources)} cells: the index is 0 to {len(sources) - 1}, not {index}")
    if not (sources[index] or "").strip():
        code = [str(place) for place, source in enumerate(sources) if (source or "").strip()]
        raise AgentMistake(f"cell {index} of {path.name} has no code; these have: {', '.join(code) or 'none'}")
    first = 0 if earlier else index
    return [(place, source) for place, source in enumerate(sources[: index + 1]) if source and place >= first]
