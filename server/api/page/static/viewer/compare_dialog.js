// The dialog that chooses what a picture is compared with: another picture of this page or of the gallery,
// or itself with other settings.

import { imageAddress, imageFile } from "../api.js";
import { h, iconButton, showDialog } from "../dom.js";
import { completeTask } from "../drafts.js";
import { CACHES } from "../form/caches.js";
import { field } from "../form/controls.js";
import { loadSchedulers } from "../form/output.js";
import { pickImage } from "../gallery/picker.js";
import { t } from "../i18n.js";
import { loadInfo } from "../info.js";
import { allPictures, runTask } from "../tasks.js";
import { settingsOf } from "./actions.js";

/** Ask, then call `pick(file)` for a picture, or `sent(entry)` for the task that renders one with other settings. */
export async function openCompareDialog(shown, { pick, sent }) {
  const { entry, item, answer } = shown;
  const [, schedulers] = await Promise.all([loadInfo(), loadSchedulers()]);
  const settings = entry || answer ? settingsOf(entry, item, answer) : null;
  const close = () => dialog.close();
  const pickFromGallery = async () => {
    close();
    const image = await pickImage();
    if (image) pick(imageFile(image.imageURL));
  };
  const others = allPictures().filter(({ file }) => file !== shown.file);
  const dialog = h(
    "dialog",
    { class: "compare stack", "aria-labelledby": "compare-title" },
    h("div", { class: "row" }, h("h2", { id: "compare-title", class: "grow" }, t("compare.with")), iconButton("close", t("shell.dismiss"), close)),
    h("section", { class: "stack tight" }, h("div", { class: "row" }, h("h3", { class: "grow" }, t("compare.picture")), h("button", { type: "button", onclick: pickFromGallery }, t("gallery.pick"))), others.length ? pictureGrid(others, (file) => (close(), pick(file))) : h("p", { class: "muted small" }, t("compare.noPicture"))),
    settings && h("section", { class: "stack tight" }, h("h3", {}, t("compare.settings")), settings.missing ? h("p", { class: "muted small" }, t("compare.missing")) : settingsForm(settings.draft, schedulers, (draft) => (close(), sent(runTask(completeTask(draft)))))),
  );
  showDialog(dialog);
}

function pictureGrid(others, pick) {
  const button = ({ file, entry }) => {
    const prompt = entry.task.positivePrompt ?? "";
    return h("button", { type: "button", title: prompt, onclick: () => pick(file) }, h("img", { src: imageAddress(file), alt: prompt, loading: "lazy" }));
  };
  return h("div", { class: "choices" }, others.map(button));
}

/** The settings that are worth a comparison. The seed stays, so that the pictures can be compared. */
function settingsForm(draft, schedulers, send) {
  const options = draft.acceleratorOptions ?? {};
  const cacheNow = Object.keys(CACHES).find((name) => options[name]) ?? "";
  const option = (value, text, selected) => h("option", { value, selected }, text);
  const cache = h("select", {}, option("", t("caches.none"), cacheNow === ""), Object.keys(CACHES).map((name) => option(name, t(`caches.${name}`), name === cacheNow)));
  const threshold = h("input", { type: "number", min: 0, max: 1, step: 0.01 });
  const steps = h("input", { type: "number", min: 1, max: 50, value: draft.steps ?? "", placeholder: t("form.default") });
  const guidance = h("input", { type: "number", min: 1, max: 20, step: 0.1, value: draft.CFGScale ?? "", placeholder: t("form.default") });
  const scheduler = h("select", {}, option("", t("output.default"), !draft.scheduler), schedulers.map((name) => option(name, name, name === draft.scheduler)));
  const thresholdField = field(t("caches.knob"), threshold);
  const showThreshold = () => {
    thresholdField.hidden = cache.value === "";
    threshold.placeholder = CACHES[cache.value]?.fallback ?? "";
    threshold.value = (cache.value === cacheNow ? options[CACHES[cacheNow]?.knob] : null) ?? "";
  };
  cache.addEventListener("change", showThreshold);
  showThreshold();
  const changed = () => {
    const chosen = cache.value && { acceleratorOptions: { ...(cache.value === cacheNow ? options : {}), [cache.value]: true, [CACHES[cache.value].knob]: valueOf(threshold) } };
    return withoutEmpty({ ...draft, acceleratorOptions: undefined, ...chosen, steps: valueOf(steps), CFGScale: valueOf(guidance), scheduler: scheduler.value || undefined });
  };
  const form = h(
    "form",
    { method: "dialog", class: "grid two", onsubmit: (event) => (event.preventDefault(), send(changed())) },
    field(t("caches.which"), cache),
    thresholdField,
    field(t("form.steps"), steps),
    field(t("form.guidance"), guidance),
    field(t("output.scheduler"), scheduler),
    h("div", { class: "actions" }, h("button", { class: "primary" }, t("compare.send"))),
  );
  return form;
}

const valueOf = (input) => (input.value === "" ? undefined : Number(input.value));
/** JSON has no undefined members. */
const withoutEmpty = (draft) => JSON.parse(JSON.stringify(draft));
