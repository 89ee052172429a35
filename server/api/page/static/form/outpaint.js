// The sides that are added to the picture to start from: dragged, moved with the arrow keys, or as numbers.

import { placeOn } from "../canvas.js";
import { h, replace } from "../dom.js";
import { t } from "../i18n.js";
import { sizeOf, thumbnail } from "../pictures.js";
import { member, setMember } from "../state.js";
import { field, numberInput } from "./controls.js";

const SIDES = ["top", "right", "bottom", "left"];
const OPPOSITE = { top: "bottom", right: "left", bottom: "top", left: "right" };
const OUTWARDS = { top: "ArrowUp", right: "ArrowRight", bottom: "ArrowDown", left: "ArrowLeft" };
const MULTIPLE = 16; // of the extended picture's width and height
const MOST_SIDE = 2048;
const isAcross = (side) => side === "left" || side === "right";

/** The picture in a frame, whose sides are dragged outwards or moved with the arrow keys. */
export function outpaintEditor() {
  let size = null;
  let shown = null;
  const image = h("div", { class: "outpaint-image" });
  const handles = Object.fromEntries(SIDES.map((side) => [side, handle(side)]));
  const frame = h("div", { class: "outpaint-frame" }, image, Object.values(handles));
  const numbers = Object.fromEntries(SIDES.map((side) => [side, sideInput(side)]));
  const blur = numberInput("outpaint.blur", { min: 0, max: 32 });
  const reset = h("button", { type: "button", onclick: () => setMember("outpaint", undefined) }, t("outpaint.reset"));
  const fields = [...SIDES.map((side) => field(t(`outpaint.${side}`), numbers[side].element)), field(t("outpaint.blur"), blur.element), reset];
  const element = h(
    "details",
    { class: "fold sub", dataset: { path: "outpaint" } },
    h("summary", {}, t("outpaint.title")),
    h("div", { class: "stack inner" }, h("p", { class: "muted small" }, t("outpaint.hint")), frame, h("div", { class: "grid two sides-of-picture" }, fields)),
  );

  const added = (side) => member(`outpaint.${side}`) ?? 0;
  /** The extended picture's width or height without what is added on a side. */
  const rest = (side) => size[isAcross(side) ? 0 : 1] + added(OPPOSITE[side]);

  function handle(side) {
    const button = h("button", { type: "button", class: `handle ${side}`, role: "slider", "aria-label": t(`outpaint.${side}`), "aria-valuemin": 0, "aria-valuemax": MOST_SIDE });
    const outwards = side === "top" || side === "left" ? -1 : 1;
    const axis = isAcross(side) ? "clientX" : "clientY";
    button.addEventListener("pointerdown", (event) => {
      if (!size) return; // the picture has not come yet
      const from = event[axis];
      const before = added(side);
      const scale = size[0] / image.getBoundingClientRect().width;
      const drag = (move) => extend(side, before + (move[axis] - from) * outwards * scale);
      button.setPointerCapture(event.pointerId);
      button.addEventListener("pointermove", drag);
      button.addEventListener("lostpointercapture", () => button.removeEventListener("pointermove", drag), { once: true });
    });
    button.addEventListener("keydown", (event) => {
      const step = { [OUTWARDS[side]]: 1, [OUTWARDS[OPPOSITE[side]]]: -1 }[event.key];
      if (step === undefined || !size) return;
      event.preventDefault();
      extend(side, added(side) + step * (event.shiftKey ? 4 : 1) * MULTIPLE);
    });
    return button;
  }

  /** A number that the server would not take is moved to the nearest one that it takes. */
  function sideInput(side) {
    const input = numberInput(`outpaint.${side}`, { min: 0, max: MOST_SIDE, step: MULTIPLE });
    input.element.addEventListener("change", () => {
      if (!size || input.element.value === "") return;
      extend(side, Number(input.element.value));
      input.element.value = added(side) || "";
    });
    return input;
  }

  /** Add about so many pixels on a side. The server takes a width and a height that are multiples of 16. */
  function extend(side, pixels) {
    setSide(side, pixels);
    const other = isAcross(side) ? "bottom" : "right";
    const missing = (MULTIPLE - ((rest(other) + added(other)) % MULTIPLE)) % MULTIPLE;
    if (missing) setSide(other, added(other) + missing);
    for (const name of ["width", "height"]) setMember(name, undefined);
  }

  function setSide(side, pixels) {
    const whole = Math.min(MOST_SIDE, Math.round((rest(side) + Math.max(0, pixels)) / MULTIPLE) * MULTIPLE);
    const least = (MULTIPLE - (rest(side) % MULTIPLE)) % MULTIPLE;
    setMember(`outpaint.${side}`, Math.max(least, whole - rest(side)) || undefined);
  }

  const place = () => {
    const sides = Object.fromEntries(SIDES.map((side) => [side, added(side)]));
    const [width, height] = size;
    const [whole, tall] = [width + sides.left + sides.right, height + sides.top + sides.bottom];
    frame.style.aspectRatio = `${whole} / ${tall}`;
    placeOn(image, [whole, tall], { left: sides.left, top: sides.top, width, height });
    for (const side of SIDES) {
      handles[side].setAttribute("aria-valuenow", sides[side]);
      numbers[side].element.min = (MULTIPLE - (rest(side) % MULTIPLE)) % MULTIPLE; // the steps count from it
    }
  };
  const update = async (draft) => {
    const uuid = draft.inputs?.seedImage;
    for (const side of SIDES) numbers[side].update(0);
    blur.update(0);
    reset.hidden = draft.outpaint === undefined;
    if (draft.outpaint) element.open = true;
    if (uuid !== shown) {
      shown = uuid;
      size = null;
      replace(image, uuid ? thumbnail(uuid, "") : null);
      const found = uuid ? await sizeOf(uuid) : null;
      if (shown === uuid) size = found;
    }
    if (size) place();
  };
  return { element, update };
}
