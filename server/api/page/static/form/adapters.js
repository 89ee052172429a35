// LoRAs with their weights, and ControlNets with control images that are made on the spot.

import { sendTask } from "../api.js";
import { h, icon, keepFocus, replace } from "../dom.js";
import { t } from "../i18n.js";
import { getInfo, titleOf } from "../info.js";
import { showError } from "../messages.js";
import { remember } from "../pictures.js";
import { getDraft, setMember } from "../state.js";
import { fold } from "./controls.js";
import { pictureSlots } from "./slots.js";

/** The LoRAs of a task. */
export function loraSection() {
  const rows = rowList("lora", () => getInfo()?.loras ?? [], (row, place, change) => [
    weight(row, known("loras", row.model), `lora-${place}-weight`, change),
  ]);
  return adapterSection(t("adapters.loras"), "lora", rows);
}

/** The ControlNets of a task. */
export function controlNetSection() {
  const makers = new Map();
  const rows = rowList("controlNet", () => getInfo()?.controlnets ?? [], (row, place, change) => {
    if (!makers.has(place)) makers.set(place, guideMaker(place));
    const maker = makers.get(place);
    maker.update();
    const focus = `controlNet-${place}`;
    return [
      weight(row, known("controlnets", row.model), `${focus}-weight`, change),
      choice(t("adapters.mode"), row.controlMode ?? "balanced", ["balanced", "prompt", "controlnet"].map((one) => [one, t(`adapters.${one}`)]), (value) => change({ controlMode: value === "balanced" ? undefined : value }), `${focus}-mode`),
      number(t("adapters.from"), row.startStepPercentage, { fallback: 0, focus: `${focus}-from`, min: 0, max: 99 }, (value) => change({ startStepPercentage: value })),
      number(t("adapters.to"), row.endStepPercentage, { fallback: 100, focus: `${focus}-to`, min: 1, max: 100 }, (value) => change({ endStepPercentage: value })),
      maker.element,
    ];
  });
  return adapterSection(t("adapters.controlNets"), "controlNet", rows);
}

function adapterSection(title, member, rows) {
  const isUsed = () => (getDraft()[member] ?? []).length > 0;
  const part = fold(title, isUsed, rows.element);
  part.element.dataset.path = member;
  const update = () => {
    part.element.hidden = !rows.available() && !isUsed();
    part.update();
    rows.update();
  };
  return { element: part.element, update };
}

/** Rows over a list of the draft, each with a model of `offers()` and the controls of `controls(row, place, change)`. */
function rowList(member, offers, controls) {
  const list = h("div", { class: "stack" });
  const add = h("button", { type: "button", onclick: () => setMember(member, [...rows(), { model: offers()[0].air }]) }, icon("add"), t("adapters.add"));
  const element = h("div", { class: "stack" }, list, h("div", {}, add));
  const rows = () => getDraft()[member] ?? [];
  const row = (one, place) => {
    const change = (patch) => setMember(member, rows().map((other, index) => (index === place ? without({ ...other, ...patch }) : other)));
    const names = offers().map((offer) => [offer.air, titleOf(offer)]);
    const all = names.some(([air]) => air === one.model) ? names : [...names, [one.model, one.model]];
    return h(
      "div",
      { class: "adapter" },
      h("div", { class: "row" }, h("div", { class: "grow" }, choice(t("adapters.model"), one.model, all, (model) => change({ model }), `${member}-${place}-model`)), h("button", { type: "button", class: "quiet square", "aria-label": t("adapters.remove"), title: t("adapters.remove"), onclick: () => setMember(member, rows().filter((_, index) => index !== place)) }, icon("close"))),
      h("div", { class: "grid two" }, controls(one, place, change)),
    );
  };
  // What is typed in stays: a list is only built again when the draft has become another one.
  let shown = "";
  const update = () => {
    const text = JSON.stringify([rows(), offers().length]);
    add.disabled = offers().length === 0;
    if (text === shown) return;
    shown = text;
    keepFocus(list, () => replace(list, rows().map(row)));
  };
  return { element, update, available: () => offers().length > 0 };
}

/** A picture, and the control image that a preprocessor makes of it. */
function guideMaker(place) {
  const guide = () => getDraft().controlNet?.[place]?.guideImage;
  const setGuide = (uuid) => setMember("controlNet", getDraft().controlNet.map((row, index) => (index === place ? without({ ...row, guideImage: uuid }) : row)));
  const kinds = h("select", { "aria-label": t("adapters.kind") });
  const slots = pictureSlots({ label: t("adapters.guide"), get: () => [guide()].filter(Boolean), set: ([uuid]) => setGuide(uuid), most: () => 1 });
  const make = h("button", { type: "button", onclick: () => run().catch(showError) }, t("adapters.makeGuide"));
  const tools = h("div", { class: "row" }, h("div", { class: "grow" }, kinds), make);
  const element = h("div", { class: "wide stack tight" }, slots.element, tools);

  const run = async () => {
    make.disabled = true;
    try {
      const task = { taskType: "controlNetPreprocess", inputImage: guide(), preProcessorType: kinds.value, outputFormat: "PNG" };
      const [item] = await sendTask(task);
      setGuide(remember({ imageUUID: item.guideImageUUID, imageURL: item.guideImageURL }, kinds.value));
    } finally {
      make.disabled = false;
    }
  };
  const update = () => {
    const names = getInfo()?.preprocessors ?? [];
    if (kinds.childElementCount !== names.length) replace(kinds, names.map((name) => h("option", { value: name }, name)));
    tools.hidden = !guide();
    slots.update();
  };
  return { element, update };
}

const known = (list, model) => getInfo()?.[list].find((one) => one.air === model);

const weight = (row, model, focus, change) =>
  number(t("adapters.weight"), row.weight, { fallback: model?.weight ?? 1, focus, min: -4, max: 4, step: 0.05 }, (value) => change({ weight: value }));

/** A number of a row. `set` gets undefined for an empty one, which shows what it then is. */
function number(label, value, { fallback, focus, ...bounds }, set) {
  const input = h("input", { type: "number", value: value ?? "", placeholder: String(fallback), dataset: { focus }, ...bounds });
  input.addEventListener("change", () => set(input.value === "" ? undefined : Number(input.value)));
  return h("label", {}, label, input);
}

function choice(label, value, options, set, focus) {
  const element = h("select", { dataset: { focus } }, options.map(([one, name]) => h("option", { value: one, selected: one === value }, name)));
  element.addEventListener("change", () => set(element.value));
  return h("label", {}, label, element);
}

const without = (row) => Object.fromEntries(Object.entries(row).filter(([, value]) => value !== undefined));

