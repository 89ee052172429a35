// Builds elements. Every text becomes a text node, so that nothing of a prompt or a file name is ever markup.

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element: `h("button", {class: "primary", onclick: run, disabled: true}, "Run")`.
 * A name with `on` is a listener, `dataset` an object, `style` an object of CSS properties. A property of the element
 * wins over an attribute. `null`, `undefined` and `false` leave an attribute out, and a child too.
 */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** An SVG element, built as `h` builds others. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** Replace all children of an element. */
export function replace(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter(isChild));
  return element;
}

/** Remember which control has the focus by its `data-focus`, render, and give the focus back. */
export function keepFocus(container, render) {
  const name = container.contains(document.activeElement) ? document.activeElement.dataset.focus : undefined;
  render();
  if (name) container.querySelector(`[data-focus="${CSS.escape(name)}"]`)?.focus();
}

/** A button of an icon. Its label is said, and shown as its title. */
export function iconButton(name, label, onclick) {
  return h("button", { type: "button", class: "quiet square", "aria-label": label, title: label, onclick }, icon(name));
}

/** A picture as a link to its file, which `open()` shows in the page. With a key held down, a tab shows it, as everywhere. */
export function pictureLink(href, open, picture) {
  const isPlain = (event) => !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);
  return h("a", { href, target: "_blank", onclick: (event) => isPlain(event) && (event.preventDefault(), open()) }, picture);
}

/** Show a dialog. It leaves the page when it is closed. */
export function showDialog(dialog) {
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

/** An icon of the set below, drawn with strokes in the color of the text. */
export function icon(name) {
  return svg("svg", { class: "icon", viewBox: "0 0 16 16", "aria-hidden": "true" }, svg("path", { d: ICONS[name] }));
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "dataset") Object.assign(element.dataset, value);
    else if (name === "style") for (const [key, text] of Object.entries(value)) element.style.setProperty(key, text);
    else if (PROPERTIES.has(name)) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter(isChild));
  return element;
}

const isChild = (child) => child !== null && child !== undefined && child !== false;
const PROPERTIES = new Set(["value", "checked", "disabled", "selected", "hidden", "open"]);
const ICONS = {
  close: "M4 4l8 8M12 4l-8 8",
  add: "M8 3v10M3 8h10",
  minus: "M3 8h10",
  fit: "M2.5 6V2.5H6M10 2.5h3.5V6M13.5 10v3.5H10M6 13.5H2.5V10",
  download: "M8 2.5v8M4.5 7.5L8 11l3.5-3.5M3 13.5h10",
  edit: "M3 13l.7-3L10.5 3.2a1.3 1.3 0 011.9 0l.4.4a1.3 1.3 0 010 1.9L6 12.3zM9.5 4.2l2.3 2.3",
  delete: "M3 4.5h10M6.5 4.5v-2h3v2M4.5 4.5l.6 9h5.8l.6-9M6.7 7v4M9.3 7v4",
  undo: "M3 6h6.5a3.5 3.5 0 010 7H6M3 6l3-3M3 6l3 3",
  redo: "M13 6H6.5a3.5 3.5 0 000 7H10M13 6l-3-3M13 6l-3 3",
  lock: "M4 7.5h8v6H4zM5.5 7.5V5a2.5 2.5 0 015 0v2.5",
  unlock: "M4 7.5h8v6H4zM5.5 7.5V5a2.5 2.5 0 014.8-1",
  left: "M13 8H3M7 4L3 8l4 4",
  right: "M3 8h10M9 4l4 4-4 4",
  sun: "M8 5a3 3 0 100 6 3 3 0 000-6zM8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1 1M12 12l1 1M13 3l-1 1M4 12l-1 1",
  moon: "M13 9.5A5.5 5.5 0 116.5 3a4.5 4.5 0 006.5 6.5z",
  key: "M10.5 2.5a3 3 0 11-2.4 4.8L3 12.5V14h2v-1.5h1.5V11h1.5",
  copy: "M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3",
};
