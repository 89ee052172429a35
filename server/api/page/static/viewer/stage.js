// The stage: one picture, or two with a slider, beside each other, or as their difference. It zooms and moves them together.

import { h, replace } from "../dom.js";
import { t } from "../i18n.js";
import { FITTED, panned, placed, scaled } from "./viewport.js";

export const ZOOM_STEP = 1.25;
const WHEEL_STEP = 400; // pixels of a wheel that make the picture e times as large
const PINCH_STEP = 100; // the same for the wheel events that a touchpad sends for two fingers
const SPLIT_STEP = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10, Home: -100, End: 100 };

/**
 * A stage. `show(content)` puts pictures on it: `{mode, base, main, left, right, difference}`, of which `base` is the
 * size of the picture in pixels, and the others are layers of `layer`. `onView({percent, larger})` hears of each change.
 */
export function createStage({ onView }) {
  let view = FITTED;
  let content = null;
  let split = 50;
  const handle = h("button", { type: "button", class: "split", role: "slider", "aria-label": t("viewer.slider"), "aria-valuemin": 0, "aria-valuemax": 100 });
  const element = h("div", { class: "stage", tabindex: 0, role: "group", "aria-label": t("viewer.stage"), "aria-describedby": "stage-hint" });
  const hint = h("p", { id: "stage-hint", hidden: true }, t("viewer.hint"));

  const panes = () => [...element.querySelectorAll(".pane")];
  const room = () => panes()[0]?.getBoundingClientRect();
  const change = (next) => ((view = next), apply());

  const apply = () => {
    const space = content && room();
    if (!space?.width) return;
    const place = placed(view, space, content.base);
    for (const each of element.querySelectorAll(".layer")) {
      each.style.transform = `translate(${place.x}px, ${place.y}px) scale(${place.scale})`;
      each.classList.toggle("crisp", place.scale * devicePixelRatio >= 3);
    }
    element.classList.toggle("larger", place.larger);
    applySplit(place, space);
    onView({ percent: Math.round(place.scale * devicePixelRatio * 100), larger: place.larger });
  };
  /** The slider goes over the part of the picture that is in sight. */
  const sight = (place, space) => [Math.max(0, place.x), Math.min(space.width, place.x + place.width)];
  const applySplit = (place, space) => {
    if (content.mode !== "slider") return;
    const [from, to] = sight(place, space);
    const x = from + ((to - from) * split) / 100;
    element.querySelector(".clip").style.clipPath = `inset(0 ${space.width - x}px 0 0)`;
    handle.style.left = `${x}px`;
    handle.setAttribute("aria-valuenow", Math.round(split));
    handle.setAttribute("aria-valuetext", t("viewer.share", { percent: Math.round(split), name: content.left.name }));
  };
  const splitAt = (x) => {
    const space = room();
    const [from, to] = sight(placed(view, space, content.base), space);
    split = Math.min(100, Math.max(0, (100 * (x - space.left - from)) / (to - from)));
    apply();
  };

  const show = (next) => {
    const size = ({ base }) => `${base.width} ${base.height}`;
    if (!content || size(content) !== size(next)) view = FITTED;
    content = next;
    const tag = (layer, side) => h("span", { class: `tag ${side}` }, layer.name);
    const pane = (...children) => h("div", { class: "pane" }, children);
    element.dataset.mode = next.mode;
    const { left, right } = next;
    const shown = {
      single: () => [pane(onBase(next.main, next.base))],
      difference: () => [pane(onBase(next.difference, next.base))],
      slider: () => [pane(onBase(right, next.base), h("div", { class: "clip" }, onBase(left, next.base)), tag(left, "start"), tag(right, "end"), handle)],
      side: () => [pane(onBase(left, next.base), tag(left, "start")), pane(onBase(right, next.base), tag(right, "end"))],
    };
    replace(element, hint, shown[next.mode]());
    apply();
  };
  const clear = (...children) => {
    content = null;
    view = FITTED;
    replace(element, hint, children);
  };

  const zoom = (scale, point) => content && change(scaled(view, room(), content.base, scale, point));
  const scaleNow = () => (content ? placed(view, room(), content.base).scale : 1);
  const controls = {
    /** Larger or smaller by a factor, around a point of the stage. */
    zoomBy: (factor, point) => zoom(scaleNow() * factor, point),
    /** A pixel of the picture on each pixel of the screen. */
    actual: (point) => zoom(1 / devicePixelRatio, point),
    fit: () => change(FITTED),
    panBy: (right, down) => content && change(panned(view, room(), content.base, right, down)),
    isLarger: () => element.classList.contains("larger") && content !== null,
    isFitted: () => view.scale === null,
  };

  const pointIn = (event) => {
    const rects = panes().map((pane) => pane.getBoundingClientRect());
    const under = rects.find((rect) => event.clientX <= rect.right && event.clientY <= rect.bottom) ?? rects.at(-1);
    return { x: event.clientX - under.left, y: event.clientY - under.top };
  };
  followPointers(element, {
    ignore: (event) => !content || event.target === handle,
    drag: (event, right, down) => (content.mode === "slider" && !controls.isLarger() ? splitAt(event.clientX) : controls.panBy(right, down)),
    pinch: (event, factor) => controls.zoomBy(factor, pointIn(event)),
  });
  element.addEventListener("dblclick", (event) => content && event.target !== handle && (controls.isFitted() ? controls.actual(pointIn(event)) : controls.fit()));
  element.addEventListener(
    "wheel",
    (event) => {
      if (!content) return;
      event.preventDefault();
      const pixels = event.deltaY * (event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1);
      controls.zoomBy(Math.exp(-pixels / (event.ctrlKey ? PINCH_STEP : WHEEL_STEP)), pointIn(event));
    },
    { passive: false },
  );
  handle.addEventListener("pointerdown", (event) => handle.setPointerCapture(event.pointerId));
  handle.addEventListener("pointermove", (event) => handle.hasPointerCapture(event.pointerId) && splitAt(event.clientX));
  handle.addEventListener("keydown", (event) => {
    const step = SPLIT_STEP[event.key];
    if (step === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    split = Math.min(100, Math.max(0, split + step * (event.shiftKey ? 10 : 1)));
    apply();
  });
  const observer = new ResizeObserver(apply);
  observer.observe(element);
  return { element, show, clear, close: () => observer.disconnect(), ...controls };
}

/** A layer of a stage: what it shows, its name, and the box of the base that it fills. All of it, if no box is said. */
export const layer = (picture, name, box = null) => ({ picture, name, box });

function onBase({ picture, box }, base) {
  const { x, y, width, height } = box ?? { x: 0, y: 0, ...base };
  const pixels = (place) => `${place}px`;
  const shown = picture instanceof HTMLImageElement ? h("img", { src: picture.src, alt: picture.alt, draggable: "false" }) : picture;
  if (picture instanceof HTMLCanvasElement) Object.assign(picture, { role: "img", ariaLabel: t("viewer.difference") });
  Object.assign(shown.style, { left: pixels(x), top: pixels(y), width: pixels(width), height: pixels(height) });
  return h("div", { class: "layer", style: { width: pixels(base.width), height: pixels(base.height) } }, shown);
}

/** Follow one finger or the mouse with `drag(event, right, down)`, and two fingers with `pinch(event, factor)` besides. */
function followPointers(element, { ignore, drag, pinch }) {
  const points = new Map();
  const spread = () => {
    const [first, second] = [...points.values()];
    return Math.hypot(first.x - second.x, first.y - second.y);
  };
  element.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || ignore(event)) return;
    points.set(event.pointerId, { x: event.clientX, y: event.clientY });
    element.setPointerCapture(event.pointerId);
  });
  element.addEventListener("pointermove", (event) => {
    const last = points.get(event.pointerId);
    if (!last || ignore(event)) return;
    const before = points.size === 2 ? spread() : 0;
    points.set(event.pointerId, { x: event.clientX, y: event.clientY });
    drag(event, (event.clientX - last.x) / points.size, (event.clientY - last.y) / points.size);
    if (before > 0) pinch(event, spread() / before);
  });
  for (const name of ["pointerup", "pointercancel"]) element.addEventListener(name, (event) => points.delete(event.pointerId));
}
