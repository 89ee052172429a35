// The pictures of a task: references, the picture to start from with its mask, and the sides to extend.

import { h, replace } from "../dom.js";
import { t } from "../i18n.js";
import { modelOf } from "../info.js";
import { sizeOf, thumbnail } from "../pictures.js";
import { getDraft, member, setMember } from "../state.js";
import { field, fold, numberInput, slider } from "./controls.js";
import { pictureSlots } from "./slots.js";

const SIDES = ["top", "right", "bottom", "left"];
const OPPOSITE = { top: "bottom", right: "left", bottom: "top", left: "right" };
const OUTWARDS = { top: "ArrowUp", right: "ArrowRight", bottom: "ArrowDown", left: "ArrowLeft" };
const MULTIPLE = 16;
const MOST_SIDE = 2048;

/** The references of an edit. Hidden where the model takes none. */
export function referenceSection() {
  const most = () => modelOf(getDraft())?.references[1] ?? 0;
  const slots = pictureSlots({
    label: t("pictures.references"),
    get: () => member("inputs.referenceImages") ?? [],
    set: (uuids) => setMember("inputs.referenceImages", uuids),
    most,
  });
  slots.element.dataset.path = "inputs.referenceImages";
  const update = (draft) => {
    slots.element.hidden = most() === 0 && !draft.inputs?.referenceImages;
    slots.update();
  };
  return { element: slots.element, update, take: slots.take };
}

/** The picture to start from, its mask, and what is added around it. */
export function seedImageSection() {
  const seed = pictureSlots({
    label: t("pictures.seed"),
    get: () => [member("inputs.seedImage")].filter(Boolean),
    set: ([uuid]) => setSeedImage(uuid),
    most: () => 1,
  });
  seed.element.dataset.path = "inputs.seedImage";
  const mask = pictureSlots({
    label: t("pictures.mask"),
    get: () => [member("inputs.maskImage")].filter(Boolean),
    set: ([uuid]) => setMember("inputs.maskImage", uuid),
    most: () => 1,
  });
  mask.element.dataset.path = "inputs.maskImage";
  const strength = slider("inputs.strength", { min: 0, max: 1, step: 0.01, label: t("pictures.strength") });
  const margin = numberInput("maskMargin", { min: 32, max: 128 });
  const outpaint = outpaintEditor();
  const more = h(
    "div",
    { class: "stack" },
    field(t("pictures.strength"), strength.element, { path: "inputs.strength", hint: t("pictures.strengthHint") }),
    mask.element,
    field(t("pictures.margin"), margin.element, { path: "maskMargin" }),
    outpaint.element,
  );
  const isUsed = () => member("inputs.seedImage") !== undefined;
  const part = fold(t("pictures.start"), isUsed, seed.element, more);
  const update = (draft) => {
    part.update();
    seed.update();
    mask.update();
    more.hidden = !isUsed();
    strength.update(draft.outpaint ? 1 : 0.8);
    margin.update(t("form.nothing"));
    outpaint.update(draft);
  };
  return { element: part.element, update };
}

/** A seed image takes its mask and its sides with it when it goes. */
function setSeedImage(uuid) {
  if (uuid === undefined) for (const path of ["inputs.maskImage", "inputs.strength", "maskMargin", "outpaint"]) setMember(path, undefined);
  setMember("inputs.seedImage", uuid);
}

/** The picture in a frame, whose sides are dragged outwards or moved with the arrow keys. */
function outpaintEditor() {
  let size = null;
  let shown = null;
  const image = h("div", { class: "outpaint-image" });
  const handles = Object.fromEntries(SIDES.map((side) => [side, handle(side)]));
  const frame = h("div", { class: "outpaint-frame" }, image, Object.values(handles));
  const numbers = Object.fromEntries(SIDES.map((side) => [side, numberInput(`outpaint.${side}`, { min: 0, max: MOST_SIDE, step: MULTIPLE })]));
  const blur = numberInput("outpaint.blur", { min: 0, max: 32 });
  const element = h(
    "details",
    { class: "fold sub", dataset: { path: "outpaint" } },
    h("summary", {}, t("outpaint.title")),
    h("div", { class: "stack inner" }, h("p", { class: "muted small" }, t("outpaint.hint")), frame, h("div", { class: "grid two" }, SIDES.map((side) => field(t(`outpaint.${side}`), numbers[side].element)), field(t("outpaint.blur"), blur.element))),
  );

  function handle(side) {
    const button = h("button", { type: "button", class: `handle ${side}`, role: "slider", "aria-label": t(`outpaint.${side}`), "aria-valuemin": 0, "aria-valuemax": MOST_SIDE });
    const outwards = side === "top" || side === "left" ? -1 : 1;
    const axis = side === "left" || side === "right" ? "clientX" : "clientY";
    button.addEventListener("pointerdown", (event) => {
      if (!size) return; // the picture has not come yet
      const from = event[axis];
      const before = member(`outpaint.${side}`) ?? 0;
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
      extend(side, (member(`outpaint.${side}`) ?? 0) + step * (event.shiftKey ? 4 : 1) * MULTIPLE);
    });
    return button;
  }

  /** The extended side is a multiple of 16, as the server needs it. */
  function extend(side, pixels) {
    const across = side === "left" || side === "right";
    const rest = size[across ? 0 : 1] + (member(`outpaint.${OPPOSITE[side]}`) ?? 0);
    const whole = Math.min(MOST_SIDE, Math.round((rest + Math.max(0, pixels)) / MULTIPLE) * MULTIPLE);
    setMember(`outpaint.${side}`, Math.max(0, whole - rest) || undefined);
    for (const name of ["width", "height"]) setMember(name, undefined);
  }

  const draw = (draft) => {
    const sides = Object.fromEntries(SIDES.map((side) => [side, draft.outpaint?.[side] ?? 0]));
    const [width, height] = size;
    const [whole, tall] = [width + sides.left + sides.right, height + sides.top + sides.bottom];
    frame.style.aspectRatio = `${whole} / ${tall}`;
    const percent = (part, of) => `${(100 * part) / of}%`;
    Object.assign(image.style, { left: percent(sides.left, whole), top: percent(sides.top, tall), width: percent(width, whole), height: percent(height, tall) });
    for (const side of SIDES) handles[side].setAttribute("aria-valuenow", sides[side]);
  };
  const update = async (draft) => {
    const uuid = draft.inputs?.seedImage;
    for (const side of SIDES) numbers[side].update(0);
    blur.update(0);
    if (draft.outpaint) element.open = true;
    if (uuid !== shown) {
      shown = uuid;
      size = null;
      replace(image, uuid ? thumbnail(uuid, "") : null);
      const found = uuid ? await sizeOf(uuid) : null;
      if (shown === uuid) size = found;
    }
    if (size) draw(getDraft());
  };
  return { element, update };
}
