/**
 * The messages that the kernel and its views exchange: types alone, which `tsc` checks and no browser loads.
 *
 * feed.py says when which is sent; card/feed.py and board/feed.py write and read the rest. Times named `now` and `…_at`
 * are Unix seconds of the kernel's clock.
 *
 * @typedef {"submitted" | "running" | "cancelling" | "finished" | "cancelled"} State
 * @typedef {"queued" | "running" | "cancelling" | "done" | "failed" | "cancelled" | "lost"} Kind a state as a person
 *   sees it; that a task was lost with its engine is told by the kernel, and with the kernel by the front end
 *
 * @typedef {object} Progress
 * @property {number} done
 * @property {number | null} total null if the task does not know
 * @property {string} note
 *
 * @typedef {object} Row one task; static_html.py has the same as a `TypedDict`
 * @property {string} task_id
 * @property {string} call
 * @property {State} state
 * @property {string} word what its badge says
 * @property {"success" | "failed" | "lost" | null} outcome
 * @property {string | null} reason why it was cancelled
 * @property {boolean} refused has it gone on after a cancel request?
 * @property {number} submitted_at
 * @property {number | null} started_at
 * @property {number | null} ended_at
 * @property {string} output
 * @property {boolean} output_truncated
 * @property {string | null} error
 * @property {string | null} origin where in the user's code
 * @property {string | null} traceback
 * @property {string | null} result
 * @property {string | null} about type, shape and size of the result
 * @property {string | null} rich HTML, in place of the result's text
 * @property {Progress | null} progress
 *
 * @typedef {Omit<Row, "rich"> & Partial<Pick<Row, "rich">>} RowUpdate `rich` is left out while it stays the same
 *
 * @typedef {object} EarlierRun tasks that an earlier run of the same cell left
 * @property {number} running
 * @property {boolean} refused
 *
 * @typedef {object} RowMessage from the kernel to a card: all there is to show
 * @property {"row"} type
 * @property {number} seq
 * @property {number} now
 * @property {RowUpdate} row
 * @property {string | null} note
 * @property {EarlierRun} [earlier]
 * @property {boolean} retry can it be submitted again?
 *
 * @typedef {{type: "lost"}} LostMessage from a board to the card in its pane: the kernel has ended
 *
 * @typedef {{type: "module"}} ModuleMessage from the kernel to a model whose page lacks its module; with one buffer,
 *   the JSON of `Packed` as gzip makes it
 * @typedef {{script: string, style: string}} Packed
 *
 * @typedef {{type: "module", page: string}} AskForModule
 * @typedef {{type: "here"}} Here a front end has the widget, shown or not
 * @typedef {{type: "ready", view: string}} Ready a view listens; said once more if nothing comes
 * @typedef {{type: "left", view: string}} Left a view is taken down
 * @typedef {{type: "cancel", force: boolean}} Cancel a click on Cancel or Kill
 * @typedef {{type: "retry"}} Retry a click on Retry
 * @typedef {{type: "cancel_earlier", force: boolean}} CancelEarlier the same for what an earlier run of the cell left
 * @typedef {Cancel | Retry | CancelEarlier} CardRequest
 *
 * @typedef {[done: number, total: number | null, note: string]} ProgressTuple
 * @typedef {[number: number, ...ProgressTuple]} NumberedProgress
 *
 * @typedef {object} Detail a row that is open
 * @property {number} number
 * @property {Row | null} row null if nothing holds its future
 * @property {string} trace
 *
 * @typedef {object} Answer to a click
 * @property {number} number one higher than that of the answer before
 * @property {string} text
 *
 * @typedef {object} RowsMessage from the kernel to a board: the rows that have changed, as columns
 * @property {"rows"} type
 * @property {number} seq
 * @property {number} now
 * @property {string[]} strings those that later columns mean by number, behind those sent before
 * @property {(number | null)[][]} columns in the order of COLUMNS in board_rows.js; times in milliseconds since `epoch`
 * @property {number[]} [numbers] whose columns these are; a snapshot has all
 * @property {NumberedProgress[]} progress
 * @property {Detail[]} details
 * @property {Answer | null} answer
 * @property {true} [whole] a snapshot: what was known is forgotten
 * @property {string} [title] in a snapshot, as are the next three
 * @property {number} [epoch]
 * @property {boolean} [newest_first] the order that a table begins with
 * @property {[from: number, to: number][]} [edges] a task, and one that needs its value
 *
 * @typedef {{type: "gap"}} Gap a message is missing
 * @typedef {{type: "cancel", rows: number[] | "all", force: boolean}} CancelRows
 * @typedef {{type: "retry", rows: number[] | "all"}} RetryRows
 * @typedef {{type: "open" | "close", row: number}} OpenOrClose whose details are wanted
 * @typedef {Gap | CancelRows | RetryRows | OpenOrClose} BoardRequest
 *
 * @typedef {AskForModule | Here | Ready | Left | CardRequest | BoardRequest} Request anything that a view says
 */

/**
 * What anywidget gives a view, as far as ours use it.
 *
 * @typedef {(message: unknown, buffers?: BlobPart[]) => void} Hear
 *
 * @typedef {object} Channel
 * @property {(content: Request) => void} send
 * @property {(event: "msg:custom", callback: Hear) => void} on
 * @property {(event: "msg:custom", callback: Hear) => void} off
 * @property {{kernel?: Kernel}} [widget_manager] JupyterLab's
 *
 * @typedef {object} Traits
 * @property {(name: string) => string} get
 *
 * @typedef {object} Signal JupyterLab's
 * @property {(slot: (sender: unknown, value: string) => void) => void} connect
 * @property {(slot: (sender: unknown, value: string) => void) => void} disconnect
 *
 * @typedef {{statusChanged?: Signal, disposed?: Signal}} Kernel JupyterLab's connection to it
 *
 * @typedef {{model: Channel & Traits}} ModelContext
 * @typedef {{model: Channel, el: HTMLElement}} ViewContext
 *
 * @typedef {object} Widget what a module of ours exports, or makes for each model
 * @property {(context: ModelContext) => () => void} [initialize]
 * @property {(context: ViewContext) => () => void} render
 */

export {};
