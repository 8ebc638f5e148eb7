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
 * @property {string} amount how much is done, and the rate, in words
 * @property {string} left the time left in words; empty where nobody knows
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
 * @property {[from: number, to: number, frames: number][]} folds its lines that are libraries' frames
 * @property {string | null} result
 * @property {string | null} about type, shape and size of the result
 * @property {string | null} rich HTML, in place of the result's text
 * @property {Progress | null} progress
 * @property {NestedTask[]} nested tasks that it, or one of them, has submitted: those that matter most
 * @property {string | null} nested_words all of them in words, if there are any
 *
 * @typedef {object} NestedTask
 * @property {string} task_id
 * @property {string} call
 * @property {Kind} kind
 * @property {number} submitted_at
 * @property {number | null} started_at
 * @property {number | null} ended_at
 * @property {number} depth 0 for one that the row's task has submitted itself
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
 * @property {boolean} [keeps_output] can all of its output be asked for?
 *
 * @typedef {object} OutputMessage from the kernel to a card that has asked for it: what the task has written
 * @property {"output"} type
 * @property {string} view the one that has asked
 * @property {number} question that this answers, as the view has numbered it
 * @property {number} rewrites how often text that was kept has been cleared, or cut
 * @property {number} from the character with which it begins, of all that is kept
 * @property {string | null} text null if nothing holds the future any more
 *
 * @typedef {{type: "usage", text: string}} UsageMessage from the kernel to a card: what the running task uses
 * @typedef {{type: "where", text: string, at: number}} WhereMessage the same: where it was at that time
 * @typedef {{type: "lost"}} LostMessage from a board to the card in its pane: the kernel has ended
 * @typedef {{type: "answered"}} AnsweredMessage the same: a click on one of its buttons was answered
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
 * @typedef {{question: number, rewrites: number, from: number}} OutputQuestion `from`: of text with so many `rewrites`;
 *   of any other, all
 * @typedef {{type: "output", view: string} & OutputQuestion} AskForOutput what is kept of it, from a character on
 * @typedef {{type: "where"}} Where a click on Where is it now?
 * @typedef {Cancel | Retry | CancelEarlier | AskForOutput | Where} CardRequest
 *
 * @typedef {[done: number, total: number | null, amount: string, left: string, note: string]} ProgressTuple
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
 * @property {string} [title]
 * @property {number} [epoch] in a snapshot, as are the next two
 * @property {boolean} [newest_first] the order that a table begins with
 * @property {NestedMessage | null} [nested] rows of tasks that the board's tasks have submitted, if any have changed
 * @property {[from: number, to: number][]} [edges] a task, and one that needs its value
 *
 * @typedef {object} NestedMessage nested rows: which, and the same columns as those of rows
 * @property {number[]} numbers of their own
 * @property {(number | null)[][]} columns
 * @property {number[]} below the row of the board
 * @property {(number | null)[]} parent the nested row that has submitted it; null if the board's row has
 * @property {[number: number, count: number][]} omitted rows of the board, and how many more are below each
 *
 * @typedef {{type: "gap"}} Gap a message is missing
 * @typedef {{type: "cancel", rows: number[] | "all", force: boolean}} CancelRows
 * @typedef {{type: "retry", rows: number[] | "all"}} RetryRows
 * @typedef {{type: "open" | "close", row: number}} OpenOrClose whose details are wanted
 * @typedef {AskForOutput & {row: number}} AskForRowsOutput
 * @typedef {Gap | CancelRows | RetryRows | OpenOrClose | AskForRowsOutput} BoardRequest
 *
 * @typedef {object} EngineWorker one task process
 * @property {number} pid
 * @property {string} task the id of the task that it runs, or nothing
 * @property {string} call the task as a person reads it; empty for another client's
 * @property {number | null} started_at
 * @property {string} gpus that it has begun with
 * @property {number[]} cpu percent of a core, the newest sample last
 * @property {number[]} memory bytes
 *
 * @typedef {object} EngineGroup
 * @property {string} name
 * @property {number | null} cell the number of the cell that has submitted it
 * @property {Partial<Record<Kind, number>>} counts
 *
 * @typedef {object} EngineMessage from the kernel to the view of an executor
 * @property {"engine"} type
 * @property {number} seq
 * @property {number} now
 * @property {"not started" | "running" | "paused" | "lost" | "shut down"} state
 * @property {string} address
 * @property {boolean} can_pause
 * @property {number} slots
 * @property {string[]} gpus that tasks may be given
 * @property {number} queued
 * @property {EngineWorker[]} workers with their last samples; in a snapshot with all that are kept
 * @property {EngineGroup[]} groups
 * @property {string | null} answer to a click
 * @property {true} [whole] a snapshot
 *
 * @typedef {{type: "pause" | "resume" | "stop"}} EngineRequest
 *
 * @typedef {{title: string, words: string, place: string}} Notice the end of what a view shows
 *
 * @typedef {object} NoticesMessage from the kernel to the model of the notices
 * @property {"notices"} type
 * @property {number} seq
 * @property {number} now
 * @property {number} after seconds for which a view must have been shown; 0: no notices
 * @property {boolean} sound
 * @property {number} running tasks of all views
 * @property {string[]} places of the views that have them
 * @property {Notice[]} ended
 *
 * @typedef {AskForModule | Here | Ready | Left | CardRequest | BoardRequest | EngineRequest} Request anything that a
 *   view says
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
