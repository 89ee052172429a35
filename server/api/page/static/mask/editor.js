// The dialog in which a mask is painted over the picture to start from: by mouse, touch, pen and keys.

import { placeOn } from "../canvas.js";
import { h, icon, replace, showDialog } from "../dom.js";
import { completeTask } from "../drafts.js";
import { field, numberInput } from "../form/controls.js";
import { number, t } from "../i18n.js";
import { ask } from "../messages.js";
import { loadPicture } from "../pictures.js";
import { getDraft, member, onDraft } from "../state.js";
import { createPainting } from "./painting.js";

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const LEAST_SIZE = 4;
const USUAL_SHARE = 1 / 10; // of the longer side
const LARGE_SHARE = 1 / 2;
const FAST = 8; // times as far with shift

/** Paint a mask on the draft's seed image, beginning with the one that it has. Returns it as a file, or null. */
export async function paintMask() {
  const [seed, mask] = [member("inputs.seedImage"), member("inputs.maskImage")];
  const [picture, earlier] = await Promise.all([loadPicture(seed, t("pictures.seed")), mask && loadPicture(mask)]);
  if (!picture.naturalWidth) throw new Error(t("mask.gone"));
  return new Promise((resolve) => openEditor(picture, earlier?.naturalWidth ? earlier : null, resolve));
}

function openEditor(picture, earlier, resolve) {
  const { naturalWidth: width, naturalHeight: height } = picture;
  const painting = createPainting(width, height, earlier);
  const longer = Math.max(width, height);
  let erase = false;
  let at = [width / 2, height / 2]; // of the brush, in pixels of the picture
  let stroke = null;
  let box = null; // around the marks
  const size = h("input", { type: "range", min: LEAST_SIZE, max: Math.round(longer * LARGE_SHARE), value: Math.max(LEAST_SIZE, Math.round(longer * USUAL_SHARE)), "aria-label": t("mask.size") });
  const ring = h("div", { class: "ring", hidden: true });
  const reach = h("div", { class: "reach", hidden: true });
  const stage = h("div", { class: "mask-stage", style: { "--width": width, "--height": height }, role: "application", tabindex: 0, "aria-label": t("mask.stage"), "aria-describedby": "mask-keys" }, picture, painting.canvas, reach, ring);
  const status = h("output", { class: "muted small" });
  const tool = (label, pressed, action) => h("button", { type: "button", class: "chip", "aria-pressed": String(pressed), onclick: action }, label);
  const tools = h("div", { class: "row chips", role: "group", "aria-label": t("mask.tool") });
  const button = (label, name, action) => h("button", { type: "button", class: "chip", onclick: () => (action(), show()) }, name && icon(name), label);
  const undo = button(t("mask.undo"), "undo", painting.undo);
  const redo = button(t("mask.redo"), "redo", painting.redo);
  const margin = numberInput("maskMargin", { min: 32, max: 128 });
  const use = h("button", { class: "primary", value: "use" }, t("mask.use"));

  function choose(eraser) {
    erase = eraser;
    replace(tools, tool(t("mask.brush"), !erase, () => choose(false)), tool(t("mask.eraser"), erase, () => choose(true)));
  }

  /** What depends on the marks: how much changes, the part that is rendered, and what can be undone. */
  function show() {
    const { share, ...found } = painting.extent();
    box = found.box;
    status.textContent = box ? t("mask.share", { share: number(100 * share, share < 0.1 ? 1 : 0) }) : t("mask.empty");
    use.disabled = box === null;
    undo.disabled = !painting.canUndo();
    redo.disabled = !painting.canRedo();
    showMargin();
  }

  /** What depends on the draft besides. The margin counts in pixels of the result, which may be larger or smaller than the picture. */
  function showMargin() {
    margin.update(t("form.nothing"));
    const pixels = member("maskMargin");
    reach.hidden = box === null || pixels === undefined;
    if (reach.hidden) return;
    const task = completeTask(getDraft());
    const across = (pixels * width) / (task.width ?? width);
    const down = (pixels * height) / (task.height ?? height);
    const [left, top] = [Math.max(0, box.left - across), Math.max(0, box.top - down)];
    const [right, bottom] = [Math.min(width, box.right + across), Math.min(height, box.bottom + down)];
    placeOn(reach, [width, height], { left, top, width: right - left, height: bottom - top });
  }

  function moveTo(point) {
    at = [Math.min(width, Math.max(0, point[0])), Math.min(height, Math.max(0, point[1]))];
    ring.hidden = false;
    placeOn(ring, [width, height], { left: at[0], top: at[1], width: Number(size.value) });
  }

  const pointOf = ({ clientX, clientY }) => {
    const box = stage.getBoundingClientRect();
    return [((clientX - box.left) * width) / box.width, ((clientY - box.top) * height) / box.height];
  };
  const begin = () => (stroke = painting.begin(at, { size: Number(size.value), erase }));
  const end = () => {
    if (!stroke) return;
    stroke = null;
    show();
  };
  stage.addEventListener("pointerdown", (event) => {
    if (!event.isPrimary || event.button !== 0) return;
    event.preventDefault();
    stage.focus({ preventScroll: true });
    stage.setPointerCapture(event.pointerId);
    moveTo(pointOf(event));
    begin();
  });
  stage.addEventListener("pointermove", (event) => {
    if (!event.isPrimary) return;
    const moves = event.getCoalescedEvents?.() ?? [];
    // All are read before the first one moves the ring: each look at the stage after that would lay it out anew.
    for (const point of (moves.length ? moves : [event]).map(pointOf)) {
      moveTo(point);
      stroke?.paint(at);
    }
  });
  stage.addEventListener("lostpointercapture", end);
  stage.addEventListener("pointerleave", () => (ring.hidden = stage !== document.activeElement));
  stage.addEventListener("focus", () => moveTo(at));
  stage.addEventListener("blur", () => (end(), (ring.hidden = true)));
  stage.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const arrow = ARROWS[event.key];
    if (!arrow && event.key !== " ") return;
    event.preventDefault();
    if (event.key === " " && !stroke) begin();
    if (!arrow) return;
    const step = Math.max(1, Number(size.value) / 8) * (event.shiftKey ? FAST : 1);
    moveTo([at[0] + arrow[0] * step, at[1] + arrow[1] * step]);
    stroke?.paint(at);
  });
  stage.addEventListener("keyup", (event) => event.key === " " && end());
  size.addEventListener("input", () => moveTo(at));

  /** Esc and the back gesture may be a slip, so marks are not discarded without a question. */
  const leave = async (event) => {
    event.preventDefault();
    const discards = !painting.canUndo() || (await ask({ title: t("mask.discard"), text: t("mask.discardText"), action: t("mask.discardAction") }));
    if (discards) dialog.close("");
  };
  const shortcuts = (event) => {
    if (event.key === "Escape") leave(event);
    if (!(event.ctrlKey || event.metaKey) || event.target.matches("input[type=number]")) return;
    const key = event.key.toLowerCase();
    if (key !== "z" && key !== "y") return;
    event.preventDefault();
    if (key === "y" || event.shiftKey) painting.redo();
    else painting.undo();
    show();
  };
  const ended = async () => {
    stop();
    resolve(dialog.returnValue === "use" ? new File([await painting.toBlob()], t("mask.file"), { type: "image/png" }) : null);
  };
  const form = h(
    "form",
    { method: "dialog" },
    h("div", { class: "row" }, h("h2", { class: "grow", id: "mask-title" }, t("mask.title")), status),
    h("p", { class: "muted small", id: "mask-keys" }, t("mask.keys")),
    stage,
    h("div", { class: "row mask-tools" }, tools, h("label", { class: "row size" }, t("mask.size"), size), h("div", { class: "row chips" }, undo, redo, button(t("mask.invert"), null, painting.invert), button(t("mask.clear"), null, painting.clear))),
    h("div", { class: "row mask-end" }, field(t("pictures.margin"), margin.element), h("div", { class: "actions" }, h("button", { type: "button", onclick: () => dialog.close("") }, t("shell.cancel")), use)),
  );
  const dialog = h("dialog", { class: "mask", "aria-labelledby": "mask-title", onclose: ended, oncancel: leave, onkeydown: shortcuts }, form);
  const stop = onDraft(showMargin);
  choose(false);
  show();
  showDialog(dialog);
  stage.focus();
}
