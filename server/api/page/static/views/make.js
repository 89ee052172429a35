// The view that makes pictures: the form on one side, the tasks on the other.

import { openCopyDialog } from "../copy.js";
import { h, icon, replace } from "../dom.js";
import { chooseEditor, completeTask, fillForm } from "../drafts.js";
import { controlNetSection, loraSection } from "../form/adapters.js";
import { promptSection, samplingSection, sizeSection } from "../form/basics.js";
import { cacheSection } from "../form/caches.js";
import { referenceSection, seedImageSection } from "../form/images.js";
import { outputSection } from "../form/output.js";
import { acceptDrops } from "../form/slots.js";
import { t } from "../i18n.js";
import { loadInfo, onInfo } from "../info.js";
import { showError } from "../messages.js";
import { brings, offered } from "../pictures.js";
import { draftOf, readReceipt } from "../receipts.js";
import { draftAddress, getDraft, onDraft, read, replaceDraft } from "../state.js";
import { allTasks, onTasks, runTask } from "../tasks.js";
import { openPicture } from "./picture.js";
import { runningView } from "./running.js";

/** Show the view. The parameters of the address are the draft. Returns a close function. */
export function makeView(container, parameters) {
  if (parameters.size) replaceDraft(read(parameters.toString()));
  else history.replaceState(null, "", draftAddress(getDraft()));

  const references = referenceSection();
  const sections = [promptSection(), references, sizeSection(), samplingSection(lastSeed), seedImageSection(), loraSection(), controlNetSection(), cacheSection(), outputSection()];
  const button = (label, onclick, ...more) => h("button", { type: "button", class: "quiet", onclick }, ...more, label);
  const run = h("button", { class: "primary", type: "submit" }, t("form.run"), h("kbd", { "aria-hidden": "true" }, "Ctrl ↵"));
  const form = h(
    "form",
    { class: "panel stack form", novalidate: true, "aria-label": t("nav.make"), onsubmit: (event) => (event.preventDefault(), submit()) },
    h("h1", { class: "unseen" }, t("nav.make")),
    sections.map((section) => section.element),
    h("div", { class: "row end run" }, button(t("form.clear"), () => replaceDraft({})), button(t("copy.open"), () => openCopyDialog(completeTask(getDraft())), icon("copy")), run),
  );
  const tasks = h("section", { class: "tasks", "aria-label": t("tasks.title") });
  replace(container, form, tasks);

  const update = () => sections.forEach((section) => section.update(getDraft()));
  const submit = () => {
    clearErrors(form);
    runTask(completeTask(getDraft()));
    if (tasks.getBoundingClientRect().top > innerHeight) tasks.scrollIntoView();
  };
  const take = (sources) => takeAnywhere(sources, references).catch(showError);
  const keys = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !document.querySelector("dialog[open]")) submit();
  };
  const paste = (event) => {
    if (!event.clipboardData.files.length || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    take([...event.clipboardData.files]);
  };
  acceptDrops(container, take);
  const stopDrops = keepFilesOnPage();
  const closers = [onDraft(update), onInfo(update), runningView(tasks, (_, item) => openPicture(item.imageURL)), onTasks((entry) => entry.parameter && showFieldError(form, entry)), stopDrops];
  addEventListener("keydown", keys);
  addEventListener("paste", paste);
  update();
  loadInfo().catch(showError);
  return () => {
    closers.forEach((close) => close());
    removeEventListener("keydown", keys);
    removeEventListener("paste", paste);
  };
}

/** A picture that is dropped beside all places fills the form from its receipt, else it is edited. */
async function takeAnywhere(sources, references) {
  await loadInfo();
  const receipt = sources.length === 1 && sources[0] instanceof File ? await readReceipt(sources[0]) : null;
  if (receipt) return fillForm(draftOf(receipt), t("receipt.filled"));
  chooseEditor();
  await references.take(sources);
}

/** A file that misses every place must not replace the page. Returns a function that ends this. */
function keepFilesOnPage() {
  const over = (event) => brings(event.dataTransfer) && event.preventDefault();
  const drop = (event) => !event.defaultPrevented && brings(event.dataTransfer) && offered(event.dataTransfer).length && event.preventDefault();
  addEventListener("dragover", over);
  addEventListener("drop", drop);
  return () => (removeEventListener("dragover", over), removeEventListener("drop", drop));
}

const lastSeed = () => allTasks().flatMap((entry) => entry.results).find((item) => item.seed !== undefined)?.seed;

/** Show a refusal beside the field of its parameter, or leave it to the card of the task. */
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
