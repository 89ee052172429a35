// Controls that are bound to a member of the draft. An empty one shows what the server would take in its placeholder.

import { h, replace } from "../dom.js";
import { exact } from "../exact.js";
import { t } from "../i18n.js";
import { member, setMember } from "../state.js";

let numbers = 0;

/** A labelled control. `path` is the member's, so that an error of the server finds it. */
export function field(label, control, { path, hint } = {}) {
  control.id ||= `field-${(numbers += 1)}`;
  const note = hint ? h("p", { class: "hint muted small", id: `${control.id}-hint` }, hint) : null;
  if (note) control.setAttribute("aria-describedby", note.id);
  return h("div", { class: "field", dataset: path ? { path } : {} }, h("label", { for: control.id }, label), control, note);
}

/** A number. `update(placeholder)` shows the draft's, or the placeholder. */
export function numberInput(path, { min, max, step = 1 }) {
  const input = h("input", { type: "number", min, max, step, inputmode: step === 1 ? "numeric" : "decimal", dataset: { focus: path } });
  input.addEventListener("input", () => {
    if (input.validity.valid) setMember(path, input.value === "" ? undefined : exact(input.value));
  });
  return { element: input, update: (placeholder) => show(input, member(path), placeholder) };
}

/** A text of several lines, which grows with what is written. */
export function textArea(path, { rows = 2 } = {}) {
  const area = h("textarea", { rows, maxlength: 32000, spellcheck: false, dataset: { focus: path } });
  area.addEventListener("input", () => setMember(path, area.value || undefined));
  return { element: area, update: (placeholder) => show(area, member(path), placeholder) };
}

/** A choice. `options` are `[value, text]`; the first one, with an empty value, leaves the member out. */
export function select(path) {
  const element = h("select", { dataset: { focus: path } });
  element.addEventListener("change", () => {
    const chosen = element.selectedOptions[0]?.value;
    setMember(path, chosen === "" ? undefined : chosen);
  });
  const update = (options) => {
    const value = member(path) ?? options[0]?.[0] ?? "";
    const known = options.some(([one]) => one === value) ? options : [...options, [value, value]];
    const text = JSON.stringify(known);
    if (element.dataset.options !== text) {
      replace(element, known.map(([one, name]) => h("option", { value: one }, name)));
      element.dataset.options = text;
    }
    element.value = value;
  };
  return { element, update };
}

/** A number between two bounds, as a slider with its value beside it. */
export function slider(path, { min, max, step, label }) {
  const range = h("input", { type: "range", min, max, step, "aria-label": label, dataset: { focus: path } });
  const output = h("output", { class: "number" });
  range.addEventListener("input", () => setMember(path, Number(range.value)));
  const clear = h("button", { class: "quiet", type: "button", onclick: () => setMember(path, undefined) }, t("form.default"));
  const update = (fallback) => {
    const value = member(path);
    range.value = value ?? fallback;
    output.textContent = String(value ?? fallback);
    clear.hidden = value === undefined;
  };
  return { element: h("div", { class: "row slider" }, h("div", { class: "grow" }, range), output, clear), update };
}

/** A switch for a member that is false if it is left out. */
export function checkbox(path, text) {
  const box = h("input", { type: "checkbox", dataset: { focus: path } });
  box.addEventListener("change", () => setMember(path, box.checked || undefined));
  return { element: h("label", { class: "check" }, box, text), update: () => (box.checked = member(path) === true) };
}

/** A part of the form that can be folded. It is open if the draft has something of it. */
export function fold(title, isUsed, ...children) {
  const mark = h("span", { class: "mark", "aria-hidden": "true" });
  const element = h("details", { class: "fold", open: isUsed() }, h("summary", {}, title, mark), h("div", { class: "stack inner" }, ...children));
  return { element, update: () => (mark.hidden = !isUsed()) };
}

function show(input, value, placeholder) {
  const text = value === undefined ? "" : String(value);
  if (input.value !== text && document.activeElement !== input) input.value = text;
  if (input.value !== text && input.type !== "number") input.value = text;
  input.placeholder = placeholder === undefined || placeholder === null ? "" : String(placeholder);
}
