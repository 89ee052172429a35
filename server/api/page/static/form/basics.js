// The prompt, the model, the size, and how the picture is sampled.

import { h, icon, keepFocus, replace } from "../dom.js";
import { randomSeed } from "../drafts.js";
import { t } from "../i18n.js";
import { getInfo, modelOf, titleOf } from "../info.js";
import { getDraft, setMember } from "../state.js";
import { field, numberInput, select, textArea } from "./controls.js";

const MULTIPLE = 16;
const ASPECTS = ["1:1", "4:3", "3:4", "3:2", "2:3", "16:9", "9:16"];
const AREAS = [256 * 256, 512 * 512, 1024 * 1024, 1328 * 1328];
const MOST_SIDE = 2048;

/** The model and the two prompts. */
export function promptSection() {
  const model = select("model");
  const prompt = textArea("positivePrompt", { rows: 4 });
  const negative = textArea("negativePrompt");
  const comment = h("p", { class: "hint muted small" });
  const element = h(
    "div",
    { class: "stack" },
    h("div", {}, field(t("form.model"), model.element, { path: "model" }), comment),
    field(t("form.prompt"), prompt.element, { path: "positivePrompt" }),
    field(t("form.negative"), negative.element, { path: "negativePrompt" }),
  );
  const update = (draft) => {
    const chosen = modelOf(draft);
    model.update((getInfo()?.models ?? []).map((one) => [one.air, titleOf(one)]));
    if (chosen) model.element.value = chosen.air;
    comment.textContent = chosen?.embedded ? t("form.embedded") : "";
    prompt.update(t(chosen?.references[1] ? "form.editHint" : "form.promptHint"));
    negative.update(t("form.nothing"));
  };
  return { element, update };
}

/** The size, by aspect and area or by its sides. */
export function sizeSection() {
  const width = numberInput("width", { min: 128, max: MOST_SIDE, step: MULTIPLE });
  const height = numberInput("height", { min: 128, max: MOST_SIDE, step: MULTIPLE });
  const aspects = h("div", { class: "row chips", role: "group", "aria-label": t("form.aspect") });
  const area = h("select", { "aria-label": t("form.area"), onchange: () => choose(currentAspect() ?? "1:1") });
  const element = h(
    "fieldset",
    { class: "stack tight" },
    h("legend", { class: "label" }, t("form.size")),
    aspects,
    h("div", { class: "row sides" }, field(t("form.width"), width.element, { path: "width" }), h("span", { class: "times", "aria-hidden": "true" }, "×"), field(t("form.height"), height.element, { path: "height" }), field(t("form.area"), area)),
  );

  const sizeNow = () => {
    const draft = getDraft();
    const { width: w, height: tall } = modelOf(draft)?.defaults ?? {};
    return [draft.width ?? w, draft.height ?? tall];
  };
  const currentAspect = () => ASPECTS.find((one) => sameSize(sizeOf(one, nearestArea(sizeNow())), sizeNow()));
  const choose = (aspect) => {
    const [w, tall] = aspect ? sizeOf(aspect, Number(area.value) || nearestArea(sizeNow())) : [];
    setMember("width", w);
    setMember("height", tall);
  };
  const update = (draft) => {
    const model = modelOf(draft);
    const [w, tall] = sizeNow();
    const edits = (model?.references[1] ?? 0) > 0 || draft.outpaint !== undefined;
    const now = currentAspect();
    const chip = (text, pressed, onclick, shape) => h("button", { type: "button", class: "chip", "aria-pressed": String(pressed), dataset: { focus: text }, onclick }, shape, text);
    keepFocus(aspects, () =>
      replace(
        aspects,
        edits ? chip(t("form.asReference"), draft.width === undefined, () => choose(null)) : null,
        ASPECTS.map((one) => chip(one, one === now, () => choose(one), shapeOf(one))),
      ),
    );
    replace(area, AREAS.map((one) => h("option", { value: one }, `${Math.sqrt(one)}²`)));
    area.value = nearestArea([w ?? 1024, tall ?? 1024]);
    width.update(w ?? t("form.automatic"));
    height.update(tall ?? t("form.automatic"));
  };
  return { element, update };
}

/** Steps, guidance, seed and number. */
export function samplingSection(lastSeed) {
  const steps = numberInput("steps", { min: 1, max: 50 });
  const guidance = numberInput("CFGScale", { min: 1, max: 20, step: 0.1 });
  const seed = numberInput("seed", { min: 0 });
  const count = numberInput("numberResults", { min: 1, max: 20 });
  const lock = h("button", { type: "button", class: "square", onclick: () => setMember("seed", getDraft().seed === undefined ? (lastSeed() ?? randomSeed()) : undefined) });
  const seedField = field(t("form.seed"), seed.element, { path: "seed" });
  seedField.append(lock);
  const element = h(
    "div",
    { class: "grid four" },
    field(t("form.steps"), steps.element, { path: "steps" }),
    field(t("form.guidance"), guidance.element, { path: "CFGScale" }),
    h("div", { class: "seed" }, seedField),
    field(t("form.count"), count.element, { path: "numberResults" }),
  );
  const update = (draft) => {
    const defaults = scheduleOf(draft);
    const locked = draft.seed !== undefined;
    steps.update(defaults.steps);
    guidance.update(defaults.CFGScale);
    seed.update(t("form.random"));
    count.update(1);
    lock.setAttribute("aria-pressed", String(locked));
    lock.setAttribute("aria-label", t("form.lock"));
    lock.title = t("form.lock");
    replace(lock, icon(locked ? "lock" : "unlock"));
  };
  return { element, update };
}

/** The steps and the guidance that a draft takes if it says none: those of a distilled LoRA, else the model's. */
function scheduleOf(draft) {
  const named = (draft.lora ?? []).map(({ model }) => getInfo()?.loras.find((lora) => lora.air === model));
  const made = named.filter((lora) => lora);
  const defaults = modelOf(draft)?.defaults ?? {};
  const first = (name) => made.map((lora) => lora[name]).find((value) => value !== null) ?? defaults[name];
  return { steps: first("steps"), CFGScale: first("CFGScale") };
}

/** The sides of an aspect with about an area, in multiples of 16. */
function sizeOf(aspect, area) {
  const [across, up] = aspect.split(":").map(Number);
  const side = (length) => Math.min(MOST_SIDE, Math.round(length / MULTIPLE) * MULTIPLE);
  return [side(Math.sqrt((area * across) / up)), side(Math.sqrt((area * up) / across))];
}

const sameSize = ([w, tall], [other, other2]) => w === other && tall === other2;

const nearestArea = ([w, tall]) =>
  AREAS.reduce((best, area) => (Math.abs(Math.log((w * tall) / area)) < Math.abs(Math.log((w * tall) / best)) ? area : best), AREAS[2]);

function shapeOf(aspect) {
  const [across, up] = aspect.split(":").map(Number);
  const scale = 0.8 / Math.max(across, up);
  return h("span", { class: "shape", "aria-hidden": "true", style: { width: `${across * scale}rem`, height: `${up * scale}rem` } });
}
