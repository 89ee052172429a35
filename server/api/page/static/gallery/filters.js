// The filters of the gallery: a part of the prompt, and the model.

import { h, replace } from "../dom.js";
import { t } from "../i18n.js";
import { getInfo, onInfo, titleOf } from "../info.js";

const WRITE_MILLISECONDS = 300;

/** The controls of a filter. `change(filter)` is told of each. The filter has no empty members. */
export function imageFilters(filter, change) {
  let timer = 0;
  const prompt = h("input", { type: "search", placeholder: t("gallery.search"), "aria-label": t("gallery.search"), value: filter.prompt ?? "", maxlength: 1000 });
  const model = h("select", { "aria-label": t("gallery.model") });
  const tell = () => {
    clearTimeout(timer);
    const chosen = { prompt: prompt.value.trim(), model: model.value };
    change(Object.fromEntries(Object.entries(chosen).filter(([, value]) => value)));
  };
  prompt.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(tell, WRITE_MILLISECONDS);
  });
  prompt.addEventListener("keydown", (event) => event.key === "Enter" && (event.preventDefault(), tell()));
  model.addEventListener("change", tell);
  const showModels = () => {
    const chosen = model.value || filter.model || "";
    const options = (getInfo()?.models ?? []).map((one) => [one.air, titleOf(one)]);
    if (chosen && !options.some(([air]) => air === chosen)) options.push([chosen, chosen]); // it is served no longer
    replace(model, [["", t("gallery.everyModel")], ...options].map(([air, name]) => h("option", { value: air, selected: air === chosen }, name)));
  };
  showModels();
  const stop = onInfo(showModels);
  return { element: h("div", { class: "row filters", role: "search" }, prompt, model), close: () => (stop(), clearTimeout(timer)) };
}
