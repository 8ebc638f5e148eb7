/* The module of a card's widget. */

import { render } from "./card.js";

/** @type {import("../messages.js").Widget} */
const widget = { render };

export default widget;
