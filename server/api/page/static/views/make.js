// The view that makes pictures: the form on one side, the tasks on the other.

import { promptSection, samplingSection, sizeSection } from "../form/basics.js";
import { h, replace } from "../dom.js";
import { t } from "../i18n.js";
import { loadInfo, modelOf, onInfo } from "../info.js";
import { showError } from "../messages.js";
import { draftAddress, getDraft, onDraft, read, replaceDraft } from "../state.js";
import { allTasks, onTasks, runTask } from "../tasks.js";
import { runningView } from "./running.js";

/** Show the view. The parameters of the address are the draft. Returns a close function. */
export function makeView(container, parameters) {
  if (parameters.size) replaceDraft(read(parameters.toString()));
  else history.replaceState(null, "", draftAddress(getDraft()));

  const sections = [promptSection(), sizeSection(), samplingSection(lastSeed)];
  const run = h("button", { class: "primary", type: "submit" }, t("form.run"), h("kbd", { "aria-hidden": "true" }, "Ctrl ↵"));
  const clear = h("button", { class: "quiet", type: "button", onclick: () => replaceDraft({}) }, t("form.clear"));
  const form = h(
    "form",
    { class: "panel stack form", novalidate: true, "aria-label": t("nav.make"), onsubmit: (event) => (event.preventDefault(), submit()) },
    h("h1", { class: "unseen" }, t("nav.make")),
    sections.map((section) => section.element),
    h("div", { class: "row end run" }, clear, run),
  );
  const tasks = h("section", { class: "tasks", "aria-label": t("tasks.title") });
  replace(container, form, tasks);

  const update = () => sections.forEach((section) => section.update(getDraft()));
  const submit = () => {
    clearErrors(form);
    runTask(completeTask(getDraft()));
  };
  const keys = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !document.querySelector("dialog[open]")) submit();
  };
  const closers = [onDraft(update), onInfo(update), runningView(tasks), onTasks((entry) => entry.parameter && showFieldError(form, entry))];
  addEventListener("keydown", keys);
  update();
  loadInfo().catch(showError);
  return () => (closers.forEach((close) => close()), removeEventListener("keydown", keys));
}

/** The task of a draft: with the model that is shown, and the size that text to image needs. */
export function completeTask(draft) {
  const model = modelOf(draft);
  const { width, height } = model?.defaults ?? {};
  const sized = draft.width !== undefined || draft.height !== undefined || draft.outpaint || !width;
  return { ...(model && { model: model.air }), ...draft, ...(!sized && { width, height }) };
}

const lastSeed = () => allTasks().flatMap((entry) => entry.results).find((item) => item.seed !== undefined)?.seed;

/** Show a refusal beside the field of its parameter, and scroll there. */
function showFieldError(form, { parameter, error }) {
  const names = [parameter].flat().filter((name) => typeof name === "string");
  const place = names.map((name) => form.querySelector(`[data-path="${CSS.escape(name.replace(/\[\d+\].*$/, ""))}"]`)).find(Boolean);
  if (!place || place.querySelector(".refusal")) return;
  place.classList.add("wrong");
  place.append(h("p", { class: "refusal bad small" }, error));
  place.closest("details")?.setAttribute("open", "");
}

function clearErrors(form) {
  form.querySelectorAll(".refusal").forEach((element) => element.remove());
  form.querySelectorAll(".wrong").forEach((element) => element.classList.remove("wrong"));
}
