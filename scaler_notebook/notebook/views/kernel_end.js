/* The end of a kernel: how views learn of it, and what they say. One rule for cards and boards. */

/** @import { Channel } from "./messages.js" */

export const KERNEL_ENDED = "the kernel has ended, and its tasks with it";

const GONE = ["restarting", "autorestarting", "terminating", "dead"];

/**
 * Calls `ended` once the kernel restarts, dies or is shut down, where the front end tells; gives how to stop.
 *
 * @param {Channel} model
 * @param {() => void} ended
 */
export function whenKernelEnds(model, ended) {
  const kernel = model.widget_manager?.kernel;
  const look = (/** @type {unknown} */ _, /** @type {string} */ status) => {
    if (GONE.includes(status)) ended();
  };
  const disposed = () => ended();
  kernel?.statusChanged?.connect(look);
  kernel?.disposed?.connect(disposed);
  return () => {
    kernel?.statusChanged?.disconnect(look);
    kernel?.disposed?.disconnect(disposed);
  };
}
