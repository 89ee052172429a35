// Pixels on canvases, and elements that lie upon a picture. Knows no view.

import { h } from "./dom.js";

const AXES = { left: 0, top: 1, width: 0, height: 1 };

/** The pixels of a picture in a box of a canvas of a size. Outside the box they are transparent. */
export function readPixels(picture, { width, height }, box = { x: 0, y: 0, width, height }) {
  const context = h("canvas", { width, height }).getContext("2d", { willReadFrequently: true });
  context.drawImage(picture, box.x, box.y, box.width, box.height);
  return context.getImageData(0, 0, width, height);
}

/** Place an element on a picture of `[width, height]` pixels, by a box with some of `left`, `top`, `width` and `height`. */
export function placeOn(element, size, box) {
  for (const [name, pixels] of Object.entries(box)) element.style[name] = `${(100 * pixels) / size[AXES[name]]}%`;
}
