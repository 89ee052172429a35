// How far the pixels of two pictures differ. Knows canvases; knows no view.

import { h } from "../dom.js";

/**
 * The absolute difference of two pictures in each channel, times `gain`, as a canvas; and its `largest` and its `mean`
 * in levels of 255 without the gain. Pixels that one of them does not have are left out, and transparent.
 */
export function differenceOf(one, other, gain) {
  const canvas = h("canvas", { width: one.width, height: one.height });
  const context = canvas.getContext("2d");
  const result = context.createImageData(one.width, one.height);
  let largest = 0;
  let sum = 0;
  let count = 0;
  for (let place = 0; place < one.data.length; place += 4) {
    if (one.data[place + 3] < 255 || other.data[place + 3] < 255) continue;
    for (let channel = place; channel < place + 3; channel += 1) {
      const level = Math.abs(one.data[channel] - other.data[channel]);
      if (level > largest) largest = level;
      sum += level;
      result.data[channel] = level * gain;
    }
    result.data[place + 3] = 255;
    count += 3;
  }
  context.putImageData(result, 0, 0);
  return { canvas, largest, mean: count ? sum / count : 0 };
}
