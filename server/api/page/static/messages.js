// Tells the user something: a toast that stays until it is dismissed or read, and a sentence for screen readers.

import { describe } from "./api.js";
import { h, iconButton, showDialog } from "./dom.js";
import { t } from "./i18n.js";

const TOAST_MILLISECONDS = 8000;

/** Show an error in words. It stays until it is dismissed. A missing key has a dialog of its own. */
export function showError(error) {
  if (error.status !== 401) toast(describe(error), "bad");
}

/** Show a sentence for a few seconds. */
export function showNote(text) {
  const shown = toast(text, "note");
  setTimeout(() => shown.remove(), TOAST_MILLISECONDS);
}

/** Say a sentence to screen readers alone. */
export function announce(text) {
  document.getElementById("live").textContent = text;
}

/** Ask whether something is to be done that cannot be undone. The first focus is on the way out. */
export function ask({ title, text, action }) {
  return new Promise((resolve) => {
    const form = h(
      "form",
      { method: "dialog" },
      h("h2", { id: "ask-title" }, title),
      h("p", { id: "ask-text" }, text),
      h("div", { class: "actions" }, h("button", { value: "", autofocus: true }, t("shell.cancel")), h("button", { class: "primary danger", value: "yes" }, action)),
    );
    const closed = () => resolve(dialog.returnValue === "yes");
    const dialog = h("dialog", { role: "alertdialog", "aria-labelledby": "ask-title", "aria-describedby": "ask-text", onclose: closed }, form);
    showDialog(dialog);
  });
}

/** Copy a text. Without a secure connection browsers have no clipboard, so a selection is copied as of old. */
export async function copyText(text) {
  if (navigator.clipboard) await navigator.clipboard.writeText(text);
  else copySelected(text);
  showNote(t("shell.copied"));
}

function copySelected(text) {
  const area = h("textarea", { class: "unseen", value: text });
  const dialog = document.querySelector("dialog[open]");
  (dialog ?? document.body).append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

function toast(text, kind) {
  const shown = h("div", { class: `toast ${kind}` }, h("span", {}, text), iconButton("close", t("shell.dismiss"), () => shown.remove()));
  document.getElementById("toasts").append(shown);
  return shown;
}
