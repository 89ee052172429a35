// A mask in the making: marks on a canvas of the picture's own size, with undo and redo. Marked is what changes.

import { readPixels } from "../canvas.js";
import { h } from "../dom.js";

const MARK = "rgb(0 215 255)"; // half transparent, and with an outline, it is seen on most pictures
const MARKED_ALPHA = 128; // edges are smooth on the screen; a mask has none but black and white

/** A painting of a size, upon an earlier mask if there is one: an image whose white parts are marked. */
export function createPainting(width, height, earlier = null) {
  const canvas = h("canvas", { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const base = earlier && marksOf(earlier, width, height);
  let done = []; // what has been done, in order
  let undone = [];

  const perform = {
    stroke({ points, size, erase }) {
      context.globalCompositeOperation = erase ? "destination-out" : "source-over";
      Object.assign(context, { lineCap: "round", lineJoin: "round", lineWidth: size, strokeStyle: MARK, fillStyle: MARK });
      context.beginPath();
      context.arc(...points[0], size / 2, 0, 2 * Math.PI);
      context.fill(); // a line without a length has no ends
      context.beginPath();
      for (const point of points) context.lineTo(...point);
      context.stroke();
    },
    clear: () => context.clearRect(0, 0, width, height),
    invert() {
      context.globalCompositeOperation = "source-out";
      context.fillStyle = MARK;
      context.fillRect(0, 0, width, height);
    },
  };

  function repaint() {
    context.clearRect(0, 0, width, height);
    context.globalCompositeOperation = "source-over";
    if (base) context.putImageData(base, 0, 0);
    for (const act of done) perform[act.kind](act);
  }

  function run(act) {
    done.push(act);
    undone = [];
    perform[act.kind](act);
  }

  repaint();
  return {
    canvas,
    /** Begin a stroke at a point. `paint(point)` of the result goes on with it. */
    begin(point, { size, erase }) {
      const act = { kind: "stroke", size, erase, points: [point] };
      run(act);
      return {
        paint(next) {
          perform.stroke({ ...act, points: [act.points.at(-1), next] });
          act.points.push(next);
        },
      };
    },
    clear: () => run({ kind: "clear" }),
    invert: () => run({ kind: "invert" }),
    canUndo: () => done.length > 0,
    canRedo: () => undone.length > 0,
    undo: () => move(() => done.length && undone.push(done.pop())),
    redo: () => move(() => undone.length && done.push(undone.pop())),
    /** The share of the picture that is marked, and the box around it: `{share, box}` with `box` null if nothing is. */
    extent: () => extentOf(context.getImageData(0, 0, width, height)),
    /** The mask of the API: white changes, black stays. */
    toBlob: () => new Promise((resolve) => blackAndWhite(context.getImageData(0, 0, width, height)).toBlob(resolve, "image/png")),
  };

  function move(change) {
    change();
    repaint();
  }
}

/** The marks that a mask of the API stands for. */
function marksOf(mask, width, height) {
  const pixels = readPixels(mask, { width, height });
  const { data } = pixels;
  const [red, green, blue] = MARK.match(/\d+/g).map(Number);
  for (let place = 0; place < data.length; place += 4) {
    const light = 0.299 * data[place] + 0.587 * data[place + 1] + 0.114 * data[place + 2];
    data.set([red, green, blue, light], place);
  }
  return pixels;
}

function extentOf({ data, width, height }) {
  let [left, top, right, bottom, count] = [width, height, -1, -1, 0];
  for (let y = 0, place = 3; y < height; y += 1) {
    for (let x = 0; x < width; x += 1, place += 4) {
      if (data[place] < MARKED_ALPHA) continue;
      count += 1;
      if (x < left) left = x;
      if (x > right) right = x;
      if (y < top) top = y;
      bottom = y;
    }
  }
  const box = count ? { left, top, right: right + 1, bottom: bottom + 1 } : null;
  return { share: count / (width * height), box };
}

function blackAndWhite(pixels) {
  const canvas = h("canvas", { width: pixels.width, height: pixels.height });
  const { data } = pixels;
  for (let place = 0; place < data.length; place += 4) {
    const light = data[place + 3] >= MARKED_ALPHA ? 255 : 0;
    data.set([light, light, light, 255], place);
  }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas;
}
