// The pictures of a task: references, the picture to start from with its mask, and the sides to extend.

import { h, icon } from "../dom.js";
import { t } from "../i18n.js";
import { modelOf } from "../info.js";
import { paintMask } from "../mask/editor.js";
import { showError } from "../messages.js";
import { getDraft, member, setMember } from "../state.js";
import { field, fold, numberInput, slider } from "./controls.js";
import { outpaintEditor } from "./outpaint.js";
import { pictureSlots } from "./slots.js";

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
  const paint = h("button", { type: "button", onclick: () => paintMask().then((file) => file && mask.take([file])).catch(showError) }, icon("edit"), h("span", {}));
  const strength = slider("inputs.strength", { min: 0, max: 1, step: 0.01, label: t("pictures.strength") });
  const margin = numberInput("maskMargin", { min: 32, max: 128 });
  const outpaint = outpaintEditor();
  const more = h(
    "div",
    { class: "stack" },
    field(t("pictures.strength"), strength.element, { path: "inputs.strength", hint: t("pictures.strengthHint") }),
    h("div", { class: "stack tight" }, mask.element, h("div", {}, paint)),
    field(t("pictures.margin"), margin.element, { path: "maskMargin" }),
    outpaint.element,
  );
  const isUsed = () => member("inputs.seedImage") !== undefined;
  const part = fold(t("pictures.start"), isUsed, seed.element, more);
  const update = (draft) => {
    part.update();
    seed.update();
    mask.update();
    paint.lastElementChild.textContent = t(draft.inputs?.maskImage ? "mask.change" : "mask.open");
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
