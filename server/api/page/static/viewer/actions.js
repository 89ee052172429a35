// What can be done with a finished picture: make it again, edit it, take its settings, download it, copy its task.

import { imageFile, imageUUID } from "../api.js";
import { openCopyDialog } from "../copy.js";
import { h, icon } from "../dom.js";
import { completeTask, editPictures, fillForm, randomSeed } from "../drafts.js";
import { t } from "../i18n.js";
import { loadInfo } from "../info.js";
import { showError, showNote } from "../messages.js";
import { draftOf } from "../receipts.js";
import { showForm } from "../state.js";
import { runTask } from "../tasks.js";

/**
 * The buttons of a picture at an address. `settings()` is its `settingsOf`, or null where nothing is known of it.
 * `compare()` is called to compare it.
 */
export function actionButtons(address, settings, compare) {
  const button = (label, action, name) =>
    h("button", { type: "button", onclick: () => loadInfo().then(action).catch(showError) }, name && icon(name), label);
  return h(
    "div",
    { class: "buttons" },
    settings && button(t("viewer.again"), () => again(settings())),
    button(t("shell.edit"), () => edit(address)),
    settings && button(t("viewer.take"), () => take(settings())),
    button(t("compare.open"), compare),
    h("a", { class: "button", href: address, download: imageFile(address), title: t("viewer.downloadHint") }, icon("download"), t("shell.download")),
    settings && button(t("copy.open"), () => copy(settings()), "copy"),
  );
}

/**
 * The draft that makes a picture again, from the task of this page, else from its receipt. `missing` is the number of
 * input pictures that the receipt cannot have. Needs the answer of `loadInfo`.
 */
export function settingsOf(entry, item, answer) {
  if (entry) {
    const { numberResults, ...task } = entry.task;
    return { draft: { ...task, seed: item.seed }, missing: 0 };
  }
  return draftOf(answer.receipt);
}

function again(settings) {
  const draft = { ...settings.draft, seed: randomSeed() };
  if (settings.missing) return take({ ...settings, draft });
  runTask(completeTask(draft));
  showForm();
}

function edit(address) {
  editPictures([{ imageUUID: imageUUID(address), imageURL: address }]);
  showForm();
}

function copy({ draft, missing }) {
  openCopyDialog(completeTask(draft));
  if (missing) showNote(t("receipt.missing", { count: missing }));
}

function take(settings) {
  fillForm(settings, t("viewer.taken"));
  showForm();
}
