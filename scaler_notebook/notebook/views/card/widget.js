/* The module of a card's widget. */

import { coverPlaces } from "../page/cover.js";
import { render } from "./card.js";

/** @type {import("../messages.js").Widget} */
const widget = {
  initialize({ model }) {
    return coverPlaces(model, (el, shown) => render({ model, el }, shown));
  },
  render: ({ model, el }) => render({ model, el }),
};

export default widget;
