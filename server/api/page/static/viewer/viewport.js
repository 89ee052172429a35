// Where a picture stands in a stage: its scale, and the point of it at the middle. Pure arithmetic; knows no element.

/** A view in which the whole picture fits into the stage. `u` and `v` are the point at the middle, from 0 to 1. */
export const FITTED = { scale: null, u: 0.5, v: 0.5 };

const LARGEST = 32;
const fitScale = (stage, picture) => Math.min(stage.width / picture.width, stage.height / picture.height);

/** The scale of a view, the place of the picture's left upper corner in the stage, and whether it is larger than that. */
export function placed(view, stage, picture) {
  const scale = view.scale ?? fitScale(stage, picture);
  const [width, height] = [picture.width * scale, picture.height * scale];
  const x = stage.width / 2 - within(view.u, stage.width / width) * width;
  const y = stage.height / 2 - within(view.v, stage.height / height) * height;
  return { scale, x, y, width, height, larger: width > stage.width + 1 || height > stage.height + 1 };
}

/** The view at another scale, with the same point of the picture under a point of the stage. */
export function scaled(view, stage, picture, scale, point = { x: stage.width / 2, y: stage.height / 2 }) {
  const fit = fitScale(stage, picture);
  const smallest = Math.min(fit, 1);
  const next = Math.min(Math.max(scale, smallest), Math.max(LARGEST, fit));
  if (Math.abs(next / fit - 1) < 0.005) return FITTED;
  const before = placed(view, stage, picture);
  const after = (at, from, side, whole, middle) => (at - from) / side + (middle - at) / (whole * next);
  return {
    scale: next,
    u: after(point.x, before.x, before.width, picture.width, stage.width / 2),
    v: after(point.y, before.y, before.height, picture.height, stage.height / 2),
  };
}

/** The view after a drag by pixels of the stage. It ends at the edges of the picture. */
export function panned(view, stage, picture, right, down) {
  const { scale, width, height } = placed(view, stage, picture);
  const move = (at, by, side, room) => within(within(at, room / side) - by / side, room / side);
  return { scale: view.scale === null ? null : scale, u: move(view.u, right, width, stage.width), v: move(view.v, down, height, stage.height) };
}

/** The box in a picture of which another picture takes the whole, without a change of its aspect. */
export function contained(inner, outer) {
  const scale = fitScale(outer, inner);
  const [width, height] = [inner.width * scale, inner.height * scale];
  return { x: (outer.width - width) / 2, y: (outer.height - height) / 2, width, height };
}

/** A point at the middle such that no edge comes in. `room` is the share of the picture that the stage shows. */
const within = (at, room) => (room >= 1 ? 0.5 : Math.min(Math.max(at, room / 2), 1 - room / 2));
