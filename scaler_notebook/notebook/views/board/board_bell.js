/* The bell of a board: whoever rings it is told of the end of all of its tasks, wherever they look. */

import { button } from "../dom.js";
import { permission, tell } from "../page/notify.js";

/** @import { Channel } from "../messages.js" */

/** @type {WeakSet<Channel>} */
const wanted = new WeakSet(); // models, whose views are drawn again and again

/**
 * @param {Channel} model
 * @param {HTMLElement} root of the board
 */
export function makeBell(model, root) {
  const node = button("scaler-bell", "Tell me when all of them have ended, in this browser");
  node.textContent = "Notify me";
  const paint = () => node.setAttribute("aria-pressed", String(wanted.has(model)));
  node.onclick = () => {
    if (!wanted.delete(model)) {
      wanted.add(model);
      if (permission() === "default") Notification.requestPermission(); // without, there is the title of the page
    }
    paint();
  };
  paint();
  return {
    node,
    /**
     * @param {string} title
     * @param {string} words
     */
    ended(title, words) {
      if (wanted.delete(model)) tell(title, words, () => root);
      paint();
    },
  };
}
