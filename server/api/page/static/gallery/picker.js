// A dialog with the pictures of the gallery, of which one is chosen.

import { h, iconButton, showDialog } from "../dom.js";
import { t } from "../i18n.js";
import { imageFilters } from "./filters.js";
import { imageGrid, tilePicture } from "./grid.js";

/** Let the user choose a picture. Returns it as the server lists it, or null. */
export function pickImage() {
  return new Promise((resolve) => {
    let picked = null;
    const scroll = h("div", { class: "scroll", tabindex: -1 });
    const tile = (image) => {
      const picture = tilePicture(image, image.prompt || t("gallery.noPrompt"));
      return h("li", { class: "tile" }, h("button", { type: "button", onclick: () => ((picked = image), dialog.close()) }, picture), h("p", { class: "prompt small", title: image.prompt }, image.prompt));
    };
    const grid = imageGrid({ tile, filter: {}, root: scroll });
    const filters = imageFilters({}, (changed) => grid.setFilter(changed));
    const close = iconButton("close", t("shell.cancel"), () => dialog.close());
    const ended = () => (filters.close(), grid.close(), resolve(picked));
    scroll.append(grid.element);
    const dialog = h("dialog", { class: "picker", "aria-labelledby": "picker-title", onclose: ended }, h("div", { class: "stack tight head" }, h("div", { class: "row" }, h("h2", { class: "grow", id: "picker-title" }, t("gallery.pickTitle")), close), filters.element), scroll);
    showDialog(dialog);
  });
}
