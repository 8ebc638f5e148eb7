"""The static forms of an executor's view, as plain text and as HTML. Pure functions of its contents."""

import time
from html import escape

from scaler_notebook.client.submission.call_text import shorten
from scaler_notebook.notebook.views.board.static_html import counts_text
from scaler_notebook.notebook.views.static.static_html import CARD, MONO, MUTED
from scaler_notebook.notebook.views.static.terminal_text import TEXT_WIDTH, plain
from scaler_notebook.protocol import devices
from scaler_notebook.quantities import amount, format_bytes, thin_spaced
from scaler_notebook.wording import counted

from .contents import Contents, Group, Worker


def headline(contents: Contents) -> str:
    """Write what the engine does: ``an engine with 2 workers, running: 2 running, 10 queued``."""
    if contents["state"] in ("not started", "shut down", "lost"):
        return {
            "not started": "an engine that is not started; the first task starts it",
            "shut down": "an engine that is shut down",
            "lost": "an engine that was lost; the next task starts another",
        }[contents["state"]]
    if not contents["slots"]:
        return f"a cluster at {contents['address']}, {amount(contents['queued'])} of this client's tasks queued"
    running = sum(bool(worker["task"]) for worker in contents["workers"])
    workers = thin_spaced(counted(contents["slots"], "worker"))
    if contents["gpus"]:
        workers += f" and {thin_spaced(counted(len(contents['gpus']), 'GPU'))}"
    paused = ", paused" if contents["state"] == "paused" else ""
    memory = sum(worker["memory"][-1] for worker in contents["workers"] if worker["memory"])
    taken = f", {format_bytes(memory)}" if memory else ""
    return f"an engine with {workers}{paused}: {amount(running)} running, {amount(contents['queued'])} queued{taken}"


def text(described: str, contents: Contents) -> str:
    """Build the text/plain form.

    Parameters
    ----------
    described
        The executor's own ``repr``.
    contents
        The contents of the view.
    """
    lines = [described, f"  {headline(contents)}", *(f"  {_group_text(group)}" for group in contents["groups"])]
    return "\n".join(shorten(plain(line), TEXT_WIDTH) for line in lines)


def html(contents: Contents, *, remark: str = "", now: float | None = None) -> str:
    """Build the text/html form: the view as it stands, without script.

    Parameters
    ----------
    contents
        The contents of the view.
    remark
        A line at the end.
    now
        The present, in Unix seconds.
    """
    moment = time.strftime("%H:%M:%S", time.localtime(now))
    parts = [f'<div style="font-weight:600">{escape(headline(contents))}</div>']
    call = f"font:12px/20px {MONO};overflow-wrap:anywhere"
    parts += [
        f'<div style="{call}">process {worker["pid"]}{_on(worker)}: {escape(worker["call"])}</div>'
        for worker in contents["workers"]
        if worker["call"]
    ]
    parts += [f"<div>{escape(plain(_group_text(group)))}</div>" for group in contents["groups"]]
    below = "; ".join(filter(None, [f"as of {moment}", remark]))
    parts.append(f'<div style="{MUTED};line-height:18px">{escape(below)}</div>')
    return f'<div class="scaler-engine-static" style="{CARD}">' + "\n".join(parts) + "</div>"


def _group_text(group: Group) -> str:
    """Write one group: ``fit × 100 (cell 3): 60 done · 40 queued``."""
    cell = f" (cell {group['cell']})" if group["cell"] is not None else ""
    return f"{group['name']}{cell}: {counts_text(group['counts'])}"


def _on(worker: Worker) -> str:
    """Write which devices a process has begun with: `` on GPU 0``."""
    return f" on {escape(devices.shown(worker['gpus'].split(', ')))}" if worker["gpus"] else ""
