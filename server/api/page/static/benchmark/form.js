// The form of a benchmark: prompts, what all its tasks share, and the settings. It stands in this tab until it is closed.

import { CACHES, directionOf } from "../form/caches.js";
import { field } from "../form/controls.js";
import { h, replace } from "../dom.js";
import { duration, number, t } from "../i18n.js";
import { getInfo, modelOf, titleOf } from "../info.js";
import { estimatedSeconds, givenPrompts, readNumbers, settingsOf, tasksOf } from "./plan.js";
import { getRun } from "./runner.js";

const STORED = "ownware.benchmark.form";
const SMALL_SIDE = 256; // the demonstration model's own
const DEFAULTS = { given: [0, 1], own: "", seed: 1, rounds: 2, thresholds: { fbCache: "0.5, 0.25, 0.1", teaCache: "0.2, 0.35, 0.5", dbCache: "" }, fewer: "", run: "", start: "", end: "" };

/** The form. `begin(plan)` is called with a plan that is complete. */
export function planForm(begin) {
  let values = { ...DEFAULTS, ...JSON.parse(sessionStorage.getItem(STORED) ?? "{}") };
  const set = (changes) => {
    values = { ...values, ...changes };
    sessionStorage.setItem(STORED, JSON.stringify(values));
    update();
  };
  const model = h("select", { onchange: () => set({ model: model.value, width: undefined, height: undefined, steps: undefined, CFGScale: undefined }) });
  const given = h("div", { class: "stack tight" });
  const own = h("textarea", { rows: 2, maxlength: 32000, spellcheck: false, value: values.own, oninput: () => set({ own: own.value }) });
  const counts = Object.fromEntries(
    Object.entries({ width: [128, 2048, 16], height: [128, 2048, 16], steps: [1, 50, 1], CFGScale: [1, 20, 0.1], seed: [0, Number.MAX_SAFE_INTEGER, 1], rounds: [1, 9, 1] }).map(([name, [min, max, step]]) => [name, numberField(name, min, max, step)]),
  );
  function numberField(name, min, max, step) {
    const input = h("input", { type: "number", min, max, step });
    input.addEventListener("input", () => set({ [name]: input.value === "" ? undefined : Number(input.value) }));
    return input;
  }
  const list = (value, oninput) => h("input", { type: "text", inputmode: "decimal", value, oninput });
  const thresholds = Object.fromEntries(
    Object.keys(CACHES).map((name) => [name, list(values.thresholds[name], () => set({ thresholds: { ...values.thresholds, [name]: thresholds[name].value } }))]),
  );
  const directions = Object.fromEntries(Object.keys(CACHES).map((name) => [name, h("p", { class: "hint muted small" })]));
  const fewer = list(values.fewer, () => set({ fewer: fewer.value }));
  const options = Object.fromEntries(
    Object.entries({ run: [1, 5], start: [0, 99], end: [1, 100] }).map(([name, [min, max]]) => [name, h("input", { type: "number", min, max, step: 1, value: values[name], placeholder: name === "run" ? "3" : t("form.automatic"), oninput: () => set({ [name]: options[name].value }) })]),
  );
  const wrong = h("p", { class: "bad small" });
  const note = h("p", { class: "muted small" });
  const plan = h("p", { class: "plan" });
  const begins = h("button", { class: "primary", type: "submit" }, t("benchmark.start"));
  const element = h(
    "form",
    { class: "panel stack form", novalidate: true, "aria-label": t("nav.benchmark"), onsubmit: (event) => (event.preventDefault(), begins.disabled || begin(read().plan)) },
    h("h1", {}, t("nav.benchmark")),
    h("p", { class: "muted small" }, t("benchmark.about")),
    field(t("form.model"), model),
    h("fieldset", { class: "stack tight" }, h("legend", { class: "label" }, t("benchmark.prompts")), given),
    field(t("benchmark.own"), own, { hint: t("benchmark.ownHint") }),
    h("div", { class: "grid two" }, Object.entries(counts).map(([name, input]) => field(t(NAMES[name]), input, name === "rounds" ? { hint: t("benchmark.roundsHint") } : {}))),
    h("h2", {}, t("benchmark.settings")),
    Object.keys(CACHES).map((name) => h("div", {}, field(t("benchmark.thresholds", { cache: t(`caches.${name}`) }), thresholds[name], { hint: t(`caches.${name}Hint`) }), directions[name])),
    h(
      "div",
      { class: "grid two" },
      field(t("caches.run"), options.run, { hint: t("caches.runHint") }),
      field(t("caches.start"), options.start, { hint: t("caches.startHint") }),
      field(t("caches.end"), options.end, { hint: t("caches.endHint") }),
      field(t("benchmark.fewer"), fewer, { hint: t("benchmark.fewerHint") }),
    ),
    h("div", { class: "row run" }, h("div", { class: "grow stack tight" }, plan, wrong, note), begins),
  );

  /** The plan of the form, or what is wrong with it. */
  const read = () => {
    const chosen = modelOf({ model: model.value || undefined });
    if (!chosen) return {};
    const prompts = [...new Set([...givenPrompts(chosen).filter((_, place) => values.given.includes(place)), ...values.own.split("\n").map((one) => one.trim()).filter(Boolean)])];
    const side = chosen.embedded ? SMALL_SIDE : undefined;
    const fallbacks = { ...chosen.defaults, width: side ?? chosen.defaults.width, height: side ?? chosen.defaults.height, seed: DEFAULTS.seed, rounds: DEFAULTS.rounds };
    const get = (name) => values[name] ?? fallbacks[name];
    const steps = get("steps");
    const lists = Object.fromEntries(Object.keys(CACHES).map((name) => [name, readNumbers(values.thresholds[name], { min: 0, max: 1 })]));
    const stepList = readNumbers(values.fewer, { min: 1, max: steps - 1, whole: true });
    const given = Object.entries({ cacheMaxConsecutiveSteps: values.run, cacheStartStepPercentage: values.start, cacheEndStepPercentage: values.end }).filter(([, value]) => value !== "");
    const bad = [...Object.values(counts), ...Object.values(options)].some((input) => !input.validity.valid);
    const rest = { fallbacks, chosen };
    if (bad || Object.values(lists).includes(null)) return { ...rest, wrong: t(bad ? "benchmark.badNumber" : "benchmark.badThreshold") };
    if (!stepList) return { ...rest, wrong: t("benchmark.badSteps", { most: steps - 1 }) };
    const settings = settingsOf({ thresholds: lists, fewer: stepList, options: Object.fromEntries(given.map(([name, value]) => [name, Number(value)])) });
    if (!prompts.length) return { ...rest, wrong: t("benchmark.noPrompt") };
    if (!settings.length) return { ...rest, wrong: t("benchmark.noSetting") };
    const common = { model: chosen.air, ...Object.fromEntries(["width", "height", "steps", "CFGScale", "seed"].map((name) => [name, get(name)])) };
    return { ...rest, plan: { common, prompts, settings, rounds: get("rounds") } };
  };

  const update = () => {
    const models = (getInfo()?.models ?? []).filter((one) => one.mode === "text_to_image");
    if (model.childElementCount !== models.length) replace(model, models.map((one) => h("option", { value: one.air }, titleOf(one))));
    model.value = models.some((one) => one.air === values.model) ? values.model : (models[0]?.air ?? "");
    const { fallbacks, chosen, plan: ready, wrong: reason } = read();
    if (chosen && given.dataset.model !== chosen.air) {
      given.dataset.model = chosen.air;
      replace(given, givenPrompts(chosen).map((prompt, place) => checkPrompt(prompt, place)));
    }
    for (const [name, input] of Object.entries(counts)) {
      if (document.activeElement !== input) input.value = values[name] ?? "";
      input.placeholder = fallbacks?.[name] ?? "";
    }
    for (const [name, hint] of Object.entries(directions)) hint.textContent = directionOf(name);
    const running = getRun()?.state === "running";
    wrong.textContent = reason ?? "";
    note.textContent = getRun() ? t(running ? "benchmark.onlyOne" : "benchmark.replaces") : "";
    plan.textContent = ready ? inWords(ready) : "";
    begins.disabled = !ready || running;
  };
  const checkPrompt = (prompt, place) => {
    const box = h("input", { type: "checkbox", checked: values.given.includes(place) });
    box.addEventListener("change", () => set({ given: box.checked ? [...values.given, place] : values.given.filter((one) => one !== place) }));
    return h("label", { class: "check" }, box, h("span", {}, prompt));
  };
  return { element, update };
}

const NAMES = { width: "form.width", height: "form.height", steps: "form.steps", CFGScale: "form.guidance", seed: "form.seed", rounds: "benchmark.rounds" };

/** What a plan comes to: its tasks, and about how long they take. */
function inWords(plan) {
  const tasks = tasksOf(plan);
  const warmUps = tasks.filter((task) => task.kind === "warmUp").length;
  const seconds = estimatedSeconds(getInfo().paces, plan, tasks);
  const counts = { settings: number(plan.settings.length), prompts: number(plan.prompts.length), rounds: number(plan.rounds), warmUps: number(warmUps), tasks: number(tasks.length) };
  return `${t("benchmark.plan", counts)} ${seconds === undefined ? t("benchmark.unknownTime") : t("benchmark.atMost", { time: duration(seconds) })}`;
}
