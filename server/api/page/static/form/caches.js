// The step caches: which one, how eager it is, and in which steps it may act.

import { h } from "../dom.js";
import { t } from "../i18n.js";
import { getInfo } from "../info.js";
import { getDraft, member, replaceDraft } from "../state.js";
import { field, fold, numberInput, slider } from "./controls.js";

/** The caches of the API, with the member that says how eager each one is, and its default. */
export const CACHES = {
  fbCache: { knob: "fbCacheThreshold", fallback: 0.25 },
  teaCache: { knob: "teaCacheDistance", fallback: 0.5 },
  dbCache: { knob: "dbCacheThreshold", fallback: 0.25 },
};
const OPTIONS = "acceleratorOptions";

/** The choice of a cache with its options. */
export function cacheSection() {
  const choose = h("select", {}, h("option", { value: "" }, t("caches.none")), Object.keys(CACHES).map((name) => h("option", { value: name }, t(`caches.${name}`))));
  choose.addEventListener("change", () => {
    const { [OPTIONS]: old, ...draft } = getDraft();
    replaceDraft(choose.value ? { ...draft, [OPTIONS]: { [choose.value]: true } } : draft);
  });
  const about = h("p", { class: "muted small" });
  const knobs = Object.fromEntries(Object.entries(CACHES).map(([name, { knob }]) => [name, slider(`${OPTIONS}.${knob}`, { min: 0, max: 1, step: 0.01, label: t("caches.knob") })]));
  const hints = {};
  const knobFields = Object.entries(knobs).map(([name, knob]) => {
    hints[name] = h("p", { class: "hint muted small" });
    return h("div", { dataset: { cache: name } }, field(t("caches.knob"), knob.element, { path: `${OPTIONS}.${CACHES[name].knob}` }), hints[name]);
  });
  const run = numberInput(`${OPTIONS}.cacheMaxConsecutiveSteps`, { min: 1, max: 5 });
  const skip = numberInput(`${OPTIONS}.dbCacheSkipInterval`, { min: 1 });
  const start = numberInput(`${OPTIONS}.cacheStartStepPercentage`, { min: 0, max: 99 });
  const end = numberInput(`${OPTIONS}.cacheEndStepPercentage`, { min: 1, max: 100 });
  const skipField = field(t("caches.skip"), skip.element, { path: `${OPTIONS}.dbCacheSkipInterval`, hint: t("caches.skipHint") });
  const options = h(
    "div",
    { class: "stack" },
    knobFields,
    h(
      "div",
      { class: "grid two" },
      field(t("caches.run"), run.element, { path: `${OPTIONS}.cacheMaxConsecutiveSteps`, hint: t("caches.runHint") }),
      skipField,
      field(t("caches.start"), start.element, { path: `${OPTIONS}.cacheStartStepPercentage`, hint: t("caches.startHint") }),
      field(t("caches.end"), end.element, { path: `${OPTIONS}.cacheEndStepPercentage`, hint: t("caches.endHint") }),
    ),
  );
  const part = fold(t("caches.title"), () => chosenCache() !== "", field(t("caches.which"), choose, { path: OPTIONS }), about, options);
  const update = () => {
    const cache = chosenCache();
    part.update();
    choose.value = cache;
    about.textContent = t(cache ? `caches.${cache}Hint` : "caches.hint");
    options.hidden = cache === "";
    skipField.hidden = cache !== "dbCache";
    for (const [name, knob] of Object.entries(knobs)) {
      knob.update(CACHES[name].fallback);
      hints[name].textContent = directionOf(name);
    }
    for (const element of knobFields) element.hidden = element.dataset.cache !== cache;
    run.update(3);
    skip.update(5);
    start.update(t("form.automatic"));
    end.update(t("form.automatic"));
  };
  return { element: part.element, update };
}

/** Which thresholds of a cache reuse more steps, in words. */
export const directionOf = (name) => t(name === "teaCache" || getInfo()?.thresholdDirection === "library" ? "caches.higher" : "caches.lower");

const chosenCache = () => Object.keys(CACHES).find((name) => member(`${OPTIONS}.${name}`)) ?? "";
